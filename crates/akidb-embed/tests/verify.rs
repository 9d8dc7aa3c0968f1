//! `verify`, on a sound model and on noise.
#![allow(clippy::unwrap_used, reason = "a test's helper fails by panicking")]

mod common;

use common::{akidb, json};

#[test]
fn the_built_in_model_is_right_in_every_precision() {
    for precision in ["auto", "f32", "bf16", "int8"] {
        let out = akidb(&["verify", "-m", "akidb-mini", "--precision", precision]);
        assert_eq!(out.code, 0, "{precision}\n{}{}", out.stdout, out.stderr);
        assert!(out.stdout.ends_with("The vectors are right.\n"));
        assert!(out.stdout.contains("right: cosine to PyTorch's vectors"));
        assert!(out.stdout.contains("right: cosine to rten"));
    }
    let out = akidb(&["verify", "-m", "akidb-mini", "--json"]);
    let report = json(&out.stdout);
    assert_eq!(report["right"], true);
    assert_eq!(report["checks"][0]["values"].as_array().unwrap().len(), 9);
}

/// A decoder with random weights, which no check of its files can tell from a trained one.
#[test]
fn a_model_that_returns_noise_fails() {
    let model = akidb_testing::fixture("tiny");
    let out = akidb(&["verify", "-m", model.to_str().unwrap()]);
    assert_eq!(out.code, 1, "{}{}", out.stdout, out.stderr);
    assert!(out.stdout.contains("WRONG: nearer to the same meaning"));
    assert!(out.stdout.ends_with("The vectors are WRONG.\n"));
    let expected = "error: the vectors of tiny are wrong\nhint: don't use them: ";
    assert!(out.stderr.contains(expected), "{}", out.stderr);
    let out = akidb(&["verify", "-m", model.to_str().unwrap(), "--json"]);
    assert_eq!((out.code, &json(&out.stdout)["right"]), (1, &false.into()));
}
