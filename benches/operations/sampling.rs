//! The next token of every row of a batch from its logits.

use crate::operations::case::{Case, Run};
use crate::operations::shapes::{VOCABULARY, wave};
use crate::operations::work::Work;
use burn::backend::Flex;
use rlaif::language_model::{Sampling, stream};
use rlaif::transformer::{SeenTokens, sample};
use std::time::Instant;

const TOP_K: usize = 50;
const TOP_P: f32 = 0.9;

/// No operations of burn's own draw from a nucleus.
pub(crate) fn sampling(rows: usize) -> Case {
    // Logits read.
    Case { work: Work::numbers(rows * VOCABULARY), ours: draws(rows), primitives: None }
}

/// Drawing overwrites the logits; writing them anew is not timed.
fn draws(rows: usize) -> Run {
    let fresh: Vec<f32> =
        wave::<Flex, 2>([rows, VOCABULARY], 0.37, 8.0).into_data().iter().collect();
    let sampling = Sampling { top_k: Some(TOP_K), top_p: Some(TOP_P), ..Sampling::default() };
    let (mut logits, seen, mut rng) = (fresh.clone(), SeenTokens::default(), stream(1));
    Box::new(move || {
        logits.copy_from_slice(&fresh);
        let start = Instant::now();
        for row in logits.chunks_exact_mut(VOCABULARY) {
            sample(row, &seen, &sampling, &mut rng).expect("the logits are finite");
        }
        (start.elapsed(), Vec::new())
    })
}
