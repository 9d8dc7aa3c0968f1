//! The service without a network: what is asked at the same time, too early, too late or too much.

use std::sync::Arc;
use std::time::{Duration, Instant};

use akidb_embedding::{EmbedError, EmbedOptions, Embedder, Input};
use akidb_server::{Class, EmbedRequest, EmbeddingService, ModelSettings, ServiceError, Settings};

fn mini(name: &str) -> ModelSettings {
    ModelSettings {
        name: name.to_owned(),
        builder: Embedder::builder().model("akidb-mini"),
    }
}

fn settings() -> Settings {
    Settings {
        models: vec![mini("akidb-mini")],
        ..Settings::default()
    }
}

fn service(settings: Settings) -> Arc<EmbeddingService> {
    Arc::new(EmbeddingService::new(settings).unwrap())
}

fn request(texts: &[String]) -> EmbedRequest {
    EmbedRequest {
        model: None,
        inputs: texts.iter().cloned().map(Input::from).collect(),
        options: EmbedOptions::default(),
        class: Class::Interactive,
        client: "client".into(),
        deadline: None,
    }
}

fn text(n: usize) -> String {
    format!("text number {n} {}", "and more ".repeat(n * n % 23))
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_the_same_time_have_the_librarys_vectors() {
    let service = service(Settings {
        result_cache_bytes: 1 << 20,
        ..settings()
    });
    let mut tasks = Vec::new();
    for n in 0..200 {
        let texts: Vec<String> = (0..n % 7).map(|i| text((n + i) % 50)).collect();
        let request = EmbedRequest {
            class: [Class::Interactive, Class::Bulk][n % 2],
            client: format!("{}", n % 3).into(),
            options: [EmbedOptions::default(), EmbedOptions::query()][n / 2 % 2].clone(),
            ..request(&texts)
        };
        let options = request.options.clone();
        let service = Arc::clone(&service);
        tasks.push((
            texts,
            options,
            tokio::spawn(async move { service.embed(request).await }),
        ));
    }
    let mut answers = Vec::new();
    for (texts, options, task) in tasks {
        answers.push((texts, options, task.await.unwrap().unwrap()));
    }
    let stats = service.stats();
    assert_eq!(stats.interactive, Default::default());
    assert_eq!(stats.bulk, Default::default());
    assert_eq!(stats.queue_bytes, 0);
    assert!(stats.cached_bytes > 0 && stats.cached_bytes <= 1 << 20);
    assert!(stats.tokens_per_second > 0.0);
    let embedder = Embedder::builder().model("akidb-mini").build().unwrap();
    for (texts, options, answer) in answers {
        let expected = embedder.embed(&texts, &options).unwrap();
        assert_eq!(answer.embeddings, expected.embeddings);
        assert_eq!(answer.total_tokens, expected.total_tokens);
        assert_eq!(*answer.provenance, expected.provenance);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_text_fails_its_request_alone_and_is_named() {
    let service = service(settings());
    let bad = EmbedRequest {
        inputs: vec![Input::from("fine"), Input::from(vec![4_000_000_000])],
        ..request(&[])
    };
    let texts = [text(1)];
    let (bad, good) = tokio::join!(service.embed(bad), service.embed(request(&texts)));
    let Err(ServiceError::Embed(error)) = bad else {
        panic!("{bad:?}");
    };
    assert!(matches!(*error, EmbedError::InvalidTokens { index: 1, .. }));
    assert_eq!(good.unwrap().embeddings.len(), 1);
}

#[tokio::test]
async fn what_a_request_may_have_is_checked() {
    let service = service(Settings {
        max_client_batch_size: 2,
        ..settings()
    });
    let error = service.embed(request(&[text(1), text(2), text(3)])).await;
    let expected = ServiceError::TooManyInputs { inputs: 3, most: 2 };
    assert_eq!(error.unwrap_err().to_string(), expected.to_string());
    let error = service
        .embed(EmbedRequest {
            model: Some("other".to_owned()),
            ..request(&[text(1)])
        })
        .await;
    let error = error.unwrap_err().to_string();
    assert_eq!(
        error,
        "there is no model \"other\": this server has akidb-mini"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_and_callers_that_go_end_work_that_has_not_begun() {
    let service = service(Settings {
        max_client_batch_size: 10_000,
        ..settings()
    });
    service.preload().await.unwrap();
    let many: Vec<String> = (0..5_000).map(|n| format!("{n} {}", text(n))).collect();
    let passed = EmbedRequest {
        deadline: Some(Instant::now() + Duration::from_millis(50)),
        ..request(&many)
    };
    let error = service.embed(passed).await.unwrap_err();
    assert!(matches!(error, ServiceError::DeadlineExceeded), "{error}");

    let embed = service.embed(request(&many));
    let gone = tokio::time::timeout(Duration::from_millis(50), embed).await;
    assert!(gone.is_err());
    assert_eq!(service.stats().interactive.items, 0);
    // The slice that is being tokenized ends first.
    while service.stats().queue_bytes > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(
        service
            .embed(request(&[text(1)]))
            .await
            .unwrap()
            .embeddings
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_too_long_or_too_large_refuses_at_once() {
    let service = service(Settings {
        max_wait: Duration::from_millis(20),
        max_client_batch_size: 10_000,
        max_queue_bytes: 64 << 20,
        ..settings()
    });
    service.preload().await.unwrap();
    // The pass that preloading runs is over.
    while service.embed(request(&[text(0)])).await.is_err() {}
    let many: Vec<String> = (0..2_000).map(|n| format!("{n} {}", text(n))).collect();
    let long = {
        let (service, many) = (Arc::clone(&service), many.clone());
        tokio::spawn(async move { service.embed(request(&many)).await })
    };
    while service.stats().interactive.items == 0 {
        assert!(!long.is_finished(), "{:?}", long.await.unwrap().err());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The same client waits for its own texts, another one has its turn.
    let start = Instant::now();
    let error = service.embed(request(&[text(1)])).await.unwrap_err();
    assert!(matches!(error, ServiceError::Overloaded { .. }), "{error}");
    let refused = start.elapsed();
    let large = EmbedRequest {
        client: "another".into(),
        ..request(&["x".repeat(64 << 20)])
    };
    let error = service.embed(large).await.unwrap_err();
    assert!(matches!(error, ServiceError::NoRoom { .. }), "{error}");
    assert!(!long.is_finished(), "refused after {refused:?}");
    assert_eq!(long.await.unwrap().unwrap().embeddings.len(), 2_000);
    assert_eq!(
        service
            .embed(request(&[text(1)]))
            .await
            .unwrap()
            .embeddings
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_finishes_what_was_accepted_and_refuses_the_rest() {
    let service = service(settings());
    service.preload().await.unwrap();
    let texts: Vec<String> = (0..500).map(text).collect();
    let accepted = {
        let (service, texts) = (Arc::clone(&service), texts.clone());
        tokio::spawn(async move { service.embed(request(&texts)).await })
    };
    while service.stats().queue_bytes == 0 && !accepted.is_finished() {
        tokio::task::yield_now().await;
    }
    service.drain().await;
    let error = service.embed(request(&texts)).await.unwrap_err();
    assert!(matches!(error, ServiceError::Stopped), "{error}");
    assert_eq!(accepted.await.unwrap().unwrap().embeddings.len(), 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_loaded_when_used_and_put_away_for_others() {
    let bytes = Embedder::builder().model("akidb-mini").describe().unwrap();
    let service = service(Settings {
        models: ["a", "b", "c"].map(mini).to_vec(),
        model_memory: Some(2 * bytes.weights_bytes),
        ..settings()
    });
    let loaded = || -> Vec<String> {
        let models = service.models().into_iter();
        models.filter(|m| m.loaded).map(|m| m.name).collect()
    };
    let embed = async |model: &str| {
        let request = EmbedRequest {
            model: Some(model.to_owned()),
            ..request(&[text(1)])
        };
        service.embed(request).await.unwrap().embeddings.remove(0)
    };
    assert!(loaded().is_empty());
    service.preload().await.unwrap();
    assert_eq!(loaded(), ["a"]);
    let first = embed("b").await;
    assert_eq!(loaded(), ["a", "b"]);
    embed("a").await;
    assert_eq!(embed("c").await, first);
    assert_eq!(loaded(), ["a", "c"]);
    // Ten at once load it once.
    let tasks = (0..10).map(|_| {
        let service = Arc::clone(&service);
        tokio::spawn(async move { service.model_facts(Some("b")).await })
    });
    for task in tasks.collect::<Vec<_>>() {
        assert_eq!(task.await.unwrap().unwrap().dimension, 256);
    }
    assert_eq!(loaded(), ["b", "c"]);
}

#[test]
fn a_model_that_is_not_there_or_too_large_is_told_at_the_start() {
    let missing = Settings {
        models: vec![ModelSettings {
            name: "gone".to_owned(),
            builder: Embedder::builder().model("/no/such/model"),
        }],
        ..settings()
    };
    let error = EmbeddingService::new(missing).unwrap_err();
    assert_eq!(error.to_string(), "the model gone can't be loaded");
    let large = Settings {
        model_memory: Some(1000),
        ..settings()
    };
    let error = EmbeddingService::new(large).unwrap_err().to_string();
    assert!(error.starts_with("model_memory is 1000 bytes"), "{error}");
}
