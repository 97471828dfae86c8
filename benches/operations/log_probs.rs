//! Log-probabilities of the tokens of a batch, each under the state before it.

use crate::operations::case::Operation;
use crate::operations::shapes::{VOCABULARY, WIDTH, indices, tokens, wave};
use burn::tensor::{Int, Tensor, activation::log_softmax, backend::Backend};
use kernels::{Target, row_sums, token_log_probs};

pub(crate) struct TokenLogProbs<B: Backend> {
    vocabulary: usize,
    entropy: bool,
    targets: Vec<Target>,
    /// The same, `[targets, 1]`.
    tokens: Tensor<B, 2, Int>,
}

impl<B: Backend> TokenLogProbs<B> {
    /// Those of the batch, with the entropy of every distribution or without.
    pub(crate) fn new(entropy: bool) -> Self {
        Self::of(tokens(), VOCABULARY, entropy)
    }

    /// Those of one row, each at a state of its own.
    pub(crate) fn of_row(count: usize, vocabulary: usize) -> Self {
        Self::of((0..count).map(|i| 7919 * i % (vocabulary - 1) + 1).collect(), vocabulary, false)
    }

    fn of(tokens: Vec<usize>, vocabulary: usize, entropy: bool) -> Self {
        let flat = Tensor::<B, 1, Int>::from_data(indices(&tokens), &B::Device::default());
        let targets = tokens.iter().enumerate();
        Self {
            vocabulary,
            entropy,
            targets: targets.map(|(position, &token)| Target { position, token }).collect(),
            tokens: flat.reshape([tokens.len(), 1]),
        }
    }
}

impl<B: Backend> Operation<B> for TokenLogProbs<B> {
    fn operands(&self) -> Vec<Tensor<B, 2>> {
        let states = wave([self.targets.len(), WIDTH], 0.37, 1.0);
        vec![states, wave([self.vocabulary, WIDTH], 0.73, 0.25)]
    }

    fn ours(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2> {
        let (states, weight) = (operands[0].clone(), operands[1].clone());
        token_log_probs(states, weight, &self.targets, self.entropy)
    }

    fn primitives(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2> {
        let logits = operands[0].clone().matmul(operands[1].clone().transpose());
        let all = log_softmax(logits, 1);
        let asked = all.clone().gather(1, self.tokens.clone());
        if !self.entropy {
            return asked;
        }
        let entropies = -row_sums(all.clone().exp() * all);
        Tensor::cat(vec![asked, entropies], 1)
    }
}
