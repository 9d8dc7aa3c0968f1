//! Any bytes as an ONNX file: open, recognise, inspect, read every constant.
#![no_main]

use akidb_onnx::decoder::recognise;
use akidb_onnx::inspect::inspect_onnx;
use akidb_onnx::model::OnnxModel;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(model) = OnnxModel::from_bytes(Bytes::copy_from_slice(data)) else {
        return;
    };
    if let Ok(decoder) = recognise(&model, None) {
        // What was recognised is whole: reading it can't fail.
        assert_eq!(decoder.layers.len(), decoder.config.num_hidden_layers);
        decoder.embed_tokens.to_f32_vec().unwrap();
    }
    let _ = inspect_onnx(&model, None);
    for initializer in &model.graph().initializer {
        if let Ok(Some(tensor)) = model.initializer(initializer.name()) {
            let _ = (tensor.to_f32_vec(), tensor.to_i64_vec());
        }
    }
});
