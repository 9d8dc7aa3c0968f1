//! From what a user calls a model to its files.

use std::path::{Component, Path, PathBuf};

use akidb_models::{Installed, Store};

use super::builtin::BUILTIN_MODEL;
use super::files::ModelFiles;
use crate::env;
use crate::error::EmbedError;

/// The store of models that the environment names.
///
/// # Errors
/// When its catalog can't be read.
pub fn model_store() -> Result<Store, EmbedError> {
    Ok(Store::open(env::home(), env::hub_cache())?)
}

/// The model that is meant where none is named: that of `AKIDB_MODEL`, else the one that was set in
/// the store. `None` means the built-in one.
///
/// # Errors
/// When what was set can't be read.
pub fn default_model() -> Result<Option<String>, EmbedError> {
    match env::AKIDB_MODEL.get() {
        Some(model) => Ok(Some(model)),
        None => Ok(model_store()?.default_model()?),
    }
}

impl ModelFiles {
    /// Finds a model: a model directory, a weights file, or a model of the store by its id or short
    /// name.
    ///
    /// Without a name: the [default model](default_model), else the built-in one.
    ///
    /// # Errors
    /// When there is no such model, or none is named, none set and none built in.
    pub fn find(model: Option<&str>) -> Result<Self, EmbedError> {
        match model {
            Some(model) => resolve_in(model, model_store),
            None => match default_model()? {
                Some(model) => resolve_in(&model, model_store),
                None => without_name(model_store),
            },
        }
    }
}

/// Every model that a name is enough for: the built-in one where there is one, then those that are installed.
pub(crate) fn all() -> Result<Vec<ModelFiles>, EmbedError> {
    let store = model_store()?;
    let mut models: Vec<ModelFiles> = ModelFiles::builtin().into_iter().collect();
    for installed in store.installed()? {
        models.push(named(&store, &installed.id)?);
    }
    Ok(models)
}

/// The built-in model; an installed one is nobody's choice until it is named.
fn without_name(
    store: impl FnOnce() -> Result<Store, EmbedError>,
) -> Result<ModelFiles, EmbedError> {
    if cfg!(feature = "builtin") {
        return ModelFiles::builtin();
    }
    let installed: Vec<_> = store()?.installed()?.into_iter().map(|m| m.id).collect();
    match installed.is_empty() {
        true => ModelFiles::builtin(),
        false => Err(EmbedError::ModelNotNamed { installed }),
    }
}

fn resolve_in(
    model: &str,
    store: impl FnOnce() -> Result<Store, EmbedError>,
) -> Result<ModelFiles, EmbedError> {
    if model == BUILTIN_MODEL {
        return ModelFiles::builtin();
    }
    let path = Path::new(model);
    if path.is_dir() {
        return Ok(ModelFiles::at(name_of(path), path.to_owned(), None));
    }
    if path.is_file() {
        let root = root_of(path);
        return Ok(ModelFiles::at(name_of(&root), root, Some(path.to_owned())));
    }
    named(&store()?, model)
}

fn named(store: &Store, model: &str) -> Result<ModelFiles, EmbedError> {
    if let Some(found) = store.find(model)? {
        found.mark_used();
        return Ok(files(found));
    }
    let installed = store.installed()?.into_iter().map(|m| m.id);
    Err(EmbedError::ModelNotFound {
        model: model.to_owned(),
        known: ModelFiles::builtin()
            .map(|builtin| builtin.id)
            .into_iter()
            .chain(installed)
            .collect(),
        in_catalog: store.catalog().get(model).is_some(),
        similar: store.similar(model),
    })
}

fn files(model: Installed) -> ModelFiles {
    ModelFiles::at(model.id, model.root, None)
}

