//! Embeds a few documents, then ranks them for a query.
//!
//! ```text
//! cargo run --release -p akidb-embedding --example search -- "how do I resume a download"
//! ```

use akidb_embedding::{EmbedError, EmbedOptions, Embedder, top_k};

const DOCUMENTS: [&str; 6] = [
    "An interrupted transfer continues where it stopped when the server accepts byte ranges.",
    "Mix flour, water, salt and yeast, let the dough rise for an hour, then bake it.",
    "Old log files are renamed and compressed every night, and deleted after a month.",
    "A vector index finds the nearest neighbours of a point without looking at all of them.",
    "Water the tomatoes in the morning and tie the stems to a stake.",
    "The key pair lets you log in to the remote machine without typing a password.",
];

fn main() -> Result<(), EmbedError> {
    let query = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "how do I resume a download".to_owned());

    let embedder = Embedder::builder().model("akidb-mini").build()?;
    let documents = embedder.vectors(&DOCUMENTS, &EmbedOptions::default())?;
    let queries = embedder.vectors(&[query.as_str()], &EmbedOptions::query())?;

    println!("{query}");
    for found in top_k(&queries[0], &documents, DOCUMENTS.len()) {
        println!("  {:.3}  {}", found.similarity, DOCUMENTS[found.index]);
    }
    Ok(())
}
