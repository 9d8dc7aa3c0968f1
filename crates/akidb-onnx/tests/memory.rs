//! The bound on memory holds for the worst files that pass it. A process of its own: its memory is
//! measured.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![cfg(target_os = "linux")]

use std::fs;

use akidb_onnx::budget::MAX_DECODED_BYTES;
use akidb_onnx::model::OnnxModel;
use bytes::Bytes;

/// A line of `/proc/self/status` in bytes.
fn status(key: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

/// Field `number` with a body, as protobuf.
fn field(number: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    prost::encoding::encode_varint(body.len() as u64, &mut bytes);
    bytes.extend_from_slice(body);
    bytes
}

fn name(number: u8, i: usize) -> Vec<u8> {
    field(number, format!("{i:x}").as_bytes())
}

/// A graph with n of something.
type Make = dyn Fn(usize) -> Vec<u8>;

/// Most that opening a graph of `make(n)` takes, for the largest n that is not refused.
fn worst(make: &Make) -> usize {
    let open = |n: usize| {
        let bytes = [field(7, &make(n)), field(8, &[])].concat();
        // So that the next peak is that of opening alone.
        fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = status("VmRSS:");
        match OnnxModel::from_bytes(Bytes::from(bytes)) {
            Err(error) if error.to_string().contains("memory") => None,
            _ => Some(status("VmHWM:").saturating_sub(before)),
        }
    };
    let mut n = 1 << 12;
    while open(n).is_some() {
        n *= 2;
    }
    let mut most = None;
    while most.is_none() {
        n = n / 16 * 15;
        most = open(n);
    }
    most.unwrap()
}

/// One test, so that nothing else runs in this process meanwhile.
#[test]
fn the_worst_files_that_are_accepted_stay_within_the_bound() {
    if fs::write("/proc/self/clear_refs", "5").is_err() {
        akidb_testing::skip("the peak of memory can't be reset here");
        return;
    }
    let patterns: [(&str, &Make); 8] = [
        ("nodes with an output", &|n| {
            (0..n).flat_map(|i| field(1, &name(2, i))).collect()
        }),
        ("outputs of one node", &|n| {
            field(1, &(0..n).flat_map(|i| name(2, i)).collect::<Vec<u8>>())
        }),
        ("empty nodes", &|n| field(1, &[]).repeat(n)),
        ("one attribute a node", &|n| {
            field(1, &field(5, &[])).repeat(n)
        }),
        ("one tensor an attribute", &|n| {
            field(1, &field(5, &field(10, &[]))).repeat(n)
        }),
        ("numbers", &|n| field(5, &field(7, &vec![1; n]))),
        ("initializers", &|n| {
            (0..n).flat_map(|i| field(5, &name(8, i))).collect()
        }),
        ("a long name", &|n| field(1, &field(2, &vec![b'a'; n]))),
    ];
    for (what, make) in patterns {
        let most = worst(make);
        println!("{what}: {} MB", most >> 20);
        assert!(most <= MAX_DECODED_BYTES, "{what} took {most} bytes");
    }
}
