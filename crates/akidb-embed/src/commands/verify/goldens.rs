//! What vectors are compared with.

use serde::Deserialize;

/// A text, and the vector that PyTorch gives it with the model's f32 weights.
#[derive(Debug, Deserialize)]
pub(super) struct Golden {
    pub(super) text: String,
    pub(super) vector: Vec<f32>,
}

/// Those of the built-in model; `scripts/make_verify_goldens.py` wrote them.
pub(super) const AKIDB_MINI: &str = include_str!("akidb-mini.jsonl");

/// Texts that are compared between backends.
pub(super) const TEXTS: [&str; 8] = [
    "Hello, world!",
    "How do I resume an interrupted download?",
    "a",
    "Die Prüfsumme der Datei stimmt nicht.",
    "机器学习是人工智能的一个分支。",
    "fn main() { println!(\"{}\", 6 * 7); }",
    "The committee postponed its decision until the auditors had examined the accounts of all three years.",
    "{\"status\": 503, \"retry_after\": 30}",
];

/// Pairs of sentences with one meaning; sentences of different pairs have nothing to do with each
/// other.
pub(super) const MEANINGS: [[&str; 2]; 5] = [
    [
        "How do I resume an interrupted download?",
        "Continue a file transfer that was broken off",
    ],
    [
        "The cat is sleeping on the sofa.",
        "A kitten naps on the couch.",
    ],
    [
        "Interest rates were raised by the central bank.",
        "The bank of issue increased its key rate.",
    ],
    [
        "Bake the chocolate cake for forty minutes.",
        "Leave the cocoa cake in the oven for 40 minutes.",
    ],
    [
        "The striker scored two goals in the final.",
        "Two goals by the forward decided the football match.",
    ],
];

/// Queries, documents and their similarities as published for the original weights: model card of
/// Qwen/Qwen3-Embedding-0.6B, section "Sentence Transformers Usage".
pub(super) struct Published {
    pub(super) queries: [&'static str; 2],
    pub(super) documents: [&'static str; 2],
    pub(super) similarities: [[f64; 2]; 2],
}

/// Those of Qwen3-Embedding-0.6B.
pub(super) const QWEN3_EMBEDDING_06B: Published = Published {
    queries: ["What is the capital of China?", "Explain gravity"],
    documents: [
        "The capital of China is Beijing.",
        "Gravity is a force that attracts two bodies towards each other. It gives weight to physical objects and is responsible for the movement of planets around the sun.",
    ],
    similarities: [[0.7646, 0.1414], [0.1355, 0.6000]],
};
