use super::*;
use crate::scripted::{Asked, Scripted, asked, revisions, single};
use language_model::{Completion, Sampling};

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
