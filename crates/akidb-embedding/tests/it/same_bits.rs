//! Promise 1: same text, same bits.

use akidb_embedding::{BackendChoice, EmbedOptions, Embedder};
use akidb_testing::akidb_mini_goldens;

fn embedder(threads: usize) -> Embedder {
    Embedder::builder()
        .model("akidb-mini")
        .backend(BackendChoice::Native)
        .threads(threads)
        .build()
        .unwrap()
}

fn bits(embedder: &Embedder, texts: &[&str]) -> Vec<Vec<u32>> {
    let vectors = embedder.vectors(texts, &EmbedOptions::default()).unwrap();
    vectors
        .into_iter()
        .map(|v| v.into_iter().map(f32::to_bits).collect())
        .collect()
}

/// A permutation of `0..n` that depends on `seed`.
fn shuffled(n: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for i in (1..n).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        order.swap(i, (state >> 33) as usize % (i + 1));
    }
    order
}

#[test]
fn alone_in_any_batch_in_any_order_at_any_number_of_threads() {
    let goldens = akidb_mini_goldens();
    // One long text is enough to cross every tile; the engine's own tests have more.
    let mut texts: Vec<&str> = goldens
        .iter()
        .filter(|g| g.ids.len() < 300)
        .map(|g| g.text.as_str())
        .collect();
    texts.extend(
        goldens
            .iter()
            .map(|g| g.text.as_str())
            .max_by_key(|t| t.len()),
    );
    texts.resize(64, "the same");
    let (one, two, three) = (embedder(1), embedder(2), embedder(3));
    let alone: Vec<Vec<u32>> = texts.iter().map(|t| bits(&one, &[t]).remove(0)).collect();
    for (round, size) in [2, 3, 5, 8, 13, 31, 32, 33, 64].into_iter().enumerate() {
        let order = &shuffled(texts.len(), round as u64)[..size];
        let batch: Vec<&str> = order.iter().map(|&i| texts[i]).collect();
        for embedder in [&one, &two, &three] {
            for (&i, vector) in order.iter().zip(bits(embedder, &batch)) {
                assert!(
                    vector == alone[i],
                    "batch of {size}: {:?} differs",
                    texts[i]
                );
            }
        }
    }
}
