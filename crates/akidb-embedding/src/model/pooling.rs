//! How a model pools, and what follows its pooling: modules.json, then the pooling file, then what is
//! known of the family, then a guess.

use akidb_backend::Pooling;
use akidb_models::RepoPath;
use serde_json::{Map, Value};

use super::config::Config;
use super::files::ModelFiles;
use super::modules::{MODULES, Module, modules};
use crate::error::EmbedError;

const POOLING: &str = "1_Pooling/config.json";

/// Modules of sentence-transformers that change no vector here: dropout is for training, and whether
/// vectors are normalised is the caller's choice.
const WITHOUT_EFFECT: [&str; 2] = ["Normalize", "Dropout"];

/// Who says how a model pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PoolingFrom {
    /// The caller.
    Caller,
    /// A file of the model.
    File,
    /// What is known of the model's family.
    Family,
    /// Nobody.
    Guess,
}

/// From hidden states to a vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) pooling: Pooling,
    pub(super) from: PoolingFrom,
    /// The last module that changes what is pooled.
    pub(super) after: Option<AfterPooling>,
}

/// A module behind the pooling that changes vectors, such as `Dense`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AfterPooling {
    /// Its kind.
    pub(crate) module: String,
    /// The width that it gives vectors, where its file says so.
    pub(crate) width: Option<usize>,
    /// The directories of all modules behind the pooling, in order, where they are `Dense` ones and
    /// nothing between them changes vectors.
    pub(crate) dense: Option<Vec<String>>,
}

/// What the model's files and its family say.
pub(super) fn head(files: &ModelFiles, config: &Config) -> Result<Head, EmbedError> {
    let modules = modules(files)?.unwrap_or_default();
    let pools = modules.iter().position(|module| module.name() == "Pooling");
    let known_before = |module: &Module| {
        // Static embeddings are pooled where they are looked up.
        ["Transformer", "StaticEmbedding"].contains(&module.name())
            || WITHOUT_EFFECT.contains(&module.name())
    };
    let (before, after) = match pools {
        Some(at) => (modules.get(..at), modules.get(at + 1..)),
        // The others follow the transformer, which is the first.
        None => (modules.get(..1), modules.get(1..)),
    };
    let mut before = before.unwrap_or_default().iter();
    if let Some(unknown) = before.find(|module| !known_before(module)) {
        return Err(EmbedError::Unsupported(format!(
            "{}: module {:?} before the pooling is not supported (Transformer is)",
            files.label(MODULES),
            unknown.kind
        )));
    }
    let after = after.unwrap_or_default();
    let changes = |module: &&Module| !WITHOUT_EFFECT.contains(&module.name());
    let after = match after.iter().rfind(changes) {
        Some(module) => Some(AfterPooling {
            module: module.name().to_owned(),
            width: width(files, module)?,
            dense: dense(after),
        }),
        None => None,
    };
    let of_module = pools.and_then(|at| modules.get(at)?.config());
    let file = of_module.as_deref().unwrap_or(POOLING);
    let (pooling, from) = match files.json::<Map<String, Value>>(file)? {
        Some(json) => (of_file(&json, &files.label(file))?, PoolingFrom::File),
        None => of_family(config, files.id()),
    };
    Ok(Head {
        pooling,
        from,
        after,
    })
}

/// The directories of modules that are all `Dense`, save for those without effect. `Normalize` has one
/// before another layer.
fn dense(modules: &[Module]) -> Option<Vec<String>> {
    let last = modules
        .iter()
        .rposition(|module| module.name() == "Dense")?;
    let (before, behind) = modules.split_at(last + 1);
    let has_no_effect = |module: &Module| WITHOUT_EFFECT.contains(&module.name());
    let mut dense = Vec::new();
    for module in before.iter().filter(|module| module.name() != "Dropout") {
        // No path leaves the model's directory.
        let path: RepoPath = module.path.trim_end_matches('/').parse().ok()?;
        if module.name() != "Dense" {
            return None;
        }
        dense.push(path.as_str().to_owned());
    }
    behind.iter().all(has_no_effect).then_some(dense)
}

