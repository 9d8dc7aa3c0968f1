//! AkiDB's contract, as a vector database uses it.
#![allow(clippy::unwrap_used, reason = "a test's helper fails by panicking")]

use std::sync::Arc;

use akidb_embedding::{
    BatchEmbeddingRequest, EmbedOptions, Embedder, EmbeddingError, EmbeddingProvider,
    OnnxEmbeddingProvider,
};

fn provider() -> Arc<dyn EmbeddingProvider> {
    let embedder = Embedder::builder().model("akidb-mini").build().unwrap();
    Arc::new(OnnxEmbeddingProvider::new(embedder).unwrap())
}

fn request(inputs: &[&str], normalize: bool) -> BatchEmbeddingRequest {
    BatchEmbeddingRequest {
        model: "akidb-mini".to_owned(),
        inputs: inputs.iter().map(|&t| t.to_owned()).collect(),
        normalize,
    }
}

#[tokio::test]
async fn a_batch_comes_back_in_order_with_its_usage() {
    let provider = provider();
    provider.health_check().await.unwrap();
    let info = provider.model_info().await.unwrap();
    assert_eq!(
        (info.model.as_str(), info.dimension, info.max_tokens),
        ("akidb-mini", 256, 2048)
    );

    let answer = provider
        .embed_batch(request(&["Hello, world!", ""], true))
        .await
        .unwrap();
    assert_eq!(answer.model, "akidb-mini");
    assert_eq!(answer.usage.total_tokens, 6);
    let embedder = Embedder::builder().model("akidb-mini").build().unwrap();
    let direct = embedder
        .vectors(&["Hello, world!", ""], &EmbedOptions::default())
        .unwrap();
    assert_eq!(answer.embeddings, direct);

    let raw = provider
        .embed_batch(request(&["Hello, world!"], false))
        .await
        .unwrap();
    let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
    assert!(norm(&raw.embeddings[0]) > 1.5);
}

#[tokio::test]
async fn many_requests_at_once_are_all_answered() {
    let provider = provider();
    let tasks: Vec<_> = (0..16)
        .map(|i| {
            let provider = Arc::clone(&provider);
            tokio::spawn(async move {
                provider
                    .embed_batch(request(&[&"word ".repeat(i)], true))
                    .await
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap().embeddings.len(), 1);
    }
}

#[tokio::test]
async fn wrong_requests_are_refused() {
    let provider = provider();
    let mut other = request(&["a"], true);
    other.model = "another".to_owned();
    assert!(matches!(
        provider.embed_batch(other).await,
        Err(EmbeddingError::ModelNotFound(model)) if model == "another"
    ));
    assert!(matches!(
        provider.embed_batch(request(&[], true)).await,
        Err(EmbeddingError::InvalidInput(_))
    ));
}
