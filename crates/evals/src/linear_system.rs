//! Small dense systems of linear equations.

/// The inverse of a symmetric positive definite matrix by Gauss-Jordan elimination; none if it is not definite.
///
/// Such a matrix needs no exchange of rows.
pub(crate) fn inverse(matrix: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
    let size = matrix.len();
    let mut rows: Vec<Vec<f64>> = matrix
        .iter()
        .enumerate()
        .map(|(row, values)| {
            let identity = (0..size).map(|column| if column == row { 1.0 } else { 0.0 });
            values.iter().copied().chain(identity).collect()
        })
        .collect();
    for pivot in 0..size {
        let scale = rows[pivot][pivot];
        if scale.is_nan() || scale <= f64::MIN_POSITIVE {
            return None;
        }
        for value in &mut rows[pivot] {
            *value /= scale;
        }
        let pivot_row = rows[pivot].clone();
        for (_, row) in rows.iter_mut().enumerate().filter(|&(index, _)| index != pivot) {
            let factor = row[pivot];
            for (value, pivot_value) in row.iter_mut().zip(&pivot_row) {
                *value -= factor * pivot_value;
            }
        }
    }
    Some(rows.into_iter().map(|row| row[size..].to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverts_a_matrix_known_by_hand() {
        // det 3, adjugate [[2, 1], [1, 2]].
        let found = inverse(&[vec![2.0, -1.0], vec![-1.0, 2.0]]).unwrap().concat();
        for (found, expected) in found.iter().zip([2.0, 1.0, 1.0, 2.0]) {
            assert!((found - expected / 3.0).abs() < 1e-15);
        }
        assert_eq!(inverse(&[]), Some(Vec::new()));
    }

    #[test]
    fn a_matrix_that_is_not_definite_has_none() {
        assert_eq!(inverse(&[vec![1.0, 1.0], vec![1.0, 1.0]]), None);
        assert_eq!(inverse(&[vec![-1.0]]), None);
        assert_eq!(inverse(&[vec![f64::NAN]]), None);
    }
}
