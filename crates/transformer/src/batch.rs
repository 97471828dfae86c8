//! Rows of tokens to tensors.

use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use kernels::select_rows;

/// Rows as one tensor, padded on the right with token 0.
///
/// Causal attention keeps the padding from mattering, so no token is set aside for it.
///
/// # Shapes
/// `[rows, longest row]`.
pub fn pad_right<B: Backend>(rows: &[impl AsRef<[u32]>], device: &B::Device) -> Tensor<B, 2, Int> {
    let longest = rows.iter().map(|row| row.as_ref().len()).max().unwrap_or(0);
    let mut padded: Vec<i64> = Vec::with_capacity(rows.len() * longest);
    for (index, row) in rows.iter().enumerate() {
        padded.extend(row.as_ref().iter().map(|&token| i64::from(token)));
        padded.resize((index + 1) * longest, 0);
    }
    Tensor::from_data(TensorData::new(padded, [rows.len(), longest]), device)
}

/// The states at some positions of a batch.
///
/// # Shapes
/// `hidden` `[rows, time, model]`, `positions` flat as `row * time + t`, to `[positions, model]`.
pub fn select_positions<B: Backend>(hidden: Tensor<B, 3>, positions: &[usize]) -> Tensor<B, 2> {
    let indices = indices(positions, &hidden.device());
    select_rows(hidden.flatten(0, 1), indices)
}

/// Indices on the device.
#[allow(clippy::cast_possible_wrap, reason = "indices of things in memory are far smaller")]
pub(crate) fn indices<B: Backend>(indices: &[usize], device: &B::Device) -> Tensor<B, 1, Int> {
    let data: Vec<i64> = indices.iter().map(|&index| index as i64).collect();
    Tensor::from_data(TensorData::new(data, [indices.len()]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_flex::{Flex, FlexDevice};

    #[test]
    fn short_rows_are_filled_up_on_the_right() {
        let padded = pad_right::<Flex>(&[vec![5, 6, 7], vec![8], vec![]], &FlexDevice);
        assert_eq!(padded.dims(), [3, 3]);
        let tokens: Vec<u32> = padded.into_data().iter().collect();
        assert_eq!(tokens, [5, 6, 7, 8, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn positions_count_through_the_rows() {
        let hidden = Tensor::<Flex, 3>::from_data([[[0.0], [1.0]], [[2.0], [3.0]]], &FlexDevice);
        let picked = select_positions(hidden, &[3, 0, 3]);
        assert_eq!(picked.into_data().to_vec::<f32>().unwrap(), [3.0, 0.0, 3.0]);
    }
}
