//! What is wrong with a request, in each interface's words.

use serde_json::json;

use super::*;

/// Status, and the shape of the error body.
fn wrong(path: &str, body: &[u8]) -> (u16, Value) {
    let answer = post_raw(path, &[("content-type", "application/json")], body);
    (answer.status, answer.json())
}

fn openai(body: &str) -> (u16, Value) {
    let (status, error) = wrong("/v1/embeddings", body.as_bytes());
    let error = error["error"].clone();
    assert_eq!(error.as_object().unwrap().len(), 4, "{error}");
    (status, error)
}

#[test]
fn openais_errors() {
    for (body, status, param, message) in [
        ("", 400, "", "the request has no body"),
        ("{", 400, "", "the body is not valid JSON"),
        ("[]", 400, "", "the body must be a JSON object"),
        ("{}", 400, "input", "missing field `input`"),
        (
            r#"{"input": "a", "encoding_format": 5}"#,
            400,
            "encoding_format",
            "`encoding_format`: invalid type: integer `5`",
        ),
        (
            r#"{"input": 5}"#,
            400,
            "input",
            "`input`: invalid type: integer `5`, expected a string",
        ),
        (
            r#"{"input": ["a", 5]}"#,
            400,
            "input",
            "a token id among other inputs",
        ),
        (
            r#"{"input": ["a", null]}"#,
            400,
            "input[1]",
            "`input[1]`: invalid type: null",
        ),
        (
            r#"{"input": ["a", ""]}"#,
            400,
            "input",
            "the input at index 1 is",
        ),
        (r#"{"input": []}"#, 400, "input", "`input` cannot be empty"),
        (
            r#"{"input": [99999]}"#,
            400,
            "input",
            "token id 99999 is outside the vocabulary",
        ),
        (
            r#"{"input": "a", "dimensions": -1}"#,
            400,
            "dimensions",
            "expected usize",
        ),
        (
            r#"{"input": "a", "dimensions": 0}"#,
            400,
            "dimensions",
            "dimension 0 is not possible",
        ),
        (
            r#"{"input": "a", "dimensions": 4000}"#,
            400,
            "dimensions",
            "the model has 1 to 256",
        ),
        (
            r#"{"input": "a", "encoding_format": "hex"}"#,
            400,
            "encoding_format",
            "expected `float` or `base64`",
        ),
        (
            r#"{"input": "a", "user": 5}"#,
            400,
            "user",
            "expected a string",
        ),
        (
            r#"{"input": "a", "input_type": "document", "instruction": "x"}"#,
            400,
            "instruction",
            "is for queries",
        ),
        (
            r#"{"input": "a", "input_type": "query", "prompt_name": "query"}"#,
            400,
            "prompt_name",
            "not both",
        ),
        (
            r#"{"input": "a", "prompt_name": "x"}"#,
            400,
            "",
            "it has document, query",
        ),
        (
            r#"{"input": "a", "model": "gpt"}"#,
            404,
            "model",
            "this server has akidb-mini, team/second",
        ),
    ] {
        let (got, error) = openai(body);
        assert_eq!(got, status, "{body}: {error}");
        assert!(
            error["message"].as_str().unwrap().contains(message),
            "{body}: {error}"
        );
        assert_eq!(
            error["param"].as_str().unwrap_or_default(),
            param,
            "{body}: {error}"
        );
        assert_eq!(error["type"], "invalid_request_error");
    }
    let (status, error) = openai(r#"{"input": "a", "model": "broken"}"#);
    assert_eq!((status, &error["type"]), (500, &json!("server_error")));
    assert!(
        !error["message"].as_str().unwrap().contains("broken-model"),
        "{error}"
    );
}

#[test]
fn teis_errors() {
    for (body, status, kind, message) in [
        ("", 400, "Validation", "the request has no body"),
        ("{]", 400, "Validation", "the body is not valid JSON"),
        ("{}", 422, "Validation", "missing field `inputs`"),
        (
            r#"{"inputs": {}}"#,
            422,
            "Validation",
            "`inputs`: invalid type: map",
        ),
        (
            r#"{"inputs": "a", "truncation_direction": 5}"#,
            422,
            "Validation",
            "`truncation_direction`: the value has another type",
        ),
        (
            r#"{"inputs": ""}"#,
            400,
            "Empty",
            "`inputs` cannot be empty",
        ),
        (
            r#"{"inputs": []}"#,
            400,
            "Empty",
            "`inputs` cannot be empty",
        ),
        (
            r#"{"inputs": "a", "normalize": 1}"#,
            422,
            "Validation",
            "expected a boolean",
        ),
        (
            r#"{"inputs": "a", "prompt_name": "x"}"#,
            422,
            "Validation",
            "it has document, query",
        ),
        (
            r#"{"inputs": "a", "dimensions": 257}"#,
            422,
            "Validation",
            "the model has 1 to 256",
        ),
        (
            r#"{"inputs": "a", "model": "third"}"#,
            404,
            "Validation",
            "there is no model",
        ),
        (
            r#"{"inputs": "a", "model": "broken"}"#,
            424,
            "Backend",
            "can't be loaded",
        ),
    ] {
        let (got, error) = wrong("/embed", body.as_bytes());
        assert_eq!(
            (got, &error["error_type"]),
            (status, &json!(kind)),
            "{body}: {error}"
        );
        assert!(
            error["error"].as_str().unwrap().contains(message),
            "{body}: {error}"
        );
        assert_eq!(error.as_object().unwrap().len(), 2);
    }
    let many = json!({"inputs": vec!["a"; MAX_INPUTS + 1]}).to_string();
    for path in ["/embed", "/tokenize"] {
        assert_eq!(wrong(path, many.as_bytes()).0, 413, "{path}");
    }
    let ids = json!({"ids": vec![[1]; MAX_INPUTS + 1]}).to_string();
    assert_eq!(wrong("/decode", ids.as_bytes()).0, 413);
    let ids = json!({"ids": vec![1; (1 << 17) + 1]}).to_string();
    assert_eq!(wrong("/decode", ids.as_bytes()).0, 413);
    let empty = r#"{"inputs": {"source_sentence": "a", "sentences": ["b", ""]}}"#;
    let (status, error) = wrong("/similarity", empty.as_bytes());
    assert_eq!(status, 400);
    assert_eq!(
        error["error"],
        "`inputs.sentences` cannot be empty: the input at index 1 is"
    );
    for (path, body) in [
        ("/tokenize", r#"{"inputs": [1]}"#),
        ("/decode", r#"{"ids": "a"}"#),
        ("/similarity", r#"{"inputs": "a"}"#),
    ] {
        assert_eq!(wrong(path, body.as_bytes()).0, 422, "{path}");
    }
    assert_eq!(get("/nothing").status, 404);
    assert_eq!(get("/embed").status, 405);
}

#[test]
fn limits_hold() {
    let many = json!({"input": vec!["a"; MAX_INPUTS + 1]}).to_string();
    let (status, error) = openai(&many);
    assert_eq!((status, &error["param"]), (400, &json!("input")));
    let large = json!({"input": "a".repeat(MAX_BODY)}).to_string();
    let (status, error) = openai(&large);
    assert_eq!(status, 413, "{error}");
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let (status, _) = wrong("/v1/embeddings", b"{\"input\": \"\xff\xfe\"}");
    assert_eq!(status, 400);
}

#[test]
fn routes_methods_and_media_types() {
    let answer = get("/v1/nothing");
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].as_str()),
        (404, Some("unknown_url"))
    );
    let answer = get("/v1/embeddings");
    assert_eq!(answer.status, 405);
    assert_eq!(answer.headers["allow"], "POST");
    assert_eq!(answer.json()["error"]["code"], "method_not_supported");
    let body = json!({"input": "a"}).to_string();
    let answer = post_raw(
        "/v1/embeddings",
        &[("content-type", "text/plain")],
        body.as_bytes(),
    );
    assert_eq!(answer.status, 415);
    for (encoding, status) in [("identity", 200), ("gzip", 415)] {
        let headers = [
            ("content-type", "application/json"),
            ("content-encoding", encoding),
        ];
        let answer = post_raw("/v1/embeddings", &headers, body.as_bytes());
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let answer = post_raw("/v1/embeddings", &[], body.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn slashes_are_tolerated_and_a_wrong_route_names_the_right_one() {
    let body = json!({"input": "a"});
    let expected = post("/v1/embeddings", &body).ok()["data"].clone();
    for path in [
        "/v1//embeddings",
        "//v1/embeddings",
        "/v1/embeddings/",
        "/v1/v1/embeddings",
        "/embeddings",
        "/embeddings/",
    ] {
        assert_eq!(post(path, &body).ok()["data"], expected, "{path}");
    }
    assert!(get("/v1/models/").ok()["data"].is_array());
    assert!(get("/v1/models/team/second/").ok()["id"].is_string());
    let wrong = post("/v1/embedding", &body);
    assert_eq!(wrong.status, 404);
    let error = wrong.json()["error"].clone();
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("is /v1/embeddings meant?"), "{message}");
    let wrong = post("/openai/v1//embeddings", &body);
    assert_eq!(wrong.status, 404);
    assert!(wrong.body.contains("is /v1/embeddings meant?"), "{wrong:?}");
    assert_eq!(get("/v1//embeddings").status, 405);
}

#[test]
fn half_surrogates_are_replacement_characters() {
    let expected = vectors(&["a\u{fffd}b", "\u{fffd}"], &EmbedOptions::default());
    let texts = r#"["a\ud83db", "\udc00"]"#;
    for (path, body, vectors) in [
        (
            "/api/embed",
            format!(r#"{{"model": "akidb-mini", "input": {texts}}}"#),
            "/embeddings",
        ),
        ("/embed", format!(r#"{{"inputs": {texts}}}"#), ""),
        (
            "/v1/embeddings",
            format!(r#"{{"input": {texts}}}"#),
            "/data",
        ),
    ] {
        let answer = post_raw(
            path,
            &[("content-type", "application/json")],
            body.as_bytes(),
        )
        .ok();
        for (index, expected) in expected.iter().enumerate() {
            let vector = answer.pointer(&format!("{vectors}/{index}")).unwrap();
            let vector = vector.get("embedding").unwrap_or(vector);
            assert_eq!(&floats(vector), expected, "{path}");
        }
    }
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    let (status, _) = wrong("/v1/embeddings", b"\xef\xbb\xbf{\"input\": \"a\"}");
    assert_eq!(status, 200);
}

#[test]
fn unknown_fields_are_told() {
    let name = "x-akidb-unknown-fields";
    for (path, body, unknown) in [
        (
            "/v1/embeddings",
            json!({"input": "a", "input_typ": "query", "user": "u"}),
            Some("input_typ"),
        ),
        (
            "/v1/embeddings",
            json!({"input": "a", "prompt_name": "query"}),
            None,
        ),
        (
            "/embed",
            json!({"inputs": "a", "b": {"c": 1}, "d": []}),
            Some("b,d"),
        ),
        (
            "/similarity",
            json!({"inputs": {"source_sentence": "a", "sentences": ["b"]}, "parameters": {"x": 1}}),
            Some("parameters.x"),
        ),
        (
            "/api/embed",
            json!({"model": "akidb-mini", "input": "a", "options": {"x": [1, {"y": 2}]}, "keep_alive": -1}),
            None,
        ),
        (
            "/api/embed",
            json!({"model": "akidb-mini", "input": "a", "dimension": 3}),
            Some("dimension"),
        ),
    ] {
        let answer = post(path, &body);
        answer.ok();
        assert_eq!(
            answer.headers.get(name).map(String::as_str),
            unknown,
            "{path}"
        );
    }
    let answer = post("/v1/embeddings", &json!({"input": "", "x": 1}));
    assert_eq!((answer.status, &*answer.headers[name]), (400, "x"));
}

#[test]
fn the_class_header_is_checked() {
    let send = |class| {
        let headers = [
            ("content-type", "application/json"),
            ("x-akidb-class", class),
        ];
        post_raw("/v1/embeddings", &headers, br#"{"input": "a"}"#).status
    };
    assert_eq!(
        (send("bulk"), send("interactive"), send("urgent")),
        (200, 200, 400)
    );
}
