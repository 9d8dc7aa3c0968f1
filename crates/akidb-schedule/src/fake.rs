//! An engine for tests: a text's output is its first id.

use std::io;

use crate::engine::Engine;

/// Fails on a text with a 13 in it, panics on one with a 666, and forgets the last output of a pass
/// with a 77 in it.
#[derive(Debug)]
pub(crate) struct Fake;

/// `tokens` ids, the first of which tells texts apart.
pub(crate) fn text(first: u32, tokens: usize) -> Vec<u32> {
    let mut ids = vec![0; tokens];
    ids[0] = first;
    ids
}

impl Engine for Fake {
    type Item = Vec<u32>;
    type Group = &'static str;
    type Output = f32;
    type Error = io::Error;

    fn run(&self, items: &[Vec<u32>], _: &&'static str) -> io::Result<Vec<f32>> {
        let has = |id| items.iter().any(|text| text.contains(&id));
        if has(13) {
            return Err(io::Error::other("13"));
        }
        assert!(!has(666), "the number");
        let outputs = items.len() - usize::from(has(77));
        Ok(items.iter().take(outputs).map(|t| t[0] as f32).collect())
    }

    fn tokens(item: &Vec<u32>) -> usize {
        item.len()
    }

    fn bytes(item: &Vec<u32>, _: &f32) -> usize {
        size_of_val(&**item)
    }

    fn is_sound(output: &f32) -> bool {
        output.is_finite()
    }
}
