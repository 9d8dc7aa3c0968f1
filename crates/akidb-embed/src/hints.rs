//! What would help, in the words of this program's commands and flags.

use std::io::ErrorKind;

use akidb_bulk::RowError;
use akidb_bulk::corpus::CorpusError;
use akidb_embedding::onnxruntime::OnnxRuntimeError;
use akidb_embedding::{EmbedError, Hint};
use akidb_models::BundleError;

/// A hint in the words of this program's commands and flags.
fn in_commands(hint: Hint) -> String {
    match &hint {
        Hint::Pull { model } => format!("akidb-embed models pull {model} fetches it"),
        Hint::Name {
            known,
            on_hub: Some(model),
            similar,
        } => {
            let known = Hint::Name {
                known: known.clone(),
                on_hub: None,
                similar: None,
            };
            let similar = did_you_mean(similar.as_deref(), "else ");
            format!("{similar}akidb-embed models pull {model} asks the hub for it; else {known}")
        }
        Hint::NameOne => {
            "name one with --model, or set one with akidb-embed models default".to_owned()
        }
        Hint::NameOutput => "name the one that is the embedding with --output-name".to_owned(),
        Hint::Inspect => {
            "akidb-embed inspect shows what is in the file; fetch it again if it is damaged"
                .to_owned()
        }
        Hint::AllowTruncation => format!("{hint} (--on-long truncate)"),
        _ => hint.to_string(),
    }
}

/// A question about a name that was misspelt, and what comes after it.
fn did_you_mean(similar: Option<&str>, next: &str) -> String {
    similar.map_or_else(String::new, |similar| {
        format!("did you mean {similar}? {next}")
    })
}

/// What would help, in the words of this program.
pub(crate) fn hint_of(error: &EmbedError) -> Option<String> {
    match error {
        EmbedError::Store(error) => models_hint(error),
        EmbedError::OnnxRuntime(error) => onnxruntime_hint(error),
        _ => error.hint().map(in_commands),
    }
}

/// The same of the model store.
pub(crate) fn models_hint(error: &akidb_models::Error) -> Option<String> {
    use akidb_models::Error;
    Some(match error {
        Error::Damaged { id, .. } => repair(id),
        Error::NotInstalled { similar, .. } => {
            let similar = did_you_mean(similar.as_deref(), "");
            format!("{similar}akidb-embed models list shows what is installed")
        }
        Error::BuiltIn { id } => format!(
            "it has no files to check, take along or remove; akidb-embed verify {id} looks at its vectors"
        ),
        Error::OtherRevision { installed, .. } => format!(
            "--replace takes the other revision and removes the installed one; --revision \
             {installed} stays with it; vectors of the two must not be mixed"
        ),
        Error::NoSpace { .. } => {
            "make room (akidb-embed models remove --unused), choose a smaller variant, or set \
             AKIDB_HOME to another disk"
                .to_owned()
        }
        Error::Offline { .. } => {
            "unset HF_HUB_OFFLINE, or bring the model as a file (akidb-embed models import)"
                .to_owned()
        }
        Error::Bundle {
            source: BundleError::Tar(_) | BundleError::NoManifest,
            ..
        } => "a bundle is what akidb-embed models export writes; copy it again if it was cut off"
            .to_owned(),
        _ => return error.hint(),
    })
}

/// How a damaged model becomes whole.
pub(crate) fn repair(model: &str) -> String {
    format!(
        "akidb-embed models pull {model} fetches what is damaged; akidb-embed models import takes it \
         from a bundle"
    )
}

/// The same of ONNX Runtime.
pub(crate) fn onnxruntime_hint(error: &OnnxRuntimeError) -> Option<String> {
    match error {
        OnnxRuntimeError::ProviderFailed { .. } => {
            Some("check its driver and libraries, or take another with --provider".to_owned())
        }
        _ => error.hint(),
    }
}

/// What would help with a row that can't be embedded.
pub(crate) fn row_hint(error: &RowError) -> Option<String> {
    let hint = match error {
        RowError::Utf8(_) => "convert the input to UTF-8, for example with iconv",
        RowError::TooLong(_) => "split it into shorter texts",
        RowError::Json(_) | RowError::NotObject(_) => "each line must be one JSON object",
        RowError::NoField(_) => "name the field with --field",
        RowError::NotText { .. } => {
            "put a text there, leave the line out, or name another field with --field"
        }
        RowError::NotIds { .. } => "put a text there, or the ids as whole numbers",
        RowError::Embed(error) => return hint_of(error),
        _ => return None,
    };
    Some(hint.to_owned())
}

/// What would help with a corpus.
pub(crate) fn corpus_hint(error: &CorpusError) -> Option<String> {
    let hint = match error {
        CorpusError::Read { path, source } | CorpusError::Write { path, source }
            if source.kind() == ErrorKind::PermissionDenied
                && path.to_string_lossy().contains("://") =>
        {
            "set the store's credentials in the environment, as AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY; AWS_SKIP_SIGNATURE=true reads public buckets"
        }
        CorpusError::NoColumn { .. } => "name the text's column with --text, the id's with --id",
        CorpusError::ColumnTypes { .. } => {
            "make several runs of it, or leave the column out of --keep"
        }
        CorpusError::Reserved(_) => "name the columns to --keep without it",
        CorpusError::OtherWork { .. } => {
            "choose another --out, or --force moves what is there aside and starts afresh"
        }
        CorpusError::NotAFolder(_) => "choose a new or empty folder with --out",
        CorpusError::Changed { .. } => {
            "put it back as it was, or start afresh with another --out or with --force"
        }
        CorpusError::Missing { .. } => {
            "start these shards again, or run without --shard: what is there stays"
        }
        CorpusError::TooManyErrors { .. } => {
            "whole units stay; mend the input, or allow more with --max-error-rate"
        }
        CorpusError::Embed(error) => return hint_of(error),
        _ => return None,
    };
    Some(hint.to_owned())
}
