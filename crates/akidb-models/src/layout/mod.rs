//! Which files belong to a model, and which of them are one variant of its weights: by their names,
//! and by what they name.

mod contents;

use std::collections::BTreeMap;

use akidb_onnx::safetensors::SINGLE_FILE as SAFETENSORS_FILE;

use crate::name::RepoPath;

pub use akidb_onnx::COREML_MANIFEST;
pub use akidb_onnx::safetensors::INDEX_FILE as SAFETENSORS_INDEX;

pub use contents::external_files;
#[cfg(feature = "hub")]
pub(crate) use contents::{may_be_data, named_by_graph};

/// The variant of weights in safetensors.
pub const SAFETENSORS: &str = "safetensors";

/// The variant of graphs of fixed shapes, which `akidb-embed optimize --target coreml` writes.
pub const COREML: &str = "coreml";

/// The directories that they may lie in.
const COREML_DIRECTORIES: [&str; 2] = ["coreml", "coreml.2"];

/// Text files that a model may need, whatever its weights.
const COMMON: [&str; 10] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "modules.json",
    "chat_template.jinja",
    "LICENSE",
    "LICENSE.txt",
];

/// Most graphs, and most files beside them, that are looked at in a directory. No model has nearly as
/// many; a hostile listing would cost their product.
const MAX_GRAPHS: usize = 200;
const MAX_DATA: usize = 1_000;

/// Weights of one kind: one file or several that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// `f32`, `fp16`, `int8`, `q4f16` …, `safetensors` or `coreml`.
    pub name: String,
    /// Its files. The one that a program opens, which names the others, is last.
    pub files: Vec<RepoPath>,
}

/// The files of a repository, a bundle or a directory, as far as they are of use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelLayout {
    /// Files of every variant: configuration, tokenizer, licence.
    pub common: Vec<RepoPath>,
    /// By name.
    pub variants: Vec<Variant>,
}

/// The name of the variant in an ONNX file of this name: `model.onnx` is `f32`, `model_q4f16.onnx`
/// is `q4f16`, any other file its own name.
pub fn variant_name(file_stem: &str) -> String {
    match file_stem {
        "model" => "f32".to_owned(),
        stem => canonical_variant(stem.strip_prefix("model_").unwrap_or(stem)).to_owned(),
    }
}

/// The name used for a variant that goes by several.
pub fn canonical_variant(variant: &str) -> &str {
    match variant {
        "fp32" => "f32",
        "f16" => "fp16",
        other => other,
    }
}

impl ModelLayout {
    /// Sorts a repository's files. ONNX files count at the root and in `onnx/`, where those in `onnx/`
    /// come first when both have a variant.
    pub fn of<'a>(files: impl IntoIterator<Item = &'a RepoPath>) -> Self {
        let mut files: Vec<_> = files.into_iter().collect();
        files.sort();
        files.dedup();
        let mut variants = BTreeMap::new();
        for directory in ["onnx", ""] {
            let here = |file: &&RepoPath| file.split().0 == directory;
            for variant in onnx_variants(&files.iter().copied().filter(here).collect::<Vec<_>>()) {
                variants.entry(variant.name).or_insert(variant.files);
            }
        }
        if let Some(files) = safetensors(&files) {
            variants.insert(SAFETENSORS.to_owned(), files);
        }
        if let Some(files) = coreml(&files) {
            variants.insert(COREML.to_owned(), files);
        }
        let common = |file: &&RepoPath| match file.split() {
            ("", name) => COMMON.contains(&name),
            // 1_Pooling, 2_Dense and the like.
            (directory, "config.json" | SAFETENSORS_FILE) => is_module(directory),
            _ => false,
        };
        Self {
            common: files.iter().copied().filter(common).cloned().collect(),
            variants: variants
                .into_iter()
                .map(|(name, files)| Variant { name, files })
                .collect(),
        }
    }

    /// The variant of that name.
    pub fn variant(&self, name: &str) -> Option<&Variant> {
        let name = canonical_variant(name);
        self.variants.iter().find(|v| v.name == name)
    }
}

