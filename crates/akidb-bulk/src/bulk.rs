//! The loop: rows in, vectors out.

use akidb_embedding::{EmbedError, EmbedOptions, Embedder, Embedding, Input, choice};

use crate::error::BulkError;
use crate::read::Rows;
use crate::row::Row;
use crate::write::{FailedRow, VectorWriter};

/// Rows embedded in one call: enough to fill every thread, few enough to show progress.
const ROWS_PER_CALL: usize = 128;

/// How many line numbers a [`Summary`] has of truncated texts.
const TRUNCATED_LINES: usize = 10;

/// What to do with a row that can't be embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Write an error object in its place, in formats that have one.
    Object,
    /// Leave it out and tell.
    Skip,
    /// End the work.
    Fail,
}

choice!(OnError, "way with bad rows",
    Object = "object": "Write an error object in the row's place (json and jsonl)",
    Skip = "skip": "Leave the row out and tell",
    Fail = "fail": "Stop at the first one",
);

/// What has been done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows with a vector.
    pub embedded: u64,
    /// Rows without one.
    pub failed: u64,
    /// Tokens of the rows with a vector.
    pub tokens: u64,
    /// Rows that were longer than the limit and were cut.
    pub truncated: u64,
    /// The lines of the first ten of them.
    pub truncated_lines: Vec<u64>,
    /// Blank lines that were passed over.
    pub blank: u64,
}

/// Hears how the work goes.
pub trait Listener {
    /// A row failed that no error object stands for.
    ///
    /// # Errors
    /// When it can't be told; that ends the work.
    fn failed(&mut self, row: &FailedRow<'_>) -> Result<(), BulkError>;

    /// So much is done; `position` is in bytes of the input.
    fn advanced(&mut self, done: &Summary, position: u64);
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoListener;

impl Listener for NoListener {
    fn failed(&mut self, _: &FailedRow<'_>) -> Result<(), BulkError> {
        Ok(())
    }

    fn advanced(&mut self, _: &Summary, _: u64) {}
}

/// How rows are embedded.
#[derive(Debug, Clone, Copy)]
pub struct Bulk<'a> {
    embedder: &'a Embedder,
    options: &'a EmbedOptions,
    on_error: OnError,
}

impl<'a> Bulk<'a> {
    /// Bad rows are left out and told, unless [`on_error`](Self::on_error) says otherwise.
    pub fn new(embedder: &'a Embedder, options: &'a EmbedOptions) -> Self {
        Self {
            embedder,
            options,
            on_error: OnError::Skip,
        }
    }

    /// What to do with rows that can't be embedded.
    pub fn on_error(self, on_error: OnError) -> Self {
        Self { on_error, ..self }
    }

    /// Embeds all rows, some at a time, and gives each to the writer. Every row is either written or
    /// told.
    ///
    /// # Errors
    /// When the input can't be read, the output can't be written, the model fails as a whole, or a
    /// row fails and that is the end.
    pub fn run(
        &self,
        rows: &mut Rows,
        writer: &mut dyn VectorWriter,
        listener: &mut dyn Listener,
    ) -> Result<Summary, BulkError> {
        let mut summary = Summary::default();
        loop {
            let batch = rows.take(ROWS_PER_CALL)?;
            if batch.is_empty() {
                break;
            }
            let mut answers = self.embed(&batch)?.into_iter();
            for mut row in batch {
                let error = match std::mem::replace(&mut row.input, Ok(Input::from(""))) {
                    Err(error) => error,
                    Ok(input) => {
                        row.input = Ok(input);
                        match answers.next() {
                            None => break,
                            Some(Err(error)) => error.into(),
                            Some(Ok(embedding)) => {
                                summary.count(&row, &embedding);
                                writer.write(&row, &embedding)?;
                                continue;
                            }
                        }
                    }
                };
                let place = rows.place(&row);
                if self.on_error == OnError::Fail {
                    let source = error;
                    return Err(BulkError::Row { place, source });
                }
                summary.failed += 1;
                let failed = FailedRow {
                    row: &row,
                    error: &error,
                    place,
                };
                match self.on_error {
                    OnError::Object => writer.write_failed(&failed)?,
                    _ => listener.failed(&failed)?,
                }
            }
            writer.flush()?;
            summary.blank = rows.blank();
            listener.advanced(&summary, rows.position());
        }
        summary.blank = rows.blank();
        Ok(summary)
    }

    /// The answers to the rows that have a text.
    fn embed(&self, rows: &[Row]) -> Result<Vec<Result<Embedding, EmbedError>>, BulkError> {
        let sound = || {
            rows.iter()
                .filter_map(|row| Some((row, row.input.as_ref().ok()?)))
        };
        let inputs: Vec<Input<'_>> = sound().map(|(_, input)| input.into()).collect();
        let answers = self.embedder.embed_each(&inputs, self.options)?.into_iter();
        // Errors name the place in the call; people count rows.
        let named = answers
            .zip(sound())
            .enumerate()
            .map(|(at, (answer, (row, _)))| {
                let before = row.index.saturating_sub(at as u64);
                answer.map_err(|error| error.counted_from(before as usize))
            });
        Ok(named.collect())
    }
}

impl Summary {
    fn count(&mut self, row: &Row, embedding: &Embedding) {
        self.embedded += 1;
        self.tokens += embedding.tokens as u64;
        if embedding.truncated {
            self.truncated += 1;
            if self.truncated_lines.len() < TRUNCATED_LINES {
                self.truncated_lines.push(row.number());
            }
        }
    }
}
