//! From what a user calls a model to its files.

use std::path::{Component, Path, PathBuf};

use super::builtin::BUILTIN_MODEL;
use super::files::ModelFiles;
use crate::env;
use crate::error::EmbedError;

/// Finds a model: a catalog id, a model directory, a weights file, or an installed model's id.
///
/// Without a name: the one installed model, or the built-in one when none is installed.
pub(crate) fn resolve(model: Option<&str>) -> Result<ModelFiles, EmbedError> {
    resolve_in(model, home().as_deref())
}

/// Every model that a name is enough for: the built-in one, then those that are installed.
pub(crate) fn all() -> Result<Vec<ModelFiles>, EmbedError> {
    let mut models = vec![ModelFiles::builtin()];
    models.extend(installed(home().as_deref())?);
    Ok(models)
}

fn resolve_in(model: Option<&str>, home: Option<&Path>) -> Result<ModelFiles, EmbedError> {
    let Some(model) = model else {
        let mut installed = installed(home)?;
        return match installed.len() {
            0 => Ok(ModelFiles::builtin()),
            1 => Ok(installed.remove(0)),
            _ => Err(EmbedError::ModelNotNamed {
                installed: installed.into_iter().map(|f| f.id).collect(),
            }),
        };
    };
    if model == BUILTIN_MODEL {
        return Ok(ModelFiles::builtin());
    }
    let path = Path::new(model);
    if path.is_dir() {
        return Ok(ModelFiles::at(name_of(path), path.to_owned(), None));
    }
    if path.is_file() {
        let root = root_of(path);
        return Ok(ModelFiles::at(name_of(&root), root, Some(path.to_owned())));
    }
    let installed = installed(home)?;
    if let Some(files) = installed.iter().find(|f| f.id == model) {
        return Ok(files.clone());
    }
    let known = std::iter::once(BUILTIN_MODEL.to_owned())
        .chain(installed.into_iter().map(|f| f.id))
        .collect();
    Err(EmbedError::ModelNotFound {
        model: model.to_owned(),
        known,
    })
}

/// The directory that holds `models/` and caches.
fn home() -> Option<PathBuf> {
    env::AKIDB_HOME
        .path()
        .or_else(|| env::XDG_DATA_HOME.path().map(|d| d.join("akidb")))
        .or_else(|| env::HOME.path().map(|d| d.join(".local/share/akidb")))
}

/// Models under `models/`, as `name` or `owner/name`: a directory with a config.json.
fn installed(home: Option<&Path>) -> Result<Vec<ModelFiles>, EmbedError> {
    let Some(models) = home.map(|h| h.join("models")) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for (name, dir) in subdirectories(&models)? {
        if dir.join("config.json").is_file() {
            found.push(ModelFiles::at(name, dir, None));
            continue;
        }
        for (inner, dir) in subdirectories(&dir)? {
            if dir.join("config.json").is_file() {
                found.push(ModelFiles::at(format!("{name}/{inner}"), dir, None));
            }
        }
    }
    match found.iter().position(|f| f.id == BUILTIN_MODEL) {
        // Vectors of the two would carry one name.
        Some(_) => Err(EmbedError::ModelNameTaken {
            directory: models.join(BUILTIN_MODEL),
        }),
        None => Ok(found),
    }
}

fn subdirectories(dir: &Path) -> Result<Vec<(String, PathBuf)>, EmbedError> {
    let failed = |source| EmbedError::Read {
        path: dir.to_owned(),
        source,
    };
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            found.push((name_of(&path), path));
        }
    }
    found.sort();
    Ok(found)
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
    use crate::model::files::Place;

    fn install(home: &Path, id: &str) {
        let dir = home.join("models").join(id);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("config.json"), "{}").unwrap();
    }

    #[test]
    fn without_a_name_the_built_in_model_yields_to_an_installed_one() {
        let home = tempfile::tempdir().unwrap();
        let resolve = |model| resolve_in(model, Some(home.path()));
        assert!(matches!(resolve(None).unwrap().place, Place::BuiltIn));

        install(home.path(), "one");
        assert_eq!(resolve(None).unwrap().id, "one");
        assert!(matches!(
            resolve(Some("akidb-mini")).unwrap().place,
            Place::BuiltIn
        ));

        install(home.path(), "owner/two");
        assert_eq!(resolve(Some("owner/two")).unwrap().id, "owner/two");
        install(home.path(), "akidb-mini");
        assert!(matches!(
            resolve(None),
            Err(EmbedError::ModelNameTaken { .. })
        ));
        std::fs::remove_dir_all(home.path().join("models/akidb-mini")).unwrap();

        let error = resolve(None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "several models are installed: one, owner/two"
        );
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = resolve_in(Some("bert"), None).unwrap_err();
        assert_eq!(error.to_string(), "there is no model \"bert\"");
        assert!(error.hint().unwrap().contains("akidb-mini"));
    }

    #[test]
    fn a_weights_file_belongs_to_the_directory_with_the_tokenizer() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("my-model");
        std::fs::create_dir_all(root.join("onnx")).unwrap();
        let file = root.join("onnx/model.onnx");
        std::fs::write(&file, "").unwrap();
        std::fs::write(root.join("tokenizer.json"), "").unwrap();
        let files = resolve_in(file.to_str(), None).unwrap();
        assert_eq!(files.id, "my-model");
        let Place::Directory {
            root: found,
            weights,
        } = files.place
        else {
            panic!("a file is not built in");
        };
        assert_eq!((found, weights), (root, Some(file)));
    }
}
