//! Texts of given lengths.

use clap::Args;

/// How long texts are.
#[derive(Debug, Clone, Args)]
pub(crate) struct Lengths {
    /// Words of a text, the median where lengths differ
    #[arg(long, default_value_t = 3)]
    words: usize,
    /// Longest text in words
    #[arg(long, default_value_t = 1000)]
    max_words: usize,
    /// Spread of the log-normal lengths: 0 for texts of one length
    #[arg(long, default_value_t = 0.0)]
    sigma: f64,
}

const WORDS: [&str; 12] = [
    "the", "river", "of", "data", "runs", "through", "a", "small", "machine", "and", "never",
    "stops",
];

impl Lengths {
    /// A text that starts with `name`.
    pub(crate) fn text(&self, name: &str, chance: &mut Chance) -> String {
        let words = self.words as f64 * (self.sigma * chance.normal()).exp();
        let words = (words.round() as usize).clamp(1, self.max_words);
        let mut text = name.to_owned();
        for _ in 1..words {
            text.push(' ');
            text.push_str(WORDS[chance.below(WORDS.len() as u64) as usize]);
        }
        text
    }
}

/// Numbers that look like chance: xorshift.
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// Other numbers for each seed.
    pub(crate) fn new(seed: u32) -> Self {
        Self(u64::from(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// From 0 to below 1.
    pub(crate) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Box and Muller's.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.share()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.share()).cos()
    }
}
