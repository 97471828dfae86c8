use super::*;
use crate::{
    Exhausted, Failure, FailureCounts, FailurePolicies, Form, Part, Policy, summarise,
};
use language_model::{Completion, Sampling, StopReason};
use std::cell::RefCell;

/// Answers by a function of the dialogue and the seed, and remembers what it was asked.
struct Scripted<F> {
    answer: F,
    calls: RefCell<Vec<Vec<Prompt>>>,
}

impl<F: Fn(&Prompt) -> String> Scripted<F> {
    fn new(answer: F) -> Self {
        Self { answer, calls: RefCell::default() }
    }
}

impl<F: Fn(&Prompt) -> String> Generate for Scripted<F> {
    fn generate(
        &self,
        prompts: &[Prompt],
        sampling: &Sampling,
    ) -> Result<Vec<Completion>, language_model::Error> {
        self.calls.borrow_mut().push(prompts.to_vec());
        let complete = |prompt| Completion {
            text: (self.answer)(prompt),
            tokens: sampling.max_tokens,
            stopped: StopReason::Stop,
        };
        Ok(prompts.iter().map(complete).collect())
    }
}

/// What the last turn of a prompt asks for.
enum Asked {
    Reply,
    Critique,
    Revision,
}

fn asked(constitution: &Constitution, prompt: &Prompt) -> Asked {
    let request = prompt.dialogue.last_request().unwrap_or_default();
    let principles = &constitution.critique_revision;
    if principles.iter().any(|principle| principle.critique_request == request) {
        Asked::Critique
    } else if principles.iter().any(|principle| principle.revision_request == request) {
        Asked::Revision
    } else {
        Asked::Reply
    }
}

/// A constitution of one principle.
fn single() -> Constitution {
    let text = "name = 's'\n[[critique_revision]]\nid = 'bees'\ncritique_request = 'What is bad \
                for bees?'\nrevision_request = 'Spare the bees.'";
    Constitution::from_toml(text).unwrap()
}

fn revisions(revisions: usize) -> CritiqueRevisionConfig {
    CritiqueRevisionConfig {
        revisions,
        reply: Sampling::default().with_max_tokens(1),
        critique: Sampling::default().with_max_tokens(2),
        revision: Sampling::default().with_max_tokens(3),
        ..CritiqueRevisionConfig::default()
    }
}

/// Counts upward: a revision is the reply it saw, plus one.
fn counting(constitution: &Constitution) -> Scripted<impl Fn(&Prompt) -> String> {
    Scripted::new(move |prompt: &Prompt| match asked(constitution, prompt) {
        Asked::Reply => "0".to_owned(),
        Asked::Critique => " too small\n".to_owned(),
        Asked::Revision => {
            let reply: u32 = prompt.dialogue.messages[1].content.parse().unwrap();
            format!("{}\n\n", reply + 1)
        }
    })
}

#[test]
fn a_revision_replaces_the_reply_before_the_next_step() {
    let constitution = single();
    let model = counting(&constitution);
    let prompts = [Dialogue::from_user("count"), Dialogue::from_user("count again")];
    let traces = critique_and_revise(&model, &constitution, &prompts, &revisions(3), 5).unwrap();
    for (trace, prompt) in traces.iter().zip(&prompts) {
        assert_eq!((&trace.prompt, &trace.id), (prompt, &prompt.id()));
        assert_eq!(trace.versions(), ["0", "1", "2", "3"]);
        assert_eq!((trace.current(), trace.reply_tokens), ("3", 1));
        let expected = [1, 2, 3].map(|n| prompt.clone().with_assistant(n.to_string()));
        assert_eq!(trace.revised_dialogues(), expected);
        for step in &trace.steps {
            assert_eq!((step.principle.as_str(), step.critique.as_str()), ("bees", "too small"));
            assert_eq!((step.critique_tokens, step.revision_tokens, step.kept), (2, 3, false));
        }
    }
    // One call for the replies, then two a step, each with every prompt.
    let calls = model.calls.borrow();
    assert_eq!(calls.len(), 7);
    assert!(calls.iter().all(|call| call.len() == 2));
    // No two samples share a stream.
    let seeds: std::collections::HashSet<u64> =
        calls.iter().flatten().map(|prompt| prompt.seed).collect();
    assert_eq!(seeds.len(), 14);
}

#[test]
fn an_empty_revision_keeps_the_reply_and_says_so() {
    let constitution = single();
    let model = Scripted::new(|prompt: &Prompt| match asked(&constitution, prompt) {
        Asked::Revision if prompt.dialogue.messages[1].content == "second" => " \n".to_owned(),
        Asked::Revision => "second".to_owned(),
        _ => "first".to_owned(),
    });
    let prompts = [Dialogue::from_user("q")];
    let traces = critique_and_revise(&model, &constitution, &prompts, &revisions(2), 0).unwrap();
    assert_eq!(traces[0].versions(), ["first", "second", "second"]);
    let kept: Vec<bool> = traces[0].steps.iter().map(|step| step.kept).collect();
    assert_eq!(kept, [false, true]);
    assert_eq!(traces[0].revised_dialogues(), [prompts[0].clone().with_assistant("second")]);
}

