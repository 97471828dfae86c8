//! Rows of unequal length that lie one behind the other, without padding.

use crate::attention::Pass;
use crate::config::SlidingWindow;
use burn::tensor::{Tensor, backend::Backend};

/// Rows of these lengths as stretches of rows of equal length; rows without a token are left out.
pub(crate) fn stretches<B: Backend>(
    lengths: &[usize],
    window: Option<&SlidingWindow>,
) -> Vec<Pass<B>> {
    let with_tokens: Vec<usize> = lengths.iter().copied().filter(|&length| length > 0).collect();
    let equal = with_tokens.chunk_by(|a, b| a == b);
    equal.map(|rows| Pass::new(rows.len(), rows[0], vec![0], window)).collect()
}

/// The tokens of every stretch.
///
/// By halves, not one after the other: the backward pass of a slice fills a tensor of the size of what was sliced, which
/// for `n` slices of the whole would cost `n` times the whole, but so costs `log n` times.
///
/// # Shapes
/// `[tokens, width]`, all of which belong to a stretch, to `[rows * time, width]` each.
pub(crate) fn cut<B: Backend>(x: Tensor<B, 2>, stretches: &[Pass<B>]) -> Vec<Tensor<B, 2>> {
    if stretches.len() <= 1 {
        return vec![x];
    }
    let [tokens, _] = x.dims();
    let (first, second) = stretches.split_at(middle(stretches));
    let from: usize = first.iter().map(tokens_of).sum();
    let mut parts = cut(x.clone().narrow(0, 0, from), first);
    parts.extend(cut(x.narrow(0, from, tokens - from), second));
    parts
}

/// Where to cut for both sides to hold about as many tokens; neither is empty.
fn middle<B: Backend>(stretches: &[Pass<B>]) -> usize {
    let all: usize = stretches.iter().map(tokens_of).sum();
    let mut before = 0;
    let reaches_half = |pass: &Pass<B>| {
        before += tokens_of(pass);
        2 * before >= all
    };
    let place = stretches.iter().position(reaches_half).unwrap_or(0);
    place.clamp(1, stretches.len() - 1)
}

fn tokens_of<B: Backend>(pass: &Pass<B>) -> usize {
    pass.rows * pass.time
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;
    use burn_flex::{Flex, FlexDevice};
    use proptest::prelude::*;

    fn shapes(lengths: &[usize]) -> Vec<(usize, usize)> {
        stretches::<Flex>(lengths, None).iter().map(|pass| (pass.rows, pass.time)).collect()
    }

    #[test]
    fn rows_of_equal_length_that_follow_each_other_are_one_stretch() {
        assert_eq!(shapes(&[3, 3, 5, 0, 5, 3]), [(2, 3), (2, 5), (1, 3)]);
        assert!(shapes(&[0, 0]).is_empty());
    }

    proptest! {
        #[test]
        fn the_parts_are_the_tokens_in_order(lengths in prop::collection::vec(1_usize..9, 1..30)) {
            let tokens: usize = lengths.iter().sum();
            let numbers: Vec<f32> = (0..2 * tokens).map(|number| number as f32).collect();
            let data = TensorData::new(numbers.clone(), [tokens, 2]);
            let x = Tensor::<Flex, 2>::from_data(data, &FlexDevice);
            let stretches = stretches(&lengths, None);
            let parts = cut(x, &stretches);
            prop_assert_eq!(parts.len(), stretches.len());
            let mut found = Vec::new();
            for (part, pass) in parts.into_iter().zip(&stretches) {
                prop_assert_eq!(part.dims(), [tokens_of(pass), 2]);
                found.extend(part.into_data().to_vec::<f32>().unwrap());
            }
            prop_assert_eq!(found, numbers);
        }
    }
}
