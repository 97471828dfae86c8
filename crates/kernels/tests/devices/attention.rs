//! Attention of rows to themselves, to a past and to a cache, and the cache itself.

use crate::compare::{
    Forward, Matrix, Operation, PRODUCTS, Passes, agrees, computes_alike, computes_the_same,
    few_cases, numbers, size_of_sum,
};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use kernels::{
    Heads, Place, Rows, Tree, Visibility, attend_step, causal_attention,
    causal_attention_for_training, move_row, write_rows,
};
use proptest::prelude::*;
use proptest::sample::Index;

/// Windows and sizes of the operands whose products are scores: none, one that shows a token nothing but itself, and a wider
/// one; then scores of which one alone counts.
pub(crate) fn variants(window: usize) -> [(Option<usize>, f32); 4] {
    [(None, 1.0), (Some(1), 1.0), (Some(window), 1.0), (None, 16.0)]
}

fn heads() -> impl Strategy<Value = Heads> {
    (1_usize..3, 1_usize..4, 1_usize..20).prop_map(|(key_value_heads, group, head_dim)| Heads {
        key_value_heads,
        group,
        head_dim,
    })
}

/// Of the padding before a tree, of its stem, and of its branches.
type Lengths = (usize, usize, Vec<usize>);

fn lengths() -> impl Strategy<Value = Vec<Lengths>> {
    let branches = prop::collection::vec(0_usize..12, 0..4);
    prop::collection::vec((0_usize..4, 0_usize..70, branches), 0..3)
}

/// Rows of tokens that attend to themselves and to their stems.
#[derive(Debug)]
struct Attended {
    heads: Heads,
    trees: Vec<Tree>,
    tokens: usize,
    window: Option<usize>,
    size: f32,
}

impl Attended {
    /// Behind the trees a row of one token, and padding behind that.
    fn new(heads: Heads, lengths: &[Lengths], (window, size): (Option<usize>, f32)) -> Self {
        let mut end = 0;
        let mut next = |length: usize| {
            end += length;
            end - length..end
        };
        let mut trees = Vec::new();
        for (padding, stem, branches) in lengths {
            let _ = next(*padding);
            let stem = next(*stem);
            let branches = branches.iter().map(|&length| next(length)).collect();
            trees.push(Tree { stem, branches });
        }
        trees.push(Tree::from(next(1)));
        let tokens = next(2).end;
        Self { heads, trees, tokens, window, size }
    }

    fn width(&self) -> usize {
        self.heads.key_value_heads * self.heads.head_dim
    }

    fn attend<B: Backend>(
        &self,
        operands: [Tensor<B, 2>; 3],
        past: &[[Tensor<B, 2>; 2]],
    ) -> Tensor<B, 2> {
        causal_attention(operands, past, self.heads, &Rows::new(self.trees.clone()), self.window)
    }
}

impl Operation<3> for Attended {
    const TOLERANCE: f32 = PRODUCTS;

    fn operands(&self) -> [Matrix; 3] {
        let (tokens, width, size) = (self.tokens, self.width(), self.size);
        [
            Matrix::wave([tokens, self.heads.group * width], 0.37, size),
            Matrix::wave([tokens, width], 0.73, size),
            Matrix::wave([tokens, width], 0.11, 1.0),
        ]
    }

    fn apply<B: Backend>(&self, operands: [Tensor<B, 2>; 3]) -> Tensor<B, 2> {
        self.attend(operands, &[])
    }

    fn learn<B: AutodiffBackend>(&self, operands: [Tensor<B, 2>; 3]) -> Tensor<B, 2> {
        let rows = Rows::new(self.trees.clone());
        causal_attention_for_training(operands, self.heads, &rows, self.window)
    }

    /// The result is a mean of values; the gradient of a score is the difference of two sums over a head, and is multiplied
    /// by queries and keys.
    fn sizes(&self) -> Passes<3> {
        let of_scores = self.size * size_of_sum(self.heads.head_dim);
        Passes { result: vec![1.0], gradients: [vec![of_scores], vec![of_scores], vec![1.0]] }
    }
}

/// The same rows behind stretches of so many tokens.
#[derive(Debug)]
struct Behind {
    rows: Attended,
    past: Vec<usize>,
}

impl Forward for Behind {
    fn compute<B: Backend>(&self, device: &B::Device) -> Vec<f32> {
        let operands = self.rows.operands().map(|x| x.tensor::<B>(device));
        let stretch = |(index, &tokens): (usize, &usize)| {
            [(0.53_f32, self.rows.size), (0.19, 1.0)].map(|(salt, size)| {
                let shape = [tokens, self.rows.width()];
                Matrix::wave(shape, salt + index as f32, size).tensor::<B>(device)
            })
        };
        let past: Vec<[Tensor<B, 2>; 2]> = self.past.iter().enumerate().map(stretch).collect();
        numbers(self.rows.attend(operands, &past))
    }
}

