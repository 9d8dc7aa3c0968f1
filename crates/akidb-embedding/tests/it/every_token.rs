//! The states of all tokens of a text.

use akidb_embedding::{BackendChoice, EmbedError, EmbedOptions, Embedder, Pooling};

const TEXTS: [&str; 2] = ["Hello, world!", "naïve café 😀"];

fn ids(embedder: &Embedder) -> Vec<Vec<u32>> {
    let tokens = embedder.tokenize(&TEXTS, &EmbedOptions::default()).unwrap();
    tokens
        .into_iter()
        .map(|tokens| tokens.unwrap().ids)
        .collect()
}

#[test]
fn the_last_tokens_state_is_the_texts() {
    let embedder = Embedder::builder().model("akidb-mini").build().unwrap();
    let ids = ids(&embedder);
    let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let all = embedder.forward_all(&ids).unwrap();
    let last = embedder.forward(&ids, "").unwrap();
    for (index, states) in all.iter().enumerate() {
        assert_eq!(states.len(), ids[index].len() * embedder.dimension());
        assert!(states.ends_with(last.row(index)));
    }
}

#[test]
fn backends_of_whole_graphs_say_that_they_pool() {
    let builder = Embedder::builder().model("akidb-mini");
    let embedder = builder.backend(BackendChoice::Rten).build().unwrap();
    let ids = ids(&embedder);
    let error = embedder.forward_all(&[&ids[0]]).unwrap_err();
    assert!(matches!(error, EmbedError::Unsupported(_)), "{error:?}");
    assert!(error.to_string().contains("rten"), "{error}");
}

/// sentence-transformers' `Pooling`, written down once more, for one column of a text's states.
fn pooled(pooling: Pooling, column: &[f64]) -> f64 {
    let sum: f64 = column.iter().sum();
    let count = column.len() as f64;
    match pooling {
        Pooling::Cls => column[0],
        Pooling::LastToken => column[column.len() - 1],
        Pooling::Max => column.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Pooling::Mean => sum / count,
        Pooling::MeanSqrtLen => sum / count.sqrt(),
        Pooling::WeightedMean => {
            let weighted: f64 = column.iter().zip(1..).map(|(x, n)| x * f64::from(n)).sum();
            weighted / (count * (count + 1.0) / 2.0)
        }
    }
}

#[test]
fn each_pooling_is_made_of_the_tokens_states_on_both_engines() {
    let builder = || Embedder::builder().model("akidb-mini");
    let native = builder().backend(BackendChoice::Native).build().unwrap();
    let ids = ids(&native);
    let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let states = native.forward_all(&ids).unwrap();
    let width = native.dimension();
    for pooling in [
        Pooling::Cls,
        Pooling::LastToken,
        Pooling::Max,
        Pooling::Mean,
        Pooling::MeanSqrtLen,
        Pooling::WeightedMean,
    ] {
        // The states are the native engine's; RTen's differ where it rounds.
        for (backend, most) in [(BackendChoice::Native, 1e-6), (BackendChoice::Rten, 2e-3)] {
            let embedder = builder().backend(backend).pooling(pooling).build().unwrap();
            let rows = embedder.forward(&ids, "").unwrap();
            for (index, states) in states.iter().enumerate() {
                let expected: Vec<f64> = (0..width)
                    .map(|at| {
                        let column = states.iter().skip(at).step_by(width);
                        let column: Vec<f64> = column.map(|x| f64::from(*x)).collect();
                        pooled(pooling, &column)
                    })
                    .collect();
                let largest = expected.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
                for (x, expected) in rows.row(index).iter().zip(&expected) {
                    let error = (f64::from(*x) - expected).abs() / largest;
                    assert!(error <= most, "{backend} {pooling}: {x}, not {expected}");
                }
            }
        }
    }
}
