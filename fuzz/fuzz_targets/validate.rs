//! Any bytes as an ONNX file: what `validate` says of it, and what a run of it would hold in memory.
#![no_main]

use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::run_memory::{RunInput, RunMemory};
use akidb_onnx::validate::validate;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

/// Longest text of a finding, in bytes: it goes to a terminal.
const LONGEST: usize = 8 << 10;

/// Most findings of a file, whatever it holds.
const MOST: usize = 200;

/// Most that a run may hold, in bytes.
const LIMIT: u64 = 1 << 30;

fuzz_target!(|data: &[u8]| {
    let Ok(model) = OnnxModel::from_bytes(Bytes::copy_from_slice(data)) else {
        return;
    };
    let findings = validate(&model);
    assert!(findings.len() <= MOST, "{} findings", findings.len());
    for finding in &findings {
        assert!(finding.what.len() <= LONGEST, "{}", finding.what.len());
        assert!(!finding.what.is_empty() && !finding.hint.is_empty());
    }
    let inputs = model.inputs().map(|input| RunInput {
        name: input.name(),
        dims: vec![1, 3],
        elem_type: DataType::Int64,
        most: Some(1 << 20),
    });
    let inputs: Vec<RunInput<'_>> = inputs.collect();
    let needed = model.outputs().first().map(|output| output.name());
    for memory in needed
        .map(|name| RunMemory::of_output(&model, name))
        .into_iter()
        .chain([RunMemory::of_all(&model)])
    {
        match memory.peak(&inputs, LIMIT) {
            Ok(peak) => assert!(peak.bytes <= LIMIT, "{peak:?}"),
            Err(error) => assert!(error.to_string().len() <= LONGEST, "{error}"),
        }
    }
});
