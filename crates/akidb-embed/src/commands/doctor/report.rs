//! One file that tells everything of a machine and a model that runs on it.

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::Report;
use crate::args::ChosenModel;
use crate::commands::bench;
use crate::commands::verify::{self, Comparisons};
use crate::error::{CliError, chain};
use crate::message::message;

/// Looks at vectors, measures speed, and writes both with `doctor` to `path` as JSON. What fails is
/// told in its place.
pub(super) fn write(model: ChosenModel<'_>, doctor: &Report, path: &Path) -> Result<(), CliError> {
    let told = |what: &str| message(format_args!("{what} …"));
    told("looking at vectors");
    let proof = |model| verify::prove(&model, Comparisons::All);
    let verify = section(model.builder().and_then(proof));
    told("measuring speed");
    let bench = section(bench::measure(model));
    let mut report = json!({ "doctor": section(Ok(doctor)), "verify": verify, "bench": bench });
    if let Some(home) = std::env::home_dir() {
        let home = home.display().to_string();
        // A home that is the root of all files hides nothing.
        if home.len() > 1 {
            without(&mut report, &home);
        }
    }
    let text = format!("{report:#}\n");
    fs::write(path, text).map_err(|source| CliError::Write {
        to: path.display().to_string(),
        source,
    })
}

fn section<T: Serialize>(result: Result<T, CliError>) -> Value {
    let value = result.map(|value| serde_json::to_value(value).map_err(|e| e.to_string()));
    let value = value.unwrap_or_else(|error| Err(chain(&error)));
    value.unwrap_or_else(|error| json!({ "error": error }))
}

/// Writes `~` for the home directory, which has the user's name, wherever it occurs.
fn without(value: &mut Value, home: &str) {
    match value {
        Value::String(text) => *text = text.replace(home, "~"),
        Value::Array(values) => values.iter_mut().for_each(|value| without(value, home)),
        Value::Object(object) => {
            let entries = std::mem::take(object).into_iter();
            *object = entries
                .map(|(key, mut value)| {
                    without(&mut value, home);
                    (key.replace(home, "~"), value)
                })
                .collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_names_the_home_directory() {
        let mut report = json!({
            "/home/anna/m.onnx": ["at /home/anna/x and /home/anna", 1, null, {"a": "/opt"}],
        });
        without(&mut report, "/home/anna");
        let expected = json!({ "~/m.onnx": ["at ~/x and ~", 1, null, {"a": "/opt"}] });
        assert_eq!(report, expected);
    }
}
