//! One Parquet file of one input, as `embed` writes it.

use std::fs::File;

use akidb_bulk::{
    Columns, Destination, FailedRow, FileWriter, Format, Row, RowError, VectorWriter,
};
use akidb_embedding::{EmbedOptions, Embedder, Embedding, Encoding, Values};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

const TEXTS: [&str; 3] = ["one", "two three", "four"];

fn row(index: usize, id: Value, kept: Value) -> Row {
    Row {
        index: index as u64,
        line: Some(index as u64 + 10),
        id: Some(id),
        kept: vec![kept],
        input: Ok(TEXTS[index].into()),
    }
}

/// What is read of the file, and the vectors that went in.
fn written(encoding: Encoding) -> (RecordBatch, Vec<Embedding>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.parquet");
    assert_eq!(Format::of_path(&path), Some(Format::Parquet));
    let embedder = Embedder::builder().model("akidb-mini").build().unwrap();
    let options = EmbedOptions {
        encoding,
        ..EmbedOptions::default()
    };
    let answer = embedder.embed(&TEXTS, &options).unwrap();
    let columns = Columns {
        line: true,
        id: true,
        keep: vec!["n".to_owned()],
    };
    let destination = Destination::open(&path).unwrap();
    let provenance = answer.provenance.clone();
    let mut writer = FileWriter::new(Format::Parquet, destination, provenance, columns).unwrap();
    let first = row(0, json!(7), json!(1));
    writer.write(&first, &answer.embeddings[0]).unwrap();
    let bad = row(1, json!(8), Value::Null);
    let failed = FailedRow {
        row: &bad,
        error: &RowError::NoField("text".to_owned()),
        place: "line 11".to_owned(),
    };
    writer.write_failed(&failed).unwrap();
    let last = row(2, json!(9), json!(2.5));
    writer.write(&last, &answer.embeddings[2]).unwrap();
    assert!(!path.exists());
    writer.finish().unwrap();
    let file = File::open(&path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    assert_eq!(batches.len(), 1);
    (batches[0].clone(), answer.embeddings)
}

#[test]
fn columns_have_the_types_of_all_rows_and_a_bad_row_has_no_vector() {
    let (batch, embeddings) = written(Encoding::F32);
    let names: Vec<&str> = batch
        .schema_ref()
        .fields()
        .iter()
        .map(|f| f.name().as_str())
        .collect();
    let expected = [
        "line",
        "id",
        "n",
        "embedding",
        "tokens",
        "truncated",
        "error",
    ];
    assert_eq!(names, expected);
    let lines = batch["line"].as_primitive::<Int64Type>();
    assert_eq!(lines.values(), &[10, 11, 12]);
    assert_eq!(batch["id"].as_primitive::<Int64Type>().values(), &[7, 8, 9]);
    assert_eq!(batch["n"].data_type(), &DataType::Float64);
    assert!(batch["n"].is_null(1));
    let vectors = batch["embedding"].as_fixed_size_list();
    assert_eq!(vectors.value_length(), 256);
    assert_eq!(
        (0..3).map(|i| vectors.is_null(i)).collect::<Vec<_>>(),
        [false, true, false]
    );
    for index in [0, 2] {
        let values = vectors.value(index);
        let values = values.as_primitive::<Float32Type>().values().to_vec();
        assert_eq!(Values::F32(values), embeddings[index].values);
    }
    let tokens = batch["tokens"].as_primitive::<Int32Type>();
    assert_eq!(tokens.value(2) as usize, embeddings[2].tokens);
    let errors = batch["error"].as_string::<i32>();
    assert!(errors.is_null(0) && errors.value(1).contains("no field"));
}

#[test]
fn each_encoding_has_its_column() {
    let (batch, embeddings) = written(Encoding::I8);
    let Values::I8 { scale, .. } = &embeddings[2].values else {
        panic!("{:?}", embeddings[2].values)
    };
    assert_eq!(
        batch["scale"].as_primitive::<Float32Type>().value(2),
        *scale
    );
    let (batch, embeddings) = written(Encoding::Binary);
    let bytes = batch["embedding"].as_fixed_size_binary().value(0).to_vec();
    assert_eq!(Values::Binary(bytes), embeddings[0].values);
    let (batch, _) = written(Encoding::F16);
    let DataType::FixedSizeList(element, _) = batch["embedding"].data_type() else {
        panic!("{}", batch["embedding"].data_type())
    };
    assert_eq!(element.data_type(), &DataType::Float16);
}

#[test]
fn a_bad_row_without_id_leaves_the_types_of_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.parquet");
    let embedder = Embedder::builder().model("akidb-mini").build().unwrap();
    let answer = embedder.embed(&TEXTS, &EmbedOptions::default()).unwrap();
    let columns = Columns {
        line: true,
        id: true,
        keep: vec!["k".to_owned()],
    };
    let destination = Destination::open(&path).unwrap();
    let mut writer =
        FileWriter::new(Format::Parquet, destination, answer.provenance, columns).unwrap();
    let good = row(0, json!(7), json!(true));
    writer.write(&good, &answer.embeddings[0]).unwrap();
    let bad = Row {
        id: None,
        ..row(1, Value::Null, json!(false))
    };
    let failed = FailedRow {
        row: &bad,
        error: &RowError::NoField("id".to_owned()),
        place: "line 11".to_owned(),
    };
    writer.write_failed(&failed).unwrap();
    writer.finish().unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
    let batch = reader.build().unwrap().next().unwrap().unwrap();
    assert_eq!(batch["id"].data_type(), &DataType::Int64);
    assert_eq!(batch["k"].data_type(), &DataType::Boolean);
    assert!(batch["id"].is_null(1) && batch["k"].is_valid(1));
}
