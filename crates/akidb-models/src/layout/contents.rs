//! The files of a model on this machine: what indexes and graphs name belongs to them, whatever it is
//! called.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use akidb_onnx::model::OnnxModel;
use akidb_onnx::{Location, parse_json, read_regular_file};
use serde::de::DeserializeOwned;

use super::{COREML_MANIFEST, ModelLayout, SAFETENSORS_INDEX, may_hold_files, name, onnx_variants};
use crate::error::Error;
use crate::name::RepoPath;

/// Most files that are looked at: no model has nearly as many.
const MAX_FILES: usize = 10_000;

/// Largest index that is read, in bytes: those of models with 100 000 tensors have 10 MB.
const MAX_INDEX: u64 = 32 << 20;

/// `model.safetensors.index.json`, as far as it names files.
#[derive(serde::Deserialize)]
struct ShardIndex {
    /// Tensor to file.
    weight_map: std::collections::HashMap<String, String>,
}

/// `coreml.json`, as far as it names files.
#[derive(serde::Deserialize)]
struct CoreMlManifest {
    embed_tokens: CoreMlFile,
    weights: String,
    shapes: Vec<CoreMlFile>,
}

#[derive(serde::Deserialize)]
struct CoreMlFile {
    file: String,
}

impl ModelLayout {
    /// Sorts the files of a model's directory.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read(root: &Path) -> Result<Self, Error> {
        let mut names = names(root, "").map_err(Error::read(root))?;
        for entry in fs::read_dir(root).map_err(Error::read(root))?.flatten() {
            let name = entry.file_name();
            if let Some(name) = name.to_str().filter(|name| may_hold_files(name))
                && entry.path().is_dir()
            {
                let directory = entry.path();
                let inner = self::names(&directory, &format!("{name}/"));
                names.extend(inner.map_err(Error::read(&directory))?);
            }
        }
        let mut layout = Self::of(&names);
        for variant in &mut layout.variants {
            if let Some(opened) = variant.files.last().cloned()
                && let Some(mut files) = named_by(root, &opened)
            {
                files.push(opened);
                variant.files = files;
            }
        }
        Ok(layout.with_files_of_graphs(root, &names))
    }

    /// The same, with the files that the graphs under `root` name, whatever these are called. Graphs
    /// are opened only where there are files among `names` that may be theirs.
    pub(crate) fn with_files_of_graphs<'a>(
        mut self,
        root: &Path,
        names: impl IntoIterator<Item = &'a RepoPath> + Clone,
    ) -> Self {
        for variant in &mut self.variants {
            let Some((graph, known)) = variant.files.split_last() else {
                continue;
            };
            let mut names = names.clone().into_iter();
            if !is_graph(graph) || !names.any(|file| may_be_data(file, graph, known)) {
                continue;
            }
            let there = |file: &RepoPath| file.under(root).is_file();
            let new = named_by_graph(&graph.under(root), graph);
            let new = new.into_iter().filter(|f| !known.contains(f) && there(f));
            let new: Vec<_> = new.collect();
            variant.files.splice(0..0, new);
        }
        self
    }

    /// The files of the weights in the file at `path`, which may have any name and lie anywhere; that
    /// file is last.
    ///
    /// # Errors
    /// When its directory can't be read.
    pub fn weights_in(path: &Path) -> Result<Vec<PathBuf>, Error> {
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let own = path.file_name().and_then(|name| name.to_str());
        let own = own.map(|name| RepoPath::listed(name.to_owned()));
        let mut others = Vec::new();
        if let Some(own) = own {
            let names = names(directory, "").map_err(Error::read(directory))?;
            let listed: Vec<_> = names.iter().collect();
            let same = |files: &Vec<RepoPath>| files.last() == Some(&own);
            let mut variants = onnx_variants(&listed).into_iter().map(|v| v.files);
            others = match named_by(directory, &own) {
                Some(files) => files,
                None => variants.find(same).unwrap_or_default(),
            };
            others.retain(|other| *other != own);
            if is_graph(&own) && names.iter().any(|file| may_be_data(file, &own, &others)) {
                let new = named_by_graph(path, &own).into_iter();
                let new: Vec<_> = new.filter(|file| !others.contains(file)).collect();
                others.extend(
                    new.into_iter()
                        .filter(|file| file.under(directory).is_file()),
                );
            }
        }
        let others = others.iter().map(|other| other.under(directory));
        Ok(others.chain([path.to_owned()]).collect())
    }
}

