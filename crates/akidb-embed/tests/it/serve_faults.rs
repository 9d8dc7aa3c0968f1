//! The server's process: told to stop under load, killed, started again.
#![cfg(unix)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(address: SocketAddr) -> Self {
        let program = Command::new(env!("CARGO_BIN_EXE_akidb-embed"));
        Self::start_with(program, address, &[])
    }

    fn start_with(mut program: Command, address: SocketAddr, flags: &[&str]) -> Self {
        let process = program
            .args(["serve", "--model", "akidb-mini", "--host", "127.0.0.1"])
            .args(["--port", &address.port().to_string()])
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { process, address };
        let start = Instant::now();
        let ready = |(_, answer): (_, String)| answer.starts_with("HTTP/1.1 200");
        while !exchange(address, "GET /health/ready", "").is_some_and(ready) {
            assert!(start.elapsed() < Duration::from_secs(60), "not ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        let done = Command::new("kill").args(["-s", name, &id]).status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// One request on a connection of its own: when that was made, and what came back until its end.
/// Nothing where no connection was made.
fn exchange(address: SocketAddr, line: &str, body: &str) -> Option<(Instant, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let connected = Instant::now();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut answer = Vec::new();
    if stream.write_all(request.as_bytes()).is_ok() {
        // A reset ends it, too.
        let _ = stream.read_to_end(&mut answer);
    }
    Some((connected, String::from_utf8_lossy(&answer).into_owned()))
}

/// The vector in an answer that came whole.
fn vector(answer: &str) -> Option<Vec<f32>> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then_some(())?;
    let body: Value = serde_json::from_str(body).ok()?;
    serde_json::from_value(body["data"][0]["embedding"].clone()).ok()
}

fn ask(address: SocketAddr, text: &str) -> Option<(Instant, String)> {
    let body = json!({"input": text}).to_string();
    exchange(address, "POST /v1/embeddings", &body)
}

fn embed(address: SocketAddr, text: &str) -> Option<Vec<f32>> {
    vector(&ask(address, text)?.1)
}

#[test]
fn told_to_stop_under_load_it_answers_all_that_it_has_accepted() {
    let mut server = Server::start(free_address());
    let at = server.address;
    // Long enough that many requests wait in the queue when the signal comes.
    let text = "all that was accepted is answered ".repeat(40);
    let expected = embed(at, &text).unwrap();

    let told = Mutex::new(None::<Instant>);
    let ended = AtomicBool::new(false);
    let (answered, after, lost) = std::thread::scope(|scope| {
        let client = || {
            let (mut answered, mut after, mut lost) = (0, 0, Vec::new());
            while !ended.load(Ordering::Relaxed) {
                let Some((connected, answer)) = ask(at, &text) else {
                    break;
                };
                let told = *told.lock().unwrap();
                match vector(&answer) {
                    Some(vector) => {
                        assert_eq!(vector, expected);
                        answered += 1;
                        after += usize::from(told.is_some());
                    }
                    None if told.is_none_or(|told| connected < told) => lost.push(answer),
                    None => break,
                }
            }
            (answered, after, lost)
        };
        let clients: Vec<_> = (0..48).map(|_| scope.spawn(client)).collect();
        std::thread::sleep(Duration::from_secs(2));
        *told.lock().unwrap() = Some(Instant::now());
        server.signal("TERM");
        let status = server.process.wait().unwrap();
        ended.store(true, Ordering::Relaxed);
        assert!(status.success(), "{status}");
        clients
            .into_iter()
            .fold((0, 0, Vec::new()), |(answered, after, mut lost), client| {
                let (more, more_after, more_lost) = client.join().unwrap();
                lost.extend(more_lost);
                (answered + more, after + more_after, lost)
            })
    });
    assert!(lost.is_empty(), "{} lost: {:?}", lost.len(), lost[0]);
    assert!(answered > after && after > 10, "{answered} {after}");
    assert!(ask(at, &text).is_none());
}

#[test]
fn killed_under_load_it_starts_again_at_the_same_place_with_the_same_bits() {
    let address = free_address();
    let mut server = Server::start(address);
    let expected = embed(address, "the same text").unwrap();
    let ended = AtomicBool::new(false);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                // Bounded, so that a failure of the other thread ends the test.
                while !ended.load(Ordering::Relaxed) && start.elapsed().as_secs() < 120 {
                    if let Some(vector) = embed(address, "the same text") {
                        assert_eq!(vector, expected);
                    }
                }
            });
        }
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(200));
            server.signal("KILL");
            server.process.wait().unwrap();
            server = Server::start(address);
            assert_eq!(embed(address, "the same text").unwrap(), expected);
        }
        ended.store(true, Ordering::Relaxed);
    });
}

/// The status of an answer to who has this key.
fn status(stream: &mut TcpStream, key: &str) -> Option<String> {
    let request =
        format!("GET /info HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = [0; 16_384];
    let n = stream.read(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer[..n]);
    answer.split(' ').nth(1).map(str::to_owned)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn keys_that_become_a_pipe_stop_neither_connections_nor_signals() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    std::fs::write(&keys, "first").unwrap();
    let program = Command::new(env!("CARGO_BIN_EXE_akidb-embed"));
    let flags = ["--api-keys", keys.to_str().unwrap()];
    let mut server = Server::start_with(program, free_address(), &flags);
    std::fs::remove_file(&keys).unwrap();
    let made = Command::new("mkfifo").arg(&keys).status();
    if !made.is_ok_and(|status| status.success()) {
        akidb_testing::skip("there is no mkfifo");
        return;
    }
    server.signal("HUP");
    // Longer than the keys stay unlooked at.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        let answer = status(&mut connect(server.address), "first");
        assert_eq!(answer.as_deref(), Some("200"));
        std::thread::sleep(Duration::from_millis(100));
    }
    server.signal("TERM");
    let start = Instant::now();
    let ended = loop {
        if let Some(status) = server.process.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < PATIENCE, "it doesn't stop");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(ended.success(), "{ended}");
}

#[test]
fn a_key_is_revoked_while_clients_hold_all_descriptors() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    std::fs::write(&keys, "first").unwrap();
    let mut program = Command::new("sh");
    program.args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""]);
    program.arg(env!("CARGO_BIN_EXE_akidb-embed"));
    let flags = [
        "--api-keys",
        keys.to_str().unwrap(),
        "--header-timeout",
        "10m",
    ];
    let server = Server::start_with(program, free_address(), &flags);
    let mut client = connect(server.address);
    assert_eq!(status(&mut client, "first").as_deref(), Some("200"));
    let silent: Vec<_> = (0..100).map(|_| connect(server.address)).collect();
    // Nobody more is answered: all descriptors are taken.
    let mut late = connect(server.address);
    late.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    assert_eq!(status(&mut late, "first"), None);

    let new = directory.path().join("new");
    std::fs::write(&new, "other").unwrap();
    std::fs::rename(&new, &keys).unwrap();
    let start = Instant::now();
    while status(&mut client, "first").as_deref() != Some("401") {
        assert!(start.elapsed() < PATIENCE, "the key stays valid");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(status(&mut client, "other").as_deref(), Some("200"));
    drop(silent);
}
