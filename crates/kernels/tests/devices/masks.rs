//! What primitives make attention of: masks, and a softmax over what they leave.

use crate::attention::variants;
use crate::compare::{
    Forward, Matrix, Operation, Passes, ROUNDING, agrees, computes_the_same, few_cases, numbers,
};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use kernels::{Stretch, Visibility, masked_softmax};
use proptest::prelude::*;
use proptest::sample::Index;

/// Scores of queries at `time` positions of every row, from a first one on, against all tokens up to their own and some
/// `beyond`, in two stretches that meet at a cut.
#[derive(Debug)]
struct Scores {
    first: Vec<usize>,
    time: usize,
    heads: [usize; 2],
    beyond: usize,
    cut: Index,
    window: Option<usize>,
    size: f32,
}

impl Scores {
    fn slots(&self) -> usize {
        self.first.iter().max().unwrap() + self.time + self.beyond
    }

    fn shape(&self) -> [usize; 5] {
        let [key_value_heads, group] = self.heads;
        [self.first.len(), key_value_heads, group, self.time, self.slots()]
    }

    /// Every query and what it scores.
    fn flat(&self) -> [usize; 2] {
        let [rows, key_value_heads, group, time, slots] = self.shape();
        [rows * key_value_heads * group * time, slots]
    }

    fn visible<B: Backend>(&self) -> Visibility<B> {
        Visibility::new(self.first.clone(), self.time, self.window)
    }
}

impl Operation<1> for Scores {
    const TOLERANCE: f32 = ROUNDING;

    fn operands(&self) -> [Matrix; 1] {
        [Matrix::wave(self.flat(), 0.37, self.size)]
    }

    fn apply<B: Backend>(&self, [scores]: [Tensor<B, 2>; 1]) -> Tensor<B, 2> {
        let scores = scores.reshape(self.shape());
        let (slots, cut) = (self.slots(), self.cut.index(self.slots()));
        let stretches = [0..cut, cut..slots].into_iter().filter(|slots| !slots.is_empty());
        let stretches = stretches.map(|slots| Stretch {
            scores: scores.clone().narrow(4, slots.start, slots.len()),
            start: slots.start,
        });
        let weights = masked_softmax(stretches.collect(), &self.visible::<B>(), 0);
        Tensor::cat(weights, 4).reshape(self.flat())
    }

    fn sizes(&self) -> Passes<1> {
        Passes { result: vec![1.0], gradients: [vec![1.0]] }
    }
}

/// With what must not be seen hidden.
impl Forward for Scores {
    fn compute<B: Backend>(&self, device: &B::Device) -> Vec<f32> {
        let scores = self.operands().map(|x| x.tensor::<B>(device).reshape(self.shape()));
        let masked = scores.map(|scores| self.visible::<B>().mask(Stretch { scores, start: 0 }, 0));
        masked.map(numbers).concat()
    }
}

proptest! {
    #![proptest_config(few_cases())]

    #[test]
    fn masks_and_their_softmax(
        first in prop::collection::vec(0_usize..20, 1..4),
        time in 1_usize..8,
        heads in prop::array::uniform2(1_usize..3),
        beyond in 0_usize..4,
        cut in any::<Index>(),
        window in 2_usize..12,
    ) {
        for (window, size) in variants(window) {
            let first = first.clone();
            let scores = Scores { first, time, heads, beyond, cut, window, size };
            agrees(&scores)?;
            computes_the_same(&scores)?;
        }
    }
}
