//! One run of the graph: token ids in, pooled rows out.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use akidb_backend::{BackendError, BackendErrorKind, Pooling};
use akidb_graph::{
    Admission, ElementType, GraphOptions, Input, Inputs, Output, Rows, Runner, TextLayout, Texts,
};
use akidb_onnx::model::OnnxModel;
use half::f16;
use ort::session::{
    HasSelectedOutputs, OutputSelector, RunOptions, Session, SessionInputValue, SessionOutputs,
};
use ort::value::{PrimitiveTensorElementType, Tensor};

/// A graph in ONNX Runtime.
#[derive(Debug)]
pub(crate) struct OnnxRuntimeRunner {
    /// One run at a time: it uses all threads, and not every provider can run two.
    session: Mutex<Session>,
    inputs: Vec<Input>,
    layout: TextLayout,
    output: Output,
    pooling: Pooling,
    admission: Arc<Admission>,
}

/// What a graph takes and gives, by its file.
#[derive(Debug, Clone)]
pub(crate) struct Interface {
    inputs: Vec<Input>,
    layout: TextLayout,
    output: Output,
    admission: Arc<Admission>,
}

impl Interface {
    /// # Errors
    /// When an input's meaning is unknown (ONNX Runtime wants them all), no output is an embedding,
    /// or a single token needs too much memory: loading computes what depends on no input.
    pub(crate) fn of(onnx: &OnnxModel, graph: &GraphOptions) -> Result<Self, BackendError> {
        let inputs = Inputs::of(onnx, graph.head_dim)?;
        if !inputs.unknown.is_empty() {
            return Err(BackendError::new(
                BackendErrorKind::UnsupportedModel,
                format!(
                    "the meaning of these inputs is unknown: {}",
                    inputs.unknown.join(", ")
                ),
            ));
        }
        let output = Output::of(onnx, &graph.output)?;
        let admission = Admission::of_all(onnx, &inputs);
        admission.check(1, 1)?;
        Ok(Self {
            layout: inputs.layout,
            inputs: inputs.known,
            output,
            admission: Arc::new(admission),
        })
    }
}

impl OnnxRuntimeRunner {
    pub(crate) fn new(session: Session, interface: Interface, pooling: Pooling) -> Self {
        Self {
            session: Mutex::new(session),
            inputs: interface.inputs,
            layout: interface.layout,
            output: interface.output,
            admission: interface.admission,
            pooling,
        }
    }

    fn unsupported(&self, what: &str) -> BackendError {
        BackendError::new(
            BackendErrorKind::UnsupportedModel,
            format!("output {:?} {what}", self.output.name),
        )
    }

    fn pool(&self, outputs: &SessionOutputs<'_>, texts: &[&[u32]]) -> Result<Rows, BackendError> {
        let value = outputs
            .get(&self.output.name)
            .ok_or_else(|| self.unsupported("is not given"))?;
        let rows = |shape: &[i64], data: &[f32]| {
            let sizes = shape.iter().map(|size| usize::try_from(*size));
            let shape: Vec<usize> = sizes
                .collect::<Result<_, _>>()
                .map_err(|_| self.unsupported("has a negative size"))?;
            let name = &self.output.name;
            Rows::of_output(name, &shape, data, texts, self.layout, self.pooling)
        };
        if let Ok((shape, data)) = value.try_extract_tensor::<f32>() {
            return rows(shape, data);
        }
        if let Ok((shape, data)) = value.try_extract_tensor::<f16>() {
            let wide: Vec<f32> = data.iter().map(|x| x.to_f32()).collect();
            return rows(shape, &wide);
        }
        let width = |shape: &[i64]| {
            let width = shape.last().and_then(|&size| usize::try_from(size).ok());
            width.unwrap_or(0)
        };
        if let Ok((shape, codes)) = value.try_extract_tensor::<u8>() {
            return rows(shape, &self.output.numbers(codes, width(shape))?);
        }
        match value.try_extract_tensor::<i8>() {
            Ok((shape, codes)) => rows(shape, &self.output.numbers(codes, width(shape))?),
            Err(_) => Err(self.unsupported("is not a tensor of f32, f16 or 8-bit integers")),
        }
    }
}

impl Runner for OnnxRuntimeRunner {
    fn layout(&self) -> TextLayout {
        self.layout
    }

    fn run(&self, texts: &Texts<'_>) -> Result<Rows, BackendError> {
        self.admission.check(texts.ids.len(), texts.longest())?;
        let mut values = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            let value = value(input, self.layout, texts)?;
            values.push((Cow::Borrowed(input.name.as_str()), value));
        }
        let wanted = OutputSelector::no_default().with(&self.output.name);
        let options: RunOptions<HasSelectedOutputs> =
            RunOptions::new().map_err(failed)?.with_outputs(wanted);
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run_with_options(values, &options).map_err(failed)?;
        self.pool(&outputs, texts.ids)
    }
}

/// Why a run failed.
pub(crate) fn failed(error: ort::Error) -> BackendError {
    BackendError::new(BackendErrorKind::Failed, format!("ONNX Runtime: {error}"))
}

fn value(
    input: &Input,
    layout: TextLayout,
    texts: &Texts<'_>,
) -> Result<SessionInputValue<'static>, BackendError> {
    Ok(match input.element {
        ElementType::I64 => made(input.tensor(layout, texts, i64::from)?)?,
        ElementType::I32 => made(input.tensor(layout, texts, u32::cast_signed)?)?,
        ElementType::F32 => made(input.tensor(layout, texts, |x| x as f32)?)?,
        ElementType::F16 => made(input.tensor(layout, texts, |x| f16::from_f32(x as f32))?)?,
        ElementType::Bool => made(input.tensor(layout, texts, |x| x != 0)?)?,
    })
}

fn made<T: PrimitiveTensorElementType + Debug + Clone + 'static>(
    (shape, data): (Vec<usize>, Vec<T>),
) -> Result<SessionInputValue<'static>, BackendError> {
    Ok(Tensor::from_array((shape, data)).map_err(failed)?.into())
}
