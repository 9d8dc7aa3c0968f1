use super::super::pipeline::{Pipeline, PipelineModel};
use serde_json::{Value, json};

/// What the two implementations must agree on: mixed scripts, marks, code, and words without end.
const PIECES: [&str; 32] = [
    "the",
    " The",
    "ing",
    "e\u{301}",
    "\u{301}",
    "ö",
    "ñ",
    "日本語",
    "中",
    "ا",
    "ह",
    "ि",
    "😀",
    "👩\u{200d}🔬",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "1",
    "234",
    "'s",
    "'LL",
    "_x",
    "::",
    "//",
    "<|",
    "endoftext",
    "|>",
    "<|endoftext|>",
    "\u{0}",
    "ﬁ",
];

fn builtin() -> Value {
    let dir = akidb_testing::builtin_model_dir();
    let bytes = std::fs::read(dir.join("tokenizer.json")).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn load(json: &Value) -> Pipeline {
    Pipeline::new(json.to_string().as_bytes()).unwrap()
}

/// Numbers below the one asked for, the same in every run.
fn numbers() -> impl FnMut(usize) -> usize {
    let mut state = 1u64;
    move |n| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    }
}

fn texts() -> Vec<String> {
    let mut below = numbers();
    let mut texts: Vec<String> = (0..400)
        .map(|_| {
            (0..below(40))
                .map(|_| PIECES[below(PIECES.len())])
                .collect()
        })
        .collect();
    texts.push("aab".repeat(3000));
    texts.push("é".repeat(3000));
    texts
}

fn agree(json: &str) {
    let own = Pipeline::new(json.as_bytes()).unwrap();
    assert!(matches!(own.model, PipelineModel::Bpe(_)));
    let library = Pipeline::library(json.as_bytes()).unwrap();
    assert_eq!(own.edges().unwrap(), library.edges().unwrap());
    for text in texts() {
        let (a, b) = (own.encode(&text).unwrap(), library.encode(&text).unwrap());
        assert_eq!(a, b, "{text:?}");
    }
}

#[test]
fn ids_are_the_librarys_in_both_forms_of_merges_and_any_order_of_keys() {
    let mut json = builtin();
    agree(&json.to_string());
    json["model"]["ignore_merges"] = true.into();
    agree(&json.to_string());
    json["model"]["ignore_merges"] = false.into();

    let merges = json["model"]["merges"].as_array_mut().unwrap();
    for merge in merges.iter_mut() {
        let [a, b] = merge.as_array().unwrap().as_slice() else {
            panic!("{merge} is not a pair");
        };
        *merge = format!("{} {}", a.as_str().unwrap(), b.as_str().unwrap()).into();
    }
    agree(&json.to_string());

    let Value::Object(model) = json["model"].take() else {
        panic!("the model is no object");
    };
    let mut fields: Vec<String> = model
        .iter()
        .map(|(key, value)| format!("{}:{value}", json!(key)))
        .collect();
    fields.reverse();
    let fields = format!("{{{}}}", fields.join(","));
    agree(
        &json
            .to_string()
            .replace("\"model\":null", &format!("\"model\":{fields}")),
    );
}

/// Merges whose results lie anywhere in the vocabulary, one of them there twice (the later counts),
/// one that makes the same token as another.
#[test]
fn ids_are_the_librarys_whatever_the_order_of_the_vocabulary() {
    let mut json = builtin();
    json["model"]["vocab"] = json!({
        "abc": 3, "ab": 90, "c": 2, "b": 1, "bc": 7, "aab": 8, "a": 0, "aa": 5, "": 6, "aabaab": 11
    });
    json["model"]["merges"] = json!([
        ["b", "c"],
        ["a", "b"],
        ["a", "a"],
        ["aa", "b"],
        ["a", "bc"],
        ["ab", "c"],
        ["a", "ab"],
        ["b", "c"],
        ["aab", "aab"],
        ["", "a"]
    ]);
    json["added_tokens"] = json!([]);
    json["post_processor"] = Value::Null;
    agree(&json.to_string());
}

fn refused(change: impl FnOnce(&mut Value)) -> Value {
    let mut json = builtin();
    change(&mut json["model"]);
    json
}

#[test]
fn other_options_and_other_models_are_the_librarys() {
    let changes: [fn(&mut Value); 6] = [
        |model| model["unk_token"] = "!".into(),
        |model| model["dropout"] = 0.5.into(),
        |model| model["byte_fallback"] = true.into(),
        |model| model["end_of_word_suffix"] = "</w>".into(),
        |model| *model = json!({"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}),
        // The type may be left out.
        |model| drop(model.as_object_mut().unwrap().remove("type")),
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let mut json = refused(change);
        json["post_processor"] = Value::Null;
        assert!(
            matches!(load(&json).model, PipelineModel::Library(_)),
            "change {i}"
        );
    }
    let mut plain = refused(|model| model["dropout"] = 0.0.into());
    plain["model"]["unk_token"] = Value::Null;
    assert!(matches!(load(&plain).model, PipelineModel::Bpe(_)));
}

#[test]
fn merges_that_make_no_sense_are_errors() {
    for merge in [
        json!(["a", "no such token"]),
        json!(["no such token", "a"]),
        json!(["q", "q"]),
        json!(["a"]),
        json!(["a", "b", "c"]),
        json!("a"),
        json!("a b c"),
        json!(1),
        json!([1, 2]),
    ] {
        let json = refused(|model| model["merges"].as_array_mut().unwrap().push(merge.clone()));
        assert!(
            Pipeline::new(json.to_string().as_bytes()).is_err(),
            "{merge}"
        );
    }
    let json = refused(|model| model["vocab"]["a"] = (1u64 << 32).into());
    assert!(Pipeline::new(json.to_string().as_bytes()).is_err());
}

#[test]
fn ids_are_the_librarys_on_the_full_qwen3_vocabulary() {
    let Some(path) = akidb_testing::qwen3_tokenizer() else {
        akidb_testing::skip(
            "the full Qwen3 tokenizer is not there: run scripts/fetch_qwen3_tokenizer.sh",
        );
        return;
    };
    agree(&std::fs::read_to_string(path).unwrap());
}

#[test]
fn a_damaged_file_means_the_same_to_both() {
    let dir = akidb_testing::fixture("tiny");
    let bytes = std::fs::read(dir.join("tokenizer.json")).unwrap();
    let model = bytes.windows(7).position(|w| w == b"\"model\"").unwrap();
    const CHARACTERS: &[u8] = b"0123456789abcth\" ,:[]{}\\-.eu\xff";
    let mut below = numbers();
    let mut usable = 0;
    for round in 0..300 {
        let mut damaged = bytes.clone();
        for _ in 0..=below(2) {
            let at = model + below(bytes.len() - model);
            damaged[at] = CHARACTERS[below(CHARACTERS.len())];
        }
        let ids = |load: fn(&[u8]) -> tokenizers::Result<Pipeline>| {
            // The crate panics on some.
            std::panic::catch_unwind(|| {
                let pipeline = load(&damaged).ok()?;
                let text = "the quick brown fox, there in a fa\u{308}ll <|endoftext|>";
                pipeline.encode(text).ok()
            })
            .ok()
            .flatten()
        };
        let own = ids(Pipeline::new);
        usable += usize::from(own.is_some());
        assert_eq!(own, ids(Pipeline::library), "round {round}");
    }
    assert!((10..300).contains(&usable), "{usable}");
}