/// The files of a directory, with `prefix` before their names; not the hidden ones.
fn names(directory: &Path, prefix: &str) -> io::Result<Vec<RepoPath>> {
    let mut names = Vec::new();
    for entry in directory.read_dir()?.take(MAX_FILES) {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(name) = name.to_str().filter(|name| !name.starts_with('.'))
            && entry.path().is_file()
        {
            names.push(RepoPath::listed(format!("{prefix}{name}")));
        }
    }
    Ok(names)
}

/// The files that an index in `directory` names; `None` where it is none, or can't be read.
fn named_by(directory: &Path, index: &RepoPath) -> Option<Vec<RepoPath>> {
    let named: BTreeSet<String> = match name(index) {
        SAFETENSORS_INDEX => {
            let index: ShardIndex = json(&index.under(directory))?;
            index.weight_map.into_values().collect()
        }
        COREML_MANIFEST => {
            let manifest: CoreMlManifest = json(&index.under(directory))?;
            let files = manifest.shapes.into_iter().chain([manifest.embed_tokens]);
            let files = files.map(|file| file.file);
            files.chain([manifest.weights]).collect()
        }
        _ => return None,
    };
    // Others can't be files of the model.
    let named = named.iter().filter_map(|file| file.parse().ok());
    Some(named.take(MAX_FILES).collect())
}

fn json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    parse_json(&read_regular_file(path, MAX_INDEX).ok()?).ok()
}

/// Whether a file may hold data of the graph beside it, though its name doesn't say so.
pub(crate) fn may_be_data(file: &RepoPath, graph: &RepoPath, known: &[RepoPath]) -> bool {
    let (directory, name) = file.split();
    // Data may lie in directories of its own, too.
    let beside = directory.starts_with(graph.split().0);
    beside && !is_graph(file) && !is_text(name) && !known.contains(file)
}

fn is_graph(file: &RepoPath) -> bool {
    name(file).ends_with(".onnx")
}

/// Whether a name is that of a settings file, a tokenizer, a page or other weights.
fn is_text(name: &str) -> bool {
    let extensions = [
        "json",
        "jsonl",
        "txt",
        "md",
        "model",
        "yaml",
        "yml",
        "toml",
        "py",
        "jinja",
        "png",
        "svg",
        "safetensors",
        "h5",
        "msgpack",
        "ot",
        "pt",
        "gguf",
        "xml",
    ];
    match name.rsplit_once('.') {
        Some((_, extension)) => extensions.contains(&extension),
        None => ["LICENSE", "README", "NOTICE"].contains(&name),
    }
}

/// The files that the graph at `path` names, which is `graph` in its repository; none where it can't
/// be read.
pub(crate) fn named_by_graph(path: &Path, graph: &RepoPath) -> Vec<RepoPath> {
    let Ok(model) = OnnxModel::open(path) else {
        return Vec::new();
    };
    let in_repository = |file: &str| {
        let file = file.trim_start_matches("./");
        match graph.split().0 {
            "" => file.parse(),
            directory => format!("{directory}/{file}").parse(),
        }
    };
    // Others can't be files of the model.
    let files = locations(&model).into_iter();
    files.filter_map(|file| in_repository(file).ok()).collect()
}

/// The files beside the ONNX model at `path` that hold its weights, by what the graph says.
pub fn external_files(path: &Path, model: &OnnxModel) -> Vec<PathBuf> {
    let directory = path.parent().unwrap_or(Path::new(""));
    let files = locations(model).into_iter();
    files.map(|location| directory.join(location)).collect()
}

