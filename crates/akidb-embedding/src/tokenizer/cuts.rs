//! Where a text can be cut so that its parts, one by one, have the tokens of the whole.
//!
//! A place between two characters is such one when no part of the pipeline looks across it. That is
//! decided from the four characters around it and what is known of each part, whatever the rest of
//! the text. Where a part isn't known well enough no place is.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use tokenizers::normalizers::NormalizerWrapper as N;
use tokenizers::pre_tokenizers::PreTokenizerWrapper as P;
use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::{AddedVocabulary, NormalizedString, Normalizer, SplitDelimiterBehavior as Keeps};
use unicode_normalization_alignments::char::canonical_combining_class;
use unicode_normalization_alignments::{IsNormalized, is_nfc_quick, is_nfkc_quick};

use super::parts::{Normalizers, PreTokenizers, split_pattern};
use super::pattern::Pattern;

/// GPT-2's, which the library's ByteLevel has built in.
const BYTE_LEVEL: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// The library's Whitespace.
const WORDS: &str = r"\w+|[^\w\s]+";

/// What is known of a pipeline.
#[derive(Debug)]
pub(super) struct Cuts {
    added: AddedTokens,
    splits: Vec<Splits>,
    /// A piece that doesn't start with a space gets one.
    before_space: bool,
    not_before_blank: bool,
    not_behind_blank: bool,
}

/// How a pre-tokenizer splits.
#[derive(Debug)]
enum Splits {
    /// Around blanks; around ASCII punctuation, too (other punctuation is not looked at here).
    Blanks {
        punctuation: bool,
    },
    Punctuation,
    /// Around digits, or around runs of them.
    Digits {
        each: bool,
    },
    Around(char),
    /// Before the character, which stands for a space.
    Before(char),
    Matches(Box<Pattern>),
}

/// The added tokens' characters.
#[derive(Debug, Default)]
struct AddedTokens {
    /// Side by side in a token that is looked for in the text as it is, or in the normalized text.
    raw: HashSet<(char, char)>,
    normalized: HashSet<(char, char)>,
    /// At the ends of tokens that look at what stands beside them.
    first: HashSet<char>,
    last: HashSet<char>,
    /// A token takes the blanks beside it.
    take_blanks: bool,
}

/// A character by itself, normalized.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Its first and its last character then, if any is left.
    ends: Option<(char, char)>,
    /// Nothing before it changes it, and it changes nothing before it.
    starts: bool,
    /// No grapheme joins it with a character of this kind.
    plain: bool,
    /// It is in nothing that is replaced.
    kept: bool,
}

/// What was found out about characters while one text is cut.
#[derive(Debug, Default)]
pub(super) struct Known {
    seen: HashMap<char, Seen>,
    pairs: HashMap<(char, char), bool>,
}

impl Cuts {
    /// `None` where a part's context isn't known.
    pub(super) fn new(
        normalizers: Option<&Normalizers>,
        pre_tokenizers: Option<&PreTokenizers>,
        added: &AddedVocabulary,
    ) -> Option<Self> {
        let mut this = Self {
            added: AddedTokens::new(added, normalizers)?,
            splits: Vec::new(),
            before_space: false,
            not_before_blank: false,
            not_behind_blank: false,
        };
        for step in normalizers.map(Normalizers::steps).unwrap_or_default() {
            match &step.normalizer {
                N::Prepend(_) => return None,
                N::StripNormalizer(strip) => {
                    this.not_before_blank |= strip.strip_left;
                    this.not_behind_blank |= strip.strip_right;
                }
                _ => {}
            }
        }
        let steps = pre_tokenizers.map(PreTokenizers::steps).unwrap_or_default();
        for (index, step) in steps.iter().enumerate() {
            let last = index + 1 == steps.len();
            this.pre_tokenizer(step, last)?;
        }
        Some(this)
    }

