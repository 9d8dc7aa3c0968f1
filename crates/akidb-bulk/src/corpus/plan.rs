//! What is to be done: files, and the units that they are cut into.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use akidb_embedding::{EmbedOptions, Embedder, Provenance};
use arrow_schema::{DataType, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

use super::chunk::Splitter;
use super::columns::kept;
use super::error::{CorpusError, unread};
use super::file_state::Access;
use super::files::{FoundFile, find};
use super::fingerprint::Fingerprint;
use super::input_file::InputFile;
use super::kind::FileKind;
use super::parallel::in_parallel;
use super::parquet_file::inspect;
use super::planned_file::{ColumnType, FileColumn, PlannedFile};
use super::scan::scan;
use super::settings::{Chunks, CorpusSettings, Keep, TextFrom, UnitFormat};

/// Characters of a file's name that the names of its units begin with.
const STEM: usize = 40;

/// Rows of a file that are embedded, written and known by a name together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// A hash of what its vectors depend on, after words for people.
    pub name: String,
    /// Its file, by its place in [`Plan::files`].
    pub file: usize,
    /// Its first row in the file, from 0.
    pub first_row: u64,
    /// Its rows.
    pub rows: u64,
    /// Where it begins in the unpacked file; 0 in Parquet.
    pub(super) byte: u64,
    /// The line that it begins on, from 1; 0 in Parquet.
    pub(super) line: u64,
}

/// All that is to be done. It can be written as JSON, and given on to other machines that have the
/// same files at the same paths.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// What all vectors depend on.
    pub fingerprint: Fingerprint,
    /// Where vectors come from, as files say it; nothing in a plan that was read.
    #[serde(skip)]
    pub provenance: Option<Provenance>,
    pub(super) settings: PlannedSettings,
    /// The id's column, and those that go along.
    pub(super) kept: Schema,
    /// The files of the input.
    pub files: Vec<PlannedFile>,
    /// What they are cut into.
    pub units: Vec<Unit>,
    /// Files of folders that are of no kind that is read.
    #[serde(skip)]
    pub unknown_files: usize,
    /// Files that several arguments lead to, and that are taken once.
    #[serde(skip)]
    pub repeated_files: usize,
}

/// Settings that reading needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PlannedSettings {
    pub(super) text: Option<String>,
    pub(super) template: Option<String>,
    pub(super) id: Option<String>,
    pub(super) unit_rows: u64,
    pub(super) chunks: Option<Chunks>,
    pub(super) format: UnitFormat,
}

impl Plan {
    /// Finds the files, reads the footers of Parquet files and the whole of others, and cuts them into
    /// units. What `earlier` knows of files that have not changed isn't found out again; files in
    /// `out` are no input.
    ///
    /// # Errors
    /// When there are no files, one can't be read, or settings don't fit files or model.
    pub fn new(
        settings: &CorpusSettings,
        embedder: &Embedder,
        options: &EmbedOptions,
        out: &Path,
        earlier: Option<&Self>,
    ) -> Result<Self, CorpusError> {
        settings.check()?;
        let provenance = embedder.provenance(options)?;
        if let Some(chunks) = settings.chunks {
            Splitter::new(chunks, embedder, options)?;
        }
        let found = find(&settings.inputs, out)?;
        let wants_fields = settings.id.is_some() || settings.keep != Keep::Columns(Vec::new());
        let known = earlier.filter(|plan| plan.settings.unit_rows == settings.unit_rows);
        let known = known.map(|plan| plan.files.iter().map(|file| (&file.path, file)));
        let known: HashMap<&PathBuf, &PlannedFile> = known.into_iter().flatten().collect();
        let files = in_parallel(&found.files, |file| {
            let known = known.get(&file.path).copied();
            look(file, settings.unit_rows, wants_fields, known)
        })?;
        let kept = kept(settings, &files)?;
        let fingerprint = Fingerprint::of(embedder, options, settings, &kept)?;
        let units = units(&files, &fingerprint);
        let (text, template) = match &settings.text {
            TextFrom::Column(column) => (Some(column.clone()), None),
            TextFrom::Template(template) => (None, Some(template.to_string())),
        };
        Ok(Self {
            fingerprint,
            provenance: Some(provenance),
            settings: PlannedSettings {
                text,
                template,
                id: settings.id.clone(),
                unit_rows: settings.unit_rows,
                chunks: settings.chunks,
                format: settings.format,
            },
            kept,
            files,
            units,
            unknown_files: found.unknown,
            repeated_files: found.repeated,
        })
    }

    /// Rows of all files.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// The columns that go along: the id's first.
    pub fn kept(&self) -> SchemaRef {
        self.kept.clone().into()
    }

    /// A unit's file.
    pub(super) fn file(&self, unit: &Unit) -> Result<&PlannedFile, CorpusError> {
        let file = self.files.get(unit.file);
        file.ok_or_else(|| CorpusError::Settings(format!("{} is no unit of the plan", unit.name)))
    }

