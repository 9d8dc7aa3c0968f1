//! Quantized files give the weights that their operators define.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use akidb_onnx::model::OnnxModel;
use akidb_transformer::inspect::{Content, inspect};
use akidb_transformer::{
    Block, Bnb4QuantType, DecoderConfig, Linear, LinearWeight, Transformer, WeightOrder, recognise,
};
use serde::Deserialize;

const FILES: [&str; 10] = [
    "model_bnb4.onnx",
    "model_gqa.onnx",
    "model_int8.onnx",
    "model_int8_per_channel.onnx",
    "model_mixed.onnx",
    "model_q4.onnx",
    "model_q4_table.onnx",
    "model_q4f16.onnx",
    "model_q8_table.onnx",
    "model_uint8.onnx",
];

fn testing(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../akidb-testing")
        .join(path)
}

fn decoder(file: &str) -> Transformer {
    decoder_of("tiny-quantized", file)
}

fn decoder_of(fixture: &str, file: &str) -> Transformer {
    let dir = testing("fixtures").join(fixture);
    let config = DecoderConfig::open(&dir.join("config.json")).unwrap();
    let model = OnnxModel::open(&dir.join("onnx").join(file)).unwrap();
    assert_eq!(
        recognise(&model, None).unwrap().decoder_config(),
        config,
        "{file}"
    );
    recognise(&model, Some(&config)).unwrap()
}

fn linears(layer: &Block) -> [(&'static str, &Linear); 7] {
    [
        ("q_proj", &layer.attention.query),
        ("k_proj", &layer.attention.key),
        ("v_proj", &layer.attention.value),
        ("o_proj", &layer.attention.output),
        ("gate_proj", layer.mlp.gate.as_ref().unwrap()),
        ("up_proj", &layer.mlp.up),
        ("down_proj", &layer.mlp.down),
    ]
}

/// A line of `weights.jsonl`: a dequantized weight `[out_features, in_features]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    file: String,
    layer: Option<usize>,
    linear: String,
    out_features: usize,
    in_features: usize,
    /// The first values.
    head: Vec<f32>,
    /// Checksum of all values' bytes.
    fnv1a: String,
}

