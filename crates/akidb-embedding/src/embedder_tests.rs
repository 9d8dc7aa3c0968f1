use std::sync::{Arc, Mutex};

use akidb_backend::{BackendError, BackendInfo, TokenBatch};

use super::*;
use crate::prompt::Prompt;

/// Remembers what the model was given.
struct Watched {
    inner: Box<dyn Backend>,
    seen: Arc<Mutex<Vec<TokenBatch>>>,
}

impl Backend for Watched {
    fn info(&self) -> &BackendInfo {
        self.inner.info()
    }

    fn forward(&self, batch: &TokenBatch, out: &mut [f32]) -> Result<(), BackendError> {
        self.seen.lock().unwrap().push(batch.clone());
        self.inner.forward(batch, out)
    }
}

fn watched() -> (Embedder, Arc<Mutex<Vec<TokenBatch>>>) {
    let mut embedder = Embedder::builder().model("akidb-mini").build().unwrap();
    let seen = Arc::default();
    embedder.backend = Box::new(Watched {
        inner: embedder.backend,
        seen: Arc::clone(&seen),
    });
    (embedder, seen)
}

#[test]
fn the_model_sees_each_different_text_once() {
    let (embedder, seen) = watched();
    let texts = ["b", "a", "b", "", "a", "b", ""];
    let options = EmbedOptions::default();
    let answer = embedder.embed(&texts, &options).unwrap();
    let batch = seen.lock().unwrap().remove(0);
    assert_eq!((batch.len(), batch.total_tokens()), (3, 5));
    // As if each had been computed: "" is one token, the others are two.
    assert_eq!(answer.total_tokens, 12);
    assert_eq!(answer.embeddings.len(), texts.len());
    for (text, embedding) in texts.iter().zip(&answer.embeddings) {
        let alone = embedder.embed(&[*text], &options).unwrap();
        assert_eq!(*embedding, alone.embeddings[0], "{text:?}");
    }
}

/// Two texts that are the same up to the limit are one for the model, and both are told as cut.
#[test]
fn texts_that_differ_beyond_the_limit_are_the_same() {
    let (embedder, seen) = watched();
    let options = EmbedOptions {
        max_tokens: Some(3),
        ..EmbedOptions::default()
    };
    let texts = ["a b c", "a b d", "a b"];
    let answer = embedder.embed(&texts, &options).unwrap();
    assert_eq!(seen.lock().unwrap()[0].len(), 1);
    let truncated: Vec<bool> = answer.embeddings.iter().map(|e| e.truncated).collect();
    assert_eq!(truncated, [true, true, false]);
    assert_eq!(answer.embeddings[0].values, answer.embeddings[2].values);
}

#[test]
fn the_model_is_told_what_the_texts_share_with_their_prompt() {
    let (embedder, seen) = watched();
    let shared = |texts: &[&str], prompt: Prompt| {
        let options = EmbedOptions {
            prompt,
            ..EmbedOptions::default()
        };
        embedder.embed(texts, &options).unwrap();
        let batch = seen.lock().unwrap().remove(0);
        batch.shared_prefix()
    };
    let all = shared(&["hello", "two"], Prompt::Query);
    assert!(all > 10, "{all}");
    assert_eq!(shared(&["hello"], Prompt::Query), all);
    assert_eq!(shared(&["hello", "//two"], Prompt::Query), all - 1);
    assert_eq!(shared(&["hello", "hello you"], Prompt::Document), 0);
    assert_eq!(shared(&[], Prompt::Query), 0);
    let ids = embedder
        .embed(&[&[9707u32][..], &[11][..]], &EmbedOptions::query())
        .unwrap();
    assert_eq!(ids.embeddings.len(), 2);
    assert_eq!(seen.lock().unwrap()[0].shared_prefix(), all);
}

#[test]
fn the_default_prompt_is_used_and_told() {
    let (mut embedder, _) = watched();
    embedder.settings.prompts.default = Some("query".to_owned());
    let instruction = |options: &EmbedOptions| embedder.provenance(options).unwrap().instruction;
    let query = instruction(&EmbedOptions::query());
    assert!(query.starts_with("Instruct: "));
    assert_eq!(instruction(&EmbedOptions::default()), query);
    let document = EmbedOptions {
        prompt: Prompt::Document,
        ..EmbedOptions::default()
    };
    assert_eq!(instruction(&document), "");
    assert_eq!(
        embedder.vectors(&["a"], &EmbedOptions::default()).unwrap(),
        embedder.vectors(&["a"], &EmbedOptions::query()).unwrap()
    );
}
