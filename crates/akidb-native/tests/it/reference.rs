//! Against a plain forward pass in f64, on every tier of this CPU.

use crate::common::{Random, config, decoder, engine, reference, run};
use akidb_kernels::{Isa, Tier};

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
        let decoder = decoder(config, seed as u64);
        let mut random = Random(99);
        let texts: Vec<Vec<u32>> = [1, 2, 3, 5, 17, 63, 64, 65, 130]
            .iter()
            .map(|len| random.text(*len, config.vocab_size))
            .collect();
        let exact: Vec<Vec<f64>> = texts.iter().map(|ids| reference(&decoder, ids)).collect();
        for isa in Isa::available() {
            let rows = run(&engine(&decoder, 2, Some(isa)), &texts);
            for (row, exact) in rows.iter().zip(&exact) {
                for (value, exact) in row.iter().zip(exact) {
                    let error = (f64::from(*value) - exact).abs();
                    assert!(error < 2e-5, "{isa} {config:?}: {value} {exact}");
                }
            }
        }
    }
}
