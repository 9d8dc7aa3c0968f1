//! Ollama's interface.

use serde_json::json;

use super::*;

#[test]
fn vectors_are_the_librarys() {
    let body = json!({"model": "akidb-mini:latest", "input": ["a", "b c", ""], "options": {"x": 1}, "keep_alive": "5m"});
    let answer = post("/api/embed", &body).ok();
    let expected = vectors(&["a", "b c", ""], &EmbedOptions::default());
    for (index, expected) in expected.iter().enumerate() {
        assert_eq!(&floats(&answer["embeddings"][index]), expected);
    }
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
            "model": "string", "embeddings": [["float"]], "total_duration": "integer",
            "load_duration": "integer", "prompt_eval_count": "integer",
            "inputs": [{"tokens": "integer", "truncated": "bool"}],
        })
    );
    assert_eq!(
        (&answer["model"], &answer["prompt_eval_count"]),
        (&json!("akidb-mini:latest"), &json!(6))
    );

    let cut = post(
        "/api/embed",
        &json!({"model": "team/second", "input": "a", "dimensions": 8}),
    )
    .ok();
    let options = EmbedOptions {
        dimension: Some(8),
        ..EmbedOptions::default()
    };
    assert_eq!(floats(&cut["embeddings"][0]), vectors(&["a"], &options)[0]);
    let all = post(
        "/api/embed",
        &json!({"model": "akidb-mini", "input": "a", "dimensions": 0}),
    )
    .ok();
    assert_eq!(floats(&all["embeddings"][0]), expected[0]);
}

#[test]
fn an_empty_text_of_a_list_has_its_vector() {
    let answer = post("/api/embed", &json!({"model": "akidb-mini", "input": [""]})).ok();
    let expected = vectors(&[""], &EmbedOptions::default());
    assert_eq!(floats(&answer["embeddings"][0]), expected[0]);
    assert_eq!(answer["embeddings"].as_array().unwrap().len(), 1);
}

#[test]
fn a_width_that_is_no_part_of_the_vector_is_all_of_it() {
    let expected = vectors(&["a"], &EmbedOptions::default());
    for dimensions in [-1, 0, 256, 257, 100_000] {
        let body = json!({"model": "akidb-mini", "input": "a", "dimensions": dimensions});
        let answer = post("/api/embed", &body).ok();
        assert_eq!(
            floats(&answer["embeddings"][0]),
            expected[0],
            "{dimensions}"
        );
    }
}

#[test]
fn names_are_taken_in_any_case() {
    for name in [
        "AKIDB-Mini",
        "akidb-mini:Latest",
        "Team/Second",
        "TEAM/second:latest",
    ] {
        let answer = post("/api/embed", &json!({"model": name, "input": "a"})).ok();
        assert_eq!(answer["model"], name);
        assert_eq!(
            post("/api/show", &json!({"model": name})).status,
            200,
            "{name}"
        );
    }
}

#[test]
fn as_many_texts_as_the_body_holds() {
    let texts: Vec<String> = (0..3_000).map(|n| (n % 7).to_string()).collect();
    let body = json!({"model": "akidb-mini", "input": texts, "dimensions": 8});
    let answer = post("/api/embed", &body).ok();
    let embeddings = answer["embeddings"].as_array().unwrap();
    assert_eq!(embeddings.len(), 3_000);
    assert_eq!(embeddings[2_999], embeddings[3]);
}

#[test]
fn the_server_is_found_and_says_what_it_runs() {
    assert_eq!(get("/").body, "Ollama is running");
    let page = ureq::get(format!("http://{}/", *SERVER)).header("accept", "text/html,*/*");
    let page = read(page.call().unwrap());
    assert!(
        page.headers["content-type"].starts_with("text/html"),
        "{page:?}"
    );
    post("/api/embed", &json!({"model": "akidb-mini", "input": "a"})).ok();
    let running = get("/api/ps").ok();
    let mini = running["models"].as_array().unwrap().iter();
    let mini: Vec<&Value> = mini.filter(|model| model["name"] == "akidb-mini").collect();
    assert_eq!(mini.len(), 1, "{running}");
    let tags = get("/api/tags").ok();
    assert_eq!(mini[0]["digest"], tags["models"][0]["digest"]);
    assert!(mini[0]["size"].as_u64().unwrap() > 1 << 20);
    assert!(mini[0]["expires_at"].is_string() && mini[0]["size_vram"] == 0);
}

