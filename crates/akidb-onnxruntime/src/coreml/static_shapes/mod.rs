//! The backend for graphs of fixed shapes.

mod plan;
mod session;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::coreml::{Precision, StaticFiles, StaticGraph, StaticShape, read};
use akidb_backend::{
    Backend, BackendError, BackendErrorKind, BackendInfo, GraphInterface, Pooling, TokenBatch,
};
use akidb_graph::{catch_panic, check_call};
use akidb_transformer::EmbeddingTable;

use crate::error::OnnxRuntimeError;
use crate::library::Library;
use crate::model::NAME;
use crate::options::OnnxRuntimeOptions;
use crate::provider::Provider;
use crate::session::load;
use crate::source::{Source, invalid};
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
    /// manifest, `UnsupportedModel` when ONNX Runtime can't load a graph, or the model is pooled in
    /// another way than by its last token.
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
        } = read(path).map_err(invalid)?;
        let sources: Vec<(StaticShape, Source)> = graphs
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
            sessions: Mutex::new(sessions),
            fallback,
        })
    }

    /// Why another provider than the preferred one runs the model, where that is so.
    pub fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }
}

fn source(graph: StaticGraph) -> Result<(StaticShape, Source), BackendError> {
    let path = graph.model.path().map(Path::to_owned).unwrap_or_default();
    Ok((graph.shape, Source::opened(graph.model, &path)?))
}

fn sessions(
    library: &'static Library,
    sources: &[(StaticShape, Source)],
    options: &OnnxRuntimeOptions,
    provider: &Provider,
) -> Result<Vec<StaticSession>, OnnxRuntimeError> {
    let load = |(shape, source): &(StaticShape, Source)| {
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
