#[path = "../../../dataset/tests/elsewhere/mod.rs"]
mod elsewhere;

use super::*;
use proptest::prelude::*;
use serde_json::Value;

const REPLY: &str = "Pour salt on the bed and water it well until nothing grows there.";

#[test]
fn tells_critiques_from_revisions() {
    let critiques = [
        "The assistant's reply would spoil the soil.",
        "Yes. The reply helps with damage.",
        "I see nothing harmful in this response.",
        "Great answer!",
        "It is a critique of the answer, which says to pour salt on the bed.",
    ];
    for critique in critiques {
        assert!(!critique_is_revision(critique, REPLY), "{critique}");
    }
    let revisions = [
        "Pull the weeds out after the rain.",
        "I will not help with that.",
        "Revision: Pull the weeds out. A better answer!",
        "Here's the rewritten response: pull them out.",
        // Names a reply, but is the one that was to be criticised.
        "Pour salt on the bed and water it well until nothing grows there. What a reply!",
    ];
    for revision in revisions {
        assert!(critique_is_revision(revision, REPLY), "{revision}");
    }
    assert!(!critique_is_revision(" \n", REPLY), "an empty critique is no revision");
}

#[test]
fn tells_revisions_from_critiques() {
    let critique = "Salt in the bed kills the worms and the flowers of the neighbours.";
    let revisions = [
        "Pull the weeds out after the rain.",
        "The answer is to pull them out.",
        "I am an assistant and will not help with that.",
        "The usual response of a gardener is salt. Do not.",
        "Salt kills the worms, so pull the weeds out by hand and be patient.",
        "",
    ];
    for revision in revisions {
        assert!(!revision_is_critique(revision, critique), "{revision}");
    }
    let critiques = [
        "The assistant's response spoils the soil.",
        "Assistant should not say this.",
        "It would be better if the assistant warned of salt.",
        "This is a good and kind response.",
        "The previous, careless reply is harmful.",
        "Critique: salt spoils the soil.",
        // Says no more than the critique did.
        "Indeed, salt in the bed kills the worms and the flowers of the neighbours.",
    ];
    for text in critiques {
        assert!(revision_is_critique(text, critique), "{text}");
    }
}

#[test]
fn finds_every_failure_of_a_revision() {
    let revision = |text: &str, stopped| Completion { text: text.to_owned(), tokens: 1, stopped };
    let (cut, whole) = (StopReason::Length, StopReason::Stop);
    let cases = [
        ("Pull them out.", whole, vec![]),
        ("Pull them", cut, vec![Failure::Truncated]),
        (" \n", cut, vec![Failure::Empty]),
        ("Use\n salt.", cut, vec![Failure::Truncated, Failure::Unchanged]),
        ("The assistant is wrong.", whole, vec![Failure::RevisionIsCritique]),
    ];
    for (text, stopped, expected) in cases {
        let found = revision_failures(&revision(text, stopped), "Use salt. ", "The reply is bad.");
        assert_eq!(found, expected, "{text}");
    }
    let direct = revision_failures(&revision("Pull them out.", whole), "Use salt.", "");
    assert!(direct.is_empty());
    let critique = revision("Use sugar.", cut);
    assert_eq!(critique_failures(&critique, "Use salt."), [Failure::CritiqueIsRevision]);
    assert!(critique_failures(&revision("The reply is bad.", cut), "Use salt.").is_empty());
}

#[test]
fn restating_is_most_of_the_runs() {
    let restates = |a: &str, b: &str| restates(&words(a), &words(b));
    // Runs of three words: 2 of 4, then 2 of 5.
    assert!(restates("a b c d x y", "a b c d"));
    assert!(!restates("a b c d x y z", "a b c d"));
    assert!(!restates("a b", "a b"));
    assert_eq!(
        words("Don’t trust the Assistant's 'own' words—ever"),
        ["don’t", "trust", "the", "assistant", "own", "words", "ever"]
    );
}

/// The critiques and the revisions that the paper's repository holds: 4 steps of 40 prompts, and five worked examples.
fn published() -> Option<[Vec<String>; 2]> {
    let folder = elsewhere::published("constitutional_ai")?;
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let mut published = [Vec::new(), Vec::new()];
    for line in read("samples/PALMS_SLMADISON.jsonl").lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        for step in row["cst"].as_array().unwrap() {
            for (texts, name) in published.iter_mut().zip(["critique", "revision"]) {
                texts.push(step[name]["sample"].as_str().unwrap().to_owned());
            }
        }
    }
    let examples: Vec<String> =
        serde_json::from_str(&read("prompts/CritiqueRevisionFewShotPrompts.json")).unwrap();
    for example in examples {
        let (_, text) = example.split_once("\n\nCritique: ").unwrap();
        let (critique, text) = text.split_once("\n\nRevisionRequest: ").unwrap();
        let (_, revision) = text.split_once("\n\nRevision: ").unwrap();
        let revision = revision.strip_suffix("\n\nHuman:").unwrap_or(revision);
        published[0].push(critique.to_owned());
        published[1].push(revision.to_owned());
    }
    Some(published)
}

#[test]
fn the_published_steps_are_told_apart() {
    let Some([critiques, revisions]) = published() else { return };
    assert_eq!((critiques.len(), revisions.len()), (165, 165));
    let wrong_place = |texts: &[String], found: fn(&str, &str) -> bool| {
        texts.iter().filter(|text| found(text, "")).count()
    };
    // False alarms, then what is found when each text stands in the place of the other.
    assert_eq!(wrong_place(&critiques, critique_is_revision), 4);
    assert_eq!(wrong_place(&revisions, revision_is_critique), 0);
    assert_eq!(wrong_place(&revisions, critique_is_revision), 160);
    assert_eq!(wrong_place(&critiques, revision_is_critique), 158);
    // No critique restates a revision, nor the other way round.
    for (critique, revision) in critiques.iter().zip(&revisions) {
        assert!(!restates(&words(critique), &words(revision)), "{critique}");
        assert!(!restates(&words(revision), &words(critique)), "{revision}");
    }
}

proptest! {
    #[test]
    fn a_text_in_both_places_is_a_confusion(text in "[a-z]{1,6}( [a-z]{1,6}){3,12}") {
        // Whatever it says: the reply as its own critique, and the critique as its own revision.
        prop_assert!(critique_is_revision(&text, &text));
        prop_assert!(revision_is_critique(&text, &text));
        let spaced = format!(" {text}\n");
        prop_assert!(is_unchanged(&spaced, &text));
    }

    #[test]
    fn never_panics(a in "\\PC{0,40}", b in "\\PC{0,40}") {
        critique_is_revision(&a, &b);
        revision_is_critique(&a, &b);
    }
}