    fn pre_tokenizer(&mut self, part: &P, last: bool) -> Option<()> {
        let isolates = |behavior| matches!(behavior, Keeps::Isolated | Keeps::Removed);
        let splits = match part {
            P::BertPreTokenizer(_) => Splits::Blanks { punctuation: true },
            P::WhitespaceSplit(_) => Splits::Blanks { punctuation: false },
            P::Whitespace(_) => Splits::Matches(Box::new(Pattern::new(WORDS).ok()?)),
            P::Punctuation(part) if isolates(part.behavior) => Splits::Punctuation,
            P::Digits(part) => Splits::Digits {
                each: part.individual_digits,
            },
            P::Delimiter(part) => Splits::Around(part.delimiter),
            P::Split(part) if isolates(part.behavior) => {
                Splits::Matches(Box::new(split_pattern(&part.pattern).ok()?))
            }
            // What follows these sees other characters.
            P::Metaspace(part) if last => {
                self.before_space |= part.get_prepend_scheme() != PrependScheme::Never;
                if !part.get_split() {
                    return Some(());
                }
                Splits::Before(part.get_replacement())
            }
            P::ByteLevel(part) if last => {
                self.before_space |= part.add_prefix_space;
                if !part.use_regex {
                    return Some(());
                }
                Splits::Matches(Box::new(Pattern::new(BYTE_LEVEL).ok()?))
            }
            _ => return None,
        };
        self.splits.push(splits);
        Some(())
    }

    /// The last place of a range of a text where it can be cut, or the first.
    pub(super) fn find(
        &self,
        normalizers: Option<&Normalizers>,
        text: &str,
        range: Range<usize>,
        last: bool,
        known: &mut Known,
    ) -> Option<usize> {
        let range = text.ceil_char_boundary(range.start)..text.floor_char_boundary(range.end);
        let places = text.get(range.clone())?.char_indices();
        let mut places = places.map(|(at, _)| range.start + at);
        let mut is_cut = |at: &usize| self.is_cut(normalizers, text, *at, known);
        if last {
            places.rev().find(is_cut)
        } else {
            places.find(|at| is_cut(at))
        }
    }

    fn is_cut(
        &self,
        normalizers: Option<&Normalizers>,
        text: &str,
        at: usize,
        known: &mut Known,
    ) -> bool {
        let (before, after) = text.split_at(at);
        let (mut before, mut after) = (before.chars().rev(), after.chars());
        let (Some(x), Some(y)) = (before.next(), after.next()) else {
            return false;
        };
        let pair = known.pairs.get(&(x, y)).copied();
        if pair == Some(false) {
            return false;
        }
        let Known { seen, pairs } = known;
        let mut see = |c| *seen.entry(c).or_insert_with(|| Seen::new(c, normalizers));
        let (left, right) = (see(x), see(y));
        let joined = pair.unwrap_or_else(|| {
            let may = self.pair((x, y), left, right);
            pairs.insert((x, y), may);
            may
        });
        joined
            && before.next().is_none_or(|w| see(w).plain)
            && after.next().is_none_or(|z| {
                let z = see(z);
                z.ends.is_some() && z.starts && z.plain && z.kept
            })
    }

    /// Whether no part looks from one character to the next, and one splits there.
    fn pair(&self, (x, y): (char, char), left: Seen, right: Seen) -> bool {
        let (Some((_, a)), Some((b, _))) = (left.ends, right.ends) else {
            return false;
        };
        let blank = |c: char| c.is_whitespace();
        let (blank_before, blank_after) = (blank(x) || blank(a), blank(y) || blank(b));
        let added = &self.added;
        left.starts
            && left.plain
            && left.kept
            && right.starts
            && right.plain
            && !added.raw.contains(&(x, y))
            && !added.normalized.contains(&(a, b))
            && ![x, a].iter().any(|c| added.last.contains(c))
            && ![y, b].iter().any(|c| added.first.contains(c))
            && !(added.take_blanks && blank_before && blank_after)
            && !(self.not_before_blank && blank_after)
            && !(self.not_behind_blank && blank_before)
            && (!self.before_space || b == ' ')
            && self.splits.iter().all(|splits| !splits.look_across(a, b))
            && self.splits.iter().any(|splits| splits.split(a, b))
    }
}

