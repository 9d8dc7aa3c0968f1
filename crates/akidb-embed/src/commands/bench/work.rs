//! What is timed.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use akidb_embedding::{
    EmbedOptions, Embedder, Input, Progress, Prompt, Provenance, RerankOptions, Reranker,
};

use crate::args::{fields, json_lines};
use crate::error::CliError;

const TEXT: &str = "Hello, world!";

/// What a reranker's documents are ranked for.
const QUERY: &str = "What is a vector?";

/// What is timed when nothing was asked for: texts, and tokens of each (`None`: [`TEXT`]).
const TABLE: [(u32, Option<u32>); 5] = [
    (1, None),
    (8, None),
    (32, None),
    (8, Some(128)),
    (1, Some(512)),
];

/// Tokens that are put in a text's place to make texts differ: small ids are in every vocabulary.
const IDS: usize = 200;

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Work")]
pub(super) struct WorkArgs {
    /// Texts in one call, no two the same [default: 1, or all of a file]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_384))]
    batch: Option<u32>,

    /// Tokens of each text, special tokens included
    #[arg(long, value_name = "N", conflicts_with = "text", value_parser = clap::value_parser!(u32).range(2..))]
    tokens: Option<u32>,

    /// The text [default: "Hello, world!"]
    #[arg(long)]
    text: Option<String>,

    /// Time the texts of a JSON Lines file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["text", "tokens"])]
    jsonl: Option<PathBuf>,

    /// Field of the JSON objects that holds the text (or a list of token ids) [default: text]
    // As clap requires nothing that conflicts with what is given.
    #[arg(long, value_name = "NAME", requires = "jsonl", conflicts_with_all = ["text", "tokens"])]
    field: Option<String>,

    /// Embed queries for this task
    #[arg(long, value_name = "TASK")]
    instruction: Option<String>,
}

/// What does the work.
pub(super) enum Model {
    Embedder(Box<Embedder>),
    /// It makes no vectors.
    Reranker(Reranker),
}

impl Model {
    pub(super) fn new(embedder: Embedder) -> Self {
        match embedder.check_embeds() {
            Ok(()) => Self::Embedder(Box::new(embedder)),
            Err(_) => Self::Reranker(Reranker::from(Arc::new(embedder))),
        }
    }

    fn embedder(&self) -> &Embedder {
        match self {
            Self::Embedder(embedder) => embedder,
            Self::Reranker(reranker) => reranker.embedder(),
        }
    }

    pub(super) fn provenance(&self, work: &Work) -> Result<Provenance, CliError> {
        Ok(match self {
            Self::Embedder(embedder) => embedder.provenance(&work.options)?,
            Self::Reranker(reranker) => reranker.provenance(&work.ranking())?,
        })
    }
}

/// Texts, and how they are embedded, or ranked for a query.
pub(super) struct Work {
    pub(super) name: String,
    pub(super) inputs: Vec<Input<'static>>,
    options: EmbedOptions,
    /// Texts in one call.
    batch: usize,
}

impl Work {
    /// Embeds or ranks all texts, and counts their tokens.
    pub(super) fn run(&self, model: &Model) -> Result<usize, CliError> {
        let mut tokens = 0;
        for inputs in self.inputs.chunks(self.batch) {
            tokens += match model {
                Model::Embedder(embedder) => embedder.embed(inputs, &self.options)?.total_tokens,
                Model::Reranker(reranker) => {
                    let documents = inputs.iter().filter_map(text_of);
                    let documents: Vec<&str> = documents.collect();
                    let scores = reranker.rerank(QUERY, &documents, &self.ranking())?;
                    scores.iter().map(|score| score.tokens).sum()
                }
            };
        }
        Ok(tokens)
    }

    fn ranking(&self) -> RerankOptions {
        RerankOptions {
            instruction: match &self.options.prompt {
                Prompt::Instruction(task) => Some(task.clone()),
                _ => None,
            },
            ..RerankOptions::default()
        }
    }
}

fn text_of<'a>(input: &'a Input<'_>) -> Option<&'a str> {
    match input {
        Input::Text(text) => Some(text),
        Input::Tokens(_) => None,
    }
}

