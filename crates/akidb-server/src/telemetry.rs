//! Log lines on standard error, and traces for an OpenTelemetry collector.

use std::io::IsTerminal;

use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::settings::{LogFormat, Settings};
#[cfg(feature = "otlp")]
use crate::traces::Traces;

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The process has a subscriber already.
    #[error("log lines are written by somebody else")]
    Taken(#[from] TryInitError),
    /// The collector's address can't be used.
    #[error("traces can't be sent to {endpoint}: {message}")]
    Traces {
        /// The address.
        endpoint: String,
        /// Why.
        message: String,
    },
}

/// The process's log lines and traces; what is left is sent when it is dropped.
#[derive(Debug)]
pub struct Telemetry {
    #[cfg(feature = "otlp")]
    _traces: Option<Traces>,
}

impl Telemetry {
    /// Writes log lines of this level from now on, and sends traces where the settings name a
    /// collector. Called within a Tokio runtime.
    ///
    /// # Errors
    /// When the process has a subscriber already, or traces can't be sent to that address.
    pub fn start(settings: &Settings, level: LevelFilter) -> Result<Self, TelemetryError> {
        // The libraries underneath tell of every frame.
        let ours = |level: LevelFilter| {
            Targets::new()
                .with_default(level.min(LevelFilter::WARN))
                .with_targets(OURS.map(|name| (name, level)))
        };
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = match settings.log_format {
            LogFormat::Human => lines
                .with_ansi(std::io::stderr().is_terminal())
                .with_target(false)
                .boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        let registry = tracing_subscriber::registry().with(lines.with_filter(ours(level)));
        #[cfg(feature = "otlp")]
        {
            let traces = |endpoint: &String| {
                Traces::to(endpoint).map_err(|error| TelemetryError::Traces {
                    endpoint: endpoint.clone(),
                    message: error.to_string(),
                })
            };
            let traces = settings.otlp_endpoint.as_ref().map(traces).transpose()?;
            let spans = traces
                .as_ref()
                .map(|traces| traces.layer().with_filter(ours(LevelFilter::INFO)));
            registry.with(spans).try_init()?;
            Ok(Self { _traces: traces })
        }
        #[cfg(not(feature = "otlp"))]
        {
            registry.try_init()?;
            if let Some(endpoint) = &settings.otlp_endpoint {
                return Err(TelemetryError::Traces {
                    endpoint: endpoint.clone(),
                    message: "this program was built without the feature otlp".to_owned(),
                });
            }
            Ok(Self {})
        }
    }
}

const OURS: [&str; 8] = [
    "akidb_embed",
    "akidb_embedding",
    "akidb_graph",
    "akidb_models",
    "akidb_native",
    "akidb_onnxruntime",
    "akidb_rten",
    "akidb_server",
];
