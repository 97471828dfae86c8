//! Packed rows side by side, for attention where it is not one operation.

use crate::attention::Pass;
use crate::batch::indices;
use crate::config::SlidingWindow;
use crate::packed::{Packed, Row};
use burn::tensor::{Int, Tensor, backend::Backend};
use kernels::select_rows;

/// Groups of rows of similar length, each padded to its longest.
///
/// Attention is computed for whole rows, what they share included; all else is computed once.
#[derive(Debug)]
pub(crate) struct SideBySide<B: Backend> {
    groups: Vec<Group<B>>,
    /// Where every packed token is found among those of all groups, one behind the other.
    back: Tensor<B, 1, Int>,
}

#[derive(Debug)]
struct Group<B: Backend> {
    pass: Pass<B>,
    /// Where its tokens are found among the packed ones; padding is the first of them.
    places: Tensor<B, 1, Int>,
}

impl<B: Backend> SideBySide<B> {
    pub(crate) fn new(packed: &Packed, window: Option<&SlidingWindow>, device: &B::Device) -> Self {
        let mut rows: Vec<&Row> = packed.rows().iter().filter(|row| row.len() > 0).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.len()));
        let mut back = vec![0; packed.tokens().len()];
        let mut before = 0;
        let groups = cut(&rows).into_iter().map(|rows| {
            let time = rows[0].len();
            let mut places = vec![0; rows.len() * time];
            for (index, row) in rows.iter().enumerate() {
                for token in 0..row.len() {
                    let place = index * time + token;
                    places[place] = row.place(token);
                    back[row.place(token)] = before + place;
                }
            }
            before += places.len();
            let pass = Pass::new(rows.len(), time, vec![0], window);
            Group { pass, places: indices(&places, device) }
        });
        let groups = groups.collect();
        Self { groups, back: indices(&back, device) }
    }

    /// Queries, keys and values of the packed tokens to what `attend` makes of them, group by group.
    ///
    /// # Shapes
    /// `[tokens, width]` of each to the same.
    pub(crate) fn attend(
        &self,
        operands: &[Tensor<B, 2>; 3],
        attend: impl Fn([Tensor<B, 2>; 3], &Pass<B>) -> Tensor<B, 2>,
    ) -> Tensor<B, 2> {
        let parts = self.groups.iter().map(|Group { pass, places }| {
            attend(operands.each_ref().map(|x| select_rows(x.clone(), places.clone())), pass)
        });
        select_rows(Tensor::cat(parts.collect(), 0), self.back.clone())
    }
}

/// Rows in descending order of length, cut where one is shorter than three quarters of its group's longest: scores of padding
/// are then less than half of all, whatever the lengths, and groups are few.
fn cut<'a, 'b>(rows: &'b [&'a Row]) -> Vec<&'b [&'a Row]> {
    let mut groups = Vec::new();
    let mut rest = rows;
    while let Some(longest) = rest.first() {
        let end = rest.iter().position(|row| 4 * row.len() < 3 * longest.len());
        let (group, others) = rest.split_at(end.unwrap_or(rest.len()));
        groups.push(group);
        rest = others;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;
    use burn_flex::{Flex, FlexDevice};
    use proptest::prelude::*;

    #[test]
    fn groups_hold_rows_of_similar_length() {
        let rows = [16, 12, 11, 9, 8, 1].map(|length| Row { stem: 0..length, own: 0..0 });
        let rows: Vec<&Row> = rows.iter().collect();
        let lengths = |rows: &&[&Row]| rows.iter().map(|row| row.len()).collect::<Vec<_>>();
        let groups: Vec<Vec<usize>> = cut(&rows).iter().map(lengths).collect();
        assert_eq!(groups, [vec![16, 12], vec![11, 9], vec![8], vec![1]]);
        assert!(cut(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn tokens_come_back_to_their_places(
            lengths in prop::collection::vec(0_usize..30, 1..12),
            shared in 0_usize..40,
        ) {
            let row = |(row, &own): (usize, &usize)| {
                [vec![1; shared], vec![2 + u32::try_from(row).unwrap(); own]].concat()
            };
            let rows: Vec<Vec<u32>> = lengths.iter().enumerate().map(row).collect();
            let packed = Packed::new(&rows);
            let tokens = packed.tokens().len();
            prop_assume!(tokens > 0);
            let side_by_side = SideBySide::<Flex>::new(&packed, None, &FlexDevice);
            let numbers: Vec<f32> = (0..2 * tokens).map(|number| number as f32).collect();
            let x = Tensor::from_data(TensorData::new(numbers.clone(), [tokens, 2]), &FlexDevice);
            let back = side_by_side.attend(&[x.clone(), x.clone(), x], |[x, ..], pass| {
                assert_eq!(x.dims()[0], pass.rows * pass.time);
                x
            });
            prop_assert_eq!(back.into_data().to_vec::<f32>().unwrap(), numbers);
        }
    }
}
