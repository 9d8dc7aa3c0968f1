//! `serve`: where it listens, what it is told, and how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{akidb, failed, run_with};

struct Serving {
    process: Child,
    address: String,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Serving {
    fn start(args: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_akidb-embed"))
            .args(["serve", "--model", "akidb-mini", "--port", "0"])
            .args(args)
            .env_remove("AKIDB_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let mut seen = String::new();
        let address = loop {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "{seen}");
            seen.push_str(&line);
            if let Some((_, rest)) = line.split_once("http://") {
                let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
                break rest[..end.unwrap_or(rest.len())].to_owned();
            }
        };
        Self {
            process,
            address,
            stderr,
        }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn ready(self) -> Self {
        let start = Instant::now();
        while !self.get("/health/ready").contains(" 200 ") {
            assert!(start.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(50));
        }
        self
    }

    #[cfg(unix)]
    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.process.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    fn rest_of_stderr(mut self) -> (i32, String) {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        let code = self.process.wait().unwrap().code();
        (code.unwrap_or(-1), rest)
    }
}

fn embed(body: &str) -> String {
    format!(
        "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(unix)]
#[test]
fn a_terminated_server_finishes_what_it_accepted() {
    let server = Serving::start(&["--max-wait", "2m"]).ready();
    let texts: Vec<String> = (0..400)
        .map(|i| format!("a text of some length that takes a while {i}"))
        .collect();
    let body = serde_json::json!({ "input": texts }).to_string();
    let mut busy: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(&server.address).unwrap();
            stream.write_all(embed(&body).as_bytes()).unwrap();
            stream
        })
        .collect();
    server.signal("TERM");
    for stream in &mut busy {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:.200}");
    }
    let address = server.address.clone();
    let (code, stderr) = server.rest_of_stderr();
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("finishing"), "{stderr}");
    assert!(TcpStream::connect(address).is_err());
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_it_at_once() {
    let server = Serving::start(&[]).ready();
    let mut half = TcpStream::connect(&server.address).unwrap();
    let whole = embed(r#"{"input":"a"}"#);
    half.write_all(&whole.as_bytes()[..whole.len() - 1])
        .unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let start = Instant::now();
    server.signal("TERM");
    std::thread::sleep(Duration::from_millis(300));
    server.signal("INT");
    let (code, stderr) = server.rest_of_stderr();
    assert_eq!(code, 0, "{stderr}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn it_says_how_to_try_it() {
    let mut server = Serving::start(&["--model", "other=akidb-mini"]);
    let mut lines = String::new();
    while !lines.contains("curl") {
        assert!(server.stderr.read_line(&mut lines).unwrap() > 0, "{lines}");
    }
    assert!(lines.contains("akidb-mini, other"), "{lines}");
    assert!(lines.contains(&format!("http://{}/v1/embeddings", server.address)));
    server.process.kill().unwrap();
    server.process.wait().unwrap();
}

#[test]
fn log_lines_can_be_json() {
    let mut server = Serving::start(&["--log-format", "json"]).ready();
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream
        .write_all(embed(r#"{"input":"a"}"#).as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    server.process.kill().unwrap();
    let (_, rest) = server.rest_of_stderr();
    let lines: Vec<serde_json::Value> = rest.lines().map(crate::common::json).collect();
    assert!(lines.iter().all(|line| line["level"].is_string()), "{rest}");
}

#[test]
fn a_port_in_use_is_told_with_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let out = akidb(&[
        "serve",
        "--model",
        "akidb-mini",
        "--port",
        &port,
        "--log-format",
        "human",
    ]);
    let last = out.stderr.find("error: ").unwrap_or_default();
    let out = crate::common::Outcome {
        stderr: out.stderr[last..].to_owned(),
        ..out
    };
    failed(&out, 1, &[&port, "caused by: ", "hint: ", "--port"]);
}

#[test]
fn a_model_that_is_not_there_is_wrong_usage() {
    for (args, hint) in [
        (
            &["owner/nope"][..],
            "hint: akidb-embed models pull owner/nope ",
        ),
        (&["akidb-mini", "--variant", "int8"], "hint: it has: fp16"),
    ] {
        let serve = ["serve", "--port", "0", "--log-format", "human", "--model"];
        let out = akidb(&[&serve, args].concat());
        assert_eq!(out.code, 2, "{}", out.stderr);
        assert!(out.stderr.contains(hint), "{}", out.stderr);
    }
}

#[test]
fn settings_come_from_the_file_the_environment_and_flags() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        "model = [\"a=akidb-mini\"]\nport = 1111\nkeep_alive = \"5s\"\nmax_connections = 9\n",
    )
    .unwrap();
    let path = file.path().display().to_string();
    let args = [
        "serve",
        "--print-config",
        "--config",
        &path,
        "--port",
        "3333",
    ];
    let variables = [
        ("AKIDB_SERVE_PORT", "2222"),
        ("AKIDB_SERVE_MAX_CONNECTIONS", "10"),
    ];
    let out = run_with(&args, b"", &variables);
    assert_eq!(out.code, 0, "{}", out.stderr);
    for line in [
        "model = [\"a=akidb-mini\"]".to_owned(),
        "port = 3333 # --port".to_owned(),
        "max_connections = 10 # AKIDB_SERVE_MAX_CONNECTIONS".to_owned(),
        format!("keep_alive = \"5s\" # {path}"),
    ] {
        assert!(
            out.stdout.lines().any(|l| l == line),
            "{line}\n{}",
            out.stdout
        );
    }

    let again = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(again.path(), &out.stdout).unwrap();
    let args = [
        "serve",
        "--print-config",
        "--config",
        again.path().to_str().unwrap(),
    ];
    let same = akidb(&args);
    let values = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| line.split(" # ").next());
        lines.map(|line| line.unwrap().to_owned()).collect()
    };
    assert_eq!(values(&same.stdout), values(&out.stdout));
}

