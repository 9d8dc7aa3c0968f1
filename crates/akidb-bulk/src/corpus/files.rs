//! From arguments to files.

use std::collections::HashSet;
use std::fs;
#[cfg(feature = "cloud")]
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use glob::MatchOptions;

#[cfg(feature = "cloud")]
use super::cloud;
use super::error::{CorpusError, unread};
use super::file_state::FileState;
use super::kind::{ENDINGS, FileKind, Packing};
#[cfg(not(feature = "cloud"))]
use super::url::NO_CLOUD;
use super::url::is_url;

/// A file of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundFile {
    pub(super) path: PathBuf,
    /// Its path below the folder that was named, with slashes: the same on machines that have the
    /// folder elsewhere.
    pub(super) name: String,
    pub(super) kind: FileKind,
    pub(super) packing: Packing,
    /// How it was, where that was found out with its name.
    pub(super) state: Option<FileState>,
}

/// Files, and what was passed over.
#[derive(Debug, Default)]
pub(super) struct FoundFiles {
    pub(super) files: Vec<FoundFile>,
    /// Files of folders that are of no kind that is read.
    pub(super) unknown: usize,
    /// Files that several arguments lead to.
    pub(super) repeated: usize,
}

/// The files that arguments lead to, each once, in the order of the arguments, and of their names
/// within one. What is in `out` is none of them.
pub(super) fn find(inputs: &[String], out: &Path) -> Result<FoundFiles, CorpusError> {
    let mut search = Search {
        found: FoundFiles::default(),
        seen: HashSet::new(),
        // It may not be there yet, and then holds nothing.
        out: out.canonicalize().ok(),
        #[cfg(feature = "cloud")]
        out_path: out.to_owned(),
    };
    for argument in inputs {
        search.argument(argument)?;
    }
    Ok(search.found)
}

struct Search {
    found: FoundFiles,
    seen: HashSet<PathBuf>,
    out: Option<PathBuf>,
    /// As it was named.
    #[cfg(feature = "cloud")]
    out_path: PathBuf,
}

impl Search {
    fn argument(&mut self, argument: &str) -> Result<(), CorpusError> {
        let wrong = |why: String| CorpusError::Input {
            argument: argument.to_owned(),
            why,
        };
        if is_url(argument) {
            return self.url(argument);
        }
        let before = self.found.files.len() + self.found.repeated;
        let path = Path::new(argument);
        if path.is_dir() {
            self.folder(path, path)?;
        } else if path.exists() {
            let base = path.parent().unwrap_or(Path::new(""));
            if !self.file(path, base)? {
                return Err(wrong(format!("it is none of {ENDINGS}")));
            }
        } else if argument.contains(['*', '?', '[']) {
            let base = fixed_part(argument);
            let as_in_a_shell = MatchOptions {
                require_literal_leading_dot: true,
                ..MatchOptions::new()
            };
            let paths = glob::glob_with(argument, as_in_a_shell);
            let paths = paths.map_err(|error| wrong(error.msg.to_owned()))?;
            // `glob` gives them in the order of their names.
            for path in paths {
                let path = path.map_err(|error| {
                    let path = error.path().to_owned();
                    let source = error.into();
                    CorpusError::Read { path, source }
                })?;
                if path.is_dir() {
                    self.folder(&path, &base)?;
                } else if !self.file(&path, &base)? {
                    self.found.unknown += 1;
                }
            }
        } else {
            return Err(wrong("there is no such file or folder".to_owned()));
        }
        if self.found.files.len() + self.found.repeated == before {
            let real = path.canonicalize().ok();
            if let (Some(real), Some(out)) = (real, &self.out)
                && real.starts_with(out)
            {
                return Err(wrong("it is in the folder of the output".to_owned()));
            }
            return Err(wrong(format!("there is no file of {ENDINGS}")));
        }
        Ok(())
    }

