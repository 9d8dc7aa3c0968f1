//! Documents for a query: AkiDB's `Rerank` and Text Embeddings Inference's.

use akidb_embedding::{OnLong, RerankOptions, Reranker, Score};
use akidb_server::ModelSettings;
use akidb_testing::fixture;

use super::generated::rerank_stream_response::Result as RankingResult;
use super::generated::{RerankRequest, RerankResponse, RerankStreamRequest, Scoring};
use super::generated_tei::info_client::InfoClient;
use super::generated_tei::rerank_client::RerankClient;
use super::generated_tei::{
    InfoRequest, ModelType, RerankRequest as TeiRequest, RerankStreamRequest as TeiText,
    TruncationDirection,
};
use super::*;

const QUERY: &str = "What is the capital of France?";
const DOCUMENTS: [&str; 4] = [
    "Use sorted, or the method sort of the list itself.",
    "The capital of France is Paris.",
    "",
    "The capital of France is Paris.",
];

/// A reranker of pairs with a template, which is the first, one with a sigmoid less, and an embedder.
fn rerankers() -> Running {
    let reranker = |name: &str| {
        let path = fixture(format!("tiny-rerankers/{name}"));
        ModelSettings {
            name: name.to_owned(),
            builder: Embedder::builder()
                .model(path.to_string_lossy())
                .variant("safetensors"),
        }
    };
    let mut models: Vec<ModelSettings> = ["qwen3-seq", "bert"].map(reranker).into();
    models.extend(settings().models);
    Running::start(Settings {
        models,
        ..settings()
    })
}

fn expected(model: &str, options: &RerankOptions) -> Vec<Score> {
    let path = |name: &str| fixture(format!("tiny-rerankers/{name}"));
    let builder = match model {
        "akidb-mini" => Reranker::builder().model(model),
        name => Reranker::builder()
            .model(path(name).to_string_lossy())
            .variant("safetensors"),
    };
    let scores = builder.build().unwrap().rerank(QUERY, &DOCUMENTS, options);
    scores.unwrap()
}

fn request(model: &str) -> RerankRequest {
    RerankRequest {
        query: QUERY.to_owned(),
        documents: DOCUMENTS.map(str::to_owned).into(),
        model: Some(model.to_owned()),
        ..RerankRequest::default()
    }
}

/// Index, score and logit of each document.
fn ranked(answer: &RerankResponse) -> Vec<(usize, u32, u32)> {
    let documents = answer.documents.iter();
    documents
        .map(|d| (d.index as usize, d.score.to_bits(), d.logit.to_bits()))
        .collect()
}

fn bits(scores: &[Score]) -> Vec<(usize, u32, u32)> {
    let scores = scores.iter();
    scores
        .map(|s| (s.index, s.score.to_bits(), s.logit.to_bits()))
        .collect()
}

#[tokio::test]
async fn scores_are_the_librarys() {
    let server = rerankers();
    let mut client = client(&server).await;
    for (model, scoring) in [
        ("qwen3-seq", Scoring::Model),
        ("bert", Scoring::Model),
        ("akidb-mini", Scoring::Cosine),
    ] {
        let answer = client.rerank(request(model)).await.unwrap().into_inner();
        let scores = expected(model, &RerankOptions::default());
        assert_eq!(ranked(&answer), bits(&scores), "{model}");
        assert_eq!(answer.provenance.unwrap().scoring, i32::from(scoring));
        assert!(answer.usage.unwrap().total_tokens > 8);
        assert_eq!(answer.documents[0].text, None);
    }
    let few = RerankRequest {
        top_n: 2,
        return_documents: true,
        max_tokens_per_document: Some(3),
        ..request("bert")
    };
    let answer = client.rerank(few).await.unwrap().into_inner();
    let options = RerankOptions {
        top_n: Some(2),
        max_document_tokens: Some(3),
        ..RerankOptions::default()
    };
    assert_eq!(ranked(&answer), bits(&expected("bert", &options)));
    for document in &answer.documents {
        let text = document.text.as_deref().unwrap();
        assert_eq!(text, DOCUMENTS[document.index as usize]);
        assert_eq!(document.truncated, !text.is_empty());
    }
}

