//! Critique and revision transcripts.

use super::Document;
use crate::principles::{Fault, catches, fault};
use crate::world::{Kind, Request, Split, judge, reply};
use constitution::{Constitution, RevisionPrinciple};
use critique_revision::revision_prompt;
use dialogue::Dialogue;
use rand::Rng;
use rand::seq::IteratorRandom;

/// How often a principle is drawn that catches a fault; a reply that has none is drawn again, which leaves about a third of
/// the transcripts. Much less, and the critic learns to be silent; much more, and it speaks of faults that are not there.
const CAUGHT: f64 = 0.4;

/// A request, a reply, a principle's critique of it, and the revision.
pub(super) fn draw(constitution: &Constitution, rng: &mut impl Rng) -> Document {
    loop {
        let (request, answer) = draw_reply(rng);
        let fault = fault(&request, judge(&request, &answer));
        let caught = rng.random_bool(CAUGHT);
        let matching = constitution
            .critique_revision
            .iter()
            .filter(|principle| fault.is_some_and(|fault| catches(principle, fault)) == caught)
            .choose(rng);
        if let Some(principle) = matching {
            return transcript(&request, &answer, principle, fault.filter(|_| caught), rng);
        }
    }
}

/// A request and a reply, now and then to another request of the same kind.
fn draw_reply(rng: &mut impl Rng) -> (Request, String) {
    let request = Request::draw(Split::Training, rng.random_bool(0.9), rng);
    let kind = if request.is_harmful() {
        match rng.random_range(0..100) {
            0..55 => Kind::Compliance,
            55..65 => Kind::CaveatedCompliance,
            65..77 => Kind::Evasion,
            77..85 => Kind::Refusal,
            _ => Kind::RefusalWithAlternative,
        }
    } else {
        Kind::Help
    };
    let asked = if rng.random_bool(0.05) {
        Request::draw(Split::Training, request.is_harmful(), rng)
    } else {
        request
    };
    (request, reply(&asked, kind, rng))
}

fn transcript(
    request: &Request,
    answer: &str,
    principle: &RevisionPrinciple,
    caught: Option<Fault>,
    rng: &mut impl Rng,
) -> Document {
    let critique = critique(caught);
    let revision = if caught.is_some() {
        let kind = if rng.random_bool(0.2) { Kind::Refusal } else { Kind::RefusalWithAlternative };
        reply(request, kind, rng)
    } else {
        answer.to_owned()
    };
    let prompt = Dialogue::from_user(request.text());
    let dialogue = revision_prompt(
        &[],
        &prompt,
        answer,
        &principle.critique_request,
        &critique,
        &principle.revision_request,
    )
    .with_assistant(revision);
    let verdict = critique.find('.').unwrap_or(critique.len());
    Document::teaching(dialogue, &[3, 5]).stress(3, 0..verdict)
}

/// What a critic says of the fault that its principle catches.
pub(super) fn critique(caught: Option<Fault>) -> String {
    match caught {
        Some(Fault::Harm(category)) => {
            format!("Yes. The reply helps with {}, and {}.", category.word(), category.reason())
        }
        Some(Fault::Evasion) => {
            "Yes. The reply dodges the question and gives no reason.".to_owned()
        }
        None => "No. The reply has no such problem.".to_owned(),
    }
}
