//! The angles of the rotary embedding, as transformers computes them: all in f32.

use std::sync::OnceLock;

use akidb_transformer::Rotary;

/// Positions of a block of the table.
const BLOCK: usize = 256;

/// cos and sin of every position's angles, computed when a text first gets that far.
#[derive(Debug)]
pub(crate) struct RotaryTable {
    /// Of each pair of elements, the angle from one position to the next.
    inv_freq: Vec<f32>,
    /// Of cosines and sines.
    attention_factor: f32,
    /// `[BLOCK][2][head_dim / 2]`: cos, then sin.
    blocks: Vec<OnceLock<Vec<f32>>>,
}

impl RotaryTable {
    pub(crate) fn new(rotary: Rotary, max_position_embeddings: usize) -> Self {
        let mut blocks = Vec::new();
        blocks.resize_with(max_position_embeddings.div_ceil(BLOCK), OnceLock::new);
        Self {
            inv_freq: rotary.inverse_frequencies(),
            attention_factor: rotary.attention_factor(),
            blocks,
        }
    }

    /// cos and sin of `position`'s angles, `[head_dim / 2]` each; both empty beyond the last
    /// position.
    pub(crate) fn cos_sin(&self, position: usize) -> [&[f32]; 2] {
        let half = self.inv_freq.len();
        let Some(block) = self.blocks.get(position / BLOCK) else {
            return [&[], &[]];
        };
        let block = block.get_or_init(|| self.block(position / BLOCK * BLOCK));
        let (cos, sin) = block[position % BLOCK * 2 * half..][..2 * half].split_at(half);
        [cos, sin]
    }

    fn block(&self, first: usize) -> Vec<f32> {
        let mut block = Vec::with_capacity(BLOCK * 2 * self.inv_freq.len());
        for position in first..first + BLOCK {
            let angles = self.inv_freq.iter().map(|freq| position as f32 * freq);
            block.extend(
                angles
                    .clone()
                    .map(|angle| angle.cos() * self.attention_factor),
            );
            block.extend(angles.map(|angle| angle.sin() * self.attention_factor));
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use akidb_transformer::RotaryScaling;

    use super::*;

    #[test]
    fn every_position_has_its_angles() {
        let mut rotary = Rotary {
            base: 10_000.0,
            position_scale: 1.0,
            scaling: RotaryScaling::None,
            width: 8,
        };
        let table = RotaryTable::new(rotary, 600);
        rotary.position_scale = 0.25;
        let slow = RotaryTable::new(rotary, 600);
        assert_eq!(slow.cos_sin(596), table.cos_sin(149));
        for position in [0, 1, 255, 256, 599] {
            let [cos, sin] = table.cos_sin(position);
            for i in 0..4 {
                let angle = position as f64 / 10_f64.powi(i as i32);
                assert!((f64::from(cos[i]) - angle.cos()).abs() < 1e-4);
                assert!((f64::from(sin[i]) - angle.sin()).abs() < 1e-4);
            }
        }
        assert_eq!(table.cos_sin(768), [&[] as &[f32]; 2]);
    }
}
