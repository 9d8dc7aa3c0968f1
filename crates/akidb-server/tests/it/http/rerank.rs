//! Ranking documents, in everybody's words.

use akidb_embedding::{RerankOptions, Reranker, Score};
use akidb_testing::fixture;
use serde_json::json;

use super::*;

const MODELS: [&str; 3] = ["xlmr", "bert", "qwen3-seq"];
const QUERY: &str = "What is the capital of France?";
const DOCUMENTS: [&str; 4] = [
    "Use sorted, or the method sort of the list itself.",
    "The capital of France is Paris.",
    "",
    "The capital of France is Paris.",
];

fn path(name: &str) -> String {
    let path = fixture(format!("tiny-rerankers/{name}"));
    path.to_string_lossy().into_owned()
}

/// Rerankers, and an embedding model.
static RERANKERS: LazyLock<SocketAddr> = LazyLock::new(|| {
    let reranker = |name: &str| ModelSettings {
        name: name.to_owned(),
        builder: Embedder::builder().model(path(name)).variant("safetensors"),
    };
    let mut models: Vec<ModelSettings> = MODELS.into_iter().map(reranker).collect();
    models.push(ModelSettings {
        name: "akidb-mini".to_owned(),
        builder: Embedder::builder().model("akidb-mini"),
    });
    serve(Settings {
        models,
        max_client_batch_size: MAX_INPUTS,
        ..Settings::default()
    })
});

fn ask(path: &str, body: &Value) -> Answer {
    let headers = [("content-type", "application/json")];
    post_to(*RERANKERS, path, &headers, body.to_string().as_bytes())
}

/// What the library says.
fn scores(name: &str) -> Vec<Score> {
    let model = if name == "akidb-mini" {
        name.to_owned()
    } else {
        path(name)
    };
    let mut builder = Reranker::builder().model(model);
    if name != "akidb-mini" {
        builder = builder.variant("safetensors");
    }
    let options = RerankOptions::default();
    builder
        .build()
        .unwrap()
        .rerank(QUERY, &DOCUMENTS, &options)
        .unwrap()
}

fn numbers(results: &Value, field: &str) -> Vec<(usize, f32)> {
    let number = |result: &Value| {
        let index = result["index"].as_u64().unwrap() as usize;
        (index, result[field].as_f64().unwrap() as f32)
    };
    results.as_array().unwrap().iter().map(number).collect()
}

#[test]
fn every_interface_gives_the_librarys_bits() {
    for name in MODELS.into_iter().chain(["akidb-mini"]) {
        let expected: Vec<_> = scores(name).iter().map(|s| (s.index, s.score)).collect();
        let body = json!({"model": name, "query": QUERY, "documents": DOCUMENTS});
        for path in ["/v1/rerank", "/v2/rerank", "/rerank"] {
            let answer = ask(path, &body).ok();
            let found = numbers(&answer["results"], "relevance_score");
            assert_eq!(found, expected, "{name} {path}");
            assert_eq!(answer["model"], name);
            let scoring = if name == "akidb-mini" {
                "cosine"
            } else {
                "model"
            };
            assert_eq!(answer["provenance"]["scoring"], scoring);
        }
        let body = json!({"model": name, "text_1": QUERY, "text_2": DOCUMENTS});
        let answer = ask("/score", &body).ok();
        let mut in_order = expected.clone();
        in_order.sort_by_key(|(index, _)| *index);
        assert_eq!(numbers(&answer["data"], "score"), in_order, "{name}");
    }
}

#[test]
fn teis_scores_are_probabilities_or_logits() {
    for name in MODELS {
        let expected = scores(name);
        let body = json!({
            "model": name, "query": QUERY, "texts": DOCUMENTS, "raw_scores": true, "return_text": true,
        });
        let answer = ask("/rerank", &body).ok();
        let logits: Vec<_> = expected.iter().map(|s| (s.index, s.logit)).collect();
        assert_eq!(numbers(&answer, "score"), logits, "{name}");
        assert_eq!(answer[0]["text"], DOCUMENTS[expected[0].index]);
        let body = json!({"model": name, "query": QUERY, "texts": DOCUMENTS});
        let answer = ask("/rerank", &body).ok();
        for ((index, score), logit) in numbers(&answer, "score").iter().zip(&logits) {
            assert_eq!(*index, logit.0);
            assert!(
                (score - 1.0 / (1.0 + (-logit.1).exp())).abs() < 1e-6,
                "{name}"
            );
        }
        assert_eq!(
            shape(&answer),
            json!([{"index": "integer", "score": "float"}])
        );
    }
}

#[test]
fn answers_have_the_fields_of_all_clients() {
    let body = json!({
        "query": QUERY, "top_n": 2, "return_documents": true, "max_tokens_per_doc": 3,
        "documents": ["a", {"text": "The capital of France is Paris, and this is longer."}, "c"],
    });
    let answer = ask("/v1/rerank", &body).ok();
    assert_eq!(answer["results"].as_array().unwrap().len(), 2);
    let mut fields = shape(&answer);
    let fields = fields.as_object_mut().unwrap();
    assert!(fields.remove("provenance").is_some());
    assert_eq!(
        json!(fields),
        json!({
            "id": "string", "object": "string", "model": "string",
            "usage": {"prompt_tokens": "integer", "total_tokens": "integer"},
            "results": [{
                "index": "integer", "relevance_score": "float", "document": {"text": "string"},
                "tokens": "integer", "truncated": "bool",
            }],
            "meta": {
                "api_version": {"version": "string"}, "billed_units": {"search_units": "integer"},
            },
        })
    );
    let all = json!({
        "query": QUERY, "top_n": 0, "max_tokens_per_doc": 3, "documents": body["documents"],
    });
    let answer = ask("/v2/rerank", &all).ok();
    let results = answer["results"].as_array().unwrap();
    let cut: Vec<_> = results.iter().filter(|r| r["truncated"] == true).collect();
    assert_eq!((results.len(), cut.len()), (3, 1));
    assert_eq!(cut[0]["index"], 1);
    assert!(cut[0].get("document").is_none());
    assert_eq!(answer["meta"]["api_version"]["version"], "2");
}

