//! Where the rows and the keys of a pass lie, and how threads share the rows.

use std::ops::Range;

use akidb_kernels::KEY_TILE;

/// Neighbouring rows of one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) first_row: usize,
    pub(crate) rows: usize,
    /// Position in the text of the first row. Those before the first row of all need no computing.
    pub(crate) position: usize,
    /// Of the text.
    pub(crate) first_tile: usize,
    /// Of the whole text.
    pub(crate) tokens: usize,
}

/// Tokens whose states leave the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Wanted {
    /// The last of each text.
    #[default]
    Last,
    /// The first of each text.
    First,
    /// All of those that are computed.
    All,
}

/// The texts of a pass, row after row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layout {
    /// All rows of each text.
    texts: Vec<Segment>,
    rows: usize,
    /// Tiles of keys and values, of each head.
    tiles: usize,
    wanted: Wanted,
    /// Whether tokens see what is behind them.
    sees_all: bool,
}

impl Layout {
    /// Texts of so many tokens, of which the first `position` need no computing.
    pub(crate) fn new(texts: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut layout = Self::default();
        for (tokens, position) in texts {
            let rows = tokens.saturating_sub(position);
            layout.texts.push(Segment {
                first_row: layout.rows,
                rows,
                position,
                first_tile: layout.tiles,
                tokens,
            });
            layout.rows += rows;
            layout.tiles += tokens.div_ceil(KEY_TILE);
        }
        layout
    }

    /// The same texts, with other states wanted than each one's last.
    pub(crate) fn wanting(self, wanted: Wanted) -> Self {
        Self { wanted, ..self }
    }

    /// The same texts, whose tokens see what is behind them unless `is_causal`.
    pub(crate) fn causal(self, is_causal: bool) -> Self {
        let sees_all = !is_causal;
        Self { sees_all, ..self }
    }

    #[cfg(test)]
    fn texts(&self) -> &[Segment] {
        &self.texts
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn tiles(&self) -> usize {
        self.tiles
    }

    /// The texts that `rows` belong to. Rows are counted from the start of `rows`.
    pub(crate) fn segments(&self, rows: Range<usize>) -> Vec<Segment> {
        let first = self
            .texts
            .partition_point(|text| text.first_row + text.rows <= rows.start);
        let mut segments = Vec::new();
        for text in &self.texts[first..] {
            if text.first_row >= rows.end {
                break;
            }
            let start = text.first_row.max(rows.start);
            let end = (text.first_row + text.rows).min(rows.end);
            segments.push(Segment {
                first_row: start - rows.start,
                rows: end - start,
                position: text.position + start - text.first_row,
                ..*text
            });
        }
        segments
    }

    /// Those of `rows` whose states are wanted, one by one. Rows are counted from the start of
    /// `rows`.
    pub(crate) fn wanted_rows(&self, rows: Range<usize>) -> Vec<Segment> {
        if self.wanted == Wanted::All {
            let one = |segment: Segment| {
                (0..segment.rows).map(move |row| Segment {
                    first_row: segment.first_row + row,
                    rows: 1,
                    position: segment.position + row,
                    ..segment
                })
            };
            return self.segments(rows).into_iter().flat_map(one).collect();
        }
        let row_of = |text: &Segment| match self.wanted {
            Wanted::First => 0,
            _ => text.rows.saturating_sub(1),
        };
        let wanted = self.texts.iter().map(|text| (text, row_of(text)));
        wanted
            .filter(|(text, row)| rows.contains(&(text.first_row + row)))
            .map(|(text, row)| Segment {
                first_row: text.first_row + row - rows.start,
                rows: 1,
                position: text.position + row,
                ..*text
            })
            .collect()
    }

    /// True when a text starts at `row`, or all are over.
    pub(crate) fn starts_at(&self, row: usize) -> bool {
        row == self.rows
            || self
                .texts
                .binary_search_by_key(&row, |text| text.first_row)
                .is_ok()
    }

    /// Cuts the rows into `parts` of about equal cost. A row that sees `p` positions costs
    /// 1 + `per_position` · p.
    pub(crate) fn shares(&self, parts: usize, per_position: f64) -> Vec<Range<usize>> {
        let cost_of = |text: &Segment, rows: usize| {
            let (rows, position) = (rows as f64, text.position as f64);
            if self.sees_all {
                return rows + per_position * rows * text.tokens as f64;
            }
            rows + per_position * rows * (position + (rows - 1.0) / 2.0)
        };
        let total: f64 = self.texts.iter().map(|text| cost_of(text, text.rows)).sum();
        let mut cuts = vec![0];
        let (mut before, mut texts) = (0.0, self.texts.iter().peekable());
        for part in 1..parts {
            let target = total * part as f64 / parts as f64;
            // A text that is cut has its threads wait for each other.
            let tolerance = SNAP * total / parts as f64;
            let mut cut = self.rows;
            while let Some(text) = texts.peek() {
                let cost = cost_of(text, text.rows);
                if before + cost < target - tolerance {
                    before += cost;
                    texts.next();
                    continue;
                }
                cut = if target - before < tolerance {
                    text.first_row
                } else if before + cost - target < tolerance {
                    text.first_row + text.rows
                } else {
                    let reached = |rows: &usize| before + cost_of(text, *rows) >= target;
                    let inside = (1..text.rows).find(reached).unwrap_or(text.rows);
                    // The tile that rows share with positions before them has one writer.
                    let whole = text.position.next_multiple_of(KEY_TILE) - text.position;
                    text.first_row + inside.max(whole).min(text.rows)
                };
                break;
            }
            cuts.push(cut);
        }
        cuts.push(self.rows);
        cuts.windows(2).map(|cut| cut[0]..cut[1]).collect()
    }
}

/// How much longer than its share a part may be, so that no text is cut.
const SNAP: f64 = 0.02;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_tiles_follow_each_other() {
        let layout = Layout::new([(3, 0), (65, 10), (1, 0)]);
        let place = |t: &Segment| (t.first_row, t.rows, t.position, t.first_tile);
        let places: Vec<_> = layout.texts().iter().map(place).collect();
        assert_eq!(places, [(0, 3, 0, 0), (3, 55, 10, 1), (58, 1, 0, 3)]);
        assert_eq!((layout.rows(), layout.tiles()), (59, 4));
        let ends = |rows| {
            let ends = layout.wanted_rows(rows).into_iter();
            ends.map(|s| s.first_row).collect::<Vec<_>>()
        };
        assert_eq!(ends(0..59), [2, 57, 58]);
        assert_eq!(ends(3..58), [54]);
        for (rows, last) in [(0..59, 57), (3..58, 54)] {
            let ends = layout.wanted_rows(rows.clone());
            let segment = ends.iter().find(|s| s.first_row == last).unwrap();
            let row = rows.start + last;
            let same = layout.segments(row..row + 1)[0];
            assert_eq!((segment.rows, segment.position), (1, 64));
            assert_eq!(
                *segment,
                Segment {
                    first_row: last,
                    ..same
                }
            );
        }
        let first = Layout::new([(3, 0), (65, 10), (1, 0)]).wanting(Wanted::First);
        let firsts = first.wanted_rows(2..59);
        let firsts: Vec<_> = firsts.iter().map(|s| (s.first_row, s.position)).collect();
        assert_eq!(firsts, [(1, 10), (56, 0)]);
        let all = Layout::new([(3, 0), (65, 10), (1, 0)]).wanting(Wanted::All);
        let place = |s: &Segment| (s.first_row, s.rows, s.position, s.first_tile);
        let places: Vec<_> = all.wanted_rows(2..5).iter().map(place).collect();
        assert_eq!(places, [(0, 1, 2, 0), (1, 1, 10, 1), (2, 1, 11, 1)]);
        assert_eq!(all.wanted_rows(0..59).len(), 59);
        for row in 0..60 {
            assert_eq!(layout.starts_at(row), [0, 3, 58, 59].contains(&row));
        }
    }

