//! Models that are known by name.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use akidb_onnx::{open_regular_file, parse_json};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::goldens::Goldens;
use crate::hex::Commit;
use crate::name::RepoPath;

/// The catalog of this program. Its commits and names of files were looked up in several public
/// programs that pin the same ones, its sizes in one or more; a size that was not to be found in this
/// way is left out. Models without a list of files are fetched by the hub's listing; what is said of them is
/// from their model cards and config files, their commits from MTEB's registry of models
/// (<https://github.com/embeddings-benchmark/mteb>).
/// What is fetched is compared with the hub's own listing of the commit, whatever stands here.
const COMPILED_IN: &str = include_str!("catalog.json");

/// Its extension, in the store's home.
const EXTENSION: &str = "catalog.json";

/// Longest extension that is read, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// Known models. `{home}/catalog.json`, of the same form as the compiled-in catalog, adds models and
/// replaces those with the same id.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    models: Vec<CatalogEntry>,
    /// Where its extension is.
    #[serde(skip)]
    home: Option<PathBuf>,
}

/// What is known of a model before it is here. What is fetched goes by the hub's own listing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogEntry {
    /// The repository, or the built-in model's id.
    pub id: String,
    /// Short names. Upper and lower case are the same.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What it does.
    #[serde(default)]
    pub task: CatalogTask,
    /// The commit that is fetched unless another one is asked for.
    pub revision: Option<Commit>,
    /// As the hub names it.
    pub license: Option<String>,
    /// The family, as `model_type` of config.json names it.
    pub model_type: Option<String>,
    /// Weights, about.
    pub parameters: Option<u64>,
    /// Values of a vector.
    pub dimension: Option<usize>,
    /// Fewest values that vectors may be cut to.
    pub least_dimension: Option<usize>,
    /// Shorter vectors that the model was trained for, where they are few.
    #[serde(default)]
    pub matryoshka_dimensions: Vec<usize>,
    /// Longest text in tokens.
    pub max_tokens: Option<usize>,
    /// What is put before a query.
    pub query_prompt: Option<String>,
    /// What is put before a document.
    pub document_prompt: Option<String>,
    /// Vectors and similarities that are known to be right, in a file beside the catalog.
    pub goldens: Option<RepoPath>,
    /// Settings and tokenizer, which every variant needs.
    #[serde(default)]
    pub files: Vec<RepoPath>,
    /// Its weights.
    #[serde(default)]
    pub variants: Vec<CatalogVariant>,
}

/// What a known model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CatalogTask {
    /// It makes vectors.
    #[default]
    Embed,
    /// It scores documents for a query.
    Rerank,
}

/// Weights of a known model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogVariant {
    /// `f32`, `fp16`, `int8` …, or `safetensors`.
    pub name: String,
    /// Bytes of its own files at the revision of the entry, where they are known.
    pub size: Option<u64>,
    /// Its own files.
    #[serde(default)]
    pub files: Vec<RepoPath>,
}

