//! Reductions of rows, in many lanes side by side: compilers do not reorder what they cannot prove to be equal, such as
//! additions, so that one running number would leave vector instructions unused.

#[inline(always)]
pub(crate) fn maximum(numbers: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 32];
    let chunks = numbers.chunks_exact(lanes.len());
    let mut largest = f32::NEG_INFINITY;
    for &number in chunks.remainder() {
        largest = if number > largest { number } else { largest };
    }
    for chunk in chunks {
        for (lane, &number) in lanes.iter_mut().zip(chunk) {
            *lane = if number > *lane { number } else { *lane };
        }
    }
    lanes.iter().fold(largest, |largest, &lane| largest.max(lane))
}

#[inline(always)]
pub(crate) fn sum(numbers: &[f32]) -> f32 {
    let mut lanes = [0.0; 32];
    let chunks = numbers.chunks_exact(lanes.len());
    let rest: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        for (lane, number) in lanes.iter_mut().zip(chunk) {
            *lane += number;
        }
    }
    lanes.iter().sum::<f32>() + rest
}

#[inline(always)]
pub(crate) fn sum_of_products(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 32];
    let whole = a.len() - a.len() % sums.len();
    for (a, b) in a.chunks_exact(sums.len()).zip(b.chunks_exact(sums.len())) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f32 = a[whole..].iter().zip(&b[whole..]).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_counts_once() {
        for length in [0_usize, 1, 31, 32, 33, 100] {
            let numbers: Vec<f32> = (0..length).map(|i| i as f32 - 40.0).collect();
            let expected: f32 = numbers.iter().sum();
            assert!((sum(&numbers) - expected).abs() < 1e-3);
            let squares: f32 = numbers.iter().map(|x| x * x).sum();
            assert!((sum_of_products(&numbers, &numbers) - squares).abs() <= 1e-5 * squares);
            let largest = numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(maximum(&numbers).to_bits(), largest.to_bits());
        }
    }
}
