//! How a failure is told: what failed, why, what to do next.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

pub(crate) use akidb_embedding::diagnostics::chain;
use akidb_embedding::{EmbedError, Hint};
use akidb_models::repair;
use akidb_onnx::ErrorKind;
use akidb_server::ServiceError;

use crate::args::is_usage;
use crate::message::message;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error(transparent)]
    Inspect(#[from] akidb_onnx::Error),
    #[error(transparent)]
    Models(#[from] akidb_models::Error),
    #[error("damaged: {}", .0.join(", "))]
    DamagedModels(Vec<String>),
    #[error("the vectors of {0} are wrong")]
    WrongVectors(String),
    #[error("no files can be made of the model")]
    Optimize(#[source] akidb_onnx::Error),
    #[error("{0}")]
    Usage(String),
    #[error("{} can't be read", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{place} can't be used as a text")]
    Line { place: String, source: LineError },
    #[error("{to} can't be written")]
    Write { to: String, source: std::io::Error },
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error(transparent)]
    Serve(#[from] akidb_server::ServeError),
    #[error(transparent)]
    Settings(#[from] akidb_server::SettingsError),
    #[error(transparent)]
    Telemetry(#[from] akidb_server::TelemetryError),
    #[error("the threads that answer can't be started")]
    Runtime(#[source] std::io::Error),
    #[error("no backend runs this model: {0}")]
    NoBackendRuns(String),
    #[error("{errors} {} found", if *errors == 1 { "error was" } else { "errors were" })]
    Invalid { errors: usize },
    #[error("{failed} of {of} texts could not be embedded")]
    SomeTexts { failed: usize, of: usize },
}

/// The library's error behind one of the server.
fn embed_error(error: &ServiceError) -> Option<&EmbedError> {
    match error {
        ServiceError::Load { source, .. } | ServiceError::Embed(source) => Some(source),
        _ => None,
    }
}

/// A hint in the words of this program's commands and flags.
fn in_commands(hint: Hint) -> String {
    match &hint {
        Hint::Pull { model } => format!("akidb-embed models pull {model} fetches it"),
        Hint::Name {
            known,
            on_hub: Some(model),
        } => {
            let known = Hint::Name {
                known: known.clone(),
                on_hub: None,
            };
            format!("akidb-embed models pull {model} asks the hub for it; else {known}")
        }
        Hint::NameOne => "name one with --model".to_owned(),
        Hint::NameOutput => "name the one that is the embedding with --output-name".to_owned(),
        Hint::Inspect => {
            "akidb-embed inspect shows what is in the file; fetch it again if it is damaged"
                .to_owned()
        }
        Hint::AllowTruncation => format!("{hint} (--on-long truncate)"),
        _ => hint.to_string(),
    }
}

/// What is wrong with a line of the input.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    #[error("it is not valid UTF-8 from byte {0} on")]
    Utf8(usize),
    #[error("it is longer than {0} MiB")]
    TooLong(usize),
    #[error("it is not valid JSON")]
    Json(#[from] serde_json::Error),
    #[error("it is {0}, not an object")]
    NotObject(&'static str),
    #[error("it has no field {0:?}")]
    NoField(String),
    #[error("its field {field:?} is {is}, not a text or a list of token ids")]
    NotText { field: String, is: &'static str },
}

impl CliError {
    /// Standard output can't be written.
    pub(crate) fn stdout(source: std::io::Error) -> Self {
        Self::Write {
            to: "standard output".to_owned(),
            source,
        }
    }

    /// Prints the error and gives the exit status: 1 the work failed, 2 wrong usage.
    pub(crate) fn report(&self) -> ExitCode {
        if let Self::Write { source, .. } = self
            && source.kind() == io::ErrorKind::BrokenPipe
        {
            // The reader has seen enough.
            return ExitCode::SUCCESS;
        }
        message(format_args!("error: {self}"));
        let mut cause = self.source();
        while let Some(error) = cause {
            message(format_args!("caused by: {error}"));
            cause = error.source();
        }
        if let Some(hint) = self.hint() {
            message(format_args!("hint: {hint}"));
        }
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Embed(error) if is_usage(error) => ExitCode::from(2),
            Self::Optimize(error) if matches!(error.kind(), ErrorKind::Shape(_)) => {
                ExitCode::from(2)
            }
            Self::Models(error) if error.is_usage() => ExitCode::from(2),
            Self::Serve(error) if error.is_usage() => ExitCode::from(2),
            Self::Settings(_) | Self::Telemetry(_) => ExitCode::from(2),
            Self::Service(ServiceError::Settings(_)) => ExitCode::from(2),
            Self::Service(error) if embed_error(error).is_some_and(is_usage) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Embed(error) => error.hint().map(in_commands),
            Self::Models(error) => error.hint(),
            Self::DamagedModels(models) => Some(repair(models.first()?)),
            Self::WrongVectors(_) => Some(
                "don't use them: try another --variant or --precision, or fetch the model again"
                    .to_owned(),
            ),
            Self::Usage(_) => Some("see --help".to_owned()),
            Self::Line { source, .. } => Some(
                match source {
                    LineError::Utf8(_) => "convert the input to UTF-8, for example with iconv",
                    LineError::TooLong(_) => "split it into shorter texts",
                    LineError::Json(_) | LineError::NotObject(_) => {
                        "each line must be one JSON object"
                    }
                    LineError::NoField(_) => "name the field with --field",
                    LineError::NotText { .. } => {
                        "put a text there, leave the line out, or name another field with --field"
                    }
                }
                .to_owned(),
            ),
            Self::SomeTexts { .. } => {
                Some("the lines before this one say why, by the texts' index".to_owned())
            }
            Self::Invalid { .. } => Some("each line above says what to do".to_owned()),
            Self::Optimize(error) => match error.kind() {
                ErrorKind::NotRecognised { .. } => {
                    Some("only decoders of the Qwen3 family can be rewritten".to_owned())
                }
                ErrorKind::Shape(_) => Some("give other --shapes".to_owned()),
                _ => None,
            },
            Self::Serve(error) => error.hint(),
            Self::Settings(_) => {
                Some("akidb-embed serve --print-config shows all settings".to_owned())
            }
            Self::Service(error) => embed_error(error)?.hint().map(in_commands),
            Self::Runtime(_)
            | Self::Telemetry(_)
            | Self::Inspect(_)
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::NoBackendRuns(_) => None,
        }
    }
}
