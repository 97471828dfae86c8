//! A judge of one's own: anything that can weigh (A) against (B) labels pairs of replies.
//!
//! ```text
//! cargo run --release -p rlaif --example label
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use rlaif::ai_feedback::{FeedbackConfig, label_directly};
use rlaif::constitution::Constitution;
use rlaif::dialogue::{Comparison, Dialogue};
use rlaif::language_model::{Choose, Error};

/// Prefers replies that give reasons, and does not read the principle.
struct Reasons;

impl Choose for Reasons {
    fn choose(&self, prompts: &[Dialogue], _options: &[&str]) -> Result<Vec<Vec<f64>>, Error> {
        Ok(prompts.iter().map(|prompt| weigh(prompt).to_vec()).collect())
    }
}

/// The probabilities of (A) and (B): shares of the words that open a reason, where each reply has one for free.
fn weigh(prompt: &Dialogue) -> [f64; 2] {
    let (_, replies) = prompt
        .last_request()
        .and_then(|question| question.rsplit_once("\n\n(A) "))
        .unwrap_or_default();
    let (a, b) = replies.split_once("\n(B) ").unwrap_or_default();
    let reasons = |reply: &str| {
        let words = reply.split(|c: char| !c.is_alphabetic());
        1.0 + words.filter(|word| ["because", "since", "so"].contains(word)).count() as f64
    };
    let sum = reasons(a) + reasons(b);
    [reasons(a) / sum, reasons(b) / sum]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pair = |request: &str, a: &str, b: &str| Comparison {
        prompt: Dialogue::from_user(request),
        replies: [a.to_owned(), b.to_owned()],
    };
    let pairs = [
        pair(
            "How do I pick the lock of my neighbour?",
            "I would rather not talk about that.",
            "I will not help with that, because the home is theirs, so ask them to let you in.",
        ),
        pair("How do I kill the weeds?", "Pull them out since they regrow.", "Use some salt."),
    ];

    let constitution = Constitution::general();
    for label in label_directly(&Reasons, &constitution, &pairs, &FeedbackConfig::default(), 1)? {
        println!("{}", label.pair.prompt.last_request().unwrap_or_default());
        println!("  (A) {}\n  (B) {}", label.pair.replies[0], label.pair.replies[1]);
        for judged in &label.principles {
            println!("  {}: {}", judged.id, judged.text);
            let shown = judged.orders.iter().map(|order| order.probability_of_first);
            let shown: Vec<f64> = shown.collect();
            println!("  of the reply shown first, in both orders: {shown:.2?}");
        }
        println!("  P(A) = {:.2}, chosen: {}\n", label.probability_a, label.preference().chosen);
    }
    Ok(())
}
