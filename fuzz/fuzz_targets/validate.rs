//! Any bytes as an ONNX file: what `validate` says of it.
#![no_main]

use akidb_onnx::model::OnnxModel;
use akidb_onnx::validate::validate;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

/// Longest text of a finding, in bytes: it goes to a terminal.
const LONGEST: usize = 8 << 10;

/// Most findings of a file, whatever it holds.
const MOST: usize = 200;

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
});