#[test]
fn pairs_are_one_with_each_or_each_with_its_own() {
    let score =
        |first: Value, second: Value| ask("/v1/score", &json!({"text_1": first, "text_2": second}));
    let pairs = score(json!([QUERY, "b"]), json!(["x", "y"])).ok();
    let first = score(json!(QUERY), json!("x")).ok();
    let second = score(json!(["b"]), json!(["y"])).ok();
    assert_eq!(pairs["data"][0]["score"], first["data"][0]["score"]);
    assert_eq!(pairs["data"][1]["score"], second["data"][0]["score"]);
    assert_eq!(pairs["data"][1]["index"], 1);
    let wrong = score(json!(["a", "b"]), json!(["x", "y", "z"]));
    assert_eq!(wrong.status, 400, "{wrong:?}");
}

#[test]
fn errors_are_in_each_interfaces_words() {
    let many = vec!["a"; MAX_INPUTS + 1];
    let embedder = json!({
        "model": "akidb-mini", "query": "a", "documents": ["b"], "scoring": "model",
    });
    let long = "word ".repeat(1000);
    for (body, part) in [
        (
            json!({"query": "a", "documents": []}),
            "`documents` cannot be empty",
        ),
        (
            json!({"query": "", "documents": ["a"]}),
            "`query` cannot be empty",
        ),
        (json!({"query": "a", "documents": many}), "41 inputs"),
        (
            json!({"query": "a", "documents": [{"id": 1}]}),
            "index 0 has no text",
        ),
        (
            json!({"query": long, "documents": ["a"]}),
            "the query is too long",
        ),
        (
            json!({"query": "a", "documents": ["a"], "priority": 1000}),
            "0 to 999",
        ),
        (
            json!({"query": "a", "documents": ["a"], "instruction": "b"}),
            "takes no instruction",
        ),
        (embedder, "akidb-mini is an embedding model"),
    ] {
        for path in ["/v1/rerank", "/v2/rerank", "/rerank"] {
            let answer = ask(path, &body);
            let error = answer.json();
            assert_eq!(answer.status, 400, "{path} {error}");
            let message = error["message"].as_str().unwrap();
            assert!(message.contains(part), "{path} {message}");
            if path != "/v2/rerank" {
                assert_eq!(error["error"]["message"], message);
                assert_eq!(error["error"]["code"], 400);
                assert_eq!(error["detail"], message);
            }
        }
    }
    let none = json!({"model": "none", "query": "a", "documents": ["b"]});
    assert_eq!(ask("/v1/rerank", &none).status, 404);
    for (body, status, kind) in [
        (json!({"query": "a", "texts": []}), 400, "Empty"),
        (json!({"query": "a"}), 422, "Validation"),
        (json!({"query": "a", "texts": many}), 413, "Validation"),
        (
            json!({"query": "a", "texts": [long], "truncate": false}),
            422,
            "Validation",
        ),
    ] {
        let answer = ask("/rerank", &body);
        let error = answer.json();
        assert_eq!(
            (answer.status, &error["error_type"]),
            (status, &json!(kind)),
            "{error}"
        );
    }
}

#[test]
fn a_reranker_makes_no_vectors() {
    for (path, body) in [
        ("/v1/embeddings", json!({"input": "a"})),
        ("/v1/embed", json!({"texts": ["a"]})),
        ("/api/embed", json!({"model": "xlmr", "input": "a"})),
    ] {
        let answer = ask(path, &body);
        assert_eq!(answer.status, 400, "{path} {answer:?}");
        assert!(answer.body.contains("is a reranker"), "{path} {answer:?}");
    }
    let answer = ask("/embed", &json!({"inputs": "a"}));
    assert_eq!(answer.status, 422, "{answer:?}");
}

#[test]
fn models_say_what_they_can_do() {
    let get = |path: &str| get_from(*RERANKERS, path);
    let by_model = json!({"embed": false, "rerank": true, "scoring": "model"});
    let by_cosine = json!({"embed": true, "rerank": true, "scoring": "cosine"});
    let info: Value = serde_json::from_str(&get("/info?model=bert").body).unwrap();
    assert_eq!(info["capabilities"], by_model);
    assert_eq!(info["dimension"], Value::Null);
    assert_eq!(info["model_type"]["reranker"]["id2label"]["0"], "LABEL_0");
    assert_eq!(info["model_capabilities"]["bert"], by_model);
    assert_eq!(info["model_capabilities"]["akidb-mini"], by_cosine);
    let info: Value = serde_json::from_str(&get("/info?model=akidb-mini").body).unwrap();
    assert_eq!(info["capabilities"], by_cosine);
    assert!(info["model_type"]["embedding"]["pooling"].is_string());
    let listed: Value = serde_json::from_str(&get("/v1/models").body).unwrap();
    for model in listed["data"].as_array().unwrap() {
        let is_embedder = model["id"] == "akidb-mini";
        let expected = if is_embedder { &by_cosine } else { &by_model };
        assert_eq!(&model["capabilities"], expected, "{model}");
    }
}
