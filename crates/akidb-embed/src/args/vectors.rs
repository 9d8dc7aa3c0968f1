//! How texts become vectors.

use akidb_embedding::{EmbedOptions, Embedder, Encoding, OnLong, Prompt, Role};
use clap::Args;

use super::choices::choices;
use crate::error::CliError;
use crate::message::message;

/// How texts become vectors.
#[derive(Debug, Args)]
pub(crate) struct VectorArgs {
    /// What the texts are for: documents to be found, or queries to find them with [default: the
    /// model's default prompt where it has one, else document]
    #[arg(long = "as", value_parser = choices::<Role>(), value_name = "ROLE", help_heading = "Vectors")]
    role: Option<Role>,

    /// The task that the queries are for, in your own words (implies --as query)
    #[arg(long, value_name = "TASK", help_heading = "Vectors")]
    instruction: Option<String>,

    /// Keep only the first N values of each vector, then normalise again; `models show` says which N a
    /// model was trained for
    #[arg(long, value_name = "N", help_heading = "Vectors")]
    dim: Option<usize>,

    /// Longest text in tokens [default: the model's limit]
    #[arg(long, value_name = "N", help_heading = "Vectors")]
    max_tokens: Option<usize>,

    /// What to do with longer texts
    #[arg(
        long,
        value_parser = choices::<OnLong>(),
        default_value_t = OnLong::Truncate,
        value_name = "WHAT",
        help_heading = "Vectors"
    )]
    on_long: OnLong,

    /// Leave the vectors' length as the model makes it
    #[arg(long, help_heading = "Vectors")]
    pub(crate) no_normalize: bool,
}

impl VectorArgs {
    pub(crate) fn options(
        &self,
        embedder: &Embedder,
        encoding: Encoding,
    ) -> Result<EmbedOptions, CliError> {
        let prompt = Prompt::of(self.role, self.instruction.clone()).map_err(|_| {
            let message = "--instruction is for queries, and --as document for documents";
            CliError::Usage(message.to_owned())
        })?;
        if self.role == Some(Role::Query)
            && self.instruction.is_none()
            && !embedder.has_query_prompt()
        {
            message(format_args!(
                "warning: {} has no query prompt: queries are embedded as they are",
                embedder.model()
            ));
        }
        Ok(EmbedOptions {
            prompt,
            dimension: self.dim,
            normalize: !self.no_normalize,
            encoding,
            max_tokens: self.max_tokens,
            on_long: self.on_long,
        })
    }
}

/// Tells of texts that were not seen whole: how many, and the `first` of them, which are `lines` or
/// texts by their number.
pub(crate) fn report_truncated(
    (count, first): (u64, &[u64]),
    lines: bool,
    embedder: &Embedder,
    options: &EmbedOptions,
) {
    if count == 0 {
        return;
    }
    let limit = options.max_tokens.unwrap_or(embedder.max_tokens());
    let end = if embedder.truncates_start(options.on_long) {
        "start"
    } else {
        "end"
    };
    let what = match (lines, count) {
        (true, 1) => "line",
        (true, _) => "lines",
        (false, 1) => "text",
        (false, _) => "texts",
    };
    let numbers: Vec<_> = first.iter().map(ToString::to_string).collect();
    let more = match count.saturating_sub(first.len() as u64) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    message(format_args!(
        "warning: {count} {} longer than {limit} tokens: the {end} was cut off ({what} {}{more})",
        if count == 1 { "text was" } else { "texts were" },
        numbers.join(", "),
    ));
}