#[test]
fn the_older_route_does_not_scale() {
    let answer = post(
        "/api/embeddings",
        &json!({"model": "akidb-mini", "prompt": "a"}),
    )
    .ok();
    let options = EmbedOptions {
        normalize: false,
        ..EmbedOptions::default()
    };
    assert_eq!(floats(&answer["embedding"]), vectors(&["a"], &options)[0]);
    assert_eq!(answer["input"], json!({"tokens": 2, "truncated": false}));
    assert_eq!(answer["provenance"]["normalized"], false);
}

#[test]
fn nothing_gives_nothing() {
    for body in [
        json!({"model": "akidb-mini"}),
        json!({"model": "akidb-mini", "input": ""}),
        json!({"model": "Akidb-Mini:LATEST", "input": []}),
    ] {
        assert_eq!(
            post("/api/embed", &body).ok()["embeddings"],
            json!([]),
            "{body}"
        );
    }
    assert_eq!(
        post("/api/embeddings", &json!({"model": "akidb-mini"})).ok(),
        json!({"embedding": []})
    );
    assert_eq!(post("/api/embed", &json!({"model": "third"})).status, 404);
}

#[test]
fn errors_are_ollamas() {
    let long = "word ".repeat(3_000);
    for (body, status, message) in [
        (json!({"input": "a"}), 400, "missing field `model`"),
        (json!({"model": "", "input": "a"}), 400, "model is required"),
        (
            json!({"model": "third", "input": "a"}),
            404,
            "there is no model \"third\"",
        ),
        (
            json!({"model": "akidb-mini", "input": 5}),
            400,
            "`input`: invalid type",
        ),
        (
            json!({"model": "akidb-mini", "input": [[1]]}),
            400,
            "`input`: expected a string",
        ),
        (
            json!({"model": "akidb-mini", "input": long, "truncate": false}),
            400,
            "the input length exceeds the context length",
        ),
        (
            json!({"model": "broken", "input": "a"}),
            500,
            "can't be loaded",
        ),
    ] {
        let answer = post("/api/embed", &body);
        let error = answer.json();
        assert_eq!(answer.status, status, "{error}");
        assert_eq!(error.as_object().unwrap().len(), 1);
        assert!(
            error["error"].as_str().unwrap().contains(message),
            "{error}"
        );
    }
    let untyped = post_raw(
        "/api/embed",
        &[],
        br#"{"model": "akidb-mini", "input": "a"}"#,
    );
    assert_eq!(untyped.status, 200, "{untyped:?}");
}

#[test]
fn models_are_listed_and_shown() {
    let tags = get("/api/tags").ok();
    assert_eq!(tags["models"][1]["name"], "team/second");
    assert_eq!(
        shape(&tags),
        json!({"models": [{
            "name": "string", "model": "string", "modified_at": "string", "size": "integer",
            "digest": "string", "details": {
                "parent_model": "string", "format": "string", "family": "string", "families": [],
                "parameter_size": "string", "quantization_level": "string",
            },
        }]})
    );
    let digests = tags["models"].as_array().unwrap().iter();
    let digests: Vec<&str> = digests.map(|m| m["digest"].as_str().unwrap()).collect();
    assert!(digests[0] != digests[1] && digests.iter().all(|digest| digest.len() == 64));
    // As Ollama's own programs send it.
    for both in [["akidb-mini", ""], ["", "akidb-mini"]] {
        let show = post("/api/show", &json!({"model": both[0], "name": both[1]}));
        assert_eq!(show.status, 200, "{show:?}");
    }
    let show = post("/api/show", &json!({"model": "akidb-mini"})).ok();
    assert_eq!(show["capabilities"], json!(["embedding"]));
    assert_eq!(show["model_info"]["akidb.embedding_length"], 256);
    assert_eq!(post("/api/show", &json!({"name": "third"})).status, 404);
    assert!(get("/api/version").ok()["version"].is_string());
}
