//! The states of all tokens of a text.

use akidb_embedding::{BackendChoice, EmbedError, EmbedOptions, Embedder};

const TEXTS: [&str; 2] = ["Hello, world!", "naïve café 😀"];

fn ids(embedder: &Embedder) -> Vec<Vec<u32>> {
    let tokens = embedder.tokenize(&TEXTS, &EmbedOptions::default()).unwrap();
    tokens
        .into_iter()
        .map(|tokens| tokens.unwrap().ids)
        .collect()
}

#[test]
fn the_last_tokens_state_is_the_texts() {
    let embedder = Embedder::builder().model("akidb-mini").build().unwrap();
    let ids = ids(&embedder);
    let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let all = embedder.forward_all(&ids).unwrap();
    let last = embedder.forward(&ids, "").unwrap();
    for (index, states) in all.iter().enumerate() {
        assert_eq!(states.len(), ids[index].len() * embedder.dimension());
        assert!(states.ends_with(last.row(index)));
    }
}

#[test]
fn backends_of_whole_graphs_say_that_they_pool() {
    let builder = Embedder::builder().model("akidb-mini");
    let embedder = builder.backend(BackendChoice::Rten).build().unwrap();
    let ids = ids(&embedder);
    let error = embedder.forward_all(&[&ids[0]]).unwrap_err();
    assert!(matches!(error, EmbedError::Unsupported(_)), "{error:?}");
    assert!(error.to_string().contains("rten"), "{error}");
}
