//! The texts that a graph is run on.

use akidb_onnx::proto::ValueInfoProto;

use super::array::{Array, Kind};

/// Texts of one length, the last one padded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) texts: usize,
    pub(super) tokens: usize,
}

/// Tokens of padding behind the last text.
const PADDING: usize = 3;

impl Sample {
    pub(super) fn new(texts: usize, tokens: usize) -> Self {
        Self { texts, tokens }
    }

    fn array(&self, of: impl Fn(usize, usize) -> usize) -> Array {
        let places = (0..self.texts).flat_map(|text| (0..self.tokens).map(move |i| (text, i)));
        Array {
            kind: Kind::Int,
            dims: vec![self.texts, self.tokens],
            data: places.map(|(text, i)| of(text, i) as f64).collect(),
        }
    }

    /// Tokens. All small ids are among them, as one may stand for padding; they rise nowhere as
    /// positions do.
    pub(super) fn ids(&self) -> Array {
        self.array(|text, i| (5 * i + 3 + text) % self.tokens)
    }

    /// 1 where there is a token.
    pub(super) fn attention_mask(&self) -> Array {
        self.array(|text, i| usize::from(self.is_token(text, i)))
    }

    pub(super) fn is_token(&self, text: usize, i: usize) -> bool {
        text + 1 < self.texts || i + PADDING < self.tokens
    }

    pub(super) fn positions(&self) -> Array {
        self.array(|_, i| i)
    }

    pub(super) fn zeros(&self) -> Array {
        self.array(|_, _| 0)
    }

    /// Keys or values of no tokens before.
    fn past(&self, declared: &ValueInfoProto) -> Option<Array> {
        let [_, heads, _, head_dim] = crate::graph::walk::fixed_dims(declared)?[..] else {
            return None;
        };
        // Of nothing, sizes that aren't declared don't matter.
        let dims = vec![self.texts, heads.unwrap_or(1), 0, head_dim.unwrap_or(1)];
        Array::new(Kind::Float, dims, Vec::new())
    }

    /// The input of this name, if it is known; `declared` is what the graph says of it.
    pub(super) fn input(&self, name: &str, declared: Option<&ValueInfoProto>) -> Option<Array> {
        match name {
            name if name.starts_with("past_key_values.") => self.past(declared?),
            "input_ids" => Some(self.ids()),
            "attention_mask" => Some(self.attention_mask()),
            "token_type_ids" => Some(self.zeros()),
            "position_ids" => Some(self.positions()),
            _ => None,
        }
    }
}
