//! What can be wrong with a drawn text, and what becomes of it.

use crate::Error;
use serde::{Deserialize, Serialize};

/// What is wrong with a critique or a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// A reply stands in the place of the critique, see [`crate::critique_is_revision`].
    CritiqueIsRevision,
    /// A critique stands in the place of the revision, see [`crate::revision_is_critique`].
    RevisionIsCritique,
    /// The revision holds no text.
    Empty,
    /// The revision was cut off at its longest length.
    Truncated,
    /// The revision is the reply that was to be revised, see [`crate::is_unchanged`].
    Unchanged,
}

/// What becomes of a text that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// It is taken as it is.
    Keep,
    /// It is drawn again, from its next random stream.
    Retry,
    /// The step changes nothing: the reply before it stays and is not learned from again.
    Drop,
}

/// What becomes of a text that fails at every attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exhausted {
    /// As [`Policy::Keep`].
    Keep,
    /// As [`Policy::Drop`].
    Drop,
}

/// What becomes of texts that fail.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `critique_is_revision` | `"keep"` | a critique that is a revision |
/// | `revision_is_critique` | `"keep"` | a revision that is a critique |
/// | `empty` | `"drop"` | a revision without text |
/// | `truncated` | `"keep"` | a revision that was cut off, at its longest length or by a filter |
/// | `unchanged` | `"keep"` | a revision that is the reply before it, which is right where nothing was wrong |
/// | `attempts` | 3 | times that a text is drawn at most, the first included, at least 1 |
/// | `exhausted` | `"drop"` | `"keep"` or `"drop"`: what becomes of the last attempt if it is to be drawn again, too |
///
/// The first five are `"keep"`, `"retry"` or `"drop"`. Where a text fails in several ways, it is drawn again if any of
/// them asks for that, and otherwise dropped if any asks for that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FailurePolicies {
    /// A critique that is a revision.
    pub critique_is_revision: Policy,
    /// A revision that is a critique.
    pub revision_is_critique: Policy,
    /// A revision without text.
    pub empty: Policy,
    /// A revision that was cut off at its longest length.
    pub truncated: Policy,
    /// A revision that is the reply before it.
    pub unchanged: Policy,
    /// Times that a text is drawn at most, the first included.
    pub attempts: usize,
    /// What becomes of the last attempt.
    pub exhausted: Exhausted,
}

impl Default for FailurePolicies {
    fn default() -> Self {
        Self {
            critique_is_revision: Policy::Keep,
            revision_is_critique: Policy::Keep,
            empty: Policy::Drop,
            truncated: Policy::Keep,
            unchanged: Policy::Keep,
            attempts: 3,
            exhausted: Exhausted::Drop,
        }
    }
}

impl FailurePolicies {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Attempts`].
    pub fn validate(&self) -> Result<(), Error> {
        if self.attempts == 0 { Err(Error::Attempts) } else { Ok(()) }
    }

    /// The policy for one failure.
    pub fn of(&self, failure: Failure) -> Policy {
        match failure {
            Failure::CritiqueIsRevision => self.critique_is_revision,
            Failure::RevisionIsCritique => self.revision_is_critique,
            Failure::Empty => self.empty,
            Failure::Truncated => self.truncated,
            Failure::Unchanged => self.unchanged,
        }
    }

    /// True if a text with these failures, drawn so many times, is to be drawn once more.
    pub fn draws_again(&self, failures: &[Failure], attempts: usize) -> bool {
        attempts < self.attempts && self.any(failures, Policy::Retry)
    }

    /// True if a text with these failures, which is not drawn again, leaves the reply as it was.
    pub fn drops(&self, failures: &[Failure]) -> bool {
        self.any(failures, Policy::Drop)
            || (self.exhausted == Exhausted::Drop && self.any(failures, Policy::Retry))
    }

    fn any(&self, failures: &[Failure], policy: Policy) -> bool {
        failures.iter().any(|&failure| self.of(failure) == policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawing_again_comes_before_dropping() {
        let policies = FailurePolicies {
            unchanged: Policy::Retry,
            attempts: 2,
            exhausted: Exhausted::Keep,
            ..FailurePolicies::default()
        };
        let cases: [(&[Failure], bool, bool); 5] = [
            (&[], false, false),
            (&[Failure::Truncated], false, false),
            (&[Failure::Empty], false, true),
            (&[Failure::Unchanged], true, false),
            (&[Failure::Empty, Failure::Unchanged], true, true),
        ];
        for (failures, again, drops) in cases {
            assert_eq!(policies.draws_again(failures, 1), again, "{failures:?}");
            assert!(!policies.draws_again(failures, 2));
            assert_eq!(policies.drops(failures), drops, "{failures:?}");
        }
        let strict = FailurePolicies { exhausted: Exhausted::Drop, ..policies };
        assert!(strict.drops(&[Failure::Unchanged]) && !strict.drops(&[Failure::Truncated]));
    }

    #[test]
    fn every_failure_has_a_policy_of_its_own() {
        let failures = [
            (Failure::CritiqueIsRevision, "critique_is_revision"),
            (Failure::RevisionIsCritique, "revision_is_critique"),
            (Failure::Empty, "empty"),
            (Failure::Truncated, "truncated"),
            (Failure::Unchanged, "unchanged"),
        ];
        let keep: serde_json::Map<String, serde_json::Value> =
            failures.iter().map(|(_, name)| ((*name).to_owned(), "keep".into())).collect();
        for (failure, setting) in failures {
            let mut settings = keep.clone();
            settings.insert(setting.to_owned(), "drop".into());
            let policies: FailurePolicies = serde_json::from_value(settings.into()).unwrap();
            for (other, _) in failures {
                assert_eq!(policies.drops(&[other]), other == failure, "{setting} {other:?}");
            }
        }
    }

    #[test]
    fn reads_settings_and_refuses_others() {
        let policies: FailurePolicies =
            serde_json::from_str(r#"{"empty":"retry","exhausted":"keep"}"#).unwrap();
        assert_eq!((policies.empty, policies.exhausted), (Policy::Retry, Exhausted::Keep));
        for bad in
            [r#"{"exhausted":"retry"}"#, r#"{"empty":"again"}"#, r#"{"role_confusion":"keep"}"#]
        {
            assert!(serde_json::from_str::<FailurePolicies>(bad).is_err(), "{bad}");
        }
        let none = FailurePolicies { attempts: 0, ..FailurePolicies::default() };
        assert!(none.validate().unwrap_err().to_string().contains("failures.attempts"));
    }
}
