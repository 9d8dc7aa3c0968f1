//! Where fixtures and the built-in model are.

use std::path::{Path, PathBuf};

fn crate_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn workspace_dir() -> &'static Path {
    crate_dir()
        .ancestors()
        .nth(2)
        .unwrap_or_else(|| panic!("{} is not in crates/", crate_dir().display()))
}

pub(crate) fn existing(path: PathBuf, made_by: &str) -> PathBuf {
    assert!(
        path.exists(),
        "{} is missing; it comes from {made_by}",
        path.display()
    );
    path
}

/// A file or directory under `fixtures/`, such as `tiny` or `tiny/onnx/model.onnx`.
///
/// Panics when it does not exist.
pub fn fixture(path: impl AsRef<Path>) -> PathBuf {
    existing(
        crate_dir().join("fixtures").join(path),
        "scripts/make_tiny.py",
    )
}

pub(crate) fn golden(name: &str) -> PathBuf {
    existing(crate_dir().join("goldens").join(name), "scripts/make_*.py")
}

/// The directory of the built-in model, akidb-mini.
pub fn builtin_model_dir() -> PathBuf {
    existing(workspace_dir().join("models/akidb-mini"), "the repository")
}

/// The full Qwen3 `tokenizer.json` under `target/`, if `scripts/fetch_qwen3_tokenizer.sh` has put it there.
pub fn qwen3_tokenizer() -> Option<PathBuf> {
    let path = workspace_dir().join("target/qwen3-tokenizer/tokenizer.json");
    path.is_file().then_some(path)
}

/// The directory of ONNX Runtime's library: the one that `ORT_DYLIB_PATH` names, or that of the Python
/// package under `target/`, if `scripts/fetch_onnxruntime.sh` has put it there.
pub fn onnxruntime_library() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH") {
        return Some(path.into());
    }
    let pythons = workspace_dir().join("target/python/lib").read_dir().ok()?;
    pythons
        .filter_map(|entry| Some(entry.ok()?.path()))
        .map(|python| python.join("site-packages/onnxruntime/capi"))
        .find(|path| path.is_dir())
}

/// The model directory of all-MiniLM-L6-v2 under `target/` (`f32`, `int8`), if
/// `scripts/fetch_minilm.sh` has made it.
pub fn minilm() -> Option<PathBuf> {
    let path = workspace_dir().join("target/all-MiniLM-L6-v2");
    path.join("onnx/model.onnx").is_file().then_some(path)
}

/// The built-in model in the eight forms of the published models under `target/`, if
/// `scripts/make_mini_variants.py` has made them.
pub fn mini_variants() -> Option<PathBuf> {
    let path = workspace_dir().join("target/variants/akidb-mini");
    path.join("onnx/model_bnb4.onnx").is_file().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fixture_directory_is_complete() {
        for (dir, weights) in [
            ("tiny", &["model.safetensors", "onnx/model.onnx"][..]),
            (
                "tiny-external",
                &["onnx/model.onnx", "onnx/model.onnx_data"],
            ),
            ("tiny-f16", &["model.safetensors", "onnx/model_fp16.onnx"]),
            ("tiny-bf16", &["model.safetensors"]),
            ("tiny-gqa", &["onnx/model.onnx"]),
            (
                "tiny-quantized",
                &["onnx/model_int8.onnx", "onnx/model_q4.onnx"],
            ),
        ] {
            let common = ["config.json", "tokenizer.json", "1_Pooling/config.json"];
            for file in common.iter().chain(weights) {
                assert!(fixture(dir).join(file).is_file(), "{dir}/{file}");
            }
        }
        assert!(builtin_model_dir().join("onnx/model_fp16.onnx").is_file());
    }

    #[test]
    #[should_panic(expected = "is missing; it comes from scripts/make_tiny.py")]
    fn a_missing_fixture_names_its_script() {
        fixture("no-such-fixture");
    }
}
