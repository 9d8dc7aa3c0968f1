//! Cohere's interface.

use akidb_embedding::{Encoding, Values};
use serde_json::json;

use super::*;

const PATH: &str = "/v2/embed";

fn embed(more: Value) -> Answer {
    let mut body = json!({"model": "akidb-mini", "input_type": "search_document"});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    post(PATH, &body)
}

#[test]
fn vectors_are_the_librarys() {
    let answer = embed(json!({"texts": ["a", "b c"]})).ok();
    let expected = vectors(&["a", "b c"], &EmbedOptions::default());
    assert_eq!(floats(&answer["embeddings"]["float"][0]), expected[0]);
    assert_eq!(floats(&answer["embeddings"]["float"][1]), expected[1]);
    let mut fields = shape(&answer);
    assert!(
        fields
            .as_object_mut()
            .unwrap()
            .remove("provenance")
            .is_some()
    );
    assert_eq!(
        fields,
        json!({
            "response_type": "string", "id": "string", "embeddings": {"float": [["float"]]},
            "texts": ["string"],
            "meta": {
                "api_version": {"version": "string"}, "billed_units": {"input_tokens": "integer"},
                "tokens": {"input_tokens": "integer"},
            },
            "inputs": [{"tokens": "integer", "truncated": "bool"}],
        })
    );
    assert_eq!(answer["response_type"], "embeddings_by_type");
    assert_eq!(
        (&answer["texts"], &answer["meta"]["tokens"]["input_tokens"]),
        (&json!(["a", "b c"]), &json!(5))
    );
}

#[test]
fn queries_parts_and_widths() {
    let options = EmbedOptions {
        dimension: Some(64),
        ..EmbedOptions::query()
    };
    let body = json!({
        "input_type": "search_query", "output_dimension": 64, "priority": 1,
        "inputs": [{"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
    });
    let answer = embed(body).ok();
    assert_eq!(
        floats(&answer["embeddings"]["float"][0]),
        vectors(&["a\nb"], &options)[0]
    );
    assert_eq!(answer["texts"], json!(["a\nb"]));
}

#[test]
fn every_type_is_the_same_vector() {
    let types = json!([
        "float", "int8", "uint8", "binary", "ubinary", "base64", "float"
    ]);
    let answer = embed(json!({"texts": ["a"], "embedding_types": types})).ok();
    let encoded = |encoding| {
        let options = EmbedOptions {
            encoding,
            ..EmbedOptions::default()
        };
        EMBEDDER
            .embed(&["a"], &options)
            .unwrap()
            .embeddings
            .remove(0)
            .values
    };
    let (Values::I8 { codes, .. }, Values::Binary(bits)) =
        (encoded(Encoding::I8), encoded(Encoding::Binary))
    else {
        panic!("the library encodes as it is told");
    };
    let embeddings = &answer["embeddings"];
    let ints =
        |name: &str| -> Vec<i64> { serde_json::from_value(embeddings[name][0].clone()).unwrap() };
    let codes: Vec<i64> = codes.into_iter().map(i64::from).collect();
    let bits: Vec<i64> = bits.into_iter().map(i64::from).collect();
    assert_eq!(ints("int8"), codes);
    assert_eq!(
        ints("uint8"),
        codes.iter().map(|code| code + 128).collect::<Vec<_>>()
    );
    assert_eq!(ints("ubinary"), bits);
    assert_eq!(
        ints("binary"),
        bits.iter().map(|byte| byte - 128).collect::<Vec<_>>()
    );
    assert_eq!(embeddings.as_object().unwrap().len(), 6);
    let only = embed(json!({"texts": ["a"], "embedding_types": ["base64"]})).ok();
    assert_eq!(only["embeddings"], json!({"base64": embeddings["base64"]}));
}

#[test]
fn older_clients_have_a_list_where_they_name_no_type() {
    let older = |more: Value| {
        let mut body = json!({"model": "akidb-mini", "texts": ["a", "b c"]});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        post("/v1/embed", &body)
    };
    let answer = older(json!({})).ok();
    let expected = vectors(&["a", "b c"], &EmbedOptions::default());
    assert_eq!(floats(&answer["embeddings"][1]), expected[1]);
    assert_eq!(answer["response_type"], "embeddings_floats");
    assert_eq!(answer["meta"]["api_version"]["version"], "1");
    let types = json!({"input_type": "search_query", "embedding_types": ["float"]});
    let answer = older(types).ok();
    let expected = vectors(&["a"], &EmbedOptions::query());
    assert_eq!(floats(&answer["embeddings"]["float"][0]), expected[0]);
    assert_eq!(answer["response_type"], "embeddings_by_type");
    let error = older(json!({"truncate": "MIDDLE"}));
    assert_eq!(error.status, 400);
    assert_eq!(
        shape(&error.json()),
        json!({"id": "string", "message": "string"})
    );
}

#[test]
fn long_texts() {
    let long = "word ".repeat(3_000);
    let none = embed(json!({"texts": [long], "truncate": "NONE"}));
    assert_eq!(none.status, 400);
    let end = embed(json!({"texts": [long, "a"]})).ok();
    assert_eq!(
        (
            &end["inputs"][0]["truncated"],
            &end["inputs"][1]["truncated"]
        ),
        (&json!(true), &json!(false))
    );
    let start =
        embed(json!({"texts": [format!("{long}end")], "truncate": "START", "max_tokens": 16})).ok();
    assert_eq!(start["inputs"][0], json!({"tokens": 16, "truncated": true}));
    let more = embed(json!({"texts": ["a"], "max_tokens": 1_000_000})).ok();
    assert_eq!(more["inputs"][0]["truncated"], false);
}

#[test]
fn errors_are_coheres() {
    for (body, status, message) in [
        (json!({"texts": []}), 400, "`texts` cannot be empty"),
        (json!({}), 400, "`texts` cannot be empty"),
        (
            json!({"texts": ["a"], "input_type": "image"}),
            400,
            "unknown variant `image`",
        ),
        (
            json!({"texts": ["a"], "images": ["data:"]}),
            400,
            "images are not supported",
        ),
        (
            json!({"inputs": [{"content": [{"type": "image_url"}]}]}),
            400,
            "inputs[0].content[0].type",
        ),
        (json!({"texts": ["a"], "inputs": []}), 400, "not both"),
        (json!({"inputs": [{"content": []}]}), 400, "`content` of"),
        (json!({"texts": ["a"], "priority": 1000}), 400, "0 to 999"),
        (
            json!({"texts": ["a"], "embedding_types": ["int4"]}),
            400,
            "embedding_types[0]",
        ),
        (
            json!({"texts": ["a"], "output_dimension": 0}),
            400,
            "dimension 0 is not possible",
        ),
        (
            json!({"texts": ["a"], "max_tokens": 1}),
            400,
            "a limit of 1 tokens",
        ),
        (
            json!({"texts": ["a"], "model": "third"}),
            404,
            "there is no model",
        ),
    ] {
        let answer = embed(body);
        let error = answer.json();
        assert_eq!(answer.status, status, "{error}");
        assert_eq!(shape(&error), json!({"id": "string", "message": "string"}));
        assert!(
            error["message"].as_str().unwrap().contains(message),
            "{error}"
        );
    }
    let untyped = post(PATH, &json!({"texts": ["a"]})).json();
    assert!(
        untyped["message"]
            .as_str()
            .unwrap()
            .contains("missing field `input_type`")
    );
}
