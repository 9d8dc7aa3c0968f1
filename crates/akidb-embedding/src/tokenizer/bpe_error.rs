//! What keeps a BPE model from being built.

/// Why a model isn't built here.
#[derive(Debug, thiserror::Error)]
pub(super) enum BpeError {
    #[error("the option {0} is not supported")]
    Option(&'static str),
    #[error("the token {0:?} is there twice")]
    Twice(String),
    #[error("a merge has the token {0:?}, which is not in the vocabulary")]
    NotInVocabulary(String),
    #[error("the vocabulary is larger than 4 GiB")]
    TooLarge,
}
