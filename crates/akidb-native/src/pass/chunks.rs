//! Which of a thread's rows go through a layer together.

use std::ops::Range;

use super::layout::Layout;

/// Rows of a chunk, at most: enough that reading the weights costs little beside multiplying, few
/// enough that activations stay near the core.
pub(super) const CHUNK_ROWS: usize = 128;

/// Cuts the rows `own` into chunks, in groups: what a chunk looks at is in chunks before it, or, where
/// tokens see what is behind them, in its group.
pub(super) fn chunks(
    layout: &Layout,
    own: Range<usize>,
    is_causal: bool,
) -> Vec<Vec<Range<usize>>> {
    let cut = |rows: Range<usize>| {
        let starts = rows.clone().step_by(CHUNK_ROWS);
        starts.map(move |start| start..rows.end.min(start + CHUNK_ROWS))
    };
    if is_causal {
        return cut(own).map(|chunk| vec![chunk]).collect();
    }
    let mut groups: Vec<Vec<Range<usize>>> = Vec::new();
    let mut whole = own.start..own.start;
    for text in layout.segments(own.clone()) {
        let rows = own.start + text.first_row..own.start + text.first_row + text.rows;
        if rows.end - whole.start > CHUNK_ROWS && !whole.is_empty() {
            groups.push(vec![whole.clone()]);
            whole = rows.start..rows.start;
        }
        if rows.len() > CHUNK_ROWS {
            groups.push(cut(rows.clone()).collect());
            whole = rows.end..rows.end;
        } else {
            whole.end = rows.end;
        }
    }
    if !whole.is_empty() {
        groups.push(vec![whole]);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "a group of one chunk")]
    fn texts_stay_whole_where_tokens_see_all_of_them() {
        let layout = Layout::new([(100, 0), (28, 0), (1, 0), (300, 0), (5, 0)]);
        let all = 0..layout.rows();
        let groups = chunks(&layout, all.clone(), false);
        let long = vec![129..257, 257..385, 385..429];
        assert_eq!(groups, [vec![0..128], vec![128..129], long, vec![429..434]]);
        let groups = chunks(&layout, 50..140, false);
        assert_eq!(groups, [vec![50..140]]);
        let causal: Vec<_> = chunks(&layout, all, true).into_iter().flatten().collect();
        assert_eq!(causal, [0..128, 128..256, 256..384, 384..434]);
        assert!(chunks(&layout, 5..5, false).is_empty());
    }
}
