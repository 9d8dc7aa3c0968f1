//! AkiDB's contract, as a vector database uses it.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use akidb_embedding::{
    BatchEmbeddingRequest, EmbedOptions, Embedder, EmbeddingError, EmbeddingProvider, Encoding,
    OnnxEmbeddingProvider, Role,
};

fn embedder() -> Embedder {
    Embedder::builder().model("akidb-mini").build().unwrap()
}

fn provider() -> Arc<dyn EmbeddingProvider> {
    Arc::new(OnnxEmbeddingProvider::new(embedder()).unwrap())
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
    let direct = embedder()
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

#[tokio::test]
async fn two_providers_over_one_model_embed_queries_and_documents() {
    let documents = OnnxEmbeddingProvider::builder().role(Role::Document);
    let documents = documents.build(embedder()).unwrap();
    let queries = OnnxEmbeddingProvider::builder().role(Role::Query);
    let queries = queries.build_sharing(&documents).unwrap();
    let find = OnnxEmbeddingProvider::builder().instruction("Find code");
    let find = find.build_sharing(&queries).unwrap();
    let texts = ["resume a download"];
    let vectors = |provider| async move {
        let provider: &OnnxEmbeddingProvider = provider;
        let answer = provider.embed_batch(request(&texts, true)).await;
        answer.unwrap().embeddings
    };
    let (document, query, find) =
        tokio::join!(vectors(&documents), vectors(&queries), vectors(&find));
    let direct = |options| embedder().vectors(&texts, &options).unwrap();
    assert_eq!(document, direct(EmbedOptions::default()));
    assert_eq!(query, direct(EmbedOptions::query()));
    assert!(find != query && find != document);
}

#[tokio::test]
async fn vectors_are_cut_and_hold_what_their_encoding_holds() {
    let builder = OnnxEmbeddingProvider::builder().dimension(64);
    let provider = builder
        .encoding(Encoding::Binary)
        .build(embedder())
        .unwrap();
    assert_eq!(provider.model_info().await.unwrap().dimension, 64);
    let answer = provider.embed_batch(request(&["a"], true)).await.unwrap();
    let whole = embedder()
        .vectors(&["a"], &EmbedOptions::default())
        .unwrap();
    let signs = whole[0][..64]
        .iter()
        .map(|x| if *x > 0.0 { 1.0 } else { -1.0 });
    assert_eq!(answer.embeddings, [signs.collect::<Vec<f32>>()]);
}

#[tokio::test]
async fn options_that_fit_nothing_are_refused_when_it_is_built() {
    let provider = OnnxEmbeddingProvider::new(embedder()).unwrap();
    let builder = OnnxEmbeddingProvider::builder;
    for (builder, says) in [
        (builder().dimension(10_000), "10000"),
        (
            builder().role(Role::Document).instruction("x"),
            "for queries",
        ),
    ] {
        match builder.build_sharing(&provider).unwrap_err() {
            EmbeddingError::InvalidInput(message) => assert!(message.contains(says), "{message}"),
            error => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn what_takes_longer_than_the_deadline_is_given_up() {
    let builder = OnnxEmbeddingProvider::builder().deadline(Duration::ZERO);
    let provider = builder.build(embedder()).unwrap();
    let error = provider.embed_batch(request(&["a"], true)).await;
    assert!(matches!(error, Err(EmbeddingError::ServiceUnavailable(_))));
    let error = provider.health_check().await;
    assert!(matches!(error, Err(EmbeddingError::ServiceUnavailable(_))));
}

#[tokio::test]
async fn the_queue_is_bounded_and_who_goes_makes_room() {
    let provider = OnnxEmbeddingProvider::builder().queue_bound(2);
    let provider = provider.build(embedder()).unwrap();
    let long = "word ".repeat(2_000);
    // More than the bound: accepted, as nothing else is there.
    let mut large = Box::pin(provider.embed_batch(request(&[&long, "b", "c"], true)));
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(large.as_mut().poll(cx).is_pending());
    let refused = provider.embed_batch(request(&["a"], true)).await;
    assert!(matches!(
        refused,
        Err(EmbeddingError::ServiceUnavailable(message)) if message.contains("2 texts")
    ));
    drop(large);
    let accepted = pin!(provider.embed_batch(request(&["a", "b"], true)));
    assert_eq!(accepted.await.unwrap().embeddings.len(), 2);
}
