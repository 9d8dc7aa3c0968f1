//! Rows of Parquet files.

use std::io;
use std::sync::Arc;

use akidb_embedding::Input;
use arrow_array::builder::LargeStringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow_schema::{ArrowError, DataType, Schema};
use arrow_select::concat::concat;
use arrow_select::take::take;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;

use super::{MOST_BYTES, Rows, Source, check_unchanged};
use crate::corpus::error::{CorpusError, unread, unread_parquet};
use crate::corpus::file_state::Access;
use crate::corpus::input_file::InputFile;
use crate::corpus::plan::{Plan, Unit};
use crate::corpus::planned_file::PlannedFile;
use crate::corpus::settings::TextFrom;
use crate::error::RowError;

/// Most rows that are decoded together.
const BATCH_ROWS: usize = 1024;

pub(super) struct ParquetSource {
    planned: PlannedFile,
    file: InputFile,
    reader: ParquetRecordBatchReader,
    /// Rows that were decoded and not yet taken.
    rest: Option<RecordBatch>,
    text: TextFrom,
    id: Option<String>,
    kept: Schema,
}

impl ParquetSource {
    pub(super) fn open(
        plan: &Plan,
        planned: &PlannedFile,
        unit: &Unit,
        text: &TextFrom,
    ) -> Result<Self, CorpusError> {
        let failed = unread_parquet(&planned.path);
        let file = InputFile::open(&planned.path, Access::Columns);
        let file = file.map_err(unread(&planned.path))?;
        check_unchanged(&file, planned)?;
        let reading = file.try_clone().map_err(unread(&planned.path))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(reading).map_err(&failed)?;
        let groups = builder.metadata().row_groups();
        // From the row group with the unit's first row on, without what comes before it there.
        let (mut first_group, mut before) = (0, unit.first_row);
        let (mut bytes, mut rows) = (0_u64, 0_u64);
        for group in groups {
            let in_group = u64::try_from(group.num_rows()).unwrap_or_default();
            bytes =
                bytes.saturating_add(u64::try_from(group.total_byte_size()).unwrap_or_default());
            rows += in_group;
            if rows <= unit.first_row {
                first_group += 1;
                before -= in_group;
            }
        }
        let row_bytes = (bytes / rows.max(1)).max(1);
        let batch = (MOST_BYTES as u64 / row_bytes).clamp(1, BATCH_ROWS as u64);
        let names = text.columns();
        let kept = plan.kept.fields().iter().map(|field| field.name().as_str());
        let names: Vec<&str> = names.into_iter().chain(kept).collect();
        let columns = builder.schema().fields().iter().enumerate();
        let columns = columns.filter(|(_, field)| names.contains(&field.name().as_str()));
        let columns: Vec<usize> = columns.map(|(place, _)| place).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), columns);
        let groups: Vec<usize> = (first_group..groups.len()).collect();
        let reader = builder
            .with_projection(mask)
            .with_row_groups(groups)
            .with_offset(usize::try_from(before).unwrap_or(usize::MAX))
            .with_batch_size(usize::try_from(batch).unwrap_or(1))
            .build()
            .map_err(&failed)?;
        Ok(Self {
            planned: planned.clone(),
            file,
            reader,
            rest: None,
            text: text.clone(),
            id: plan.settings.id.clone(),
            kept: plan.kept.clone(),
        })
    }

    fn unread(&self, error: ArrowError) -> CorpusError {
        CorpusError::Parquet {
            path: self.planned.path.clone(),
            source: match error {
                ArrowError::ParquetError(message) => ParquetError::General(message),
                other => ParquetError::External(Box::new(other)),
            },
        }
    }

    /// The column, its dictionary resolved; nothing where the file lacks it.
    fn column(&self, batch: &RecordBatch, name: &str) -> Result<Option<ArrayRef>, CorpusError> {
        let column = batch.column_by_name(name).map(plain).transpose();
        column.map_err(|error| self.unread(error))
    }

    /// The texts of a batch.
    fn inputs(
        &self,
        batch: &RecordBatch,
    ) -> Result<Vec<Result<Input<'static>, RowError>>, CorpusError> {
        let columns = self.text.columns().into_iter();
        let columns = columns.map(|name| Ok((name, self.column(batch, name)?)));
        let columns: Vec<_> = columns.collect::<Result<_, CorpusError>>()?;
        let id = match &self.id {
            Some(id) => batch.column_by_name(id).map(|column| (id, column)),
            None => None,
        };
        let text = |row: usize, name: &str| -> Result<Option<&str>, RowError> {
            let column = columns.iter().find(|(column, _)| *column == name);
            match column.and_then(|(_, column)| column.as_ref()) {
                Some(column) => text_at(column, row),
                None => Err(RowError::NoField(name.to_owned())),
            }
        };
        let input = |row: usize| {
            if let Some((id, column)) = id
                && column.is_null(row)
            {
                return Err(RowError::Null(id.clone()));
            }
            match &self.text {
                TextFrom::Column(name) => {
                    let text = text(row, name)?;
                    let text = text.ok_or_else(|| RowError::Null(name.clone()))?;
                    Ok(Input::from(text.to_owned()))
                }
                TextFrom::Template(template) => {
                    for name in template.columns() {
                        text(row, name)?;
                    }
                    let filled = template.fill(|name| text(row, name).ok().flatten().unwrap_or(""));
                    Ok(Input::from(filled))
                }
            }
        };
        Ok((0..batch.num_rows()).map(input).collect())
    }

    /// The kept columns of a batch, in the types of the plan.
    fn kept(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>, CorpusError> {
        let fields = self.kept.fields().iter();
        fields
            .map(|field| match batch.column_by_name(field.name()) {
                Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
                Some(column) if *field.data_type() == DataType::LargeUtf8 => {
                    large_text(column).map_err(|error| self.unread(error))
                }
                _ => Ok(new_null_array(field.data_type(), batch.num_rows())),
            })
            .collect()
    }
}

