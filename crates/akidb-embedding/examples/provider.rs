//! A vector database's two providers over one model: one for what it stores, one for what it is asked.
//!
//! ```text
//! cargo run --release -p akidb-embedding --example provider -- "how do I resume a download"
//! ```

use std::error::Error;

use akidb_embedding::{
    BatchEmbeddingRequest, Embedder, EmbeddingProvider, OnnxEmbeddingProvider, Role, similarity,
};

const DOCUMENTS: [&str; 3] = [
    "An interrupted transfer continues where it stopped when the server accepts byte ranges.",
    "Mix flour, water, salt and yeast, let the dough rise for an hour, then bake it.",
    "The key pair lets you log in to the remote machine without typing a password.",
];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let query = std::env::args().nth(1);
    let query = query.unwrap_or_else(|| "how do I resume a download".to_owned());

    // They share the model and its queue, and differ in what they put before a text.
    let embedder = Embedder::builder().model("akidb-mini").build()?;
    let documents = OnnxEmbeddingProvider::builder()
        .role(Role::Document)
        .build(embedder)?;
    let queries = OnnxEmbeddingProvider::builder()
        .role(Role::Query)
        .build_sharing(&documents)?;

    let request = |inputs: &[&str]| BatchEmbeddingRequest {
        model: "akidb-mini".to_owned(),
        inputs: inputs.iter().map(|&text| text.to_owned()).collect(),
        normalize: true,
    };
    let stored = documents.embed_batch(request(&DOCUMENTS)).await?;
    let asked = queries.embed_batch(request(&[&query])).await?;

    println!("{query}");
    for (vector, text) in stored.embeddings.iter().zip(DOCUMENTS) {
        println!("  {:.3}  {text}", similarity(&asked.embeddings[0], vector));
    }
    Ok(())
}
