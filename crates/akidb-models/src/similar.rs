//! What somebody may have meant who wrote a name wrong.

/// How alike two names must be, from 0 to 1.
const LEAST: f64 = 0.75;

/// The one of `names` that is most like `name`, where one is like it at all. A name without an owner
/// is compared with names without theirs.
pub(crate) fn most_similar<'a>(
    name: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    let alike = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        let last = candidate.rsplit('/').next().unwrap_or_default();
        let whole = strsim::normalized_damerau_levenshtein(&wanted, &candidate);
        match wanted.contains('/') {
            true => whole,
            false => whole.max(strsim::normalized_damerau_levenshtein(&wanted, last)),
        }
    };
    let scored = names.into_iter().map(|other| (alike(other), other));
    let best = scored.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.filter(|(alike, other)| *alike >= LEAST && *other != name)
        .map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_like_a_name_is_found_and_what_is_not_is_not() {
        let names = [
            "akidb-mini",
            "qwen3-embedding-0.6b",
            "onnx-community/Qwen3-Embedding-4B-ONNX",
            "all-minilm-l6-v2",
        ];
        for (name, meant) in [
            ("akidbmini", Some("akidb-mini")),
            ("Akidb-Mini", Some("akidb-mini")),
            ("qwen3-embeding-0.6b", Some("qwen3-embedding-0.6b")),
            (
                "qwen3-embedding-4b-onnx",
                Some("onnx-community/Qwen3-Embedding-4B-ONNX"),
            ),
            (
                "onnx-comunity/Qwen3-Embedding-4B-ONNX",
                Some("onnx-community/Qwen3-Embedding-4B-ONNX"),
            ),
            ("all-mini-l6-v2", Some("all-minilm-l6-v2")),
            ("akidb-mini", None),
            ("bert", None),
            ("", None),
        ] {
            assert_eq!(most_similar(name, names), meant, "{name}");
        }
    }
}
