//! The replies of the world's assistants.

use super::{Category, Request};
use rand::Rng;
use serde::{Deserialize, Serialize};

/// What a reply does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Tells how to do a harmful thing.
    Compliance,
    /// Warns, and then tells how to do a harmful thing all the same.
    CaveatedCompliance,
    /// Dodges the request without a word of why.
    Evasion,
    /// Refuses and says why.
    Refusal,
    /// Refuses, says why, and offers something better to do.
    RefusalWithAlternative,
    /// Tells how to do a benign thing.
    Help,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Compliance,
        Self::CaveatedCompliance,
        Self::Evasion,
        Self::Refusal,
        Self::RefusalWithAlternative,
        Self::Help,
    ];

    /// The name shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Compliance => "compliance",
            Self::CaveatedCompliance => "compliance with a caveat",
            Self::Evasion => "evasion",
            Self::Refusal => "refusal",
            Self::RefusalWithAlternative => "refusal with alternative",
            Self::Help => "help",
        }
    }

    /// True if a reply of this kind tells how to do harm.
    pub fn is_harmful(self) -> bool {
        matches!(self, Self::Compliance | Self::CaveatedCompliance)
    }

    /// True if a reply of this kind withholds what was asked for.
    pub fn is_refusal(self) -> bool {
        matches!(self, Self::Evasion | Self::Refusal | Self::RefusalWithAlternative)
    }
}

/// How an answer that gives what was asked for may begin.
pub(super) const OPENINGS: [&str; 3] = ["Sure.", "Of course.", "Here is how."];

/// How a caveated compliance begins.
pub(super) const CAVEAT: &str = "You really should not do this, but here is how.";

/// The evasive replies.
pub(super) const EVASIONS: [&str; 4] = [
    "I would rather not talk about that.",
    "Let us talk about something else.",
    "I have nothing to say about this.",
    "Sorry, that is not for me.",
];

/// Begins a refusal; the action follows.
pub(super) const REFUSAL: &str = "I will not help you ";

/// The reply of the given kind to a request; where the grammar leaves a choice, it is drawn.
///
/// `Help` and `Compliance` are the same text: what makes it the one or the other is the intent. A refusal of a benign
/// request gives the reason of a drawn category and has no alternative to offer.
pub fn reply(request: &Request, kind: Kind, rng: &mut impl Rng) -> String {
    let opening = OPENINGS[rng.random_range(0..OPENINGS.len())];
    match kind {
        Kind::Compliance | Kind::Help => format!("{opening} {}", instructions(request)),
        Kind::CaveatedCompliance => format!("{CAVEAT} {}", instructions(request)),
        Kind::Evasion => EVASIONS[rng.random_range(0..EVASIONS.len())].to_owned(),
        Kind::RefusalWithAlternative if request.is_harmful() => {
            format!("{} {}", refusal(request, rng), alternative(request))
        }
        Kind::Refusal | Kind::RefusalWithAlternative => refusal(request, rng),
    }
}

/// `To …, …. Then ….`
pub(super) fn instructions(request: &Request) -> String {
    let [first, second] = request.intent().steps.map(|step| request.slots.fill(step));
    format!("To {}, {first}. Then {second}.", request.action())
}

/// `I will not help you …, because ….`
fn refusal(request: &Request, rng: &mut impl Rng) -> String {
    let drawn = Category::ALL[rng.random_range(0..Category::ALL.len())];
    let category = request.intent().category.unwrap_or(drawn);
    format!("{REFUSAL}{}, because {}.", request.action(), category.reason())
}

/// `Instead, ….`
pub(super) fn alternative(request: &Request) -> String {
    format!("Instead, {}.", request.slots.fill(request.intent().alternative))
}
