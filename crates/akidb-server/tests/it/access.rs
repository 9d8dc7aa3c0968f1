//! API keys, pages of other sites, request ids, bodies and times.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::common::{EMBED, Running, connect, raw, request, rest, settings};
use akidb_server::Settings;

const POST: &str = "POST /v1/embeddings";

fn status(answer: &str) -> u16 {
    let code = answer.split(' ').nth(1).unwrap_or_default();
    code.parse().unwrap_or_default()
}

#[test]
fn only_who_has_a_key_is_answered() {
    let keys = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(keys.path(), "ann:first-key\nbob:second-key\n").unwrap();
    let server = Running::start(Settings {
        api_keys: Some(keys.path().to_owned()),
        ..settings()
    });
    let ask = |line: &str, headers: &str| raw(server.address(), &request(line, headers, EMBED));
    let bearer = |key: &str| ask(POST, &format!("authorization: Bearer {key}\r\n"));
    assert_eq!(status(&bearer("first-key")), 200);
    assert_eq!(status(&bearer("second-key")), 200);
    for wrong in [ask(POST, ""), bearer("third-key"), bearer("")] {
        assert_eq!(status(&wrong), 401, "{wrong}");
        assert!(wrong.contains("www-authenticate: Bearer"), "{wrong}");
        assert!(wrong.contains("invalid_api_key"), "{wrong}");
    }
    for open in [
        "GET /health",
        "GET /health/live",
        "GET /",
        "GET /docs/",
        "GET /openapi.json",
    ] {
        assert_eq!(status(&ask(open, "")), 200, "{open}");
    }
    for closed in [
        "GET /metrics",
        "GET /v1/models",
        "GET /info",
        "GET /nothing",
    ] {
        assert_eq!(status(&ask(closed, "")), 401, "{closed}");
    }

    std::fs::write(keys.path(), "bob:another-key\n").unwrap();
    let start = Instant::now();
    while status(&bearer("another-key")) != 200 {
        assert!(start.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(status(&bearer("first-key")), 401);
}

#[test]
fn a_file_of_keys_that_is_wrong_stops_the_start() {
    let keys = tempfile::NamedTempFile::new().unwrap();
    let settings = Settings {
        api_keys: Some(keys.path().to_owned()),
        ..settings()
    };
    let service = std::sync::Arc::new(akidb_server::EmbeddingService::new(settings).unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let error = runtime.block_on(akidb_server::serve(service)).unwrap_err();
    assert!(error.is_usage() && error.hint().is_some(), "{error}");
}

#[test]
fn pages_of_named_origins_may_ask() {
    let server = Running::start(Settings {
        cors_origins: vec!["https://app.example".to_owned()],
        ..settings()
    });
    let ask = |origin: &str| {
        let headers = format!(
            "origin: {origin}\r\naccess-control-request-method: POST\r\n\
             access-control-request-headers: authorization,x-akidb-class,x-stainless-os,x-fern-a\r\n"
        );
        raw(
            server.address(),
            &request("OPTIONS /v1/embeddings", &headers, ""),
        )
    };
    let named = ask("https://app.example");
    assert!(
        named.contains("access-control-allow-origin: https://app.example"),
        "{named}"
    );
    assert!(named.contains("authorization"), "{named}");
    // Clients' programs have headers of their own.
    for header in ["x-akidb-class", "x-stainless-os", "x-fern-a"] {
        assert!(named.contains(header), "{named}");
    }
    let headers = "origin: https://app.example\r\nx-akidb-class: bulk\r\n";
    let long = format!(r#"{{"inputs":"{}"}}"#, "a ".repeat(5000));
    let answer = raw(server.address(), &request("POST /embed", headers, &long));
    let head = answer.split("\r\n\r\n").next().unwrap();
    let exposed = head
        .lines()
        .find(|line| line.starts_with("access-control-expose-headers: "))
        .unwrap();
    let own: Vec<&str> = head
        .lines()
        .filter(|line| line.starts_with("x-"))
        .filter_map(|line| line.split(':').next())
        .collect();
    assert!(own.contains(&"x-akidb-truncated-inputs"), "{own:?}");
    assert!(own.iter().all(|name| exposed.contains(name)), "{exposed}");
    let other = ask("https://other.example");
    assert!(!other.contains("access-control-allow-origin"), "{other}");

    let nobody = Running::start(settings());
    let headers = "origin: https://app.example\r\n";
    let answer = raw(nobody.address(), &request(POST, headers, EMBED));
    assert_eq!(status(&answer), 403);
    assert!(!answer.contains("access-control"), "{answer}");
}

#[test]
fn strict_servers_refuse_unknown_fields() {
    let server = Running::start(Settings {
        strict: true,
        ..settings()
    });
    let ask = |path: &str, body: &str| raw(server.address(), &request(path, "", body));
    let answer = ask(POST, r#"{"input": "a", "input_typ": "query"}"#);
    assert_eq!(status(&answer), 400, "{answer}");
    assert!(answer.contains("there is no field `input_typ`"), "{answer}");
    assert!(answer.contains("\"param\":\"input_typ\""), "{answer}");
    assert_eq!(
        status(&ask("POST /embed", r#"{"inputs": "a", "x": 1}"#)),
        422
    );
    assert_eq!(status(&ask(POST, r#"{"input": "a", "user": "u"}"#)), 200);
}

#[test]
fn keys_are_asked_for_whatever_the_path_looks_like() {
    let keys = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(keys.path(), "first-key\n").unwrap();
    let server = Running::start(Settings {
        api_keys: Some(keys.path().to_owned()),
        ..settings()
    });
    for path in [
        "//v1/embeddings",
        "/v1/v1/embeddings",
        "/v1/embeddings/",
        "//",
        "/ping/embed",
    ] {
        let answer = raw(
            server.address(),
            &request(&format!("POST {path}"), "", EMBED),
        );
        assert_eq!(status(&answer), 401, "{path}: {answer}");
    }
    for path in ["/ping", "/health/", "//health"] {
        let answer = raw(server.address(), &request(&format!("GET {path}"), "", ""));
        assert_eq!(status(&answer), 200, "{path}: {answer}");
    }
}

#[test]
fn every_answer_has_an_id() {
    let server = Running::start(settings());
    let ask = |headers: &str| raw(server.address(), &request(POST, headers, EMBED));
    assert!(ask("x-request-id: mine-1\r\n").contains("x-request-id: mine-1\r\n"));
    assert!(ask("").contains("x-request-id: "));
    assert!(!ask("x-request-id: two words\r\n").contains("two words"));
}

#[test]
fn a_body_that_is_too_large_is_refused_when_it_was_sent() {
    let server = Running::start(Settings {
        max_body_bytes: 1 << 20,
        ..settings()
    });
    let start = Instant::now();
    let answer = raw(server.address(), &request(POST, "", &"x".repeat(30 << 20)));
    assert_eq!(status(&answer), 413, "{answer:.200}");
    assert!(answer.contains("1048576"), "{answer}");
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let server = Running::start(Settings {
        body_timeout: Duration::from_millis(300),
        ..settings()
    })
    .ready();
    let whole = request(POST, "", EMBED);
    let mut stream = connect(server.address());
    stream
        .write_all(&whole.as_bytes()[..whole.len() - 2])
        .unwrap();
    let answer = rest(&mut stream);
    assert_eq!(status(&answer), 408, "{answer}");

    // One byte at a time is no better.
    let mut stream = connect(server.address());
    let (head, body) = whole.split_at(whole.len() - EMBED.len());
    stream.write_all(head.as_bytes()).unwrap();
    for byte in body.bytes() {
        std::thread::sleep(Duration::from_millis(60));
        if stream.write_all(&[byte]).is_err() {
            break;
        }
    }
    let answer = rest(&mut stream);
    assert!(matches!(status(&answer), 408 | 0), "{answer}");
}

#[test]
fn a_request_that_takes_too_long_is_given_up() {
    let server = Running::start(Settings {
        request_timeout: Duration::from_millis(30),
        max_wait: Duration::from_millis(10),
        ..settings()
    })
    .ready();
    let texts: Vec<String> = (0..1_000)
        .map(|i| format!("a text of some length that takes a while {i}"))
        .collect();
    let body = serde_json::json!({ "input": texts }).to_string();
    let answer = raw(server.address(), &request(POST, "", &body));
    assert_eq!(status(&answer), 504, "{answer:.300}");
    assert!(answer.contains("deadline"), "{answer}");
}

#[test]
fn without_keys_pages_of_other_sites_are_refused() {
    let allowed = Settings {
        allowed_hosts: vec!["embed.example".to_owned()],
        cors_origins: vec!["https://app.example".to_owned()],
        ..settings()
    };
    let server = Running::start(allowed).ready();
    let asked = |head: &str| {
        // As a page may send it without asking first.
        let kind = "content-type: text/plain\r\nconnection: close\r\ncontent-length: 34\r\n";
        let body = r#"{"model":"akidb-mini","input":"a"}"#;
        let request = format!("POST /api/embed HTTP/1.1\r\n{head}{kind}\r\n{body}");
        status(&raw(server.address(), &request))
    };
    assert_eq!(asked("host: localhost:1\r\n"), 200);
    assert_eq!(asked("host: embed.example\r\n"), 200);
    assert_eq!(asked("host: evil.example\r\n"), 403);
    assert_eq!(asked(""), 400);
    assert_eq!(asked("host: localhost\r\nhost: localhost\r\n"), 400);
    assert_eq!(
        asked("host: localhost\r\norigin: https://evil.example\r\n"),
        403
    );
    assert_eq!(
        asked("host: localhost\r\norigin: https://app.example\r\n"),
        200
    );
    assert_eq!(
        asked("host: localhost\r\nsec-fetch-site: cross-site\r\n"),
        403
    );
}
