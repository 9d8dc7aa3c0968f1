//! A corpus in a temporary folder, and what is written of it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use akidb_bulk::NoListener;
use akidb_bulk::corpus::{
    CorpusError, CorpusSettings, End, Folder, Manifest, Plan, Runner, read_plan,
};
use akidb_embedding::{EmbedOptions, Embedder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;

pub(crate) struct Corpus {
    pub(crate) dir: TempDir,
    pub(crate) embedder: Embedder,
    pub(crate) options: EmbedOptions,
    pub(crate) settings: CorpusSettings,
}

/// A row that was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) file: String,
    pub(crate) row: i64,
    /// The bits of its vector.
    pub(crate) vector: Option<Vec<u32>>,
    pub(crate) error: Option<String>,
}

impl Corpus {
    /// Without files; its input is the folder `in`.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("in");
        fs::create_dir(&input).unwrap();
        Self {
            settings: CorpusSettings {
                inputs: vec![input.to_string_lossy().into_owned()],
                ..CorpusSettings::default()
            },
            dir,
            embedder: Embedder::builder().model("akidb-mini").build().unwrap(),
            options: EmbedOptions::default(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join("in").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// A Parquet file with these columns, and row groups of `group` rows.
    pub(crate) fn write_parquet(&self, name: &str, group: usize, columns: &[(&str, ArrayRef)]) {
        let columns = columns
            .iter()
            .map(|(name, array)| (*name, Arc::clone(array), true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group));
        let file = File::create(self.path(name)).unwrap();
        let mut writer =
            ArrowWriter::try_new(file, batch.schema(), Some(properties.build())).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    pub(crate) fn plan(&self) -> Result<Plan, CorpusError> {
        let earlier = read_plan(&self.out())?;
        Plan::new(
            &self.settings,
            &self.embedder,
            &self.options,
            &self.out(),
            earlier.as_ref(),
        )
    }

    /// The whole of it.
    pub(crate) fn run(&self) -> Result<Manifest, CorpusError> {
        let plan = self.plan()?;
        let folder = Folder::begin(&self.out(), &plan, None)?;
        let runner = Runner::new(&self.embedder, &self.options, &plan, &folder)?;
        let end = runner.run(&plan.units, &AtomicBool::new(false), &mut NoListener)?;
        assert_eq!(end, End::Done);
        Manifest::finish(&self.out(), &plan)
    }

    /// What is written, in the order of the manifest.
    pub(crate) fn rows(&self, manifest: &Manifest) -> Vec<Row> {
        let units = manifest.units.iter();
        let paths = units.map(|unit| self.out().join(format!("{}.parquet", unit.name)));
        paths
            .flat_map(|path| batches(&path))
            .flat_map(|batch| rows_of(&batch))
            .collect()
    }

    /// The bits that the library gives for texts.
    pub(crate) fn vectors(&self, texts: &[&str]) -> Vec<Option<Vec<u32>>> {
        let vectors = self.embedder.vectors(texts, &self.options).unwrap();
        vectors
            .into_iter()
            .map(|vector| Some(bits(&vector)))
            .collect()
    }
}

pub(crate) fn bits(vector: &[f32]) -> Vec<u32> {
    vector.iter().map(|value| value.to_bits()).collect()
}

pub(crate) fn batches(path: &Path) -> Vec<RecordBatch> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    builder.build().unwrap().map(Result::unwrap).collect()
}

/// A column of all units, in the order of the manifest.
pub(crate) fn column(corpus: &Corpus, manifest: &Manifest, name: &str) -> Vec<ArrayRef> {
    let units = manifest.units.iter();
    let paths = units.map(|unit| corpus.out().join(format!("{}.parquet", unit.name)));
    let batches = paths.flat_map(|path| batches(&path));
    batches
        .map(|batch| Arc::clone(batch.column_by_name(name).unwrap()))
        .collect()
}

fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let files = column("source_file").as_string::<i32>();
    let places = column("source_row").as_primitive::<Int64Type>();
    let vectors = column("embedding").as_fixed_size_list();
    let errors = column("error").as_string::<i32>();
    let row = |row: usize| Row {
        file: files.value(row).to_owned(),
        row: places.value(row),
        vector: vectors.is_valid(row).then(|| {
            let values = vectors.value(row);
            bits(values.as_primitive::<Float32Type>().values())
        }),
        error: errors.is_valid(row).then(|| errors.value(row).to_owned()),
    };
    (0..batch.num_rows()).map(row).collect()
}
