//! Whose words a request is in.

/// An interface that clients already speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interface {
    /// `/v1/…`
    OpenAi,
    /// Text Embeddings Inference; everything that is no other's.
    Tei,
    /// `/api/…`
    Ollama,
    /// `/v2/…`
    Cohere,
}

impl Interface {
    /// By a request's path.
    pub(crate) fn of(path: &str) -> Self {
        let prefixes = [
            ("/v1/", Self::OpenAi),
            ("/api/", Self::Ollama),
            ("/v2/", Self::Cohere),
        ];
        prefixes
            .into_iter()
            .find_map(|(prefix, interface)| path.starts_with(prefix).then_some(interface))
            .unwrap_or(Self::Tei)
    }
}
