//! Which characters a pattern's matches can hold side by side: where it can't look across.

use regex_syntax::hir::{Class, ClassUnicode, Hir, HirKind};
use tokenizers::utils::SysRegex;

/// The one look-around that the patterns of known models have, an alternative of its own: blanks up
/// to the last one before a word.
const BLANKS_BEFORE_BLANK: &str = r"\s+(?!\S)";

/// A pattern, taken apart. What is said of it holds for every text.
#[derive(Debug)]
pub(super) struct Pattern {
    /// Each character or class of the pattern.
    leaves: Vec<ClassUnicode>,
    /// Leaves that can be matched one right after the other: any of the first before any of the
    /// second (the `follow` sets of Glushkov's construction).
    follow: Vec<(Vec<u16>, Vec<u16>)>,
    /// Bytes of its shortest match.
    pub(super) min_bytes: usize,
    /// It has [`BLANKS_BEFORE_BLANK`].
    looks_ahead: bool,
    /// The pattern without what looks ahead.
    plain: SysRegex,
}

/// The leaves with which a part's matches start and end.
#[derive(Default)]
struct Ends {
    first: Vec<u16>,
    last: Vec<u16>,
    may_be_empty: bool,
}

impl Pattern {
    /// Takes a pattern apart; an error says why its time or its context has no bound.
    pub(super) fn new(regex: &str) -> Result<Self, String> {
        // As alternatives of their own these don't make the rest backtrack.
        let with_blanks_as = |blanks: &'static str| {
            let parts = alternatives(regex).map(|part| match part {
                BLANKS_BEFORE_BLANK => blanks,
                part => part,
            });
            parts.collect::<Vec<_>>().join("|")
        };
        let hir = regex_syntax::parse(&with_blanks_as(r"\s+")).map_err(|e| match e {
            regex_syntax::Error::Parse(e) => e.kind().to_string(),
            e => e.to_string(),
        })?;
        let looks_ahead = alternatives(regex).any(|part| part == BLANKS_BEFORE_BLANK);
        let plain = with_blanks_as(r"[^\s\S]");
        let mut this = Self {
            leaves: Vec::new(),
            follow: Vec::new(),
            min_bytes: hir.properties().minimum_len().unwrap_or(0),
            looks_ahead,
            plain: SysRegex::new(&plain).map_err(|e| e.to_string())?,
        };
        this.ends(&hir)?;
        Ok(this)
    }

    /// A pattern that is a plain string.
    pub(super) fn literal(text: &str) -> Result<Self, String> {
        Self::new(&regex_syntax::escape(text))
    }

    /// Whether a match, or a try at one, can go from `a` on to `b`.
    pub(super) fn adjoin(&self, a: char, b: char) -> bool {
        self.follow
            .iter()
            .any(|(before, after)| self.any(before, a) && self.any(after, b))
    }

    /// Whether a match can hold the character.
    pub(super) fn holds(&self, c: char) -> bool {
        self.leaves.iter().any(|leaf| contains(leaf, c))
    }

    /// Whether a text that ends between `a` and `b`, instead of going on, has other matches before.
    /// Only where [`Self::adjoin`] is false.
    pub(super) fn sees(&self, a: char, b: char) -> bool {
        self.looks_ahead && a.is_whitespace() && !b.is_whitespace()
    }

    /// Whether the character is always part of a match: it is one by itself.
    pub(super) fn takes(&self, c: char) -> bool {
        let text = c.encode_utf8(&mut [0; 4]).to_owned();
        self.plain.find_iter(&text).next() == Some((0, text.len()))
    }

    fn any(&self, leaves: &[u16], c: char) -> bool {
        let mut leaves = leaves.iter();
        leaves.any(|&leaf| {
            let leaf = self.leaves.get(usize::from(leaf));
            leaf.is_some_and(|leaf| contains(leaf, c))
        })
    }

    fn leaf(&mut self, class: ClassUnicode) -> Result<Ends, String> {
        let too_long = |_| "it has too many characters".to_owned();
        let index = u16::try_from(self.leaves.len()).map_err(too_long)?;
        self.leaves.push(class);
        Ok(Ends {
            first: vec![index],
            last: vec![index],
            may_be_empty: false,
        })
    }

    fn ends(&mut self, hir: &Hir) -> Result<Ends, String> {
        match hir.kind() {
            HirKind::Empty => Ok(Ends {
                may_be_empty: true,
                ..Ends::default()
            }),
            HirKind::Literal(literal) => {
                let text = std::str::from_utf8(&literal.0).map_err(|e| e.to_string())?;
                let mut all = Ends {
                    may_be_empty: true,
                    ..Ends::default()
                };
                for c in text.chars() {
                    let range = regex_syntax::hir::ClassUnicodeRange::new(c, c);
                    let next = self.leaf(ClassUnicode::new([range]))?;
                    all = self.then(all, next);
                }
                Ok(all)
            }
            HirKind::Class(Class::Unicode(class)) => self.leaf(class.clone()),
            HirKind::Class(Class::Bytes(_)) => Err("it matches bytes".to_owned()),
            HirKind::Look(_) => Err("it looks at what is around a match".to_owned()),
            HirKind::Capture(capture) => self.ends(&capture.sub),
            HirKind::Repetition(repetition) => {
                let mut ends = self.ends(&repetition.sub)?;
                if repetition.max.is_none_or(|max| max > 1) {
                    self.follow.push((ends.last.clone(), ends.first.clone()));
                }
                ends.may_be_empty |= repetition.min == 0;
                Ok(ends)
            }
            HirKind::Concat(parts) => {
                let mut all = Ends {
                    may_be_empty: true,
                    ..Ends::default()
                };
                for part in parts {
                    let next = self.ends(part)?;
                    all = self.then(all, next);
                }
                Ok(all)
            }
            HirKind::Alternation(parts) => {
                let mut all = Ends::default();
                for part in parts {
                    let Ends {
                        first,
                        last,
                        may_be_empty,
                    } = self.ends(part)?;
                    all.first.extend(first);
                    all.last.extend(last);
                    all.may_be_empty |= may_be_empty;
                }
                Ok(all)
            }
        }
    }

    fn then(&mut self, mut all: Ends, next: Ends) -> Ends {
        if !all.last.is_empty() && !next.first.is_empty() {
            self.follow.push((all.last.clone(), next.first.clone()));
        }
        if all.may_be_empty {
            all.first.extend(next.first);
        }
        if next.may_be_empty {
            all.last.extend(next.last);
        } else {
            all.last = next.last;
        }
        all.may_be_empty &= next.may_be_empty;
        all
    }
}

