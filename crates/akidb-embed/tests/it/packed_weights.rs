//! Packed weights on disk, as several programs at once meet them.

use std::fs;
use std::thread;

use crate::common::{Outcome, builtin, run_with};

#[test]
fn programs_that_start_together_share_one_pack() {
    let cache = tempfile::tempdir().unwrap();
    let (model, path) = (builtin(""), cache.path().to_str().unwrap());
    let args = [
        "embed",
        "Hello, world!",
        "--format",
        "npy",
        "--precision",
        "f32",
        "--model",
        &model,
    ];
    let run = |variables: &[(&str, &str)]| run_with(&args, b"", variables);
    let expected = run(&[("AKIDB_CACHE_DIR", "")]);
    let check = |out: Outcome| {
        assert_eq!((out.code, out.stderr.as_str()), (0, ""));
        assert_eq!(out.bytes, expected.bytes);
    };
    for _ in 0..2 {
        let outcomes: Vec<Outcome> = thread::scope(|scope| {
            let programs = [(); 4].map(|()| scope.spawn(|| run(&[("AKIDB_CACHE_DIR", path)])));
            programs.map(|program| program.join().unwrap()).into()
        });
        outcomes.into_iter().for_each(check);
        let packs = fs::read_dir(cache.path().join("packed")).unwrap();
        let packs: Vec<_> = packs.map(|pack| pack.unwrap().path()).collect();
        assert_eq!(packs.len(), 1, "{packs:?}");
        assert!(fs::metadata(&packs[0]).unwrap().len() > 16 << 20);
    }
}
