//! Clients that do everything wrong: each gets its right status, and a client beside them gets the
//! right bits all the time.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::common::{Running, connect, raw, request, rest, settings};
use akidb_embedding::{EmbedOptions, Embedder};
use akidb_server::{ModelSettings, Settings};
use serde_json::{Value, json};

const TEXTS: [&str; 3] = ["a text", "another, longer text", "déjà vu 👍"];

/// A well-behaved client that asks for the same vectors until it is dropped.
struct Bystander {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl Bystander {
    fn of(address: SocketAddr) -> Self {
        let embedder = Embedder::builder().model("akidb-mini").build().unwrap();
        let expected = embedder.vectors(&TEXTS, &EmbedOptions::default()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut answers = 0;
            while answers == 0 || !stopped.load(Ordering::Relaxed) {
                let (status, body) = embed(address, &json!({"input": TEXTS}));
                assert_eq!(status, 200, "{body}");
                assert_eq!(vectors(&body), expected);
                answers += 1;
            }
            answers
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    /// How many times it was answered.
    fn answers(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn vectors(body: &Value) -> Vec<Vec<f32>> {
    let data = body["data"].as_array().unwrap();
    data.iter()
        .map(|data| serde_json::from_value(data["embedding"].clone()).unwrap())
        .collect()
}

/// The status of an HTTP answer, and its body where that is JSON.
fn parse(answer: &str) -> (u16, Value) {
    let status = answer.get(9..12).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no HTTP answer: {answer:?}"));
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    (status, serde_json::from_str(body).unwrap_or_default())
}

fn post(address: SocketAddr, path: &str, body: &str) -> (u16, Value) {
    parse(&raw(address, &request(&format!("POST {path}"), "", body)))
}

fn embed(address: SocketAddr, body: &Value) -> (u16, Value) {
    post(address, "/v1/embeddings", &body.to_string())
}

/// Sends bytes that needn't be UTF-8, and reads what comes.
fn raw_bytes(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect(address);
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(bytes);
    rest(&mut stream)
}

#[test]
fn requests_that_make_no_sense_get_their_status() {
    let server = Running::start(settings()).ready();
    let at = server.address();
    let bystander = Bystander::of(at);

    let many = json!({"input": vec!["x"; 10_000]}).to_string();
    let long = "word ".repeat(200_000);
    let long_input = json!({"input": long}).to_string();
    let deep = format!("{{\"input\":{}", "[".repeat(100_000));
    let cases: [(&str, &str, u16); 17] = [
        ("/v1/embeddings", "{", 400),
        ("/v1/embeddings", "", 400),
        ("/v1/embeddings", "{}", 400),
        ("/v1/embeddings", r#"{"input":null}"#, 400),
        ("/v1/embeddings", r#"{"input":{"a":1}}"#, 400),
        ("/v1/embeddings", r#"{"input":[]}"#, 400),
        ("/v1/embeddings", r#"{"input":""}"#, 400),
        ("/v1/embeddings", r#"{"input":["a",""]}"#, 400),
        ("/v1/embeddings", r#"{"input":[4000000000]}"#, 400),
        ("/v1/embeddings", r#"{"input":"a","dimensions":0}"#, 400),
        ("/v1/embeddings", r#"{"input":"a","dimensions":1e300}"#, 400),
        ("/v1/embeddings", r#"{"input":"a","model":"none"}"#, 404),
        ("/v1/embeddings", &deep, 400),
        ("/v1/embeddings", &many, 400),
        ("/v1/embeddings", &long_input, 400),
        ("/no/such/route", r#"{"input":"a"}"#, 404),
        ("/health", r#"{"input":"a"}"#, 405),
    ];
    for (path, body, expected) in cases {
        let (status, answer) = post(at, path, body);
        let shown: String = body.chars().take(60).collect();
        assert_eq!(status, expected, "{path} {shown}: {answer}");
        let error = &answer["error"];
        let message = error["message"].as_str().or(error.as_str());
        assert!(message.is_some_and(|m| !m.is_empty()), "{shown}: {answer}");
    }

    let tei: [(&str, &str, u16); 5] = [
        ("/embed", r#"{"inputs":1}"#, 422),
        ("/embed", r#"{"inputs":[]}"#, 400),
        ("/embed", "{", 400),
        ("/embed", &many.replace("input", "inputs"), 413),
        (
            "/embed",
            &json!({"inputs": long, "truncate": false}).to_string(),
            422,
        ),
    ];
    for (path, body, expected) in tei {
        let (status, answer) = post(at, path, body);
        assert_eq!(status, expected, "{path} {:.60}: {answer}", body);
    }

    let (status, answer) = embed(at, &json!({"input": long, "truncate": true}));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["data"][0]["truncated"], true);

    let plain = request("POST /v1/embeddings", "", r#"{"input":"a"}"#)
        .replace("application/json", "text/plain");
    assert_eq!(parse(&raw(at, &plain)).0, 415);
    let get = parse(&raw(at, &request("GET /v1/embeddings", "", "")));
    assert_eq!(get.0, 405);

    let mut invalid = request("POST /v1/embeddings", "", r#"{"input":"??"}"#).into_bytes();
    let end = invalid.len();
    invalid[end - 4] = 0xc3;
    invalid[end - 3] = 0x28;
    let (status, answer) = parse(&raw_bytes(at, &invalid));
    assert_eq!(status, 400, "{answer}");
    assert!(bystander.answers() > 1);
}

#[test]
fn a_body_beyond_the_limit_is_refused_before_it_is_read() {
    let server = Running::start(settings()).ready();
    let at = server.address();
    let bystander = Bystander::of(at);

    // 100 MB are announced; the answer comes although none of them is sent.
    let head = "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                content-type: application/json\r\ncontent-length: 104857600\r\n\r\n";
    assert_eq!(parse(&raw(at, head)).0, 413);

    // The same without an announcement: the limit is met on the way.
    let head = "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut stream = connect(at);
    stream.write_all(head.as_bytes()).unwrap();
    let mut reader = stream.try_clone().unwrap();
    let answer = std::thread::spawn(move || rest(&mut reader));
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, " ".repeat(1 << 20));
    let mut chunks = std::iter::repeat_n(chunk, 100).chain(["0\r\n\r\n".to_owned()]);
    let all_sent = chunks.all(|chunk| stream.write_all(chunk.as_bytes()).is_ok());
    let answer = answer.join().unwrap();
    assert!(!all_sent || answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(bystander.answers() > 1);
}

#[test]
fn sockets_that_are_slow_cut_or_half_closed_harm_nobody() {
    let server = Running::start(Settings {
        header_timeout: Duration::from_millis(500),
        ..settings()
    })
    .ready();
    let at = server.address();
    let bystander = Bystander::of(at);
    let whole = request("POST /v1/embeddings", "", r#"{"input":"a text"}"#);

    // Who says that nothing more will come can't be told from a client that is gone: there is an
    // answer, or the connection ends without one, at once.
    let mut stream = connect(at);
    stream.write_all(whole.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let start = Instant::now();
    let answer = rest(&mut stream);
    assert!(answer.is_empty() || parse(&answer).0 == 200, "{answer}");
    assert!(start.elapsed() < Duration::from_secs(10));

    // A body shorter than it was announced, ended in an orderly way or not.
    for how in [Shutdown::Write, Shutdown::Both] {
        let mut stream = connect(at);
        let part = &whole.as_bytes()[..whole.len() - 5];
        stream.write_all(part).unwrap();
        stream.shutdown(how).unwrap();
        let answer = rest(&mut stream);
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    // Gone right after the request.
    for _ in 0..50 {
        let mut stream = connect(at);
        stream.write_all(whole.as_bytes()).unwrap();
    }

    // No HTTP at all, and heads without end.
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"POST\r\n\r\n",
    ] {
        let answer = raw_bytes(at, bytes);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
            "{answer}"
        );
    }
    let head = format!("GET /health HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(200_000));
    let answer = raw_bytes(at, head.as_bytes());
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );

    // Many who send a byte now and then: all are cut off, long before they are done.
    let start = Instant::now();
    let slow: Vec<_> = (0..32)
        .map(|_| {
            let whole = whole.clone();
            std::thread::spawn(move || trickle(&mut connect(at), whole.as_bytes()))
        })
        .collect();
    assert!(slow.into_iter().all(|client| client.join().unwrap()));
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(bystander.answers() > 1);
}

/// Sends a byte every 100 ms; whether the server cut it short.
fn trickle(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    bytes.iter().any(|byte| {
        let mut end = [0; 1];
        stream.write_all(&[*byte]).is_err() || matches!(stream.read(&mut end), Ok(0))
    })
}

/// A copy of the tiny model whose embedding of one token is not a number.
fn poisoned(dir: &Path, token: u32) -> PathBuf {
    let fixture = akidb_testing::fixture("tiny");
    std::fs::create_dir(dir.join("1_Pooling")).unwrap();
    for file in [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "1_Pooling/config.json",
    ] {
        std::fs::copy(fixture.join(file), dir.join(file)).unwrap();
    }
    let mut weights = std::fs::read(fixture.join("model.safetensors")).unwrap();
    let header = usize::try_from(u64::from_le_bytes(weights[..8].try_into().unwrap())).unwrap();
    let tensors: Value = serde_json::from_slice(&weights[8..8 + header]).unwrap();
    let (_, table) = tensors
        .as_object()
        .unwrap()
        .iter()
        .find(|(name, _)| name.ends_with("embed_tokens.weight"))
        .unwrap();
    assert_eq!(table["dtype"], "F32");
    let width = usize::try_from(table["shape"][1].as_u64().unwrap()).unwrap();
    let start = usize::try_from(table["data_offsets"][0].as_u64().unwrap()).unwrap();
    let at = 8 + header + start + 4 * width * usize::try_from(token).unwrap();
    weights[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(dir.join("model.safetensors"), weights).unwrap();
    dir.to_owned()
}

#[test]
fn a_model_that_makes_no_number_of_one_text_harms_no_other() {
    let tiny = akidb_testing::fixture("tiny");
    let tokens = |text: &str| {
        let builder = Embedder::builder().model(tiny.to_str().unwrap());
        let embedder = builder.build().unwrap();
        let tokens = embedder.tokenize(&[text], &EmbedOptions::default());
        tokens.unwrap().remove(0).unwrap().ids
    };
    let (bad, good) = ("z", "a b");
    let token = tokens(bad)[0];
    assert!(!tokens(good).contains(&token));

    let dir = tempfile::tempdir().unwrap();
    let model = poisoned(dir.path(), token);
    let mut settings = settings();
    settings.models.push(ModelSettings {
        name: "broken".to_owned(),
        builder: Embedder::builder().model(model.to_str().unwrap()),
    });
    let server = Running::start(settings).ready();
    let at = server.address();
    let bystander = Bystander::of(at);

    let alone = embed(at, &json!({"input": good, "model": "broken"}));
    assert_eq!(alone.0, 200, "{}", alone.1);
    let clients: Vec<_> = (0..16)
        .map(|client| {
            std::thread::spawn(move || {
                let text = if client % 2 == 0 { good } else { bad };
                (
                    client % 2 == 0,
                    embed(at, &json!({"input": text, "model": "broken"})),
                )
            })
        })
        .collect();
    for client in clients {
        let (good, (status, answer)) = client.join().unwrap();
        if good {
            assert_eq!(vectors(&answer), vectors(&alone.1));
        } else {
            assert_eq!(status, 500, "{answer}");
            let message = answer["error"]["message"].as_str().unwrap();
            assert!(message.contains("not finite"), "{message}");
        }
    }
    let mixed = json!({"input": [good, bad], "model": "broken"});
    assert_eq!(embed(at, &mixed).0, 500);
    assert!(bystander.answers() > 1);
}
