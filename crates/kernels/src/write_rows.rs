//! Keys and values into a store that was allocated ahead.

use crate::flex::{in_order, to_tensor};
use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData, backend::Backend};

/// Where some new tokens go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The row of the store.
    pub row: usize,
    /// The first slot written.
    pub slot: usize,
    /// The first of the new tokens.
    pub from: usize,
    /// How many there are.
    pub count: usize,
}

/// Writes tokens into the slots of a store, in place where the backend lets it: the store must have no other owner, or
/// it is copied.
///
/// # Shapes
/// `store` `[rows, slots, key_value_heads, 1, head_dim]`, `new` `[tokens, key_value_heads * head_dim]`, to the store.
///
/// # Panics
/// If a place lies outside the store or the new tokens, if these are not as wide as a slot, or if the fourth dimension of the store
/// is not 1.
pub fn write_rows<B: Backend>(
    store: Tensor<B, 5>,
    new: Tensor<B, 2>,
    places: &[Place],
) -> Tensor<B, 5> {
    let shape = store.dims();
    let [rows, slots, ..] = shape;
    let width = slot_width(shape);
    let [tokens, new_width] = new.dims();
    assert_eq!(new_width, width, "new tokens as wide as a slot");
    let inside = |place: &Place| {
        place.row < rows && place.slot + place.count <= slots && place.from + place.count <= tokens
    };
    assert!(places.iter().all(inside), "places lie in the store");
    let mut store = match in_order(store) {
        Ok(store) => store,
        Err(store) => {
            return of_primitives(store.reshape([rows * slots, width]), new, places, slots)
                .reshape(shape);
        }
    };
    let Ok(new) = in_order(new) else {
        unreachable!("a backend holds all of its tensors alike");
    };
    let numbers: &[f32] = new.storage();
    let stored: &mut [f32] = store.storage_mut();
    for &Place { row, slot, from, count } in places {
        let to = (row * slots + slot) * width;
        stored[to..to + count * width]
            .copy_from_slice(&numbers[from * width..(from + count) * width]);
    }
    to_tensor(store)
}

/// Copies the first `count` slots of row `from` of a store to row `to`, in place where the backend lets it.
///
/// # Shapes
/// `store` `[rows, slots, key_value_heads, 1, head_dim]`, to the same.
///
/// # Panics
/// If the rows or the slots lie outside the store, or its fourth dimension is not 1.
pub fn move_row<B: Backend>(
    store: Tensor<B, 5>,
    from: usize,
    to: usize,
    count: usize,
) -> Tensor<B, 5> {
    let shape = store.dims();
    let [rows, slots, ..] = shape;
    let width = slot_width(shape);
    assert!(from < rows && to < rows && count <= slots, "rows lie in the store");
    match in_order(store) {
        Ok(mut store) => {
            let stored: &mut [f32] = store.storage_mut();
            let start = from * slots * width;
            stored.copy_within(start..start + count * width, to * slots * width);
            to_tensor(store)
        }
        Err(store) if count == 0 => store,
        Err(store) => {
            let flat = store.reshape([rows * slots, width]);
            let places = from * slots..from * slots + count;
            let moved = flat.clone().select(0, indices(places, &flat.device()));
            let place = Place { row: to, slot: 0, from: 0, count };
            of_primitives(flat, moved, &[place], slots).reshape(shape)
        }
    }
}

/// Numbers of a token.
fn slot_width([_, _, heads, group, head_dim]: [usize; 5]) -> usize {
    assert_eq!(group, 1, "keys and values are stored once for the heads that share them");
    heads * head_dim
}

fn of_primitives<B: Backend>(
    store: Tensor<B, 2>,
    new: Tensor<B, 2>,
    places: &[Place],
    slots: usize,
) -> Tensor<B, 2> {
    let device = store.device();
    let to = places.iter().flat_map(|place| {
        let first = place.row * slots + place.slot;
        first..first + place.count
    });
    let from: Vec<usize> =
        places.iter().flat_map(|place| place.from..place.from + place.count).collect();
    let count = from.len();
    if count == 0 {
        return store;
    }
    let all = count == new.dims()[0] && from.iter().enumerate().all(|(index, &at)| at == index);
    let new = if all { new } else { new.select(0, indices(from.into_iter(), &device)) };
    let to = indices(to, &device).reshape([count, 1]);
    store.scatter_nd(to, new, IndexingUpdateOp::Assign)
}