fn goldens(fixture: &str) -> Vec<Golden> {
    let path = testing("goldens").join(fixture).join("weights.jsonl");
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

/// 64-bit FNV-1a of the values' bytes.
fn fnv1a(values: &[f32]) -> String {
    let bytes = values.iter().flat_map(|v| v.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[test]
fn every_weight_has_the_bits_of_the_reference() {
    let decoders: HashMap<&str, Transformer> = FILES.map(|file| (file, decoder(file))).into();
    let goldens = goldens("tiny-quantized");
    assert_eq!(goldens.len(), FILES.len() * (2 * 7 + 1));
    check_weights(&goldens, &decoders);
}

#[test]
fn every_weight_behind_dequantize_linear_has_the_bits_of_the_reference() {
    let file = "model_qdq.onnx";
    let goldens = goldens("tiny-opset23");
    assert_eq!(goldens.len(), 3 * 7);
    check_weights(&goldens, &[(file, decoder_of("tiny-opset23", file))].into());
}

fn check_weights(goldens: &[Golden], decoders: &HashMap<&str, Transformer>) {
    for golden in goldens {
        let decoder = &decoders[&*golden.file];
        let (n, k) = (golden.out_features, golden.in_features);
        let mut values = vec![f32::NAN; n * k];
        let name = format!("{} {:?} {}", golden.file, golden.layer, golden.linear);
        let Some(layer) = golden.layer else {
            for (id, row) in values.chunks_exact_mut(k).enumerate() {
                decoder.embeddings.words.read_row(id, row).unwrap();
            }
            assert_eq!(values[..4], golden.head, "{name}");
            assert_eq!(fnv1a(&values), golden.fnv1a, "{name}");
            continue;
        };
        let mut all = linears(&decoder.blocks[layer]).into_iter();
        let (_, linear) = all.find(|(what, _)| *what == golden.linear).unwrap();
        assert_eq!((linear.out_features(), linear.in_features()), (n, k));
        for rows in [1, 7, n] {
            for (i, part) in values.chunks_mut(rows * k).enumerate() {
                linear.dequantize(i * rows, part).unwrap();
            }
            assert_eq!(values[..4], golden.head, "{name}");
            assert_eq!(fnv1a(&values), golden.fnv1a, "{name}, {rows} rows");
        }
    }
}

/// In a word or two, how a weight is stored.
fn form(linear: &Linear) -> String {
    match linear.weight() {
        LinearWeight::InOut(weight) => weight.dtype().to_string(),
        LinearWeight::MatMulInteger(weight) => {
            let (scales, zeros) = (
                weight.scales().len(),
                weight.zero_points().map_or(0, |z| z.len()),
            );
            format!("{} {scales} {zeros}", weight.codes().dtype())
        }
        LinearWeight::MatMulNBits(weight) => {
            let a = weight.attributes();
            let zero_points = ["", " z"][usize::from(weight.has_zero_points())];
            format!("q{} {}{zero_points}", a.bits, a.block_size)
        }
        LinearWeight::MatMulBnb4(weight) => {
            let a = weight.attributes();
            let kind = match a.quant_type {
                Bnb4QuantType::Fp4 => "fp4",
                Bnb4QuantType::Nf4 => "nf4",
            };
            format!("{kind} {}", a.block_size)
        }
        LinearWeight::DequantizeLinear(weight) => {
            let a = weight.attributes();
            let order = match a.order {
                WeightOrder::InOut => "io",
                WeightOrder::OutIn => "oi",
            };
            let block = a.block_size.unwrap_or(0);
            format!("{} {order} {} {block}", weight.codes().dtype(), a.axis)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_layer_behind_dequantize_linear_in_a_form_of_its_own() {
    let decoder = decoder_of("tiny-opset23", "model_qdq.onnx");
    let forms = decoder.blocks.iter().map(|layer| {
        let forms = linears(layer).map(|(_, linear)| form(linear));
        forms.join(", ")
    });
    assert_eq!(
        forms.collect::<Vec<_>>(),
        [
            "i8 1 0, u8 32 32, i8 io 0 0, i4 io 0 32, u4 io 0 16, u4 oi 1 16, i4 io 0 16",
            "i8 160 0, i8 160 0, i8 160 0, u8 oi 0 0, i8 io 0 10, i4 oi 1 64, i4 io 1 0",
            "u4 io 0 32, u4 io 0 32, u4 io 0 32, u8 1 1, u8 oi 1 0, u8 oi 1 7, u4 io 0 32",
        ]
    );
}

#[test]
fn files_of_one_form() {
    for (file, want) in [
        ("model_int8.onnx", "i8 1 1"),
        ("model_uint8.onnx", "u8 1 1"),
        ("model_q4.onnx", "q4 32"),
        ("model_q4f16.onnx", "q4 32"),
        ("model_bnb4.onnx", "nf4 64"),
    ] {
        for layer in &decoder(file).blocks {
            for (name, linear) in linears(layer) {
                assert_eq!(form(linear), want, "{file} {name}");
            }
        }
    }
    for (_, linear) in linears(&decoder("model_int8_per_channel.onnx").blocks[0]) {
        let outputs = linear.out_features();
        assert_eq!(form(linear), format!("i8 {outputs} {outputs}"));
    }
}

#[test]
fn each_layer_in_a_form_of_its_own() {
    let forms = |file, layer: usize| {
        let decoder = decoder(file);
        linears(&decoder.blocks[layer]).map(|(_, linear)| form(linear))
    };
    assert_eq!(
        forms("model_mixed.onnx", 0),
        [
            "q4 16", "q4 16 z", "q4 64 z", "q4 32 z", "q4 128", "q8 32", "q8 16 z"
        ]
    );
    assert_eq!(
        forms("model_mixed.onnx", 1),
        [
            "i8 96 96", "u8 32 32", "fp4 16", "nf4 128", "q4 64", "q8 128", "f32"
        ]
    );
    // The packed q, k and v have 160 outputs.
    let mlp = ["fp4 64", "i8 52 52", "i8 52 52", "i8 28 28"];
    assert_eq!(
        forms("model_gqa.onnx", 0),
        [&["q4 16 z"; 3][..], &mlp].concat()[..]
    );
    assert_eq!(
        forms("model_gqa.onnx", 1),
        [&["i8 160 160"; 3][..], &mlp].concat()[..]
    );
}

#[test]
fn packed_projections_share_one_weight() {
    for layer in decoder("model_gqa.onnx").blocks {
        let parts = [
            &layer.attention.query,
            &layer.attention.key,
            &layer.attention.value,
        ];
        let ranges = parts.map(|l| (l.first_output(), l.out_features()));
        assert_eq!(ranges, [(0, 96), (96, 32), (128, 32)]);
        let data = parts.map(|l| l.weight().tensor().data().as_ptr());
        assert!(data[0] == data[1] && data[1] == data[2]);
    }
}

#[test]
fn symmetric_scales_of_both_signs_are_read() {
    let layer = decoder("model_q4.onnx").blocks.remove(0);
    let LinearWeight::MatMulNBits(weight) = layer.attention.query.weight() else {
        panic!("{:?}", layer.attention.query.weight());
    };
    let mut scales = vec![0.0; weight.out_features() * weight.blocks()];
    weight.read_scales(0, &mut scales).unwrap();
    assert!(scales.iter().any(|&s| s < 0.0) && scales.iter().any(|&s| s > 0.0));
}

#[test]
fn inspect_shows_how_weights_are_stored() {
    let found = inspect(&testing("fixtures/tiny-quantized")).unwrap();
    let precision: Vec<_> = found
        .files
        .iter()
        .map(|file| match &file.content {
            Content::Onnx(file) => file.tensors.precision.clone().unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        precision,
        [
            "nf4 block 64",
            "int8",
            "int8",
            "int8",
            "q8 block 128",
            "q4 block 32",
            "q4 block 16",
            "q4 block 32",
            "q4 block 16",
            "uint8"
        ]
    );
    let text = found.to_string();
    for part in [
        "precision: q4 block 32 (q4 block 32 ",
        "q4 block 128 ",
        "q8 block 16 ",
        "fp4 block 64 ",
        "decoder, 2 layers, hidden_size 28",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(!text.contains("not recognised"), "{text}");
}