/// A token a row, which attends to so many of the slots of its row.
#[derive(Debug)]
struct Step {
    heads: Heads,
    lengths: Vec<usize>,
    window: Option<usize>,
    size: f32,
}

impl Forward for Step {
    fn compute<B: Backend>(&self, device: &B::Device) -> Vec<f32> {
        const SLOTS: usize = 41;
        let Heads { key_value_heads, group, head_dim } = self.heads;
        let rows = self.lengths.len();
        let query = Matrix::wave([rows, key_value_heads * group * head_dim], 0.37, self.size);
        let query = query.tensor::<B>(device).reshape([rows, key_value_heads, 1, group, head_dim]);
        // A row more than is in use, and slots behind the longest.
        let [keys, values] = [(0.73, self.size), (0.11, 1.0)].map(|(salt, size)| {
            let stored = Matrix::wave([(rows + 1) * SLOTS, key_value_heads * head_dim], salt, size);
            stored.tensor::<B>(device).reshape([rows + 1, SLOTS, key_value_heads, 1, head_dim])
        });
        let first = self.lengths.iter().map(|length| length - 1).collect();
        let visible = Visibility::new(first, 1, self.window);
        numbers(attend_step(query, &keys, &values, &visible))
    }
}

/// New tokens for a cache, then a row of it that takes the place of another.
#[derive(Debug)]
struct Written {
    /// Rows, slots, heads and dimensions of a head.
    store: [usize; 4],
    tokens: usize,
    places: Vec<Place>,
    from: usize,
    to: usize,
    count: usize,
}

impl Forward for Written {
    fn compute<B: Backend>(&self, device: &B::Device) -> Vec<f32> {
        let [rows, slots, heads, head_dim] = self.store;
        let store = Matrix::wave([rows * slots, heads * head_dim], 0.37, 1.0).tensor::<B>(device);
        let store = store.reshape([rows, slots, heads, 1, head_dim]);
        let new = Matrix::wave([self.tokens, heads * head_dim], 0.73, 1.0).tensor::<B>(device);
        let written = write_rows(store, new, &self.places);
        let moved = move_row(written.clone(), self.from, self.to, self.count);
        [written, moved].map(numbers).concat()
    }
}

/// Stretches of every row, each with a gap before it, a number of tokens and the first of them; later rows first.
fn places(rows: &[Vec<(usize, usize, usize)>]) -> Vec<Place> {
    let of_row = |(row, stretches): (usize, &Vec<(usize, usize, usize)>)| {
        let mut end = 0;
        let place = |&(gap, count, from): &(usize, usize, usize)| {
            end += gap + count;
            Place { row, slot: end - count, from, count }
        };
        stretches.iter().map(place).collect::<Vec<_>>()
    };
    rows.iter().enumerate().rev().flat_map(of_row).collect()
}

/// Rows so long that their queries come in blocks, for some of which a window hides the beginning.
#[test]
fn of_long_rows() {
    let heads = Heads { key_value_heads: 1, group: 2, head_dim: 8 };
    for window in [None, Some(50)] {
        let rows = Attended::new(heads, &[(0, 200, vec![90, 20])], (window, 1.0));
        agrees(&rows).unwrap();
    }
}

proptest! {
    #![proptest_config(few_cases())]

    #[test]
    fn of_rows(heads in heads(), lengths in lengths(), window in 2_usize..40) {
        for variant in variants(window) {
            agrees(&Attended::new(heads, &lengths, variant))?;
        }
    }

    #[test]
    fn behind_a_past(
        heads in heads(),
        lengths in lengths(),
        past in prop::collection::vec(1_usize..40, 1..4),
        window in 2_usize..60,
    ) {
        for variant in variants(window) {
            let rows = Attended::new(heads, &lengths, variant);
            computes_alike(&Behind { rows, past: past.clone() }, &[1.0], PRODUCTS)?;
        }
    }

    #[test]
    fn of_a_step(
        heads in heads(),
        lengths in prop::collection::vec(1_usize..40, 1..5),
        window in 2_usize..12,
    ) {
        for (window, size) in variants(window) {
            let step = Step { heads, lengths: lengths.clone(), window, size };
            computes_alike(&step, &[1.0], PRODUCTS)?;
        }
    }

    #[test]
    fn writes_and_moves(
        rows in prop::collection::vec(
            prop::collection::vec((0_usize..3, 0_usize..4, 0_usize..5), 0..3),
            1..5,
        ),
        heads in 1_usize..4,
        head_dim in 1_usize..6,
        moved in prop::array::uniform3(any::<Index>()),
    ) {
        let places = places(&rows);
        let slots = 1 + places.iter().map(|place| place.slot + place.count).max().unwrap_or(0);
        let tokens = 1 + places.iter().map(|place| place.from + place.count).max().unwrap_or(0);
        computes_the_same(&Written {
            store: [rows.len(), slots, heads, head_dim],
            tokens,
            places,
            from: moved[0].index(rows.len()),
            to: moved[1].index(rows.len()),
            count: moved[2].index(slots + 1),
        })?;
    }
}
