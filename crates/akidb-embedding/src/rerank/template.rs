//! The text of a pair for Qwen3-Reranker, as its authors publish it for transformers.

/// What the system message says.
pub(super) const SYSTEM: &str = "Judge whether the Document meets the requirements based on the Query \
                                 and the Instruct provided. Note that the answer can only be \"yes\" or \
                                 \"no\".";

const TAIL: &str = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";

pub(super) const INSTRUCTION: &str =
    "Given a web search query, retrieve relevant passages that answer the query";

/// The words of a pair around the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    /// Ahead of all that differs from query to query.
    pub(super) head: String,
    pub(super) prompt: String,
    pub(super) tail: &'static str,
}

impl Template {
    pub(super) fn new(instruction: &str, query: &str) -> Self {
        Self {
            head: format!("<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n"),
            prompt: user_message(instruction, query),
            tail: TAIL,
        }
    }
}

/// What the user's message says, up to the document.
pub(super) fn user_message(instruction: &str, query: &str) -> String {
    format!("<Instruct>: {instruction}\n<Query>: {query}\n<Document>: ")
}
