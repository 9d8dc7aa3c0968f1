//! The native engine.

use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use akidb_backend::BackendErrorKind;
use akidb_kernels::Isa;
use akidb_models::external_files;
use akidb_native::{Engine, EngineOptions, PackedCache, SourceFile};
use akidb_onnx::ErrorKind;
use akidb_onnx::model::OnnxModel;
use akidb_transformer::{
    Dense, ModelConfig, ScoreLayer, Transformer, dense_from_safetensors, from_onnx,
    from_safetensors, scorer_from_onnx,
};
use bytes::Bytes;

use super::options::{BackendOptions, HeadInput, Loaded, for_onnxruntime};
use crate::env;
use crate::error::EmbedError;
use crate::model::{ModelFiles, PoolingFrom, Settings, Weights, WeightsSource};

/// The native engine, or why it doesn't know a model that may be sound.
pub(super) fn load(
    files: &ModelFiles,
    weights: &Weights,
    settings: &Settings,
    options: &BackendOptions,
    isa: Option<Isa>,
) -> Result<Result<Loaded, String>, EmbedError> {
    if let Some(architecture) = &settings.other_classifier
        && settings.scoring.is_none()
    {
        return Ok(Err(format!(
            "{architecture} is a classifier of other things than pairs with one label"
        )));
    }
    let (mut model, sources, scores) = match model(files, weights, settings) {
        Ok(found) => found,
        Err(EmbedError::Model(e))
            if matches!(
                e.kind(),
                ErrorKind::NotRecognised { .. }
                    | ErrorKind::Unsupported { .. }
                    | ErrorKind::UnsupportedModel(_)
            ) =>
        {
            return Ok(Err(e.to_string()));
        }
        Err(e) => return Err(e),
    };
    if let Some(output) = &options.output {
        return Ok(Err(format!("it takes no output by name, as {output:?} is")));
    }
    model.dense = match dense(files, settings) {
        Ok(dense) => dense,
        Err(reason) => return Ok(Err(reason)),
    };
    let pooled_in_graph = scores.is_some() && settings.is_classifier();
    let directory = options.packed_cache.clone();
    let directory = directory.unwrap_or_else(env::packed_weights_directory);
    let options = EngineOptions {
        threads: options.threads.and_then(NonZeroUsize::new),
        isa,
        precision: options.precision,
        pooling: (!pooled_in_graph).then_some(settings.pooling),
        no_prefix_cache: options.no_prefix_cache,
        packed_cache: directory
            .zip(sources)
            .map(|(directory, sources)| PackedCache::new(directory, sources)),
    };
    match Engine::new(&model, options) {
        Ok(engine) => Ok(Ok(Loaded {
            head_input: HeadInput::States(scores),
            ..Loaded::preferred(Box::new(engine))
        })),
        Err(e) if e.kind() == BackendErrorKind::UnsupportedModel => Ok(Err(e.to_string())),
        Err(source) => Err(EmbedError::Backend {
            backend: "native",
            source,
        }),
    }
}

/// The layers that follow a model's pooling, or why they can't be run.
fn dense(files: &ModelFiles, settings: &Settings) -> Result<Vec<Dense>, String> {
    let Some(after) = &settings.after_pooling else {
        return Ok(Vec::new());
    };
    let (Some(directories), Some(root)) = (&after.dense, files.root()) else {
        let module = &after.module;
        return Err(format!(
            "it has no module {module}, which follows the model's pooling"
        ));
    };
    let layers = directories
        .iter()
        .map(|directory| dense_from_safetensors(&root.join(directory)));
    layers
        .collect::<Result<_, _>>()
        .map_err(|e: akidb_onnx::Error| format!("it can't read what follows the pooling: {e}"))
}

/// A model, and the files that it comes from, unless a change of these couldn't be seen; the layers
/// that make its scores, where a graph has them.
type Found = (
    Transformer,
    Option<Vec<SourceFile>>,
    Option<Vec<ScoreLayer>>,
);

fn model(files: &ModelFiles, weights: &Weights, settings: &Settings) -> Result<Found, EmbedError> {
    let config = match files.model_config() {
        // A graph says what it computes, whatever its family.
        Err(e)
            if is_graph(&weights.source) && matches!(e.kind(), ErrorKind::Unsupported { .. }) =>
        {
            None
        }
        config => config?,
    };
    // Each file is looked at before it is opened, so that it isn't newer than what is read.
    match &weights.source {
        WeightsSource::Onnx(path) => {
            let file = SourceFile::new(path);
            let model = OnnxModel::open(path)?;
            let sources = source_files(file, &external_files(path, &model));
            check_pooling(&model, settings)?;
            let (found, scores) = of_graph(&model, config.as_ref(), settings)?;
            Ok((found, sources, scores))
        }
        WeightsSource::OnnxBytes(bytes) => {
            let model = OnnxModel::from_bytes(Bytes::from_static(bytes))?;
            check_pooling(&model, settings)?;
            let (found, scores) = of_graph(&model, config.as_ref(), settings)?;
            Ok((found, None, scores))
        }
        WeightsSource::Safetensors(path) => {
            let config = config.ok_or_else(|| files.missing("config.json"))?;
            let file = SourceFile::new(path);
            let shards = weights.files.split_last().map(|(_, shards)| shards);
            let sources = source_files(file, shards.unwrap_or_default());
            Ok((from_safetensors(path, &config)?, sources, None))
        }
        WeightsSource::CoreMl(_) => Err(EmbedError::Backend {
            backend: "native",
            source: for_onnxruntime("the native engine"),
        }),
    }
}

fn is_graph(source: &WeightsSource) -> bool {
    matches!(source, WeightsSource::Onnx(_) | WeightsSource::OnnxBytes(_))
}

/// A graph's model, with the layers that make scores where it does nothing else.
fn of_graph(
    model: &OnnxModel,
    config: Option<&ModelConfig>,
    settings: &Settings,
) -> Result<(Transformer, Option<Vec<ScoreLayer>>), akidb_onnx::Error> {
    let Some(scoring) = &settings.scoring else {
        return Ok((from_onnx(model, config)?, None));
    };
    match scorer_from_onnx(model, config) {
        Ok((found, layers)) => Ok((found, Some(layers))),
        // It may be no reranker.
        Err(_) if !scoring.certain => Ok((from_onnx(model, config)?, None)),
        Err(e) => Err(e),
    }
}

/// Refuses to guess how states are pooled where the graph knows.
fn check_pooling(model: &OnnxModel, settings: &Settings) -> Result<(), akidb_onnx::Error> {
    let mut outputs = model.outputs().iter();
    let pools = outputs.any(|output| output.name() == "sentence_embedding");
    if pools && settings.pooling_from == PoolingFrom::Guess {
        let why = "no file but the graph says how the model pools";
        return Err(ErrorKind::UnsupportedModel(why.to_owned()).into());
    }
    Ok(())
}

/// A file and those that belong to it; `None` where a change of one couldn't be seen.
fn source_files(file: io::Result<SourceFile>, others: &[PathBuf]) -> Option<Vec<SourceFile>> {
    let others = others.iter().map(|other| SourceFile::new(other));
    std::iter::once(file)
        .chain(others)
        .collect::<Result<_, _>>()
        .ok()
}
