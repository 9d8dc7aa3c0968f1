//! Shapes that graphs are made for: how many texts at once, of how many tokens.

use std::fmt;
use std::str::FromStr;

use akidb_onnx::{Error, ErrorKind};
use akidb_transformer::DecoderConfig;

use super::operators::MAX_DIMENSION;

/// Longest text of a static shape, in tokens: the causal mask grows with its square.
const MAX_SEQUENCE: usize = 4096;
/// Most shapes at once.
pub(super) const MAX_SHAPES: usize = 64;

/// Most tokens that one graph takes at once: their vectors are its input.
const MAX_TOKENS: usize = 1 << 16;

/// Number and longest length of the texts that one graph takes at once, as in `8x128`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StaticShape {
    /// Number of texts.
    pub batch: usize,
    /// Longest text in tokens.
    pub sequence: usize,
}

impl StaticShape {
    /// Number of tokens, padding included.
    pub fn tokens(self) -> usize {
        self.batch.saturating_mul(self.sequence)
    }
}

impl fmt::Display for StaticShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.batch, self.sequence)
    }
}

impl FromStr for StaticShape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse::<usize>().ok();
        let numbers = text
            .split_once('x')
            .and_then(|(batch, sequence)| Some((number(batch)?, number(sequence)?)));
        match numbers {
            Some((batch, sequence)) => Ok(Self { batch, sequence }),
            None => Err("a shape is texts x tokens, such as 8x128".to_owned()),
        }
    }
}

/// Whether [`write`](super::write()) can make graphs of these shapes, known without writing anything.
///
/// # Errors
/// When a shape can't be, as with [`write`](super::write()).
pub fn check_shapes(config: &DecoderConfig, shapes: &[StaticShape]) -> Result<(), Error> {
    checked_shapes(config, shapes).map(drop)
}

/// The shapes from the fewest tokens on.
pub(super) fn checked_shapes(
    config: &DecoderConfig,
    shapes: &[StaticShape],
) -> Result<Vec<StaticShape>, Error> {
    let refused = |why: String| Err(ErrorKind::Shape(why).into());
    if shapes.is_empty() || shapes.len() > MAX_SHAPES {
        return refused(format!("{} shapes, not 1 to {MAX_SHAPES}", shapes.len()));
    }
    let group = config.num_attention_heads / config.num_key_value_heads.max(1);
    let longest = MAX_SEQUENCE.min(config.max_position_embeddings);
    for &shape in shapes {
        let StaticShape { batch, sequence } = shape;
        check_tokens(shape)?;
        if sequence > longest {
            return refused(format!("{shape}: a text has at most {longest} tokens"));
        }
        let axes = [
            ("batch", Some(batch)),
            ("query rows", group.checked_mul(sequence)),
            ("hidden_size", Some(config.hidden_size)),
            ("intermediate_size", Some(config.intermediate_size)),
            (
                "query width",
                config.num_attention_heads.checked_mul(config.head_dim),
            ),
        ];
        for (what, len) in axes {
            if len.is_none_or(|len| len as u64 > MAX_DIMENSION.unsigned_abs()) {
                return refused(format!(
                    "{shape}: {what} is longer than CoreML's {MAX_DIMENSION}"
                ));
            }
        }
    }
    let mut sorted = shapes.to_vec();
    sorted.sort_by_key(|s| (s.tokens(), s.sequence));
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return refused(format!("{} is there twice", pair[0]));
    }
    Ok(sorted)
}

/// Refuses a shape without a token or with too many.
pub(super) fn check_tokens(shape: StaticShape) -> Result<(), Error> {
    let StaticShape { batch, sequence } = shape;
    let refused = |why: String| Err(ErrorKind::Shape(format!("{shape}: {why}")).into());
    if batch == 0 || sequence == 0 {
        return refused("neither number can be 0".to_owned());
    }
    match batch.checked_mul(sequence) {
        Some(tokens) if tokens <= MAX_TOKENS => Ok(()),
        _ => refused(format!("more than {MAX_TOKENS} tokens")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> DecoderConfig {
        DecoderConfig {
            hidden_size: 1024,
            num_hidden_layers: 28,
            num_attention_heads: 16,
            num_key_value_heads: 8,
            head_dim: 128,
            intermediate_size: 3072,
            vocab_size: 151_669,
            rms_norm_eps: 1e-6,
            rope_theta: 1e6,
            max_position_embeddings: 32_768,
        }
    }

    fn shapes(texts: &[&str]) -> Vec<StaticShape> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    #[test]
    fn shapes_are_sorted_by_their_tokens() {
        let sorted = checked_shapes(&config(), &shapes(&["8x128", "1x512", "1x32"])).unwrap();
        let sorted: Vec<String> = sorted.iter().map(StaticShape::to_string).collect();
        assert_eq!(sorted, ["1x32", "1x512", "8x128"]);
    }

    #[test]
    fn impossible_shapes_are_refused() {
        for (text, why) in [
            ("0x32", "can be 0"),
            ("1x0", "can be 0"),
            ("1x4097", "at most 4096"),
            ("20000x1", "batch is longer"),
            ("64x2048", "more than 65536 tokens"),
        ] {
            let error = checked_shapes(&config(), &shapes(&[text])).unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
        let error = checked_shapes(&config(), &shapes(&["1x2", "1x2"])).unwrap_err();
        assert!(error.to_string().contains("twice"), "{error}");
        assert!(checked_shapes(&config(), &[]).is_err());
        let wide = DecoderConfig {
            intermediate_size: 20_000,
            ..config()
        };
        let error = checked_shapes(&wide, &shapes(&["1x2"])).unwrap_err();
        assert!(error.to_string().contains("intermediate_size"), "{error}");
    }

    #[test]
    fn a_shape_is_two_numbers() {
        for text in [
            "",
            "8",
            "8x",
            "x8",
            "8x-1",
            "8x1x1",
            "99999999999999999999x1",
        ] {
            assert!(text.parse::<StaticShape>().is_err(), "{text}");
        }
    }
}
