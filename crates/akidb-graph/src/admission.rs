//! Whether a run may begin: the files that it reads are as they were, and memory suffices.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use akidb_backend::{BackendError, BackendErrorKind};
use akidb_onnx::MappedFiles;
use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::run_memory::{Peak, RunInput, RunMemory};

use crate::available_memory::available_memory;
use crate::inputs::{ElementType, Input, Inputs, Role};
use crate::layout::TextLayout;

/// Most bytes between the nodes of a run, weights aside. With 32 heads, the scores of 4096 tokens
/// have 2 GiB, of which a few are held at once.
const MAX_RUN_BYTES: u64 = 16 << 30;

/// Runs that hold less are not compared with the memory that is available.
const SMALL: u64 = 64 << 20;

/// Most shapes whose memory is remembered.
const MAX_SHAPES: usize = 4096;

/// What must be known of a graph before it runs on texts of some number and length.
#[derive(Debug)]
pub struct Admission {
    memory: RunMemory,
    inputs: Vec<Input>,
    layout: TextLayout,
    files: MappedFiles,
    /// What runs of this many texts and tokens hold.
    known: Mutex<HashMap<(usize, usize), Peak>>,
}

impl Admission {
    /// For an engine that computes what `output` needs, and has no operators that are not known here.
    pub fn of_output(onnx: &OnnxModel, inputs: &Inputs, output: &str) -> Self {
        Self::new(RunMemory::of_output(onnx, output), onnx, inputs)
    }

    /// For an engine that computes all nodes, and may have operators that are not known here.
    pub fn of_all(onnx: &OnnxModel, inputs: &Inputs) -> Self {
        Self::new(RunMemory::of_all(onnx), onnx, inputs)
    }

    fn new(memory: RunMemory, onnx: &OnnxModel, inputs: &Inputs) -> Self {
        Self {
            memory,
            inputs: inputs.known.clone(),
            layout: inputs.layout,
            files: files(onnx, None),
            known: Mutex::default(),
        }
    }

    /// Whether `texts` texts, the longest of `tokens` tokens, may run now.
    ///
    /// # Errors
    /// `Failed` when a file was changed since it was opened, or less memory is available than the run
    /// needs; `UnsupportedModel` when it needs more than any run may have, or that can't be told.
    pub fn check(&self, texts: usize, tokens: usize) -> Result<(), BackendError> {
        check_files(&self.files)?;
        check_memory(&self.peak(texts, tokens)?, texts, tokens)
    }

    fn peak(&self, texts: usize, tokens: usize) -> Result<Peak, BackendError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(peak) = known.get(&(texts, tokens)) {
            return Ok(peak.clone());
        }
        let inputs = self
            .inputs
            .iter()
            .map(|input| run_input(input, self.layout, texts, tokens));
        let inputs: Vec<RunInput<'_>> = inputs.collect();
        let peak = peak(&self.memory, &inputs, texts, tokens)?;
        if known.len() >= MAX_SHAPES {
            known.clear();
        }
        known.insert((texts, tokens), peak.clone());
        Ok(peak)
    }
}

/// What must be known of a graph that runs in one shape only.
#[derive(Debug)]
pub struct FixedAdmission {
    texts: usize,
    tokens: usize,
    peak: Peak,
    files: MappedFiles,
}

