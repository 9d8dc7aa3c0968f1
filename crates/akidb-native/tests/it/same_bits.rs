//! A text's row is the same bits whatever runs beside it.

use crate::common::{
    Random, bits, config, decoder, encoder, engine, engine_of, local_encoder, run,
};
use akidb_backend::{Backend, TokenBatch};
use akidb_kernels::Isa;
use akidb_native::{Engine, Precision};
use akidb_transformer::{EmbeddingTable, Head, Transformer};

/// 64 texts of 1 to 700 tokens, most of them short.
fn texts() -> Vec<Vec<u32>> {
    let mut random = Random(5);
    (0..64)
        .map(|i| {
            let len = match i {
                0 => 700,
                1 => 257,
                2 => 256,
                3 => 255,
                _ => 1 + random.below(70),
            };
            random.text(len, 97)
        })
        .collect()
}

fn engines() -> Vec<(Isa, Vec<Engine>)> {
    engines_of(&decoder(&config(3, 6, 2, 10), 1))
}

fn engines_of(model: &Transformer) -> Vec<(Isa, Vec<Engine>)> {
    Isa::available()
        .map(|isa| {
            let threads = [1, 2, 5];
            (isa, threads.map(|n| engine(model, n, Some(isa))).into())
        })
        .collect()
}

#[test]
fn in_any_batch_order_and_number_of_threads() {
    check_batches(engines());
}

/// Every token sees all of its text.
#[test]
fn of_encoders_in_any_batch_order_and_number_of_threads() {
    for head in [Head::Mean, Head::FirstToken, Head::Max, Head::WeightedMean] {
        check_batches(engines_of(&encoder(&config(3, 6, 2, 10), 1, head)));
    }
}

/// Tokens see what is near, in blocks of few kinds.
#[test]
fn of_encoders_with_windows_in_any_batch_order_and_number_of_threads() {
    for head in [Head::Mean, Head::LastToken] {
        check_batches(engines_of(&local_encoder(&config(3, 6, 2, 10), 1, head)));
    }
}

fn check_batches(engines: Vec<(Isa, Vec<Engine>)>) {
    let texts = texts();
    for (isa, engines) in engines {
        let alone: Vec<Vec<f32>> = texts
            .iter()
            .map(|text| run(&engines[0], std::slice::from_ref(text)).remove(0))
            .collect();
        let mut random = Random(6);
        for engine in &engines {
            for size in [1, 2, 3, 8, 31, 64] {
                let order: Vec<usize> = (0..size).map(|_| random.below(texts.len())).collect();
                let batch: Vec<Vec<u32>> = order.iter().map(|i| texts[*i].clone()).collect();
                let expected: Vec<Vec<f32>> = order.iter().map(|i| alone[*i].clone()).collect();
                let rows = run(engine, &batch);
                assert_eq!(bits(&rows), bits(&expected), "{isa} batch of {size}");
            }
            let mut reversed = texts.clone();
            reversed.reverse();
            let mut rows = run(engine, &reversed);
            rows.reverse();
            assert_eq!(bits(&rows), bits(&alone), "{isa} all reversed");
        }
    }
}

/// Few rows: threads share out columns, and the packing of rows.
#[test]
fn few_rows_in_every_precision() {
    check_few_rows(&decoder(&config(3, 6, 2, 10), 1));
    check_few_rows(&encoder(&config(3, 6, 2, 10), 1, Head::Mean));
    check_few_rows(&local_encoder(&config(3, 6, 2, 10), 1, Head::Mean));
}

fn check_few_rows(model: &Transformer) {
    let mut random = Random(7);
    // 37 rows are few for 5 threads, many for 2; rows of a batch up to there are few for both.
    let texts: Vec<Vec<u32>> = [1, 2, 3, 5, 11, 15].map(|len| random.text(len, 97)).into();
    for precision in [
        Precision::F32,
        Precision::Bf16,
        Precision::Int8,
        Precision::Int4,
    ] {
        for isa in Isa::available() {
            let engine = |threads| engine_of(model, threads, Some(isa), precision);
            let one = engine(1);
            let one_by_one = texts
                .iter()
                .flat_map(|text| run(&one, std::slice::from_ref(text)));
            let alone: Vec<Vec<f32>> = one_by_one.collect();
            for threads in [2, 5] {
                let engine = engine(threads);
                for batch in [0..1, 1..2, 0..3, 2..4, 4..5, 5..6, 0..6] {
                    let rows = run(&engine, &texts[batch.clone()]);
                    let what = format!("{precision:?} {isa} {threads} {batch:?}");
                    assert_eq!(bits(&rows), bits(&alone[batch]), "{what}");
                }
            }
        }
    }
}