    /// What is elsewhere.
    #[cfg(feature = "cloud")]
    fn url(&mut self, url: &str) -> Result<(), CorpusError> {
        let wrong = |why: String| CorpusError::Input {
            argument: url.to_owned(),
            why,
        };
        let found = cloud::find(url, &self.out_path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => wrong("there is no such file, folder or bucket".to_owned()),
            ErrorKind::InvalidInput | ErrorKind::Unsupported => wrong(error.to_string()),
            _ => unread(Path::new(url))(error),
        })?;
        let before = (self.found.files.len(), self.found.repeated);
        for object in found {
            let path = PathBuf::from(object.url);
            let Some((kind, packing)) = FileKind::of(Path::new(&object.name)) else {
                self.found.unknown += 1;
                continue;
            };
            if !self.seen.insert(path.clone()) {
                self.found.repeated += 1;
                continue;
            }
            self.found.files.push(FoundFile {
                path,
                name: object.name,
                kind,
                packing,
                state: Some(object.state),
            });
        }
        match before == (self.found.files.len(), self.found.repeated) {
            true => Err(wrong(format!("there is no file of {ENDINGS}"))),
            false => Ok(()),
        }
    }

    #[cfg(not(feature = "cloud"))]
    fn url(&mut self, url: &str) -> Result<(), CorpusError> {
        Err(CorpusError::Input {
            argument: url.to_owned(),
            why: NO_CLOUD.to_owned(),
        })
    }

    /// Files of a folder and those below it. Hidden ones, and those whose name begins with an
    /// underscore, are what programs keep for themselves.
    fn folder(&mut self, folder: &Path, base: &Path) -> Result<(), CorpusError> {
        if self.is_out(folder) {
            return Ok(());
        }
        let read = fs::read_dir(folder).map_err(unread(folder))?;
        let mut entries = Vec::new();
        for entry in read {
            entries.push(entry.map_err(unread(folder))?.path());
        }
        entries.sort();
        for path in entries {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(['.', '_']) {
                continue;
            }
            let metadata = fs::symlink_metadata(&path).map_err(unread(&path))?;
            if metadata.is_dir() {
                self.folder(&path, base)?;
            } else if path.is_dir() {
                // Behind a link there may be a folder above this one.
                self.found.unknown += 1;
            } else if !self.file(&path, base)? {
                self.found.unknown += 1;
            }
        }
        Ok(())
    }

    /// False when it is of no kind that is read.
    fn file(&mut self, path: &Path, base: &Path) -> Result<bool, CorpusError> {
        let Some((kind, packing)) = FileKind::of(path) else {
            return Ok(false);
        };
        let real = path.canonicalize().map_err(unread(path))?;
        if self.out.as_ref().is_some_and(|out| real.starts_with(out)) {
            return Ok(true);
        }
        if !self.seen.insert(real) {
            self.found.repeated += 1;
            return Ok(true);
        }
        let below = path.strip_prefix(base).unwrap_or(path);
        let parts = below.components().map(|c| c.as_os_str().to_string_lossy());
        self.found.files.push(FoundFile {
            path: path.to_owned(),
            name: parts.collect::<Vec<_>>().join("/"),
            kind,
            packing,
            state: None,
        });
        Ok(true)
    }

    fn is_out(&self, folder: &Path) -> bool {
        self.out.is_some() && folder.canonicalize().ok() == self.out
    }
}

/// The folders of a glob before its first pattern.
fn fixed_part(glob: &str) -> PathBuf {
    let parts = Path::new(glob).components();
    parts
        .take_while(|part| {
            let part = part.as_os_str().to_string_lossy();
            !part.contains(['*', '?', '['])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: &FoundFiles) -> Vec<&str> {
        found.files.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn folders_globs_and_files_lead_to_each_file_once() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        for name in [
            "in/b.txt",
            "in/a/c.jsonl.gz",
            "in/.hidden.txt",
            "in/_run/x.txt",
            "in/x.md",
            "in/out/u.parquet",
        ] {
            fs::create_dir_all(Path::new(&at(name)).parent().unwrap()).unwrap();
            fs::write(at(name), "x").unwrap();
        }
        let out = PathBuf::from(at("in/out"));
        let found = find(&[at("in")], &out).unwrap();
        assert_eq!(names(&found), ["a/c.jsonl.gz", "b.txt"]);
        assert_eq!((found.unknown, found.repeated), (1, 0));
        let found = find(&[at("in/*.txt"), at("in/b.txt"), at("in/**/*.gz")], &out).unwrap();
        assert_eq!(names(&found), ["b.txt", "a/c.jsonl.gz"]);
        assert_eq!(found.repeated, 1);
        let found = find(&[at("in/*/*")], &out).unwrap();
        assert_eq!(names(&found), ["_run/x.txt", "a/c.jsonl.gz"]);
        for wrong in ["in/none.txt", "in/x.md", "in/*.csv"] {
            let error = find(&[at(wrong)], &out).unwrap_err();
            assert!(
                matches!(error, CorpusError::Input { .. }),
                "{wrong}: {error}"
            );
        }
    }
}
