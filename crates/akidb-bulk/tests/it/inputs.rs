//! Every kind of input, and what its rows become.

use std::io::Write;
use std::sync::Arc;

use akidb_bulk::corpus::{Chunks, CorpusError, Keep, TextFrom};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BinaryArray, DictionaryArray, Int32Array, LargeStringArray, ListArray,
    StringArray, StringViewArray,
};
use arrow_schema::DataType;

use crate::common::{Corpus, batches, column};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_kind_of_file_gives_the_vectors_of_its_texts() {
    let mut corpus = Corpus::new();
    // Small units: every file is opened in its middle, too.
    corpus.settings.unit_rows = 2;
    let texts = ["one", "two, \"quoted\"\nline", "three", "", "five"];
    let jsonl: String = texts
        .iter()
        .map(|text| format!("{}\n\n", serde_json::json!({"text": text})))
        .collect();
    let csv: String = texts
        .iter()
        .map(|text| format!("\"{}\",x\r\n", text.replace('"', "\"\"")))
        .collect();
    let csv = format!("\u{feff}text,other\r\n{csv}");
    corpus.write("a.jsonl", &jsonl);
    corpus.write("b.jsonl.gz", gzip(jsonl.as_bytes()));
    corpus.write(
        "c.ndjson.zst",
        zstd::encode_all(jsonl.as_bytes(), 1).unwrap(),
    );
    corpus.write("d.csv", &csv);
    corpus.write(
        "e.csv.gz",
        [gzip(&csv.as_bytes()[..20]), gzip(&csv.as_bytes()[20..])].concat(),
    );
    corpus.write("f.tsv", csv.replace(",x", "\tx").replace("text,", "text\t"));
    let arrays: [ArrayRef; 5] = [
        Arc::new(StringArray::from(texts.to_vec())),
        Arc::new(LargeStringArray::from(texts.to_vec())),
        Arc::new(StringViewArray::from(texts.to_vec())),
        Arc::new(BinaryArray::from_iter_values(texts)),
        Arc::new(texts.into_iter().collect::<DictionaryArray<Int32Type>>()),
    ];
    for (n, array) in arrays.into_iter().enumerate() {
        corpus.write_parquet(&format!("p{n}.parquet"), 3, &[("text", array)]);
    }
    corpus.write("z/lines.txt", "one\n\nfive");
    let manifest = corpus.run().unwrap();
    let (vectors, lines) = (corpus.vectors(&texts), corpus.vectors(&["one", "", "five"]));
    assert_eq!(
        (manifest.rows_in, manifest.rows_out, manifest.errors),
        (58, 58, 0)
    );
    let rows = corpus.rows(&manifest);
    for (n, file) in rows[..55].chunks(5).enumerate() {
        for (row, vector) in file.iter().zip(&vectors) {
            assert_eq!(row.vector, *vector, "{} {}", row.file, row.row);
        }
        let places: Vec<_> = file.iter().map(|row| row.row).collect();
        assert_eq!(places, [0, 1, 2, 3, 4], "{n}");
    }
    assert_eq!(rows[55].file, "z/lines.txt");
    let last: Vec<_> = rows[55..].iter().map(|row| row.vector.clone()).collect();
    assert_eq!(last, lines);
}

#[test]
fn a_bad_row_is_an_error_in_its_place() {
    let mut corpus = Corpus::new();
    corpus.settings.id = Some("n".to_owned());
    corpus.write(
        "a.jsonl",
        b"{\"text\": \"a\", \"n\": 1}\n{\"text\": 5, \"n\": 2}\nnot json\n{\"n\": 4}\n{\"text\": \"e\"}\n\
          {\"text\": \"\xff\", \"n\": 6}\n{\"text\": null, \"n\": 7}\n{\"text\": [1, 4000000000], \"n\": 8}\n\
          {\"text\": \"i\", \"n\": null}\n{\"text\": \"a\", \"n\": 10}",
    );
    corpus.write("b.csv", "n,text\n1,a\n2\n,c\n4,d,e\n5,\n");
    corpus.write_parquet(
        "c.parquet",
        10,
        &[
            (
                "n",
                Arc::new(Int32Array::from(vec![Some(1), None, Some(3)])),
            ),
            (
                "text",
                Arc::new(StringArray::from(vec![Some("a"), Some("b"), None])),
            ),
        ],
    );
    // The id's type is one in all files.
    std::fs::remove_file(corpus.path("b.csv")).unwrap();
    std::fs::remove_file(corpus.path("c.parquet")).unwrap();
    let manifest = corpus.run().unwrap();
    assert_eq!(
        (manifest.rows_in, manifest.rows_out, manifest.errors),
        (10, 2, 8)
    );
    let rows = corpus.rows(&manifest);
    let well = corpus.vectors(&["a"]).remove(0);
    for (row, expected) in rows.iter().zip([
        "",
        "its field \"text\" is a number, not a text or a list of token ids",
        "it is not valid JSON",
        "it has no field \"text\"",
        "it has no field \"n\"",
        "it is not valid UTF-8",
        "its field \"text\" is null",
        "vocabulary",
        "its field \"n\" is null",
        "",
    ]) {
        match expected {
            "" => assert_eq!((&row.vector, &row.error), (&well, &None)),
            expected => {
                let error = row.error.as_ref().unwrap();
                assert!(error.contains(expected), "{}: {error}", row.row);
                assert_eq!(row.vector, None);
            }
        }
    }
    let ids = column(&corpus, &manifest, "n");
    let ids: Vec<_> = ids[0].as_primitive::<Int64Type>().iter().collect();
    assert_eq!(ids[..4], [Some(1), Some(2), None, Some(4)]);
}