fn locations(model: &OnnxModel) -> BTreeSet<&str> {
    let tensors = model.external_tensors().into_iter();
    let files = tensors.filter_map(|tensor| Some(Location::of(tensor).ok()?.file));
    files.take(MAX_FILES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn files(layout: &ModelLayout, variant: &str) -> Vec<String> {
        let files = &layout.variant(variant).unwrap().files;
        files.iter().map(RepoPath::to_string).collect()
    }

    #[test]
    fn what_an_index_names_belongs_to_it_whatever_it_is_called() {
        let dir = directory(&[
            (
                "model.safetensors.index.json",
                r#"{"metadata": {}, "weight_map": {"a": "2", "b": "1", "c": "2", "d": "../x"}}"#,
            ),
            ("model-00001-of-00001.safetensors", "of another index"),
            (
                "coreml.json",
                r#"{"version": 1, "embed_tokens": {"file": "coreml.2/e", "tensor": "t"},
                    "weights": "coreml.2/w", "shapes": [{"file": "coreml.2/g", "batch": 1}]}"#,
            ),
            ("coreml/model_1x1.onnx", "what was there before"),
        ]);
        let layout = ModelLayout::read(dir.path()).unwrap();
        let index = "model.safetensors.index.json";
        assert_eq!(files(&layout, "safetensors"), ["1", "2", index]);
        let graphs = ["coreml.2/e", "coreml.2/g", "coreml.2/w", "coreml.json"];
        assert_eq!(files(&layout, "coreml"), graphs);
        let at = |name: &str| dir.path().join(name);
        let named = ModelLayout::weights_in(&at("coreml.json")).unwrap();
        assert_eq!(named, graphs.map(at));

        fs::write(at("coreml.json"), "{").unwrap();
        let layout = ModelLayout::read(dir.path()).unwrap();
        assert_eq!(
            files(&layout, "coreml"),
            ["coreml/model_1x1.onnx", "coreml.json"]
        );
    }

    #[test]
    fn a_file_anywhere_has_its_data_beside_it() {
        let dir = directory(&[
            ("a:1.onnx", ""),
            ("a:1.onnx_data", ""),
            ("b.onnx", ""),
            (".c.onnx", ""),
            ("one.safetensors", ""),
        ]);
        let at = |name: &str| dir.path().join(name);
        let weights = |name: &str| ModelLayout::weights_in(&at(name)).unwrap();
        assert_eq!(weights("a:1.onnx"), [at("a:1.onnx_data"), at("a:1.onnx")]);
        assert_eq!(weights("b.onnx"), [at("b.onnx")]);
        assert_eq!(weights("one.safetensors"), [at("one.safetensors")]);
        let layout = ModelLayout::read(dir.path()).unwrap();
        assert_eq!(files(&layout, "a:1"), ["a:1.onnx_data", "a:1.onnx"]);
        assert_eq!(layout.variants.len(), 2);
    }

    #[test]
    fn what_a_graph_names_belongs_to_it_whatever_it_is_called() {
        let model = fs::read(akidb_testing::fixture(
            "forms/constant-file/onnx/model.onnx",
        ))
        .unwrap();
        for (at, graph) in [("onnx", "onnx/model.onnx"), ("", "model.onnx")] {
            let data = Path::new(at).join("Constant_7_attr__value");
            let dir = directory(&[
                (data.to_str().unwrap(), "32 bytes"),
                ("onnx/nobody's", ""),
                ("nobody's", ""),
                ("config.json", "{}"),
            ]);
            fs::write(dir.path().join(graph), &model).unwrap();
            let layout = ModelLayout::read(dir.path()).unwrap();
            let data = data.to_str().unwrap();
            assert_eq!(files(&layout, "f32"), [data, graph]);
            let named = ModelLayout::weights_in(&dir.path().join(graph)).unwrap();
            assert_eq!(named, [data, graph].map(|name| dir.path().join(name)));
        }
    }

    #[test]
    fn external_data_is_found() {
        let path = akidb_testing::fixture("tiny-external/onnx/model.onnx");
        let model = OnnxModel::open(&path).unwrap();
        assert_eq!(
            external_files(&path, &model),
            [path.with_extension("onnx_data")]
        );
        let path = akidb_testing::fixture("tiny/onnx/model.onnx");
        let model = OnnxModel::open(&path).unwrap();
        assert!(external_files(&path, &model).is_empty());
    }
}
