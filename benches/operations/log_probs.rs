//! Log-probabilities of the tokens of a batch, each under the state before it.

use crate::operations::case::Operation;
use crate::operations::shapes::{TOKENS, VOCABULARY, WIDTH, token_data, tokens, wave};
use burn::tensor::{Int, Tensor, activation::log_softmax, backend::Backend};
use kernels::{Target, row_sums, token_log_probs};

pub(crate) struct TokenLogProbs<B: Backend> {
    entropy: bool,
    targets: Vec<Target>,
    /// The same, `[tokens, 1]`.
    tokens: Tensor<B, 2, Int>,
}

impl<B: Backend> TokenLogProbs<B> {
    /// With the entropy of every distribution or without.
    pub(crate) fn new(entropy: bool) -> Self {
        let targets = tokens().into_iter().enumerate();
        let tokens = Tensor::<B, 1, Int>::from_data(token_data(), &B::Device::default());
        Self {
            entropy,
            targets: targets.map(|(position, token)| Target { position, token }).collect(),
            tokens: tokens.reshape([TOKENS, 1]),
        }
    }
}

impl<B: Backend> Operation<B> for TokenLogProbs<B> {
    fn operands(&self) -> Vec<Tensor<B, 2>> {
        vec![wave([TOKENS, WIDTH], 0.37, 1.0), wave([VOCABULARY, WIDTH], 0.73, 0.25)]
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
