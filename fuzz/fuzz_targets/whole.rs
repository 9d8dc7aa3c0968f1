//! What was recognised is whole.

use akidb_transformer::Transformer;

/// Reads every weight of a model, which can't fail.
pub fn read(model: &Transformer) {
    let table = &model.embeddings.words;
    let mut row = vec![0.0; table.hidden_size()];
    for id in 0..table.vocab_size() {
        table.read_row(id, &mut row).unwrap();
    }
    for linear in model.linears() {
        let mut row = vec![0.0; linear.in_features()];
        for output in 0..linear.out_features() {
            linear.dequantize(output, &mut row).unwrap();
        }
    }
}
