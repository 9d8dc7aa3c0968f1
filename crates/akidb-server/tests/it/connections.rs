//! Connections that are slow, idle, many or cut short, and the end of the server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::common::{EMBED, Running, connect, http2, raw, request, rest, settings};
use akidb_server::{Host, Settings};

fn impatient() -> Settings {
    Settings {
        header_timeout: Duration::from_millis(300),
        keep_alive: Duration::from_millis(300),
        ..settings()
    }
}

/// Sends `bytes`, then reads until the server closes; gives what came and how long it took.
fn held(server: &Running, bytes: &[u8]) -> (String, Duration) {
    let start = Instant::now();
    let mut stream = connect(server.address());
    stream.write_all(bytes).unwrap();
    let answer = rest(&mut stream);
    (answer, start.elapsed())
}

#[test]
fn a_connection_without_a_whole_request_is_closed() {
    let server = Running::start(impatient()).ready();
    let http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for bytes in [
        &b""[..],
        b"P",
        b"POST /v1",
        b"GET / HTTP/1.1\r\nhost:",
        http2,
    ] {
        let (_, time) = held(&server, bytes);
        assert!(time < Duration::from_secs(5), "{bytes:?}: {time:?}");
    }
}

#[test]
fn one_byte_at_a_time_holds_no_connection() {
    let server = Running::start(impatient()).ready();
    let mut stream = connect(server.address());
    let start = Instant::now();
    let slow = request("POST /v1/embeddings", "", EMBED);
    let cut = slow.bytes().any(|byte| {
        std::thread::sleep(Duration::from_millis(50));
        stream.write_all(&[byte]).is_err()
    });
    assert!(cut && start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_connection_is_kept_for_the_next_request_and_closed_when_none_comes() {
    let server = Running::start(impatient()).ready();
    let mut stream = connect(server.address());
    for _ in 0..3 {
        stream
            .write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .unwrap();
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        while !answer.ends_with(b"ok") {
            answer.rotate_left(1);
            stream.read_exact(&mut answer[14..]).unwrap();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let start = Instant::now();
    assert_eq!(rest(&mut stream), "");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn connections_beyond_the_bound_wait_for_their_turn() {
    let server = Running::start(Settings {
        max_connections: 1,
        ..settings()
    })
    .ready();
    let first = connect(server.address());
    let mut second = connect(server.address());
    second.write_all(b"GET /health HTTP/1.0\r\n\r\n").unwrap();
    second
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut byte = [0];
    assert!(second.read(&mut byte).is_err(), "answered beside the first");
    drop(first);
    second
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    assert!(rest(&mut second).contains("200 OK"));
}

#[test]
fn what_was_accepted_is_finished_and_nothing_new_is_taken() {
    let mut server = Running::start(Settings {
        max_wait: Duration::from_mins(2),
        ..settings()
    })
    .ready();
    let address = server.address();
    let texts: Vec<String> = (0..600)
        .map(|i| format!("a text of some length that takes a while {i}"))
        .collect();
    let body = serde_json::json!({ "input": texts }).to_string();
    let mut busy: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = connect(address);
            let request = request("POST /v1/embeddings", "", &body);
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    let mut idle = connect(address);
    server.drain();
    server.wait();
    for stream in &mut busy {
        let answer = rest(stream);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:.600}");
        assert!(answer.ends_with('}'));
    }
    assert_eq!(rest(&mut idle), "");
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn load_balancers_see_the_end_before_it_comes() {
    let mut server = Running::start(Settings {
        drain_delay: Duration::from_millis(500),
        ..settings()
    })
    .ready();
    server.drain();
    std::thread::sleep(Duration::from_millis(100));
    let ready = raw(server.address(), "GET /health/ready HTTP/1.0\r\n\r\n");
    assert!(ready.contains(" 503 "), "{ready}");
    let live = raw(server.address(), "GET /health/live HTTP/1.0\r\n\r\n");
    assert!(live.contains(" 200 "), "{live}");
    let vectors = raw(server.address(), &request("POST /v1/embeddings", "", EMBED));
    assert!(vectors.contains(" 200 "), "{vectors}");
    server.wait();
}

#[test]
fn the_end_waits_no_longer_than_it_may() {
    let mut server = Running::start(Settings {
        drain_timeout: Duration::from_millis(200),
        ..settings()
    })
    .ready();
    let mut half = connect(server.address());
    let whole = request("POST /v1/embeddings", "", EMBED);
    half.write_all(&whole.as_bytes()[..whole.len() - 3])
        .unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    server.drain();
    server.wait();
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(rest(&mut half), "");
}

#[test]
fn a_second_word_ends_it_at_once() {
    let mut server = Running::start(settings()).ready();
    let mut half = connect(server.address());
    half.write_all(
        b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{",
    )
    .unwrap();
    std::thread::sleep(Duration::from_millis(100));
    server.drain();
    std::thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    server.stop_now();
    server.wait();
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_model_that_is_not_there_is_told_before_the_server_listens() {
    let mut settings = settings();
    settings.models[0].builder = akidb_embedding::Embedder::builder().model("no/such-model");
    let error = akidb_server::EmbeddingService::new(settings).unwrap_err();
    assert!(error.to_string().contains("akidb-mini"), "{error}");
}

#[test]
fn a_name_is_listened_on_at_all_of_its_addresses() {
    let server = Running::start(Settings {
        host: Host::Name("localhost".to_owned()),
        ..settings()
    });
    let (_, port) = server.url.rsplit_once("://localhost:").unwrap();
    let port: u16 = port.parse().unwrap();
    let mut addresses: Vec<SocketAddr> = ("localhost", port).to_socket_addrs().unwrap().collect();
    // A name may have addresses that no interface has.
    addresses.retain(|address| TcpListener::bind((address.ip(), 0)).is_ok());
    assert!(!addresses.is_empty());
    if addresses.len() == 1 {
        println!("SKIPPED: localhost has one address here: {addresses:?}");
    }
    for address in addresses {
        let answer = raw(address, "GET /health HTTP/1.0\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.0 200"), "{address}: {answer}");
    }
    // No name has such a part (RFC 1035, 2.3.4): nobody is asked for it.
    let name = "x".repeat(70);
    let nowhere = Settings {
        host: Host::Name(name.clone()),
        ..settings()
    };
    let service = std::sync::Arc::new(akidb_server::EmbeddingService::new(nowhere).unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let error = runtime.block_on(akidb_server::serve(service)).unwrap_err();
    assert!(error.to_string().contains(&name), "{error}");
}

#[test]
fn a_port_in_use_is_named() {
    let server = Running::start(settings());
    let taken = Settings {
        port: server.address().port(),
        ..settings()
    };
    let service = std::sync::Arc::new(akidb_server::EmbeddingService::new(taken).unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let error = runtime.block_on(akidb_server::serve(service)).unwrap_err();
    assert!(!error.is_usage());
    assert!(error.to_string().contains(&server.address().to_string()));
    assert!(error.hint().unwrap().contains("--port"));
}

#[cfg(unix)]
#[test]
fn a_unix_socket_takes_the_place_of_one_that_nobody_listens_on() {
    use std::os::unix::net::{UnixListener, UnixStream};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    drop(UnixListener::bind(&path).unwrap());
    let on_socket = || Settings {
        unix_socket: Some(path.clone()),
        ..settings()
    };
    let mut server = Running::start(on_socket());
    let mut stream = UnixStream::connect(&path).unwrap();
    stream
        .write_all(request("POST /v1/embeddings", "", EMBED).as_bytes())
        .unwrap();
    assert!(rest(&mut stream).starts_with("HTTP/1.1 200"));

    let service = std::sync::Arc::new(akidb_server::EmbeddingService::new(on_socket()).unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let error = runtime.block_on(akidb_server::serve(service)).unwrap_err();
    assert!(error.hint().unwrap().contains("--unix-socket"), "{error:?}");

    server.drain();
    server.wait();
    assert!(!path.exists());
    std::fs::write(&path, "a file of somebody's").unwrap();
    let service = std::sync::Arc::new(akidb_server::EmbeddingService::new(on_socket()).unwrap());
    let error = runtime.block_on(akidb_server::serve(service)).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "what is there is no socket");
    assert!(error.hint().unwrap().contains("--unix-socket"), "{error:?}");
    assert!(path.exists());
}

#[test]
fn bodies_that_are_not_answered_yet_have_a_bound() {
    let server = Running::start(Settings {
        max_queue_bytes: 10_000,
        ..settings()
    })
    .ready();
    // One alone has room, however large.
    let large = request("POST /v1/embeddings", "", &padded(20_000));
    let (most, end) = large.split_at(large.len() - 10);
    let mut first = connect(server.address());
    first.write_all(most.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let second = raw(server.address(), &request("POST /v1/embeddings", "", EMBED));
    assert!(second.starts_with("HTTP/1.1 429"), "{second}");
    assert!(second.contains("retry-after: 1"), "{second}");
    // What has no body needs no room.
    let health = raw(server.address(), &request("GET /health", "", ""));
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    first.write_all(end.as_bytes()).unwrap();
    let first = rest(&mut first);
    assert!(first.starts_with("HTTP/1.1 200"), "{first:.300}");
    let second = raw(server.address(), &request("POST /v1/embeddings", "", EMBED));
    assert!(second.starts_with("HTTP/1.1 200"), "{second:.300}");
}

/// A request's body of so many bytes.
fn padded(bytes: usize) -> String {
    let body = EMBED.to_owned();
    body + &" ".repeat(bytes - EMBED.len())
}

/// curl before 8 loses an answer that comes with a reset.
#[test]
fn a_refusal_over_http2_resets_no_stream() {
    let server = Running::start(settings()).ready();
    for path in ["/nowhere", "/health", "/v1/embeddings"] {
        let mut stream = http2::open(server.address(), 1 << 16);
        stream
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let head = http2::post(1, path, "application/json");
        stream.write_all(&head).unwrap();
        // The body comes late, and is no JSON.
        std::thread::sleep(Duration::from_millis(200));
        let _ = stream.write_all(&http2::data(1, b"{]", true));
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let kinds = http2::kinds(&answer, 1);
        assert!(kinds.contains(&http2::HEADERS), "{path}: {kinds:?}");
        assert!(!kinds.contains(&http2::RESET), "{path}: {kinds:?}");
    }
}
