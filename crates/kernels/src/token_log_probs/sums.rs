//! Sums over the logits of a position, of which a part is read at a time.

use crate::exp::exp;
use crate::lanes::maximum;

/// Sums over the logits `x` read so far. What is added up is at most 1, however large they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sums {
    largest: f32,
    /// `sum(exp(x - largest))`.
    weights: f32,
    /// `sum(exp(x - largest) (x - largest))`.
    weighted: f32,
}

/// What is kept of the logits of a position.
#[derive(Debug, Clone, Copy)]
pub(super) struct Total {
    /// `log(sum(exp(logits)))`.
    pub(super) log_sum: f32,
    /// In nats.
    pub(super) entropy: f32,
}

impl Sums {
    /// Of no logits.
    pub(super) const NONE: Self = Self { largest: f32::MIN, weights: 0.0, weighted: 0.0 };

    #[inline(always)]
    pub(super) fn of(logits: &[f32]) -> Self {
        // Minus infinity, if there is nothing else, has no weight; less itself it would be no number.
        let largest = maximum(logits).max(f32::MIN);
        let mut sums = [0.0_f32; 32];
        let mut weighted = [0.0_f32; 32];
        let mut rest = [0.0_f32; 2];
        let whole = logits.chunks_exact(sums.len());
        for x in whole.remainder() {
            let part = exp(x - largest);
            rest[0] += part;
            rest[1] += if part > 0.0 { part * (x - largest) } else { 0.0 };
        }
        for chunk in whole {
            for ((sum, weighted), x) in sums.iter_mut().zip(&mut weighted).zip(chunk) {
                let part = exp(x - largest);
                *sum += part;
                // What has no weight may be minus infinity.
                *weighted += if part > 0.0 { part * (x - largest) } else { 0.0 };
            }
        }
        Self {
            largest,
            weights: sums.iter().sum::<f32>() + rest[0],
            weighted: weighted.iter().sum::<f32>() + rest[1],
        }
    }

    /// Those of both. With [`Self::NONE`], the other to the bit.
    #[inline(always)]
    pub(super) fn and(self, other: Self) -> Self {
        let largest = self.largest.max(other.largest);
        let (a, b) = (self.below(largest), other.below(largest));
        Self { largest, weights: a.weights + b.weights, weighted: a.weighted + b.weighted }
    }

    /// The same with a `largest` that is no smaller. What has no weight beside it vanishes, however far below it lies.
    #[inline(always)]
    fn below(self, largest: f32) -> Self {
        let shift = self.largest - largest;
        let scale = exp(shift);
        let weighted =
            if scale > 0.0 { scale * (self.weighted + self.weights * shift) } else { 0.0 };
        // A product with what is no number is none, as it must be.
        Self { largest, weights: scale * self.weights, weighted }
    }

    /// `log(sum(exp(x)))` and, if asked for, `log(sum(exp(x))) - sum(p x)`, which does not grow with the logits.
    pub(super) fn total(self, entropy: bool) -> Total {
        let log_sum = self.weights.ln();
        let entropy = if entropy { log_sum - self.weighted / self.weights } else { 0.0 };
        Total { log_sum: self.largest + log_sum, entropy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn by_parts(logits: &[f32], width: usize) -> Sums {
        logits.chunks(width).map(Sums::of).fold(Sums::NONE, Sums::and)
    }

    fn bits(sums: Sums) -> [u32; 3] {
        [sums.largest, sums.weights, sums.weighted].map(f32::to_bits)
    }

    fn total(logits: &[f32], width: usize) -> [f32; 2] {
        let Total { log_sum, entropy } = by_parts(logits, width).total(true);
        [log_sum, entropy]
    }

    #[test]
    fn what_is_far_below_changes_nothing() {
        let near = Sums::of(&[3.0, 1.0, 2.5]);
        for far in [-100.0, -1e30, f32::MIN, f32::NEG_INFINITY] {
            let far = Sums::of(&[far; 40]);
            assert_eq!(bits(near.and(far)), bits(near));
            assert_eq!(bits(far.and(near)), bits(near));
        }
        assert_eq!(bits(Sums::NONE.and(near)), bits(near));
    }

    #[test]
    fn equal_maxima_of_several_parts_share_all_weight() {
        for largest in [0.0, 5.0, -1e30, 1e30, f32::MAX, f32::MIN] {
            let [log_sum, entropy] = total(&[largest; 12], 5);
            assert!((log_sum - largest - 12_f32.ln()).abs() <= 1e-6 * largest.abs().max(2.5));
            assert!((entropy - 12_f32.ln()).abs() < 1e-6, "{entropy}");
        }
    }

    #[test]
    fn what_is_no_number_stays_so_and_what_cannot_be_counts_nothing() {
        let [nan, none] = [f32::NAN, f32::NEG_INFINITY];
        for logits in [[nan, 1.0, 2.0, 3.0], [1e30, 2.0, nan, none], [none, 0.0, none, nan]] {
            for width in 1..=4 {
                assert!(total(&logits, width).iter().all(|x| x.is_nan()), "{logits:?} {width}");
            }
        }
        for width in 1..=6 {
            let [log_sum, entropy] = total(&[none, none, none, 2.0, none, 2.0], width);
            assert!((log_sum - 2.0 - 2_f32.ln()).abs() < 1e-6, "{log_sum}");
            assert!((entropy - 2_f32.ln()).abs() < 1e-6, "{entropy}");
        }
    }

    proptest! {
        #[test]
        fn parts_agree_with_twice_the_precision(
            logits in prop::collection::vec(-30.0_f32..30.0, 1..200),
            width in 1_usize..80,
        ) {
            let [log_sum, entropy] = total(&logits, width).map(f64::from);
            let weights = || logits.iter().map(|&x| (f64::from(x), f64::from(x).exp()));
            let sum: f64 = weights().map(|(_, weight)| weight).sum();
            let mean = weights().map(|(x, weight)| weight / sum * x).sum::<f64>();
            // Sums of weights, and of weights times distances of some units, are divided by each other or their logarithm is
            // taken: what rounding does to them does not grow less where the result is small.
            prop_assert!((log_sum - sum.ln()).abs() < 3e-6 * sum.ln().abs().max(4.0));
            prop_assert!((entropy - (sum.ln() - mean)).abs() < 3e-6 * entropy.max(4.0));
        }
    }
}
