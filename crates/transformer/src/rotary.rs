//! The turning speeds of rotary position embedding (`RoPE`, arXiv 2104.09864).

use crate::config::{ModelConfig, Positions, RopeScaling};
use burn::tensor::backend::Backend;
use kernels::Angles;
use std::f64::consts::PI;

/// The turning speed of every pair of dimensions.
#[derive(Debug, Clone)]
pub(crate) struct Rotary {
    /// Radians a position, one number for every pair of dimensions.
    frequencies: Vec<f32>,
    /// The same in layers with a sliding window, if it differs.
    local: Option<Vec<f32>>,
    head_dim: usize,
    heads: [usize; 2],
}

impl Rotary {
    /// Nothing for a model with learned positions.
    pub(crate) fn new(config: &ModelConfig) -> Option<Self> {
        let Positions::Rotary(rope) = &config.positions else { return None };
        let speeds = |theta, scaling| frequencies(rope.dimensions, theta, scaling);
        Some(Self {
            frequencies: speeds(rope.theta, rope.scaling),
            local: rope.local_theta.map(|theta| speeds(theta, RopeScaling::None)),
            head_dim: config.head_dim,
            heads: [config.num_attention_heads, config.num_key_value_heads],
        })
    }

    /// The turns of these positions, in layers that see everything.
    pub(crate) fn angles<B: Backend>(&self, positions: &[usize], device: &B::Device) -> Angles<B> {
        Angles::new(positions, &self.frequencies, self.head_dim, &self.heads, device)
    }

    /// The turns of these positions in layers with a sliding window, if they differ.
    pub(crate) fn local_angles<B: Backend>(
        &self,
        positions: &[usize],
        device: &B::Device,
    ) -> Option<Angles<B>> {
        let local = self.local.as_ref()?;
        Some(Angles::new(positions, local, self.head_dim, &self.heads, device))
    }
}

/// `theta^(-2i / dimensions)`, rescaled as `scaling` says.
#[allow(clippy::cast_possible_truncation, reason = "32 bits, as the reference has it")]
fn frequencies(dimensions: usize, theta: f64, scaling: RopeScaling) -> Vec<f32> {
    let half = dimensions / 2;
    let frequency = |pair: usize| theta.powf(-(pair as f64) / half as f64);
    (0..half).map(|pair| rescale(frequency(pair), scaling) as f32).collect()
}

/// Llama 3's rescaling: slow turns are slowed by `factor`, fast ones are kept, those between are mixed. The linear one
/// slows all of them.
#[allow(clippy::suboptimal_flops, reason = "the order of operations is that of the reference")]
fn rescale(frequency: f64, scaling: RopeScaling) -> f64 {
    match scaling {
        RopeScaling::None => frequency,
        RopeScaling::Linear { factor } => frequency / factor,
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        } => {
            let context = original_max_position_embeddings as f64;
            let wavelength = 2.0 * PI / frequency;
            if wavelength < context / high_freq_factor {
                frequency
            } else if wavelength > context / low_freq_factor {
                frequency / factor
            } else {
                let kept =
                    (context / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                (1.0 - kept) * frequency / factor + kept * frequency
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wavelengths_grow_from_pair_to_pair() {
        let found = frequencies(4, 100.0, RopeScaling::None);
        assert!((found[0] - 1.0).abs() < 1e-7 && (found[1] - 0.1).abs() < 1e-7, "{found:?}");
        let slowed = frequencies(4, 100.0, RopeScaling::Linear { factor: 4.0 });
        assert!((slowed[0] - 0.25).abs() < 1e-7 && (slowed[1] - 0.025).abs() < 1e-8);
    }

    #[test]
    fn slow_turns_are_slowed_and_fast_ones_kept() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 1000,
        };
        let frequency = |wavelength: f64| 2.0 * PI / wavelength;
        let rescaled = |wavelength| rescale(frequency(wavelength), scaling) / frequency(wavelength);
        assert!((rescaled(249.0) - 1.0).abs() < 1e-12);
        assert!((rescaled(1001.0) - 0.125).abs() < 1e-12);
        // 1000 / 400 = 2.5 lies halfway between 1 and 4: half kept, half slowed.
        assert!((rescaled(400.0) - (0.5 + 0.5 / 8.0)).abs() < 1e-12);
    }
}
