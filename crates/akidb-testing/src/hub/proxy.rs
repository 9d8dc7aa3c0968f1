//! A proxy on loopback that tunnels, as companies have one.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::lock;

/// A running proxy. It serves until the process ends, and takes every name for loopback.
#[derive(Debug, Clone)]
pub struct TestProxy {
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl TestProxy {
    /// A proxy on a free port, which wants this value of `Proxy-Authorization`, if one is given.
    ///
    /// Panics when the system gives no port.
    pub fn start(authorization: Option<&str>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .unwrap_or_else(|e| panic!("no port on loopback: {e}"));
        let address = listener.local_addr();
        let log = Arc::new(Mutex::new(Vec::new()));
        let proxy = Self {
            address: address.unwrap_or_else(|e| panic!("no address: {e}")),
            log: Arc::clone(&log),
        };
        let authorization = authorization.map(str::to_owned);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, authorization) = (Arc::clone(&log), authorization.clone());
                // A client that leaves is no failure of the proxy.
                std::thread::spawn(move || tunnel(&stream, &log, authorization.as_deref()));
            }
        });
        proxy
    }

    /// Its address and port.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// What it was asked to connect to since the last call, as `name:port`.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.log))
    }
}

fn tunnel(
    mut client: &TcpStream,
    log: &Mutex<Vec<String>>,
    wanted: Option<&str>,
) -> io::Result<()> {
    let mut reader = BufReader::new(client);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut authorization = None;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("proxy-authorization")
        {
            authorization = Some(value.trim().to_owned());
        }
    }
    let target = first.strip_prefix("CONNECT ");
    let target = target.and_then(|rest| rest.split_whitespace().next());
    let Some(target) = target else {
        return client.write_all(b"HTTP/1.1 405 CONNECT only\r\nContent-Length: 0\r\n\r\n");
    };
    lock(log).push(target.to_owned());
    if wanted.is_some() && authorization.as_deref() != wanted {
        return client.write_all(b"HTTP/1.1 407 Who is there\r\nContent-Length: 0\r\n\r\n");
    }
    let port = target.rsplit(':').next().and_then(|port| port.parse().ok());
    let server = TcpStream::connect(("127.0.0.1", port.unwrap_or(0_u16)))?;
    client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
    std::thread::scope(|scope| {
        // A client speaks first: nothing is left in the reader.
        scope.spawn(|| copy(client, &server));
        copy(&server, client);
    });
    Ok(())
}

/// Until one side ends, or leaves.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
