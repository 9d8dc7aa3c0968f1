//! Texts whose vectors are compared with each other.

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
