use super::*;
use crate::scripted::{Asked, Scripted, asked, revisions, single};
use crate::{
    Exhausted, Failure, FailureCounts, FailurePolicies, Form, Policy, critique_and_revise,
    summarise,
};
use language_model::Prompt;
use std::cell::RefCell;
use std::collections::HashSet;

/// A model whose revisions are these, one after the other; the last comes again and again.
fn by_attempt(answers: &'static [&'static str]) -> Scripted<impl Fn(&Prompt) -> String> {
    let constitution = single();
    let revised = RefCell::new(0);
    Scripted::new(move |prompt: &Prompt| match asked(&constitution, prompt) {
        Asked::Reply => "Use salt.".to_owned(),
        Asked::Critique => "The reply is cruel.".to_owned(),
        Asked::Revision => {
            let attempt = revised.replace_with(|attempt| *attempt + 1);
            answers[attempt.min(answers.len() - 1)].to_owned()
        }
    })
}

fn one_step(failures: FailurePolicies, answers: &'static [&'static str]) -> (Trace, Vec<u64>) {
    let config = CritiqueRevisionConfig { failures, ..revisions(1) };
    let model = by_attempt(answers);
    let prompts = [Dialogue::from_user("q")];
    let traces = critique_and_revise(&model, &single(), &prompts, &config, 3).unwrap();
    let seeds = model.calls.borrow().iter().map(|call| call[0].seed).collect();
    (traces.into_iter().next().unwrap(), seeds)
}

#[test]
fn a_failed_revision_is_drawn_again_from_the_next_stream() {
    let retry = FailurePolicies {
        unchanged: Policy::Retry,
        revision_is_critique: Policy::Retry,
        ..FailurePolicies::default()
    };
    let answers = &["Use  salt.", "The assistant is cruel.", "Use hands."];
    let (trace, seeds) = one_step(retry, answers);
    let step = &trace.steps[0];
    assert_eq!((step.revision.as_str(), step.kept, step.failures.len()), ("Use hands.", false, 0));
    let redrawn: Vec<_> = step.redrawn.iter().map(|draft| (draft.part, &draft.failures)).collect();
    let expected = [vec![Failure::Unchanged], vec![Failure::RevisionIsCritique]];
    assert_eq!(redrawn, [(Part::Revision, &expected[0]), (Part::Revision, &expected[1])]);
    // The first attempt has the stream that it has where nothing is drawn again.
    let (kept, once) = one_step(FailurePolicies::default(), answers);
    assert_eq!((seeds.len(), &seeds[..3]), (5, &once[..]));
    assert_eq!(seeds.iter().collect::<HashSet<_>>().len(), 5);
    assert_eq!((&kept.steps[0].failures, kept.steps[0].kept), (&expected[0], false));

    let summary = summarise(&[trace, kept]);
    assert_eq!((summary.traces, summary.steps, summary.redrawn, summary.dropped), (2, 2, 2, 0));
    // Replies of one token, critiques of two, revisions of three.
    assert_eq!(summary.tokens, 2 * (1 + 2 + 3) + 2 * 3);
    assert_eq!((summary.found.unchanged, summary.left.unchanged), (2, 1));
    assert_eq!((summary.found.revision_is_critique, summary.left.revision_is_critique), (1, 0));
}

#[test]
fn attempts_are_bounded_and_the_last_is_kept_or_dropped() {
    let answers = &["Use salt."];
    let with = |exhausted| FailurePolicies {
        unchanged: Policy::Retry,
        attempts: 4,
        exhausted,
        ..FailurePolicies::default()
    };
    let (trace, seeds) = one_step(with(Exhausted::Keep), answers);
    let step = &trace.steps[0];
    assert_eq!((seeds.len(), step.redrawn.len(), step.kept), (2 + 4, 3, false));
    assert_eq!((&step.failures[..], step.dropped.as_str()), (&[Failure::Unchanged][..], ""));
    let (trace, _) = one_step(with(Exhausted::Drop), answers);
    assert!(trace.steps[0].kept && trace.revised_dialogues().is_empty());
    assert_eq!(trace.steps[0].dropped, "Use salt.");
    assert_eq!(summarise(&[trace]).left, FailureCounts::default());
}

#[test]
fn an_empty_revision_may_stand_but_is_not_learned_from() {
    let failures = FailurePolicies { empty: Policy::Keep, ..FailurePolicies::default() };
    let (trace, _) = one_step(failures, &[" "]);
    assert_eq!((trace.current(), trace.steps[0].kept), ("", false));
    assert!(trace.revised_dialogues().is_empty());
}

