//! Running a pass.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::queue::Pass;
use super::{Engine, State};
use crate::service::error::ServiceError;

/// The state of each text. When the model fails on several texts, it is tried with fewer: only the
/// text at fault has an error.
pub(super) fn run(pass: &Pass) -> Vec<Result<State, ServiceError>> {
    let texts: Vec<&[u32]> = pass.texts.iter().map(|text| &*text.ids).collect();
    run_texts(&*pass.engine, &texts, &pass.instruction)
}

fn run_texts(
    engine: &dyn Engine,
    texts: &[&[u32]],
    instruction: &str,
) -> Vec<Result<State, ServiceError>> {
    // A model locks what it changes while it runs and starts anew where it was interrupted.
    let states = catch_unwind(AssertUnwindSafe(|| engine.states(texts, instruction)));
    let error = match states {
        Ok(Ok(states)) => return states.into_iter().map(Ok).collect(),
        Ok(Err(error)) => ServiceError::from(error),
        Err(panic) => ServiceError::Panicked {
            message: message(&*panic),
        },
    };
    let (first, second) = texts.split_at(texts.len() / 2);
    if first.is_empty() {
        return vec![Err(error)];
    }
    tracing::debug!(%error, texts = texts.len(), "a pass failed: trying its halves");
    let mut results = run_texts(engine, first, instruction);
    results.extend(run_texts(engine, second, instruction));
    results
}

fn message(panic: &(dyn std::any::Any + Send)) -> Arc<str> {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").into()
}

#[cfg(test)]
mod tests {
    use akidb_embedding::EmbedError;

    use super::*;

    #[derive(Debug)]
    struct Fake;

    impl Engine for Fake {
        fn states(&self, texts: &[&[u32]], _: &str) -> Result<Vec<State>, EmbedError> {
            if texts.iter().any(|text| text.contains(&13)) {
                return Err(EmbedError::Unsupported("13".to_owned()));
            }
            assert!(!texts.iter().any(|text| text.contains(&666)), "the number");
            Ok(texts.iter().map(|ids| [ids[0] as f32].into()).collect())
        }
    }

    #[test]
    fn a_text_that_fails_or_panics_harms_no_other() {
        let texts: [&[u32]; 7] = [&[1], &[2], &[13], &[4], &[666], &[6], &[7]];
        let results = run_texts(&Fake, &texts, "");
        let said: Vec<String> = results
            .iter()
            .map(|result| match result {
                Ok(state) => format!("{}", state[0]),
                Err(error) => error.to_string(),
            })
            .collect();
        let panicked = "the model failed unexpectedly: the number";
        assert_eq!(said, ["1", "2", "13", "4", panicked, "6", "7"]);
    }
}