impl Catalog {
    /// The compiled-in catalog with the extension in `home`.
    pub(crate) fn load(home: Option<&Path>) -> Result<Self, Error> {
        let mut catalog = Self::parse(COMPILED_IN.as_bytes(), "the compiled-in catalog")?;
        catalog.home = home.map(Path::to_owned);
        let Some(path) = home.map(|home| home.join(EXTENSION)) else {
            return Ok(catalog);
        };
        let mut bytes = Vec::new();
        let read = open_regular_file(&path).and_then(|f| f.take(MAX_BYTES).read_to_end(&mut bytes));
        match read {
            Ok(_) => {}
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(catalog);
            }
            Err(e) => return Err(Error::read(&path)(e)),
        }
        let extension = Self::parse(&bytes, &path.display().to_string())?;
        for entry in &extension.models {
            catalog.models.retain(|known| known.id != entry.id);
        }
        // First, so that its short names win.
        catalog.models.splice(0..0, extension.models);
        Ok(catalog)
    }

    fn parse(bytes: &[u8], what: &str) -> Result<Self, Error> {
        parse_json(bytes).map_err(|source| Error::Json {
            what: what.to_owned(),
            source,
        })
    }

    /// All models.
    pub fn models(&self) -> &[CatalogEntry] {
        &self.models
    }

    /// A short name of each model, or its id where it has none.
    #[cfg(feature = "hub")]
    pub(crate) fn names(&self) -> Vec<String> {
        let name = |entry: &CatalogEntry| entry.aliases.first().unwrap_or(&entry.id).clone();
        self.models.iter().map(name).collect()
    }

    /// The model of that id or short name.
    pub fn get(&self, name: &str) -> Option<&CatalogEntry> {
        let by_id = self.models.iter().find(|m| m.id == name);
        let short = |m: &&CatalogEntry| m.aliases.iter().any(|a| a.eq_ignore_ascii_case(name));
        by_id.or_else(|| self.models.iter().find(short))
    }

    /// What is known of the vectors of the model of that id or short name, or whose repository has
    /// that name; `None` where nothing is.
    ///
    /// # Errors
    /// When the file that the catalog names can't be read or isn't valid.
    pub fn goldens(&self, name: &str) -> Result<Option<Goldens>, Error> {
        let last = |entry: &&CatalogEntry| entry.id.rsplit('/').next() == Some(name);
        let entry = self.get(name).or_else(|| self.models.iter().find(last));
        let path = entry.and_then(|entry| entry.goldens.as_ref());
        path.map(|path| Goldens::open(path, self.home.as_deref()))
            .transpose()
    }

    /// The id of the model of that id or short name.
    pub fn repository(&self, name: &str) -> Option<&str> {
        self.get(name).map(|entry| entry.id.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::layout::ModelLayout;
    use crate::name::ModelId;
    use crate::store::BUILTIN_MODEL;

    #[test]
    fn the_compiled_in_catalog_is_sound() {
        let catalog = Catalog::load(None).unwrap();
        for entry in catalog.models() {
            assert!(entry.id.parse::<ModelId>().is_ok(), "{}", entry.id);
            assert_eq!(catalog.get(&entry.id), Some(entry));
            for alias in &entry.aliases {
                assert_eq!(catalog.get(alias), Some(entry), "{alias}");
            }
            let embeds = entry.task == CatalogTask::Embed;
            assert_eq!(entry.dimension.is_some(), embeds, "{}", entry.id);
            assert!(entry.license.is_some());
            assert!(entry.model_type.is_some() && entry.parameters.is_some());
            assert!(entry.max_tokens.is_some());
            let shorter = |width: &usize| Some(*width) < entry.dimension;
            assert!(entry.matryoshka_dimensions.iter().all(shorter));
            if let Some(goldens) = catalog.goldens(&entry.id).unwrap() {
                assert!(!goldens.source.is_empty());
                assert!(goldens.vectors.len() + goldens.similarities.len() > 3);
                let widths = goldens.vectors.iter().map(|golden| golden.vector.len());
                assert!(widths.eq(goldens.vectors.iter().filter_map(|_| entry.dimension)));
            }
            if entry.id == BUILTIN_MODEL {
                continue;
            }
            assert!(entry.revision.is_some(), "{} is not pinned", entry.id);
            // The rules that sort a repository's files agree with what is written here.
            let of_variants = entry.variants.iter().flat_map(|v| &v.files);
            let layout = ModelLayout::of(entry.files.iter().chain(of_variants));
            assert_eq!(layout.common.len(), entry.files.len(), "{}", entry.id);
            for variant in &entry.variants {
                let found = layout.variant(&variant.name).unwrap();
                assert_eq!(found.files, variant.files, "{} {}", entry.id, variant.name);
            }
        }
        let short = catalog.repository("Qwen3-Embedding-0.6B").unwrap();
        assert_eq!(short, "onnx-community/Qwen3-Embedding-0.6B-ONNX");
        let short = catalog.repository("qwen3-reranker-0.6b").unwrap();
        assert_eq!(short, "onnx-community/Qwen3-Reranker-0.6B-ONNX");
    }

    #[test]
    fn a_users_file_adds_and_replaces() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("catalog.json");
        let json = r#"{"models": [
            {"id": "me/mine", "aliases": ["all-minilm-l6-v2", "Mine"], "dimension": 8},
            {"id": "Qwen/Qwen3-Embedding-4B", "revision": "00112233445566778899aabbccddeeff00112233"}
        ]}"#;
        fs::write(&path, json).unwrap();
        let catalog = Catalog::load(Some(home.path())).unwrap();
        assert_eq!(catalog.repository("all-minilm-l6-v2"), Some("me/mine"));
        assert_eq!(catalog.repository("mine"), Some("me/mine"));
        assert_eq!(
            catalog.get("Qwen/Qwen3-Embedding-4B").unwrap().dimension,
            None
        );
        assert!(
            catalog
                .get("Qwen/Qwen3-Embedding-8B")
                .unwrap()
                .dimension
                .is_some()
        );

        let json = r#"{"models": [{"id": "me/mine", "goldens": "mine.jsonl"}]}"#;
        fs::write(&path, json).unwrap();
        let catalog = Catalog::load(Some(home.path())).unwrap();
        let error = catalog.goldens("mine").unwrap_err().to_string();
        assert!(error.contains("mine.jsonl"), "{error}");
        let goldens = home.path().join("mine.jsonl");
        let line = r#"{"text": "a", "vector": [1, 0]}"#;
        fs::write(&goldens, line).unwrap();
        let known = catalog.goldens("mine").unwrap().unwrap();
        assert_eq!(known.vectors[0].vector, [1.0, 0.0]);
        fs::write(&goldens, format!("{line}\n{{\"text\": \"b\"}}\n")).unwrap();
        let error = catalog.goldens("me/mine").unwrap_err().to_string();
        assert!(error.contains("mine.jsonl, line 2"), "{error}");
        assert_eq!(catalog.goldens("other").unwrap(), None);

        fs::write(&path, r#"{"models": [{"id": "me/mine", "dimensoin": 8}]}"#).unwrap();
        let error = Catalog::load(Some(home.path())).unwrap_err().to_string();
        assert!(error.contains("catalog.json is not valid"), "{error}");
    }
}
