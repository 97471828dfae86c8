//! Attention in double precision.

use crate::exact::Exact;

/// `softmax(q K^T) V` of one query over the keys and values that it sees: a mean of values, none of which is beyond `largest`.
pub(crate) fn attended(query: &[f32], seen: &[(&[f32], &[f32])], largest: f64) -> Vec<Exact> {
    let score = |key: &[f32]| -> f64 {
        query.iter().zip(key).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum()
    };
    let scores: Vec<f64> = seen.iter().map(|&(key, _)| score(key)).collect();
    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
    let total: f64 = weights.iter().sum();
    let of_dimension = |dimension: usize| {
        let values = seen.iter().map(|(_, value)| f64::from(value[dimension]));
        let sum: f64 = weights.iter().zip(values).map(|(weight, value)| weight * value).sum();
        Exact { value: sum / total, parts: largest }
    };
    (0..query.len()).map(of_dimension).collect()
}
