//! The logarithm of sums of exponentials: what turns logits into log-probabilities.

use crate::exp::exp;
use crate::flex::{for_each_row, in_order, ordered, to_tensor, vectorised};
use crate::lanes::maximum;
use crate::one_column::row_sums;
use crate::tracked::{Rule, learned, record, tracked};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use burn_flex::FlexTensor;
use rayon::prelude::*;

/// Numbers that one thread works on at a time.
const CHUNK: usize = 1 << 15;

/// `log(sum(exp(x)))` of every row.
///
/// # Shapes
/// `[rows, width]` to `[rows, 1]`.
pub fn log_sum_exp<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    let x = match tracked(x) {
        Ok(x) => {
            let numbers = ordered(x.primitive.clone());
            let result = of_rows(&numbers);
            let rule = |totals: &FlexTensor| LogSumExp { x: numbers, totals: totals.clone() };
            return learned(record([&x], result, rule));
        }
        Err(x) => x,
    };
    match in_order(x) {
        Ok(x) => to_tensor(of_rows(&x)),
        Err(x) => of_primitives(x),
    }
}

fn of_rows(x: &FlexTensor) -> FlexTensor {
    let [rows, width] = [x.layout().shape()[0], x.layout().shape()[1]];
    let numbers: &[f32] = x.storage();
    let rows_at_once = (CHUNK / width.max(1)).max(1);
    let chunk = |chunk: &[f32]| -> Vec<f32> {
        vectorised(
            #[inline(always)]
            || chunk.chunks_exact(width).map(of_row).collect(),
        )
    };
    let totals: Vec<f32> = if width == 0 {
        vec![f32::NEG_INFINITY; rows]
    } else {
        numbers.par_chunks(rows_at_once * width).map(chunk).flatten_iter().collect()
    };
    FlexTensor::from_data(TensorData::new(totals, [rows, 1]))
}

/// The maximum only guards against overflow.
#[inline(always)]
fn of_row(row: &[f32]) -> f32 {
    let largest = maximum(row);
    let mut sums = [0.0_f32; 32];
    let chunks = row.chunks_exact(sums.len());
    let rest: f32 = chunks.remainder().iter().map(|x| exp(x - largest)).sum();
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += exp(x - largest);
        }
    }
    largest + (sums.iter().sum::<f32>() + rest).ln()
}

#[derive(Debug, Clone)]
struct LogSumExp {
    x: FlexTensor,
    totals: FlexTensor,
}

impl Rule<1> for LogSumExp {
    /// `g exp(x - total)`.
    fn gradients(self, gradient: FlexTensor) -> [FlexTensor; 1] {
        let Self { mut x, totals } = self;
        let width = x.layout().shape()[1];
        let (totals, gradients): (&[f32], &[f32]) = (totals.storage(), gradient.storage());
        for_each_row(
            x.storage_mut(),
            width,
            #[inline(always)]
            |index, row| {
                let (total, gradient) = (totals[index], gradients[index]);
                for x in row {
                    *x = exp(*x - total) * gradient;
                }
            },
        );
        [x]
    }
}

/// The maximum takes no gradient.
fn of_primitives<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    let largest = x.clone().detach().max_dim(1);
    row_sums((x - largest.clone()).exp()).log() + largest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracked::tests::{Fused, Primitives, distance, numbers, wave};
    use burn::tensor::backend::AutodiffBackend;
    use burn_flex::{Flex, FlexDevice};
    use proptest::prelude::*;

    #[test]
    fn by_hand() {
        let ln = f32::ln;
        // One to three; even; even and too large for `exp`; one that is certain.
        let x = [[0.0, ln(3.0)], [2.0, 2.0], [100.0, 100.0], [f32::NEG_INFINITY, -7.0]];
        let found = numbers(log_sum_exp(Tensor::<Flex, 2>::from_data(x, &FlexDevice)));
        for (found, expected) in found.iter().zip([ln(4.0), 2.0 + ln(2.0), 100.0 + ln(2.0), -7.0]) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
        let x = Tensor::<Flex, 2>::from_data([[1.0, f32::NAN]], &FlexDevice);
        assert!(numbers(log_sum_exp(x))[0].is_nan());
    }

    fn learned_numbers<B: AutodiffBackend<Device = FlexDevice>>(
        [rows, width]: [usize; 2],
        size: f32,
    ) -> [Vec<f32>; 2] {
        let x = wave::<B, 2>([rows, width], 0.37, size).require_grad();
        let result = log_sum_exp(x.clone());
        let gradients = (result.clone() * wave::<B, 2>([rows, 1], 0.7, 1.0)).sum().backward();
        [numbers(result), numbers(x.grad(&gradients).unwrap())]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn both_roads_agree(rows in 1_usize..40, width in 1_usize..3000, size in 0.1_f32..200.0) {
            let found = learned_numbers::<Fused>([rows, width], size);
            let expected = learned_numbers::<Primitives>([rows, width], size);
            for (found, expected) in found.iter().zip(&expected) {
                prop_assert!(distance(found, expected) < 1e-5);
            }
            let plain = numbers(log_sum_exp(wave::<Flex, 2>([rows, width], 0.37, size)));
            prop_assert_eq!(&plain, &found[0]);
        }
    }
}
