//! How the work on a unit went.

use serde::{Deserialize, Serialize};

use crate::corpus::window::{Answer, Window};

/// How the work on a unit went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitSummary {
    /// Rows of the input.
    pub rows: u64,
    /// Rows that have a vector.
    pub embedded: u64,
    /// Rows that have none.
    pub errors: u64,
    /// Vectors: more than rows where texts are split.
    pub vectors: u64,
    /// Tokens of all vectors.
    pub tokens: u64,
    /// Texts that were cut off.
    pub truncated: u64,
    /// What was wrong with the first row that has no vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_error: Option<String>,
}

impl UnitSummary {
    /// Takes in how the work on another unit went.
    pub fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.embedded += other.embedded;
        self.errors += other.errors;
        self.vectors += other.vectors;
        self.tokens += other.tokens;
        self.truncated += other.truncated;
        if self.first_error.is_none() {
            self.first_error.clone_from(&other.first_error);
        }
    }

    /// A row has failed when one of its texts has.
    pub(in crate::corpus) fn count(&mut self, window: &Window, answers: &[Answer]) {
        self.rows += window.rows as u64;
        let mut failed: Option<usize> = None;
        for (text, answer) in window.texts.iter().zip(answers) {
            match answer {
                Ok(vector) => {
                    self.vectors += 1;
                    self.tokens += vector.tokens as u64;
                    self.truncated += u64::from(vector.truncated);
                }
                Err(error) => {
                    if failed != Some(text.row) {
                        failed = Some(text.row);
                        self.errors += 1;
                    }
                    if self.first_error.is_none() {
                        let row = window.first_row + text.row as u64;
                        self.first_error = Some(format!("row {row}: {error}"));
                    }
                }
            }
        }
        self.embedded = self.rows - self.errors;
    }
}
