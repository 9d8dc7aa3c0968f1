//! The OpenAPI document and its page.

use super::*;

#[test]
fn every_route_is_in_the_document() {
    let document = get("/openapi.json").ok();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths: Vec<&str> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    for path in [
        "/v1/embeddings",
        "/v1/models",
        "/v1/models/{id}",
        "/embed",
        "/embed_all",
        "/",
        "/similarity",
        "/tokenize",
        "/decode",
        "/info",
        "/api/embed",
        "/api/embeddings",
        "/api/show",
        "/api/tags",
        "/api/version",
        "/api/ps",
        "/v1/embed",
        "/v2/embed",
        "/embeddings",
        "/invocations",
        "/rerank",
        "/v1/rerank",
        "/v2/rerank",
        "/score",
        "/v1/score",
        "/ping",
    ] {
        assert!(paths.contains(&path), "{path} is not among {paths:?}");
    }
}

#[test]
fn every_section_has_its_name() {
    let document = get("/openapi.json").ok();
    let tags = document["tags"].as_array().unwrap().iter();
    let tags: Vec<&str> = tags.map(|tag| tag["name"].as_str().unwrap()).collect();
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            let tag = operation["tags"][0].as_str().unwrap();
            assert!(tags.contains(&tag), "{path}: {tag}");
        }
    }
}

/// Every `$ref` of the document.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// `/v1/models/{*id}` takes names with slashes, which OpenAPI has no word for.
#[test]
fn paths_are_openapis() {
    let document = get("/openapi.json").ok();
    for path in document["paths"].as_object().unwrap().keys() {
        assert!(!path.contains('*'), "{path}");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = get("/openapi.json").ok();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 30);
    for reference in found {
        let target = document.pointer(reference.trim_start_matches('#'));
        assert!(target.is_some(), "{reference}");
    }
}

#[test]
fn provenance_is_described_as_it_is() {
    let document = get("/openapi.json").ok();
    let schema = &document["components"]["schemas"]["Provenance"];
    let answer = post("/v1/embeddings", &serde_json::json!({"input": "a"})).ok();
    let fields = answer["provenance"].as_object().unwrap();
    let required: Vec<&str> = serde_json::from_value::<Vec<Value>>(schema["required"].clone())
        .unwrap()
        .iter()
        .map(|name| {
            fields
                .get_key_value(name.as_str().unwrap())
                .unwrap()
                .0
                .as_str()
        })
        .collect();
    assert_eq!(required.len(), fields.len());
    for name in fields.keys() {
        assert!(!schema["properties"][name].is_null(), "{name}");
    }
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let page = get("/docs/");
    assert_eq!(page.status, 200);
    for attribute in ["src=\"http", "href=\"http", "src=\"//", "href=\"//"] {
        assert!(!page.body.contains(attribute), "{}", page.body);
    }
    let configuration = get("/docs/swagger-initializer.js");
    assert!(
        configuration.body.contains("/openapi.json"),
        "{}",
        configuration.body
    );
    assert_eq!(get("/docs/swagger-ui-bundle.js").status, 200);
}
