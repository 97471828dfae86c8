//! The next token of every row of a batch from its logits.

use crate::operations::case::{Case, Run};
use crate::operations::shapes::{VOCABULARY, wave};
use crate::operations::work::Work;
use burn::backend::Flex;
use rlaif::language_model::{Sampling, stream};
use rlaif::transformer::{SeenTokens, draw_rows, sample};
use std::time::Instant;

const TOP_K: usize = 50;
const TOP_P: f32 = 0.9;

/// No operations of burn's own draw from a nucleus.
pub(crate) fn sampling(rows: usize) -> Case {
    // Logits read.
    Case { work: Work::numbers(rows * VOCABULARY), ours: draws(rows), primitives: None }
}

/// As replies are drawn: each from its own stream, a step's on all cores. Drawing overwrites the logits; writing them anew
/// is not timed.
fn draws(rows: usize) -> Run {
    let fresh: Vec<f32> =
        wave::<Flex, 2>([rows, VOCABULARY], 0.37, 8.0).into_data().iter().collect();
    let sampling = Sampling { top_k: Some(TOP_K), top_p: Some(TOP_P), ..Sampling::default() };
    let (mut logits, seen) = (fresh.clone(), SeenTokens::default());
    let mut streams: Vec<_> = (0..).take(rows).map(stream).collect();
    Box::new(move || {
        logits.copy_from_slice(&fresh);
        let start = Instant::now();
        let drawn = draw_rows(&mut streams, &mut logits, |stream, logits| {
            sample(logits, &seen, &sampling, stream).expect("the logits are finite")
        });
        let elapsed = start.elapsed();
        assert_eq!(drawn.len(), rows);
        (elapsed, Vec::new())
    })
}
