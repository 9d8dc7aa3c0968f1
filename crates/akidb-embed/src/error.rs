//! How a failure is told: what failed, why, what to do next.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use akidb_bulk::BulkError;
use akidb_bulk::corpus::CorpusError;
use akidb_embedding::EmbedError;
pub(crate) use akidb_embedding::diagnostics::chain;
use akidb_embedding::onnxruntime::OnnxRuntimeError;
use akidb_onnx::ErrorKind;
use akidb_server::ServiceError;

use crate::hints::{corpus_hint, hint_of, models_hint, repair, row_hint};
use crate::message::{failure, message};

/// Exit status when all was done.
pub(crate) const SUCCESS: u8 = 0;
/// Exit status when the work failed, or some rows did.
const FAILED: u8 = 1;
/// Exit status of wrong usage.
const WRONG_USAGE: u8 = 2;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error(transparent)]
    Inspect(#[from] akidb_onnx::Error),
    #[error(transparent)]
    Bulk(#[from] BulkError),
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    #[error(transparent)]
    Models(#[from] akidb_models::Error),
    #[error("damaged: {}", .0.join(", "))]
    DamagedModels(Vec<String>),
    #[error("the vectors of {0} are wrong")]
    WrongVectors(String),
    #[error("the scores of {0} are wrong")]
    WrongScores(String),
    #[error("no files can be made of the model")]
    Optimize(#[source] akidb_onnx::Error),
    #[error("{0}")]
    Usage(String),
    #[error("{} can't be read", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
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
    SomeTexts {
        failed: u64,
        of: u64,
        /// What would help, where it isn't with the texts.
        hint: Option<String>,
        /// What is said last of the work.
        line: Option<String>,
    },
    #[error("{0} is not text, and standard output is a terminal")]
    BinaryOnTerminal(&'static str),
}

/// The library's error behind one of the server.
fn embed_error(error: &ServiceError) -> Option<&EmbedError> {
    match error {
        ServiceError::Load { source, .. } | ServiceError::Embed(source) => Some(source),
        _ => None,
    }
}

/// Errors of the arguments rather than of the work: exit status 2.
fn is_usage(error: &EmbedError) -> bool {
    if let EmbedError::Store(error) = error {
        return error.is_usage();
    }
    matches!(
        error,
        EmbedError::Dimension { .. }
            | EmbedError::TokenLimit { .. }
            | EmbedError::UnknownPrompt { .. }
            | EmbedError::Precision { .. }
            | EmbedError::NoInstruction
            | EmbedError::NotAnEmbedder { .. }
            | EmbedError::NotAReranker { .. }
            | EmbedError::InstructionForDocuments
            | EmbedError::Environment { .. }
            | EmbedError::ModelNotFound { .. }
            | EmbedError::ModelNotNamed { .. }
            | EmbedError::UnknownVariant { .. }
            | EmbedError::NoWeights { .. }
            | EmbedError::OnnxRuntimeConfig { .. }
            | EmbedError::OnnxRuntime(
                OnnxRuntimeError::UnknownProvider { .. } | OnnxRuntimeError::ProviderOption { .. }
            )
    )
}

/// The same, of reading and writing.
fn is_usage_of_files(error: &BulkError) -> bool {
    match error {
        BulkError::Directory(_) | BulkError::NoPlace { .. } | BulkError::Reserved { .. } => true,
        BulkError::Embed(error) => is_usage(error),
        _ => false,
    }
}

/// The same, of a corpus.
fn is_usage_of_corpus(error: &CorpusError) -> bool {
    match error {
        CorpusError::Input { .. }
        | CorpusError::Settings(_)
        | CorpusError::NoColumn { .. }
        | CorpusError::ColumnType { .. }
        | CorpusError::ColumnTypes { .. }
        | CorpusError::Reserved(_)
        | CorpusError::OtherWork { .. }
        | CorpusError::NotAFolder(_)
        | CorpusError::NoWork(_) => true,
        CorpusError::Embed(error) => is_usage(error),
        _ => false,
    }
}

impl CliError {
    /// Standard output can't be written.
    pub(crate) fn stdout(source: std::io::Error) -> Self {
        Self::Write {
            to: "standard output".to_owned(),
            source,
        }
    }

    /// Prints the error and gives the exit status.
    pub(crate) fn report(&self) -> u8 {
        if let Self::Write { source, .. } | Self::Bulk(BulkError::Write { source, .. }) = self
            && source.kind() == io::ErrorKind::BrokenPipe
        {
            // The reader has seen enough.
            return SUCCESS;
        }
        failure(format_args!("error: {self}"));
        let mut cause = self.source();
        while let Some(error) = cause {
            failure(format_args!("caused by: {error}"));
            cause = error.source();
        }
        if let Some(hint) = self.hint() {
            failure(format_args!("hint: {hint}"));
        }
        if let Self::SomeTexts {
            line: Some(line), ..
        } = self
        {
            message(format_args!("{line}"));
        }
        match self {
            Self::Usage(_) | Self::BinaryOnTerminal(_) => WRONG_USAGE,
            Self::Bulk(error) if is_usage_of_files(error) => WRONG_USAGE,
            Self::Embed(error) if is_usage(error) => WRONG_USAGE,
            Self::Corpus(error) if is_usage_of_corpus(error) => WRONG_USAGE,
            Self::Optimize(error) if matches!(error.kind(), ErrorKind::Shape(_)) => WRONG_USAGE,
            Self::Models(error) if error.is_usage() => WRONG_USAGE,
            Self::Serve(error) if error.is_usage() => WRONG_USAGE,
            Self::Settings(_) | Self::Telemetry(_) => WRONG_USAGE,
            Self::Service(ServiceError::Settings(_)) => WRONG_USAGE,
            Self::Service(error) if embed_error(error).is_some_and(is_usage) => WRONG_USAGE,
            _ => FAILED,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Embed(error) => hint_of(error),
            Self::Corpus(error) => corpus_hint(error),
            Self::Models(error) => models_hint(error),
            Self::DamagedModels(models) => Some(repair(models.first()?)),
            Self::WrongVectors(_) | Self::WrongScores(_) => Some(
                "don't use them: try another --variant or --precision, or fetch the model again"
                    .to_owned(),
            ),
            Self::Usage(_) => Some("see --help".to_owned()),
            Self::Bulk(error) => match error {
                BulkError::Row { source, .. } => row_hint(source),
                BulkError::Embed(error) => hint_of(error),
                BulkError::Read { source, .. } if source.kind() == io::ErrorKind::InvalidData => {
                    Some("convert it to UTF-8, for example with iconv".to_owned())
                }
                BulkError::NoPlace { .. } => {
                    Some("jsonl, json, csv and parquet have one".to_owned())
                }
                BulkError::Reserved { field } if field == "id" => {
                    Some("--id-field id takes it along".to_owned())
                }
                _ => None,
            },
            Self::SomeTexts { hint, .. } => hint.clone(),
            Self::BinaryOnTerminal(format) => Some(format!(
                "name a file with -o, as in -o vectors.{format}, or give it on with a pipe"
            )),
            Self::Invalid { .. } => Some("each line above says what to do".to_owned()),
            Self::Optimize(error) => match error.kind() {
                ErrorKind::NotRecognised { .. } => {
                    Some("only decoders of the Qwen3 family can be rewritten".to_owned())
                }
                ErrorKind::Shape(_) => Some("give other --shapes".to_owned()),
                _ => None,
            },
            Self::Inspect(error) => match error.kind() {
                ErrorKind::LfsPointer(_) => {
                    Some("run git lfs pull in the model's directory".to_owned())
                }
                _ => None,
            },
            Self::Serve(error) => error.hint(),
            Self::Settings(_) => {
                Some("akidb-embed serve --print-config shows all settings".to_owned())
            }
            Self::Service(error) => hint_of(embed_error(error)?),
            Self::Runtime(_)
            | Self::Telemetry(_)
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::NoBackendRuns(_) => None,
        }
    }
}