#[test]
fn from_several_threads_at_a_time() {
    let texts = texts();
    let engine = &engine(&decoder(&config(2, 4, 4, 8), 2), 2, None);
    let expected = bits(&run(engine, &texts));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for size in [64, 1, 64] {
                    assert_eq!(bits(&run(engine, &texts[..size])), expected[..size]);
                }
            });
        }
    });
}

#[test]
fn when_the_batch_takes_several_passes() {
    let mut random = Random(7);
    let texts: Vec<Vec<u32>> = [3000, 1, 5000, 1200, 40, 4096, 7]
        .iter()
        .map(|len| random.text(*len, 97))
        .collect();
    for model in [
        decoder(&config(1, 2, 1, 4), 3),
        encoder(&config(1, 2, 1, 4), 3, Head::Mean),
        local_encoder(&config(2, 2, 1, 4), 3, Head::Mean),
    ] {
        let engine = engine(&model, 2, None);
        let alone: Vec<Vec<f32>> = texts
            .iter()
            .map(|text| run(&engine, std::slice::from_ref(text)).remove(0))
            .collect();
        assert_eq!(bits(&run(&engine, &texts)), bits(&alone));
    }
}

#[test]
fn after_a_text_that_overflowed() {
    check_overflow(decoder(&config(2, 4, 2, 16), 4));
    check_overflow(encoder(&config(2, 4, 2, 16), 4, Head::Mean));
    check_overflow(local_encoder(&config(2, 4, 2, 16), 4, Head::Mean));
}

fn check_overflow(mut decoder: Transformer) {
    // One token's embedding holds NaN, as an overflow would leave it; the memory that its text leaves
    // behind must not reach the next text.
    let mut embedding = decoder.embeddings.words.tensor().to_f32_vec().unwrap();
    embedding[0] = f32::NAN;
    let embedding = crate::common::tensor("embed_tokens", &[97, 52], &embedding);
    decoder.embeddings.words = EmbeddingTable::new(embedding).unwrap();
    let text: Vec<u32> = (1..40).collect();
    let fresh = run(&engine(&decoder, 1, None), std::slice::from_ref(&text));
    let engine = engine(&decoder, 1, None);
    let rows = run(&engine, &[vec![0; 100], text.clone()]);
    assert!(rows[0].iter().any(|v| !v.is_finite()));
    assert_eq!(bits(&rows[1..]), bits(&fresh));
    assert_eq!(bits(&run(&engine, &[text])), bits(&fresh));
}

/// What texts start with is computed with the first batch, and then reused.
#[test]
fn with_a_prefix_kept_from_earlier_calls() {
    let mut random = Random(8);
    for (isa, engines) in engines() {
        for prefix in [1, 20, 63, 64, 65, 130] {
            let prefix = random.text(prefix, 97);
            let texts: Vec<Vec<u32>> = [1, 2, 7, 40, 90, 300]
                .map(|len| [prefix.clone(), random.text(len, 97)].concat())
                .into();
            let expected: Vec<Vec<f32>> = texts
                .iter()
                .map(|text| run(&engines[0], std::slice::from_ref(text)).remove(0))
                .collect();
            for engine in &engines {
                let with_prefix = |texts: &[Vec<u32>]| {
                    let batch: TokenBatch = texts.iter().collect();
                    let batch = batch.with_shared_prefix(prefix.len()).unwrap();
                    let mut out = vec![f32::NAN; texts.len() * engine.info().hidden_size];
                    engine.forward(&batch, &mut out).unwrap();
                    let rows = out.chunks(engine.info().hidden_size);
                    rows.map(<[f32]>::to_vec).collect::<Vec<_>>()
                };
                for end in [texts.len(), 1, 2, 4] {
                    let rows = with_prefix(&texts[..end]);
                    assert_eq!(
                        bits(&rows),
                        bits(&expected[..end]),
                        "{isa} {}",
                        prefix.len()
                    );
                }
                let (alone, of_last) = (&texts[texts.len() - 1..], &expected[texts.len() - 1..]);
                assert_eq!(bits(&with_prefix(alone)), bits(of_last), "{isa}");
            }
        }
    }
}
