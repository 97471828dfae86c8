//! The inside of gated feed-forward blocks.

use crate::exp::exp;
use crate::flex::{for_each_row, in_order, to_tensor};
use burn::tensor::{Tensor, activation, backend::Backend};

/// `silu(gate) * up` with `silu(x) = x / (1 + exp(-x))` (`SwiGLU`, arXiv 2002.05202).
///
/// # Shapes
/// Both the same, and so is the result.
pub fn silu_mul<B: Backend>(gate: Tensor<B, 2>, up: Tensor<B, 2>) -> Tensor<B, 2> {
    let width = gate.dims()[1];
    let mut gate = match in_order(gate) {
        Ok(gate) => gate,
        Err(gate) => return activation::silu(gate) * up,
    };
    let up = match in_order(up) {
        Ok(up) => up,
        Err(up) => return activation::silu(to_tensor(gate)) * up,
    };
    let factors: &[f32] = up.storage();
    for_each_row(
        gate.storage_mut(),
        width,
        #[inline(always)]
        |index, row| {
            let factors = &factors[index * width..][..row.len()];
            for (x, factor) in row.iter_mut().zip(factors) {
                *x = *x / (1.0 + exp(-*x)) * factor;
            }
        },
    );
    to_tensor(gate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{TensorData, Tolerance};
    use burn_flex::{Flex, FlexDevice};

    #[test]
    fn both_roads_agree() {
        // More than one chunk, and a width that fills no vector.
        let numbers = |salt: f32| {
            let data: Vec<f32> = (0..37 * 1001).map(|i| (i as f32 * salt).sin() * 20.0).collect();
            Tensor::<Flex, 2>::from_data(TensorData::new(data, [1001, 37]), &FlexDevice)
        };
        let (gate, up) = (numbers(0.37), numbers(0.11));
        let expected = (activation::silu(gate.clone()) * up.clone()).into_data();
        let found = silu_mul(gate, up).into_data();
        found.assert_approx_eq::<f32>(&expected, Tolerance::relative(1e-5));
    }

    #[test]
    fn operands_keep_their_numbers() {
        let gate = Tensor::<Flex, 2>::from_data([[1.0, -2.0]], &FlexDevice);
        let up = Tensor::<Flex, 2>::from_data([[3.0, 0.5]], &FlexDevice);
        let found = silu_mul(gate.clone(), up.clone()).into_data().to_vec::<f32>().unwrap();
        let silu = |x: f32| x / (1.0 + (-x).exp());
        assert!((found[0] - 3.0 * silu(1.0)).abs() < 1e-6);
        assert!((found[1] - 0.5 * silu(-2.0)).abs() < 1e-6);
        assert_eq!(gate.into_data().to_vec::<f32>().unwrap(), [1.0, -2.0]);
        assert_eq!(up.into_data().to_vec::<f32>().unwrap(), [3.0, 0.5]);
    }
}
