//! Fields of a request that no interface has: told in a header of its answer, or refused.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use crate::problem::{Cause, Problem};

/// Names the fields that were passed over.
pub(crate) const UNKNOWN_FIELDS: HeaderName = HeaderName::from_static("x-akidb-unknown-fields");

/// More aren't told.
const MOST: usize = 16;

/// No name is told any longer.
const MAX_NAME: usize = 64;

/// The unknown fields of a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnknownFields {
    strict: bool,
    names: Arc<Mutex<Vec<String>>>,
}

impl UnknownFields {
    /// A field that was passed over, by its path, in which `?` stands for an optional object.
    pub(crate) fn add(&self, path: &str) {
        let path: Vec<&str> = path.split('.').filter(|part| *part != "?").collect();
        let path = path.join(".");
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() < MOST {
            let visible = |c: char| {
                if c.is_ascii_graphic() && c != ',' {
                    c
                } else {
                    '?'
                }
            };
            names.push(path.chars().take(MAX_NAME).map(visible).collect());
        }
    }

    /// Whether the request may be answered all the same.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        match names.first() {
            Some(name) if self.strict => {
                let message = format!("there is no field `{name}`");
                Err(Problem::new(Cause::Invalid, message).at(name))
            }
            _ => Ok(()),
        }
    }

    fn header(&self) -> Option<HeaderValue> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let list = names.join(",");
        HeaderValue::try_from(list)
            .ok()
            .filter(|list| !list.is_empty())
    }
}

/// Tells in the answer's header which fields were passed over; `strict`: they are refused.
pub(crate) async fn tell(State(strict): State<bool>, mut request: Request, next: Next) -> Response {
    let unknown = UnknownFields {
        strict,
        names: Arc::default(),
    };
    request.extensions_mut().insert(unknown.clone());
    let mut response = next.run(request).await;
    if let Some(names) = unknown.header() {
        response.headers_mut().insert(UNKNOWN_FIELDS, names);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_fit_into_a_header() {
        let unknown = UnknownFields::default();
        assert!(unknown.header().is_none());
        unknown.add("a.?.b");
        unknown.add("é,\n");
        assert_eq!(unknown.header().unwrap(), "a.b,???");
        unknown.check().unwrap();
        for _ in 0..100 {
            unknown.add(&"x".repeat(1000));
        }
        assert!(unknown.header().unwrap().len() < 1100);
        let strict = UnknownFields {
            strict: true,
            ..unknown
        };
        assert_eq!(strict.check().unwrap_err().field.as_deref(), Some("a.b"));
    }
}
