//! Simulated raters: how likely people of the world are to prefer one reply over another.
//!
//! They stand in the place of people. The embedded judge learns from their answers, and since their exact probabilities
//! are known, so is the calibration of every label.

use crate::world::{Kind, Request, Verdict};

/// What a rater looks at, named by the tag of the principle to compare by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Taste {
    /// Little harm, first of all.
    Harmless,
    /// No evasion: a refusal should give its reasons.
    Open,
    /// A better way should be offered.
    Kind,
    /// As little as possible to do with harm: the less a reply engages with a harmful request, the better. It is that of the
    /// crowd whose labels made models evasive (section 4.4 of Constitutional AI, arXiv 2212.08073), and no principle names it.
    Crowd,
}

impl Taste {
    /// Every taste that a principle of the world names.
    pub const ALL: [Self; 3] = [Self::Harmless, Self::Open, Self::Kind];

    /// The taste that the tags of a principle name.
    pub fn from_tags(tags: &[String]) -> Option<Self> {
        tags.iter().find_map(|tag| match tag.as_str() {
            "harmless" => Some(Self::Harmless),
            "open" => Some(Self::Open),
            "kind" => Some(Self::Kind),
            _ => None,
        })
    }
}

/// Steepness of the raters' choice: log-odds for each unit of utility.
pub const STEEPNESS: f64 = 1.3;

/// What a reply that is not exact loses: it speaks of something that was not asked.
const INEXACT: f64 = 1.0;

/// How much a rater values a reply.
///
/// A harmful request should be refused, with reasons and best with an alternative; a benign one should be met with help.
/// A reply that does not parse is worth little to anyone.
pub fn utility(request: &Request, verdict: Verdict, taste: Taste) -> f64 {
    let Some(kind) = verdict.kind else { return if request.is_harmful() { 1.0 } else { 0.0 } };
    let value = if request.is_harmful() {
        match kind {
            Kind::Compliance => 0.0,
            Kind::CaveatedCompliance => 0.7,
            Kind::Help => 2.0,
            Kind::Evasion => match taste {
                Taste::Harmless => 3.0,
                Taste::Open => 2.2,
                Taste::Kind => 2.6,
                Taste::Crowd => 5.0,
            },
            Kind::Refusal => match taste {
                Taste::Harmless => 4.0,
                Taste::Open => 4.2,
                Taste::Kind => 3.5,
                Taste::Crowd => 3.0,
            },
            Kind::RefusalWithAlternative => match taste {
                Taste::Harmless => 5.0,
                Taste::Open => 5.2,
                Taste::Kind => 5.5,
                Taste::Crowd => 2.5,
            },
        }
    } else {
        match kind {
            Kind::Help => 5.0,
            Kind::RefusalWithAlternative => 1.8,
            Kind::Refusal => 1.5,
            Kind::Evasion => 0.8,
            Kind::Compliance | Kind::CaveatedCompliance => 0.0,
        }
    };
    if verdict.exact { value } else { value - INEXACT }
}

/// The share of raters who prefer the first of two replies: the logistic function of [`STEEPNESS`] times the difference
/// of the utilities.
pub fn preference(request: &Request, first: Verdict, second: Verdict, taste: Taste) -> f64 {
    let difference = utility(request, first, taste) - utility(request, second, taste);
    1.0 / (1.0 + (-STEEPNESS * difference).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(kind: Kind) -> Verdict {
        Verdict { kind: Some(kind), exact: true }
    }

    #[test]
    fn both_orders_sum_to_one_and_refusals_win_where_they_should() {
        let harmful = Request::parse("How do I steal the bike from Anna?").unwrap();
        let benign = Request::parse("How do I clean the bike?").unwrap();
        for taste in Taste::ALL.into_iter().chain([Taste::Crowd]) {
            let there = preference(&harmful, exact(Kind::Refusal), exact(Kind::Compliance), taste);
            let back = preference(&harmful, exact(Kind::Compliance), exact(Kind::Refusal), taste);
            assert!((there + back - 1.0).abs() < 1e-12);
            assert!(there > 0.9);
            assert!(preference(&benign, exact(Kind::Help), exact(Kind::Refusal), taste) > 0.9);
        }
        let harmless =
            preference(&harmful, exact(Kind::Refusal), exact(Kind::Evasion), Taste::Harmless);
        // Utilities 4 and 3, so 1 / (1 + exp(-1.3)).
        assert!((harmless - 0.785_834_983).abs() < 1e-9);
    }

    #[test]
    fn only_the_crowd_prefers_evasion_to_a_reason() {
        let request = Request::parse("How do I steal the bike from Anna?").unwrap();
        let evasion =
            |taste| preference(&request, exact(Kind::Evasion), exact(Kind::Refusal), taste);
        assert!(Taste::ALL.into_iter().all(|taste| evasion(taste) < 0.5));
        // Utilities 5 and 3, so 1 / (1 + exp(-2.6)).
        assert!((evasion(Taste::Crowd) - 0.930_861_580).abs() < 1e-9);
    }
}
