//! One input or several, each a text or token ids.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};

use akidb_embedding::Input;

use crate::problem::{Cause, Problem};
use crate::service::MOST_INPUTS;

/// What a request wants embedded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inputs {
    pub(crate) list: Vec<Input<'static>>,
    /// One text that stands in no list.
    pub(crate) bare: bool,
}

impl Inputs {
    /// Inputs of a list.
    pub(crate) fn several(list: Vec<Input<'static>>) -> Self {
        Self { list, bare: false }
    }

    /// The inputs, unless there is none or one of them is empty.
    pub(crate) fn not_empty(self, field: &str) -> Result<Vec<Input<'static>>, Problem> {
        let empty = |input: &Input| match input {
            Input::Text(text) => text.is_empty(),
            Input::Tokens(ids) => ids.is_empty(),
        };
        let message = if self.list.is_empty() {
            format!("`{field}` cannot be empty")
        } else if let Some(index) = self.list.iter().position(empty) {
            format!("`{field}` cannot be empty: the input at index {index} is")
        } else {
            return Ok(self.list);
        };
        Err(Problem::new(Cause::Empty, message).at(field))
    }

    /// The inputs, all of which must be texts.
    pub(crate) fn texts(self, field: &str) -> Result<Vec<String>, Problem> {
        let text = |input| match input {
            Input::Text(text) => Some(text.into_owned()),
            Input::Tokens(_) => None,
        };
        let texts = self.list.into_iter().map(text).collect::<Option<_>>();
        texts.ok_or_else(|| wrong(field, "a string or an array of strings"))
    }

    /// The inputs, all of which must be token ids.
    pub(crate) fn ids(self, field: &str) -> Result<Vec<Vec<u32>>, Problem> {
        let ids = |input| match input {
            Input::Text(_) => None,
            Input::Tokens(ids) => Some(ids.into_owned()),
        };
        let ids = self.list.into_iter().map(ids).collect::<Option<_>>();
        ids.ok_or_else(|| wrong(field, "token ids or an array of token ids"))
    }
}

fn wrong(field: &str, expected: &str) -> Problem {
    Problem::new(Cause::Type, format!("`{field}`: expected {expected}")).at(field)
}

impl<'de> Deserialize<'de> for Inputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Several;
        impl<'de> Visitor<'de> for Several {
            type Value = Inputs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, an array of strings, token ids or an array of token ids")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Inputs, E> {
                self.visit_string(text.to_owned())
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Inputs, E> {
                Ok(Inputs {
                    list: vec![text.into()],
                    bare: true,
                })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Inputs, A::Error> {
                let mut inputs: Vec<Input<'static>> = Vec::new();
                while let Some(element) = seq.next_element()? {
                    if let Element::Id(first) = element {
                        if !inputs.is_empty() {
                            return Err(A::Error::custom("a token id among other inputs"));
                        }
                        let mut ids = vec![first];
                        while let Some(id) = seq.next_element()? {
                            ids.push(id);
                        }
                        return Ok(Inputs::several(vec![ids.into()]));
                    }
                    if inputs.len() == MOST_INPUTS {
                        return Err(A::Error::custom(format!(
                            "there are more than {MOST_INPUTS} inputs"
                        )));
                    }
                    inputs.push(match element {
                        Element::Text(text) => text.into(),
                        Element::Ids(ids) => ids.into(),
                        Element::Id(_) => continue,
                    });
                }
                Ok(Inputs::several(inputs))
            }
        }
        deserializer.deserialize_any(Several)
    }
}

enum Element {
    Text(String),
    Ids(Vec<u32>),
    Id(u32),
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One;
        impl<'de> Visitor<'de> for One {
            type Value = Element;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a token id or an array of token ids")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Element, E> {
                Ok(Element::Text(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Element, E> {
                Ok(Element::Text(text))
            }

            fn visit_u64<E: Error>(self, id: u64) -> Result<Element, E> {
                let outside = || E::invalid_value(Unexpected::Unsigned(id), &"a token id");
                Ok(Element::Id(u32::try_from(id).map_err(|_| outside())?))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Element, A::Error> {
                let mut ids = Vec::new();
                while let Some(id) = seq.next_element()? {
                    ids.push(id);
                }
                Ok(Element::Ids(ids))
            }
        }
        deserializer.deserialize_any(One)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Inputs, serde_json::Error> {
        serde_json::from_str(json)
    }

    fn inputs<const N: usize>(list: [Input<'static>; N]) -> Inputs {
        Inputs::several(list.into())
    }

    #[test]
    fn one_or_several_texts_or_ids() {
        let text = |t: &str| Input::from(t.to_owned());
        let bare = parse(r#""a""#).unwrap();
        assert!(bare.bare && bare.list == [text("a")]);
        assert_eq!(
            parse(r#"["a","b"]"#).unwrap(),
            inputs([text("a"), text("b")])
        );
        assert_eq!(parse("[1,2]").unwrap(), inputs([vec![1, 2].into()]));
        assert_eq!(
            parse("[[1],[2,3]]").unwrap(),
            inputs([vec![1].into(), vec![2, 3].into()])
        );
        assert_eq!(
            parse(r#"["a",[1]]"#).unwrap(),
            inputs([text("a"), vec![1].into()])
        );
        assert_eq!(parse("[]").unwrap(), inputs([]));
    }

    #[test]
    fn everything_else_is_refused() {
        for json in [
            "1",
            "null",
            "{}",
            "true",
            "[null]",
            "[1,\"a\"]",
            "[\"a\",1]",
            "[[[1]]]",
            "[[\"a\"]]",
            "[-1]",
            "[1.5]",
            "[4294967296]",
            "[[1],2]",
        ] {
            assert!(parse(json).is_err(), "{json}");
        }
        let many = format!("[{}\"\"]", "\"\",".repeat(MOST_INPUTS));
        assert!(
            parse(&many)
                .unwrap_err()
                .to_string()
                .contains("more than 65536")
        );
    }

    #[test]
    fn empty_inputs_are_found() {
        let problem = |json: &str| parse(json).unwrap().not_empty("input").unwrap_err();
        assert_eq!(problem("[]").message, "`input` cannot be empty");
        assert_eq!(problem("\"\"").cause, Cause::Empty);
        let second = problem(r#"["a",""]"#);
        assert_eq!(
            second.message,
            "`input` cannot be empty: the input at index 1 is"
        );
        let mixed = || parse(r#"["a",[1]]"#).unwrap();
        assert!(mixed().not_empty("input").is_ok());
        assert_eq!(mixed().texts("input").unwrap_err().cause, Cause::Type);
        assert_eq!(mixed().ids("input").unwrap_err().cause, Cause::Type);
    }
}
