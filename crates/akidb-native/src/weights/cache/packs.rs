//! Which packs belong to which files, for those who delete files.

use std::fs;
use std::path::{Path, PathBuf};

use super::EXTENSION;
use super::file::header_of;

/// The packs in `directory` that are made of one of `files`, with their bytes.
///
/// `files` are canonical paths, of files that may be gone. What is no pack, or a damaged one, is left
/// out.
pub fn packs_made_of(directory: &Path, files: &[PathBuf]) -> Vec<(PathBuf, u64)> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    // As a source file is written in the identity of a pack.
    let lines: Vec<_> = files.iter().map(|path| format!("{path:?}, ")).collect();
    let mut found = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_none_or(|e| e != EXTENSION) {
            continue;
        }
        let of_one = |line: &str| lines.iter().any(|start| line.starts_with(start.as_str()));
        if let Some((header, bytes)) = header_of(&path)
            && header.identity.lines().any(of_one)
        {
            found.push((path, bytes));
        }
    }
    found.sort();
    found
}
