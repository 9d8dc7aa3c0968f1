//! Text to vectors over the network: one process for every client that people already have.
//!
//! [`EmbeddingService`] is what every interface calls: it finds the model, queues the texts, runs
//! them in batches and hands each caller its vectors. [`router`] puts HTTP and gRPC before it,
//! [`serve`] listens.
#![forbid(unsafe_code)]

mod app;
mod ask;
mod caller;
mod console;
mod document;
mod exporter;
mod grpc;
mod http;
mod interface;
mod interfaces;
mod lifecycle;
mod middleware;
mod operation;
mod problem;
mod room;
mod server;
mod service;
mod settings;
mod telemetry;
#[cfg(feature = "otlp")]
mod traces;
mod unknown;

pub use app::router;
pub use middleware::AccessError;
pub use server::{ServeError, Server, TlsError, serve};
pub use service::{
    Class, ClassStats, EmbedAnswer, EmbedRequest, EmbeddingService, ModelFacts, ModelStatus,
    RerankAnswer, RerankRequest, ServiceError, Stats, Timing,
};
pub use settings::{
    Host, Layers, LogFormat, ModelSettings, Origin, SETTINGS, Setting, Settings, SettingsError,
    VARIABLES,
};
pub use telemetry::{Telemetry, TelemetryError};