/// The width of a Dense module's vectors.
fn width(files: &ModelFiles, module: &Module) -> Result<Option<usize>, EmbedError> {
    let Some(file) = module.config() else {
        return Ok(None);
    };
    let config = files.json::<Map<String, Value>>(&file)?.unwrap_or_default();
    let width = config.get("out_features").and_then(Value::as_u64);
    Ok(width.and_then(|width| usize::try_from(width).ok()))
}

/// What a pooling file says; `label` is its name for people.
fn of_file(file: &Map<String, Value>, label: &str) -> Result<Pooling, EmbedError> {
    let modes: Vec<&str> = match file.get("pooling_mode").and_then(|m| m.as_str()) {
        Some(mode) => vec![mode],
        None => file
            .iter()
            .filter(|(_, on)| on.as_bool() == Some(true))
            .filter_map(|(key, _)| key.strip_prefix("pooling_mode_"))
            .collect(),
    };
    match modes.as_slice() {
        ["lasttoken"] => Ok(Pooling::LastToken),
        // The last token is never the prompt's, but a mean would have to leave the prompt out.
        _ if file.get("include_prompt").and_then(|p| p.as_bool()) == Some(false) => Err(
            EmbedError::Unsupported(format!("{label}: include_prompt false is not supported")),
        ),
        ["mean_tokens" | "mean"] => Ok(Pooling::Mean),
        ["cls_token" | "cls"] => Ok(Pooling::Cls),
        ["max_tokens" | "max"] => Ok(Pooling::Max),
        ["mean_sqrt_len_tokens"] => Ok(Pooling::MeanSqrtLen),
        ["weightedmean_tokens" | "weightedmean"] => Ok(Pooling::WeightedMean),
        [] => Err(EmbedError::Contradiction {
            file: label.to_owned(),
            message: "it turns no pooling mode on".to_owned(),
        }),
        other => Err(EmbedError::Unsupported(format!(
            "{label}: pooling {} is not supported (lasttoken, mean, cls, max, mean_sqrt_len_tokens and \
             weightedmean are, each alone)",
            other.join(" + ")
        ))),
    }
}

/// Published families by what their names begin with, as their `1_Pooling/config.json` has it on the
/// hub: exports for other programs often lack that file. The first that fits counts.
const FAMILIES: [(&str, Pooling); 33] = [
    ("bge-en-icl", Pooling::LastToken),
    ("bge-multilingual-gemma2", Pooling::LastToken),
    ("bge-", Pooling::Cls),
    ("e5-mistral", Pooling::LastToken),
    ("e5-", Pooling::Mean),
    ("multilingual-e5-", Pooling::Mean),
    ("gte-qwen", Pooling::LastToken),
    ("gte-small", Pooling::Mean),
    ("gte-base-en-v1.5", Pooling::Cls),
    ("gte-large-en-v1.5", Pooling::Cls),
    ("gte-base", Pooling::Mean),
    ("gte-large", Pooling::Mean),
    ("gte-multilingual-base", Pooling::Cls),
    ("gte-modernbert-base", Pooling::Cls),
    ("all-minilm-", Pooling::Mean),
    ("all-mpnet-base-", Pooling::Mean),
    ("all-distilroberta-", Pooling::Mean),
    ("paraphrase-minilm-", Pooling::Mean),
    ("paraphrase-mpnet-", Pooling::Mean),
    ("paraphrase-multilingual-", Pooling::Mean),
    ("multi-qa-minilm-l6-cos-v1", Pooling::Mean),
    ("multi-qa-mpnet-base-dot-v1", Pooling::Cls),
    ("mxbai-embed-large-v1", Pooling::Cls),
    ("snowflake-arctic-embed-", Pooling::Cls),
    ("nomic-embed-text-", Pooling::Mean),
    ("modernbert-embed-base", Pooling::Mean),
    ("granite-embedding-", Pooling::Cls),
    ("jina-embeddings-v2-", Pooling::Mean),
    ("jina-embeddings-v3", Pooling::Mean),
    ("embeddinggemma-", Pooling::Mean),
    ("qwen3-embedding-", Pooling::LastToken),
    ("uae-large-v1", Pooling::Cls),
    ("labse", Pooling::Cls),
];

