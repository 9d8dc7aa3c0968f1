//! Rows of lines, of JSON objects and of CSV.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};

use akidb_embedding::Input;
use arrow_schema::DataType;
use serde_json::{Map, Value};

use super::{MOST_BYTES, Rows, Source, check_unchanged};
use crate::corpus::cells::{Cell, Column};
use crate::corpus::error::{CorpusError, unread};
use crate::corpus::file_state::Access;
use crate::corpus::input_file::InputFile;
use crate::corpus::kind::{FileKind, Packing, delimiter, unpacked};
use crate::corpus::plan::{Plan, Unit};
use crate::corpus::planned_file::PlannedFile;
use crate::corpus::records::{Record, Records, Start};
use crate::corpus::settings::TextFrom;
use crate::error::RowError;
use crate::read::object::{kind, object, text_or_ids};

pub(super) struct TextSource {
    planned: PlannedFile,
    file: InputFile,
    records: Records,
    text: TextFrom,
    id: Option<String>,
    columns: Vec<(String, DataType)>,
    /// Where the columns of CSV are; of several that are called the same, the first.
    places: HashMap<String, usize>,
}

impl TextSource {
    pub(super) fn open(
        plan: &Plan,
        planned: &PlannedFile,
        unit: &Unit,
        text: &TextFrom,
    ) -> Result<Self, CorpusError> {
        let failed = unread(&planned.path);
        let file = InputFile::open(&planned.path, Access::Through).map_err(&failed)?;
        check_unchanged(&file, planned)?;
        let mut reading = file.try_clone().map_err(&failed)?;
        if planned.packing == Packing::None {
            reading.seek(SeekFrom::Start(unit.byte)).map_err(&failed)?;
        }
        let mut reader = unpacked(reading, planned.packing).map_err(&failed)?;
        if planned.packing != Packing::None {
            let mut before = reader.by_ref().take(unit.byte);
            io::copy(&mut before, &mut io::sink()).map_err(&failed)?;
        }
        let start = Start {
            byte: unit.byte,
            line: unit.line,
        };
        let fields = plan.kept.fields().iter();
        let columns = fields.map(|field| (field.name().clone(), field.data_type().clone()));
        let header = planned.header.iter().cloned().enumerate();
        // The first comes last, and stays.
        let places = header.rev().map(|(place, name)| (name, place));
        Ok(Self {
            records: Records::new(reader, planned.kind, delimiter(&planned.path), start),
            planned: planned.clone(),
            file,
            text: text.clone(),
            id: plan.settings.id.clone(),
            columns: columns.collect(),
            places: places.collect(),
        })
    }

    /// A row's text; its values go into the columns.
    fn row(&self, record: Record, into: &mut [Column]) -> Result<Input<'static>, RowError> {
        let mut into = Values {
            names: &self.columns,
            columns: into,
        };
        match record {
            Record::Line(line) if self.planned.kind == FileKind::Jsonl => {
                let object = line.and_then(|line| object(&line));
                match object {
                    Ok(object) => {
                        into.push(|name| object.get(name).map_or(Cell::Null, Cell::Json));
                        self.input_of(object)
                    }
                    Err(error) => {
                        into.push(|_| Cell::Null);
                        Err(error)
                    }
                }
            }
            Record::Line(line) => {
                into.push(|_| Cell::Null);
                let line = line?;
                Ok(match &self.text {
                    TextFrom::Column(_) => Input::from(line),
                    TextFrom::Template(template) => Input::from(template.fill(|_| &line)),
                })
            }
            Record::Fields(fields) => {
                let header = &self.planned.header;
                let fields = fields.and_then(|fields| match fields.len() == header.len() {
                    true => Ok(fields),
                    false => Err(RowError::Fields {
                        has: fields.len(),
                        header: header.len(),
                    }),
                });
                let fields = match fields {
                    Ok(fields) => fields,
                    Err(error) => {
                        into.push(|_| Cell::Null);
                        return Err(error);
                    }
                };
                let value = |name: &str| {
                    let place = self.places.get(name);
                    place
                        .and_then(|place| fields.get(*place))
                        .map(String::as_str)
                };
                into.push(|name| value(name).map_or(Cell::Null, Cell::Text));
                if let Some(id) = self
                    .id
                    .as_deref()
                    .filter(|id| value(id).is_none_or(str::is_empty))
                {
                    return Err(RowError::Null(id.to_owned()));
                }
                match &self.text {
                    TextFrom::Column(column) => {
                        let text = value(column);
                        let text = text.ok_or_else(|| RowError::NoField(column.clone()))?;
                        Ok(Input::from(text.to_owned()))
                    }
                    TextFrom::Template(template) => Ok(Input::from(
                        template.fill(|column| value(column).unwrap_or_default()),
                    )),
                }
            }
        }
    }

    /// The text of an object; a list of numbers is token ids.
    fn input_of(&self, mut object: Map<String, Value>) -> Result<Input<'static>, RowError> {
        if let Some(id) = &self.id {
            match object.get(id) {
                None => return Err(RowError::NoField(id.clone())),
                Some(Value::Null) => return Err(RowError::Null(id.clone())),
                Some(_) => {}
            }
        }
        let template = match &self.text {
            TextFrom::Column(field) => {
                let value = object.remove(field);
                return match value.ok_or_else(|| RowError::NoField(field.clone()))? {
                    Value::Null => Err(RowError::Null(field.clone())),
                    value => text_or_ids(value, field),
                };
            }
            TextFrom::Template(template) => template,
        };
        let mut texts = Vec::new();
        for column in template.columns() {
            texts.push((
                column,
                match object.get(column) {
                    None | Some(Value::Null) => Cow::Borrowed(""),
                    Some(Value::String(text)) => Cow::Borrowed(text.as_str()),
                    Some(value @ (Value::Bool(_) | Value::Number(_))) => {
                        Cow::Owned(value.to_string())
                    }
                    Some(other) => {
                        return Err(RowError::NotText {
                            field: column.to_owned(),
                            is: kind(other),
                        });
                    }
                },
            ));
        }
        let value = |column: &str| {
            let found = texts.iter().find(|(name, _)| *name == column);
            found.map_or("", |(_, text)| text)
        };
        Ok(Input::from(template.fill(value)))
    }
}

impl Source for TextSource {
    fn read(&mut self, most: usize) -> Result<Rows, CorpusError> {
        let mut rows = Rows::default();
        let types = self.columns.iter();
        let mut columns: Vec<Column> = types.map(|(_, data_type)| Column::new(data_type)).collect();
        let start = self.records.start().byte;
        while rows.inputs.len() < most
            && self.records.start().byte - start < MOST_BYTES as u64
            && let Some(record) = self.records.next().map_err(unread(&self.planned.path))?
        {
            rows.inputs.push(self.row(record, &mut columns));
        }
        rows.columns = columns.into_iter().map(Column::finish).collect();
        Ok(rows)
    }

    fn check(&self) -> Result<(), CorpusError> {
        check_unchanged(&self.file, &self.planned)
    }
}

struct Values<'a> {
    names: &'a [(String, DataType)],
    columns: &'a mut [Column],
}

impl Values<'_> {
    /// One row.
    fn push<'v>(&mut self, value: impl Fn(&str) -> Cell<'v>) {
        for ((name, _), column) in self.names.iter().zip(self.columns.iter_mut()) {
            column.push(value(name));
        }
    }
}
