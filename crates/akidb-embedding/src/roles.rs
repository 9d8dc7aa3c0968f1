//! Which of a model's names stands for a role: authors call their prompts and adaptations `query`,
//! `search_query`, `retrieval.query`, `s2p_query`, `passage`, `search_document`, `retrieval.passage` …

use crate::prompt::Role;

const QUERY: [&str; 2] = ["query", "queries"];
const DOCUMENT: [&str; 7] = [
    "document",
    "passage",
    "documents",
    "passages",
    "doc",
    "docs",
    "corpus",
];

/// What stands before a role's word in names for searching, which is what a role means.
const SEARCHING: [&[&str]; 5] = [
    &["search"],
    &["retrieval"],
    &["web", "search"],
    &["s2p"],
    &["ir"],
];

impl Role {
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Query => &QUERY,
            Self::Document => &DOCUMENT,
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Query => Self::Document,
            Self::Document => Self::Query,
        }
    }

    /// The name among `names` that stands for the role: the role's own word, else that of searching, else
    /// the only one that has it.
    pub(crate) fn among<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        let mut best: Option<(usize, &str)> = None;
        let mut twice = false;
        for name in names {
            let Some(rank) = self.rank(name) else {
                continue;
            };
            match best {
                Some((best, _)) if best < rank => {}
                Some((best, _)) if best == rank => twice = true,
                _ => (best, twice) = (Some((rank, name)), false),
            }
        }
        best.filter(|_| !twice).map(|(_, name)| name)
    }

    /// How well a name fits, the best first.
    fn rank(self, name: &str) -> Option<usize> {
        let name = name.to_lowercase();
        let words: Vec<&str> = name
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect();
        let own = self.words();
        let of_role = |word: &str| own.iter().position(|own| *own == word);
        let searching = |words: &[&str]| SEARCHING.iter().position(|before| *before == words);
        let (last, before) = words.split_last()?;
        match (before, of_role(last)) {
            ([], Some(word)) => Some(word),
            (before, Some(word)) if let Some(place) = searching(before) => {
                Some(own.len() * (1 + place) + word)
            }
            _ => {
                let has = |role: Self| words.iter().any(|word| role.words().contains(word));
                (has(self) && !has(self.other())).then_some(own.len() * (1 + SEARCHING.len()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both<'a>(names: &[&'a str]) -> (Option<&'a str>, Option<&'a str>) {
        let among = |role: Role| role.among(names.iter().copied());
        (among(Role::Query), among(Role::Document))
    }

    #[test]
    fn prompts_are_found_under_the_names_that_models_give_them() {
        for (names, query, document) in [
            // Qwen3-Embedding, E5, nomic, jina v3, stella, EmbeddingGemma, e5-mistral.
            (&["query", "document"][..], "query", "document"),
            (&["passage", "query"], "query", "passage"),
            (
                &["clustering", "search_document", "search_query"],
                "search_query",
                "search_document",
            ),
            (
                &["retrieval.passage", "retrieval.query", "separation"],
                "retrieval.query",
                "retrieval.passage",
            ),
            (&["s2p_query", "s2s_query", "corpus"], "s2p_query", "corpus"),
            (
                &["Retrieval-document", "Retrieval-query", "document", "query"],
                "query",
                "document",
            ),
            (
                &["bitext_query", "sts_query", "web_search_query", "doc"],
                "web_search_query",
                "doc",
            ),
            (
                &["Query_Prompt", "Passage Prompt"],
                "Query_Prompt",
                "Passage Prompt",
            ),
        ] {
            assert_eq!(both(names), (Some(query), Some(document)), "{names:?}");
        }
    }

    #[test]
    fn where_several_may_be_meant_none_is() {
        assert_eq!(both(&["sts_query", "nli_query"]), (None, None));
        assert_eq!(both(&["query_to_document"]), (None, None));
        assert_eq!(
            both(&["clustering", "subquery", "documentation"]),
            (None, None)
        );
        assert_eq!(both(&[]), (None, None));
    }
}
