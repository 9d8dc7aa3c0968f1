//! Which models are served, and by which names.

use std::path::Path;

use akidb_embedding::{BUILTIN_MODEL, EmbedError, EmbedderBuilder, model_store};
use akidb_server::ModelSettings;

use crate::error::CliError;

/// The model where none is named: the installed one, else the built-in one.
pub(crate) fn default() -> Result<String, CliError> {
    let installed = model_store()?.installed()?;
    match installed.as_slice() {
        [] => Ok(BUILTIN_MODEL.to_owned()),
        [only] => Ok(only.id.clone()),
        several => Err(EmbedError::ModelNotNamed {
            installed: several.iter().map(|model| model.id.clone()).collect(),
        }
        .into()),
    }
}

/// The models of a settings file: one, or an array of several.
pub(crate) fn from_file(value: Option<&toml::Value>, path: &Path) -> Result<Vec<String>, CliError> {
    let wrong = || {
        let path = path.display();
        CliError::Usage(format!(
            "{path}: model: is neither a text nor an array of texts"
        ))
    };
    let text = |value: &toml::Value| value.as_str().map(str::to_owned).ok_or_else(wrong);
    match value {
        None => Ok(Vec::new()),
        Some(toml::Value::Array(values)) => values.iter().map(text).collect(),
        Some(value) => Ok(vec![text(value)?]),
    }
}

/// A model that was given as `[NAME=]MODEL`. Without a name, a path is called by its last part, and
/// a model of the store by its id.
pub(crate) fn settings(given: &str, builder: &EmbedderBuilder) -> Result<ModelSettings, CliError> {
    let named = given
        .split_once('=')
        .filter(|(name, _)| !name.contains(['/', '\\']));
    let (name, model) = match named {
        Some((name, model)) => (name.to_owned(), model),
        None => (name_of(given), given),
    };
    if name.is_empty() || model.is_empty() {
        return Err(CliError::Usage(format!("{given:?} is not [NAME=]MODEL")));
    }
    Ok(ModelSettings {
        name,
        builder: builder.clone().model(model),
    })
}

fn name_of(model: &str) -> String {
    let path = Path::new(model);
    let last = if path.is_dir() {
        path.canonicalize()
            .ok()
            .and_then(|path| path.file_name().map(ToOwned::to_owned))
    } else if path.is_file() {
        path.file_stem().map(ToOwned::to_owned)
    } else {
        None
    };
    last.map_or_else(
        || model.to_owned(),
        |last| last.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_have_the_names_they_are_given_or_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let models = directory.path().join("a=b");
        std::fs::create_dir(&models).unwrap();
        std::fs::write(models.join("small.onnx"), "").unwrap();
        let (models, file) = (models.display().to_string(), models.join("small.onnx"));
        let file = file.display().to_string();
        let builder = akidb_embedding::Embedder::builder();
        for (given, name) in [
            ("akidb-mini", "akidb-mini"),
            ("Qwen/Qwen3-Embedding-0.6B", "Qwen/Qwen3-Embedding-0.6B"),
            ("text=akidb-mini", "text"),
            (&*models, "a=b"),
            (&*file, "small"),
            (&*format!("x={models}"), "x"),
        ] {
            assert_eq!(settings(given, &builder).unwrap().name, name, "{given}");
        }
        for wrong in ["", "=akidb-mini", "name="] {
            assert!(settings(wrong, &builder).is_err(), "{wrong}");
        }
    }
}
