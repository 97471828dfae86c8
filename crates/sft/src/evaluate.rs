//! The loss on held-out examples.

use crate::step::{loss_part, micro_batches, weight_sum};
use crate::{Error, Example};
use burn::tensor::ElementConversion;
use burn::tensor::backend::Backend;
use transformer::Decoder;

/// The loss of a model on held-out examples, in nats a token: [`crate::cross_entropy`] over all of them.
///
/// `tokens_per_batch` bounds what goes through the model at once. On a training model give
/// `decoder.valid()`, which keeps no graph.
///
/// # Errors
/// If there is no example, or one contradicts itself, the vocabulary or the context.
pub fn evaluate<B: Backend>(
    decoder: &Decoder<B>,
    examples: &[Example],
    tokens_per_batch: usize,
) -> Result<f64, Error> {
    for (index, example) in examples.iter().enumerate() {
        example.check(|| format!("example {index}"), decoder.config())?;
    }
    let rows: Vec<&Example> = examples.iter().collect();
    mean_loss(decoder, &rows, tokens_per_batch).ok_or(Error::NoExamples { overlong: 0 })
}

/// [`evaluate`] on examples that are known to be well; nothing without any.
pub(crate) fn mean_loss<B: Backend>(
    decoder: &Decoder<B>,
    rows: &[&Example],
    tokens_per_batch: usize,
) -> Option<f64> {
    let weight_sum = weight_sum(rows);
    micro_batches(rows, tokens_per_batch)
        .iter()
        .map(|batch| loss_part(decoder, batch, weight_sum).into_scalar().elem::<f64>())
        .reduce(|sum, part| sum + part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{counting, decoder};
    use burn::module::AutodiffModule;

    #[test]
    fn is_the_weighted_mean_whatever_the_batch() {
        let decoder = decoder(1).valid();
        let examples = counting(10);
        let (mut total, mut weights) = (0.0, 0.0);
        for example in &examples {
            let weight = example.weight_sum();
            total += weight * evaluate(&decoder, std::slice::from_ref(example), 100).unwrap();
            weights += weight;
        }
        for tokens_per_batch in [1, 30, 1_000] {
            let found = evaluate(&decoder, &examples, tokens_per_batch).unwrap();
            assert!((found - total / weights).abs() < 1e-5, "{found}");
        }
    }

    #[test]
    fn reads_nothing_after_the_last_target() {
        let decoder = decoder(1).valid();
        let short = Example { tokens: vec![1, 2, 3], weights: vec![0.0, 0.0, 1.0] };
        let long = Example { tokens: vec![1, 2, 3, 9], weights: vec![7.0, 0.0, 1.0, 0.0] };
        let losses = [short, long].map(|row| evaluate(&decoder, &[row], 100).unwrap());
        assert!((losses[0] - losses[1]).abs() < 1e-6);
    }

    #[test]
    fn refuses_what_it_cannot_score() {
        let decoder = decoder(1).valid();
        assert!(matches!(evaluate(&decoder, &[], 100), Err(Error::NoExamples { overlong: 0 })));
        let overlong = [Example::unmasked(vec![1; 17])];
        assert!(matches!(evaluate(&decoder, &overlong, 100), Err(Error::Overlong { .. })));
    }
}
