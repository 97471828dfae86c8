//! What drawing a token asks of its logits, one pass each.

use crate::exp::exp;
use crate::flex::vectorised;
use crate::lanes::maximum;

/// Sums side by side, as for `lanes`, in double precision: a vocabulary has many small weights.
const LANES: usize = 16;

/// The place of the greatest logit, the first of equals.
///
/// # Errors
/// The place of the first logit that is infinite or not a number; 0 if there are no logits.
pub fn largest_logit(logits: &[f32]) -> Result<usize, usize> {
    vectorised(
        #[inline(always)]
        || {
            // The bits of a float without its sign order like its magnitude, and whole numbers compare in vector registers.
            let magnitude =
                logits.iter().fold(0, |most: u32, logit| most.max(logit.to_bits() << 1));
            if logits.is_empty() || magnitude >= f32::INFINITY.to_bits() << 1 {
                return Err(logits.iter().position(|logit| !logit.is_finite()).unwrap_or(0));
            }
            let largest = maximum(logits);
            #[allow(clippy::float_cmp, reason = "the greatest is one of them")]
            Ok(logits.iter().position(|&logit| logit == largest).unwrap_or(0))
        },
    )
}

/// Puts the weight `exp((x - largest) / temperature)` in the place of every logit `x`; gives the sum of the weights.
pub fn weigh_logits(logits: &mut [f32], largest: f32, temperature: f32) -> f64 {
    #[inline(always)]
    fn weigh(logits: &mut [f32], sums: &mut [f64; LANES], largest: f32, temperature: f32) {
        for (sum, logit) in sums.iter_mut().zip(logits) {
            *logit = exp((*logit - largest) / temperature);
            *sum += f64::from(*logit);
        }
    }
    vectorised(
        #[inline(always)]
        || {
            let mut sums = [0.0_f64; LANES];
            let mut chunks = logits.chunks_exact_mut(LANES);
            for chunk in &mut chunks {
                weigh(chunk, &mut sums, largest, temperature);
            }
            weigh(chunks.into_remainder(), &mut sums, largest, temperature);
            sums.iter().sum()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_of_the_greatest() {
        assert_eq!(largest_logit(&[-3.0, -1.0, -2.0, -1.0]), Ok(1));
        assert_eq!(largest_logit(&[-0.0, 0.0]), Ok(0));
        assert_eq!(largest_logit(&[0.0, f32::NAN, f32::INFINITY]), Err(1));
        assert_eq!(largest_logit(&[0.0, f32::NEG_INFINITY]), Err(1));
        assert_eq!(largest_logit(&[]), Err(0));
    }

    #[test]
    #[allow(clippy::float_cmp, reason = "these are exact")]
    fn a_tiny_temperature_leaves_the_greatest() {
        let mut logits = [1.0, 2.0, 2.0];
        assert_eq!(weigh_logits(&mut logits, 2.0, f32::from_bits(1)), 2.0);
        assert_eq!(logits, [0.0, 1.0, 1.0]);
    }

    proptest! {
        #[test]
        fn weights_are_exponentials(
            logits in prop::collection::vec(-30.0_f32..30.0, 1..200),
            temperature in 0.5_f32..2.0,
        ) {
            let largest = logits[largest_logit(&logits).unwrap()];
            let exact = |&logit: &f32| (f64::from(logit - largest) / f64::from(temperature)).exp();
            let expected: f64 = logits.iter().map(exact).sum();
            let mut weights = logits.clone();
            let sum = weigh_logits(&mut weights, largest, temperature);
            prop_assert!((sum - expected).abs() < 1e-5 * expected);
            for (weight, logit) in weights.iter().zip(&logits) {
                prop_assert!((f64::from(*weight) - exact(logit)).abs() < 1e-5 * exact(logit) + 1e-37);
            }
        }
    }
}
