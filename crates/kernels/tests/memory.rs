//! However large the vocabulary, the logits of a loss take the same memory; scores of attention, that of a block of queries.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::BalancedCheckpointing;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use kernels::{Heads, Rows, Target, Tree, causal_attention_for_training, token_log_probs};
use peak_alloc::PeakAlloc;
use std::sync::{Mutex, PoisonError};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// One measures at a time.
static MEASURING: Mutex<()> = Mutex::new(());

/// Its operations are those of other backends.
type Primitives = Autodiff<Flex, BalancedCheckpointing>;

/// So small that operands and their gradients are little beside logits.
const MODEL: usize = 2;

/// What more positions and tokens may take, in bytes: gradients of the operands and some numbers a position.
const SLACK: usize = 8 << 20;

fn operand<B: Backend<Device = FlexDevice>>(rows: usize) -> Tensor<B, 2> {
    let data: Vec<f32> = (0..rows * MODEL).map(|i| (i as f32 * 0.37).sin()).collect();
    Tensor::from_data(TensorData::new(data, [rows, MODEL]), &FlexDevice).require_grad()
}

/// The most bytes held while log-probabilities and entropies are computed and learnt from.
fn peak(positions: usize, vocabulary: usize) -> usize {
    let [states, weight] = [positions, vocabulary].map(operand::<Autodiff<Flex>>);
    let target = |position| Target { position, token: position * 131 % vocabulary };
    let targets: Vec<Target> = (0..positions).map(target).collect();
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let result = token_log_probs(states.clone(), weight.clone(), &targets, true);
    let gradients = result.sum().backward();
    let bytes = MEMORY.peak_usage().saturating_sub(before);
    assert_eq!(states.grad(&gradients).unwrap().dims(), [positions, MODEL]);
    assert_eq!(weight.grad(&gradients).unwrap().dims(), [vocabulary, MODEL]);
    bytes
}

#[test]
fn memory_does_not_grow_with_tokens_times_vocabulary() {
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    let few = peak(256, 8_192);
    // Few positions of a large vocabulary, then many.
    for [positions, vocabulary] in [[256, 131_072], [512, 65_536]] {
        let logits = positions * vocabulary * size_of::<f32>();
        assert!(logits > 8 * SLACK, "the logits must be more than what memory may grow by");
        let many = peak(positions, vocabulary);
        assert!(many < few + SLACK, "{few} bytes, then {many}");
    }
}

/// The most bytes held while a row attends to itself and learns.
fn peak_of_attention<B: AutodiffBackend<Device = FlexDevice>>(tokens: usize) -> usize {
    let heads = Heads { key_value_heads: 1, group: 1, head_dim: MODEL };
    let operands = [tokens; 3].map(operand::<B>);
    let rows = Rows::new(vec![Tree::from(0..tokens)]);
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let result = causal_attention_for_training(operands.clone(), heads, &rows, None);
    let gradients = result.sum().backward();
    let bytes = MEMORY.peak_usage().saturating_sub(before);
    let shapes = operands.map(|x| x.grad(&gradients).unwrap().dims());
    assert_eq!(shapes, [[tokens, MODEL]; 3]);
    bytes
}

#[test]
fn memory_of_attention_does_not_grow_with_the_square_of_tokens() {
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    for peak in [peak_of_attention::<Primitives>, peak_of_attention::<Autodiff<Flex>>] {
        let [few, many] = [2048, 4096].map(peak);
        let scores = 4096 * 4096 * size_of::<f32>();
        assert!(many < scores / 2 && many < 3 * few, "{few} bytes, then {many}");
    }
}
