//! Sends requests to a running server and says how it did:
//! `cargo run --release -p akidb-server --example load -- --clients 64 --seconds 20`.

#[path = "texts/mod.rs"]
mod texts;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use texts::{Chance, Lengths};

/// Sends requests to a running server and says how it did.
#[derive(Debug, Parser)]
struct Args {
    /// Where the server listens
    #[arg(long, default_value = "127.0.0.1:8080")]
    address: String,
    /// An interface with OpenAI's fields
    #[arg(long, default_value = "/v1/embeddings")]
    path: String,
    /// Name of the model
    #[arg(long)]
    model: Option<String>,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 1)]
    clients: u32,
    /// How long requests are sent; answers that come later don't count
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Requests in all, however long that takes
    #[arg(long)]
    requests: Option<u64>,
    /// Answers that come in so many seconds at the start don't count
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Requests a second of all clients; without it, each sends as soon as it has its answer
    #[arg(long)]
    rate: Option<f64>,
    /// Texts in one request
    #[arg(long, default_value_t = 1)]
    texts: usize,
    #[command(flatten)]
    lengths: Lengths,
    /// Further header, `name: value`
    #[arg(long = "header")]
    headers: Vec<String>,
    /// Process whose memory is watched
    #[arg(long)]
    pid: Option<u32>,
}

/// An answer.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// 0 where there was none.
    status: u16,
    at: Instant,
    took: Duration,
    tokens: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    // One thread: the server needs the others.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(args))
}

async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let args = Arc::new(args);
    let start = Instant::now();
    let count = Arc::new(AtomicU64::new(0));
    let memory_before = args.pid.and_then(rss);
    let clients = (0..args.clients).map(|client| {
        let client = Client {
            args: Arc::clone(&args),
            count: Arc::clone(&count),
            chance: Chance::new(client),
            start,
        };
        tokio::spawn(client.run())
    });
    let clients: Vec<_> = clients.collect();
    let watch = args.pid.map(|pid| tokio::spawn(watch(pid)));
    let mut samples = Vec::new();
    for client in clients {
        samples.extend(client.await??);
    }
    let from = start + Duration::from_secs_f64(args.warm_up);
    let last = samples.iter().map(|s| s.at + s.took).max().unwrap_or(from);
    let end = match args.requests {
        Some(_) => last,
        None => start + Duration::from_secs_f64(args.seconds),
    };
    // Those that end while all clients are at work.
    samples.retain(|s| (from..=end).contains(&(s.at + s.took)));
    let seconds = end.saturating_duration_since(from).as_secs_f64();
    let mut out = report(&samples, seconds, &args);
    if let Some(watch) = watch {
        watch.abort();
        let (Some(before), Some(after)) = (memory_before, args.pid.and_then(rss)) else {
            return Err("the process has no memory to watch".into());
        };
        let most = MOST_MEMORY.load(Ordering::Relaxed).max(after);
        let mb = |bytes: u64| bytes as f64 / 1e6;
        let (before, most, after) = (mb(before), mb(most), mb(after));
        out.push_str(&format!(
            "RSS MB: {before:.1} before, {most:.1} at most, {after:.1} after\n"
        ));
    }
    std::io::stdout().write_all(out.as_bytes())?;
    Ok(())
}

fn report(samples: &[Sample], seconds: f64, args: &Args) -> String {
    let mut by_status: BTreeMap<u16, Vec<f64>> = BTreeMap::new();
    for sample in samples {
        let times = by_status.entry(sample.status).or_default();
        times.push(sample.took.as_secs_f64() * 1e3);
    }
    let answered = by_status.get(&200).map_or(0, Vec::len);
    let tokens: u64 = samples.iter().map(|s| s.tokens).sum();
    let mut out = format!(
        "{} clients, {seconds:.1} s: {:.1} answers/s, {:.1} texts/s, {:.0} tokens/s\n",
        args.clients,
        answered as f64 / seconds,
        (answered * args.texts) as f64 / seconds,
        tokens as f64 / seconds,
    );
    for (status, times) in &mut by_status {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let index = (share * (times.len() - 1) as f64).round() as usize;
            times.get(index).copied().unwrap_or_default()
        };
        let (p50, p95, p99, max) = (at(0.5), at(0.95), at(0.99), at(1.0));
        let name = match status {
            0 => "no answer".to_owned(),
            status => format!("status {status}"),
        };
        let count = times.len();
        let line = format!(
            "{name}: {count}, ms: p50 {p50:.2}, p95 {p95:.2}, p99 {p99:.2}, max {max:.2}\n"
        );
        out.push_str(&line);
    }
    out
}