#[tokio::test]
async fn models_say_what_they_can_do() {
    let server = rerankers();
    let mut client = client(&server).await;
    for (model, embeds, scoring) in [
        ("bert", false, Scoring::Model),
        ("akidb-mini", true, Scoring::Cosine),
    ] {
        let asked = GetModelInfoRequest {
            model: Some(model.to_owned()),
        };
        let info = client.get_model_info(asked).await.unwrap().into_inner();
        assert_eq!(
            (info.embeds, info.dimension > 0),
            (embeds, embeds),
            "{model}"
        );
        assert_eq!(info.scoring, i32::from(scoring), "{model}");
    }
    let mut tei = InfoClient::new(channel(&server).await);
    let info = tei.info(InfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.model_type, i32::from(ModelType::Reranker));
}

#[tokio::test]
async fn what_cannot_be_ranked_is_said() {
    let server = rerankers();
    let mut client = client(&server).await;
    let long = "word ".repeat(3_000);
    for (request, field) in [
        (
            RerankRequest {
                query: String::new(),
                ..request("bert")
            },
            Some("query"),
        ),
        (
            RerankRequest {
                documents: Vec::new(),
                ..request("bert")
            },
            Some("documents"),
        ),
        (
            RerankRequest {
                instruction: Some("a task".to_owned()),
                ..request("bert")
            },
            Some("instruction"),
        ),
        (
            RerankRequest {
                scoring: 7,
                ..request("bert")
            },
            Some("scoring"),
        ),
        (
            RerankRequest {
                scoring: Scoring::Cosine.into(),
                ..request("bert")
            },
            Some("model"),
        ),
        (
            RerankRequest {
                scoring: Scoring::Model.into(),
                ..request("akidb-mini")
            },
            Some("model"),
        ),
        (
            RerankRequest {
                query: long.clone(),
                ..request("bert")
            },
            Some("query"),
        ),
        (
            RerankRequest {
                documents: vec![long.clone()],
                truncate: Some(false),
                ..request("bert")
            },
            None,
        ),
        (
            RerankRequest {
                documents: vec![String::new(); 3_000],
                ..request("bert")
            },
            None,
        ),
    ] {
        let status = client.rerank(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        if let Some(field) = field {
            let details = status.get_error_details();
            let violation = &details.bad_request().unwrap().field_violations[0];
            assert_eq!(violation.field, field, "{status}");
        }
    }
    let other = client.rerank(request("other")).await.unwrap_err();
    assert_eq!(other.code(), Code::NotFound);
    // The client of tonic keeps its time itself: this one doesn't.
    let many = RerankRequest {
        documents: (0..1_000).map(|n| format!("a text, number {n}")).collect(),
        model: None,
        ..request("")
    };
    let many = prost::Message::encode_to_vec(&many);
    let late = call("Rerank", &many, ("grpc-timeout", "1m")).await;
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late}");
}

#[tokio::test]
async fn many_requests_over_one_call_have_their_own_answers() {
    let server = rerankers();
    let mut client = client(&server).await;
    let messages = (0..20).map(|id| RerankStreamRequest {
        id,
        request: (id != 3).then(|| request(if id == 7 { "other" } else { "bert" })),
    });
    let messages: Vec<_> = messages.collect();
    let answers = client.rerank_stream(stream::iter(messages)).await.unwrap();
    let answers: Vec<_> = answers.into_inner().collect().await;
    let scores = expected("bert", &RerankOptions::default());
    assert_eq!(answers.len(), 20);
    for (id, answer) in (0..).zip(answers) {
        let answer = answer.unwrap();
        assert_eq!(answer.id, id);
        match answer.result.unwrap() {
            RankingResult::Response(answer) => assert_eq!(ranked(&answer), bits(&scores)),
            RankingResult::Error(error) => {
                let code = if id == 7 {
                    Code::NotFound
                } else {
                    Code::InvalidArgument
                };
                assert!([3, 7].contains(&id), "{error:?}");
                assert_eq!(error.code, i32::from(code));
            }
        }
    }
}

