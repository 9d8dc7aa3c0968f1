//! The backend for ONNX embedding models of any architecture, with ONNX Runtime and the
//! accelerators that it reaches: CoreML, CUDA, TensorRT, DirectML, OpenVINO, XNNPACK and plugins.
//!
//! Nothing of ONNX Runtime is in this program. [`Library::find`] opens the library that the user
//! has, version 1.22 (May 2025) or newer: the first version that takes providers as plugins. It is
//! opened once for the life of the process. [`OnnxRuntimeModel`] runs a model with it; which
//! [`Provider`] runs it is the caller's choice, and a fallback is told
//! ([`OnnxRuntimeModel::fallback`]). Inputs, batches and pooling are `akidb-graph`'s.
//! [`StaticShapeModel`] runs graphs of fixed shapes, which CoreML takes whole.
//!
//! What a hostile model can do: files are checked by `akidb-onnx` before ONNX Runtime sees them,
//! and none outside the model's directory is named to it. But ONNX Runtime is C++ that parses the
//! file again, and a graph is a program that bounds neither its time nor its memory: a model from
//! an unknown hand belongs in a process with limits.
#![forbid(unsafe_code)]

pub mod coreml;
mod error;
mod external;
mod hint;
mod library;
mod model;
mod options;
mod provider;
mod runner;
mod session;

pub use akidb_graph::{GraphOptions, OutputChoice};
pub use coreml::StaticShapeModel;
pub use error::{LibraryError, LibraryProblem, OnnxRuntimeError};
pub use library::{Library, LibrarySearch};
pub use model::OnnxRuntimeModel;
pub use options::{OnnxRuntimeOptions, Optimization, SessionOptions};
pub use provider::{
    ArenaExtendStrategy, CoreMlOptions, CudaOptions, CudnnConvAlgoSearch, DeviceFilter,
    DirectMlOptions, MlComputeUnits, ModelFormat, OpenVinoOptions, PerformancePreference,
    PluginOptions, Provider, ProviderChoice, SpecializationStrategy, TensorRtOptions,
    XnnpackOptions,
};
