//! Which texts run together.

use std::cmp::Reverse;

/// Most tokens of one run, padding included; a longer text runs alone. More tokens don't make a
/// run faster, only larger.
const MAX_PADDED_TOKENS: usize = 4096;

/// Most pairs of tokens that attend to each other in one run, padding included, a single text
/// aside. Engines hold the attention scores of a whole run, so that long texts run in smaller groups.
const MAX_TOKEN_PAIRS: usize = 1 << 21;

/// Shortest text, in tokens, that may share a run with one of `longest` tokens.
fn shortest_beside(longest: usize) -> usize {
    longest.saturating_sub((longest / 8).max(8))
}

/// True when `texts` padded to `longest` tokens may run at once.
fn fits(texts: usize, longest: usize) -> bool {
    let tokens = texts.saturating_mul(longest);
    tokens <= MAX_PADDED_TOKENS && tokens.saturating_mul(longest) <= MAX_TOKEN_PAIRS
}

/// Groups of texts, as indices into `lengths`, each to be padded to its longest and run at once.
///
/// Texts of one group differ in length by at most an eighth or 8 tokens, whichever is more, and
/// a group of several texts stays within [`MAX_PADDED_TOKENS`], [`MAX_TOKEN_PAIRS`] and `most_texts`.
/// Every index appears once.
pub(crate) fn groups(lengths: &[usize], most_texts: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&i| Reverse(lengths[i]));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut longest = 0;
    for i in order {
        match groups.last_mut() {
            Some(group)
                if group.len() < most_texts
                    && lengths[i] >= shortest_beside(longest)
                    && fits(group.len() + 1, longest) =>
            {
                group.push(i);
            }
            _ => {
                longest = lengths[i];
                groups.push(vec![i]);
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_in_one_group_within_bounds() {
        let lengths: Vec<usize> = (0..500)
            .map(|i| 1 + i * 7919 % 700)
            .chain([9000, 5000])
            .collect();
        let groups = groups(&lengths, usize::MAX);
        let mut seen = vec![0; lengths.len()];
        for group in &groups {
            let longest = group.iter().map(|&i| lengths[i]).max().unwrap();
            let shortest = group.iter().map(|&i| lengths[i]).min().unwrap();
            assert!(longest - shortest <= (longest / 8).max(8));
            assert!(group.len() == 1 || group.len() * longest <= 4096);
            assert!(group.len() == 1 || group.len() * longest * longest <= 2_097_152);
            group.iter().for_each(|&i| seen[i] += 1);
        }
        assert!(seen.iter().all(|&n| n == 1));
        assert!(groups.len() < 100, "{}", groups.len());
    }

    #[test]
    fn equal_lengths_fill_a_run_to_the_brim() {
        let sizes: Vec<usize> = groups(&[32; 300], usize::MAX)
            .iter()
            .map(Vec::len)
            .collect();
        assert_eq!(sizes, [128, 128, 44]);
        let sizes: Vec<usize> = groups(&[1024; 3], usize::MAX)
            .iter()
            .map(Vec::len)
            .collect();
        assert_eq!(sizes, [2, 1]);
        let sizes: Vec<usize> = groups(&[32; 9], 4).iter().map(Vec::len).collect();
        assert_eq!(sizes, [4, 4, 1]);
        assert!(groups(&[], 1).is_empty());
    }
}
