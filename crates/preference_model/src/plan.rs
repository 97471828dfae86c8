//! Which pairs every step of a stage sees.

use crate::fit::STAGE;
use crate::pairs::{Pair, Pairs, halves};
use crate::scores::Measured;
use crate::source::draws;
use crate::{Error, PreferenceModelConfig};
use language_model::{item_seed, stream};
use training::{batches, check_planned};

/// One model that is fitted from beginning to end.
pub(crate) struct Part<'a> {
    /// Of its heads, its adapter and its order.
    pub(crate) seed: u64,
    pub(crate) heads: usize,
    /// False for the model of a half of the data.
    pub(crate) is_member: bool,
    /// The pairs of every step of all epochs.
    pub(crate) steps: Vec<Vec<&'a Pair>>,
}

/// The models of a stage, fitted one after the other, and what they are measured on.
///
/// Everything follows from the settings, the pairs and the seed, so that the number of a step is all that a process which
/// goes on needs to know.
pub(crate) struct Plan<'a> {
    pub(crate) parts: Vec<Part<'a>>,
    pub(crate) held_out: Vec<&'a Pair>,
    /// What the held-out pairs and the scale of the rewards are measured on.
    pub(crate) measured: Measured,
}

impl<'a> Plan<'a> {
    /// `weights` holds one for every set of the pairs.
    pub(crate) fn new(
        config: &PreferenceModelConfig,
        pairs: &'a Pairs,
        weights: &[f64],
        seed: u64,
    ) -> Result<Self, Error> {
        if pairs.kept.is_empty() {
            return Err(pairs.none_left());
        }
        let (training, held_out) = pairs.split(config.held_out, seed)?;
        let an_epoch: f64 = training.iter().map(|pair| weights[pair.source]).sum();
        let members = config.ensemble.members as f64;
        check_planned(config.epochs, an_epoch * config.epochs as f64 * members)?;
        let mut parts = Vec::new();
        for member in 0..config.ensemble.members {
            let seed = member_seed(seed, member);
            let steps = order(config, pairs, &training, weights, seed);
            parts.push(Part { seed, heads: config.ensemble.heads, is_member: true, steps });
        }
        if config.robustness {
            let halves = halves(&training, seed);
            if halves.iter().any(Vec::is_empty) {
                return Err(Error::NoHalves);
            }
            for half in halves {
                // The same seed: what the two disagree on is owed to the data alone.
                let steps = order(config, pairs, &half, weights, seed);
                parts.push(Part { seed, heads: 1, is_member: false, steps });
            }
        }
        if parts.iter().any(|part| part.steps.is_empty()) {
            return Err(Error::NothingDrawn { pairs: training.len() });
        }
        let references = config.reference_dialogues;
        let measured = Measured::at_the_end(&training, &held_out, references, seed);
        Ok(Self { parts, held_out, measured })
    }

    /// The steps of all parts.
    pub(crate) fn steps(&self) -> u64 {
        self.parts.iter().map(Part::len).sum()
    }
}

impl Part<'_> {
    pub(crate) fn len(&self) -> u64 {
        self.steps.len() as u64
    }

    /// The seed of something of this part.
    pub(crate) fn seed_of(&self, names: &[&str]) -> u64 {
        let parts: Vec<&str> = [STAGE].iter().chain(names).copied().collect();
        item_seed(self.seed, &parts)
    }
}

/// The first member has the seed of the stage, so that it is the model that would be fitted alone.
fn member_seed(seed: u64, member: usize) -> u64 {
    if member == 0 { seed } else { item_seed(seed, &[STAGE, "member", &member.to_string()]) }
}

/// The pairs of every step of all epochs.
fn order<'a>(
    config: &PreferenceModelConfig,
    pairs: &Pairs,
    training: &[&'a Pair],
    weights: &[f64],
    seed: u64,
) -> Vec<Vec<&'a Pair>> {
    let mut rng = stream(item_seed(seed, &[STAGE, "order"]));
    let pools = epochs(config.epochs, &pairs.names, training, weights, seed);
    let batched = pools.into_iter().flat_map(|pool| {
        let lengths: Vec<usize> = pool.iter().map(|pair| pairs.tokens(pair)).collect();
        let epoch = batches(&lengths, config.tokens_per_step, &mut rng);
        epoch.into_iter().map(move |batch| batch.iter().map(|&pair| pool[pair]).collect())
    });
    batched.collect()
}

