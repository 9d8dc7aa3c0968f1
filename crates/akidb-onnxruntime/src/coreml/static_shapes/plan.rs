//! Which texts run together, and in which shape.

use std::cmp::Reverse;

use crate::coreml::StaticShape;

/// One run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Which of the shapes.
    pub(super) shape: usize,
    /// The texts, no more than the shape's batch, none longer than its sequence.
    pub(super) texts: Vec<usize>,
}

/// Runs for texts of these lengths, in tokens: the longest first, each time in the shape that
/// spends the fewest tokens, padding included, on a text, the earlier of equal ones. Every text
/// that some shape takes is in one run.
pub(super) fn plan(lengths: &[usize], shapes: &[StaticShape]) -> Vec<Run> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&text| Reverse(lengths[text]));
    let mut runs = Vec::new();
    let mut rest = order.as_slice();
    while let Some(&longest) = rest.first() {
        let fitting = shapes.iter().enumerate();
        let fitting = fitting.filter(|(_, shape)| shape.sequence >= lengths[longest]);
        let texts = |shape: &StaticShape| shape.batch.clamp(1, rest.len());
        // Tokens for each text: a.tokens / a.texts < b.tokens / b.texts, without fractions.
        let cheapest = fitting.min_by(|(_, a), (_, b)| {
            let a_cost = a.tokens().saturating_mul(texts(b));
            a_cost.cmp(&b.tokens().saturating_mul(texts(a)))
        });
        let Some((shape, size)) = cheapest else {
            rest = &rest[1..];
            continue;
        };
        let (now, later) = rest.split_at(texts(size));
        runs.push(Run {
            shape,
            texts: now.to_vec(),
        });
        rest = later;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(texts: &[&str]) -> Vec<StaticShape> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    fn planned(lengths: &[usize]) -> Vec<(usize, Vec<usize>)> {
        let shapes = shapes(&["1x32", "1x512", "8x128"]);
        let runs = plan(lengths, &shapes);
        runs.into_iter().map(|r| (r.shape, r.texts)).collect()
    }

    #[test]
    fn one_text_takes_the_smallest_shape_that_holds_it() {
        assert_eq!(planned(&[32]), [(0, vec![0])]);
        assert_eq!(planned(&[33]), [(1, vec![0])]);
        assert_eq!(planned(&[512]), [(1, vec![0])]);
        assert_eq!(planned(&[]), []);
    }

    #[test]
    fn texts_share_a_run_where_that_spends_less() {
        assert_eq!(planned(&[100, 90, 128]), [(2, vec![2, 0, 1])]);
        assert_eq!(planned(&[100, 90]), [(1, vec![0]), (1, vec![1])]);
        assert_eq!(planned(&[20, 500]), [(1, vec![1]), (0, vec![0])]);
        let sizes: Vec<usize> = planned(&[100; 11]).iter().map(|r| r.1.len()).collect();
        assert_eq!(sizes, [8, 3]);
    }

    #[test]
    fn every_text_is_in_one_run_that_holds_it() {
        let shapes = shapes(&["2x8", "4x16", "3x40", "1x300"]);
        let lengths: Vec<usize> = (0..300).map(|i| 1 + i * 7919 % 300).collect();
        let mut seen = vec![0; lengths.len()];
        for Run { shape, texts } in plan(&lengths, &shapes) {
            assert!(!texts.is_empty() && texts.len() <= shapes[shape].batch);
            for text in texts {
                assert!(lengths[text] <= shapes[shape].sequence);
                seen[text] += 1;
            }
        }
        assert!(seen.iter().all(|&n| n == 1));
        // One that no shape takes is left out.
        assert_eq!(plan(&[301], &shapes), []);
    }
}
