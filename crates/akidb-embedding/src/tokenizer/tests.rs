use super::*;
use crate::model::{ModelFiles, TruncationSide};

fn builtin() -> TextTokenizer {
    let files = ModelFiles::find(Some("akidb-mini")).unwrap();
    let settings = Settings::read(&files).unwrap();
    TextTokenizer::load(&files, &settings).unwrap()
}

/// The built-in tokenizer's file with its post-processor replaced.
fn with_post_processor(post_processor: serde_json::Value) -> Result<TextTokenizer, EmbedError> {
    let files = ModelFiles::find(Some("akidb-mini")).unwrap();
    let mut json: serde_json::Value = files.json(FILE).unwrap().unwrap();
    json["post_processor"] = post_processor;
    let mut settings = Settings::read(&files).unwrap();
    settings.eos_token_ids.push(16383);
    TextTokenizer::new(json.to_string().as_bytes(), FILE.to_owned(), &settings)
}

const EOS: u32 = 16381;

#[test]
fn the_eos_is_appended_once_whoever_does_it() {
    let own = builtin();
    assert!(!own.adds_eos());
    let older = with_post_processor(serde_json::Value::Null).unwrap();
    assert!(older.adds_eos());
    for tokenizer in [own, older] {
        let ids = |text| tokenizer.encode("", text, 2048, Keep::Start).unwrap().ids;
        assert_eq!(ids("Hello, world!"), [9707, 11, 1879, 0, EOS]);
        assert_eq!(ids(""), [EOS]);
        // The text's own token and the one that ends it, as transformers has it.
        assert_eq!(ids("<|endoftext|>"), [EOS, EOS]);
    }
}

#[test]
fn a_model_without_any_eos_and_one_with_two_are_refused() {
    let files = ModelFiles::find(Some("akidb-mini")).unwrap();
    let mut settings = Settings::read(&files).unwrap();
    settings.eos_token_ids = vec![5, 6];
    let error = TextTokenizer::load(&files, &settings)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("ends texts with 16381") && error.contains("[5, 6]"),
        "{error}"
    );
    settings.eos_token_ids = vec![5, EOS];
    TextTokenizer::load(&files, &settings).unwrap();

    settings.eos_token_ids.clear();
    let mut json: serde_json::Value = files.json(FILE).unwrap().unwrap();
    json["post_processor"] = serde_json::Value::Null;
    let error = TextTokenizer::new(json.to_string().as_bytes(), FILE.to_owned(), &settings);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("no eos_token_id"), "{error}");
}

#[test]
fn a_token_id_beyond_the_vocabulary_is_the_fault_of_its_text() {
    let files = ModelFiles::find(Some("akidb-mini")).unwrap();
    let settings = Settings::read(&files).unwrap();
    let mut json: serde_json::Value = files.json(FILE).unwrap().unwrap();
    json["model"]["vocab"]["hello"] = 20_000.into();
    let json = json.to_string();
    let tokenizer = TextTokenizer::new(json.as_bytes(), FILE.to_owned(), &settings).unwrap();
    let error = tokenizer
        .encode("", "hello", 9, Keep::Start)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "the input at index 0: its token 20000 (\"hello\") is outside the model's vocabulary of 16384"
    );
    assert!(tokenizer.encode("", "other", 9, Keep::Start).is_ok());
}

#[test]
fn truncation_keeps_the_eos_and_is_reported() {
    let tokenizer = builtin();
    let full = tokenizer
        .encode("", "Hello, world!", 5, Keep::Start)
        .unwrap();
    assert!(!full.truncated);
    let cut = tokenizer
        .encode("", "Hello, world!", 4, Keep::Start)
        .unwrap();
    assert_eq!(
        (cut.ids.as_slice(), cut.truncated),
        (&[9707, 11, 1879, EOS][..], true)
    );
}

