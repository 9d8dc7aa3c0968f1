use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokenizers::Tokenizer;

use super::super::FILE;
use super::*;
use crate::model::{ModelFiles, Settings};

/// Random texts for each tokenizer: some seconds' work. None of 10 000 differs for the first three.
const TEXTS: usize = 200;

/// What a text is made of: a few of these lists, so that some texts have nowhere a place to cut.
const ALPHABETS: &[&[&str]] = &[
    &["0", "1", "22", "٣", "½", "９"],
    &["the", "Foo", "bar ", " word", "ing", "x"],
    &[
        "é", "e", "\u{301}", "\u{308}", "\u{327}", "o\u{302}", "Å", "\u{212b}",
    ],
    &[
        "日",
        "本語",
        "中文",
        "。",
        "、",
        "が",
        "か\u{3099}",
        "ﾞ",
        "한",
        "국",
        "\u{1112}\u{1161}",
        "\u{11ab}",
    ],
    &[" ", "  ", "\n", "\r\n", "\t", "\u{a0}", "\u{3000}", "\r"],
    &[
        "<mask>",
        "[SEP]",
        "<|endoftext|>",
        "<|",
        "|>",
        "end",
        "[",
        "]",
        "<",
        ">",
        "SEP",
        "  ",
    ],
    &[
        "👩\u{200d}🔬",
        "🇩🇪",
        "🇩",
        "\u{fe0f}",
        "👍🏽",
        "\u{200d}",
        "😀",
    ],
    &["'s", "'", "'LL", "!", "...", ",", "_", "//", "¿", "«", "…"],
    &[
        "\u{0}", "\u{fffd}", "\u{ad}", "\u{200b}", "\u{feff}", "ﬁ", "ﷺ", "İ", "Σ", "ẞ",
    ],
    &["▁", "##", "ing", "un", "a", "aa", "b"],
    &["ा", "हि", "न्", "दी", "ไ", "ทย", "ا", "َ"],
];

fn numbers(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |n| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    }
}

fn random_text(below: &mut impl FnMut(usize) -> usize) -> String {
    let lists: Vec<&[&str]> = (0..1 + below(4))
        .map(|_| ALPHABETS[below(ALPHABETS.len())])
        .collect();
    let mut text = String::new();
    for _ in 0..below(60) {
        let list = lists[below(lists.len())];
        let part = list[below(list.len())];
        // Runs, short and long.
        for _ in 0..[1, 1, 1, 2, 7][below(5)] {
            text.push_str(part);
        }
    }
    text
}

fn builtin() -> Value {
    let dir = akidb_testing::builtin_model_dir();
    serde_json::from_slice(&std::fs::read(dir.join(FILE)).unwrap()).unwrap()
}

fn added(id: u32, content: &str, flags: Value) -> Value {
    let mut token = json!({
        "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true,
    });
    for (flag, value) in flags.as_object().unwrap() {
        token[flag] = value.clone();
    }
    token
}

/// A byte-level BPE with another regex, another normalizer, or added tokens of every kind.
fn bpe(change: impl FnOnce(&mut Value)) -> Value {
    let mut json = builtin();
    json["post_processor"] = Value::Null;
    change(&mut json);
    json
}

fn word_piece(change: impl FnOnce(&mut Value)) -> Value {
    let tokens = [
        "[UNK]", "[CLS]", "[SEP]", "<mask>", "the", "foo", "bar", "word", "a", "b", "e", "o", "x",
        "##ing", "##a", "##b", "##x", "un", "##un", "0", "1", "##0", "##1", "##2", "22", "日",
        "中", "本", ".", ",", "'", "!", "s", "##s", "##d", "[", "]", "<", ">", "end", "sep", "か",
        "한",
    ];
    let vocab: serde_json::Map<String, Value> = (0..)
        .zip(tokens)
        .map(|(id, token): (u32, &str)| (token.to_owned(), id.into()))
        .collect();
    let mut json = json!({
        "version": "1.0",
        "added_tokens": [
            added(2, "[SEP]", json!({})),
            added(3, "<mask>", json!({"lstrip": true})),
        ],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 20, "vocab": vocab},
    });
    change(&mut json);
    json
}

