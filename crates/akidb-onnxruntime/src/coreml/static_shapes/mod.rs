//! The backend for graphs of fixed shapes.

mod plan;
mod session;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::coreml::{
    INPUTS_EMBEDS, LAST_TOKEN, Precision, StaticFiles, StaticGraph, StaticShape, read,
};
use akidb_backend::{
    Backend, BackendError, BackendErrorKind, BackendInfo, GraphInterface, Pooling, TokenBatch,
};
use akidb_graph::{FixedAdmission, GraphSource, catch_panic, check_call, invalid_model};
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::run_memory::RunInput;
use akidb_transformer::EmbeddingTable;

use crate::error::OnnxRuntimeError;
use crate::external::check_external;
use crate::library::Library;
use crate::model::NAME;
use crate::options::OnnxRuntimeOptions;
use crate::provider::Provider;
use crate::session::load;
use plan::{Run, plan};
use session::StaticSession;

/// A decoder as [`write`](super::write()) writes it, one graph a shape, in ONNX Runtime.
///
/// Each text has a row of its own in a graph's batch and begins that row, so that it sees neither
/// other texts nor the padding behind it. Texts of one call are given to the shapes in which they
/// cost the fewest tokens, padding included. The longest shape is the longest text.
#[derive(Debug)]
pub struct StaticShapeModel {
    embed_tokens: EmbeddingTable,
    shapes: Vec<StaticShape>,
    /// One a shape.
    admissions: Vec<FixedAdmission>,
    /// One a shape. One run at a time: it uses all threads.
    sessions: Mutex<Vec<StaticSession>>,
    info: BackendInfo,
    fallback: Option<String>,
}

impl StaticShapeModel {
    /// Loads all graphs that the manifest at `path` names, and runs the smallest on one token.
    ///
    /// # Errors
    /// When the provider that was named isn't in the library or can't be started, and
    /// [`OnnxRuntimeError::Model`] of kind `InvalidModel` when a file is broken or contradicts the
    /// manifest, `UnsupportedModel` when ONNX Runtime can't load a graph, a run would need more memory
    /// than any may or that can't be told, or the model is pooled in another way than by its last token.
    pub fn load(
        library: &'static Library,
        path: &Path,
        options: &OnnxRuntimeOptions,
    ) -> Result<Self, OnnxRuntimeError> {
        if options.graph.pooling != Pooling::LastToken {
            return Err(BackendError::new(
                BackendErrorKind::UnsupportedModel,
                format!(
                    "graphs of fixed shapes give the last token's state, the model wants {} pooling",
                    options.graph.pooling
                ),
            )
            .into());
        }
        let StaticFiles {
            manifest,
            embed_tokens,
            graphs,
        } = read(path).map_err(invalid_model)?;
        let admissions: Vec<FixedAdmission> = graphs
            .iter()
            .map(|graph| admission(graph, &embed_tokens))
            .collect::<Result<_, BackendError>>()?;
        let sources: Vec<(StaticShape, GraphSource)> = graphs
            .into_iter()
            .map(source)
            .collect::<Result<_, BackendError>>()?;
        let ((sessions, device), fallback) = options.provider.first(library, |provider| {
            let mut sessions = sessions(library, &sources, options, provider)?;
            if let Some(smallest) = sessions.first_mut() {
                let run = || smallest.run(&[&[0]], &embed_tokens);
                catch_panic(NAME, "running the model", run)?;
            }
            Ok((sessions, provider.device()))
        })?;
        let shapes: Vec<StaticShape> = sources.iter().map(|(shape, _)| *shape).collect();
        let names: Vec<String> = shapes.iter().map(StaticShape::to_string).collect();
        let longest = shapes.iter().map(|shape| shape.sequence).max();
        Ok(Self {
            info: BackendInfo {
                backend: "onnxruntime",
                precision: match manifest.precision {
                    Precision::F16 => "f16",
                    _ => "f32",
                },
                device: format!("{device}, shapes {}", names.join(" ")),
                hidden_size: embed_tokens.hidden_size(),
                vocab_size: Some(embed_tokens.vocab_size()),
                max_tokens: [longest, options.graph.max_tokens]
                    .into_iter()
                    .flatten()
                    .min(),
                pooling: Pooling::LastToken,
                graph: GraphInterface::default(),
            },
            embed_tokens,
            shapes,
            admissions,
            sessions: Mutex::new(sessions),
            fallback,
        })
    }

    /// Why another provider than the preferred one runs the model, where that is so.
    pub fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }
}