/// How a file was saved says nothing of how it is used: transformers pads and cuts as its caller says.
#[test]
fn padding_and_truncation_of_the_file_change_no_ids() {
    let files = ModelFiles::find(Some("akidb-mini")).unwrap();
    let settings = Settings::read(&files).unwrap();
    let pad = |direction: &str, strategy: serde_json::Value| {
        serde_json::json!({"strategy": strategy, "direction": direction, "pad_to_multiple_of": 8,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "!"})
    };
    let cut = |direction: &str, length: usize| {
        serde_json::json!({"direction": direction, "max_length": length,
            "strategy": "LongestFirst", "stride": 0})
    };
    let null = serde_json::Value::Null;
    for (padding, truncation) in [
        (null.clone(), null.clone()),
        (pad("Left", "BatchLongest".into()), null.clone()),
        (
            pad("Right", serde_json::json!({"Fixed": 16})),
            cut("Right", 3),
        ),
        (
            pad("Left", serde_json::json!({"Fixed": 16})),
            cut("Left", 3),
        ),
        (null, cut("Right", 1)),
    ] {
        let mut json: serde_json::Value = files.json(FILE).unwrap().unwrap();
        json["padding"] = padding;
        json["truncation"] = truncation;
        let json = json.to_string();
        let tokenizer = TextTokenizer::new(json.as_bytes(), FILE.to_owned(), &settings).unwrap();
        let tokens = |limit| {
            tokenizer
                .encode("", "Hello, world!", limit, Keep::Start)
                .unwrap()
        };
        let whole = tokens(2048);
        assert_eq!(
            (&whole.ids[..], whole.truncated),
            (&[9707, 11, 1879, 0, EOS][..], false)
        );
        let cut = tokens(3);
        assert_eq!((&cut.ids[..], cut.truncated), (&[9707, 11, EOS][..], true));
    }
}

/// As the library does it with the same file, and as transformers, which lets tokenizer_config.json decide
/// where both say it.
#[test]
fn the_side_that_is_cut_off_is_the_models() {
    let files = ModelFiles::find(Some("akidb-mini")).unwrap();
    let text = "Which side of a text is it that goes?";
    for direction in ["Left", "Right"] {
        let mut json: serde_json::Value = files.json(FILE).unwrap().unwrap();
        json["truncation"] = serde_json::json!({"direction": direction, "max_length": 5,
            "strategy": "LongestFirst", "stride": 0});
        let json = json.to_string();
        let library: tokenizers::Tokenizer = json.parse().unwrap();
        let theirs = library.encode(text, true).unwrap();
        let mut settings = Settings::read(&files).unwrap();
        let load = |settings: &Settings| {
            TextTokenizer::new(json.as_bytes(), FILE.to_owned(), settings).unwrap()
        };
        let tokenizer = load(&settings);
        let cut = |tokenizer: &TextTokenizer, on_long| {
            let tokens = tokenizer.encode("", text, 5, tokenizer.keep(on_long));
            let tokens = tokens.unwrap();
            assert!(tokens.truncated);
            tokens.ids
        };
        assert_eq!(cut(&tokenizer, OnLong::Truncate), theirs.get_ids());
        let [start, end] = [OnLong::TruncateStart, OnLong::TruncateEnd];
        assert_eq!(
            cut(&tokenizer, OnLong::Truncate) == cut(&tokenizer, start),
            direction == "Left"
        );
        assert_ne!(cut(&tokenizer, start), cut(&tokenizer, end));
        for (side, as_if) in [(TruncationSide::Left, start), (TruncationSide::Right, end)] {
            settings.truncation_side = Some(side);
            let other = load(&settings);
            assert_eq!(cut(&other, OnLong::Truncate), cut(&tokenizer, as_if));
        }
    }
}

#[test]
fn a_huge_text_costs_no_more_than_the_limit() {
    let text = "ab ".repeat(20_000_000);
    let tokens = builtin().encode("", &text, 2048, Keep::Start).unwrap();
    assert_eq!((tokens.ids.len(), tokens.truncated), (2048, true));
    assert_eq!(tokens.ids.last(), Some(&EOS));
}