/// Whether a directory of this name may hold files of a model.
fn may_hold_files(directory: &str) -> bool {
    directory == "onnx" || COREML_DIRECTORIES.contains(&directory) || is_module(directory)
}

/// Whether a directory is one of sentence-transformers' modules.
fn is_module(directory: &str) -> bool {
    directory.starts_with(|c: char| c.is_ascii_digit())
}

fn name(file: &RepoPath) -> &str {
    file.split().1
}

/// Whether a name is one that data outside a graph may have.
fn is_data(name: &str) -> bool {
    [".onnx_data", ".onnx.data", ".data", ".weights"]
        .iter()
        .any(|part| name.contains(part))
}

/// Of the files of one directory.
fn onnx_variants(files: &[&RepoPath]) -> Vec<Variant> {
    let mut graphs = Vec::new();
    let mut data = Vec::new();
    for file in files {
        match name(file).strip_suffix(".onnx") {
            Some(stem) if graphs.len() < MAX_GRAPHS => graphs.push((stem, *file)),
            None if data.len() < MAX_DATA && is_data(name(file)) => data.push(*file),
            _ => {}
        }
    }
    // model.onnx_data, model.onnx_data_1, model.onnx.data and model.data hold weights of model.onnx.
    let holds = |file: &RepoPath, stem: &str| {
        let rest = name(file).strip_prefix(stem);
        rest.is_some_and(|r| {
            r.starts_with(".onnx_data") || r.starts_with(".onnx.data") || r == ".data"
        })
    };
    // Data of a name of its own may be any graph's.
    let shared = |file: &&RepoPath| {
        let of_none = graphs.iter().all(|(stem, _)| !holds(file, stem));
        let ends = [".data", ".onnx_data", ".weights"];
        of_none && ends.iter().any(|end| name(file).ends_with(end))
    };
    let data: Vec<_> = data.into_iter().map(|file| (file, shared(&file))).collect();
    let mut variants = Vec::new();
    for (stem, graph) in &graphs {
        let of = data.iter().filter(|(f, shared)| *shared || holds(f, stem));
        let of = of.map(|(f, _)| f).chain([graph]).map(|f| (*f).clone());
        variants.push(Variant {
            name: variant_name(stem),
            files: of.collect(),
        });
    }
    variants
}

/// Of all files: those at the root.
fn safetensors(files: &[&RepoPath]) -> Option<Vec<RepoPath>> {
    let find = |name: &str| files.iter().find(|f| f.as_str() == name);
    if let Some(file) = find(SAFETENSORS_FILE) {
        return Some(vec![(*file).clone()]);
    }
    let index = find(SAFETENSORS_INDEX)?;
    let shard = |file: &&&RepoPath| {
        let (directory, name) = file.split();
        directory.is_empty() && name.starts_with("model-") && name.ends_with(".safetensors")
    };
    let shards = files.iter().filter(shard);
    Some(shards.chain([index]).map(|f| (*f).clone()).collect())
}