impl FixedAdmission {
    /// For an engine that computes all nodes of the graph, on inputs for `texts` texts of `tokens` tokens,
    /// and reads `table` beside it.
    ///
    /// # Errors
    /// As [`Admission::check`].
    pub fn of_all(
        onnx: &OnnxModel,
        inputs: &[RunInput<'_>],
        (texts, tokens): (usize, usize),
        table: &[u8],
    ) -> Result<Self, BackendError> {
        let this = Self {
            texts,
            tokens,
            peak: peak(&RunMemory::of_all(onnx), inputs, texts, tokens)?,
            files: files(onnx, Some(table)),
        };
        this.check()?;
        Ok(this)
    }

    /// Whether it may run now.
    ///
    /// # Errors
    /// `Failed`, as [`Admission::check`].
    pub fn check(&self) -> Result<(), BackendError> {
        check_files(&self.files)?;
        check_memory(&self.peak, self.texts, self.tokens)
    }
}

fn check_files(files: &MappedFiles) -> Result<(), BackendError> {
    files.check_unchanged().map_err(|error| {
        let what = "the weights can't be read any more";
        BackendError::new(BackendErrorKind::Failed, what).with_source(error)
    })
}

fn check_memory(peak: &Peak, texts: usize, tokens: usize) -> Result<(), BackendError> {
    if peak.bytes <= SMALL {
        return Ok(());
    }
    match available_memory() {
        Some(available) if peak.bytes > available => Err(BackendError::new(
            BackendErrorKind::Failed,
            format!(
                "{texts} texts of {tokens} tokens need {} MB at node {}, {} MB of memory are available",
                peak.bytes / 1_000_000,
                peak.node,
                available / 1_000_000
            ),
        )),
        _ => Ok(()),
    }
}

fn peak(
    memory: &RunMemory,
    inputs: &[RunInput<'_>],
    texts: usize,
    tokens: usize,
) -> Result<Peak, BackendError> {
    memory.peak(inputs, MAX_RUN_BYTES).map_err(|error| {
        let what = format!("{texts} texts of {tokens} tokens can't be run: {error}");
        BackendError::new(BackendErrorKind::UnsupportedModel, what)
    })
}

fn run_input(input: &Input, layout: TextLayout, texts: usize, tokens: usize) -> RunInput<'_> {
    let (_, length) = layout.grid(texts, tokens);
    let total = texts.saturating_mul(tokens);
    let below = |size: usize| i64::try_from(size.saturating_sub(1)).ok();
    let most = match input.role {
        // Any number below 2³¹: the graph may compute with them.
        Role::InputIds | Role::Task { .. } => Some(i64::from(i32::MAX)),
        Role::AttentionMask => Some(1),
        Role::PositionIds => below(length),
        Role::TokenTypeIds => Some(0),
        Role::Offsets => below(total),
        Role::PastKeyValues { .. } => None,
    };
    RunInput {
        name: &input.name,
        dims: input.shape(layout, texts, tokens, total),
        elem_type: match input.element {
            ElementType::I32 | ElementType::I64 => DataType::Int64,
            ElementType::F32 | ElementType::F16 => DataType::Float,
            ElementType::Bool => DataType::Bool,
        },
        most,
    }
}

/// The files that engines map for a graph's external data, and that of a table beside it.
fn files(onnx: &OnnxModel, table: Option<&[u8]>) -> MappedFiles {
    // What can't be read is refused when it is loaded.
    let external = onnx.external_tensors().into_iter();
    let tensors: Vec<_> = external
        .filter_map(|proto| onnx.tensor(proto).ok())
        .collect();
    let data = tensors.iter().map(|tensor| tensor.data().as_ref());
    MappedFiles::holding(data.chain(table))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::options::OutputChoice;
    use crate::output::Output;

    /// As many tokens as engines are given at once, in short texts and in one long one, and few.
    const SHAPES: [(usize, usize); 5] = [(1, 1), (1, 3), (2, 3), (128, 32), (1, 4096)];

    fn open(path: &Path) -> (OnnxModel, Inputs, String) {
        let onnx = OnnxModel::open(path).unwrap();
        let inputs = Inputs::of(&onnx, Some(16)).unwrap();
        let output = Output::of(&onnx, &OutputChoice::Likely).unwrap();
        (onnx, inputs, output.name)
    }

    #[test]
    fn sound_models_are_admitted() {
        let mut files: Vec<PathBuf> = [
            "tiny/onnx/model.onnx",
            "tiny-external/onnx/model.onnx",
            "tiny-f16/onnx/model_fp16.onnx",
            "tiny-gqa/onnx/model.onnx",
            "tiny-opset23/onnx/model.onnx",
            "tiny-opset23/onnx/model_qdq.onnx",
            "tiny-quantized/onnx/model_bnb4.onnx",
            "tiny-quantized/onnx/model_gqa.onnx",
            "tiny-quantized/onnx/model_int8.onnx",
            "tiny-quantized/onnx/model_mixed.onnx",
            "tiny-quantized/onnx/model_q4f16.onnx",
        ]
        .map(akidb_testing::fixture)
        .into();
        files.push(akidb_testing::builtin_model_dir().join("onnx/model_fp16.onnx"));
        for file in files {
            let (onnx, inputs, output) = open(&file);
            let needed = Admission::of_output(&onnx, &inputs, &output);
            let all = Admission::of_all(&onnx, &inputs);
            for (texts, tokens) in SHAPES {
                let [needed, all] = [&needed, &all].map(|admission| {
                    let peak = admission.peak(texts, tokens);
                    peak.unwrap_or_else(|e| panic!("{}: {e}", file.display()))
                        .bytes
                });
                // At least the states of all tokens.
                let least = (texts * tokens * 28 * 4) as u64;
                assert!(
                    needed >= least || needed == 0,
                    "{}: {needed}",
                    file.display()
                );
                assert!(all >= needed, "{}: {all} {needed}", file.display());
            }
        }
    }

    /// Its scores are the most that a run holds: 4 heads, and they are masked and scaled.
    #[test]
    fn memory_grows_with_the_square_of_the_length() {
        let (onnx, inputs, output) = open(&akidb_testing::fixture("tiny/onnx/model.onnx"));
        let admission = Admission::of_output(&onnx, &inputs, &output);
        let scores = 4 * 4 * 2048 * 2048;
        let bytes = admission.peak(1, 2048).unwrap().bytes;
        assert!((2 * scores..5 * scores).contains(&bytes), "{bytes}");
    }

    #[test]
    fn more_than_any_run_may_hold_is_refused() {
        let (onnx, inputs, output) = open(&akidb_testing::fixture("tiny/onnx/model.onnx"));
        let admission = Admission::of_output(&onnx, &inputs, &output);
        let error = admission.check(1, 1 << 17).unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::UnsupportedModel);
        assert!(
            error.to_string().contains("would be held in memory"),
            "{error}"
        );
    }
}
