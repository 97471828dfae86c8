//! What drawing a token asks of its logits.

use crate::exp::exp;
use crate::flex::vectorised;
use std::cmp::Ordering;

/// Numbers that are looked at side by side; sums of them in double precision, since a vocabulary has many small weights.
const LANES: usize = 16;

/// Groups of weights, at least, whose greatest tell roughly where the `k`-th greatest of all is.
const GROUPS: usize = 256;

/// The place of the greatest logit, the first of equals.
///
/// # Errors
/// The place of the first logit that is infinite or not a number; 0 if there are no logits.
#[allow(clippy::float_cmp, reason = "the greatest is one of them")]
pub fn largest_logit(logits: &[f32]) -> Result<usize, usize> {
    vectorised(
        #[inline(always)]
        || match finite_maximum(logits) {
            Some(largest) => Ok(first(logits, |logit| logit == largest)),
            None => Err(first(logits, |logit| !logit.is_finite())),
        },
    )
}

/// The greatest of finite numbers; nothing if one of them is infinite or not a number, or there is none.
#[inline(always)]
fn finite_maximum(numbers: &[f32]) -> Option<f32> {
    // As wide as `lanes::maximum`.
    let mut largest = [f32::NEG_INFINITY; 32];
    // The bits of a float without its sign order like its magnitude, and whole numbers compare in vector registers.
    let mut magnitudes = [0_u32; 32];
    let chunks = numbers.chunks_exact(largest.len());
    see(chunks.remainder(), &mut largest, &mut magnitudes);
    for chunk in chunks {
        see(chunk, &mut largest, &mut magnitudes);
    }
    let magnitude = magnitudes.iter().fold(0, |most: u32, &magnitude| most.max(magnitude));
    if numbers.is_empty() || magnitude >= f32::INFINITY.to_bits() << 1 {
        return None;
    }
    Some(largest.iter().fold(f32::NEG_INFINITY, |most, &lane| most.max(lane)))
}

#[inline(always)]
fn see(numbers: &[f32], largest: &mut [f32; 32], magnitudes: &mut [u32; 32]) {
    for ((largest, magnitude), &number) in largest.iter_mut().zip(magnitudes).zip(numbers) {
        *largest = if number > *largest { number } else { *largest };
        *magnitude = (*magnitude).max(number.to_bits() << 1);
    }
}