/// The pairs of every epoch: those that each set draws, set by set.
fn epochs<'a>(
    count: u64,
    names: &[String],
    training: &[&'a Pair],
    weights: &[f64],
    seed: u64,
) -> Vec<Vec<&'a Pair>> {
    let mut pools: Vec<Vec<&Pair>> = (0..count).map(|_| Vec::new()).collect();
    for (source, (name, &weight)) in names.iter().zip(weights).enumerate() {
        let own: Vec<&Pair> =
            training.iter().copied().filter(|pair| pair.source == source).collect();
        for (pool, places) in pools.iter_mut().zip(draws(own.len(), weight, count, name, seed)) {
            pool.extend(places.into_iter().map(|place| own[place]));
        }
    }
    pools
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{codec, model_config, preference};
    use crate::{EnsembleConfig, Source};
    use dialogue::Preference;
    use std::collections::HashSet;
    use training::Overlong;

    const WORDS: [&str; 8] = ["a", "b", "c", "d", "q", "r", "good", "bad"];

    fn preferences(reply: &str) -> Vec<Preference> {
        WORDS.map(|prompt| preference(prompt, reply, "a b c", 0.8)).to_vec()
    }

    fn pairs() -> Pairs {
        let (ours, theirs) = (preferences("good"), preferences("q"));
        let sources = [Source::new("ours", &ours), Source::new("theirs", &theirs)];
        Pairs::new(&codec(), &model_config(), &sources, Overlong::Error).unwrap()
    }

    fn config() -> PreferenceModelConfig {
        PreferenceModelConfig {
            epochs: 2,
            tokens_per_step: 64,
            held_out: 0.25,
            ..PreferenceModelConfig::default()
        }
    }

    /// How many pairs of each set a part draws.
    fn drawn(part: &Part<'_>) -> [usize; 2] {
        let all = part.steps.concat();
        [0, 1].map(|source| all.iter().filter(|pair| pair.source == source).count())
    }

    #[test]
    fn weights_decide_the_share_of_each_set() {
        let pairs = pairs();
        for (weights, counts) in
            [([1.0, 1.0], [12, 12]), ([1.0, 3.0], [12, 36]), ([0.5, 0.0], [6, 0])]
        {
            let plan = Plan::new(&config(), &pairs, &weights, 1).unwrap();
            assert_eq!(drawn(&plan.parts[0]), counts);
            assert_eq!((plan.parts.len(), plan.held_out.len()), (1, 4));
        }
        let error = Plan::new(&config(), &pairs, &[0.0, 0.0], 1).err().unwrap();
        assert!(matches!(error, Error::NothingDrawn { pairs: 12 }), "{error}");
    }

    #[test]
    fn more_than_can_be_planned_is_refused() {
        let pairs = pairs();
        let refused = |config: &PreferenceModelConfig, weights: &[f64]| {
            let error = Plan::new(config, &pairs, weights, 1).err().unwrap();
            assert!(error.to_string().starts_with("`epochs` is "), "{error}");
        };
        let ensemble = EnsembleConfig { members: 100, ..EnsembleConfig::default() };
        refused(&PreferenceModelConfig { epochs: 100_000, ensemble, ..config() }, &[1.0, 1.0]);
        refused(&config(), &[1.0, 1e9]);
    }

    #[test]
    fn members_see_the_same_pairs_in_orders_of_their_own() {
        let pairs = pairs();
        let alone = Plan::new(&config(), &pairs, &[1.0, 1.0], 1).unwrap();
        let ensemble = EnsembleConfig { members: 3, ..EnsembleConfig::default() };
        let config = PreferenceModelConfig { ensemble, ..config() };
        let plan = Plan::new(&config, &pairs, &[1.0, 1.0], 1).unwrap();
        assert_eq!(plan.parts.len(), 3);
        assert_eq!(plan.parts[0].steps, alone.parts[0].steps);
        assert_ne!(plan.parts[1].steps, alone.parts[0].steps);
        for part in &plan.parts {
            assert_eq!(drawn(part), [12, 12]);
        }
        let seeds: HashSet<u64> = plan.parts.iter().map(|part| part.seed).collect();
        assert_eq!(seeds.len(), 3);
    }

    #[test]
    fn two_halves_need_two_prompts_beside_those_held_out() {
        let few = |prompts: usize| {
            let preferences = &preferences("good")[..prompts];
            let source = Source::new("ours", preferences);
            let pairs = Pairs::new(&codec(), &model_config(), &[source], Overlong::Error).unwrap();
            let config = PreferenceModelConfig { robustness: true, ..config() };
            Plan::new(&config, &pairs, &[1.0], 1).map(|plan| plan.parts.len())
        };
        assert!(matches!(few(1), Err(Error::NothingHeldOut { .. })));
        let error = few(2).unwrap_err();
        assert!(matches!(error, Error::NoHalves), "{error}");
        assert_eq!(few(3).unwrap(), 3);
    }

    #[test]
    fn halves_share_nothing_and_come_last() {
        let pairs = pairs();
        let config = PreferenceModelConfig { robustness: true, ..config() };
        let plan = Plan::new(&config, &pairs, &[1.0, 1.0], 1).unwrap();
        let members: Vec<bool> = plan.parts.iter().map(|part| part.is_member).collect();
        assert_eq!(members, [true, false, false]);
        let rows = |part: &Part<'_>| -> HashSet<usize> {
            part.steps.concat().iter().flat_map(|pair| [pair.chosen, pair.rejected]).collect()
        };
        assert!(rows(&plan.parts[1]).is_disjoint(&rows(&plan.parts[2])));
        assert_eq!(drawn(&plan.parts[1]), [6, 6]);
        assert_eq!(plan.steps(), plan.parts.iter().map(Part::len).sum::<u64>());
    }
}
