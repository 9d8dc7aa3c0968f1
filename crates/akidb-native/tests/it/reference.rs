//! Against a plain forward pass in f64, on every tier of this CPU.

use crate::common::{
    Random, config, decoder, encoder, engine, local_encoder, reference, run, tensor,
};
use akidb_kernels::{Isa, Tier};
use akidb_transformer::{
    Activation, DecoderConfig, EmbeddingTable, Head, Mask, NormKind, RelativeBias, Transformer,
};

#[test]
fn agrees_with_f64() {
    for tier in Tier::ALL.into_iter().filter(|t| Isa::new(*t).is_none()) {
        akidb_testing::skip(&format!("the engine on {tier}: this CPU lacks it"));
    }
    let configs = [
        config(1, 1, 1, 2),
        config(2, 4, 2, 16),
        config(3, 6, 2, 10),
        config(2, 3, 3, 36),
        config(1, 5, 1, 64),
    ];
    for (seed, config) in configs.iter().enumerate() {
        check(config, &decoder(config, seed as u64));
        check(config, &encoder(config, seed as u64, Head::Mean));
        check(config, &local_encoder(config, seed as u64, Head::Mean));
    }
    let config = &configs[2];
    for model in variants(config) {
        check(config, &model);
    }
}

/// What other encoders and decoders have.
fn variants(config: &DecoderConfig) -> Vec<Transformer> {
    let last = encoder(config, 5, Head::LastToken);
    let first = encoder(config, 6, Head::FirstToken);
    for head in [Head::Max, Head::MeanSqrtLen, Head::WeightedMean] {
        check(config, &encoder(config, 6, head));
    }
    let mut tanh = encoder(config, 7, Head::Mean);
    for block in &mut tanh.blocks {
        block.mlp.activation = Activation::GeluTanh;
    }
    // Norms before the branches, and one behind the last block.
    let mut before = encoder(config, 8, Head::Mean);
    for block in &mut before.blocks {
        for norms in [&mut block.attention_norms, &mut block.mlp_norms] {
            norms.before = norms.of_sum.take();
        }
    }
    before.final_norm = before.embeddings.norm.clone();
    before.embeddings.scale = Some(1.5);
    let mut biased = encoder(config, 9, Head::Mean);
    let heads = config.num_attention_heads;
    let mut random = Random(10);
    let values: Vec<f32> = (0..32 * heads).map(|_| random.float()).collect();
    let bias = RelativeBias {
        table: EmbeddingTable::new(tensor("bias", &[32, heads], &values)).unwrap(),
        max_distance: 128,
    };
    for block in &mut biased.blocks {
        block.attention.relative_bias = Some(bias.clone());
    }
    let mut plus_one = decoder(config, 11);
    let norm = plus_one.final_norm.as_mut().unwrap();
    norm.kind = NormKind::RmsPlusOne;
    plus_one.blocks[0].attention.scale = 0.3;
    plus_one.blocks[0].attention.mask = Mask::Full;
    // Sees what is near and before it, as decoders do.
    let mut causal = decoder(config, 12);
    for block in &mut causal.blocks {
        block.attention.mask = Mask::Window {
            before: 40,
            after: 0,
        };
    }
    let mut normed = decoder(config, 13);
    for block in &mut normed.blocks {
        block.attention.rotary = None;
    }
    normed.blocks[0].attention.key_norm = None;
    vec![last, first, tanh, before, biased, plus_one, causal, normed]
}

fn check(config: &DecoderConfig, model: &Transformer) {
    let mut random = Random(99);
    let texts: Vec<Vec<u32>> = [1, 2, 3, 5, 17, 63, 64, 65, 130]
        .iter()
        .map(|len| random.text(*len, config.vocab_size))
        .collect();
    let exact: Vec<Vec<f64>> = texts.iter().map(|ids| reference(model, ids)).collect();
    for isa in Isa::available() {
        let rows = run(&engine(model, 2, Some(isa)), &texts);
        for (row, exact) in rows.iter().zip(&exact) {
            for (value, exact) in row.iter().zip(exact) {
                let error = (f64::from(*value) - exact).abs();
                assert!(error < 2e-5, "{isa} {config:?}: {value} {exact}");
            }
        }
    }
}
