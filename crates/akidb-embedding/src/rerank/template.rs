//! The text of a pair for Qwen3-Reranker, as its authors publish it for transformers.

const HEAD: &str = "<|im_start|>system\nJudge whether the Document meets the requirements based on the \
                    Query and the Instruct provided. Note that the answer can only be \"yes\" or \
                    \"no\".<|im_end|>\n<|im_start|>user\n";

const TAIL: &str = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";

pub(super) const INSTRUCTION: &str =
    "Given a web search query, retrieve relevant passages that answer the query";

/// The words of a pair around the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    pub(super) head: &'static str,
    pub(super) prompt: String,
    pub(super) tail: &'static str,
}

impl Template {
    pub(super) fn new(instruction: &str, query: &str) -> Self {
        Self {
            head: HEAD,
            prompt: format!("<Instruct>: {instruction}\n<Query>: {query}\n<Document>: "),
            tail: TAIL,
        }
    }
}