/// Of all files: graphs, the weights that they share, and the manifest.
fn coreml(files: &[&RepoPath]) -> Option<Vec<RepoPath>> {
    let manifest = files.iter().find(|f| f.as_str() == COREML_MANIFEST)?;
    let ends = [".onnx", ".onnx_data", ".safetensors"];
    let named = |file: &&&RepoPath| {
        let (directory, name) = file.split();
        COREML_DIRECTORIES.contains(&directory) && ends.iter().any(|end| name.ends_with(end))
    };
    let named = files.iter().filter(named);
    Some(named.chain([manifest]).map(|f| (*f).clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(files: &[&str]) -> ModelLayout {
        let files: Vec<RepoPath> = files.iter().map(|f| f.parse().unwrap()).collect();
        ModelLayout::of(&files)
    }

    fn names(files: &[RepoPath]) -> Vec<&str> {
        files.iter().map(RepoPath::as_str).collect()
    }

    #[test]
    fn a_variant_has_its_own_files_only_and_the_graph_last() {
        let layout = layout(&[
            "README.md",
            "config.json",
            "tokenizer.json",
            "1_Pooling/config.json",
            "onnx/model.onnx",
            "onnx/model.onnx_data",
            "onnx/model.onnx_data_1",
            "onnx/model_fp16.onnx",
            "onnx/model_fp16.onnx_data",
            "onnx/model_q4f16.onnx",
            "pytorch_model.bin",
        ]);
        assert_eq!(
            names(&layout.common),
            ["1_Pooling/config.json", "config.json", "tokenizer.json"]
        );
        let of = |name: &str| names(&layout.variant(name).unwrap().files);
        assert_eq!(
            of("f32"),
            [
                "onnx/model.onnx_data",
                "onnx/model.onnx_data_1",
                "onnx/model.onnx"
            ]
        );
        assert_eq!(
            of("f16"),
            ["onnx/model_fp16.onnx_data", "onnx/model_fp16.onnx"]
        );
        assert_eq!(of("q4f16"), ["onnx/model_q4f16.onnx"]);
        assert_eq!(layout.variants.len(), 3);
    }

    #[test]
    fn data_of_another_name_goes_with_every_graph_beside_it() {
        let layout = layout(&[
            "onnx/a.onnx",
            "onnx/a.onnx.data",
            "onnx/b.onnx",
            "onnx/all.data",
        ]);
        let of = |name: &str| names(&layout.variant(name).unwrap().files);
        assert_eq!(
            of("a"),
            ["onnx/a.onnx.data", "onnx/all.data", "onnx/a.onnx"]
        );
        assert_eq!(of("b"), ["onnx/all.data", "onnx/b.onnx"]);
    }

    #[test]
    fn a_hostile_listing_costs_little() {
        let graphs = (0..5_000).map(|i| format!("{i}.onnx"));
        let files: Vec<RepoPath> = graphs
            .chain((0..50_000).map(|i| format!("{i}.weights")))
            .map(|name| name.parse().unwrap())
            .collect();
        let layout = ModelLayout::of(&files);
        let total: usize = layout.variants.iter().map(|v| v.files.len()).sum();
        assert!(total <= MAX_GRAPHS * (MAX_DATA + 1), "{total}");
    }

    #[test]
    fn shards_come_before_their_index() {
        let shards = layout(&[
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
        ]);
        let files = &shards.variant("safetensors").unwrap().files;
        assert_eq!(files.len(), 3);
        assert_eq!(files[2].as_str(), "model.safetensors.index.json");
        // One file needs no index.
        let one = layout(&["model.safetensors", "model.safetensors.index.json"]);
        assert_eq!(names(&one.variants[0].files), ["model.safetensors"]);
    }

    #[test]
    fn graphs_for_coreml_are_one_variant() {
        let coreml = layout(&[
            "coreml.json",
            "coreml/embed_tokens.safetensors",
            "coreml/model_1x4.onnx",
            "coreml/notes.txt",
            "coreml/weights.onnx_data",
        ]);
        assert_eq!(coreml.variants.len(), 1);
        let files = names(&coreml.variant("coreml").unwrap().files);
        assert_eq!(
            files,
            [
                "coreml/embed_tokens.safetensors",
                "coreml/model_1x4.onnx",
                "coreml/weights.onnx_data",
                "coreml.json"
            ]
        );
    }

    #[test]
    fn a_graph_at_the_root_yields_to_one_in_onnx() {
        let both = layout(&["model.onnx", "model_int8.onnx", "onnx/model.onnx"]);
        assert_eq!(
            names(&both.variant("f32").unwrap().files),
            ["onnx/model.onnx"]
        );
        assert_eq!(
            names(&both.variant("int8").unwrap().files),
            ["model_int8.onnx"]
        );
    }
}
