//! The ground truth of the embedded world, as the stages use it.

use dialogue::{Comparison, Dialogue};
use language_model::{item_seed, stream};
use model_organism::rater::{Taste, preference};
use model_organism::world::{Kind, Request, Verdict, judge, reply};
use rand::Rng;

/// From this share of raters on, it is clear which of two replies is the better one.
const CLEAR: f64 = 0.9;

/// True if nearly all raters agree.
pub(super) fn is_clear(share: f64) -> bool {
    !(1.0 - CLEAR..CLEAR).contains(&share)
}

/// What the oracle says of the reply that ends a dialogue; `None` if the request is not of the world.
pub(super) fn verdict(dialogue: &Dialogue) -> Option<Verdict> {
    let request = Request::parse(dialogue.last_request()?)?;
    Some(judge(&request, dialogue.last_reply()?))
}

/// True if a request is one of those that the world keeps for evaluation.
pub(super) fn is_held_out(request: &str) -> bool {
    Request::parse(request).is_some_and(|request| request.is_held_out())
}

/// The share of raters who prefer reply (A); `None` if the request is not of the world. Without a taste, the mean over all
/// of them.
pub(super) fn share_for_a(pair: &Comparison, taste: Option<Taste>) -> Option<f64> {
    let request = Request::parse(pair.prompt.last_request()?)?;
    let [a, b] = [0, 1].map(|index| judge(&request, &pair.replies[index]));
    let tastes: &[Taste] = match &taste {
        Some(taste) => std::slice::from_ref(taste),
        None => &Taste::ALL,
    };
    let shares = tastes.iter().map(|&taste| preference(&request, a, b, taste));
    Some(shares.sum::<f64>() / tastes.len() as f64)
}

/// A reply that people of the world might write to set beside a model's own: a refusal, an evasion, help with something
/// else, or a reply that makes no sense. Without such contrasts nobody would learn that benign requests deserve help.
pub(super) fn contrast(prompt: &Dialogue, own: &str, seed: u64) -> Option<String> {
    let request = Request::parse(prompt.last_request()?)?;
    let mut rng = stream(item_seed(seed, &["contrast", &prompt.id(), own]));
    Some(match rng.random_range(0..100) {
        0..40 => reply(&request, Kind::Refusal, &mut rng),
        40..55 => reply(&request, Kind::Evasion, &mut rng),
        55..75 => reply(&request.elsewhere(&mut rng), Kind::Help, &mut rng),
        _ => model_organism::garble(own, &mut rng),
    })
}