    #[test]
    fn segments_cover_every_row_once() {
        let layout = Layout::new([(3, 0), (9, 4), (4, 0)]);
        let parts = |rows| {
            let segments = layout.segments(rows);
            let part = |s: &Segment| (s.first_row, s.rows, s.position, s.first_tile);
            segments.iter().map(part).collect::<Vec<_>>()
        };
        assert_eq!(parts(0..12), [(0, 3, 0, 0), (3, 5, 4, 1), (8, 4, 0, 2)]);
        assert_eq!(parts(2..5), [(0, 1, 2, 0), (1, 2, 4, 1)]);
        assert_eq!(parts(5..9), [(0, 3, 6, 1), (3, 1, 0, 2)]);
        assert_eq!(parts(3..3), []);
    }

    #[test]
    fn shares_are_even_and_keep_texts_whole_where_they_can() {
        let shares = |lengths: &[usize], parts, per_position| {
            Layout::new(lengths.iter().map(|len| (*len, 0))).shares(parts, per_position)
        };
        assert_eq!(shares(&[5; 32], 2, 0.0), [0..80, 80..160]);
        assert_eq!(shares(&[128; 8], 2, 1e-3), [0..512, 512..1024]);
        assert_eq!(shares(&[40; 3], 2, 0.0), [0..60, 60..120]);
        assert_eq!(shares(&[99, 101], 2, 0.0), [0..99, 99..200]);
        assert_eq!(shares(&[101, 99], 2, 0.0), [0..101, 101..200]);
        assert_eq!(shares(&[7], 1, 0.0).first(), Some(&(0..7)));
        assert_eq!(Layout::new([(90, 20)]).shares(2, 0.0), [0..44, 44..70]);
        // Where every token sees all of its text, its first half costs as much as its second.
        let full = Layout::new([(1000, 0)]).causal(false);
        assert_eq!(full.shares(2, 1.0), [0..500, 500..1000]);
        assert_eq!(
            shares(&[1], 3, 0.0).iter().map(Range::len).sum::<usize>(),
            1
        );
        for (lengths, parts, per_position) in [
            (&[1000][..], 2, 1e-3),
            (&[1000], 5, 0.01),
            (&[3, 500, 20, 20, 900, 1], 3, 1e-3),
        ] {
            let cut = shares(lengths, parts, per_position);
            assert_eq!(
                (cut[0].start, cut[parts - 1].end),
                (0, lengths.iter().sum())
            );
            assert!(cut.windows(2).all(|pair| pair[0].end == pair[1].start));
            let mut positions = lengths.iter().flat_map(|len| 0..*len);
            let costs: Vec<f64> = cut
                .iter()
                .map(|rows| {
                    let rows = positions.by_ref().take(rows.len());
                    rows.map(|p| 1.0 + per_position * p as f64).sum()
                })
                .collect();
            let mean = costs.iter().sum::<f64>() / parts as f64;
            for cost in costs {
                assert!((cost / mean - 1.0).abs() < 0.05, "{cost} {mean}");
            }
        }
    }
}
