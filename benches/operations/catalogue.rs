//! All operations, the passes of each, and the least that a run has to do.
//!
//! Bytes count every operand and every result of the pass once, though caches may hold them: shares of the memory's
//! ceiling can be above 1. `training` is forward and backward: backward reads the gradient of the result and what forward
//! kept, and writes the gradients. Vectors as long as a row, and tables that all rows share, are left out. Of products,
//! backward takes twice the operations of forward, one product for each operand; what is computed again is not counted.

use crate::operations::activations::{GatedSilu, GeluTanh};
use crate::operations::attention::CausalAttention;
use crate::operations::cached_attention::AttendStep;
use crate::operations::case::{Case, forward, training};
use crate::operations::log_probs::TokenLogProbs;
use crate::operations::norms::{LayerNorm, RmsNorm};
use crate::operations::optimiser::adamw;
use crate::operations::products::{Project, ProjectTransposed};
use crate::operations::rotation::Rotate;
use crate::operations::rows::SelectRows;
use crate::operations::sampling::sampling;
use crate::operations::shapes::{
    FEW_TOKENS, INNER, LARGE_VOCABULARY, PROMPT, ROWS, SLOTS, TIME, TOKENS, VOCABULARY, WIDTH,
};
use crate::operations::work::Work;

/// Numbers of the states of a batch.
const STATES: usize = TOKENS * WIDTH;
/// Numbers inside a feed-forward block.
const INSIDE: usize = TOKENS * INNER;

/// A name, `operation/pass` or `operation/size/pass`, and what makes the operands.
pub(crate) type Entry = (&'static str, fn() -> Case);

pub(crate) const OPERATIONS: [Entry; 29] = [
    // In and out; then the gradient and the operand in, its gradient out.
    ("rms_norm/forward", || forward(RmsNorm, Work::numbers(2 * STATES))),
    ("rms_norm/training", || training(RmsNorm, Work::numbers(5 * STATES))),
    ("layer_norm/forward", || forward(LayerNorm, Work::numbers(2 * STATES))),
    ("layer_norm/training", || training(LayerNorm, Work::numbers(5 * STATES))),
    // Two in and one out; then the gradient and both operands in, two gradients out.
    ("gated_silu/forward", || forward(GatedSilu, Work::numbers(3 * INSIDE))),
    ("gated_silu/training", || training(GatedSilu, Work::numbers(8 * INSIDE))),
    ("gelu_tanh/forward", || forward(GeluTanh, Work::numbers(2 * INSIDE))),
    ("gelu_tanh/training", || training(GeluTanh, Work::numbers(5 * INSIDE))),
    // Backward turns the gradient back and needs nothing else.
    ("rotate/forward", || forward(Rotate::new(), Work::numbers(2 * STATES))),
    ("rotate/training", || training(Rotate::new(), Work::numbers(4 * STATES))),
    ("causal_attention/16x128/forward", || {
        forward(CausalAttention::new(ROWS, TIME), attention(ROWS, TIME))
    }),
    ("causal_attention/16x128/training", || {
        training(CausalAttention::new(ROWS, TIME), attention(ROWS, TIME).times(3))
    }),
    ("causal_attention/1x1024/forward", || {
        forward(CausalAttention::new(1, PROMPT), attention(1, PROMPT))
    }),
    ("causal_attention/1x1024/training", || {
        training(CausalAttention::new(1, PROMPT), attention(1, PROMPT).times(3))
    }),
    ("token_log_probs/forward", || forward(TokenLogProbs::new(false), logits())),
    ("token_log_probs/training", || training(TokenLogProbs::new(false), logits().times(3))),
    ("token_log_probs/entropy/forward", || forward(TokenLogProbs::new(true), logits())),
    ("token_log_probs/entropy/training", || training(TokenLogProbs::new(true), logits().times(3))),
    ("token_log_probs/256x32768/forward", || {
        forward(TokenLogProbs::of_row(FEW_TOKENS, LARGE_VOCABULARY), logits())
    }),
    ("token_log_probs/256x32768/training", || {
        training(TokenLogProbs::of_row(FEW_TOKENS, LARGE_VOCABULARY), logits().times(3))
    }),
    // Rows in and out; then their gradients in, and that of the whole matrix out.
    ("select_rows/forward", || forward(SelectRows::new(), Work::numbers(2 * STATES))),
    ("select_rows/training", || {
        training(SelectRows::new(), Work::numbers(3 * STATES + VOCABULARY * WIDTH))
    }),
    ("adamw", adamw),
    ("attend_step/16", || attend_step(16)),
    ("attend_step/64", || attend_step(64)),
    // A single row takes as long as its weights take to come, more rows as long as their product.
    ("project/1", || project(1, Work::numbers(WIDTH * INNER))),
    ("project/16", || project(16, Work::product(16, WIDTH, INNER))),
    ("project_transposed/16", || {
        let product = ProjectTransposed { rows: 16, inner: WIDTH, outer: VOCABULARY };
        forward(product, Work::product(16, WIDTH, VOCABULARY))
    }),
    ("sample/64", || sampling(64)),
];

/// Scores and their sums of values, of what causal order leaves: half of the square and of its diagonal.
fn attention(rows: usize, time: usize) -> Work {
    let pairs = time * (time + 1) / 2;
    Work::product(pairs, WIDTH, 1).times(2 * rows)
}

fn logits() -> Work {
    Work::product(TOKENS, WIDTH, VOCABULARY)
}

/// Keys and values in.
fn attend_step(rows: usize) -> Case {
    forward(AttendStep::new(rows), Work::numbers(2 * rows * SLOTS * WIDTH))
}

fn project(rows: usize, work: Work) -> Case {
    forward(Project { rows, inner: WIDTH, outer: INNER }, work)
}