#[allow(clippy::cast_possible_wrap, reason = "places of things in memory are far smaller")]
pub(crate) fn indices<B: Backend>(
    indices: impl Iterator<Item = usize>,
    device: &B::Device,
) -> Tensor<B, 1, Int> {
    let data: Vec<i64> = indices.map(|index| index as i64).collect();
    let count = data.len();
    Tensor::from_data(TensorData::new(data, [count]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracked::tests::{Primitives, numbers, wave};
    use burn::backend::Autodiff;
    use burn_flex::{Flex, FlexDevice};
    use proptest::prelude::*;

    type B = Flex;

    const PLACES: [Place; 2] = [
        Place { row: 1, slot: 2, from: 1, count: 2 },
        Place { row: 0, slot: 0, from: 0, count: 1 },
    ];

    fn new() -> Tensor<B, 2> {
        Tensor::from_data([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], &FlexDevice)
    }

    #[test]
    fn rows_take_their_tokens() {
        let mut expected = vec![0.0; 16];
        expected[..2].copy_from_slice(&[1.0, 2.0]);
        expected[12..].copy_from_slice(&[3.0, 4.0, 5.0, 6.0]);
        let found = write_rows(Tensor::zeros([2, 4, 1, 1, 2], &FlexDevice), new(), &PLACES);
        assert_eq!(found.into_data().to_vec::<f32>().unwrap(), expected);
        let found = of_primitives(Tensor::zeros([8, 2], &FlexDevice), new(), &PLACES, 4);
        assert_eq!(found.into_data().to_vec::<f32>().unwrap(), expected);
    }

    #[test]
    fn a_store_with_another_owner_is_left_alone() {
        let store = Tensor::<B, 5>::zeros([2, 4, 1, 1, 2], &FlexDevice);
        let kept = store.clone();
        let _ = write_rows(store, new(), &PLACES);
        assert_eq!(kept.into_data().to_vec::<f32>().unwrap(), [0.0; 16]);
    }

    #[test]
    fn a_row_moves() {
        let data = TensorData::new((0..16).map(|i| i as f32).collect::<Vec<_>>(), [2, 4, 1, 1, 2]);
        let store = Tensor::<B, 5>::from_data(data.clone(), &FlexDevice);
        let found = move_row(store, 1, 0, 3).into_data().to_vec::<f32>().unwrap();
        assert_eq!(found[..8], [8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 6.0, 7.0]);
        assert_eq!(found[8..], data.to_vec::<f32>().unwrap()[8..]);
        let store = Tensor::<Autodiff<B>, 5>::from_data(data, &FlexDevice);
        assert_eq!(move_row(store, 1, 0, 3).into_data().to_vec::<f32>().unwrap(), found);
    }

    #[test]
    #[should_panic(expected = "places lie in the store")]
    fn places_outside_are_a_mistake() {
        let place = Place { row: 0, slot: 3, from: 0, count: 2 };
        let _ = write_rows(Tensor::<B, 5>::zeros([2, 4, 1, 1, 2], &FlexDevice), new(), &[place]);
    }

    #[test]
    #[should_panic(expected = "new tokens as wide as a slot")]
    fn so_are_wider_tokens() {
        let store = Tensor::<B, 5>::zeros([2, 4, 1, 1, 2], &FlexDevice);
        let _ = write_rows(store, wave([3, 4], 0.37, 1.0), &PLACES);
    }

    #[test]
    #[should_panic(expected = "stored once for the heads that share them")]
    fn so_is_a_store_of_repeated_heads() {
        let _ = move_row(Tensor::<B, 5>::zeros([2, 4, 1, 2, 2], &FlexDevice), 1, 0, 3);
    }

    /// Stretches of every row, each with a gap before it, a number of tokens and the first of them.
    fn places(rows: &[Vec<(usize, usize, usize)>]) -> Vec<Place> {
        let of_row = |(row, stretches): (usize, &Vec<(usize, usize, usize)>)| {
            let mut end = 0;
            let place = |&(gap, count, from): &(usize, usize, usize)| {
                end += gap + count;
                Place { row, slot: end - count, from, count }
            };
            stretches.iter().map(place).collect::<Vec<_>>()
        };
        // Later rows first.
        rows.iter().enumerate().rev().flat_map(of_row).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn agrees_with_primitives(
            rows in prop::collection::vec(
                prop::collection::vec((0_usize..3, 0_usize..4, 0_usize..5), 0..3),
                1..5,
            ),
            heads in 1_usize..4,
            head_dim in 1_usize..6,
            moves in prop::array::uniform3(any::<prop::sample::Index>()),
        ) {
            let places = places(&rows);
            let slots = 1 + places.iter().map(|place| place.slot + place.count).max().unwrap_or(0);
            let tokens = 1 + places.iter().map(|place| place.from + place.count).max().unwrap_or(0);
            let shape = [rows.len(), slots, heads, 1, head_dim];
            let [from, to] = [0, 1].map(|index: usize| moves[index].index(rows.len()));
            let count = moves[2].index(slots + 1);
            let found = write_rows(
                wave::<B, 5>(shape, 0.37, 1.0),
                wave([tokens, heads * head_dim], 0.73, 1.0),
                &places,
            );
            let expected = write_rows(
                wave::<Primitives, 5>(shape, 0.37, 1.0),
                wave([tokens, heads * head_dim], 0.73, 1.0),
                &places,
            );
            prop_assert_eq!(numbers(found.clone()), numbers(expected.clone()));
            let found = move_row(found, from, to, count);
            let expected = move_row(expected, from, to, count);
            prop_assert_eq!(numbers(found), numbers(expected));
        }
    }
}