    /// Where a row's text is.
    pub(super) fn text_from(&self) -> Result<TextFrom, CorpusError> {
        match (&self.settings.template, &self.settings.text) {
            (Some(template), _) => template.parse().map(TextFrom::Template),
            (None, Some(column)) => Ok(TextFrom::Column(column.clone())),
            (None, None) => Ok(TextFrom::Column(String::new())),
        }
    }

    /// What makes this other work than `earlier`; files that were added are none.
    pub(super) fn differences_from(&self, earlier: &Self) -> Vec<String> {
        let differences = earlier.fingerprint.differences(&self.fingerprint);
        if !differences.is_empty() {
            return differences;
        }
        let here: HashSet<_> = self.files.iter().map(PlannedFile::identity).collect();
        let names: HashSet<_> = self.files.iter().map(|file| &file.name).collect();
        let changed = earlier.files.iter();
        let changed = changed.filter(|file| file.rows > 0 && !here.contains(&file.identity()));
        changed
            .map(|file| match names.contains(&file.name) {
                true => format!("{} has changed", file.name),
                false => format!("{} is no input any more", file.name),
            })
            .collect()
    }
}

/// What is in a file.
fn look(
    file: &FoundFile,
    unit_rows: u64,
    wants_fields: bool,
    known: Option<&PlannedFile>,
) -> Result<PlannedFile, CorpusError> {
    let access = match file.kind {
        FileKind::Parquet => Access::Footer,
        _ => Access::Through,
    };
    let open = || InputFile::open(&file.path, access).map_err(unread(&file.path));
    let state = match file.state {
        Some(state) => state,
        None => open()?.state().map_err(unread(&file.path))?,
    };
    let knows_fields = |known: &PlannedFile| !wants_fields || !known.columns.is_empty();
    if let Some(known) = known
        && (known.state(), &known.name) == (state, &file.name)
        && (known.kind != FileKind::Jsonl || knows_fields(known))
    {
        return Ok(known.clone());
    }
    let mut planned = PlannedFile {
        path: file.path.clone(),
        name: file.name.clone(),
        kind: file.kind,
        packing: file.packing,
        bytes: state.bytes,
        version: state.version,
        content: String::new(),
        rows: 0,
        cuts: Vec::new(),
        header: Vec::new(),
        columns: Vec::new(),
    };
    let column = |name: &String, of| FileColumn {
        name: name.clone(),
        of,
    };
    if file.kind == FileKind::Parquet {
        let found = inspect(open()?, &file.path, unit_rows)?;
        let fields = found.schema.fields().iter();
        let columns = fields.map(|f| column(f.name(), ColumnType::Arrow(f.data_type().clone())));
        planned.columns = columns.collect();
        (planned.content, planned.rows, planned.cuts) = (found.content, found.rows, found.cuts);
        return Ok(planned);
    }
    let found = scan(open()?, file, unit_rows, wants_fields)?;
    let fields = found.fields.iter();
    let fields = fields.map(|(name, types)| column(name, ColumnType::Json(*types)));
    let header = found.header.iter();
    let header = header.map(|name| column(name, ColumnType::Arrow(DataType::Utf8)));
    planned.columns = fields.chain(header).collect();
    planned.header = found.header;
    (planned.content, planned.rows, planned.cuts) = (found.content, found.rows, found.cuts);
    Ok(planned)
}

/// Cuts files into units, each with a name.
fn units(files: &[PlannedFile], fingerprint: &Fingerprint) -> Vec<Unit> {
    let fingerprint = fingerprint.hash();
    // Files with the same name and content are told apart by their number.
    let mut same: HashMap<_, u64> = HashMap::new();
    let mut units = Vec::new();
    for (place, file) in files.iter().enumerate() {
        let number = same.entry(file.identity()).or_default();
        let ends = file.cuts.iter().skip(1).map(|cut| cut.row);
        for (cut, end) in file.cuts.iter().zip(ends.chain([file.rows])) {
            let rows = end - cut.row;
            let mut hasher = XxHash3_128::new();
            let (name, content, bytes, version) = file.identity();
            for text in [&fingerprint, name, content] {
                hasher.write(&(text.len() as u64).to_le_bytes());
                hasher.write(text.as_bytes());
            }
            for value in [bytes, version, cut.row, rows, *number] {
                hasher.write(&value.to_le_bytes());
            }
            units.push(Unit {
                name: format!("{}-{:09}-{:032x}", stem(name), cut.row, hasher.finish_128()),
                file: place,
                first_row: cut.row,
                rows,
                byte: cut.byte,
                line: cut.line,
            });
        }
        *number += 1;
    }
    units
}

/// The beginning of a file's name, in characters that every file system takes. What begins with an
/// underscore is hidden from programs that read folders.
fn stem(name: &str) -> String {
    let name = name.rsplit('/').next().unwrap_or(name);
    let name = name.split('.').next().unwrap_or(name);
    let plain = |c: char| match c.is_ascii_alphanumeric() || c == '-' {
        true => c,
        false => '_',
    };
    let stem: String = name.chars().map(plain).take(STEM).collect();
    match stem.trim_matches(['_', '-']) {
        "" => "unit".to_owned(),
        stem => stem.to_owned(),
    }
}