#[test]
fn the_start_can_be_cut_instead_of_the_end() {
    let tokenizer = builtin();
    let cut = tokenizer.encode("", "Hello, world!", 4, Keep::End).unwrap();
    assert_eq!(
        (cut.ids.as_slice(), cut.truncated),
        (&[11, 1879, 0, EOS][..], true)
    );
    let ids = tokenizer
        .encode_ids("", &[9707, 11, 1879], 3, Keep::End)
        .unwrap();
    assert_eq!(
        (ids.ids.as_slice(), ids.truncated),
        (&[11, 1879, EOS][..], true)
    );
    let whole = tokenizer.encode("", "Hello, world!", 5, Keep::End).unwrap();
    assert!(!whole.truncated);

    let huge = format!("{}world!", "é ".repeat(2_000_000));
    let cut = tokenizer.encode("", &huge, 4, Keep::End).unwrap();
    assert_eq!(cut.ids.last_chunk(), Some(&[1879, 0, EOS]));
    assert!(cut.truncated);
}

#[test]
fn the_prompt_is_part_of_the_text() {
    let tokenizer = builtin();
    assert_eq!(
        tokenizer
            .encode("Hello, ", "world!", 2048, Keep::Start)
            .unwrap(),
        tokenizer
            .encode("", "Hello, world!", 2048, Keep::Start)
            .unwrap()
    );
}

#[test]
fn given_ids_end_with_one_eos() {
    let tokenizer = builtin();
    for ids in [&[9707, 11][..], &[9707, 11, EOS]] {
        let tokens = tokenizer.encode_ids("", ids, 2048, Keep::Start).unwrap();
        assert_eq!(tokens.ids, [9707, 11, EOS]);
    }
    assert_eq!(
        tokenizer
            .encode_ids("", &[], 2048, Keep::Start)
            .unwrap()
            .ids,
        [EOS]
    );
    let error = tokenizer
        .encode_ids("", &[16384], 2048, Keep::Start)
        .unwrap_err();
    assert_eq!(error, "token id 16384 is outside the vocabulary of 16384");
}

#[test]
fn special_tokens_on_both_sides_are_learnt_from_the_post_processor() {
    let tokenizer = with_post_processor(serde_json::json!({
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "<|im_end|>", "type_id": 0}}
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {
            "<|im_start|>": {"id": "<|im_start|>", "ids": [16382], "tokens": ["<|im_start|>"]},
            "<|im_end|>": {"id": "<|im_end|>", "ids": [16383], "tokens": ["<|im_end|>"]}
        }
    }))
    .unwrap();
    let tokens = tokenizer
        .encode("", "Hello, world!", 4, Keep::Start)
        .unwrap();
    assert_eq!(tokens.ids, [16382, 9707, 11, 16383]);
    assert_eq!(
        tokenizer
            .encode_ids("", &[16382, 5, 16383], 9, Keep::Start)
            .unwrap()
            .ids,
        [16382, 5, 16383]
    );
}

#[test]
fn a_tokenizer_that_ends_texts_outside_the_vocabulary_is_refused() {
    let files = ModelFiles::find(Some("akidb-mini")).unwrap();
    let mut settings = Settings::read(&files).unwrap();
    settings.vocab_size = Some(16000);
    let error = TextTokenizer::load(&files, &settings)
        .unwrap_err()
        .to_string();
    assert!(error.contains("special token 16381"), "{error}");
}

#[test]
fn a_broken_tokenizer_file_is_an_error() {
    let files = ModelFiles::find(Some("akidb-mini")).unwrap();
    let settings = Settings::read(&files).unwrap();
    // On the last one the library panics.
    for bytes in [
        &b""[..],
        b"{",
        b"[]",
        b"{\"model\": {\"type\": \"BPE\"}}",
        b"{\"decoder\": {\"type\": \"ByteLevel\", 1}}",
    ] {
        let error = TextTokenizer::new(bytes, FILE.to_owned(), &settings).unwrap_err();
        assert!(error.to_string().contains(FILE), "{error}");
    }
}

#[test]
fn ids_equal_those_of_transformers() {
    let tokenizer = builtin();
    for golden in akidb_testing::akidb_mini_goldens() {
        let tokens = tokenizer
            .encode("", &golden.text, 2048, Keep::Start)
            .unwrap();
        assert_eq!(tokens.ids, golden.ids, "{:?}", golden.text);
        assert_eq!(tokens.truncated, golden.truncated, "{:?}", golden.text);
    }
}