/// What must be known before a graph runs: loading computes what depends on no input.
fn admission(
    graph: &StaticGraph,
    embed_tokens: &EmbeddingTable,
) -> Result<FixedAdmission, BackendError> {
    let StaticShape { batch, sequence } = graph.shape;
    let input = |name, dims| RunInput {
        name,
        dims,
        elem_type: DataType::Float,
        most: None,
    };
    let inputs = [
        input(
            INPUTS_EMBEDS,
            vec![batch, sequence, embed_tokens.hidden_size()],
        ),
        input(LAST_TOKEN, vec![batch, 1, sequence]),
    ];
    let table = embed_tokens.tensor().data();
    FixedAdmission::of_all(&graph.model, &inputs, (batch, sequence), table)
}

fn source(graph: StaticGraph) -> Result<(StaticShape, GraphSource), BackendError> {
    let path = graph.model.path().map(Path::to_owned).unwrap_or_default();
    check_external(&graph.model)?;
    Ok((graph.shape, GraphSource::opened(graph.model, &path)))
}

fn sessions(
    library: &'static Library,
    sources: &[(StaticShape, GraphSource)],
    options: &OnnxRuntimeOptions,
    provider: &Provider,
) -> Result<Vec<StaticSession>, OnnxRuntimeError> {
    let load = |(shape, source): &(StaticShape, GraphSource)| {
        let loaded = catch_panic(NAME, "loading the model", || {
            Ok(load(library, source, options, provider))
        });
        Ok(StaticSession {
            shape: *shape,
            session: loaded??,
        })
    };
    sources.iter().map(load).collect()
}

impl Backend for StaticShapeModel {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn forward(&self, batch: &TokenBatch, out: &mut [f32]) -> Result<(), BackendError> {
        check_call(&self.info, batch, out.len())?;
        let width = self.info.hidden_size;
        let lengths: Vec<usize> = batch.iter().map(<[u32]>::len).collect();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        for Run { shape, texts } in plan(&lengths, &self.shapes) {
            self.admissions[shape].check()?;
            let ids: Vec<&[u32]> = texts.iter().map(|&text| batch.text(text)).collect();
            let session = &mut sessions[shape];
            let run = || session.run(&ids, &self.embed_tokens);
            let rows = catch_panic(NAME, "running the model", run)?;
            for (row, &text) in rows.chunks_exact(width).zip(&texts) {
                out[text * width..][..width].copy_from_slice(row);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use akidb_onnx::model::OnnxModel;
    use akidb_transformer::recognise;

    use super::*;
    use crate::coreml::{MANIFEST, Manifest, WriteOptions, write};

    /// The built-in model in two shapes.
    fn written(directory: &Path) -> (Manifest, StaticFiles) {
        let file = akidb_testing::builtin_model_dir().join("onnx/model_fp16.onnx");
        let decoder = recognise(&OnnxModel::open(&file).unwrap(), None).unwrap();
        let shapes = ["1x32", "1x512"];
        let options = WriteOptions {
            precision: Precision::F32,
            shapes: shapes.iter().map(|shape| shape.parse().unwrap()).collect(),
            source: String::new(),
        };
        let manifest = write(&decoder, &options, directory).unwrap();
        let files = read(&directory.join(MANIFEST)).unwrap();
        (manifest, files)
    }

    #[test]
    fn a_graph_whose_files_change_is_not_run() {
        type Of = fn(&Manifest) -> &str;
        let files: [Of; 2] = [|m| &m.weights, |m| &m.embed_tokens.file];
        for file in files {
            let directory = tempfile::tempdir().unwrap();
            let (manifest, files) = written(directory.path());
            let admissions = files.graphs.iter();
            let admissions = admissions.map(|graph| admission(graph, &files.embed_tokens).unwrap());
            let admissions: Vec<FixedAdmission> = admissions.collect();
            assert!(admissions.iter().all(|admission| admission.check().is_ok()));
            let path = directory.path().join(file(&manifest));
            let mut changed = OpenOptions::new().append(true).open(path).unwrap();
            changed.write_all(b"more").unwrap();
            for admission in admissions {
                let error = admission.check().unwrap_err();
                assert_eq!(error.kind(), BackendErrorKind::Failed);
                let source = std::error::Error::source(&error).unwrap().to_string();
                assert!(source.contains(file(&manifest)), "{source}");
            }
        }
    }

    #[test]
    fn a_shape_that_needs_more_than_any_run_may_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (_, mut files) = written(directory.path());
        let graph = &mut files.graphs[0];
        graph.shape = StaticShape {
            batch: 1 << 20,
            sequence: 32,
        };
        let error = admission(graph, &files.embed_tokens).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::UnsupportedModel, "{error}");
    }
}
