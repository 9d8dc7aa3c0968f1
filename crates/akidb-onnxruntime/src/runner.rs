//! One run of the graph: token ids in, pooled rows out.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use akidb_backend::{BackendError, BackendErrorKind, Pooling};
use akidb_graph::{
    Admission, ElementType, GraphOptions, Input, Inputs, Padding, Role, Rows, Runner, output_name,
};
use akidb_onnx::model::OnnxModel;
use half::f16;
use ort::session::{
    HasSelectedOutputs, OutputSelector, RunOptions, Session, SessionInputValue, SessionOutputs,
};
use ort::value::Tensor;

/// A graph in ONNX Runtime.
#[derive(Debug)]
pub(crate) struct OnnxRuntimeRunner {
    /// One run at a time: it uses all threads, and not every provider can run two.
    session: Mutex<Session>,
    inputs: Vec<Input>,
    output: String,
    pooling: Pooling,
    admission: Arc<Admission>,
}

/// What a graph takes and gives, by its file.
#[derive(Debug, Clone)]
pub(crate) struct Interface {
    inputs: Vec<Input>,
    output: String,
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
        let output = output_name(onnx, graph.output.as_deref())?;
        let admission = Admission::of_all(onnx, &inputs);
        admission.check(1, 1)?;
        Ok(Self {
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
            output: interface.output,
            admission: interface.admission,
            pooling,
        }
    }

    fn unsupported(&self, what: &str) -> BackendError {
        BackendError::new(
            BackendErrorKind::UnsupportedModel,
            format!("output {:?} {what}", self.output),
        )
    }

    fn pool(&self, outputs: &SessionOutputs<'_>, texts: &[&[u32]]) -> Result<Rows, BackendError> {
        let value = outputs
            .get(&self.output)
            .ok_or_else(|| self.unsupported("is not given"))?;
        let rows = |shape: &[i64], data: &[f32]| {
            let sizes = shape.iter().map(|size| usize::try_from(*size));
            let shape: Vec<usize> = sizes
                .collect::<Result<_, _>>()
                .map_err(|_| self.unsupported("has a negative size"))?;
            Rows::of_output(&self.output, &shape, data, texts, self.pooling)
        };
        if let Ok((shape, data)) = value.try_extract_tensor::<f32>() {
            return rows(shape, data);
        }
        match value.try_extract_tensor::<f16>() {
            Ok((shape, data)) => {
                let wide: Vec<f32> = data.iter().map(|x| x.to_f32()).collect();
                rows(shape, &wide)
            }
            Err(_) => Err(self.unsupported("is not a tensor of f32 or f16")),
        }
    }
}

impl Runner for OnnxRuntimeRunner {
    fn run(&self, texts: &[&[u32]], padding: Padding) -> Result<Rows, BackendError> {
        let longest = texts.iter().map(|ids| ids.len()).max().unwrap_or(0);
        self.admission.check(texts.len(), longest)?;
        let mut values = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            let value = value(input, texts, padding).map_err(failed)?;
            values.push((Cow::Borrowed(input.name.as_str()), value));
        }
        let wanted = OutputSelector::no_default().with(&self.output);
        let options: RunOptions<HasSelectedOutputs> =
            RunOptions::new().map_err(failed)?.with_outputs(wanted);
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run_with_options(values, &options).map_err(failed)?;
        self.pool(&outputs, texts)
    }
}

/// Why a run failed.
pub(crate) fn failed(error: ort::Error) -> BackendError {
    BackendError::new(BackendErrorKind::Failed, format!("ONNX Runtime: {error}"))
}

fn value(
    input: &Input,
    texts: &[&[u32]],
    padding: Padding,
) -> ort::Result<SessionInputValue<'static>> {
    let length = texts.iter().map(|ids| ids.len()).max().unwrap_or(0);
    let shape = match input.role {
        Role::PastKeyValues { heads, head_dim } => vec![texts.len(), heads, 0, head_dim],
        _ => vec![texts.len(), length],
    };
    Ok(match input.element {
        ElementType::I64 => {
            let data = input.role.values(texts, padding, i64::from);
            Tensor::from_array((shape, data))?.into()
        }
        ElementType::I32 => {
            let data = input.role.values(texts, padding, u32::cast_signed);
            Tensor::from_array((shape, data))?.into()
        }
        ElementType::F32 => Tensor::from_array((shape, Vec::<f32>::new()))?.into(),
        ElementType::F16 => Tensor::from_array((shape, Vec::<f16>::new()))?.into(),
    })
}
