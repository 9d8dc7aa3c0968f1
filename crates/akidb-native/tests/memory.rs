//! Memory stays linear in a text's length, and doesn't grow from call to call. It has a process of its
//! own, whose memory is this test's alone.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![cfg(target_os = "linux")]

#[path = "it/common/mod.rs"]
mod common;

use common::{Random, config, decoder, engine, run};

/// A line of `/proc/self/status` in KiB.
fn status(key: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// One test, so that nothing else runs in this process meanwhile.
#[test]
fn long_texts_and_many_calls() {
    let engine = engine(&decoder(&config(2, 4, 2, 16), 1), 2, None);
    let mut random = Random(1);
    let short: Vec<Vec<u32>> = (0..40).map(|i| random.text(1 + i, 97)).collect();
    run(&engine, &short);

    // One row of scores for each head and token would be 5000 · 5000 · 4 · 4 B = 400 MB.
    // What is needed: 5000 · (52 hidden + 2 · 32 key and value) · 4 B = 2.3 MB, and a chunk.
    let before = status("VmRSS:");
    let rows = run(&engine, &[random.text(5000, 97)]);
    assert!(rows[0].iter().all(|v| v.is_finite()));
    let grown = status("VmHWM:").saturating_sub(before);
    assert!(grown < 16 << 10, "5000 tokens took {grown} KiB");
    run(&engine, &[random.text(10_000, 97)]);
    let grown = status("VmHWM:").saturating_sub(before);
    assert!(grown < 24 << 10, "10 000 tokens took {grown} KiB");

    let before = status("VmRSS:");
    for _ in 0..200 {
        run(&engine, &short);
    }
    let grown = status("VmRSS:").saturating_sub(before);
    assert!(grown < 4 << 10, "200 calls took {grown} KiB");
}
