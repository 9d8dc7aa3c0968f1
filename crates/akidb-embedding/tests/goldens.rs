//! Vectors against PyTorch transformers in float32.
#![allow(clippy::unwrap_used, reason = "a test's helper fails by panicking")]

use akidb_embedding::{BackendChoice, EmbedOptions, Embedder};
use akidb_testing::{Golden, akidb_mini_goldens, cosine, fixture, max_abs_diff, tiny_text_goldens};

fn check(model: &str, goldens: &[Golden]) {
    let embedder = Embedder::builder()
        .model(model)
        .backend(BackendChoice::Native)
        .build()
        .unwrap();
    assert_eq!(goldens.len(), 60);
    let texts: Vec<&str> = goldens.iter().map(|g| g.text.as_str()).collect();
    let answer = embedder.embed(&texts, &EmbedOptions::default()).unwrap();
    let (mut worst_cosine, mut worst_difference) = (1.0f64, 0.0f32);
    for (golden, embedding) in goldens.iter().zip(&answer.embeddings) {
        let text = &golden.text;
        let vector = embedding.values.as_f32().unwrap();
        let cosine = cosine(vector, &golden.vector);
        let difference = max_abs_diff(vector, &golden.vector);
        assert!(cosine >= 0.999_999, "{cosine} for {text:?}");
        assert!(difference <= 2e-5, "{difference} for {text:?}");
        assert_eq!(embedding.tokens, golden.ids.len(), "{text:?}");
        assert_eq!(embedding.truncated, golden.truncated, "{text:?}");
        worst_cosine = worst_cosine.min(cosine);
        worst_difference = worst_difference.max(difference);
    }
    println!("{model}: worst cosine {worst_cosine:.9}, largest difference {worst_difference:.1e}");
}

#[test]
fn sixty_texts_match_pytorch_on_the_built_in_model() {
    check("akidb-mini", &akidb_mini_goldens());
}

#[test]
fn sixty_texts_match_pytorch_on_other_head_counts() {
    check(fixture("tiny").to_str().unwrap(), &tiny_text_goldens());
}

#[test]
fn given_token_ids_make_the_same_vector_as_their_text() {
    let embedder = Embedder::builder().model("akidb-mini").build().unwrap();
    let goldens = akidb_mini_goldens();
    let texts: Vec<&str> = goldens.iter().map(|g| g.text.as_str()).collect();
    let ids: Vec<&[u32]> = goldens.iter().map(|g| g.ids.as_slice()).collect();
    let options = EmbedOptions::default();
    assert_eq!(
        embedder.vectors(&texts, &options).unwrap(),
        embedder.vectors(&ids, &options).unwrap()
    );
}
