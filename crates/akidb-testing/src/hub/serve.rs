//! HTTP/1.1, as far as clients of the hub use it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustls::{ServerConnection, Stream};

use super::answer::{Answer, Content, answer};
use super::{Logged, State, lock};

/// Bytes written at once.
const CHUNK: usize = 64 << 10;

pub(super) fn serve(listener: &TcpListener, state: &Arc<State>, storage: bool) {
    for stream in listener.incoming().flatten() {
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            // A client that leaves is no failure of the server.
            let _ = accept(&stream, &state, storage);
            let _ = stream.shutdown(Shutdown::Both);
        });
    }
}

fn accept(mut stream: &TcpStream, state: &State, storage: bool) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let Some(config) = &state.tls else {
        return connection(stream, state, storage);
    };
    let mut tls = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    connection(Stream::new(&mut tls, &mut stream), state, storage)?;
    tls.send_close_notify();
    tls.complete_io(&mut stream).map(drop)
}

fn connection(stream: impl Read + Write, state: &State, storage: bool) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader, storage)? {
        lock(&state.log).push(request.clone());
        match answer(state, &request) {
            Answer::Silence => {
                std::thread::sleep(Duration::from_secs(60));
                return Ok(());
            }
            Answer::Content(content) => {
                if !send(reader.get_mut(), state, &request, &content)? {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn read_request(reader: &mut impl BufRead, storage: bool) -> io::Result<Option<Logged>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let mut request = Logged {
        method: words.next().unwrap_or_default().to_owned(),
        path: words.next().unwrap_or_default().to_owned(),
        range: None,
        authorization: None,
        storage,
    };
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            return Ok(Some(request));
        }
        if let Some((name, value)) = line.split_once(':') {
            let value = Some(value.trim().to_owned());
            match name.to_ascii_lowercase().as_str() {
                "range" => request.range = value,
                "authorization" => request.authorization = value,
                _ => {}
            }
        }
    }
}

/// Whether the connection goes on.
fn send(
    stream: &mut impl Write,
    state: &State,
    request: &Logged,
    content: &Content,
) -> io::Result<bool> {
    let faults = lock(&state.faults).clone();
    let length = content.length();
    let mut head = format!(
        "HTTP/1.1 {} \r\nContent-Length: {length}\r\n",
        content.status
    );
    for (name, value) in &content.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if request.method == "HEAD" {
        stream.flush()?;
        return Ok(true);
    }
    let mut body = content.body();
    if content.is_file
        && let Some(limit) = faults.cut_after
    {
        body = body
            .get(..usize::try_from(limit).unwrap_or(usize::MAX))
            .unwrap_or(body);
    }
    let started = Instant::now();
    let mut written = 0_u64;
    for chunk in body.chunks(CHUNK) {
        match content.flipped(written, chunk.len()) {
            Some(at) => {
                let mut chunk = chunk.to_vec();
                if let Some(byte) = chunk.get_mut(at) {
                    *byte ^= 1;
                }
                stream.write_all(&chunk)?;
            }
            None => stream.write_all(chunk)?,
        }
        written += chunk.len() as u64;
        if content.is_file {
            state.sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            if let Some(rate) = faults.bytes_per_second {
                let due = Duration::from_secs_f64(written as f64 / rate as f64);
                std::thread::sleep(due.saturating_sub(started.elapsed()));
            }
        }
    }
    stream.flush()?;
    Ok(written == length)
}
