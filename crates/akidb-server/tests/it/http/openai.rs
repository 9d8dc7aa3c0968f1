//! OpenAI's interface.

use akidb_embedding::{Encoding, Prompt};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use super::*;

const PATH: &str = "/v1/embeddings";

#[test]
fn vectors_are_the_librarys() {
    let answer = post(PATH, &json!({"input": ["a", "b c"], "model": "akidb-mini"})).ok();
    for (data, expected) in answer["data"]
        .as_array()
        .unwrap()
        .iter()
        .zip(vectors(&["a", "b c"], &EmbedOptions::default()))
    {
        assert_eq!(floats(&data["embedding"]), expected);
    }
    assert_eq!(answer["data"][1]["index"], 1);
    assert_eq!(answer["data"][1]["tokens"], 3);
    assert_eq!(answer["usage"]["total_tokens"], 5);
    assert_eq!(answer["provenance"]["backend"], "native");
}

#[test]
fn the_answer_has_the_shape_that_clients_know() {
    let answer = post(PATH, &json!({"input": "a", "user": "u", "unknown": [1]})).ok();
    let expected = json!({
        "object": "string",
        "data": [{
            "object": "string", "index": "integer", "embedding": ["float"],
            "tokens": "integer", "truncated": "bool",
        }],
        "model": "string",
        "usage": {"prompt_tokens": "integer", "total_tokens": "integer"},
        "provenance": {
            "model": "string", "revision": "string", "variant": "string", "precision": "string",
            "backend": "string", "device": "string", "pooling": "string", "instruction": "string",
            "dimension": "integer", "normalized": "bool", "encoding": "string",
        },
    });
    assert_eq!(shape(&answer), expected);
    assert_eq!(
        (&answer["object"], &answer["model"]),
        (&json!("list"), &json!("akidb-mini"))
    );
}

#[test]
fn base64_is_the_same_numbers() {
    let answer = post(PATH, &json!({"input": "a", "encoding_format": "base64"})).ok();
    let bytes = BASE64_STANDARD
        .decode(answer["data"][0]["embedding"].as_str().unwrap())
        .unwrap();
    let values: Vec<f32> = bytes
        .as_chunks()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    assert_eq!(values, vectors(&["a"], &EmbedOptions::default())[0]);
}

#[test]
fn prompts_go_by_their_names_and_formats_in_any_case() {
    let body = json!({"input": "a", "prompt_name": "query", "encoding_format": "FLOAT"});
    let answer = post(PATH, &body).ok();
    let expected = vectors(&["a"], &EmbedOptions::query());
    assert_eq!(floats(&answer["data"][0]["embedding"]), expected[0]);
    let body = json!({"input": "a", "encoding_format": "Base64"});
    assert!(post(PATH, &body).ok()["data"][0]["embedding"].is_string());
    let body = json!({"input": "a", "encoding_format": null});
    assert!(post(PATH, &body).ok()["data"][0]["embedding"].is_array());
}

#[test]
fn token_ids_are_taken() {
    let ids = |text: &str| {
        let tokens = EMBEDDER
            .tokenize(&[text], &EmbedOptions::default())
            .unwrap();
        tokens.into_iter().next().unwrap().unwrap().ids
    };
    let (first, second) = (ids("Hello, world!"), ids("b c"));
    let expected = vectors(&["Hello, world!", "b c"], &EmbedOptions::default());
    let one = post(PATH, &json!({ "input": first })).ok();
    assert_eq!(floats(&one["data"][0]["embedding"]), expected[0]);
    let two = post(PATH, &json!({"input": [first, second]})).ok();
    assert_eq!(floats(&two["data"][1]["embedding"]), expected[1]);
    assert_eq!(two["data"][2], Value::Null);
}

#[test]
fn dimensions_input_type_and_instruction() {
    let options = EmbedOptions {
        dimension: Some(64),
        ..EmbedOptions::query()
    };
    let answer = post(
        PATH,
        &json!({"input": "a", "dimensions": 64, "input_type": "query"}),
    )
    .ok();
    assert_eq!(
        floats(&answer["data"][0]["embedding"]),
        vectors(&["a"], &options)[0]
    );
    assert_eq!(answer["provenance"]["dimension"], 64);

    let options = EmbedOptions {
        prompt: Prompt::Instruction("Find code".to_owned()),
        encoding: Encoding::F32,
        ..EmbedOptions::default()
    };
    let answer = post(PATH, &json!({"input": "a", "instruction": "Find code"})).ok();
    assert_eq!(
        floats(&answer["data"][0]["embedding"]),
        vectors(&["a"], &options)[0]
    );
    assert_eq!(
        answer["provenance"]["instruction"],
        "Instruct: Find code\nQuery:"
    );
    let long = json!({"input": vec!["a"; 30], "instruction": "x".repeat(20_000)});
    let answer = post(PATH, &long);
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(answer.json()["error"]["param"], "instruction");
}

#[test]
fn a_long_text_is_refused_or_cut_and_said_to_be() {
    let long = "word ".repeat(3_000);
    let refused = post(PATH, &json!({ "input": long }));
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["error"]["code"], "context_length_exceeded");
    assert_eq!(refused.json()["error"]["param"], "input");
    assert!(
        refused.body.contains("maximum context length"),
        "{refused:?}"
    );
    let cut = post(PATH, &json!({"input": ["a", long], "truncate": "END"})).ok();
    assert_eq!(cut["data"][0]["truncated"], false);
    assert_eq!(cut["data"][1]["truncated"], true);
    assert_eq!(cut["data"][1]["tokens"], EMBEDDER.max_tokens());
    let tail = post(
        PATH,
        &json!({"input": format!("{long}end"), "truncate": "START"}),
    )
    .ok();
    assert_ne!(tail["data"][0]["embedding"], cut["data"][1]["embedding"]);
}

#[test]
fn models_are_listed_and_found_by_name() {
    let list = get("/v1/models").ok();
    assert_eq!(list["object"], "list");
    let ids: Vec<_> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| &m["id"])
        .collect();
    assert_eq!(ids, ["akidb-mini", "team/second", "broken"]);
    let one = get("/v1/models/team/second").ok();
    assert_eq!(
        shape(&one),
        json!({
            "id": "string", "object": "string", "created": "integer", "owned_by": "string",
            "capabilities": {"embed": "bool", "rerank": "bool", "scoring": "string"},
        })
    );
    assert_eq!(
        (&one["id"], &one["object"]),
        (&json!("team/second"), &json!("model"))
    );
    let none = get("/v1/models/third");
    assert_eq!(
        (none.status, none.json()["error"]["code"].as_str()),
        (404, Some("model_not_found"))
    );
    let second = post(PATH, &json!({"input": "a", "model": "team/second"})).ok();
    assert_eq!(second["model"], "team/second");
}
