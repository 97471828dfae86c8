//! The inside of gated feed-forward blocks.

use crate::exp::exp;
use crate::flex::{for_each_chunk, for_each_row, in_order, ordered, to_tensor};
use crate::tracked::{Rule, both_tracked, learned, record};
use burn::tensor::{Tensor, activation, backend::Backend};
use burn_flex::FlexTensor;

/// `silu(gate) * up` with `silu(x) = x / (1 + exp(-x))` (`SwiGLU`, arXiv 2002.05202).
///
/// # Shapes
/// Both the same, and so is the result.
pub fn silu_mul<B: Backend>(gate: Tensor<B, 2>, up: Tensor<B, 2>) -> Tensor<B, 2> {
    let (gate, up) = match both_tracked(gate, up) {
        Ok([gate, up]) => {
            let rule = SiluMul {
                gate: ordered(gate.primitive.clone()),
                up: ordered(up.primitive.clone()),
            };
            let result = multiply(rule.gate.clone(), &rule.up);
            return learned(record([&gate, &up], result, |_| rule));
        }
        Err(operands) => operands,
    };
    let gate = match in_order(gate) {
        Ok(gate) => gate,
        Err(gate) => return activation::silu(gate) * up,
    };
    match in_order(up) {
        Ok(up) => to_tensor(multiply(gate, &up)),
        Err(up) => activation::silu(to_tensor(gate)) * up,
    }
}

/// In the storage of `gate`.
fn multiply(mut gate: FlexTensor, up: &FlexTensor) -> FlexTensor {
    let width = gate.layout().shape()[1];
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
    gate
}

#[derive(Debug, Clone)]
struct SiluMul {
    gate: FlexTensor,
    up: FlexTensor,
}

impl Rule<2> for SiluMul {
    /// With `s = 1 / (1 + exp(-gate))`: `g up s (1 + gate (1 - s))` and `g gate s`.
    fn gradients(self, mut gradient: FlexTensor) -> [FlexTensor; 2] {
        let Self { mut gate, up } = self;
        let written: [&mut [f32]; 2] = [gate.storage_mut(), gradient.storage_mut()];
        for_each_chunk(
            written,
            up.storage(),
            #[inline(always)]
            |[gates, gradients], ups| {
                for ((x, g), up) in gates.iter_mut().zip(gradients).zip(ups) {
                    let s = 1.0 / (1.0 + exp(-*x));
                    let of_up = *g * *x * s;
                    *x = *g * up * s * (1.0 + *x * (1.0 - s));
                    *g = of_up;
                }
            },
        );
        [gate, gradient]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracked::tests::{Fused, Primitives, distance, numbers, wave};
    use burn::tensor::{TensorData, Tolerance, backend::AutodiffBackend};
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

    /// The result and the gradients of both operands.
    fn learned_numbers<B: AutodiffBackend<Device = FlexDevice>>(
        multiply: fn(Tensor<B, 2>, Tensor<B, 2>) -> Tensor<B, 2>,
    ) -> [Vec<f32>; 3] {
        let gate = wave::<B, 2>([1001, 37], 0.37, 20.0).require_grad();
        let up = wave::<B, 2>([1001, 37], 0.11, 3.0).require_grad();
        let result = multiply(gate.clone(), up.clone());
        let gradients = (result.clone() * wave::<B, 2>([1001, 37], 0.7, 1.0)).sum().backward();
        let of = |x: &Tensor<B, 2>| numbers(x.grad(&gradients).unwrap());
        [numbers(result), of(&gate), of(&up)]
    }

    #[test]
    fn gradients_agree_with_those_of_primitives() {
        let found = learned_numbers::<Fused>(silu_mul);
        let expected = learned_numbers::<Primitives>(|gate, up| activation::silu(gate) * up);
        for (found, expected) in found.iter().zip(&expected) {
            assert!(distance(found, expected) < 1e-5);
        }
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
