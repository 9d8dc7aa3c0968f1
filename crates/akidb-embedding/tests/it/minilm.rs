//! all-MiniLM-L6-v2 on every engine, against sentence-transformers.

use akidb_embedding::{BackendChoice, EmbedOptions, Embedder};
use akidb_testing::{cosine, minilm, minilm_goldens, onnxruntime_library};

/// The vectors of the golden texts, whose token counts are checked too.
fn vectors(variant: &str, backend: BackendChoice) -> Option<Vec<Vec<f32>>> {
    let (Some(model), library) = (minilm(), onnxruntime_library()) else {
        akidb_testing::skip("no all-MiniLM-L6-v2 (scripts/fetch_minilm.sh gets it)");
        return None;
    };
    let mut builder = Embedder::builder().model(model.to_str().unwrap());
    builder = builder.variant(variant).backend(backend);
    if backend == BackendChoice::OnnxRuntime {
        let Some(library) = library else {
            akidb_testing::skip("no ONNX Runtime library (scripts/fetch_onnxruntime.sh gets one)");
            return None;
        };
        builder = builder.onnxruntime_library(library);
    }
    let goldens = minilm_goldens();
    let texts: Vec<&str> = goldens.iter().map(|g| g.text.as_str()).collect();
    let embedder = builder.build().unwrap();
    let answer = embedder.embed(&texts, &EmbedOptions::default()).unwrap();
    assert_eq!(answer.provenance.pooling, "mean");
    let vectors = answer.embeddings.into_iter().zip(&goldens);
    let vectors = vectors.map(|(embedding, golden)| {
        assert_eq!(embedding.tokens, golden.ids.len(), "{:?}", golden.text);
        assert_eq!(embedding.truncated, golden.truncated);
        embedding.values.into_f32().unwrap()
    });
    Some(vectors.collect())
}

fn worst(a: &[Vec<f32>], b: impl Iterator<Item = Vec<f32>>) -> f64 {
    let cosines = a.iter().zip(b).map(|(a, b)| cosine(a, &b));
    cosines.fold(1.0, f64::min)
}

fn goldens() -> impl Iterator<Item = Vec<f32>> {
    minilm_goldens().into_iter().map(|g| g.vector)
}

#[test]
fn f32_is_what_sentence_transformers_gives() {
    for (backend, least) in [
        (BackendChoice::Rten, 0.999_99),
        (BackendChoice::OnnxRuntime, 0.999_99),
    ] {
        if let Some(vectors) = vectors("f32", backend) {
            let worst = worst(&vectors, goldens());
            println!("{backend:?}: worst cosine {worst:.9}");
            assert!(worst >= least, "{backend:?}: {worst}");
        }
    }
}

#[test]
fn int8_is_near_and_engines_of_the_whole_graph_agree() {
    let rten = vectors("int8", BackendChoice::Rten);
    let onnxruntime = vectors("int8", BackendChoice::OnnxRuntime);
    if let Some(vectors) = &rten {
        let worst = worst(vectors, goldens());
        println!("int8: worst cosine {worst:.6}");
        assert!(worst >= 0.97, "{worst}");
    }
    if let (Some(rten), Some(onnxruntime)) = (rten, onnxruntime) {
        let worst = worst(&rten, onnxruntime.into_iter());
        println!("int8 on both: worst cosine {worst:.9}");
        assert!(worst >= 0.999, "{worst}");
    }
}