/// The place of the first number that `is` says yes to, with a look at many at a time; 0 if there is none.
#[inline(always)]
fn first(numbers: &[f32], is: impl Fn(f32) -> bool) -> usize {
    let any = |chunk: &[f32]| chunk.iter().fold(false, |any, &number| any | is(number));
    let chunk = numbers.chunks_exact(LANES).position(any).unwrap_or(numbers.len() / LANES);
    let before = chunk * LANES;
    let place = numbers[before..].iter().position(|&number| is(number));
    place.map_or(0, |place| before + place)
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

/// The weights of at least `floor` with their places, in order. Weights are not negative.
pub fn weights_from(weights: &[f32], floor: f32, kept: &mut Vec<(usize, f32)>) {
    kept.clear();
    vectorised(
        #[inline(always)]
        || keep(weights, floor.to_bits(), kept),
    );
}

/// The `k` greatest weights with their places, in order; of equal weights the first. Weights are not negative, and at least
/// one is kept if there is any. `scratch` is memory that is used again.
pub fn largest_weights(
    weights: &[f32],
    k: usize,
    kept: &mut Vec<(usize, f32)>,
    scratch: &mut Vec<u32>,
) {
    kept.clear();
    if weights.is_empty() {
        return;
    }
    let k = k.clamp(1, weights.len());
    vectorised(
        #[inline(always)]
        || {
            let floor = reached(weights, k, scratch);
            keep(weights, floor, kept);
        },
    );
    scratch.clear();
    scratch.extend(kept.iter().map(|(_, weight)| weight.to_bits()));
    let least = kth_greatest(scratch, k);
    let greater = scratch.iter().filter(|&&bits| bits > least).count();
    let mut equal = k - greater;
    kept.retain(|(_, weight)| match weight.to_bits().cmp(&least) {
        Ordering::Greater => true,
        Ordering::Equal if equal > 0 => {
            equal -= 1;
            true
        }
        _ => false,
    });
}

/// The bits of a number that at least `k` of the weights reach, and hardly more than `k` unless their order has to do with
/// their size: each of the groups has a greatest, and so many greatest reach their `k`-th.
#[inline(always)]
fn reached(weights: &[f32], k: usize, greatest: &mut Vec<u32>) -> u32 {
    let groups = GROUPS.max(2 * k).min(weights.len());
    let (head, rest) = weights.split_at(groups);
    greatest.clear();
    greatest.extend(head.iter().map(|weight| weight.to_bits()));
    // The bits of floats that are not negative order as they do.
    for chunk in rest.chunks(groups) {
        for (most, weight) in greatest.iter_mut().zip(chunk) {
            *most = (*most).max(weight.to_bits());
        }
    }
    kth_greatest(greatest, k)
}

/// Which it brings into another order; `k` is one of `1..=numbers.len()`.
fn kth_greatest(numbers: &mut [u32], k: usize) -> u32 {
    let place = numbers.len() - k;
    *numbers.select_nth_unstable(place).1
}

/// Adds the weights whose bits are at least `floor`.
#[inline(always)]
fn keep(weights: &[f32], floor: u32, kept: &mut Vec<(usize, f32)>) {
    let chunks = weights.chunks_exact(LANES);
    let rest = chunks.remainder();
    for (index, chunk) in chunks.enumerate() {
        // Most chunks hold none, which vector registers tell faster than a look at each.
        if chunk.iter().fold(0, |most: u32, weight| most.max(weight.to_bits())) >= floor {
            keep_each(chunk, index * LANES, floor, kept);
        }
    }
    keep_each(rest, weights.len() - rest.len(), floor, kept);
}

/// The first of `weights` has the place `from`.
#[inline(always)]
fn keep_each(weights: &[f32], from: usize, floor: u32, kept: &mut Vec<(usize, f32)>) {
    let weights = (from..).zip(weights.iter().copied());
    kept.extend(weights.filter(|(_, weight)| weight.to_bits() >= floor));
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
    fn every_place_counts() {
        for length in [1_usize, 15, 16, 31, 32, 33, 100] {
            for place in 0..length {
                let mut logits = vec![-1.0; length];
                logits[place] = -0.5;
                assert_eq!(largest_logit(&logits), Ok(place));
                for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    logits[place] = bad;
                    assert_eq!(largest_logit(&logits), Err(place));
                }
            }
        }
    }

    /// By sorting all.
    fn k_largest(weights: &[f32], k: usize) -> Vec<(usize, f32)> {
        let mut all: Vec<(usize, f32)> = weights.iter().copied().enumerate().collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(k);
        all.sort_by_key(|&(place, _)| place);
        all
    }

    #[test]
    fn the_largest_weights_of_many() {
        // The greatest of all in one group, in order, in reverse, all equal, most of them nothing.
        let groups = |i: usize| if i.is_multiple_of(GROUPS) { 1.0 } else { 0.5 / (i + 1) as f32 };
        let orders: [&dyn Fn(usize) -> f32; 5] =
            [&groups, &|i| i as f32, &|i| 1.0 / (i + 1) as f32, &|_| 0.25, &|i| (i / 2990) as f32];
        let (mut kept, mut scratch) = (Vec::new(), Vec::new());
        for order in orders {
            let weights: Vec<f32> = (0..3000).map(order).collect();
            for k in [1, 2, 50, 127, 128, 129, 1000, 1500, 2999, 3000] {
                largest_weights(&weights, k, &mut kept, &mut scratch);
                assert_eq!(kept, k_largest(&weights, k), "{k}");
            }
        }
        largest_weights(&[], 3, &mut kept, &mut scratch);
        assert!(kept.is_empty());
        largest_weights(&[0.5, 1.0], 3, &mut kept, &mut scratch);
        assert_eq!(kept, [(0, 0.5), (1, 1.0)]);
    }

    #[test]
    #[allow(clippy::float_cmp, reason = "these are exact")]
    fn a_tiny_temperature_leaves_the_greatest() {
        let mut logits = [1.0, 2.0, 2.0];
        assert_eq!(weigh_logits(&mut logits, 2.0, f32::from_bits(1)), 2.0);
        assert_eq!(logits, [0.0, 1.0, 1.0]);
    }

    /// Weights, many of which are equal or 0.
    fn some_weights() -> impl Strategy<Value = Vec<f32>> {
        let weight = prop_oneof![
            (0_u8..6).prop_map(|sixth| f32::from(sixth) / 6.0),
            0.0_f32..1.0,
            Just(f32::from_bits(1)),
        ];
        prop::collection::vec(weight, 1..700)
    }

    proptest! {
        #[test]
        fn the_largest_weights_are_those_that_sorting_finds(
            weights in some_weights(),
            k in any::<prop::sample::Index>(),
        ) {
            let k = k.index(weights.len()) + 1;
            // What an earlier row left is of no account.
            let (mut kept, mut scratch) = (vec![(7, 0.5)], vec![u32::MAX]);
            largest_weights(&weights, k, &mut kept, &mut scratch);
            prop_assert_eq!(kept, k_largest(&weights, k));
        }

        #[test]
        fn the_weights_from_a_floor_on(weights in some_weights(), floor in 0.0_f32..1.1) {
            let mut kept = vec![(7, 0.5)];
            for floor in [floor, 0.0, weights[0]] {
                weights_from(&weights, floor, &mut kept);
                let all = weights.iter().copied().enumerate();
                let expected: Vec<(usize, f32)> =
                    all.filter(|&(_, weight)| weight >= floor).collect();
                prop_assert_eq!(&kept, &expected);
            }
        }

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
