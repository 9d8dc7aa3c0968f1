//! Where an ONNX Runtime library may be.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

/// Places to look in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LibrarySearch {
    /// The library, or the directory that holds it. When given, no other place counts.
    pub library: Option<PathBuf>,
    /// Directories that the system's loader is told to look in (`LD_LIBRARY_PATH`).
    pub directories: Vec<PathBuf>,
    /// Python environments, whose `onnxruntime` package has a library (`VIRTUAL_ENV`).
    pub python_environments: Vec<PathBuf>,
}

#[cfg(target_os = "windows")]
const SYSTEM: [&str; 0] = [];
#[cfg(target_os = "macos")]
const SYSTEM: [&str; 3] = ["/opt/homebrew/lib", "/usr/local/lib", "/opt/local/lib"];
#[cfg(not(any(target_os = "windows", target_os = "macos")))]
const SYSTEM: [&str; 7] = [
    "/usr/local/lib",
    "/usr/local/lib64",
    "/opt/onnxruntime/lib",
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib",
];

impl LibrarySearch {
    /// The libraries that are there, in the order in which they are tried: beside the program, the
    /// loader's directories, the system's, Python's. Windows' own directory is left out: what it
    /// holds belongs to the system, and is old.
    pub(crate) fn candidates(&self) -> Vec<PathBuf> {
        let program = std::env::current_exe().ok();
        let beside = program.as_deref().and_then(Path::parent);
        let mut found = Vec::new();
        let directories = beside.map(Path::to_owned).into_iter();
        let directories = directories
            .chain(self.directories.iter().cloned())
            .chain(SYSTEM.iter().map(PathBuf::from))
            .chain(self.python_environments.iter().flat_map(|e| packages(e)));
        for directory in directories {
            if let Some(library) = in_directory(&directory)
                && !found.contains(&library)
            {
                found.push(library);
            }
        }
        found
    }
}

/// The directories of the `onnxruntime` package that hold the library.
fn packages(environment: &Path) -> Vec<PathBuf> {
    let mut found = vec![environment.join("Lib/site-packages/onnxruntime/capi")];
    for lib in ["lib", "lib64"] {
        let Ok(entries) = environment.join(lib).read_dir() else {
            continue;
        };
        let pythons = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut pythons: Vec<PathBuf> = pythons
            .filter(|path| file_name(path).starts_with("python3"))
            .collect();
        pythons.sort();
        found.extend(
            pythons
                .iter()
                .map(|python| python.join("site-packages/onnxruntime/capi")),
        );
    }
    found
}

/// The library in `directory`: the one without a version in its name, else the newest.
pub(crate) fn in_directory(directory: &Path) -> Option<PathBuf> {
    let files = directory.read_dir().ok()?;
    files
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter_map(|path| Some((version_in(&file_name(&path))?, path)))
        .filter(|(_, path)| path.is_file())
        .min_by_key(|(version, _)| (!version.is_empty(), Reverse(version.clone())))
        .map(|(_, path)| path)
}

/// The version in a library's file name, empty where it has none.
fn version_in(name: &str) -> Option<Vec<u32>> {
    let version = if cfg!(target_os = "windows") {
        (name == "onnxruntime.dll").then_some("")?
    } else if cfg!(target_os = "macos") {
        name.strip_prefix("libonnxruntime")?
            .strip_suffix(".dylib")?
    } else {
        name.strip_prefix("libonnxruntime.so")?
    };
    let numbers = version.split('.').filter(|part| !part.is_empty());
    numbers.map(|part| part.parse().ok()).collect()
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_unversioned_name_then_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(in_directory(dir.path()), None);
        let touch = |path: &Path| std::fs::write(path, "").unwrap();
        for name in [
            "libonnxruntime_providers_shared.so",
            "libonnxruntime.so.1.9.0",
            "libonnxruntime.so.1.23.2",
            "libonnxruntime.so.old",
        ] {
            touch(&dir.path().join(name));
        }
        std::fs::create_dir(dir.path().join("libonnxruntime.so.2")).unwrap();
        let newest = dir.path().join("libonnxruntime.so.1.23.2");
        assert_eq!(in_directory(dir.path()), Some(newest));
        let plain = dir.path().join("libonnxruntime.so");
        touch(&plain);
        assert_eq!(in_directory(dir.path()), Some(plain));
        assert_eq!(in_directory(&dir.path().join("none")), None);
    }

    #[test]
    fn directories_come_before_python() {
        let dir = tempfile::tempdir().unwrap();
        let package = "lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime.so.1.32.0";
        let python = dir.path().join("venv").join(package);
        let plain = dir.path().join("lib/libonnxruntime.so");
        for path in [&python, &plain] {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let search = LibrarySearch {
            library: None,
            directories: vec![dir.path().join("lib")],
            python_environments: vec![dir.path().join("venv")],
        };
        let mut found = search.candidates();
        found.retain(|path| path.starts_with(dir.path()));
        assert_eq!(found, [plain, python]);
    }
}
