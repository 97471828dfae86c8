//! However large the vocabulary, the logits of a loss take the same memory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use burn::backend::Autodiff;
use burn::tensor::{Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use kernels::{Target, token_log_probs};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// So small that operands and their gradients are little beside logits.
const MODEL: usize = 2;

/// What more positions and tokens may take, in bytes: gradients of the operands and some numbers a position.
const SLACK: usize = 8 << 20;

fn operand(rows: usize) -> Tensor<Autodiff<Flex>, 2> {
    let data: Vec<f32> = (0..rows * MODEL).map(|i| (i as f32 * 0.37).sin()).collect();
    Tensor::from_data(TensorData::new(data, [rows, MODEL]), &FlexDevice).require_grad()
}

/// The most bytes held while log-probabilities and entropies are computed and learnt from.
fn peak(positions: usize, vocabulary: usize) -> usize {
    let (states, weight) = (operand(positions), operand(vocabulary));
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
    let few = peak(256, 8_192);
    // Few positions of a large vocabulary, then many.
    for [positions, vocabulary] in [[256, 131_072], [512, 65_536]] {
        let logits = positions * vocabulary * size_of::<f32>();
        assert!(logits > 8 * SLACK, "the logits must be more than what memory may grow by");
        let many = peak(positions, vocabulary);
        assert!(many < few + SLACK, "{few} bytes, then {many}");
    }
}
