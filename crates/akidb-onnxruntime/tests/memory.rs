//! Memory after many requests of many lengths. A process of its own: other tests would be counted too.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use akidb_backend::Pooling;
use akidb_testing::builtin_model_dir;

use common::{library, load, rows};

/// Resident memory in MiB.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kilobytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes >> 10
}

#[cfg(target_os = "linux")]
#[test]
fn a_thousand_mixed_requests_leave_it_flat() {
    let Some(library) = library() else { return };
    let path = builtin_model_dir().join("onnx/model_fp16.onnx");
    let model = load(library, &path, Pooling::LastToken).unwrap();
    let request = |i: usize| {
        let texts: Vec<Vec<u32>> = (0..1 + i % 3)
            .map(|t| vec![7; 1 + (i * 37 + t * 11) % 50])
            .collect();
        let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        rows(&model, &texts).unwrap();
    };
    (0..100).for_each(request);
    let before = resident();
    (0..1000).for_each(request);
    let after = resident();
    println!("{before} MiB after 100 requests, {after} MiB after 1 100");
    assert!(after <= before + 16, "{before} MiB became {after} MiB");
}
