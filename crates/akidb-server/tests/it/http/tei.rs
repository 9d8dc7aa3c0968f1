//! Text Embeddings Inference's interface.

use serde_json::json;

use super::*;

#[test]
fn vectors_are_the_librarys() {
    let expected = vectors(&["a", "b c"], &EmbedOptions::default());
    let answer = post("/embed", &json!({"inputs": ["a", "b c"]})).ok();
    assert_eq!(floats(&answer[0]), expected[0]);
    assert_eq!(floats(&answer[1]), expected[1]);
    for path in ["/", "/invocations"] {
        let one = post(path, &json!({"inputs": "a"})).ok();
        assert_eq!(floats(&one[0]), expected[0]);
    }
    assert_eq!(get("/ping").status, 200);
    let ids = EMBEDDER.tokenize(&["a"], &EmbedOptions::default()).unwrap();
    let ids = &ids[0].as_ref().unwrap().ids;
    let of_ids = post("/embed", &json!({ "inputs": [ids] })).ok();
    assert_eq!(floats(&of_ids[0]), expected[0]);

    let options = EmbedOptions {
        normalize: false,
        dimension: Some(32),
        ..EmbedOptions::query()
    };
    let body = json!({
        "inputs": "a", "normalize": false, "dimensions": 32, "prompt_name": "query",
        "model": "team/second",
    });
    let answer = post("/embed", &body).ok();
    assert_eq!(floats(&answer[0]), vectors(&["a"], &options)[0]);
}

#[test]
fn headers_say_what_the_body_has_no_room_for() {
    let long = "word ".repeat(3_000);
    let answer = post("/embed", &json!({"inputs": ["a", long, "b c"]}));
    let header = |name: &str| answer.headers[name].as_str();
    assert_eq!(
        header("x-akidb-tokens"),
        format!("2,{},3", EMBEDDER.max_tokens())
    );
    assert_eq!(header("x-akidb-truncated"), "1");
    assert_eq!(header("x-akidb-truncated-inputs"), "1");
    let provenance: Value = serde_json::from_str(header("x-akidb-provenance")).unwrap();
    assert_eq!(provenance["dimension"], 256);
    assert_eq!(
        header("x-compute-characters"),
        (1 + long.len() + 3).to_string()
    );
    assert_eq!(
        header("x-compute-tokens"),
        (5 + EMBEDDER.max_tokens()).to_string()
    );
    assert_eq!(header("x-compute-type"), "cpu");
    for name in [
        "x-compute-time",
        "x-total-time",
        "x-tokenization-time",
        "x-queue-time",
        "x-inference-time",
    ] {
        assert!(header(name).parse::<u64>().is_ok(), "{name}");
    }
    let whole = post("/embed", &json!({"inputs": "a"}));
    assert_eq!(whole.headers["x-akidb-truncated"], "0");
    assert!(!whole.headers.contains_key("x-akidb-truncated-inputs"));
}

#[test]
fn truncation_is_refused_or_from_either_side() {
    let text = format!("first {} last", "word ".repeat(3_000));
    let embed = |more: Value| {
        let mut body = json!({"inputs": text});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        post("/embed", &body)
    };
    let refused = embed(json!({"truncate": false}));
    assert_eq!(refused.status, 422);
    assert_eq!(refused.json()["error_type"], "Validation");
    let right = embed(json!({"truncate": true})).ok();
    let left = embed(json!({"truncation_direction": "Left"})).ok();
    assert_ne!(left, right);
    assert_eq!(embed(json!({"truncation_direction": "left"})).ok(), left);
    assert_eq!(embed(json!({"truncation_direction": "up"})).status, 422);
}

#[test]
fn every_token_has_its_state() {
    let answer = post("/embed_all", &json!({"inputs": ["Hello, world!", "b"]}));
    let states = answer.ok();
    assert_eq!(answer.headers["x-akidb-tokens"], "5,2");
    let options = EmbedOptions {
        normalize: false,
        ..EmbedOptions::default()
    };
    let pooled = vectors(&["Hello, world!", "b"], &options);
    for (states, pooled) in states.as_array().unwrap().iter().zip(pooled) {
        assert_eq!(floats(states.as_array().unwrap().last().unwrap()), pooled);
    }
    let lengths = |i: usize| states[i].as_array().unwrap().len();
    assert_eq!((lengths(0), lengths(1)), (5, 2));

    let many = vec!["word ".repeat(1_000); 5];
    let refused = post("/embed_all", &json!({ "inputs": many }));
    assert_eq!(refused.status, 413);
    assert!(refused.body.contains("tokens: at most 4096"), "{refused:?}");
    let too_long = "word ".repeat(3_000);
    let refused = post(
        "/embed_all",
        &json!({"inputs": too_long, "truncate": false}),
    );
    assert_eq!(refused.status, 422);
    assert_eq!(post("/embed_all", &json!({"inputs": ""})).status, 400);
}