impl Source for ParquetSource {
    fn read(&mut self, most: usize) -> Result<Rows, CorpusError> {
        let mut rows = Rows::default();
        let mut parts: Vec<Vec<ArrayRef>> = Vec::new();
        let mut bytes = 0;
        while rows.inputs.len() < most && bytes < MOST_BYTES {
            let batch = match self.rest.take() {
                Some(batch) => batch,
                None => match self.reader.next() {
                    Some(batch) => batch.map_err(|error| self.unread(error))?,
                    None => break,
                },
            };
            let left = most - rows.inputs.len();
            let batch = match batch.num_rows() > left {
                true => {
                    self.rest = Some(batch.slice(left, batch.num_rows() - left));
                    batch.slice(0, left)
                }
                false => batch,
            };
            let inputs = self.inputs(&batch)?;
            bytes += inputs.iter().map(input_bytes).sum::<usize>();
            rows.inputs.extend(inputs);
            parts.push(self.kept(&batch)?);
        }
        for place in 0..self.kept.fields().len() {
            let arrays: Vec<&dyn Array> = parts
                .iter()
                .filter_map(|part| Some(part.get(place)?.as_ref()))
                .collect();
            if !arrays.is_empty() {
                let column = concat(&arrays).map_err(|error| self.unread(error))?;
                rows.columns.push(column);
            }
        }
        Ok(rows)
    }

    fn check(&self) -> Result<(), CorpusError> {
        check_unchanged(&self.file, &self.planned)
    }
}

fn input_bytes(input: &Result<Input<'_>, RowError>) -> usize {
    match input {
        Ok(Input::Text(text)) => text.len(),
        _ => 0,
    }
}

/// An array without its dictionary.
fn plain(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.as_any_dictionary_opt() {
        Some(dictionary) => plain(&take(dictionary.values(), dictionary.keys(), None)?),
        None => Ok(Arc::clone(array)),
    }
}

/// A row's text; nothing where it is null.
fn text_at(array: &ArrayRef, row: usize) -> Result<Option<&str>, RowError> {
    if array.is_null(row) {
        return Ok(None);
    }
    let utf8 = |bytes| {
        let text = str::from_utf8(bytes);
        text.map(Some)
            .map_err(|error| RowError::Utf8(error.valid_up_to()))
    };
    match array.data_type() {
        DataType::Utf8 => Ok(Some(array.as_string::<i32>().value(row))),
        DataType::LargeUtf8 => Ok(Some(array.as_string::<i64>().value(row))),
        DataType::Utf8View => Ok(Some(array.as_string_view().value(row))),
        DataType::Binary => utf8(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => utf8(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => utf8(array.as_binary_view().value(row)),
        // A column of nothing but nulls.
        _ => Ok(None),
    }
}

/// Texts however they are held, as one type.
fn large_text(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let array = plain(array)?;
    let mut texts = LargeStringBuilder::new();
    for row in 0..array.len() {
        let text = text_at(&array, row);
        texts.append_option(text.map_err(|error| ArrowError::ExternalError(io_error(error)))?);
    }
    Ok(Arc::new(texts.finish()))
}

fn io_error(error: RowError) -> Box<dyn std::error::Error + Send + Sync> {
    Box::new(io::Error::other(error.to_string()))
}
