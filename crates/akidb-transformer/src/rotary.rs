//! How a head's elements are turned by their position.

use std::f64::consts::PI;

/// Turns pairs of a head's elements, each pair half a width apart, by angles that grow with the
/// position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rotary {
    /// Base of the frequencies.
    pub base: f64,
    /// What positions are multiplied by.
    pub position_scale: f64,
    /// Elements of a head that are turned, from the first on.
    pub width: usize,
    /// How frequencies are stretched for texts that are longer than those a model has learned.
    pub scaling: RotaryScaling,
}

/// Frequencies of a model for longer texts than it was first trained on. `original_max_position` is the
/// longest of those.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum RotaryScaling {
    /// As they are.
    #[default]
    None,
    /// Llama 3's: those of long waves are divided by `factor`, those between are blended.
    Llama3 {
        /// By how much texts are longer.
        factor: f64,
        /// Longer waves than the longest text over this are divided.
        low_freq_factor: f64,
        /// Shorter waves than the longest text over this stay.
        high_freq_factor: f64,
        /// In tokens.
        original_max_position: usize,
    },
    /// YaRN's, <https://arxiv.org/abs/2309.00071>: a ramp from those that stay to those that are divided.
    Yarn {
        /// By how much texts are longer.
        factor: f64,
        /// Rotations over the longest text from which on frequencies stay.
        beta_fast: f64,
        /// Rotations up to which they are divided.
        beta_slow: f64,
        /// Whether the ends of the ramp are whole pairs.
        truncate: bool,
        /// What cosines and sines are multiplied by.
        attention_factor: f64,
        /// In tokens.
        original_max_position: usize,
    },
}

impl Rotary {
    /// Of each pair of elements, the angle from one position to the next, `[width / 2]`; in f32, as
    /// transformers computes it.
    pub fn inverse_frequencies(&self) -> Vec<f32> {
        let (base, width) = (self.base as f32, self.width);
        let plain = (0..width / 2).map(|i| base.powf((2 * i) as f32 / width as f32));
        match self.scaling {
            RotaryScaling::None => plain
                .map(|wave| 1.0 / wave * self.position_scale as f32)
                .collect(),
            RotaryScaling::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position,
            } => plain
                .map(|wave| {
                    let frequency = 1.0 / wave;
                    let length = original_max_position as f32;
                    let rotations = length * frequency / (2.0 * PI) as f32;
                    let (low, high, factor) = (low as f32, high as f32, factor as f32);
                    if rotations < low {
                        frequency / factor
                    } else if rotations > high {
                        frequency
                    } else {
                        let smooth = (rotations - low) / (high - low);
                        (1.0 - smooth) * frequency / factor + smooth * frequency
                    }
                })
                .collect(),
            RotaryScaling::Yarn {
                factor,
                beta_fast,
                beta_slow,
                truncate,
                original_max_position,
                ..
            } => {
                // The pair that turns so often over the longest text.
                let pair = |rotations: f64| {
                    let wave = original_max_position as f64 / (rotations * 2.0 * PI);
                    width as f64 * wave.ln() / (2.0 * self.base.ln())
                };
                let (mut low, mut high) = (pair(beta_fast), pair(beta_slow));
                if truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                let (low, mut high) = (low.max(0.0), high.min(width as f64 - 1.0));
                if low == high {
                    high += 0.001;
                }
                let ramp = |i: usize| ((i as f64 - low) / (high - low)).clamp(0.0, 1.0) as f32;
                let of_pair = |(i, wave): (usize, f32)| {
                    let divided = 1.0 / (factor as f32 * wave);
                    let stays = 1.0 - ramp(i);
                    divided * (1.0 - stays) + 1.0 / wave * stays
                };
                plain.enumerate().map(of_pair).collect()
            }
        }
    }

    /// What cosines and sines are multiplied by.
    pub fn attention_factor(&self) -> f32 {
        match self.scaling {
            RotaryScaling::Yarn {
                attention_factor, ..
            } => attention_factor as f32,
            _ => 1.0,
        }
    }
}
