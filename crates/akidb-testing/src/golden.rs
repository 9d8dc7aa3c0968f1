//! What the reference implementation answered.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A text and its vector by PyTorch, float32, run alone.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// The text, prompt included where it has one.
    pub text: String,
    /// Token ids after truncation, the final EOS included.
    pub ids: Vec<u32>,
    /// True when the text had more tokens than the model takes.
    pub truncated: bool,
    /// L2-normalised embedding in the model's full width.
    pub vector: Vec<f32>,
}

/// Token ids and the last token's hidden state after the final norm, not normalised to unit length.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HiddenGolden {
    /// The model's input.
    pub ids: Vec<u32>,
    /// `hidden_size` values.
    pub hidden: Vec<f32>,
}

/// A text and its token ids by transformers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenGolden {
    /// The text.
    pub text: String,
    /// Its token ids, without truncation and without an appended EOS.
    pub ids: Vec<u32>,
}

/// A query and the document that answers it in other words.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// The query, without a prompt.
    pub query: String,
    /// The document.
    pub document: String,
}

/// A pair and its logit by PyTorch, float32, run alone.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairGolden {
    /// The query.
    pub query: String,
    /// The document.
    pub document: String,
    /// Token ids of both, in the words of the model where it has such.
    pub ids: Vec<u32>,
    /// Where the second segment begins, where the model tells segments apart.
    pub second_segment: Option<usize>,
    /// What the model gives, before any sigmoid.
    pub logit: f32,
}

/// A pair by a chat template, as transformers renders it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairTemplateGolden {
    /// What the template is.
    pub name: String,
    /// Files of the model beside those of `fixtures/tiny-rerankers/qwen3`, by name.
    pub files: BTreeMap<String, String>,
    /// What the caller wants found, where there is such.
    pub instruction: Option<String>,
    /// The query.
    pub query: String,
    /// The document.
    pub document: String,
    /// What the template makes of them.
    pub text: String,
    /// Its token ids.
    pub ids: Vec<u32>,
}

/// Four pairs through each of the templates, with an instruction and without.
pub fn pair_template_goldens() -> Vec<PairTemplateGolden> {
    read("pair-templates.jsonl")
}

/// A text and its vector by ONNX Runtime, run alone.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormGolden {
    /// The model, under `fixtures/forms`, and what is wanted of it where there is a choice.
    pub form: String,
    /// What is put before the text.
    pub prompt: String,
    /// The text.
    pub text: String,
    /// Token ids of both.
    pub ids: Vec<u32>,
    /// Pooled, not normalised.
    pub vector: Vec<f32>,
}

/// Four texts through each of the models under `fixtures/forms`; vectors have 8 values.
pub fn form_goldens() -> Vec<FormGolden> {
    read("forms.jsonl")
}

fn read<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let path = crate::path::golden(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines()
        .enumerate()
        .map(|(i, line)| {
            serde_json::from_str(line)
                .unwrap_or_else(|e| panic!("{}:{}: {e}", path.display(), i + 1))
        })
        .collect()
}

/// 60 texts through the built-in model; vectors have 256 values.
pub fn akidb_mini_goldens() -> Vec<Golden> {
    read("akidb-mini.jsonl")
}

/// The same 60 texts through `tiny`; vectors have 28 values.
pub fn tiny_text_goldens() -> Vec<Golden> {
    read("tiny-texts.jsonl")
}

/// 20 of the texts through all-MiniLM-L6-v2, cut to 256 tokens; vectors have 384 values.
pub fn minilm_goldens() -> Vec<Golden> {
    read("all-minilm-l6-v2.jsonl")
}

/// 24 id sequences of 1 to 512 tokens through `tiny`, `tiny-f16` or `tiny-bf16`; vectors have 28 values.
pub fn hidden_goldens(fixture: &str) -> Vec<HiddenGolden> {
    read(&format!("{fixture}.jsonl"))
}

/// Token ids by the tokenizer of `tiny` (15 texts) or by the full one of `qwen3` (60 texts).
pub fn token_goldens(tokenizer: &str) -> Vec<TokenGolden> {
    read(&format!("{tokenizer}-tokens.jsonl"))
}

/// 12 pairs through one of the models under `fixtures/tiny-rerankers`.
pub fn pair_goldens(reranker: &str) -> Vec<PairGolden> {
    read(&format!("tiny-rerankers/{reranker}.jsonl"))
}

/// 50 queries, each with its own document.
pub fn pairs() -> Vec<Pair> {
    read("pairs.jsonl")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn built_in_model() {
        let goldens = akidb_mini_goldens();
        assert_eq!(goldens.len(), 60);
        for g in &goldens {
            let norm = g
                .vector
                .iter()
                .map(|&v| f64::from(v).powi(2))
                .sum::<f64>()
                .sqrt();
            assert!((norm - 1.0).abs() < 1e-6, "{norm} for {:?}", g.text);
            assert_eq!((g.vector.len(), g.ids.last()), (256, Some(&16381)));
            assert!(g.ids.len() == 2048 || !g.truncated && g.ids.len() < 2048);
        }
        assert_eq!(goldens.iter().filter(|g| g.truncated).count(), 2);
        assert!(goldens.iter().any(|g| !g.truncated && g.ids.len() == 2048));
        let hello = goldens.iter().find(|g| g.text == "Hello, world!");
        assert_eq!(
            hello.map(|g| &g.ids[..]),
            Some(&[9707, 11, 1879, 0, 16381][..])
        );
    }

    #[test]
    fn minilm() {
        let goldens = minilm_goldens();
        assert_eq!(goldens.len(), 20);
        assert!(goldens.iter().all(|g| g.vector.len() == 384));
        assert!(goldens.iter().all(|g| g.ids.first() == Some(&101)));
        assert!(goldens.iter().any(|g| g.truncated && g.ids.len() == 256));
    }

    #[test]
    fn tiny_models() {
        let f32s = hidden_goldens("tiny");
        let lengths: HashSet<usize> = f32s.iter().map(|g| g.ids.len()).collect();
        assert_eq!(lengths.len(), 24);
        assert!(lengths.contains(&1) && lengths.contains(&512));
        for name in ["tiny-f16", "tiny-bf16"] {
            let rounded = hidden_goldens(name);
            assert_eq!(rounded.len(), f32s.len());
            for (a, b) in f32s.iter().zip(&rounded) {
                assert_eq!(a.ids, b.ids);
                assert_eq!((a.hidden.len(), b.hidden.len()), (28, 28));
                assert!(
                    a.hidden != b.hidden,
                    "{name} was made from unrounded weights"
                );
                assert!(crate::cosine(&a.hidden, &b.hidden) > 0.95);
            }
        }
    }

    #[test]
    fn tokens() {
        let same_texts = token_goldens("qwen3")
            .iter()
            .zip(akidb_mini_goldens())
            .filter(|(a, b)| a.text == b.text)
            .count();
        assert_eq!(same_texts, 60);
        let tiny = token_goldens("tiny");
        assert_eq!(tiny.len(), 15);
        assert!(tiny.iter().flat_map(|g| &g.ids).all(|&id| id < 300));
        assert!(
            tiny.iter()
                .any(|g| g.ids.last() == Some(&299) && g.text.ends_with("<|endoftext|>"))
        );
    }

    #[test]
    fn pairs_are_distinct() {
        let pairs = pairs();
        let documents: HashSet<&str> = pairs.iter().map(|p| p.document.as_str()).collect();
        let queries: HashSet<&str> = pairs.iter().map(|p| p.query.as_str()).collect();
        assert_eq!((pairs.len(), documents.len(), queries.len()), (50, 50, 50));
    }
}