#[test]
fn how_a_model_is_run_comes_from_its_table_the_environment_and_flags() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text =
        "[[model]]\nname = \"a\"\nmodel = \"akidb-mini\"\nprecision = \"int8\"\nthreads = 1\n";
    std::fs::write(file.path(), text).unwrap();
    let path = file.path().to_str().unwrap();
    let args = ["serve", "--print-config", "--config", path];
    let model = |args: &[&str], variables: &[(&str, &str)]| {
        let out = run_with(args, b"", variables);
        let config: toml::Table = out.stdout.parse().unwrap();
        config["model"][0].clone()
    };
    let shown = model(&args, &[("AKIDB_SERVE_THREADS", "2")]);
    assert_eq!(shown["name"].as_str(), Some("a"));
    assert_eq!(shown["precision"].as_str(), Some("int8"));
    assert_eq!(shown["threads"].as_integer(), Some(2));
    let flags = [&args[..], &["--precision", "bf16", "--threads", "3"]].concat();
    let shown = model(&flags, &[("AKIDB_SERVE_THREADS", "2")]);
    assert_eq!(shown["precision"].as_str(), Some("bf16"));
    assert_eq!(shown["threads"].as_integer(), Some(3));

    std::fs::write(file.path(), text.replace("int8", "int9")).unwrap();
    failed(&akidb(&args), 2, &[path, "model", "int9"]);
    let variable = run_with(&["serve"], b"", &[("AKIDB_SERVE_BACKEND", "gpu")]);
    failed(&variable, 2, &["environment", "gpu", "native"]);
}

#[test]
fn a_model_is_looked_at_before_it_is_served() {
    let mut server = Serving::start(&["--verify"]).ready();
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    let noise = akidb_testing::fixture("tiny").display().to_string();
    let wrong = akidb(&["serve", "--verify", "--model", &noise, "--port", "0"]);
    assert_eq!(wrong.code, 1, "{}", wrong.stderr);
    assert!(
        wrong.stderr.contains("the vectors of tiny"),
        "{}",
        wrong.stderr
    );
    assert!(!wrong.stderr.contains("listening"), "{}", wrong.stderr);
}

#[cfg(unix)]
#[test]
fn that_it_listens_is_said_once() {
    // The first line with an address has been read by then.
    for args in [&[][..], &["--log-format", "json"]] {
        let server = Serving::start(args).ready();
        server.signal("TERM");
        let (code, rest) = server.rest_of_stderr();
        assert_eq!(code, 0, "{rest}");
        assert!(!rest.contains("listening"), "{rest}");
    }
}

#[test]
fn wrong_settings_are_wrong_usage() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "max_conections = 1\n").unwrap();
    let path = file.path().display().to_string();
    let misspelt = akidb(&["serve", "--config", &path]);
    failed(
        &misspelt,
        2,
        &["max_conections", "is max_connections meant?", "hint: "],
    );

    let variable = run_with(&["serve"], b"", &[("AKIDB_SERVE_PROT", "1")]);
    failed(
        &variable,
        2,
        &["AKIDB_SERVE_PROT", "is AKIDB_SERVE_PORT meant?"],
    );

    let value = akidb(&["serve", "--keep-alive", "soon"]);
    failed(&value, 2, &["--keep-alive", "soon", "30s"]);

    let half = akidb(&[
        "serve",
        "--model",
        "akidb-mini",
        "--tls-cert",
        &path,
        "--port",
        "0",
    ]);
    failed(&half, 2, &["certificate and its key", "--tls-key"]);

    let model = akidb(&["serve", "--model", "=akidb-mini"]);
    failed(&model, 2, &["[NAME=]MODEL"]);
}

#[test]
fn help_shows_every_setting_with_its_variable_and_default() {
    let help = akidb(&["serve", "--help"]).stdout;
    for words in [
        "--max-connections",
        "AKIDB_SERVE_MAX_CONNECTIONS",
        "4096",
        "AKIDB_SERVE_TLS_KEY",
    ] {
        assert!(help.contains(words), "{words}\n{help}");
    }
}
