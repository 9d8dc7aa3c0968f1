//! Pulls a model into a temporary store, and says how fast that was and how much memory it took.
//!
//! `cargo run --release -p akidb-models --example pull_speed -- http://127.0.0.1:PORT akidb/large`

use std::time::Instant;

use akidb_models::{Error, Hub, HubOptions, Machine, Request, Store};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let (endpoint, model) = (arguments.next(), arguments.next());
    let home = std::env::temp_dir().join(format!("akidb-pull-speed-{}", std::process::id()));
    let store = Store::open(Some(home.clone()), None)?;
    let hub = Hub::new(HubOptions {
        endpoint: endpoint.unwrap_or_default(),
        ..HubOptions::default()
    })?;
    let request = Request {
        model: model.unwrap_or_default(),
        variant: None,
        revision: None,
        replace: false,
        machine: Machine {
            coreml: false,
            bf16: false,
        },
    };
    let started = Instant::now();
    let pulled = hub.pull(&store, &request, &|_| {});
    let seconds = started.elapsed().as_secs_f64();
    // What is there is of no use afterwards.
    let _ = std::fs::remove_dir_all(home);
    let bytes = pulled?.fetched as f64;
    println!(
        "{:.0} MB in {seconds:.2} s: {:.0} MB/s",
        bytes / 1e6,
        bytes / 1e6 / seconds
    );
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(peak) = status.lines().find(|line| line.starts_with("VmHWM")) {
        println!("memory: {}", peak.trim_start_matches("VmHWM:").trim());
    }
    Ok(())
}