/// Architectures whose embedders are all pooled by the last token, as their authors publish them.
const LAST_TOKEN: [&str; 3] = ["qwen3", "qwen2", "mistral"];

/// What is known of a model without a pooling file.
fn of_family(config: &Config, id: &str) -> (Pooling, PoolingFrom) {
    // Exporters write the name of the model that they have exported.
    let names = config.name_or_path.iter().map(String::as_str).chain([id]);
    let names = names.map(|name| name.rsplit('/').next().unwrap_or_default().to_lowercase());
    for name in names {
        let mut families = FAMILIES.iter();
        if let Some((_, pooling)) = families.find(|(start, _)| name.starts_with(start)) {
            return (*pooling, PoolingFrom::Family);
        }
    }
    let looks_both_ways =
        config.is_causal == Some(false) || config.use_bidirectional_attention == Some(true);
    let model_type = config.model_type.as_deref().unwrap_or_default();
    let mut architectures = config.architectures.iter();
    if looks_both_ways {
        (Pooling::Mean, PoolingFrom::Guess)
    } else if LAST_TOKEN.contains(&model_type) {
        (Pooling::LastToken, PoolingFrom::Family)
    } else if architectures.any(|a| a.ends_with("ForCausalLM")) {
        (Pooling::LastToken, PoolingFrom::Guess)
    } else {
        (Pooling::Mean, PoolingFrom::Guess)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head_of(files: &[(&str, &str)]) -> Result<Head, EmbedError> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let files = ModelFiles::at("m".to_owned(), dir.path().to_owned(), None);
        let config = files.json("config.json")?.unwrap_or_default();
        head(&files, &config)
    }

    fn pooling(files: &[(&str, &str)]) -> Result<(Pooling, PoolingFrom), EmbedError> {
        head_of(files).map(|head| (head.pooling, head.from))
    }

    const DECODER: (&str, &str) = ("config.json", r#"{"architectures": ["Qwen3ForCausalLM"]}"#);

    #[test]
    fn the_pooling_file_says_it() {
        let cls = r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false, "include_prompt": true}"#;
        let of_file = |json| pooling(&[DECODER, (POOLING, json)]);
        assert_eq!(of_file(cls).unwrap(), (Pooling::Cls, PoolingFrom::File));
        let (last, _) = of_file(r#"{"pooling_mode": "lasttoken"}"#).unwrap();
        assert_eq!(last, Pooling::LastToken);
        for (json, expected) in [
            (
                r#"{"pooling_mode_mean_tokens": false, "pooling_mode_max_tokens": true}"#,
                Pooling::Max,
            ),
            (
                r#"{"pooling_mode_mean_sqrt_len_tokens": true}"#,
                Pooling::MeanSqrtLen,
            ),
            (
                r#"{"pooling_mode_weightedmean_tokens": true}"#,
                Pooling::WeightedMean,
            ),
            (r#"{"pooling_mode": "max"}"#, Pooling::Max),
            (
                r#"{"pooling_mode": "mean_sqrt_len_tokens"}"#,
                Pooling::MeanSqrtLen,
            ),
            (r#"{"pooling_mode": "weightedmean"}"#, Pooling::WeightedMean),
        ] {
            assert_eq!(of_file(json).unwrap(), (expected, PoolingFrom::File));
        }
        let two = r#"{"pooling_mode_cls_token": true, "pooling_mode_max_tokens": true}"#;
        let error = of_file(two).unwrap_err().to_string();
        assert!(error.contains("cls_token + max_tokens"), "{error}");
        let mean = r#"{"pooling_mode_mean_tokens": true, "include_prompt": false}"#;
        let error = of_file(mean).unwrap_err().to_string();
        assert!(error.contains("include_prompt"), "{error}");
    }

    #[test]
    fn the_list_of_modules_says_where_the_pooling_file_is() {
        let modules =
            r#"[{"type": "a.Transformer", "path": ""}, {"type": "b.Pooling", "path": "2_Pool"}]"#;
        let (cls, mean) = (r#"{"pooling_mode": "cls"}"#, r#"{"pooling_mode": "mean"}"#);
        let files = [
            (MODULES, modules),
            ("2_Pool/config.json", cls),
            (POOLING, mean),
        ];
        assert_eq!(pooling(&files).unwrap(), (Pooling::Cls, PoolingFrom::File));
        assert_eq!(
            pooling(&files[2..]).unwrap(),
            (Pooling::Mean, PoolingFrom::File)
        );
    }

    #[test]
    fn without_a_file_the_family_counts_and_then_it_is_a_guess() {
        let of_config = |json: &str| pooling(&[("config.json", json)]).unwrap();
        let (last, mean, cls) = (Pooling::LastToken, Pooling::Mean, Pooling::Cls);
        assert_eq!(
            of_config(r#"{"model_type": "qwen3", "architectures": ["Qwen3Model"]}"#),
            (last, PoolingFrom::Family)
        );
        for (name, pooling) in [
            ("BAAI/bge-small-en-v1.5", cls),
            ("BAAI/bge-m3", cls),
            ("BAAI/bge-en-icl", last),
            ("intfloat/multilingual-e5-small", mean),
            ("intfloat/e5-mistral-7b-instruct", last),
            ("sentence-transformers/all-MiniLM-L6-v2", mean),
            ("thenlper/gte-base", mean),
            ("Alibaba-NLP/gte-base-en-v1.5", cls),
        ] {
            let config = format!(r#"{{"model_type": "bert", "_name_or_path": "{name}"}}"#);
            assert_eq!(of_config(&config), (pooling, PoolingFrom::Family), "{name}");
        }
        let guess = |pooling| (pooling, PoolingFrom::Guess);
        assert_eq!(of_config(r#"{"model_type": "bert"}"#), guess(mean));
        assert_eq!(
            of_config(r#"{"_name_or_path": "me/bert-base"}"#),
            guess(mean)
        );
        assert_eq!(
            of_config(r#"{"model_type": "qwen3", "is_causal": false}"#),
            guess(mean)
        );
        assert_eq!(
            of_config(r#"{"architectures": ["NewForCausalLM"]}"#),
            guess(last)
        );
        assert_eq!(pooling(&[]).unwrap(), guess(mean));
    }

    #[test]
    fn what_follows_the_pooling_is_kept_and_what_changes_nothing_is_not() {
        let after = |modules: &str| {
            let dense = r#"{"in_features": 8, "out_features": 4}"#;
            head_of(&[(MODULES, modules), ("2_Dense/config.json", dense)]).map(|head| head.after)
        };
        let dense = r#"[{"type": "a.Pooling", "path": "1_Pooling"}, {"type": "a.Dense", "path": "2_Dense"},
                        {"type": "a.Normalize", "path": "3_Normalize"}]"#;
        let expected = AfterPooling {
            module: "Dense".to_owned(),
            width: Some(4),
            dense: Some(vec!["2_Dense".to_owned()]),
        };
        assert_eq!(after(dense).unwrap(), Some(expected));
        let layers = |modules: &str| after(modules).unwrap().unwrap().dense;
        let normalized = r#"[{"type": "a.Pooling"}, {"type": "a.Normalize"}, {"type": "a.Dense", "path": "2_Dense"}]"#;
        assert_eq!(layers(normalized), None);
        let other =
            r#"[{"type": "a.Pooling"}, {"type": "a.Dense", "path": "2_Dense"}, {"type": "a.CNN"}]"#;
        assert_eq!(layers(other), None);
        let outside = r#"[{"type": "a.Pooling"}, {"type": "a.Dense", "path": "../2_Dense"}]"#;
        assert_eq!(layers(outside), None);
        let nothing =
            r#"[{"type": "a.Transformer"}, {"type": "a.Pooling"}, {"type": "a.Normalize"}]"#;
        assert_eq!(after(nothing).unwrap(), None);
        assert_eq!(
            after(r#"[{"type": "a.StaticEmbedding"}, {"type": "a.Normalize"}]"#).unwrap(),
            None
        );
        let cnn = r#"[{"type": "a.Transformer"}, {"type": "a.CNN"}, {"type": "a.Pooling"}]"#;
        let error = after(cnn).unwrap_err().to_string();
        assert!(error.contains("a.CNN"), "{error}");
    }
}
