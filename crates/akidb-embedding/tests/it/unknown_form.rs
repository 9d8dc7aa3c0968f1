//! A model that the native engine doesn't know.

use std::path::Path;

use akidb_onnx::proto::{ModelProto, NodeProto};
use akidb_testing::fixture;
use prost::Message;

/// A copy of `tiny` whose embeddings are negated twice on their way: the same model, in a form
/// that no exporter writes.
pub(crate) fn in_an_unknown_form(dir: &Path) {
    let from = fixture("tiny");
    for file in ["config.json", "tokenizer.json", "1_Pooling/config.json"] {
        std::fs::create_dir_all(dir.join("1_Pooling")).unwrap();
        std::fs::copy(from.join(file), dir.join(file)).unwrap();
    }
    let bytes = std::fs::read(from.join("onnx/model.onnx")).unwrap();
    let mut model = ModelProto::decode(bytes.as_slice()).unwrap();
    let nodes = &mut model.graph.as_mut().unwrap().node;
    let lookup = nodes
        .iter()
        .position(|n| n.op_type() == "Gather" && n.input[0].contains("embed_tokens"))
        .unwrap();
    let embeddings = std::mem::replace(&mut nodes[lookup].output[0], "looked_up".to_owned());
    for (i, (input, output)) in [("looked_up", "negated"), ("negated", &embeddings)]
        .into_iter()
        .enumerate()
    {
        let negate = NodeProto {
            op_type: Some("Neg".to_owned()),
            name: Some(format!("negate_{i}")),
            input: vec![input.to_owned()],
            output: vec![output.to_owned()],
            ..NodeProto::default()
        };
        nodes.insert(lookup + 1 + i, negate);
    }
    std::fs::write(dir.join("model.onnx"), model.encode_to_vec()).unwrap();
}