impl Splits {
    fn look_across(&self, a: char, b: char) -> bool {
        match self {
            Self::Matches(pattern) => pattern.adjoin(a, b) || pattern.sees(a, b),
            _ => false,
        }
    }

    fn split(&self, a: char, b: char) -> bool {
        let either = |is: fn(&char) -> bool| is(&a) || is(&b);
        match self {
            Self::Blanks { punctuation } => {
                either(|c| c.is_whitespace()) || *punctuation && either(char::is_ascii_punctuation)
            }
            Self::Punctuation => either(char::is_ascii_punctuation),
            Self::Digits { each: true } => either(|c| c.is_numeric()),
            Self::Digits { each: false } => a.is_numeric() != b.is_numeric(),
            Self::Around(c) => a == *c || b == *c,
            Self::Before(c) => b == ' ' || b == *c,
            Self::Matches(pattern) => pattern.takes(a) || pattern.takes(b),
        }
    }
}

impl AddedTokens {
    fn new(added: &AddedVocabulary, normalizers: Option<&Normalizers>) -> Option<Self> {
        let mut this = Self::default();
        for token in added.get_added_tokens_decoder().values() {
            let mut text = NormalizedString::from(token.content.as_str());
            if token.normalized
                && let Some(normalizers) = normalizers
            {
                normalizers.normalize(&mut text).ok()?;
            }
            let pairs = match token.normalized {
                true => &mut this.normalized,
                false => &mut this.raw,
            };
            pairs.extend(text.get().chars().zip(text.get().chars().skip(1)));
            if token.single_word || token.lstrip || token.rstrip {
                this.first.extend(text.get().chars().next());
                this.last.extend(text.get().chars().next_back());
            }
            this.take_blanks |= token.lstrip || token.rstrip;
        }
        Some(this)
    }
}

impl Seen {
    fn new(c: char, normalizers: Option<&Normalizers>) -> Self {
        let mut this = Self {
            ends: None,
            starts: true,
            plain: true,
            kept: true,
        };
        let mut text = NormalizedString::from(c.encode_utf8(&mut [0; 4]).to_owned());
        for step in normalizers.map(Normalizers::steps).unwrap_or_default() {
            let first = text.get().chars().next();
            match &step.normalizer {
                N::NFC(_) | N::NFD(_) | N::BertNormalizer(_) => {
                    this.starts &= first.is_none_or(|c| starts(c, is_nfc_quick([c].into_iter())));
                }
                N::NFKC(_) | N::NFKD(_) => {
                    this.starts &= first.is_none_or(|c| starts(c, is_nfkc_quick([c].into_iter())));
                }
                N::Precompiled(_) => {
                    this.plain &= first.is_some() && text.get().chars().all(is_plain);
                }
                N::Replace(_) => {
                    let holds = |c| step.pattern.as_ref().is_none_or(|p| p.holds(c));
                    this.kept &= !text.get().chars().any(holds);
                }
                // Only at the ends of a text: those are looked at where a text is cut.
                N::StripNormalizer(_) => continue,
                _ => {}
            }
            // A character that can't be normalized is no place to cut at.
            if step.normalizer.normalize(&mut text).is_err() {
                return this;
            }
        }
        let mut chars = text.get().chars();
        this.ends = chars.next().map(|c| (c, chars.next_back().unwrap_or(c)));
        this
    }
}

/// Whether a normal form never joins the character with what is before it (UAX #15, section 9.1).
fn starts(c: char, quick: IsNormalized) -> bool {
    canonical_combining_class(c) == 0 && quick == IsNormalized::Yes
}

/// Characters of which each is a grapheme by itself beside others of them (UAX #29).
fn is_plain(c: char) -> bool {
    matches!(c,
        ' '..='~' | '\n' | '\t'
        | '\u{3001}'..='\u{3003}'
        | '\u{3041}'..='\u{3096}'
        | '\u{30a1}'..='\u{30fa}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}')
}
