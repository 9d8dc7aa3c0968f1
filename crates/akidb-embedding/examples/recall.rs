//! Measures retrieval on your own data: recall@1 and recall@10.
//!
//! `FOLDER` holds `documents.jsonl` with `{"id", "text"}` and `queries.jsonl` with
//! `{"text", "relevant"}`, where `relevant` is a document's id.
//!
//! ```text
//! cargo run --release -p akidb-embedding --example recall -- FOLDER [MODEL [VARIANT [DIMENSION]]]
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use akidb_embedding::{BUILTIN_MODEL, EmbedOptions, Embedder, similarity};

#[derive(Deserialize)]
struct Document {
    id: serde_json::Value,
    text: String,
}

#[derive(Deserialize)]
struct Query {
    #[serde(alias = "query")]
    text: String,
    relevant: serde_json::Value,
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, Box<dyn Error>> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    text.lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args
        .next()
        .ok_or("usage: recall FOLDER [MODEL [VARIANT [DIMENSION]]]")?;
    let model = args.next().unwrap_or_else(|| BUILTIN_MODEL.to_owned());
    let mut builder = Embedder::builder().model(model);
    if let Some(variant) = args.next() {
        builder = builder.variant(variant);
    }
    let dimension = args.next().map(|d| d.parse()).transpose()?;
    let documents: Vec<Document> = read(&Path::new(&folder).join("documents.jsonl"))?;
    let queries: Vec<Query> = read(&Path::new(&folder).join("queries.jsonl"))?;

    let embedder = builder.build()?;
    let start = Instant::now();
    let texts: Vec<&str> = documents.iter().map(|d| d.text.as_str()).collect();
    let options = EmbedOptions {
        dimension,
        ..EmbedOptions::default()
    };
    let document_vectors = embedder.vectors(&texts, &options)?;
    let texts: Vec<&str> = queries.iter().map(|q| q.text.as_str()).collect();
    let options = EmbedOptions {
        dimension,
        ..EmbedOptions::query()
    };
    let query_vectors = embedder.vectors(&texts, &options)?;
    let seconds = start.elapsed().as_secs_f64();

    let position: HashMap<String, usize> = documents
        .iter()
        .enumerate()
        .map(|(i, d)| (d.id.to_string(), i))
        .collect();
    let (mut first, mut tenth) = (0, 0);
    for (query, vector) in queries.iter().zip(&query_vectors) {
        let relevant = *position
            .get(&query.relevant.to_string())
            .ok_or_else(|| format!("no document has the id {}", query.relevant))?;
        let own = similarity(vector, &document_vectors[relevant]);
        let better = document_vectors
            .iter()
            .filter(|d| similarity(vector, d) > own)
            .count();
        first += usize::from(better < 1);
        tenth += usize::from(better < 10);
    }
    let count = queries.len() as f64;
    println!(
        "{} documents, {} queries, {seconds:.1} s: recall@1 {:.3}, recall@10 {:.3}",
        documents.len(),
        queries.len(),
        first as f64 / count,
        tenth as f64 / count,
    );
    println!("{:?}", embedder.provenance(&options)?);
    Ok(())
}
