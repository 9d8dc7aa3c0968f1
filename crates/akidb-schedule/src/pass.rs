//! Running a pass.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::engine::Engine;
use crate::error::Fault;

/// The output of each item. When the engine fails on several items, it is tried with fewer: only the
/// item at fault has an error.
pub(crate) fn run<E: Engine>(
    engine: &E,
    items: &[E::Item],
    group: &E::Group,
) -> Vec<Result<E::Output, Fault<E::Error>>> {
    // An engine locks what it changes while it runs and starts anew where it was interrupted.
    let outputs = catch_unwind(AssertUnwindSafe(|| engine.run(items, group)));
    let fault = match outputs {
        Ok(Ok(outputs)) if outputs.len() == items.len() => {
            return outputs.into_iter().map(Ok).collect();
        }
        Ok(Ok(outputs)) => {
            let message = format!("{} outputs of {} items", outputs.len(), items.len());
            Fault::Panicked(message.into())
        }
        Ok(Err(error)) => Fault::Failed(Arc::new(error)),
        Err(panic) => Fault::Panicked(message(&*panic)),
    };
    let (first, second) = items.split_at(items.len() / 2);
    if first.is_empty() {
        return items.iter().map(|_| Err(fault.clone())).collect();
    }
    tracing::debug!(
        ?fault,
        items = items.len(),
        "a pass failed: trying its halves"
    );
    let mut results = run(engine, first, group);
    results.extend(run(engine, second, group));
    results
}

fn message(panic: &(dyn std::any::Any + Send)) -> Arc<str> {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    #[test]
    fn an_item_that_fails_or_panics_harms_no_other() {
        let items = [1, 2, 13, 4, 666, 6, 7, 77].map(|id| vec![id]);
        let results = run(&Fake, &items, &"");
        let said = results.iter().map(|result| match result {
            Ok(output) => format!("{output}"),
            Err(Fault::Failed(error)) => error.to_string(),
            Err(Fault::Panicked(message)) => format!("panicked: {message}"),
        });
        let said: Vec<String> = said.collect();
        let panicked = "panicked: the number";
        let short = "panicked: 0 outputs of 1 items";
        assert_eq!(said, ["1", "2", "13", "4", panicked, "6", "7", short]);
    }
}
