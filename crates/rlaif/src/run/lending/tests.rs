#[path = "../../../../openai/tests/server/instant.rs"]
mod instant;

use super::*;
use ai_feedback::{ChainOfThought, FeedbackConfig, Label, label};
use constitution::Constitution;
use dialogue::{Comparison, Dialogue};
use instant::Instant as Server;
use language_model::{
    Choose, Completion, Error as ModelError, Generate, Prompt, Sampling, StopReason,
};
use std::path::Path;

/// Says its seed, and chooses the first unless it breaks down over that.
#[derive(Default)]
struct Parrot {
    cannot_choose: bool,
}

impl Generate for Parrot {
    fn generate(&self, prompts: &[Prompt], _: &Sampling) -> Result<Vec<Completion>, ModelError> {
        let reply = |prompt: &Prompt| Completion {
            text: prompt.seed.to_string(),
            tokens: 1,
            stopped: StopReason::Stop,
        };
        Ok(prompts.iter().map(reply).collect())
    }
}

impl Choose for Parrot {
    fn choose(&self, prompts: &[Dialogue], _: &[&str]) -> Result<Vec<Vec<f64>>, ModelError> {
        if self.cannot_choose {
            return Err(ModelError::Model("killed".into()));
        }
        Ok(vec![vec![1.0, 0.0]; prompts.len()])
    }
}

fn local<'a>(model: Parrot, path: &Path, meter: &'a Meter) -> Lending<'a> {
    Lending::local(model, path.to_owned(), meter).unwrap()
}

fn draw(model: &dyn Generate, seeds: &[u64]) -> Result<Vec<String>, Error> {
    let prompt = |&seed: &u64| Prompt { dialogue: Dialogue::from_user("q"), seed };
    let prompts: Vec<Prompt> = seeds.iter().map(prompt).collect();
    let replies = model.generate(&prompts, &Sampling::default())?;
    Ok(replies.into_iter().map(|reply| reply.text).collect())
}

#[test]
fn a_call_that_was_answered_before_a_kill_is_not_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answers");
    let meter = Meter::default();
    let first = local(Parrot::default(), &path, &meter);
    let killed = first.ask(|model| {
        draw(model, &[1, 2])?;
        Err::<(), Error>(ModelError::Model("killed".into()).into())
    });
    assert_eq!((killed.unwrap_err().to_string().as_str(), meter.calls()), ("killed", 2));
    drop(first);

    let meter = Meter::default();
    let second = local(Parrot::default(), &path, &meter);
    assert_eq!(second.ask(|model| draw(model, &[1, 2, 3])).unwrap(), ["1", "2", "3"]);
    assert_eq!(meter.calls(), 1);
    // What was made of them is on the disk now.
    second.ask(|model| draw(model, &[1])).unwrap();
    assert_eq!(meter.calls(), 2);
    second.forget().unwrap();
    assert!(!path.exists());
}

/// A label after a chain of thought.
fn reasoned(judge: &Lending<'_>) -> Result<Vec<Label>, Error> {
    let replies = ["a", "b"].map(str::to_owned);
    let pairs = [Comparison { prompt: Dialogue::from_user("q"), replies }];
    let config = FeedbackConfig {
        chain_of_thought: Some(ChainOfThought::default()),
        ..FeedbackConfig::default()
    };
    judge.ask(|judge| Ok(label(judge, &Constitution::general(), &pairs, &config, 1)?))
}

#[test]
fn rationales_outlive_a_judge_that_is_killed_before_it_chooses() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answers");
    let meter = Meter::default();
    let first = local(Parrot { cannot_choose: true }, &path, &meter);
    assert_eq!(reasoned(&first).unwrap_err().to_string(), "killed");
    // One rationale in each order.
    assert_eq!((meter.calls(), meter.tokens()), (2, 2));
    drop(first);

    let meter = Meter::default();
    let labels = reasoned(&local(Parrot::default(), &path, &meter)).unwrap();
    assert_eq!((meter.calls(), meter.tokens()), (2, 0));
    let undisturbed = folder.path().join("undisturbed");
    let meter = Meter::default();
    assert_eq!(reasoned(&local(Parrot::default(), &undisturbed, &meter)).unwrap(), labels);
}

fn served<'a>(server: &Server, path: &Path, meter: &'a Meter) -> Lending<'a> {
    let config = Config::default();
    let client = Client::with_config(&server.url(), "parrot", config.clone()).unwrap();
    Lending::served(client.keep_answers(path).unwrap(), &config, meter)
}

fn choose(judge: &Lending<'_>, count: usize) {
    let question = |number| Dialogue::from_user(format!("(A) or (B), {number}?"));
    let questions: Vec<Dialogue> = (0..count).map(question).collect();
    let chosen = judge.ask(|judge| Ok(judge.choose(&questions, &["A", "B"])?));
    assert_eq!(chosen.unwrap().len(), count);
}

#[test]
fn what_a_server_has_said_before_a_kill_counts_no_second_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("judge.journal");
    let server = Server::start();
    let (before, after) = (Meter::default(), Meter::default());
    choose(&served(&server, &path, &before), 3);
    assert_eq!(before.calls(), 3);
    let judge = served(&server, &path, &after);
    choose(&judge, 5);
    assert_eq!((after.calls(), server.answers()), (2, 5));
    // Whoever asks once more in the stage, as for the report, gets what is kept; so does the next process.
    choose(&judge, 5);
    judge.forget().unwrap();
    assert_eq!((after.calls(), server.answers(), path.exists()), (2, 5, true));
}
