//! Any bytes as an ONNX file: open, read as a model, inspect, read every constant.
#![no_main]

use akidb_onnx::model::OnnxModel;
use akidb_transformer::inspect::inspect_onnx;
use akidb_transformer::{from_onnx, scorer_from_onnx};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

mod whole;

fuzz_target!(|data: &[u8]| {
    let Ok(model) = OnnxModel::from_bytes(Bytes::copy_from_slice(data)) else {
        return;
    };
    if let Ok(found) = from_onnx(&model, None) {
        whole::read(&found);
    }
    let _ = scorer_from_onnx(&model, None);
    let _ = inspect_onnx(&model, None);
    for initializer in &model.graph().initializer {
        if let Ok(Some(tensor)) = model.initializer(initializer.name()) {
            let _ = (tensor.to_f32_vec(), tensor.to_i64_vec());
        }
    }
});
