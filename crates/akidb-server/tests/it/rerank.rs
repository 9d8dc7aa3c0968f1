//! Ranking through the service itself: many documents, deadlines, callers that go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use akidb_embedding::{Embedder, RerankOptions, Reranker, Scoring};
use akidb_server::{Class, EmbeddingService, ModelSettings, RerankRequest, ServiceError, Settings};
use akidb_testing::fixture;

/// A reranker, which is the first model, and an embedder.
fn service(settings: Settings) -> Arc<EmbeddingService> {
    let path = fixture("tiny-rerankers/qwen3-seq")
        .to_string_lossy()
        .into_owned();
    let model = |name: &str, builder| ModelSettings {
        name: name.to_owned(),
        builder,
    };
    let reranker = Embedder::builder().model(path).variant("safetensors");
    let settings = Settings {
        models: vec![
            model("reranker", reranker),
            model("akidb-mini", Embedder::builder().model("akidb-mini")),
        ],
        max_client_batch_size: 100_000,
        ..settings
    };
    Arc::new(EmbeddingService::new(settings).unwrap())
}

fn request(model: &str, documents: usize) -> RerankRequest {
    let document = |n: usize| format!("document {n} {}", "and more ".repeat(n * n % 23));
    RerankRequest {
        model: Some(model.to_owned()),
        query: "which number is it".to_owned(),
        documents: (0..documents).map(document).collect(),
        options: RerankOptions::default(),
        keep_documents: false,
        class: Class::Interactive,
        client: "client".into(),
        deadline: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_documents_have_the_librarys_scores() {
    let service = service(Settings::default());
    let request = request("reranker", 5_000);
    let documents = request.documents.clone();
    let answer = service.rerank(request.clone()).await.unwrap();
    assert_eq!(answer.scores.len(), 5_000);
    assert!(answer.scores.is_sorted_by(|a, b| a.logit >= b.logit));
    let path = fixture("tiny-rerankers/qwen3-seq");
    let library = Reranker::builder()
        .model(path.to_string_lossy())
        .variant("safetensors");
    let options = RerankOptions::default();
    let expected = library
        .build()
        .unwrap()
        .rerank(&request.query, &documents, &options);
    assert_eq!(answer.scores, expected.unwrap());
    assert_eq!(service.stats().queue_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_and_callers_that_go_end_rankings_that_have_not_begun() {
    let service = service(Settings::default());
    service.preload().await.unwrap();
    for model in ["reranker", "akidb-mini"] {
        let passed = RerankRequest {
            deadline: Some(Instant::now() + Duration::from_millis(50)),
            ..request(model, 5_000)
        };
        let error = service.rerank(passed).await.unwrap_err();
        assert!(
            matches!(error, ServiceError::DeadlineExceeded),
            "{model}: {error}"
        );

        let rerank = service.rerank(request(model, 5_000));
        let gone = tokio::time::timeout(Duration::from_millis(50), rerank).await;
        assert!(gone.is_err(), "{model}");
        assert_eq!(service.stats().interactive.items, 0, "{model}");
        // The slice that is being tokenized ends first.
        while service.stats().queue_bytes > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let one = service.rerank(request(model, 1)).await.unwrap();
        assert_eq!(one.scores.len(), 1, "{model}");
    }
}

#[tokio::test]
async fn what_memory_never_holds_is_too_much() {
    let service = service(Settings {
        max_queue_bytes: 64 << 20,
        ..Settings::default()
    });
    // Each pair has the query.
    let query = "which number is it ".repeat(20);
    let many = RerankRequest {
        query,
        documents: vec![String::new(); 100_000],
        ..request("reranker", 0)
    };
    let error = service.rerank(many.clone()).await.unwrap_err();
    assert!(matches!(error, ServiceError::TooMuch { .. }), "{error}");
    let fewer = RerankRequest {
        documents: vec![String::new(); 100],
        ..many.clone()
    };
    assert_eq!(service.rerank(fewer).await.unwrap().scores.len(), 100);
    let error = service
        .rerank(request("reranker", 100_001))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ServiceError::TooManyInputs { .. }),
        "{error}"
    );
    let by_cosine = RerankRequest {
        options: RerankOptions {
            scoring: Some(Scoring::Cosine),
            ..RerankOptions::default()
        },
        ..many
    };
    assert!(service.rerank(by_cosine).await.is_err());
}
