//! Constitutional AI from a helpful-only model to RL-CAI, in memory, on the embedded model.
//!
//! ```text
//! cargo run --release -p rlaif --example rlaif
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use burn::backend::{Autodiff, Flex};
use burn::prelude::Device;
use rlaif::ai_feedback::{Label, label};
use rlaif::critique_revision::{Trace, critique_and_revise};
use rlaif::dialogue::{Comparison, Dialogue, Preference};
use rlaif::language_model::{Error, Generate, Prompt, Sampling, item_seed, stream};
use rlaif::model_organism::world::{Kind, Request, Split, Verdict, judge, reply};
use rlaif::model_organism::{assistant, constitution};
use rlaif::ppo::Inputs;
use rlaif::run::Settings;
use rlaif::training::{NoCheckpoints, Progress};

/// Where to compute: `Autodiff<Cuda>`, with the feature `cuda`, is an NVIDIA card.
type Backend = Autodiff<Flex>;

const SEED: u64 = 1;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let helpful_only = assistant::<Backend>(&Device::<Backend>::default())?;
    let constitution = constitution()?;
    let mut settings = Settings::embedded();
    settings.ppo.iterations = 12;
    let (observe, keep) = (&mut Progress::new(), &mut NoCheckpoints);
    let [harmful, benign] = [true, false].map(|harmful| requests(Split::Training, harmful));

    // SL-CAI: the model criticises and revises its replies and learns from every revision. Its replies to benign requests
    // keep it helpful.
    let model = helpful_only.valid();
    let config = &settings.critique_revision;
    let traces = critique_and_revise(&model, &constitution, &harmful, config, SEED)?;
    let mut lessons: Vec<Dialogue> = traces.iter().flat_map(Trace::revised_dialogues).collect();
    let helpful = answer(&model, &benign, "helpful")?;
    lessons.extend_from_slice(&helpful);
    let sl_cai = settings.sft.fit(helpful_only.clone(), &lessons, SEED, observe, keep)?;

    // AI feedback: the helpful-only model compares replies of SL-CAI, and a preference model learns to agree with it, and
    // with people about what is helpful.
    let prompts = [harmful, benign].concat();
    let pairs = pair(&sl_cai.valid(), &prompts)?;
    let labels = label(&model, &constitution, &pairs, &settings.ai_feedback, SEED)?;
    let mut preferences: Vec<Preference> = labels.iter().map(Label::preference).collect();
    preferences.extend(helpful.iter().filter_map(helpfulness));
    let config = &settings.preference_model.training;
    let reward = config.fit(sl_cai.clone(), &preferences, SEED, observe, keep)?.model;

    // RL-CAI: proximal policy optimisation against the preference model.
    let inputs = Inputs::new(sl_cai.clone(), &reward, &prompts);
    let rl_cai = settings.ppo.run(inputs, SEED, observe, keep)?;
    let folder = std::env::temp_dir().join("rl_cai");
    rl_cai.save(&folder)?;

    println!("On held-out requests, by the oracle of the embedded world:");
    for (name, model) in [("helpful-only", helpful_only), ("SL-CAI", sl_cai), ("RL-CAI", rl_cai)] {
        let [harmless, helpful] = [good(&model.valid(), true)?, good(&model.valid(), false)?];
        println!("{name:>12}: {harmless} of {COUNT} harmless, {helpful} of {COUNT} helpful");
    }
    println!("RL-CAI is saved as a Hugging Face folder: {}", folder.display());
    Ok(())
}

/// Requests of each kind.
const COUNT: usize = 96;

/// Requests of the embedded world.
fn requests(split: Split, harmful: bool) -> Vec<Dialogue> {
    let mut rng = stream(item_seed(SEED, &["requests"]));
    (0..COUNT)
        .map(|_| Dialogue::from_user(Request::draw(split, harmful, &mut rng).text()))
        .collect()
}

/// The prompts with the model's replies; every reply has a random stream of its own, named by `sample` and the prompt.
fn answer(
    model: &dyn Generate,
    prompts: &[Dialogue],
    sample: &str,
) -> Result<Vec<Dialogue>, Error> {
    let asked: Vec<Prompt> = prompts
        .iter()
        .map(|prompt| Prompt {
            dialogue: prompt.clone(),
            seed: item_seed(SEED, &[sample, &prompt.id()]),
        })
        .collect();
    let replies = model.generate(&asked, &Sampling::default().with_max_tokens(64))?;
    let prompts = prompts.iter().cloned();
    Ok(prompts.zip(replies).map(|(prompt, reply)| prompt.with_assistant(reply.text)).collect())
}

/// Two replies to each prompt.
fn pair(model: &dyn Generate, prompts: &[Dialogue]) -> Result<Vec<Comparison>, Error> {
    let [first, second] = [answer(model, prompts, "first")?, answer(model, prompts, "second")?];
    let reply = |dialogue: Dialogue| dialogue.last_reply().unwrap_or_default().to_owned();
    let pairs = first.into_iter().zip(second);
    Ok(pairs.map(|(a, b)| Comparison { prompt: a.prompt(), replies: [a, b].map(reply) }).collect())
}

/// What people would say of a reply to a benign request beside a refusal; `None` if the request is not of the world.
fn helpfulness(answer: &Dialogue) -> Option<Preference> {
    let request = Request::parse(answer.last_request()?)?;
    let refusal = reply(&request, Kind::Refusal, &mut stream(SEED));
    let replies = [answer.last_reply()?.to_owned(), refusal];
    let pair = Comparison { prompt: answer.prompt(), replies };
    Some(Preference::from_comparison(pair, 0.95))
}

/// Replies to held-out requests that are as they should be: harmless to harmful requests, helpful to benign ones.
fn good(model: &dyn Generate, harmful: bool) -> Result<usize, Error> {
    let is_good = if harmful { Verdict::is_harmless } else { Verdict::is_helpful };
    let answers = answer(model, &requests(Split::HeldOut, harmful), "held out")?;
    let verdict = |answer: &Dialogue| {
        let request = Request::parse(answer.last_request()?)?;
        Some(judge(&request, answer.last_reply()?))
    };
    Ok(answers.iter().filter_map(verdict).filter(is_good).count())
}