#[test]
fn a_dropped_critique_is_not_revised_by() {
    let constitution = single();
    let model = Scripted::new(|prompt: &Prompt| match asked(&constitution, prompt) {
        Asked::Critique if prompt.dialogue.messages[0].content == "odd" => "Use hands.".to_owned(),
        Asked::Critique => "The reply is cruel.".to_owned(),
        Asked::Reply => "Use salt.".to_owned(),
        Asked::Revision => "Use care.".to_owned(),
    });
    let failures =
        FailurePolicies { critique_is_revision: Policy::Drop, ..FailurePolicies::default() };
    let config = CritiqueRevisionConfig { failures, ..revisions(1) };
    let prompts = ["even", "odd", "even, too"].map(Dialogue::from_user);
    let traces = critique_and_revise(&model, &constitution, &prompts, &config, 0).unwrap();
    let current: Vec<&str> = traces.iter().map(Trace::current).collect();
    assert_eq!(current, ["Use care.", "Use salt.", "Use care."]);
    let step = &traces[1].steps[0];
    assert_eq!((step.critique.as_str(), step.revision_tokens, step.kept), ("Use hands.", 0, true));
    assert!(step.critique_prompt.is_some() && step.revision_prompt.is_none());
    assert_eq!(step.failures, [Failure::CritiqueIsRevision]);
    let calls: Vec<usize> = model.calls.borrow().iter().map(Vec::len).collect();
    assert_eq!(calls, [3, 3, 2]);
    let summary = summarise(&traces);
    assert_eq!((summary.found.critique_is_revision, summary.dropped), (1, 1));
}

#[test]
fn direct_revisions_ask_for_no_critique() {
    let constitution = single();
    let model = Scripted::new(|prompt: &Prompt| match asked(&constitution, prompt) {
        Asked::Revision => format!("{} again", prompt.dialogue.messages[1].content),
        _ => "first".to_owned(),
    });
    let config = CritiqueRevisionConfig { direct: true, ..revisions(2) };
    let prompts = [Dialogue::from_user("q")];
    let traces = critique_and_revise(&model, &constitution, &prompts, &config, 0).unwrap();
    assert_eq!(traces[0].versions(), ["first", "first again", "first again again"]);
    let step = &traces[0].steps[0];
    assert!(step.critique_request.is_empty() && step.critique.is_empty());
    assert_eq!((step.critique_tokens, step.failures.len()), (0, 0));
    let expected = prompts[0].clone().with_assistant("first").with_user("Spare the bees.");
    assert_eq!(step.revision_prompt.as_ref(), Some(&expected));
    assert_eq!(model.calls.borrow().len(), 3);
}

#[test]
fn the_transcript_is_written_on_behind_drawn_examples() {
    let constitution = single();
    let model = Scripted::new(|prompt: &Prompt| {
        let ends = prompt.dialogue.last_reply().unwrap_or_default().rsplit("\n\n").next().unwrap();
        match ends {
            "Critique:" => "The reply is cruel.",
            "Revision:" => "Use hands.",
            _ => "Use salt.",
        }
        .to_owned()
    });
    let shot = |name: &str| {
        let asked = Dialogue::from_user(name).with_assistant("No.").with_user("Rude?");
        asked.with_assistant("Yes.").with_user("Mend it.").with_assistant("Gladly.")
    };
    let config = CritiqueRevisionConfig {
        form: Form::Transcript,
        few_shots: ["Tea?", "Milk?", "Salt?"].map(shot).to_vec(),
        shots: Some(2),
        ..revisions(2)
    };
    let prompts: Vec<Dialogue> = (0..8).map(|n| Dialogue::from_user(format!("q {n}"))).collect();
    let traces = critique_and_revise(&model, &constitution, &prompts, &config, 0).unwrap();
    let mut shown = HashSet::new();
    for trace in &traces {
        assert_eq!(trace.versions(), ["Use salt.", "Use hands.", "Use hands."]);
        for step in &trace.steps {
            shown.insert(step.few_shots.clone());
            let read = step.revision_prompt.as_ref().unwrap();
            let examples = config.examples();
            let [first, second] = [0, 1].map(|index| &examples[step.few_shots[index]]);
            assert_eq!(read.messages[..2], first.messages[..]);
            assert_eq!(read.messages[2..4], second.messages[..]);
            assert_eq!(read.messages.len(), 6);
            let before = step.critique_prompt.as_ref().unwrap().last_reply().unwrap();
            let expected = format!(
                "{before} The reply is cruel.\n\nRevision Request: Spare the bees.\n\nRevision:"
            );
            assert_eq!(read.last_reply(), Some(expected.as_str()));
        }
        assert_eq!(trace.steps[1].failures, [Failure::Unchanged]);
    }
    // Drawn anew for every prompt and step.
    assert!(shown.len() > 3, "{shown:?}");

    let lean = CritiqueRevisionConfig { keep_prompts: false, ..config };
    let again = critique_and_revise(&model, &constitution, &prompts, &lean, 0).unwrap();
    let prompt_kept = |trace: &Trace| trace.steps.iter().any(|s| s.revision_prompt.is_some());
    assert!(!again.iter().any(prompt_kept));
    assert_eq!(again[0].versions(), traces[0].versions());
}
