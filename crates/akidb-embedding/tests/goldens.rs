//! Vectors of the built-in model against PyTorch transformers in float32.

use akidb_embedding::{BackendChoice, EmbedOptions, Embedder};
use akidb_testing::{akidb_mini_goldens, cosine, max_abs_diff};

#[test]
fn sixty_texts_match_pytorch() {
    let embedder = Embedder::builder()
        .model("akidb-mini")
        .backend(BackendChoice::Native)
        .build()
        .unwrap();
    let goldens = akidb_mini_goldens();
    let texts: Vec<&str> = goldens.iter().map(|g| g.text.as_str()).collect();
    let answer = embedder.embed(&texts, &EmbedOptions::default()).unwrap();
    let (mut worst_cosine, mut worst_difference) = (1.0f64, 0.0f32);
    for (golden, embedding) in goldens.iter().zip(&answer.embeddings) {
        let vector = embedding.values.as_f32().unwrap();
        let (cosine, difference) = (
            cosine(vector, &golden.vector),
            max_abs_diff(vector, &golden.vector),
        );
        assert!(cosine >= 0.999_999, "{cosine} for {:?}", golden.text);
        assert!(difference <= 2e-5, "{difference} for {:?}", golden.text);
        assert_eq!(embedding.tokens, golden.ids.len(), "{:?}", golden.text);
        assert_eq!(embedding.truncated, golden.truncated, "{:?}", golden.text);
        worst_cosine = worst_cosine.min(cosine);
        worst_difference = worst_difference.max(difference);
    }
    println!("worst cosine {worst_cosine:.9}, largest difference {worst_difference:.1e}");
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
