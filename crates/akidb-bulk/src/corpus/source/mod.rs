//! The rows of units, some at a time.

mod parquet;
mod text;

use akidb_embedding::Input;
use arrow_array::ArrayRef;

use self::parquet::ParquetSource;
use super::error::{CorpusError, unread};
use super::input_file::InputFile;
use super::kind::FileKind;
use super::plan::{Plan, Unit};
use super::planned_file::PlannedFile;
use super::settings::TextFrom;
use crate::error::RowError;
use text::TextSource;

/// Bytes of text after which no further row is taken.
pub(super) const MOST_BYTES: usize = 8 << 20;

/// Some rows.
#[derive(Default)]
pub(super) struct Rows {
    /// The text of each, or what is wrong with it.
    pub(super) inputs: Vec<Result<Input<'static>, RowError>>,
    /// Their id, and what goes along.
    pub(super) columns: Vec<ArrayRef>,
}

/// Reads units. A unit that begins where the last one has ended is read on.
pub(super) struct UnitReader<'a> {
    plan: &'a Plan,
    text: TextFrom,
    open: Option<Open>,
}

struct Open {
    file: usize,
    next_row: u64,
    source: Box<dyn Source>,
}

/// Rows of one file in order.
trait Source {
    /// Up to `most` further rows; fewer where they are very long, none where there are none.
    fn read(&mut self, most: usize) -> Result<Rows, CorpusError>;

    /// # Errors
    /// When the file is no more what it was when the work was planned.
    fn check(&self) -> Result<(), CorpusError>;
}

impl<'a> UnitReader<'a> {
    pub(super) fn new(plan: &'a Plan) -> Result<Self, CorpusError> {
        Ok(Self {
            plan,
            text: plan.text_from()?,
            open: None,
        })
    }

    /// Goes to the unit's first row.
    pub(super) fn start(&mut self, unit: &Unit) -> Result<(), CorpusError> {
        let here = |open: &Open| (open.file, open.next_row) == (unit.file, unit.first_row);
        if !self.open.as_ref().is_some_and(here) {
            let file = self.plan.file(unit)?;
            let source: Box<dyn Source> = match file.kind {
                FileKind::Parquet => {
                    Box::new(ParquetSource::open(self.plan, file, unit, &self.text)?)
                }
                _ => Box::new(TextSource::open(self.plan, file, unit, &self.text)?),
            };
            self.open = Some(Open {
                file: unit.file,
                next_row: unit.first_row,
                source,
            });
        }
        Ok(())
    }

    /// Up to `most` further rows of the unit, one at least.
    ///
    /// # Errors
    /// When they can't be read, or there are none.
    pub(super) fn read(&mut self, unit: &Unit, most: usize) -> Result<Rows, CorpusError> {
        let Some(open) = &mut self.open else {
            return Ok(Rows::default());
        };
        let end = unit.first_row.saturating_add(unit.rows);
        let left = end.saturating_sub(open.next_row);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let rows = open.source.read(most.min(left))?;
        if rows.inputs.is_empty() {
            let file = self.plan.file(unit)?;
            return Err(changed(
                file,
                format!("it ends before row {}", open.next_row),
            ));
        }
        open.next_row += rows.inputs.len() as u64;
        if open.next_row == end {
            open.source.check()?;
        }
        Ok(rows)
    }
}

fn changed(file: &PlannedFile, why: String) -> CorpusError {
    CorpusError::Changed {
        path: file.path.clone(),
        why,
    }
}

/// # Errors
/// When the open file isn't the one that was planned.
fn check_unchanged(file: &InputFile, planned: &PlannedFile) -> Result<(), CorpusError> {
    let found = file.state().map_err(unread(&planned.path))?;
    let why = match (found, planned.state()) {
        (found, planned) if found == planned => return Ok(()),
        (found, planned) if found.bytes != planned.bytes => {
            format!("it had {} bytes and has {}", planned.bytes, found.bytes)
        }
        _ => "it was written to".to_owned(),
    };
    Err(changed(planned, why))
}