/// A table for SentencePiece's normalizer that makes a space of a newline.
fn charsmap() -> String {
    let mut trie = [0u32; 512];
    trie[0] = 256 << 10;
    trie[256 ^ 10] = 10 | 1 << 8 | 1 << 10;
    let mut bytes = u32::try_from(4 * trie.len())
        .unwrap()
        .to_le_bytes()
        .to_vec();
    bytes.extend(trie.iter().flat_map(|unit| unit.to_le_bytes()));
    bytes.extend(b" \0");
    STANDARD.encode(bytes)
}

fn unigram(change: impl FnOnce(&mut Value)) -> Value {
    let pieces = [
        ("<s>", 0.0),
        ("<unk>", 0.0),
        ("<mask>", 0.0),
        ("▁", -2.0),
        ("▁the", -3.0),
        ("the", -4.0),
        ("▁foo", -3.5),
        ("bar", -3.2),
        ("a", -4.1),
        ("aa", -5.0),
        ("▁a", -4.4),
        ("b", -4.2),
        ("e", -4.0),
        ("o", -4.3),
        ("ing", -3.9),
        ("x", -5.2),
        ("0", -4.0),
        ("1", -4.0),
        ("22", -6.0),
        ("日", -6.1),
        ("本", -6.2),
        ("本語", -6.9),
        ("。", -4.0),
        ("!", -4.0),
        ("'", -4.0),
        ("s", -4.0),
    ];
    let mut vocab: Vec<Value> = pieces
        .iter()
        .map(|(piece, score)| json!([piece, score]))
        .collect();
    vocab.extend((0..=255).map(|byte| json!([format!("<0x{byte:02X}>"), -12.0])));
    let mut json = json!({
        "version": "1.0",
        "added_tokens": [
            added(0, "<s>", json!({})),
            added(2, "<mask>", json!({"lstrip": true})),
        ],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Precompiled", "precompiled_charsmap": charsmap()},
            {"type": "Strip", "strip_left": false, "strip_right": true},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"},
        ]},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always",
            "split": true},
        "model": {"type": "Unigram", "unk_id": 1, "vocab": vocab, "byte_fallback": false},
    });
    change(&mut json);
    json
}

