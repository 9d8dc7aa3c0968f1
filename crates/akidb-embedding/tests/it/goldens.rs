//! Vectors against PyTorch transformers in float32.

use akidb_embedding::{BackendChoice, EmbedOptions, Embedder, Precision};
use akidb_testing::{Golden, akidb_mini_goldens, cosine, fixture, max_abs_diff, tiny_text_goldens};

fn check(model: &str, goldens: &[Golden]) {
    let embedder = Embedder::builder()
        .model(model)
        .backend(BackendChoice::Native)
        .precision(Precision::F32)
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

#[test]
fn every_precision_is_near_f32() {
    let goldens = akidb_mini_goldens();
    let texts: Vec<&str> = goldens.iter().map(|g| g.text.as_str()).collect();
    for (precision, least, least_mean) in [
        (Precision::Bf16, 0.9999, 0.9999),
        (Precision::Int8, 0.995, 0.999),
        (Precision::Int4, 0.94, 0.97),
    ] {
        let builder = Embedder::builder().model("akidb-mini");
        let embedder = builder.precision(precision).build().unwrap();
        let vectors = embedder.vectors(&texts, &EmbedOptions::default()).unwrap();
        let cosines = goldens.iter().zip(&vectors);
        let cosines: Vec<f64> = cosines.map(|(g, v)| cosine(v, &g.vector)).collect();
        let worst = cosines.iter().copied().fold(1.0, f64::min);
        let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
        println!("{precision:?}: mean cosine {mean:.6}, worst {worst:.6}");
        assert!(worst >= least && mean >= least_mean, "{precision:?}");
    }
}
