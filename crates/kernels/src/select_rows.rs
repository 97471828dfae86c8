//! Rows of a matrix by their places: embedding, and the states that a loss is taken of.

use crate::flex::{cast, from_numbers, ordered, vectorised};
use crate::tracked::{Rule, Tracked, learned, record, tracked};
use burn::tensor::{Int, Tensor, backend::Backend, ops::FloatTensorOps};
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::*;

/// Numbers of the gradient that one thread works on at a time.
const CHUNK: usize = 1 << 14;

/// The rows of `x` at `places`, in their order; a place may come more than once.
///
/// # Shapes
/// `x` `[rows, width]`, `places` `[count]`, to `[count, width]`.
///
/// # Panics
/// If a place is not one of the rows of `x`, on flex; other backends may not look.
pub fn select_rows<B: Backend>(x: Tensor<B, 2>, places: Tensor<B, 1, Int>) -> Tensor<B, 2> {
    match tracked(x) {
        Ok(x) => learned(recorded(&x, places)),
        Err(x) => x.select(0, places),
    }
}

fn recorded<B: Backend>(x: &Tracked, places: Tensor<B, 1, Int>) -> Tracked {
    let rows = x.primitive.layout().shape()[0];
    let at: Vec<usize> =
        places.to_data().iter::<i64>().map(|place| in_range(place, rows)).collect();
    let Some(places) = cast(places.into_primitive()) else {
        unreachable!("a backend holds its tensors as its tensors")
    };
    let selected = Flex::float_select(x.primitive.clone(), 0, places);
    record([x], selected, |_| Scatter { places: at, rows })
}

fn in_range(place: i64, rows: usize) -> usize {
    match usize::try_from(place) {
        Ok(place) if place < rows => place,
        _ => panic!("place {place} is not one of {rows} rows"),
    }
}

#[derive(Debug, Clone)]
struct Scatter {
    places: Vec<usize>,
    rows: usize,
}

impl Rule<1> for Scatter {
    /// To every row, the sum of the gradients of its copies, in their order.
    fn gradients(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let Self { places, rows } = self;
        let gradient = ordered(gradient);
        let width = gradient.layout().shape()[1];
        let gradients: &[f32] = gradient.storage();
        let mut sums = vec![0.0_f32; rows * width];
        if width == 0 {
            return [Some(from_numbers(sums, [rows, width]))];
        }
        let mut copies: Vec<usize> = (0..places.len()).collect();
        copies.sort_by_key(|&copy| places[copy]);
        let rows_at_once = (CHUNK / width).max(1);
        sums.par_chunks_mut(rows_at_once * width).enumerate().for_each(|(chunk, sums)| {
            let first = chunk * rows_at_once;
            let before = |row| copies.partition_point(|&copy| places[copy] < row);
            let own = &copies[before(first)..before(first + rows_at_once)];
            vectorised(
                #[inline(always)]
                || {
                    for &copy in own {
                        let sum = &mut sums[(places[copy] - first) * width..][..width];
                        let gradient = &gradients[copy * width..][..width];
                        sum.iter_mut().zip(gradient).for_each(|(sum, x)| *sum += x);
                    }
                },
            );
        });
        [Some(from_numbers(sums, [rows, width]))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracked::tests::{Fused, Primitives, close, none_or_up_to, numbers, wave};
    use burn::tensor::TensorData;
    use burn::tensor::backend::AutodiffBackend;
    use burn_flex::FlexDevice;
    use proptest::prelude::*;

    fn places<B: Backend<Device = FlexDevice>>(places: &[i32]) -> Tensor<B, 1, Int> {
        Tensor::from_data(TensorData::new(places.to_vec(), [places.len()]), &FlexDevice)
    }

    /// What is selected, and the gradient of the matrix.
    fn learned_numbers<B: AutodiffBackend<Device = FlexDevice>>(
        shape: [usize; 2],
        at: &[i32],
    ) -> [Vec<f32>; 2] {
        let x = wave::<B, 2>(shape, 0.37, 2.0).require_grad();
        let selected = select_rows(x.clone(), places(at));
        let weights = wave::<B, 2>([at.len(), shape[1]], 0.7, 1.0);
        let gradients = (selected.clone() * weights).sum().backward();
        [numbers(selected), numbers(x.grad(&gradients).unwrap())]
    }

    #[test]
    fn copies_of_a_row_add_their_gradients() {
        let x = Tensor::<Fused, 2>::from_data([[1.0], [2.0], [3.0]], &FlexDevice).require_grad();
        let selected = select_rows(x.clone(), places(&[2, 0, 2]));
        let weights = Tensor::from_data([[10.0], [20.0], [30.0]], &FlexDevice);
        assert_eq!(numbers(selected.clone()), [3.0, 1.0, 3.0]);
        let gradients = (selected * weights).sum().backward();
        assert_eq!(numbers(x.grad(&gradients).unwrap()), [20.0, 0.0, 40.0]);
    }

    #[test]
    fn of_no_rows_none_are_selected() {
        assert!(learned_numbers::<Fused>([0, 3], &[]).iter().all(Vec::is_empty));
        assert!(learned_numbers::<Primitives>([0, 3], &[]).iter().all(Vec::is_empty));
    }

    #[test]
    #[should_panic(expected = "place 3 is not one of 3 rows")]
    fn a_place_beyond_the_rows_is_named() {
        let x = wave::<Fused, 2>([3, 1], 0.37, 1.0).require_grad();
        select_rows(x, places(&[3]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn agrees_with_primitives(
            at in prop::collection::vec(0_i32..300, 0..200),
            width in none_or_up_to(150),
        ) {
            let [selected, of_x] = learned_numbers::<Fused>([300, width], &at);
            let [expected, of_x_expected] = learned_numbers::<Primitives>([300, width], &at);
            prop_assert_eq!(selected, expected);
            prop_assert!(close(&of_x, &of_x_expected, 1e-5, 1.0));
        }
    }
}