#[test]
fn bad_records_of_csv_and_nulls_of_parquet_are_errors() {
    let mut corpus = Corpus::new();
    corpus.settings.id = Some("n".to_owned());
    corpus.write("b.csv", "n,text\n1,a\n2\n,c\n4,d,e\n5,\n");
    corpus.write_parquet(
        "c.parquet",
        10,
        &[
            (
                "n",
                Arc::new(StringArray::from(vec![Some("1"), None, Some("3")])),
            ),
            (
                "text",
                Arc::new(StringArray::from(vec![Some("a"), Some("b"), None])),
            ),
        ],
    );
    let manifest = corpus.run().unwrap();
    let errors: Vec<_> = corpus
        .rows(&manifest)
        .into_iter()
        .map(|row| row.error.unwrap_or_default())
        .collect();
    assert_eq!(
        errors,
        [
            "",
            "it has 1 fields, not the 2 of the header",
            "its field \"n\" is null",
            "it has 3 fields, not the 2 of the header",
            "",
            "",
            "its field \"n\" is null",
            "its field \"text\" is null",
        ]
    );
}

#[test]
fn columns_go_along_as_they_are() {
    let mut corpus = Corpus::new();
    corpus.settings.keep = Keep::All;
    let lists =
        ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
    let words: DictionaryArray<Int32Type> = ["x", "y"].into_iter().collect();
    let columns: [(&str, ArrayRef); 4] = [
        ("text", Arc::new(StringArray::from(vec!["a", "b"]))),
        ("list", Arc::new(lists.clone())),
        ("word", Arc::new(words.clone())),
        ("count", Arc::new(Int32Array::from(vec![7, 8]))),
    ];
    corpus.write_parquet("a.parquet", 1, &columns);
    corpus.write_parquet(
        "empty.parquet",
        1,
        &columns.clone().map(|(n, a)| (n, a.slice(0, 0))),
    );
    // Without some of the columns.
    corpus.write_parquet("b.parquet", 1, &columns[..1]);
    let manifest = corpus.run().unwrap();
    assert_eq!(manifest.rows_out, 4);
    let types = |name: &str| column(&corpus, &manifest, name)[0].data_type().clone();
    assert_eq!(types("list"), *lists.data_type());
    assert_eq!(types("word"), *words.data_type());
    assert_eq!(types("count"), DataType::Int32);
    let counts = column(&corpus, &manifest, "count");
    let counts = counts
        .iter()
        .flat_map(|array| array.as_primitive::<Int32Type>().iter());
    assert_eq!(counts.collect::<Vec<_>>(), [Some(7), Some(8), None, None]);
}

#[test]
fn fields_of_objects_become_columns_of_their_type() {
    let mut corpus = Corpus::new();
    corpus.settings.keep = Keep::All;
    corpus.write(
        "a.jsonl",
        "{\"text\": \"a\", \"i\": 1, \"f\": 1, \"m\": \"s\", \"o\": {\"k\": 1}}\n",
    );
    corpus.write(
        "b.jsonl",
        "{\"text\": \"b\", \"i\": null, \"f\": 2.5, \"m\": 7}\n",
    );
    corpus.write("c.csv", "text,m\nc,t\n");
    let manifest = corpus.run().unwrap();
    let all = |name: &str| column(&corpus, &manifest, name);
    let ints = all("i");
    let ints: Vec<_> = ints
        .iter()
        .flat_map(|a| a.as_primitive::<Int64Type>().iter())
        .collect();
    assert_eq!(ints, [Some(1), None, None]);
    let floats = all("f");
    let floats: Vec<_> = floats
        .iter()
        .flat_map(|a| a.as_primitive::<Float64Type>().iter())
        .collect();
    assert_eq!(floats, [Some(1.0), Some(2.5), None]);
    for (name, expected) in [
        ("m", [Some("s"), Some("7"), Some("t")]),
        ("o", [Some("{\"k\":1}"), None, None]),
    ] {
        let texts = all(name);
        let texts: Vec<_> = texts
            .iter()
            .flat_map(|a| a.as_string::<i32>().iter())
            .collect();
        assert_eq!(texts, expected);
    }
}

