//! As many connections as the settings say, whatever limit the process was started with. Alone in its
//! process: the limit is the process's.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::Write;
use std::net::TcpStream;

use akidb_server::Settings;
use common::{Running, connect, rest, settings};
use rlimit::Resource;

#[test]
fn the_limit_of_open_files_is_raised_as_far_as_it_may_be() {
    let (_, hard) = Resource::NOFILE.get().unwrap();
    Resource::NOFILE.set(64, hard).unwrap();
    let server = Running::start(Settings {
        max_connections: 200,
        ..settings()
    });
    // Both ends of each are this process's.
    Resource::NOFILE
        .set(Resource::NOFILE.get_soft().unwrap() + 200, hard)
        .unwrap();
    let mut clients: Vec<TcpStream> = (0..150).map(|_| connect(server.address())).collect();
    for client in &mut clients {
        client.write_all(b"GET /health HTTP/1.0\r\n\r\n").unwrap();
    }
    for client in &mut clients {
        assert!(rest(client).contains("200 OK"));
    }
}