struct Client {
    args: Arc<Args>,
    count: Arc<AtomicU64>,
    chance: Chance,
    start: Instant,
}

impl Client {
    async fn run(mut self) -> Result<Vec<Sample>, String> {
        let headers = self.headers()?;
        let end = self.start + Duration::from_secs_f64(self.args.seconds);
        let between = self
            .args
            .rate
            .map(|rate| f64::from(self.args.clients) / rate);
        // Clients don't begin all at once.
        let mut next = self.start;
        if let Some(between) = between {
            next += Duration::from_secs_f64(between * self.chance.share());
        }
        let mut samples = Vec::new();
        let mut connection = None;
        loop {
            if let Some(between) = between {
                tokio::time::sleep_until(next.into()).await;
                next += Duration::from_secs_f64(between);
            }
            let number = self.count.fetch_add(1, Ordering::Relaxed);
            let over = match self.args.requests {
                Some(requests) => number >= requests,
                None => Instant::now() >= end,
            };
            if over {
                return Ok(samples);
            }
            let body = self.body(number);
            let at = Instant::now();
            let answer = match self.send(&mut connection, &headers, body).await {
                Ok(answer) => answer,
                Err(_) => {
                    connection = None;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    (0, 0)
                }
            };
            samples.push(Sample {
                status: answer.0,
                at,
                took: at.elapsed(),
                tokens: answer.1,
            });
        }
    }

    fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let headers = self.args.headers.iter().map(|header| {
            let (name, value) = header.split_once(": ")?;
            Some((name.parse().ok()?, value.parse().ok()?))
        });
        headers
            .collect::<Option<_>>()
            .ok_or_else(|| "a header is `name: value`".to_owned())
    }

    /// The status and the number of tokens.
    async fn send(
        &self,
        connection: &mut Option<SendRequest<Full<Bytes>>>,
        headers: &[(HeaderName, HeaderValue)],
        body: String,
    ) -> Result<(u16, u64), Box<dyn Error + Send + Sync>> {
        let mut open = match connection.take() {
            Some(open) => open,
            None => {
                let stream = TcpStream::connect(&self.args.address).await?;
                stream.set_nodelay(true)?;
                let (open, driver) = handshake(TokioIo::new(stream)).await?;
                tokio::spawn(driver);
                open
            }
        };
        let mut request = hyper::Request::post(&self.args.path)
            .header(HOST, &self.args.address)
            .header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        open.ready().await?;
        let answer = open.send_request(request.body(Full::from(body))?).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        *connection = Some(open);
        Ok((status, total_tokens(&body)))
    }

    /// Texts that differ from all others by their number.
    fn body(&mut self, number: u64) -> String {
        let texts = (0..self.args.texts).map(|index| {
            let name = format!("{number}.{index}");
            self.args.lengths.text(&name, &mut self.chance)
        });
        let texts: Vec<String> = texts.collect();
        let mut body = serde_json::json!({ "input": texts, "encoding_format": "base64" });
        if let Some(model) = &self.args.model {
            body["model"] = model.as_str().into();
        }
        body.to_string()
    }
}

/// The number in the answer's usage, without a look at all of its vectors.
fn total_tokens(body: &[u8]) -> u64 {
    let name = b"\"total_tokens\":";
    let found = body.windows(name.len()).rposition(|bytes| bytes == name);
    let digits = found.and_then(|at| body.get(at + name.len()..));
    let digits = digits.unwrap_or_default().iter();
    digits
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |sum, digit| 10 * sum + u64::from(digit - b'0'))
}

static MOST_MEMORY: AtomicU64 = AtomicU64::new(0);

async fn watch(pid: u32) {
    while let Some(bytes) = rss(pid) {
        MOST_MEMORY.fetch_max(bytes, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Resident memory of a process in bytes, where the system tells.
fn rss(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(1024 * kib)
}