/// A tokenizer that appends no EOS, and one model that wants it.
#[test]
fn ids_of_the_tiny_tokenizer_equal_those_of_transformers() {
    let dir = akidb_testing::fixture("tiny");
    let files = ModelFiles::find(dir.to_str()).unwrap();
    let settings = Settings::read(&files).unwrap();
    let tokenizer = TextTokenizer::load(&files, &settings).unwrap();
    let eos = settings.eos_token_ids[0];
    assert!(tokenizer.adds_eos());
    for golden in akidb_testing::token_goldens("tiny") {
        let mut expected = golden.ids;
        expected.push(eos);
        assert_eq!(
            tokenizer
                .encode("", &golden.text, 512, Keep::Start)
                .unwrap()
                .ids,
            expected,
            "{:?}",
            golden.text
        );
    }
}

#[test]
fn ids_of_the_full_qwen3_tokenizer_equal_those_of_transformers() {
    let Some(path) = akidb_testing::qwen3_tokenizer() else {
        akidb_testing::skip(
            "the full Qwen3 tokenizer is not there: run scripts/fetch_qwen3_tokenizer.sh",
        );
        return;
    };
    let bytes = std::fs::read(path).unwrap();
    let files = ModelFiles::find(Some("akidb-mini")).unwrap();
    let settings = Settings {
        vocab_size: Some(151_669),
        eos_token_ids: vec![151_643],
        ..Settings::read(&files).unwrap()
    };
    let tokenizer = TextTokenizer::new(&bytes, FILE.to_owned(), &settings).unwrap();
    assert!(matches!(
        tokenizer.pipeline.model,
        pipeline::PipelineModel::Bpe(_)
    ));
    for golden in akidb_testing::token_goldens("qwen3") {
        let mut expected = golden.ids;
        expected.push(151_643);
        let tokens = tokenizer
            .encode("", &golden.text, 32_768, Keep::Start)
            .unwrap();
        assert_eq!(tokens.ids, expected, "{:?}", golden.text);
    }
}

#[test]
fn a_prompt_shares_its_tokens_up_to_where_the_text_merges_with_them() {
    let tokenizer = builtin();
    let shared = |prompt: &str, texts: &[&str]| {
        let ids = tokenizer.prompt_ids(prompt).unwrap();
        let batch = texts
            .iter()
            .map(|text| {
                tokenizer
                    .encode(prompt, text, 2048, Keep::Start)
                    .unwrap()
                    .ids
            })
            .collect();
        (ids.len(), shared_prefix(&ids, &batch))
    };
    let query = "Instruct: Given a web search query\nQuery:";
    let (all, plain) = shared(query, &["hello", "Hello, world!", "42", ""]);
    assert_eq!(all, plain);
    // A space belongs to the word after it, a slash to the colon before it.
    assert_eq!(shared(query, &["hello", " hello"]), (all, all));
    assert_eq!(shared(query, &["hello", "//example.org"]), (all, all - 1));
    // The accent joins the letter before it (NFC).
    assert_eq!(shared("Query: e", &["\u{301}"]).1, 2);
    assert_eq!(shared("Hello wor", &["ld"]).1, 1);
    assert_eq!(shared("", &["hello", "hello"]), (0, 0));
}

#[test]
fn special_tokens_before_a_prompt_are_shared_too() {
    let tokenizer = with_post_processor(serde_json::json!({
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "<|im_end|>", "type_id": 0}}
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {
            "<|im_start|>": {"id": "<|im_start|>", "ids": [16382], "tokens": ["<|im_start|>"]},
            "<|im_end|>": {"id": "<|im_end|>", "ids": [16383], "tokens": ["<|im_end|>"]}
        }
    }))
    .unwrap();
    let ids = tokenizer.prompt_ids("Hello,").unwrap();
    assert_eq!(ids[..], [16382, 9707, 11]);
    let text = tokenizer
        .encode("Hello,", " world!", 9, Keep::Start)
        .unwrap()
        .ids;
    assert_eq!(text[..3], ids[..]);
}
