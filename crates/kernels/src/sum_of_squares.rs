//! The sum of squares that the norm of gradients is made of.

use crate::flex::{held, ordered, to_tensor, vectorised};
use crate::lanes::sum_of_products;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use burn_flex::FlexTensor;
use rayon::prelude::*;

/// Numbers that one thread adds up at a time; the order of the sum depends on it.
const CHUNK: usize = 1 << 16;

/// `sum(x^2)`, `[1]`; on flex in one pass over `x`, the same for every number of threads.
pub fn sum_of_squares<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, 1> {
    match held(x) {
        Ok(x) => {
            let sum = of_numbers(ordered(x).storage());
            to_tensor(FlexTensor::from_data(TensorData::new(vec![sum], [1])))
        }
        Err(x) => x.square().sum(),
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the numbers have 32 bits too")]
fn of_numbers(numbers: &[f32]) -> f32 {
    let sums: Vec<f64> = numbers
        .par_chunks(CHUNK)
        .map(|chunk| {
            f64::from(vectorised(
                #[inline(always)]
                || sum_of_products(chunk, chunk),
            ))
        })
        .collect();
    sums.iter().sum::<f64>() as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::{Exact, off};
    use crate::tracked::tests::{Primitives, none_or_up_to, numbers, wave};
    use burn_flex::{Flex, FlexDevice};
    use proptest::prelude::*;

    fn by_hand<B: Backend<Device = FlexDevice>>() {
        let x = Tensor::<B, 2>::from_data([[1.0, -2.0], [3.0, 0.5]], &FlexDevice);
        assert_eq!(numbers(sum_of_squares(x.clone())), [14.25]);
        assert_eq!(numbers(sum_of_squares(x.transpose())), [14.25]);
    }

    #[test]
    fn signs_and_order_do_not_matter() {
        by_hand::<Flex>();
        by_hand::<Primitives>();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Of one chunk and of several, in order and not.
        #[test]
        fn agrees_with_primitives_and_double_precision(
            rows in none_or_up_to(400),
            width in none_or_up_to(400),
            size in 0.01_f32..100.0,
        ) {
            let x = wave::<Flex, 2>([rows, width], 0.37, size);
            let exact: f64 = numbers(x.clone()).iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            let exact = [Exact { value: exact, parts: exact }];
            let primitives = wave::<Primitives, 2>([rows, width], 0.37, size);
            for found in [
                numbers(sum_of_squares(x.clone())),
                numbers(sum_of_squares(x.transpose())),
                numbers(sum_of_squares(primitives)),
            ] {
                prop_assert_eq!(off(&found, &exact), None);
            }
        }
    }
}
