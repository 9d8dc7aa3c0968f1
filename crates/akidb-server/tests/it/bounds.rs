//! What is held for clients, whatever they do: it is counted, bounded and given back.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::common::{EMBED, Running, connect, http2, raw, request, rest, settings};
use akidb_server::Settings;
use serde_json::json;

const JSON: &str = "application/json";
const GRPC: &str = "application/grpc";
const EMBED_CALL: &str = "/akidb.embedding.v1.EmbeddingService/Embed";
const STREAM_CALL: &str = "/akidb.embedding.v1.EmbeddingService/EmbedStream";

/// What is held for a request that is at work, about.
const REQUEST: usize = 8 << 10;

/// Little time and little room.
fn strict(max_queue_bytes: usize) -> Settings {
    Settings {
        body_timeout: Duration::from_millis(500),
        max_queue_bytes,
        ..settings()
    }
}

/// A field of protobuf with a length.
fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut len = bytes.len();
    let mut field = vec![tag];
    while len >= 0x80 {
        field.push(u8::try_from(len & 0x7f).unwrap() | 0x80);
        len >>= 7;
    }
    field.push(u8::try_from(len).unwrap());
    [&field, bytes].concat()
}

/// A gRPC message with its prefix.
fn message(bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0], &len[..], bytes].concat()
}

/// A request for so many vectors of one token.
fn texts(count: usize) -> Vec<u8> {
    field(0x0a, b"a").repeat(count)
}

/// A client that sends a part of a large body and holds its room with it.
fn holder(server: &Running, bytes: usize) -> TcpStream {
    let body = format!("{EMBED}{}", " ".repeat(2 * bytes));
    let whole = request("POST /v1/embeddings", "", &body);
    let mut stream = connect(server.address());
    stream.write_all(&whole.as_bytes()[..bytes]).unwrap();
    server.wait_until_held(|held| held >= bytes);
    stream
}

/// Sends everything before it looks at the answer, as most clients do.
fn answer(server: &Running, line: &str, body: &str) -> String {
    let mut stream = connect(server.address());
    stream
        .write_all(request(line, "", body).as_bytes())
        .unwrap();
    rest(&mut stream)
}

#[test]
fn answers_over_http2_count_until_they_are_sent_and_are_cut_when_nobody_takes_them() {
    const COUNT: usize = 30;
    let most = 2 << 20;
    let server = Running::start(strict(most)).ready();
    let body = json!({ "input": vec!["a"; COUNT] }).to_string();
    let embed = message(&texts(COUNT));
    let bulk = message(&field(0x12, &texts(COUNT))).repeat(4);
    // 4 bytes a value of the model's 256 at least.
    let vectors = COUNT * 256 * 4;
    for (path, kind, body) in [
        ("/v1/embeddings", JSON, body.as_bytes()),
        (EMBED_CALL, GRPC, &embed[..]),
        (STREAM_CALL, GRPC, &bulk[..]),
    ] {
        let mut client = http2::open(server.address(), 0);
        for stream in (1..40).step_by(2) {
            client.write_all(&http2::post(stream, path, kind)).unwrap();
            client.write_all(&http2::data(stream, body, true)).unwrap();
        }
        server.wait_until_held(|held| held >= 5 * vectors);
        // All have their answer by now, or were refused.
        std::thread::sleep(Duration::from_millis(300));
        let held = server.held();
        assert!(held >= 5 * vectors, "{path}: {held} bytes are held");
        assert!(held <= most + 20 * REQUEST, "{path}: {held} bytes are held");
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest);
        server.wait_until_held(|held| held == 0);
        assert!(!http2::kinds(&rest, 1).contains(&http2::DATA), "{path}");
    }
}

