//! Where the heads' queries, keys and values lie among the columns of their fused product.

use std::ops::Range;

use akidb_kernels::NR;

/// Key/value heads in sets, as small as fill whole panels. The columns of a set are the queries of
/// its heads, their keys, and their values, each from the start of a panel on: so a set is
/// projected, put away and attended to while it is in the cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QkvLayout {
    head_dim: usize,
    /// Width of the queries that share a key/value head.
    query_group: usize,
    pub(crate) sets: usize,
    /// Key/value heads of a set.
    heads: usize,
    /// First column of a set's keys,
    k: usize,
    /// and of its values, counted from the set's first one.
    v: usize,
    /// From one set to the next.
    stride: usize,
}

impl QkvLayout {
    pub(crate) fn new(key_value_heads: usize, head_dim: usize, query_group: usize) -> Self {
        let whole = |heads: &usize| {
            key_value_heads.is_multiple_of(*heads) && (heads * head_dim).is_multiple_of(NR)
        };
        let heads = (1..key_value_heads).find(whole).unwrap_or(key_value_heads);
        let k = (heads * query_group).next_multiple_of(NR);
        let kv_width = (heads * head_dim).next_multiple_of(NR);
        Self {
            head_dim,
            query_group,
            sets: key_value_heads / heads,
            heads,
            k,
            v: k + kv_width,
            stride: k + 2 * kv_width,
        }
    }

    /// All columns, without what fills up the last panel.
    pub(crate) fn width(&self) -> usize {
        (self.sets - 1) * self.stride + self.v + self.heads * self.head_dim
    }

    /// Key/value heads of some sets.
    pub(crate) fn heads(&self, sets: Range<usize>) -> Range<usize> {
        sets.start * self.heads..sets.end * self.heads
    }

    /// Columns of some sets.
    pub(crate) fn columns(&self, sets: Range<usize>) -> Range<usize> {
        sets.start * self.stride..(sets.end * self.stride).min(self.width())
    }

    /// Columns of a set's queries, in whole panels.
    pub(crate) fn q_columns(&self, set: usize) -> Range<usize> {
        set * self.stride..set * self.stride + self.k
    }

    /// Columns of a set's keys and values.
    pub(crate) fn kv_columns(&self, set: usize) -> Range<usize> {
        let columns = self.columns(set..set + 1);
        columns.start + self.k..columns.end
    }

    /// First column of the queries that share a head,
    pub(crate) fn q(&self, head: usize) -> usize {
        head / self.heads * self.stride + head % self.heads * self.query_group
    }

    /// of its keys,
    pub(crate) fn k(&self, head: usize) -> usize {
        head / self.heads * self.stride + self.k + head % self.heads * self.head_dim
    }

    /// and of its values.
    pub(crate) fn v(&self, head: usize) -> usize {
        self.k(head) + self.v - self.k
    }

    /// How the outputs of q lie: so many in neighbouring columns, and so far from the first of
    /// these to the first of the next ones.
    pub(crate) fn q_runs(&self) -> [usize; 2] {
        [self.heads * self.query_group, self.stride]
    }

    /// The same of k, and of v.
    pub(crate) fn kv_runs(&self) -> [usize; 2] {
        [self.heads * self.head_dim, self.stride]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each head has its own columns, which lie in its set, and panels belong to one set.
    fn check(key_value_heads: usize, head_dim: usize, query_heads: usize, sets: usize) {
        let group = query_heads * head_dim;
        let layout = QkvLayout::new(key_value_heads, head_dim, group);
        assert_eq!(layout.sets, sets);
        let mut taken = vec![false; layout.width()];
        for set in 0..sets {
            let columns = layout.columns(set..set + 1);
            assert!(columns.start.is_multiple_of(NR));
            let (q, kv) = (layout.q_columns(set), layout.kv_columns(set));
            assert_eq!(
                [q.start, q.end, kv.end],
                [columns.start, kv.start, columns.end]
            );
            assert!(kv.start.is_multiple_of(NR));
            for head in layout.heads(set..set + 1) {
                for (first, len, part) in [
                    (layout.q(head), group, &q),
                    (layout.k(head), head_dim, &kv),
                    (layout.v(head), head_dim, &kv),
                ] {
                    assert!(part.start <= first && first + len <= part.end);
                    for taken in &mut taken[first..first + len] {
                        assert!(!std::mem::replace(taken, true));
                    }
                }
            }
        }
        assert_eq!(layout.heads(0..sets), 0..key_value_heads);
        assert_eq!(layout.columns(0..sets), 0..layout.width());
        let [run, stride] = layout.q_runs();
        for head in 0..key_value_heads {
            let output = head * group;
            assert_eq!(layout.q(head), output / run * stride + output % run);
        }
        let [run, stride] = layout.kv_runs();
        for head in 0..key_value_heads {
            let output = head * head_dim;
            let column = output / run * stride + output % run;
            assert_eq!(layout.k(head), layout.k(0) + column);
            assert_eq!(layout.v(head), layout.v(0) + column);
        }
    }

    #[test]
    fn heads_lie_apart_and_sets_are_whole_panels() {
        check(8, 128, 2, 8);
        check(8, 16, 2, 4);
        check(4, 8, 3, 1);
        check(1, 64, 4, 1);
        check(3, 6, 1, 1);
        check(6, 16, 1, 3);
        check(5, 16, 1, 1);
    }
}