/// Name, file, and how many of a hundred slices must be more than whole texts.
fn tokenizers() -> Vec<(&'static str, Value)> {
    let split = |regex: &str| {
        json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false},
        ]})
    };
    let mut all = vec![
        ("BPE", builtin()),
        ("WordPiece", word_piece(|_| {})),
        ("Unigram", unigram(|_| {})),
        (
            "BPE, runs of three digits",
            bpe(|json| {
                json["pre_tokenizer"] = split(
                    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
                );
            }),
        ),
        (
            "BPE, GPT-2's words with a space before",
            bpe(|json| {
                json["pre_tokenizer"] = json!({"type": "ByteLevel", "add_prefix_space": true,
                "trim_offsets": true, "use_regex": true});
                // The library's own BPE.
                json["model"]["unk_token"] = "!".into();
                json["post_processor"] = json!({"type": "ByteLevel", "add_prefix_space": true,
                "trim_offsets": true, "use_regex": true});
                json["normalizer"] = json!({"type": "Sequence", "normalizers": [
                {"type": "NFKC"}, {"type": "Lowercase"}]});
            }),
        ),
        (
            "BPE, added tokens of every kind",
            bpe(|json| {
                json["added_tokens"] = json!([
                    added(100, "<mask>", json!({"lstrip": true, "normalized": true})),
                    added(101, "[SEP]", json!({"rstrip": true})),
                    added(102, "end", json!({"single_word": true, "normalized": true})),
                    added(103, "  ", json!({"normalized": true, "special": false})),
                    added(104, "<|endoftext|>", json!({})),
                ]);
                json["normalizer"] = json!({"type": "NFC"});
            }),
        ),
        (
            "BPE, digits apart",
            bpe(|json| {
                json["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
                    {"type": "Digits", "individual_digits": true},
                    {"type": "Punctuation", "behavior": "Isolated"},
                    {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true},
                ]});
                json["normalizer"] = json!({"type": "Sequence", "normalizers": [
                {"type": "NFD"}, {"type": "StripAccents"}, {"type": "Nmt"}]});
            }),
        ),
        (
            "WordPiece, words and cased",
            word_piece(|json| {
                json["pre_tokenizer"] = json!({"type": "Whitespace"});
                json["normalizer"] = json!({"type": "BertNormalizer", "clean_text": false,
                "handle_chinese_chars": false, "strip_accents": true, "lowercase": false});
                json["model"]["max_input_chars_per_word"] = 5.into();
            }),
        ),
        (
            "Unigram, bytes and the first word",
            unigram(|json| {
                json["model"]["byte_fallback"] = true.into();
                json["pre_tokenizer"]["prepend_scheme"] = "first".into();
                json["normalizer"] = json!({"type": "Sequence", "normalizers": [
                {"type": "Replace", "pattern": {"String": "``"}, "content": "\""},
                {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]});
            }),
        ),
        (
            "Unigram, blanks before",
            unigram(|json| {
                json["normalizer"] = Value::Null;
                json["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
                    {"type": "WhitespaceSplit"},
                    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
                ]});
            }),
        ),
    ];
    let files = [
        ("BPE, Qwen3", akidb_testing::qwen3_tokenizer()),
        (
            "WordPiece, MiniLM",
            akidb_testing::minilm().map(|dir| dir.join(FILE)),
        ),
    ];
    for (name, file) in files {
        match file {
            Some(file) => all.push((
                name,
                serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap(),
            )),
            None => {
                akidb_testing::skip(&format!("no tokenizer for {name}: see scripts/fetch_*.sh"))
            }
        }
    }
    all
}

/// The tokenizer, and the library's own reading of the file.
fn load(json: &Value, sizes: SliceSizes) -> (TextTokenizer, Tokenizer) {
    let files = ModelFiles::find(Some("akidb-mini")).unwrap();
    let settings = Settings {
        vocab_size: None,
        eos_token_ids: vec![7],
        pooling: akidb_backend::Pooling::Mean,
        ..Settings::read(&files).unwrap()
    };
    let bytes = json.to_string().into_bytes();
    let mut own = TextTokenizer::new(&bytes, FILE.to_owned(), &settings).unwrap();
    own.sizes = sizes;
    let mut library = Tokenizer::from_bytes(&bytes).unwrap();
    library.with_truncation(None).unwrap().with_padding(None);
    (own, library)
}

#[test]
fn slices_have_the_tokens_of_the_whole_whatever_the_text() {
    agree(tokenizers(), TEXTS);
}