#[test]
fn an_answer_over_http1_counts_until_it_is_sent_and_is_cut_when_nobody_takes_it() {
    let server = Running::start(strict(64 << 20)).ready();
    let body = json!({ "input": vec!["a"; 1000] }).to_string();
    let one = request("POST /v1/embeddings", "", &body).replace("connection: close\r\n", "");
    let mut client = connect(server.address());
    // More than the system keeps for a connection.
    client.write_all(one.repeat(8).as_bytes()).unwrap();
    server.wait_until_held(|held| held > 1 << 20);
    // Between two answers, nothing is held for a moment.
    std::thread::sleep(Duration::from_secs(2));
    server.wait_until_held(|held| held == 0);
    let whole = 8 * 1000 * 256 * 10;
    let taken = rest(&mut client).len();
    assert!(taken < whole, "{taken} bytes were sent");
}

#[test]
fn who_takes_an_answer_slowly_gets_all_of_it() {
    let server = Running::start(Settings {
        body_timeout: Duration::from_secs(1),
        ..strict(64 << 20)
    })
    .ready();
    let body = json!({ "input": vec!["a"; 60] }).to_string();
    let mut client = http2::open(server.address(), 0);
    client
        .write_all(&http2::post(1, "/v1/embeddings", JSON))
        .unwrap();
    client
        .write_all(&http2::data(1, body.as_bytes(), true))
        .unwrap();
    server.wait_until_held(|held| held > 60 * 256 * 4);
    // Over more than the time in which something of it must be taken.
    let more = (32_u32 << 10).to_be_bytes();
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(200));
        for stream in [0, 1] {
            let update = http2::frame(http2::WINDOW, 0, stream, &more);
            client.write_all(&update).unwrap();
        }
    }
    server.wait_until_held(|held| held == 0);
    client.write_all(&http2::post(3, "/health", JSON)).unwrap();
    client.write_all(&http2::data(3, b"", true)).unwrap();
    client
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let mut answers = Vec::new();
    let _ = client.read_to_end(&mut answers);
    assert!(http2::kinds(&answers, 1).contains(&http2::DATA));
    assert!(http2::kinds(&answers, 3).contains(&http2::HEADERS));
}

#[test]
fn who_is_refused_gets_to_read_it_after_sending_everything() {
    let server = Running::start(Settings {
        body_timeout: Duration::from_secs(30),
        ..strict(1 << 20)
    })
    .ready();
    let first = holder(&server, 1 << 20);
    let body = format!("{EMBED}{}", " ".repeat(12 << 20));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (address, body) = (server.address(), body.clone());
            std::thread::spawn(move || {
                let mut stream = connect(address);
                let request = request("POST /v1/embeddings", "", &body);
                stream.write_all(request.as_bytes()).unwrap();
                rest(&mut stream)
            })
        })
        .collect();
    for client in clients {
        let answer = client.join().unwrap();
        assert!(answer.starts_with("HTTP/1.1 429"), "{answer:.300}");
        assert!(answer.contains("retry-after: 1"), "{answer:.300}");
    }
    // Who reads and drops what they send holds none of it.
    assert!(server.held() < 3 << 20, "{}", server.held());
    drop(first);
    server.wait_until_held(|held| held == 0);
}