#[test]
fn similarity_is_the_cosine() {
    let texts = ["a cat", "a kitten", "a tax form"];
    let vectors = vectors(&texts, &EmbedOptions::default());
    let body = json!({"inputs": {"source_sentence": texts[0], "sentences": texts[1..]}});
    let answer = post("/similarity", &body);
    let expected: Vec<f32> = vectors[1..]
        .iter()
        .map(|v| akidb_embedding::similarity(&vectors[0], v))
        .collect();
    assert_eq!(floats(&answer.ok()), expected);
    assert!(answer.headers.contains_key("x-akidb-provenance"));
    let empty = post(
        "/similarity",
        &json!({"inputs": {"source_sentence": "a", "sentences": []}}),
    );
    assert_eq!(
        (empty.status, empty.json()["error_type"].clone()),
        (400, json!("Empty"))
    );
}

#[test]
fn tokens_and_back() {
    let answer = post("/tokenize", &json!({"inputs": ["Hello, wörld!", "b"]})).ok();
    assert_eq!(
        shape(&answer),
        json!([[{
            "id": "integer", "text": "string", "special": "bool", "start": "integer", "stop": "integer",
        }]])
    );
    let first = answer[0].as_array().unwrap();
    assert_eq!(
        first[0],
        json!({"id": 9707, "text": "Hello", "special": false, "start": 0, "stop": 5})
    );
    assert_eq!(
        first.last().unwrap(),
        &json!({"id": 16381, "text": "<|endoftext|>", "special": true, "start": null, "stop": null})
    );
    // The end of the text: ö has two bytes.
    let last = &first[first.len() - 2];
    assert_eq!((&last["text"], &last["stop"]), (&json!("!"), &json!(14)));
    let bare = post(
        "/tokenize",
        &json!({"inputs": "Hello, wörld!", "add_special_tokens": false}),
    )
    .ok();
    assert_eq!(bare[0].as_array().unwrap().len(), first.len() - 1);
    let prompted = post("/tokenize", &json!({"inputs": "b", "prompt_name": "query"})).ok();
    assert_eq!(prompted[0][0]["text"], "In");

    let ids: Vec<_> = first.iter().map(|token| &token["id"]).collect();
    let text = post("/decode", &json!({ "ids": ids })).ok();
    assert_eq!(text, json!(["Hello, wörld!"]));
    let text = post(
        "/decode",
        &json!({"ids": [ids, [9707]], "skip_special_tokens": false}),
    )
    .ok();
    assert_eq!(text, json!(["Hello, wörld!<|endoftext|>", "Hello"]));
}

#[test]
fn many_tokens_come_as_they_are_made_and_are_the_librarys() {
    let texts = [
        "river 12345, naïve 😀 ".repeat(1500),
        String::new(),
        "b".to_owned(),
    ];
    let options = EmbedOptions::default();
    let tokens = |text: &String| {
        let pieces = EMBEDDER.pieces(text, true, &options).unwrap().into_iter();
        let token = pieces.map(|piece| {
            json!({
                "id": piece.id, "text": piece.text, "special": piece.special,
                "start": piece.range.as_ref().map(|range| range.start),
                "stop": piece.range.as_ref().map(|range| range.end),
            })
        });
        token.collect()
    };
    let expected: Vec<Vec<Value>> = texts.iter().map(tokens).collect();
    let answer = post("/tokenize", &json!({ "inputs": texts }));
    assert_eq!(answer.headers["transfer-encoding"], "chunked");
    assert!(answer.ok() == json!(expected));
    let short = post("/tokenize", &json!({ "inputs": texts[2] }));
    assert!(short.ok() == json!([expected[2]]));
}

#[test]
fn info_has_the_fields_that_clients_know_and_the_limits() {
    let info = get("/info").ok();
    let provenance = &info["provenance"];
    assert_eq!(provenance["dimension"], 256);
    assert_eq!(
        info["model_type"],
        json!({"embedding": {"pooling": "last_token"}})
    );
    for field in ["model_id", "model_sha", "model_dtype", "version"] {
        assert!(info[field].is_string(), "{field}");
    }
    for field in ["max_batch_requests", "sha", "docker_label"] {
        assert!(info[field].is_null(), "{field}");
    }
    for field in [
        "max_concurrent_requests",
        "max_input_length",
        "max_batch_tokens",
        "tokenization_workers",
    ] {
        assert!(info[field].is_u64(), "{field}");
    }
    assert_eq!(info["max_client_batch_size"], MAX_INPUTS);
    assert_eq!(info["limits"]["max_body_bytes"], MAX_BODY);
    let limit = |name: &str| info["limits"][name].as_u64().unwrap();
    assert!(limit("max_client_bytes") > limit("max_queue_bytes"));
    assert!(info["limits"]["max_wait"].as_f64().unwrap() > 0.0);
    assert_eq!(info["auto_truncate"], true);
    assert_eq!(
        info["models"],
        json!(["akidb-mini", "team/second", "broken"])
    );
    assert_eq!(info["served_model_name"], "akidb-mini");
    let second = get("/info?model=team/second").ok();
    assert_eq!(second["dimension"], 256);
    assert_eq!(second["served_model_name"], "team/second");
    assert_eq!(get("/info?model=third").status, 404);
    assert_eq!(get("/info?model=broken").status, 424);
}