/// The model directory of a weights file: beside it, or above it when it lies in `onnx/`.
fn root_of(file: &Path) -> PathBuf {
    let beside = match file.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    if beside.join("tokenizer.json").is_file() {
        return beside;
    }
    let above = beside.join("..");
    if above.join("tokenizer.json").is_file() {
        // Without the "..": the name shown to the user is the directory's own.
        return beside
            .parent()
            .filter(|p| *p != Path::new("") && beside.file_name().is_some())
            .map_or(above, Path::to_owned);
    }
    beside
}

/// Last named part of a path.
fn name_of(path: &Path) -> String {
    let resolved = match path.components().next_back() {
        Some(Component::Normal(_)) => path.to_owned(),
        _ => path.canonicalize().unwrap_or_else(|_| path.to_owned()),
    };
    resolved
        .file_name()
        .unwrap_or(resolved.as_os_str())
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hint::Hint;
    use crate::model::files::ModelPlace;

    fn install(home: &Path, id: &str) {
        let dir = home.join("models").join(id);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("config.json"), "{}").unwrap();
        std::fs::write(dir.join("model.onnx"), "").unwrap();
    }

    fn at(home: Option<&Path>, model: Option<&str>) -> Result<ModelFiles, EmbedError> {
        let home = home.map(Path::to_owned);
        let store = || Ok(Store::open(home, None)?);
        match model {
            Some(model) => resolve_in(model, store),
            None => without_name(store),
        }
    }

    #[cfg(feature = "builtin")]
    #[test]
    fn an_installed_model_is_not_meant_until_it_is_named() {
        let home = tempfile::tempdir().unwrap();
        let resolve = |model| at(Some(home.path()), model);
        assert!(matches!(resolve(None).unwrap().place, ModelPlace::BuiltIn));

        install(home.path(), "one");
        assert!(matches!(resolve(None).unwrap().place, ModelPlace::BuiltIn));
        assert!(matches!(
            resolve(Some("akidb-mini")).unwrap().place,
            ModelPlace::BuiltIn
        ));

        install(home.path(), "owner/two");
        assert_eq!(resolve(Some("owner/two")).unwrap().id, "owner/two");
        install(home.path(), "akidb-mini");
        assert!(matches!(
            resolve(Some("one")),
            Err(EmbedError::Store(akidb_models::Error::NameTaken { .. }))
        ));
    }

    #[cfg(not(feature = "builtin"))]
    #[test]
    fn without_a_built_in_model_an_error_lists_those_that_are_installed() {
        let home = tempfile::tempdir().unwrap();
        install(home.path(), "one");
        install(home.path(), "owner/two");
        let error = at(Some(home.path()), None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no model is named; installed are: one, owner/two"
        );
    }

    #[cfg(feature = "builtin")]
    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = at(None, Some("bert")).unwrap_err();
        assert_eq!(error.to_string(), "there is no model \"bert\"");
        let name = |on_hub: Option<&str>| Hint::Name {
            known: vec!["akidb-mini".to_owned()],
            on_hub: on_hub.map(str::to_owned),
            similar: None,
        };
        assert_eq!(error.hint(), Some(name(None)));
        let hint = |model| at(None, Some(model)).unwrap_err().hint();
        assert_eq!(hint("owner/nope"), Some(name(Some("owner/nope"))));
        assert_eq!(hint("./owner/nope"), Some(name(None)));
        let model = "qwen3-embedding-0.6b".to_owned();
        assert_eq!(hint("qwen3-embedding-0.6b"), Some(Hint::Pull { model }));
    }

    #[test]
    fn a_weights_file_belongs_to_the_directory_with_the_tokenizer() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("my-model");
        std::fs::create_dir_all(root.join("onnx")).unwrap();
        let file = root.join("onnx/model.onnx");
        std::fs::write(&file, "").unwrap();
        std::fs::write(root.join("tokenizer.json"), "").unwrap();
        let files = at(None, file.to_str()).unwrap();
        assert_eq!(files.id, "my-model");
        let ModelPlace::Directory {
            root: found,
            weights,
        } = files.place
        else {
            panic!("a file is not built in");
        };
        assert_eq!((found, weights), (root, Some(file)));
    }
}
