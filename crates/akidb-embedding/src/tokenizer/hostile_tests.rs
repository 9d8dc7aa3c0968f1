//! Files that mean harm: each is refused, or its texts are, and nothing else ends.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::model::ModelFiles;

fn load(change: impl FnOnce(&mut Value)) -> Result<TextTokenizer, EmbedError> {
    let files = ModelFiles::find(Some("akidb-mini")).unwrap();
    let settings = Settings {
        vocab_size: None,
        ..Settings::read(&files).unwrap()
    };
    let mut json: Value = files.json(FILE).unwrap().unwrap();
    change(&mut json);
    TextTokenizer::new(json.to_string().as_bytes(), FILE.to_owned(), &settings)
}

fn refused(says: &str, change: impl FnOnce(&mut Value)) {
    let error = load(change).unwrap_err().to_string();
    assert!(
        error.starts_with("tokenizer.json: ") && error.contains(says),
        "{error}"
    );
}

fn sequence(normalizers: Vec<Value>) -> Value {
    json!({"type": "Sequence", "normalizers": normalizers})
}

fn replace(pattern: Value, content: &str) -> Value {
    json!({"type": "Replace", "pattern": pattern, "content": content})
}

#[test]
fn normalizers_that_double_a_text_forty_times() {
    let doubling = |text: &str| {
        let twice = replace(json!({"String": text}), &text.repeat(2));
        sequence(vec![twice; 40])
    };
    refused("its normalizers make more than", |json| {
        json["normalizer"] = doubling("a")
    });
    let tokenizer = load(|json| json["normalizer"] = doubling("b")).unwrap();
    let encode = |text| tokenizer.encode("", text, 2048, Keep::Start);
    assert_eq!(encode("Hello, world!").unwrap().ids.len(), 5);
    let error = encode("bo").unwrap_err().to_string();
    assert!(error.contains("its normalizers make more than"), "{error}");
    // Added tokens are normalized when the file is read.
    refused("its normalizers make more than", |json| {
        json["normalizer"] = doubling("b");
        json["added_tokens"][0]["content"] = "bb".into();
        json["added_tokens"][0]["normalized"] = true.into();
    });
}

#[test]
fn a_normalizer_that_makes_much_of_little() {
    refused("a string of it has 60000000 bytes", |json| {
        json["normalizer"] = json!({"type": "Prepend", "prepend": "x".repeat(60_000_000)});
    });
    for normalizer in [
        json!({"type": "Prepend", "prepend": "x".repeat(100)}),
        replace(json!({"String": "a"}), &"x".repeat(100)),
        replace(json!({"Regex": "a*"}), &"x".repeat(100)),
        sequence(vec![json!({"type": "NFC"}); 100]),
        // Without its type.
        json!({"pattern": {"String": "a"}, "content": "x".repeat(100), "type": "Replace"}),
    ] {
        let error = load(|json| json["normalizer"] = normalizer.clone())
            .unwrap_err()
            .to_string();
        assert!(error.contains("at most 64"), "{error}");
    }
}

#[test]
fn a_charsmap_that_asks_for_gigabytes() {
    let charsmap = |length: u32, trie: &[u32], strings: &[u8]| {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(trie.iter().flat_map(|unit| unit.to_le_bytes()));
        bytes.extend(strings);
        json!({"type": "Precompiled", "precompiled_charsmap": STANDARD.encode(bytes)})
    };
    for normalizer in [
        charsmap(u32::MAX, &[0; 300], b""),
        sequence(vec![charsmap(4 << 20, &[0; 300], b"")]),
        charsmap(1200, &[0; 300], &[b'x'; 1000]),
        json!({"type": "Precompiled", "precompiled_charsmap": "AA"}),
        json!({"type": "Precompiled", "precompiled_charsmap": "?"}),
    ] {
        refused("its precompiled_charsmap is damaged", |json| {
            json["normalizer"] = normalizer.clone();
        });
    }
    let sound = charsmap(1200, &[0; 300], b"x\0");
    load(|json| json["normalizer"] = sound).unwrap();
}

#[test]
fn patterns_that_look_around_or_have_no_end() {
    for regex in [r"a(?=.*b)", r"(a)\1", r"(?<=a.*)b", r"\Ba"] {
        refused("of a normalizer is not supported", |json| {
            json["normalizer"] = replace(json!({"Regex": regex}), "");
        });
        refused("of a pre-tokenizer is not supported", |json| {
            json["pre_tokenizer"] = json!({"type": "Split", "pattern": {"Regex": regex},
                "behavior": "Isolated", "invert": false});
        });
        refused("of a decoder is not supported", |json| {
            json["decoder"] = replace(json!({"Regex": regex}), "");
        });
    }
}

#[test]
fn parts_that_make_a_text_longer_one_after_the_other() {
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false,
        "use_regex": false});
    refused("the pre-tokenizer Sequence makes a text", |json| {
        json["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": vec![byte_level; 40]});
    });
    refused("the decoder Sequence makes a text", |json| {
        let twice = replace(json!({"String": "a"}), "aa");
        json["decoder"] = json!({"type": "Sequence", "decoders": vec![twice; 40]});
    });
    refused("panicked", |json| {
        json["pre_tokenizer"] = json!({"type": "FixedLength", "length": 0});
    });
}

#[test]
fn a_post_processor_that_repeats_a_text() {
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let token = json!({"SpecialToken": {"id": "x", "type_id": 0}});
    let template = |single: Vec<Value>, ids: Vec<u32>| {
        let tokens: Vec<&str> = ids.iter().map(|_| "x").collect();
        json!({"type": "Sequence", "processors": [{"type": "TemplateProcessing", "single": single,
            "pair": [text, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"x": {"id": "x", "ids": ids, "tokens": tokens}}}]})
    };
    refused("puts each text 1000 times", |json| {
        json["post_processor"] = template(vec![text.clone(); 1000], vec![1]);
    });
    refused("says 300000 special tokens", |json| {
        json["post_processor"] = template(vec![text.clone(), token.clone()], vec![1; 300_000]);
    });
}

#[test]
fn models_whose_sizes_have_no_bound() {
    refused("its words have up to", |json| {
        json["model"] = json!({"type": "WordPiece", "unk_token": "a", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": u64::MAX, "vocab": {"a": 0}});
    });
    refused("a string of it has 5000 bytes", |json| {
        json["model"]["vocab"]["y".repeat(5000)] = 3.into();
    });
    refused("its tokens have", |json| {
        let token = |n: usize| json!([format!("{n:04}{}", "x".repeat(4000)), 0.0]);
        let vocab: Vec<Value> = (0..3200).map(token).collect();
        json["model"] = json!({"type": "Unigram", "unk_id": 0, "vocab": vocab});
        json["added_tokens"] = json!([]);
        json["post_processor"] = Value::Null;
    });
}

#[test]
fn tokens_that_stand_for_much_text() {
    let tokenizer = load(|json| {
        json["added_tokens"][0]["content"] = "x".repeat(4000).into();
    });
    let error = tokenizer
        .unwrap()
        .decode(&[EOS; 20_000], false)
        .unwrap_err()
        .to_string();
    assert!(error.contains("the tokens' text has more than"), "{error}");
}

const EOS: u32 = 16381;