impl WorkArgs {
    /// What was asked for, or else the whole table.
    pub(super) fn table(&self, model: &Model) -> Result<Vec<Work>, CliError> {
        let max = model.embedder().max_tokens();
        if let Some(n) = self.tokens.filter(|n| *n as usize > max) {
            return Err(CliError::Usage(format!(
                "--tokens {n}: the model takes at most {max}"
            )));
        }
        if let Some(path) = &self.jsonl {
            let work = self.file(path)?;
            if matches!(model, Model::Reranker(_)) && !work.inputs.iter().all(is_text) {
                return Err(CliError::Usage(format!(
                    "{} has lists of token ids: a reranker takes texts",
                    path.display()
                )));
            }
            return Ok(vec![work]);
        }
        let all = self.batch.is_none() && self.tokens.is_none() && self.text.is_none();
        let table = if all {
            TABLE.to_vec()
        } else {
            vec![(self.batch.unwrap_or(1), self.tokens)]
        };
        // A model for shorter texts has a shorter table.
        let fits = |tokens: &Option<u32>| tokens.is_none_or(|n| n as usize <= max);
        let table = table.into_iter().filter(|(_, tokens)| fits(tokens));
        table
            .map(|(batch, tokens)| match model {
                Model::Embedder(embedder) => self.repeated(embedder, batch as usize, tokens),
                Model::Reranker(reranker) => self.documents(reranker, batch as usize, tokens),
            })
            .collect()
    }

    fn options(&self) -> EmbedOptions {
        let mut options = EmbedOptions::default();
        if let Some(task) = &self.instruction {
            options.prompt = Prompt::Instruction(task.clone());
        }
        options
    }

    fn file(&self, path: &std::path::Path) -> Result<Work, CliError> {
        let mut texts = json_lines(path, fields(self.field.as_deref()))?;
        let mut inputs = Vec::new();
        loop {
            let more = texts.take_texts(1024)?;
            if more.is_empty() {
                break;
            }
            inputs.extend(more);
        }
        if inputs.is_empty() {
            return Err(CliError::Usage(format!("{} has no text", path.display())));
        }
        if let Some(batch) = self.batch.filter(|n| *n as usize > inputs.len()) {
            return Err(CliError::Usage(format!(
                "--batch {batch}: {} has only {} texts",
                path.display(),
                inputs.len()
            )));
        }
        Ok(Work {
            name: format!("{} of file", inputs.len()),
            batch: self.batch.map_or(inputs.len(), |n| n as usize),
            inputs,
            options: self.options(),
        })
    }

    /// Documents that differ in their first two words; `tokens` are those of a pair.
    fn documents(
        &self,
        reranker: &Reranker,
        batch: usize,
        tokens: Option<u32>,
    ) -> Result<Work, CliError> {
        let words = match tokens {
            None => 0,
            Some(n) => (n as usize).saturating_sub(pair_tokens(reranker, "")?),
        };
        let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
        let text = self.text.as_deref().unwrap_or(TEXT);
        let document = |n: usize| match tokens {
            // A letter is a token.
            Some(_) => {
                let rest = " a".repeat(words.saturating_sub(2));
                format!("{} {}{rest}", letter(n), letter(n / 26))
            }
            None if n == 0 => text.to_owned(),
            None => format!("{text} {} {}", letter(n), letter(n / 26)),
        };
        Ok(Work {
            name: name_of(batch, tokens),
            inputs: (0..batch).map(document).map(Input::from).collect(),
            options: self.options(),
            batch,
        })
    }

    /// Texts that differ in their first two tokens.
    fn repeated(
        &self,
        embedder: &Embedder,
        batch: usize,
        tokens: Option<u32>,
    ) -> Result<Work, CliError> {
        let text = self.text.as_deref().unwrap_or(TEXT);
        let ids = match tokens {
            // One place is for the token that ends a text.
            Some(n) => (1..n).map(|i| i.wrapping_mul(37) % IDS as u32).collect(),
            None => {
                embedder
                    .tokenize(&[text], &EmbedOptions::default())?
                    .remove(0)?
                    .ids
            }
        };
        let varied = |text: usize| {
            let mut ids = ids.clone();
            let digits = [text % IDS, text / IDS % IDS];
            for (id, digit) in ids.iter_mut().zip(digits) {
                *id = (*id + digit as u32) % IDS as u32;
            }
            Input::from(ids)
        };
        let first = match tokens {
            Some(_) => Input::from(ids.clone()),
            None => Input::from(text.to_owned()),
        };
        Ok(Work {
            name: name_of(batch, tokens),
            inputs: std::iter::once(first)
                .chain((1..batch).map(varied))
                .collect(),
            options: self.options(),
            batch,
        })
    }
}

fn name_of(batch: usize, tokens: Option<u32>) -> String {
    match tokens {
        Some(n) => format!("{batch} x {n}"),
        None => format!("{batch} x text"),
    }
}

fn is_text(input: &Input<'_>) -> bool {
    text_of(input).is_some()
}

/// Tokens of a document's pair.
fn pair_tokens(reranker: &Reranker, document: &str) -> Result<usize, CliError> {
    let query = reranker.query(QUERY, &RerankOptions::default())?;
    let mut progress = Progress::default();
    loop {
        if let Some(tokens) = reranker.pair_slice(&query, document, &mut progress)? {
            return Ok(tokens.ids.len());
        }
    }
}