#[test]
fn long_texts_are_split_and_each_part_is_a_row() {
    let mut corpus = Corpus::new();
    corpus.settings.id = Some("n".to_owned());
    corpus.settings.chunks = Some(Chunks {
        tokens: 12,
        overlap: 3,
    });
    // Without sentences: what overlaps are whole parts of the kind that a text is cut into.
    let long = "Grüße aus dem Süden ".repeat(20);
    let rows = [("a", long.as_str()), ("b", ""), ("c", "short")];
    let lines = rows.map(|(id, text)| format!("{}\n", serde_json::json!({"n": id, "text": text})));
    corpus.write(
        "a.jsonl",
        lines.concat() + "{\"n\": \"d\", \"text\": 1}\n{\"n\": \"e\", \"text\": [5]}\n",
    );
    let manifest = corpus.run().unwrap();
    assert_eq!(
        (manifest.rows_in, manifest.rows_out, manifest.errors),
        (5, 3, 2)
    );
    let path = corpus
        .out()
        .join(format!("{}.parquet", manifest.units[0].name));
    let batch = batches(&path).remove(0);
    let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>();
    let int = |name: &str| {
        batch
            .column_by_name(name)
            .unwrap()
            .as_primitive::<Int64Type>()
    };
    let (ids, starts, ends) = (text("n"), int("start"), int("end"));
    let tokens = batch
        .column_by_name("tokens")
        .unwrap()
        .as_primitive::<Int32Type>();
    let vectors = corpus.rows(&manifest);
    let parts = ids.iter().filter(|id| *id == Some("a")).count();
    assert!(parts > 8, "{parts}");
    assert_eq!(manifest.vectors as usize, parts + 2);
    let mut seen = 0;
    for (row, embedded) in vectors.iter().enumerate().take(parts) {
        let (start, end) = (starts.value(row) as usize, ends.value(row) as usize);
        assert!(
            start <= seen + 1 && end > seen,
            "{row}: {start} {end} after {seen}"
        );
        seen = end;
        let part: String = long.chars().skip(start).take(end - start).collect();
        assert_eq!(
            embedded.vector,
            corpus.vectors(&[&part]).remove(0),
            "{part}"
        );
        assert!(tokens.value(row) <= 12);
    }
    assert_eq!(seen, long.trim_end().chars().count());
    let overlaps = (1..parts).filter(|&row| starts.value(row) < ends.value(row - 1));
    assert!(
        overlaps.count() > 2,
        "they overlap where a boundary lets them"
    );
    let errors: Vec<_> = vectors[parts..]
        .iter()
        .map(|row| row.error.is_some())
        .collect();
    assert_eq!(errors, [false, false, true, true]);

    corpus.settings.chunks = Some(Chunks {
        tokens: 1_000_000,
        overlap: 0,
    });
    assert!(matches!(corpus.plan(), Err(CorpusError::Settings(_))));
}

#[test]
fn texts_are_put_together_as_the_template_says() {
    let mut corpus = Corpus::new();
    corpus.settings.text = TextFrom::Template("{title}: {body}".parse().unwrap());
    corpus.write(
        "a.jsonl",
        "{\"title\": \"A\", \"body\": 1}\n{\"title\": null}\n{\"title\": []}\n",
    );
    corpus.write("b.csv", "body,title\nx,B\n");
    corpus.write_parquet(
        "c.parquet",
        9,
        &[
            ("title", Arc::new(StringArray::from(vec![Some("C"), None]))),
            ("body", Arc::new(LargeStringArray::from(vec!["y", "z"]))),
        ],
    );
    let manifest = corpus.run().unwrap();
    let vectors: Vec<_> = corpus
        .rows(&manifest)
        .into_iter()
        .map(|row| row.vector)
        .collect();
    let mut expected = corpus.vectors(&["A: 1", ": ", "B: x", "C: y", ": z"]);
    expected.insert(2, None);
    assert_eq!(vectors, expected);
}