fn agree(tokenizers: Vec<(&'static str, Value)>, rounds: usize) {
    for (name, json) in tokenizers {
        let mut below = numbers(1);
        let (mut own, library) = load(
            &json,
            SliceSizes {
                usual: 1,
                most: usize::MAX,
            },
        );
        let special = own.special_tokens();
        let (mut texts, mut slices) = (0, 0);
        for round in 0..rounds {
            own.sizes.usual = 1 + below(40);
            let text = random_text(&mut below);
            let whole = library.encode_char_offsets(text.as_str(), false).unwrap();
            let whole_ids = whole.get_ids();
            let trace = || format!("{name}, round {round}, {:?}: {text:?}", own.sizes);

            let (content, mut steps, mut progress) = (whole_ids.len(), 0, Progress::default());
            let tokens = loop {
                steps += 1;
                let limit = content + special;
                let tokens = own.encode_slice("", &text, limit, Keep::Start, &mut progress);
                if let Some(tokens) = tokens.unwrap() {
                    break tokens;
                }
            };
            assert_eq!(inner(&own, &tokens.ids), whole_ids, "{}", trace());
            assert!(!tokens.truncated, "{}", trace());
            texts += usize::from(!text.is_empty());
            slices += steps;

            let most = below(content + 2);
            for (keep, expected) in [
                (Keep::Start, &whole_ids[..most.min(content)]),
                (Keep::End, &whole_ids[content.saturating_sub(most)..]),
            ] {
                let tokens = own.encode("", &text, most + special, keep).unwrap();
                assert_eq!(
                    inner(&own, &tokens.ids),
                    expected,
                    "{keep:?} {most} {}",
                    trace()
                );
                assert_eq!(tokens.truncated, most < content, "{keep:?} {}", trace());
            }

            if round % 4 == 0 {
                let at = text.floor_char_boundary(below(text.len() + 1));
                let (prompt, rest) = text.split_at(at);
                for keep in [Keep::Start, Keep::End] {
                    let tokens = own.encode(prompt, rest, content + special, keep).unwrap();
                    assert_eq!(
                        inner(&own, &tokens.ids),
                        whole_ids,
                        "{at} {keep:?} {}",
                        trace()
                    );
                }
                let pieces = own.pieces(prompt, rest);
                let bytes = text.char_indices().map(|(at, _)| at).chain([text.len()]);
                let bytes: Vec<usize> = bytes.collect();
                let ranges = whole.get_offsets().iter();
                let ranges = ranges.map(|&(from, to)| bytes[from]..bytes[to]);
                let expected: Vec<_> = whole_ids.iter().copied().zip(ranges).collect();
                assert_eq!(pieces, expected, "{at} {}", trace());
            }
        }
        println!("{name}: {texts} texts in {slices} slices");
        assert!(
            slices > 2 * texts,
            "{name}: {texts} texts in {slices} slices"
        );
    }
}

/// The ids without those of the model around them.
fn inner<'a>(tokenizer: &TextTokenizer, ids: &'a [u32]) -> &'a [u32] {
    &ids[tokenizer.prefix.len()..ids.len() - tokenizer.suffix.len()]
}

impl TextTokenizer {
    /// Ids and ranges of a text's tokens, slice by slice.
    fn pieces(&self, prompt: &str, text: &str) -> Vec<(u32, std::ops::Range<usize>)> {
        let mut progress = crate::PiecesProgress::default();
        let mut all = Vec::new();
        while let Some(pieces) = self
            .pieces_slice(prompt, text, false, &mut progress)
            .unwrap()
        {
            all.extend(
                pieces
                    .into_iter()
                    .map(|piece| (piece.id, piece.range.unwrap())),
            );
        }
        all
    }
}

#[test]
fn words_behind_one_without_end_are_seen() {
    let (own, _) = load(&word_piece(|_| {}), SliceSizes::default());
    for bytes in [200_000, 64 << 10, (64 << 10) + 1] {
        let text = format!("foo {} the end", "x".repeat(bytes));
        let tokens = own.encode("", &text, 100, Keep::Start).unwrap();
        assert_eq!(tokens.ids, [5, 0, 4, 39], "{bytes}");
        assert!(!tokens.truncated);
        let tokens = own.encode("", &text, 2, Keep::End).unwrap();
        assert_eq!(tokens.ids, [4, 39]);
    }
}

#[test]
fn a_word_without_end_is_cut_and_its_text_goes_on() {
    for (name, json) in tokenizers() {
        let (own, library) = load(&json, SliceSizes::default());
        for part in [
            "a",
            "0",
            " ",
            "日本語",
            "e\u{301}",
            "👩\u{200d}🔬",
            "\u{301}",
            "▁",
            "\r\n",
            "!",
        ] {
            let text = format!("{} the end", part.repeat(150_000 / part.len()));
            let tokens = own.encode("", &text, usize::MAX, Keep::Start).unwrap();
            assert!(!tokens.truncated, "{name}, {part:?}");
            let end = library.encode(" the end", false).unwrap();
            let end = &end.get_ids()[end.len() - 1..];
            assert!(inner(&own, &tokens.ids).ends_with(end), "{name}, {part:?}");
        }
    }
}