#[test]
fn batches_and_order_do_not_change_a_trace() {
    let constitution = Constitution::general();
    let model =
        Scripted::new(|prompt: &Prompt| format!("{:x} {}", prompt.seed, prompt.dialogue.id()));
    let prompts: Vec<Dialogue> = (0..12).map(|n| Dialogue::from_user(format!("q {n}"))).collect();
    let run = |prompts: &[Dialogue], seed| {
        critique_and_revise(&model, &constitution, prompts, &revisions(3), seed).unwrap()
    };
    let together = run(&prompts, 9);
    let mut apart: Vec<Trace> = prompts.rchunks(5).flat_map(|chunk| run(chunk, 9)).collect();
    apart.sort_by_key(|trace| together.iter().position(|other| other.id == trace.id));
    assert_eq!(apart, together);
    assert_ne!(run(&prompts, 10), together);
    // Principles are drawn anew for every prompt and step.
    let drawn: std::collections::HashSet<&str> = together
        .iter()
        .flat_map(|trace| &trace.steps)
        .map(|step| step.principle.as_str())
        .collect();
    assert!(drawn.len() > 8, "{drawn:?}");
}

#[test]
fn nothing_to_do_asks_the_model_nothing() {
    let model = Scripted::new(|_: &Prompt| String::new());
    let traces =
        critique_and_revise(&model, &single(), &[], &CritiqueRevisionConfig::default(), 0).unwrap();
    assert!(traces.is_empty() && model.calls.borrow().is_empty());
    let prompts = [Dialogue::from_user("q")];
    let none = Constitution { critique_revision: Vec::new(), ..Constitution::general() };
    let traces = critique_and_revise(&model, &none, &prompts, &revisions(0), 0).unwrap();
    assert_eq!((traces[0].versions().len(), model.calls.borrow().len()), (1, 1));
}

#[test]
fn bad_input_is_an_error_before_the_model_is_asked() {
    let model = Scripted::new(|_: &Prompt| "x".to_owned());
    let good = Dialogue::from_user("q");
    let message = |constitution: &Constitution, prompts: &[Dialogue]| {
        critique_and_revise(&model, constitution, prompts, &revisions(1), 0)
            .unwrap_err()
            .to_string()
    };
    for bad in [Dialogue::default(), good.clone().with_assistant("a")] {
        let message = message(&single(), &[good.clone(), bad]);
        assert!(message.starts_with("prompt 1 "), "{message}");
    }
    let none = Constitution { critique_revision: Vec::new(), ..Constitution::general() };
    let message = message(&none, &[good]);
    assert!(message.contains("[[critique_revision]]"), "{message}");
    assert!(model.calls.borrow().is_empty());
}

#[test]
fn a_model_that_drops_a_prompt_is_found_out() {
    struct Short;
    impl Generate for Short {
        fn generate(
            &self,
            _: &[Prompt],
            _: &Sampling,
        ) -> Result<Vec<Completion>, language_model::Error> {
            Ok(Vec::new())
        }
    }
    let prompts = [Dialogue::from_user("q")];
    let error = critique_and_revise(&Short, &single(), &prompts, &revisions(1), 0).unwrap_err();
    assert!(matches!(error, Error::Count { expected: 1, found: 0 }), "{error}");
}

#[test]
fn a_trace_survives_the_disk() {
    let constitution = single();
    let prompts = [Dialogue::from_user("q\n\"\u{2028}")];
    let model = counting(&constitution);
    let traces = critique_and_revise(&model, &constitution, &prompts, &revisions(2), 0).unwrap();
    let line = serde_json::to_string(&traces[0]).unwrap();
    assert!(!line.contains('\n'));
    assert_eq!(serde_json::from_str::<Trace>(&line).unwrap(), traces[0]);
}

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
        role_confusion: Policy::Retry,
        ..FailurePolicies::default()
    };
    let answers = &["Use  salt.", "The assistant is cruel.", "Use hands."];
    let (trace, seeds) = one_step(retry.clone(), answers);
    let step = &trace.steps[0];
    assert_eq!((step.revision.as_str(), step.kept, step.failures.len()), ("Use hands.", false, 0));
    let redrawn: Vec<_> = step.redrawn.iter().map(|draft| (draft.part, &draft.failures)).collect();
    let expected = [vec![Failure::Unchanged], vec![Failure::RevisionIsCritique]];
    assert_eq!(redrawn, [(Part::Revision, &expected[0]), (Part::Revision, &expected[1])]);
    // The first attempt has the stream that it has where nothing is drawn again.
    let (kept, once) = one_step(FailurePolicies::default(), answers);
    assert_eq!((seeds.len(), &seeds[..3]), (5, &once[..]));
    assert_eq!(seeds.iter().collect::<std::collections::HashSet<_>>().len(), 5);
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
    let failures = FailurePolicies { role_confusion: Policy::Drop, ..FailurePolicies::default() };
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
    let mut shown = std::collections::HashSet::new();
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
