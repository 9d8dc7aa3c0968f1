//! The states of all tokens: each is what a text that ends there has.

use crate::common::{Random, bits, config, decoder, engine, run};
use akidb_backend::{Backend, BackendErrorKind, TokenBatch};

#[test]
fn each_state_is_that_of_the_text_up_to_it() {
    let mut random = Random(9);
    let decoder = decoder(&config(2, 4, 2, 16), 5);
    for threads in [1, 2, 3] {
        let engine = engine(&decoder, threads, None);
        let width = engine.info().hidden_size;
        // Few rows: threads share out columns. Many: rows.
        for lengths in [&[1][..], &[5, 1, 3], &[40, 1, 90, 7]] {
            let texts: Vec<Vec<u32>> = lengths.iter().map(|len| random.text(*len, 97)).collect();
            let batch: TokenBatch = texts.iter().collect();
            let mut out = vec![f32::NAN; batch.total_tokens() * width];
            engine.forward_all(&batch, &mut out).unwrap();
            let rows: Vec<Vec<f32>> = out.chunks(width).map(<[f32]>::to_vec).collect();
            let starts: Vec<Vec<u32>> = texts
                .iter()
                .flat_map(|text| (1..=text.len()).map(|end| text[..end].to_vec()))
                .collect();
            assert_eq!(
                bits(&rows),
                bits(&run(&engine, &starts)),
                "{threads} {lengths:?}"
            );
        }
    }
}

#[test]
fn several_passes_and_texts_longer_than_one() {
    let mut random = Random(10);
    let texts: Vec<Vec<u32>> = [3000, 1, 5000].map(|len| random.text(len, 97)).into();
    let engine = engine(&decoder(&config(1, 2, 1, 4), 6), 2, None);
    let width = engine.info().hidden_size;
    let batch: TokenBatch = texts.iter().collect();
    let mut out = vec![f32::NAN; batch.total_tokens() * width];
    engine.forward_all(&batch, &mut out).unwrap();
    let last = batch.offsets()[1..].iter().map(|end| (end - 1) * width);
    let last: Vec<Vec<f32>> = last.map(|at| out[at..at + width].to_vec()).collect();
    assert_eq!(bits(&last), bits(&run(&engine, &texts)));
    assert!(out.iter().all(|value| value.is_finite()));
}

#[test]
fn the_output_must_have_room_for_every_token() {
    let engine = engine(&decoder(&config(1, 2, 1, 4), 6), 1, None);
    let batch: TokenBatch = [vec![1, 2, 3]].iter().collect();
    let mut out = vec![0.0; engine.info().hidden_size];
    let error = engine.forward_all(&batch, &mut out).unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::InvalidInput);
}
