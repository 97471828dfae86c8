//! How two lists of numbers move together.

/// The linear correlation of two lists of equal length.
///
/// ```text
/// sum((x - mean(x)) (y - mean(y))) / sqrt(sum((x - mean(x))^2) sum((y - mean(y))^2))
/// ```
///
/// From -1 to 1; none if one of the lists is constant, empty or not finite.
///
/// # Panics
/// If the lengths differ.
///
/// # References
/// Pearson (1895), "Note on regression and inheritance in the case of two parents".
pub fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    assert_eq!(x.len(), y.len(), "numbers in pairs");
    let (x, y) = (centred(x), centred(y));
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    // The root of each factor: the product of two small sums of squares may be too small for a number.
    let scale = product(&x, &x).sqrt() * product(&y, &y).sqrt();
    let found = product(&x, &y) / scale;
    found.is_finite().then(|| found.clamp(-1.0, 1.0))
}

/// The linear correlation of ranks: how far one list rises with the other, whatever the shape. Equal numbers share the mean
/// of their ranks.
///
/// From -1 to 1; none if one of the lists is constant, empty or not finite.
///
/// # Panics
/// If the lengths differ.
///
/// # References
/// Spearman (1904), "The proof and measurement of association between two things".
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    assert_eq!(x.len(), y.len(), "numbers in pairs");
    if x.iter().chain(y).any(|value| !value.is_finite()) {
        return None;
    }
    pearson(&ranks(x), &ranks(y))
}

/// The values less their mean. A constant list becomes exactly 0, which rounding of the mean might prevent.
fn centred(values: &[f64]) -> Vec<f64> {
    let first = values.first().copied().unwrap_or(f64::NAN);
    let shifted: Vec<f64> = values.iter().map(|value| value - first).collect();
    let mean = shifted.iter().sum::<f64>() / shifted.len() as f64;
    shifted.into_iter().map(|value| value - mean).collect()
}

/// The place of every value among all, counted from 1.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    #[expect(clippy::float_cmp, reason = "equal numbers share a rank, close ones do not")]
    for tied in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = before as f64 + f64::midpoint(1.0, tied.len() as f64);
        for &index in tied {
            ranks[index] = rank;
        }
        before += tied.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array1;
    use proptest::prelude::*;

    fn assert_close(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    #[test]
    fn known_correlations() {
        // Deviations -1.5, -0.5, 0.5, 1.5 and -1, 1, -1, 1: 2 / sqrt(5 * 4).
        assert_close(pearson(&[1.0, 2.0, 3.0, 4.0], &[0.0, 2.0, 0.0, 2.0]), 0.2_f64.sqrt());
        assert_close(pearson(&[1.0, 2.0, 3.0], &[5.0, 3.0, 1.0]), -1.0);
        // Ranks alone count: exp is monotonous.
        assert_close(spearman(&[1.0, 2.0, 9.0], &[0.1, 5.0, 5.1]), 1.0);
        // Ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: 4.5 / sqrt(4.5 * 5).
        assert_close(spearman(&[1.0, 2.0, 2.0, 3.0], &[1.0, 2.0, 3.0, 4.0]), 0.9_f64.sqrt());
    }

    #[test]
    fn equal_numbers_share_a_rank() {
        assert_eq!(ranks(&[7.0, 1.0, 7.0, 0.0, 7.0]), [4.0, 2.0, 4.0, 1.0, 4.0]);
    }

    #[test]
    fn a_constant_has_no_correlation() {
        for (x, y) in [(&[0.1; 3][..], &[1.0, 2.0, 3.0][..]), (&[], &[]), (&[1.0], &[2.0])] {
            assert_eq!((pearson(x, y), spearman(x, y)), (None, None));
        }
        assert_eq!(pearson(&[f64::NAN, 1.0], &[1.0, 2.0]), None);
        assert_eq!(spearman(&[f64::NAN, 1.0], &[1.0, 2.0]), None);
    }

    #[test]
    #[should_panic(expected = "numbers in pairs")]
    fn lists_of_unequal_length_have_no_correlation() {
        let _ = pearson(&[1.0, 2.0, 3.0], &[1.0, 2.0]);
    }

    #[test]
    #[should_panic(expected = "numbers in pairs")]
    fn nor_have_their_ranks() {
        // Which would have none by themselves, either.
        let _ = spearman(&[f64::NAN, 2.0, 3.0], &[1.0, 2.0]);
    }

    proptest! {
        #[test]
        fn agrees_with_ndarray_and_ignores_unit_and_order(
            pairs in prop::collection::vec((-100.0..100.0_f64, -100.0..100.0_f64), 2..30),
            factor in 0.1..10.0_f64,
        ) {
            let (x, y): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
            let (a, b) = (Array1::from_vec(x.clone()), Array1::from_vec(y.clone()));
            let (a, b) = (&a - a.mean().unwrap(), &b - b.mean().unwrap());
            let expected = a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt();
            if let Some(found) = pearson(&x, &y) {
                prop_assert!((found - expected).abs() < 1e-9);
                let stretched: Vec<f64> = x.iter().map(|value| factor * value + 3.0).collect();
                prop_assert!((pearson(&stretched, &y).unwrap() - found).abs() < 1e-9);
                prop_assert!((pearson(&y, &x).unwrap() - found).abs() < 1e-12);
            }
            if let Some(found) = spearman(&x, &y) {
                prop_assert!((-1.0..=1.0).contains(&found));
                let cubed: Vec<f64> = x.iter().map(|value| value.powi(3)).collect();
                prop_assert!((spearman(&cubed, &y).unwrap() - found).abs() < 1e-9);
            }
        }

        /// Small whole numbers, of which many are equal.
        #[test]
        fn ranks_agree_with_counting_and_their_correlation_with_ndarray(
            pairs in prop::collection::vec((-4_i8..4, -4_i8..4), 2..30),
        ) {
            let (x, y): (Vec<i8>, Vec<i8>) = pairs.into_iter().unzip();
            let wide = |values: &[i8]| values.iter().copied().map(f64::from).collect::<Vec<f64>>();
            // Equal numbers share the places behind all that are less.
            let places = |values: &[i8]| -> Array1<f64> {
                let place = |value: &i8| {
                    let less = values.iter().filter(|other| *other < value).count();
                    let alike = values.iter().filter(|other| *other == value).count();
                    less as f64 + f64::midpoint(1.0, alike as f64)
                };
                values.iter().map(place).collect()
            };
            let (p, q) = (places(&x), places(&y));
            prop_assert_eq!(ranks(&wide(&x)), p.to_vec());
            let products = (&p - p.mean().unwrap()) * (&q - q.mean().unwrap());
            let scale = p.std(0.0) * q.std(0.0);
            match spearman(&wide(&x), &wide(&y)) {
                Some(found) => {
                    let expected = products.mean().unwrap() / scale;
                    prop_assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
                }
                None => prop_assert!(scale < 1e-9),
            }
        }
    }
}
