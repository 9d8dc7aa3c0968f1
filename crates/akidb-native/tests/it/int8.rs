//! 8-bit files in 8-bit arithmetic: near the same weights in f32, and the same bits in any company.

use crate::common::{bits, engine_of, run};
use akidb_backend::Backend;
use akidb_kernels::Isa;
use akidb_native::Precision;
use akidb_onnx::model::OnnxModel;
use akidb_testing::{cosine, fixture, hidden_goldens};
use akidb_transformer::{DecoderConfig, Transformer, recognise};

const FILES: [&str; 3] = ["model_int8", "model_uint8", "model_int8_per_channel"];

fn decoder(name: &str) -> Transformer {
    let dir = fixture("tiny-quantized");
    let config = DecoderConfig::open(&dir.join("config.json")).unwrap();
    let model = OnnxModel::open(&dir.join(format!("onnx/{name}.onnx"))).unwrap();
    recognise(&model, Some(&config)).unwrap()
}

fn texts(name: &str) -> Vec<Vec<u32>> {
    let goldens = hidden_goldens(&format!("tiny-quantized/{name}"));
    goldens.into_iter().map(|golden| golden.ids).collect()
}

#[test]
fn near_the_dequantized_weights_in_f32() {
    for name in FILES {
        let engine = engine_of(&decoder(name), 2, None, Precision::Auto);
        assert_eq!(engine.info().precision, "int8");
        let mut worst = 1.0_f64;
        let goldens = hidden_goldens(&format!("tiny-quantized/{name}"));
        for (golden, row) in goldens.iter().zip(run(&engine, &texts(name))) {
            worst = worst.min(cosine(&golden.hidden, &row));
        }
        eprintln!("{name}: least cosine {worst:.6}");
        assert!(worst >= 0.995, "{name}: {worst}");
        assert!(worst < 0.999_999_9, "{name} did not run in 8 bits");
    }
}

#[test]
fn same_bits_in_any_batch_order_and_number_of_threads() {
    for name in FILES {
        let (decoder, texts) = (decoder(name), texts(name));
        for isa in Isa::available() {
            let engines = [1, 2, 5].map(|n| engine_of(&decoder, n, Some(isa), Precision::Auto));
            let alone: Vec<Vec<f32>> = texts
                .iter()
                .map(|text| run(&engines[0], std::slice::from_ref(text)).remove(0))
                .collect();
            for engine in &engines {
                for (text, alone) in texts.iter().zip(&alone) {
                    let row = run(engine, std::slice::from_ref(text));
                    let tokens = text.len();
                    assert_eq!(
                        bits(&row),
                        bits(std::slice::from_ref(alone)),
                        "{name} {isa} {tokens}"
                    );
                }
                assert_eq!(bits(&run(engine, &texts)), bits(&alone), "{name} {isa}");
                let reversed: Vec<Vec<u32>> = texts.iter().rev().cloned().collect();
                let mut rows = run(engine, &reversed);
                rows.reverse();
                assert_eq!(bits(&rows), bits(&alone), "{name} {isa} reversed");
            }
        }
    }
}

#[test]
fn f32_can_be_asked_for() {
    let engine = engine_of(&decoder("model_int8"), 1, None, Precision::F32);
    assert_eq!(engine.info().precision, "f32");
}
