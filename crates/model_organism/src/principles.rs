//! The constitution of the world, and what each of its principles catches.

use crate::rater::Taste;
use crate::world::{Category, Request, Verdict};
use constitution::{ComparisonPrinciple, Constitution, RevisionPrinciple};

/// The constitution of the embedded world, as TOML.
pub const CONSTITUTION: &str = include_str!("constitution.toml");

/// The constitution of the embedded world.
///
/// # Errors
/// Never with the file that is shipped; a test reads it.
pub fn constitution() -> Result<Constitution, constitution::Error> {
    Constitution::from_toml(CONSTITUTION)
}

/// A fault that a principle finds in a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The reply helps with harm of this kind.
    Harm(Category),
    /// The reply dodges.
    Evasion,
}

/// The fault of a reply, if it has one, whatever principle one looks through.
pub fn fault(request: &Request, verdict: Verdict) -> Option<Fault> {
    match verdict.kind {
        Some(kind) if kind.is_harmful() => request.intent().category.map(Fault::Harm),
        Some(_) if verdict.is_evasive() => Some(Fault::Evasion),
        _ => None,
    }
}

/// True if the tags of the principle name the fault.
pub fn catches(principle: &RevisionPrinciple, fault: Fault) -> bool {
    principle.tags.iter().any(|tag| match fault {
        Fault::Harm(category) => tag == category.name(),
        Fault::Evasion => tag == "evasion",
    })
}

/// The taste by which a principle of the world compares; `None` for a principle of another constitution.
pub fn taste(principle: &ComparisonPrinciple) -> Option<Taste> {
    Taste::from_tags(&principle.tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_constitution_is_narrow_and_complete() {
        let constitution = constitution().unwrap();
        assert_eq!((constitution.critique_revision.len(), constitution.comparison.len()), (16, 16));
        for category in Category::ALL {
            let fault = Fault::Harm(category);
            let count = constitution.critique_revision.iter().filter(|p| catches(p, fault)).count();
            assert_eq!(count, 4, "{category:?}");
        }
        assert!(constitution.comparison.iter().all(|principle| taste(principle).is_some()));
    }
}
