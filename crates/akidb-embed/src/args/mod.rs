//! Arguments that several commands share. No command is known here.

mod choices;
mod input;
mod model;
mod onnxruntime;
mod vectors;

pub(crate) use choices::{choices, words};
pub(crate) use input::{InputArgs, fields, json_lines};
pub(crate) use model::{ChosenModel, ModelArgument, ModelFlag, ModelId, Run, RunArgs};
pub(crate) use vectors::{VectorArgs, report_truncated};
