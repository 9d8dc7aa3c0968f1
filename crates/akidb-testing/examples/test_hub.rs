//! A hub on loopback with the built-in model (`akidb/mini`) and a repository with a generated file
//! of 300 MB (`akidb/large`), for other programs to pull from. Prints its address.
//!
//! `cargo run --release -p akidb-testing --example test_hub [PORT]`

use std::io::Write;

use akidb_testing::{HubFile, TestHub, builtin_model_dir};

const COMMIT: &str = "00112233445566778899aabbccddeeff00112233";

fn main() {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok());
    let hub = TestHub::on(port.unwrap_or(0));
    hub.put_directory("akidb/mini", COMMIT, &builtin_model_dir());
    let large = [
        ("config.json", HubFile::small("{}")),
        ("tokenizer.json", HubFile::small("{}")),
        ("onnx/model.onnx", HubFile::generated(300_000_000)),
    ];
    hub.put("akidb/large", COMMIT, large);
    println!("{}", hub.endpoint());
    // Whoever started it reads the address through a pipe.
    let _ = std::io::stdout().flush();
    loop {
        std::thread::park();
    }
}
