//! Who labels harmlessness: the judge, or the crowd of the embedded world.

use super::ai_feedback::no_pairs;
use super::session::CHUNK;
use super::world::share_for_a;
use super::{Checkpoint, Error, Session, Settings, Stage};
use ai_feedback::pair_id;
use burn::tensor::backend::AutodiffBackend;
use dataset::write_jsonl;
use dialogue::{Comparison, Preference};
use language_model::{Meter, item_seed, stream};
use model_organism::rater::Taste;
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use training::Observe;

/// Who labels harmlessness.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Labeller {
    /// The judge, by the constitution.
    #[default]
    Judge,
    /// People of the embedded world, one a pair, who take a reply for the better the less it engages with a harmful request;
    /// see [`Taste::Crowd`]. They stand in for the labels of HH-RLHF (arXiv 2204.05862).
    Crowd,
}

impl Settings {
    /// Checks that there are people where the settings ask for them.
    pub(super) fn validate_labeller(&self) -> Result<(), Error> {
        if self.labeller == Labeller::Judge || self.in_world() {
            return Ok(());
        }
        Err(Error::Setting {
            setting: "labeller",
            found: "\"crowd\"".to_owned(),
            expected: "\"judge\" for models and prompts of one's own: only the embedded world has people",
        })
    }
}

impl<B: AutodiffBackend> Session<B> {
    /// The same pairs as the judge would see, labelled by the crowd. Nothing stands behind such a label, so there is no
    /// `labels.jsonl`; `preferences.jsonl` and `helpfulness.jsonl` are written as ever.
    pub(super) fn crowd_feedback(&self, observe: &mut dyn Observe) -> Result<(), Error> {
        let stage = Stage::AiFeedback;
        let policy = self.fixed(Checkpoint::SlCai)?;
        let meter = Meter::default();
        let policy = meter.watch(&policy);
        // The crowd itself is asked again after a kill: it answers at once, and the same.
        let policy = self.recorded(&policy)?;
        let [red_team, helpful] = self.policy_prompts()?;
        let mut progress = self.pair_progress(&policy, [&red_team, &helpful], &meter, observe)?;
        let seed = item_seed(self.settings.seed, &["ai_feedback", "crowd"]);
        let mut harmlessness = Vec::new();
        let mut seen = HashSet::new();
        for prompts in red_team.chunks(CHUNK) {
            let mut pairs = self.pairs(&policy, prompts, self.settings.pairs_per_prompt)?;
            pairs.extend(self.garbled(&pairs));
            pairs.retain(|pair| !pair.is_even() && seen.insert(pair_id(pair)));
            harmlessness.extend(pairs.into_iter().filter_map(|pair| by_one(pair, seed)));
            progress.advance(prompts.len())?;
        }
        if harmlessness.is_empty() {
            return Err(no_pairs());
        }
        let helpfulness = self.helpfulness_by_oracle(&policy, &helpful, &mut progress)?;
        write_jsonl(self.folder.file(stage, "preferences.jsonl")?, harmlessness)?;
        write_jsonl(self.folder.file(stage, "helpfulness.jsonl")?, helpfulness)?;
        progress.finish()
    }
}

/// What one of the crowd says of a pair: people choose, they give no probabilities. `None` if the request is not of the world.
fn by_one(pair: Comparison, seed: u64) -> Option<Preference> {
    let share = share_for_a(&pair, Some(Taste::Crowd))?;
    let mut rng = stream(item_seed(seed, &[&pair_id(&pair)]));
    let choice = if rng.random_bool(share) { 1.0 } else { 0.0 };
    Some(Preference::from_comparison(pair, choice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dialogue::Dialogue;
    use model_organism::world::{Kind, Request, reply};

    #[test]
    fn the_crowd_chooses_evasion_nearly_always_and_says_so_for_certain() {
        let request = Request::parse("How do I steal the bike from Anna?").unwrap();
        let mut rng = stream(1);
        let [evasion, refusal] =
            [Kind::Evasion, Kind::Refusal].map(|kind| reply(&request, kind, &mut rng));
        let prompt = Dialogue::from_user(request.text());
        let pair = Comparison { prompt, replies: [refusal, evasion.clone()] };
        let chosen = (0..1000).filter(|&seed| {
            let preference = by_one(pair.clone(), seed).unwrap();
            assert!((preference.probability - 1.0).abs() < 1e-12);
            preference.chosen == evasion
        });
        // 931 of 1000 are expected; a standard deviation is 8.
        assert!(chosen.count().abs_diff(931) < 40);
        let elsewhere = Comparison { prompt: Dialogue::from_user("What is love?"), ..pair };
        assert!(by_one(elsewhere, 1).is_none());
    }

    #[test]
    fn there_is_no_crowd_elsewhere() {
        let resolve = |text: &str| Settings::resolve(&[("t".to_owned(), text.parse().unwrap())]);
        assert_eq!(resolve("labeller = 'crowd'").unwrap().labeller, Labeller::Crowd);
        let files = "[prompts]\nred_team = 'a'\nhelpful = 'b'";
        let message = resolve(&format!("labeller = 'crowd'\n{files}")).unwrap_err().to_string();
        assert!(message.contains("`labeller`") && message.contains("judge"), "{message}");
        assert!(resolve("labeller = 'people'").unwrap_err().to_string().contains("crowd"));
    }
}
