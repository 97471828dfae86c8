//! Fresh weights.

use crate::assemble::{LayerPart, Part, Source};
use crate::config::{Family, ModelConfig};
use crate::decoder::Decoder;
use crate::linear::Linear;
use crate::norm::Norm;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use language_model::stream;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::convert::Infallible;
use std::f64::consts::TAU;

impl<B: Backend> Decoder<B> {
    /// A decoder with fresh weights, the same for the same seed on every backend.
    ///
    /// Weights are normal with the standard deviation `initializer_range`; those of the two projections that each
    /// layer adds to the stream are divided by `sqrt(2 * layers)`, so that the stream's variance does not grow with
    /// depth. Norms scale by 1, constants are 0.
    pub fn init(config: &ModelConfig, seed: u64, device: &B::Device) -> Self {
        let mut fresh = Fresh::<B> { config, rng: stream(seed), device };
        match Self::assemble(config, &mut fresh) {
            Ok(decoder) => decoder,
            Err(never) => match never {},
        }
    }
}

struct Fresh<'a, B: Backend> {
    config: &'a ModelConfig,
    rng: ChaCha8Rng,
    device: &'a B::Device,
}

impl<B: Backend> Fresh<'_, B> {
    fn matrix(&mut self, shape: [usize; 2], deviation: f64) -> Tensor<B, 2> {
        let count = shape[0] * shape[1];
        let data: Vec<f32> = (0..count).map(|_| normal(&mut self.rng, deviation)).collect();
        Tensor::from_data(TensorData::new(data, shape), self.device)
    }
}

impl<B: Backend> Source<B> for Fresh<'_, B> {
    type Error = Infallible;

    fn table(&mut self, _: Part, rows: usize) -> Result<Tensor<B, 2>, Infallible> {
        let deviation = self.config.initializer_range;
        Ok(self.matrix([rows, self.config.hidden_size], deviation))
    }

    fn linear(
        &mut self,
        part: Part,
        sizes: [usize; 2],
        bias: bool,
    ) -> Result<Linear<B>, Infallible> {
        let added = matches!(part, Part::Layer(_, LayerPart::AttentionOutput | LayerPart::Down));
        let depth = 2.0 * self.config.num_hidden_layers as f64;
        let deviation = self.config.initializer_range / if added { depth.sqrt() } else { 1.0 };
        let weight = self.matrix(sizes, deviation);
        let bias = bias.then(|| Tensor::zeros([sizes[1]], self.device));
        Ok(Linear::new(weight, bias))
    }

    fn norm(&mut self, _: Part, width: usize) -> Result<Norm<B>, Infallible> {
        let Self { config, device, .. } = *self;
        let bias = config.family.has_layer_norms().then(|| Tensor::zeros([width], device));
        // Gemma stores the scale less 1.
        let weight = match config.family {
            Family::Gemma3 => Tensor::zeros([width], device),
            _ => Tensor::ones([width], device),
        };
        Ok(Norm::new(weight, bias, config))
    }
}

/// A normal number of mean 0 (Box and Muller).
#[allow(clippy::cast_possible_truncation, reason = "weights have 32 bits")]
pub(crate) fn normal(rng: &mut impl Rng, deviation: f64) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    (deviation * radius * (TAU * rng.random::<f64>()).cos()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder::tests::config;
    use burn_flex::{Flex, FlexDevice};

    #[test]
    fn the_seed_decides_the_weights() {
        let decoder = |seed| Decoder::<Flex>::init(&config(), seed, &FlexDevice).weights();
        assert_eq!(decoder(1), decoder(1));
        assert_ne!(decoder(1), decoder(2));
    }

    #[test]
    fn fresh_weights_have_the_asked_spread() {
        let mut rng = stream(9);
        let numbers: Vec<f32> = (0..20_000).map(|_| normal(&mut rng, 3.0)).collect();
        let mean = numbers.iter().sum::<f32>() / numbers.len() as f32;
        let square =
            numbers.iter().map(|number| number * number).sum::<f32>() / numbers.len() as f32;
        assert!(mean.abs() < 0.1 && (square - 9.0).abs() < 0.3, "{mean} {square}");
    }
}