fn contains(class: &ClassUnicode, c: char) -> bool {
    let ranges = class.ranges();
    let at = ranges.partition_point(|range| range.end() < c);
    ranges.get(at).is_some_and(|range| range.start() <= c)
}

/// The parts between the bars that stand outside of all brackets.
fn alternatives(regex: &str) -> impl Iterator<Item = &str> {
    let (mut depth, mut classes, mut escaped) = (0usize, 0usize, false);
    regex.split(move |c| {
        let plain = !std::mem::take(&mut escaped);
        match c {
            '\\' if plain => escaped = true,
            '[' if plain => classes += 1,
            ']' if plain => classes = classes.saturating_sub(1),
            '(' if plain && classes == 0 => depth += 1,
            ')' if plain && classes == 0 => depth = depth.saturating_sub(1),
            '|' if plain => return depth == 0 && classes == 0,
            _ => {}
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const QWEN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    #[test]
    fn what_stands_side_by_side_in_a_match_is_known() {
        let pattern = Pattern::new(QWEN).unwrap();
        for (a, b) in [
            ('a', 'é'),
            ('\'', 'T'),
            ('r', 'e'),
            (' ', 'x'),
            (' ', '!'),
            ('!', '\n'),
            (' ', '\n'),
        ] {
            assert!(pattern.adjoin(a, b), "{a:?} {b:?}");
        }
        for (a, b) in [
            ('a', ' '),
            ('1', '2'),
            ('a', '1'),
            ('1', 'a'),
            (' ', '1'),
            ('a', '!'),
            ('!', ' '),
            ('\n', '!'),
        ] {
            assert!(!pattern.adjoin(a, b), "{a:?} {b:?}");
        }
        assert!(pattern.sees(' ', '1') && !pattern.sees('a', ' '));
        assert!(pattern.takes('a') && pattern.takes('1') && pattern.takes(' '));
        assert_eq!(pattern.min_bytes, 1);
        let words = Pattern::new(r"\w+|[^\w\s]+").unwrap();
        assert!(words.takes('a') && !words.takes(' ') && !words.adjoin('a', '!'));
        let counted = Pattern::new(r"a{1,3}b?c").unwrap();
        assert!(counted.adjoin('a', 'a') && counted.adjoin('a', 'c') && !counted.adjoin('c', 'a'));
        let text = Pattern::literal("(a.").unwrap();
        assert!(text.adjoin('(', 'a') && text.adjoin('a', '.') && !text.adjoin('(', '.'));
        assert!(text.holds('.') && !text.holds('b'));
    }

    #[test]
    fn a_pattern_whose_context_has_no_bound_is_refused() {
        for regex in [
            r"a(?=.*b)",
            r"(?<!a)b",
            r"\bword",
            r"^a",
            r"(a)\1",
            r"(\s+(?!\S)|a+)+b",
            r"x\s*(?!\S)",
            "(",
        ] {
            assert!(Pattern::new(regex).is_err(), "{regex}");
        }
        assert!(Pattern::new(&"ab".repeat(40_000)).is_err());
    }
}
