//! The built-in model finds what a query means.

use akidb_embedding::{EmbedOptions, Embedder, similarity};
use akidb_testing::pairs;

#[test]
fn queries_find_their_documents() {
    let pairs = pairs();
    let embedder = Embedder::builder().model("akidb-mini").build().unwrap();
    let queries: Vec<&str> = pairs.iter().map(|p| p.query.as_str()).collect();
    let documents: Vec<&str> = pairs.iter().map(|p| p.document.as_str()).collect();
    let queries = embedder.vectors(&queries, &EmbedOptions::query()).unwrap();
    let documents = embedder
        .vectors(&documents, &EmbedOptions::default())
        .unwrap();
    let rank = |i: usize| {
        let own = similarity(&queries[i], &documents[i]);
        documents
            .iter()
            .filter(|d| similarity(&queries[i], d) > own)
            .count()
    };
    let within = |k: usize| (0..pairs.len()).filter(|&i| rank(i) < k).count();
    println!("recall@1 {}/50, recall@5 {}/50", within(1), within(5));
    assert_eq!(pairs.len(), 50);
    assert!(within(1) >= 44, "recall@1 {}/50", within(1));
    assert!(within(5) >= 49, "recall@5 {}/50", within(5));
}