#[test]
fn who_asks_whether_to_send_is_not_made_to() {
    let server = Running::start(Settings {
        max_body_bytes: 1000,
        ..settings()
    });
    let head = "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\nconnection: close\r\n\
                content-type: application/json\r\ncontent-length: 5000\r\n\r\n";
    let answer = raw(server.address(), head);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[test]
fn what_the_tokenizer_s_routes_take_is_counted() {
    let server = Running::start(Settings {
        body_timeout: Duration::from_secs(30),
        ..strict(1 << 20)
    })
    .ready();
    let tokenize = json!({ "inputs": "1".repeat(20_000) }).to_string();
    let decode = json!({ "ids": vec![101; 20_000] }).to_string();
    let all = json!({ "inputs": "a ".repeat(1000) }).to_string();
    let first = holder(&server, 128 << 10);
    for (line, body) in [
        ("POST /tokenize", &tokenize),
        ("POST /decode", &decode),
        ("POST /embed_all", &all),
    ] {
        let refused = answer(&server, line, body);
        assert!(
            refused.starts_with("HTTP/1.1 429"),
            "{line}: {refused:.300}"
        );
    }
    drop(first);
    server.wait_until_held(|held| held == 0);
    // One alone has room, however large.
    for (line, body) in [
        ("POST /tokenize", &tokenize),
        ("POST /decode", &decode),
        ("POST /embed_all", &all),
    ] {
        let whole = answer(&server, line, body);
        assert!(whole.starts_with("HTTP/1.1 200"), "{line}: {whole:.300}");
        server.wait_until_held(|held| held == 0);
    }
}

#[test]
fn the_tokens_of_a_long_text_are_made_as_they_are_taken() {
    // Few and short enough to be there before HTTP/2 misses the answers to its pings, on a slow machine too.
    const CLIENTS: usize = 2;
    let most = 64 << 20;
    let server = Running::start(Settings {
        // Until the last one is here, the first must stay.
        body_timeout: Duration::from_mins(5),
        ..strict(most)
    })
    .ready();
    let text = 150_000;
    let body = json!({ "inputs": "1".repeat(text) }).to_string();
    let clients: Vec<TcpStream> = (0..CLIENTS)
        .map(|before| {
            let mut client = http2::open(server.address(), 0);
            let head = http2::post(1, "/tokenize", JSON);
            client.write_all(&head).unwrap();
            let body = http2::data(1, body.as_bytes(), true);
            let mut sent = 0;
            // What the server's window has no room for waits until it is read.
            for part in body.chunks(32 << 10) {
                client.write_all(part).unwrap();
                server.wait_until_held(|held| held >= 2 * (before * text + sent));
                sent += part.len().saturating_sub(1000);
            }
            client
        })
        .collect();
    server.wait_until_held(|held| held >= 2 * CLIENTS * text);
    // Each has its text and 1 MiB, once its tokens are made: the whole answer has some 10.
    let each = 2 * text + (1 << 20) + REQUEST;
    server.wait_until_held(|held| held <= CLIENTS * each);
    std::thread::sleep(Duration::from_millis(500));
    let held = server.held();
    assert!(
        (CLIENTS * text..=CLIENTS * each).contains(&held),
        "{held} bytes are held"
    );
    drop(clients);
    server.wait_until_held(|held| held == 0);
}

#[test]
fn many_small_pieces_of_a_body_become_one() {
    let server = Running::start(settings()).ready();
    let mut chunked = "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                       content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        .to_owned();
    for byte in EMBED.chars() {
        chunked += &format!("1\r\n{byte}\r\n");
    }
    let answer = raw(server.address(), &(chunked + "0\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:.300}");
}

#[test]
fn a_bulk_message_that_does_not_go_on_is_cut_and_given_back() {
    let most = 4 << 20;
    let server = Running::start(strict(most)).ready();
    // 60 of 100 KB are sent, then nothing.
    let part = &message(&[0x12; 100_000])[..60_000];
    let mut clients: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut client = http2::open(server.address(), 1 << 16);
            let head = http2::post(1, STREAM_CALL, GRPC);
            client.write_all(&head).unwrap();
            client.write_all(&http2::data(1, part, false)).unwrap();
            client
        })
        .collect();
    server.wait_until_held(|held| held >= 60_000);
    assert!(server.held() <= most / 2 + 8 * REQUEST, "{}", server.held());
    server.wait_until_held(|held| held == 0);
    for client in &mut clients {
        client
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        // Those of the beginning, and the status.
        let kinds = http2::kinds(&answer, 1);
        let heads = kinds.iter().filter(|kind| **kind == http2::HEADERS);
        assert_eq!(heads.count(), 2, "{kinds:?}");
    }
}