fn tei() -> TeiRequest {
    TeiRequest {
        query: QUERY.to_owned(),
        texts: DOCUMENTS.map(str::to_owned).into(),
        truncate: true,
        ..TeiRequest::default()
    }
}

#[tokio::test]
async fn text_embeddings_inferences_ranks_are_the_librarys() {
    let server = rerankers();
    let mut client = RerankClient::new(channel(&server).await);
    let scores = expected("qwen3-seq", &RerankOptions::default());
    let answer = client.rerank(tei()).await.unwrap().into_inner();
    let found: Vec<_> = answer
        .ranks
        .iter()
        .map(|r| (r.index as usize, r.score))
        .collect();
    let probabilities: Vec<_> = scores.iter().map(|s| (s.index, s.score)).collect();
    assert_eq!(found, probabilities);
    let metadata = answer.metadata.unwrap();
    let characters: usize = DOCUMENTS.iter().map(|text| text.len()).sum();
    assert_eq!(metadata.compute_chars as usize, characters);
    let raw = TeiRequest {
        raw_scores: true,
        return_text: true,
        ..tei()
    };
    let answer = client.rerank(raw).await.unwrap().into_inner();
    for (rank, score) in answer.ranks.iter().zip(&scores) {
        assert_eq!(
            (rank.index as usize, rank.score),
            (score.index, score.logit)
        );
        assert_eq!(rank.text.as_deref(), Some(DOCUMENTS[score.index]));
    }
    for request in [
        TeiRequest {
            texts: Vec::new(),
            ..tei()
        },
        TeiRequest {
            truncate: false,
            texts: vec!["word ".repeat(3_000)],
            ..tei()
        },
        TeiRequest {
            truncation_direction: 7,
            ..tei()
        },
    ] {
        let status = client.rerank(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
}

#[tokio::test]
async fn texts_may_come_one_by_one_and_each_has_its_query() {
    let server = rerankers();
    let mut client = RerankClient::new(channel(&server).await);
    let text = |query: &str, text: &str| TeiText {
        query: query.to_owned(),
        text: text.to_owned(),
        truncate: true,
        return_text: true,
        ..TeiText::default()
    };
    let messages: Vec<_> = DOCUMENTS
        .iter()
        .map(|document| text(QUERY, document))
        .collect();
    let answer = client.rerank_stream(stream::iter(messages.clone())).await;
    let streamed = answer.unwrap().into_inner().ranks;
    let whole = TeiRequest {
        return_text: true,
        ..tei()
    };
    let whole = client.rerank(whole).await.unwrap().into_inner().ranks;
    assert_eq!(streamed, whole);

    let mut several = messages.clone();
    several.insert(2, text("sort a list", DOCUMENTS[0]));
    let answer = client.rerank_stream(stream::iter(several)).await;
    let ranks = answer.unwrap().into_inner().ranks;
    let mut indices: Vec<u32> = ranks.iter().map(|rank| rank.index).collect();
    assert!(ranks.is_sorted_by(|a, b| a.score >= b.score));
    indices.sort_unstable();
    assert_eq!(indices, [0, 1, 2, 3, 4]);

    let none = client.rerank_stream(stream::iter(Vec::new())).await;
    assert_eq!(none.unwrap_err().code(), Code::InvalidArgument);
    let many = vec![messages[2].clone(); 3_000];
    let many = client.rerank_stream(stream::iter(many)).await;
    assert_eq!(many.unwrap_err().code(), Code::InvalidArgument);
    let left = TeiText {
        truncation_direction: TruncationDirection::Left.into(),
        ..text(QUERY, &format!("{}end", "word ".repeat(3_000)))
    };
    let left = client.rerank_stream(stream::iter([left])).await.unwrap();
    let options = RerankOptions {
        on_long: OnLong::TruncateStart,
        ..RerankOptions::default()
    };
    let path = fixture("tiny-rerankers/qwen3-seq");
    let library = Reranker::builder()
        .model(path.to_string_lossy())
        .variant("safetensors");
    let document = format!("{}end", "word ".repeat(3_000));
    let score = library
        .build()
        .unwrap()
        .rerank(QUERY, &[document], &options);
    assert_eq!(left.into_inner().ranks[0].score, score.unwrap()[0].score);
}
