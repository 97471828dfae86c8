//! The settings of a run.

use super::{
    Error, JudgeSource, Labeller, PreferenceModelSettings, PromptSettings, RewardSource, RunFolder,
    find_constitution,
};
use ai_feedback::{DirectRewardConfig, FeedbackConfig};
use constitution::Constitution;
use critique_revision::CritiqueRevisionConfig;
use language_model::Sampling;
use ppo::{PpoConfig, Preset, ValueModel};
use red_team::GenerationConfig;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sft::SftConfig;
use std::path::{Path, PathBuf};
use toml::{Table, Value};
use training::{CheckpointConfig, Schedule};
use transformer::Engine;

/// Everything that decides what a run computes; what is resolved stands in `run.toml`.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `seed` | 1 | of every random stream |
/// | `model` | the embedded one | Hugging Face folder of the helpful-only model |
/// | `judge` | the helpful-only model | Hugging Face folder of the model that labels pairs, its name on the hub, or the address of a server that has it |
/// | `judge_model` | the only one | name of the model on that server |
/// | `judge_server` | see [`openai::Config`] | how that server is asked |
/// | `reward` | `"preference_model"` | what scores replies in reinforcement learning: the preference model, with `"half"` that of one half of the preferences, watched by that of the other, or with `"direct"` the judge, see [`ai_feedback::DirectReward`] |
/// | `labeller` | `"judge"` | who labels harmlessness: the judge by the constitution, or in the embedded world the `"crowd"`, see [`Labeller`] |
/// | `constitution` | by the model | TOML file, or `general` or `world`, see [`find_constitution`]; the embedded world has one of its own, other models get the general one |
/// | `prompts` | see [`PromptSettings`] | where requests come from |
/// | `pairs_per_prompt` | 1, embedded 2 | pairs of replies that are drawn to every red-team prompt for labelling, at least 1 |
/// | `engine` | see [`Engine`] | how much runs at the same time, and in how much memory |
/// | `checkpoints` | see [`CheckpointConfig`] | how often training stages keep their state, and how many states |
/// | `critique_revision` … `ppo` | see there | settings of each stage |
///
/// The defaults of the stages are [`Settings::embedded`] for the embedded model and [`Settings::general`] for any other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Of every random stream.
    pub seed: u64,
    /// Hugging Face folder of the helpful-only model; the embedded one without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// The model that labels pairs; the helpful-only model without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<JudgeSource>,
    /// Name of the model on the judge's server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge_model: Option<String>,
    /// How the judge's server is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge_server: Option<openai::Config>,
    /// What scores replies in reinforcement learning.
    #[serde(default)]
    pub reward: RewardSource,
    /// Who labels harmlessness.
    #[serde(default)]
    pub labeller: Labeller,
    /// TOML file of the constitution, or the name of one that is built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constitution: Option<PathBuf>,
    /// Where requests come from.
    pub prompts: PromptSettings,
    /// How much runs at the same time.
    #[serde(default)]
    pub engine: Engine,
    /// How often training stages keep their state.
    #[serde(default)]
    pub checkpoints: CheckpointConfig,
    /// Critique and revision.
    pub critique_revision: CritiqueRevisionConfig,
    /// Fine-tuning.
    pub sft: SftConfig,
    /// Generation of new requests.
    pub red_team: GenerationConfig,
    /// Pairs of replies that are drawn to every red-team prompt.
    pub pairs_per_prompt: usize,
    /// Labels.
    pub ai_feedback: FeedbackConfig,
    /// The judge's own scores, if they are the reward.
    #[serde(default)]
    pub direct_reward: DirectRewardConfig,
    /// The preference model.
    pub preference_model: PreferenceModelSettings,
    /// Reinforcement learning.
    pub ppo: PpoConfig,
}

impl Settings {
    /// The defaults for the embedded model: short replies, small steps, a loop of a few minutes.
    pub fn embedded() -> Self {
        let tokens = |tokens| Sampling::default().with_max_tokens(tokens);
        let mut settings = Self::general();
        settings.prompts.red_team_count = 300;
        settings.prompts.helpful_count = 160;
        settings.prompts.held_out = 304;
        settings.critique_revision.reply = tokens(64);
        settings.critique_revision.critique = tokens(32);
        settings.critique_revision.revision = tokens(64);
        settings.sft.tokens_per_step = 1536;
        settings.sft.optimizer.learning_rate = 5e-4;
        settings.sft.schedule = Schedule::constant();
        settings.pairs_per_prompt = 2;
        // As many as the lists that the embedded model was trained on; its world has few sentences, so that most requests
        // are near another.
        settings.red_team.shots = 4;
        settings.red_team.drop_near_duplicates = false;
        settings.red_team.requests = 100;
        settings.preference_model.training.tokens_per_step = 2048;
        settings.preference_model.training.optimizer.learning_rate = 3e-4;
        settings.ppo = PpoConfig {
            iterations: 60,
            samples_per_prompt: 8,
            // The model is so small that few large products cost less than many.
            tokens_per_micro_batch: 2048,
            max_tokens: 64,
            kl_coefficient: 0.3,
            // Whether a reply does harm is decided by its first word, which a smaller value would leave without credit.
            lambda: 1.0,
            // The policy is nearly certain of most tokens, so that a value loss would move a shared trunk more than the
            // policy loss does.
            value_model: ValueModel::Detached,
            optimizer: settings.ppo.optimizer.with_learning_rate(1e-4),
            schedule: Schedule::linear(),
            ..PpoConfig::default()
        };
        settings
    }

    /// The defaults for any other model.
    pub fn general() -> Self {
        Self {
            seed: 1,
            model: None,
            judge: None,
            judge_model: None,
            judge_server: None,
            reward: RewardSource::default(),
            labeller: Labeller::default(),
            constitution: None,
            prompts: PromptSettings::default(),
            engine: Engine::default(),
            checkpoints: CheckpointConfig::default(),
            critique_revision: CritiqueRevisionConfig::default(),
            sft: SftConfig::default(),
            red_team: GenerationConfig::default(),
            pairs_per_prompt: 1,
            ai_feedback: FeedbackConfig::default(),
            direct_reward: DirectRewardConfig::default(),
            preference_model: PreferenceModelSettings::default(),
            ppo: PpoConfig::default(),
        }
    }

    /// Resolves settings: the defaults for the model, then each layer over those before it. A layer is a table with the
    /// name of where it comes from. A `ppo.preset` in it stands under its other keys and over all layers before it.
    ///
    /// # Errors
    /// [`Error::Settings`] names the layer and the key that is unknown or of the wrong type.
    pub fn resolve(layers: &[(String, Table)]) -> Result<Self, Error> {
        let has_model = layers.iter().any(|(_, layer)| layer.contains_key("model"));
        let mut settings = if has_model { Self::general() } else { Self::embedded() };
        for layer in layers {
            let (below, layer) = settings.with_preset_of(layer)?;
            settings = layered(below, &[layer])?;
        }
        in_table("judge", settings.resolve_judge())?;
        settings.validate()?;
        Ok(settings)
    }

    /// What a layer goes over: these settings, with the preset that it names. And the layer without it: a preset is no
    /// setting, but stands for many.
    fn with_preset_of(mut self, (source_name, layer): &Layer) -> Result<(Self, Layer), Error> {
        let mut layer = layer.clone();
        if let Some(Value::Table(ppo)) = layer.get_mut("ppo")
            && let Some(named) = ppo.remove("preset")
        {
            let preset: Preset = named.try_into().map_err(|error: toml::de::Error| {
                let message = format!("`ppo.preset`: {}", error.to_string().trim_end());
                Error::Settings { source_name: source_name.clone(), message }
            })?;
            self.ppo = self.ppo.with_preset(preset);
        }
        Ok((self, (source_name.clone(), layer)))
    }

    /// Reads a layer from a TOML file; the `run.toml` of a run will do.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Settings`] with the line of what is not TOML.
    pub fn layer_from_file(path: &Path) -> Result<(String, Table), Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
            action: "read the settings in",
            path: path.to_owned(),
            source,
        })?;
        let name = path.display().to_string();
        match text.parse() {
            Ok(table) => Ok((name, RunFolder::without_about(table))),
            Err(error) => {
                let message = error.to_string().trim_end().to_owned();
                Err(Error::Settings { source_name: name, message })
            }
        }
    }

    /// The settings as a table, as they stand in `run.toml`.
    ///
    /// # Errors
    /// [`Error::Settings`] if a setting has no TOML form, such as a seed above `i64::MAX`.
    pub fn to_table(&self) -> Result<Table, Error> {
        to_table(self)
    }

    /// The constitution that the settings name, or that of the model.
    ///
    /// # Errors
    /// If its file cannot be read or is not a constitution.
    pub fn read_constitution(&self) -> Result<Constitution, Error> {
        match (&self.constitution, &self.model) {
            (Some(which), _) => find_constitution(which),
            (None, Some(_)) => Ok(Constitution::general()),
            (None, None) => Ok(model_organism::constitution()?),
        }
    }

    /// True if every request is one of the embedded world's, so that there is a ground truth.
    pub fn in_world(&self) -> bool {
        let prompts = &self.prompts;
        self.model.is_none() && prompts.red_team.is_none() && prompts.helpful.is_none()
    }

    /// Checks every setting.
    fn validate(&self) -> Result<(), Error> {
        self.prompts.validate()?;
        if self.pairs_per_prompt == 0 {
            return Err(Error::Setting {
                setting: "pairs_per_prompt",
                found: "0".to_owned(),
                expected: "a whole number of at least 1",
            });
        }
        let files = [self.prompts.red_team.is_some(), self.prompts.helpful.is_some()];
        match (files, &self.model) {
            ([true, false] | [false, true], _) => return Err(Error::HalfOfThePrompts),
            ([false, false], Some(_)) => return Err(Error::NoPrompts),
            _ => {}
        }
        if self.reward == RewardSource::Half && !self.preference_model.training.robustness {
            return Err(Error::Setting {
                setting: "reward",
                found: "\"half\", but no halves are fitted".to_owned(),
                expected: "`preference_model.robustness = true` beside it, or another reward",
            });
        }
        self.validate_labeller()?;
        self.validate_direct_judge()?;
        in_table("checkpoints", self.checkpoints.validate())?;
        in_table("critique_revision", self.critique_revision.validate())?;
        in_table("sft", self.sft.validate())?;
        in_table("sft", self.sft.validate_sources(&super::sft::SOURCES))?;
        in_table("red_team", self.red_team.validate())?;
        in_table("ai_feedback", self.ai_feedback.validate())?;
        in_table("direct_reward", self.direct_reward.validate())?;
        let preference_model = &self.preference_model;
        in_table("preference_model", preference_model.training.validate())?;
        let sources = &super::preference_model::SOURCES;
        in_table("preference_model", preference_model.training.validate_sources(sources))?;
        in_table("preference_model.pretraining", preference_model.validate_pretraining())?;
        in_table("ppo", self.ppo.validate())
    }
}

/// Settings and where they come from.
pub(super) type Layer = (String, Table);

/// Puts each layer over the defaults and the layers before it.
pub(super) fn layered<T: Serialize + DeserializeOwned>(
    defaults: T,
    layers: &[Layer],
) -> Result<T, Error> {
    let mut table = to_table(&defaults)?;
    let mut settings = defaults;
    for (source_name, layer) in layers {
        merge(&mut table, layer);
        // One layer at a time, so that an error names the one that brought it in.
        settings = Value::Table(table.clone()).try_into().map_err(|error: toml::de::Error| {
            let message = error.to_string().trim_end().to_owned();
            Error::Settings { source_name: source_name.clone(), message }
        })?;
    }
    Ok(settings)
}

fn to_table(settings: &impl Serialize) -> Result<Table, Error> {
    let mut table = Table::try_from(settings).map_err(|error| Error::Settings {
        source_name: "settings".to_owned(),
        message: error.to_string(),
    })?;
    table.iter_mut().for_each(|(_, value)| shorten(value));
    Ok(table)
}

/// Says which table a setting stands in.
pub(super) fn in_table<E: Into<Error>>(
    table: &'static str,
    result: Result<(), E>,
) -> Result<(), Error> {
    result.map_err(|error| Error::Table { table, source: Box::new(error.into()) })
}

/// Writes numbers of single precision as people do: 0.2, not 0.200000003. Read back they are the same.
#[expect(
    clippy::cast_possible_truncation,
    clippy::float_cmp,
    reason = "the question is whether the cast loses anything"
)]
fn shorten(value: &mut Value) {
    match value {
        Value::Float(number) => {
            let single = *number as f32;
            if f64::from(single) == *number
                && let Ok(short) = single.to_string().parse()
            {
                *number = short;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Table(table) => table.iter_mut().for_each(|(_, value)| shorten(value)),
        _ => {}
    }
}

/// Settings that are one of several, told apart by the key of a table: another key takes the place of the first.
const ONE_OF: [&str; 4] = ["every", "kl_target", "labels", "warm_up"];

/// Puts the values of `layer` over those of `table`.
fn merge(table: &mut Table, layer: &Table) {
    for (key, value) in layer {
        match (table.get_mut(key), value) {
            (Some(Value::Table(below)), Value::Table(above)) if !ONE_OF.contains(&key.as_str()) => {
                merge(below, above);
            }
            _ => drop(table.insert(key.clone(), value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(text: &str) -> (String, Table) {
        ("my.toml".to_owned(), text.parse().unwrap())
    }

    #[test]
    fn a_layer_changes_what_it_names() {
        let settings = Settings::resolve(&[layer("seed = 3\n[ppo]\niterations = 7")]).unwrap();
        let mut expected = Settings::embedded();
        expected.seed = 3;
        expected.ppo.iterations = 7;
        assert_eq!(settings, expected);
        assert_eq!(
            Settings::resolve(&[("t".to_owned(), expected.to_table().unwrap())]).unwrap(),
            expected
        );
    }

    #[test]
    fn numbers_are_written_as_people_do() {
        let text = toml::to_string(&Settings::embedded().to_table().unwrap()).unwrap();
        assert!(text.contains("clip_low = 0.2\n"), "{text}");
    }

    #[test]
    fn one_of_several_takes_the_place_of_another() {
        let settings = Settings::resolve(&[layer(
            "checkpoints.every.steps = 3\n[sft.schedule]\nwarm_up = { steps = 2 }",
        )])
        .unwrap();
        assert_eq!(settings.checkpoints.every, training::Every::Steps(3));
        assert_eq!(settings.sft.schedule.warm_up, training::WarmUp::Steps(2));
    }

    #[test]
    fn a_preset_stands_below_what_is_set() {
        let settings =
            Settings::resolve(&[layer("[ppo]\npreset = 'trl'\nlambda = 0.5\niterations = 3")])
                .unwrap();
        let trl = PpoConfig::preset(Preset::Trl);
        assert_eq!(settings.ppo.score_place, trl.score_place);
        assert_eq!((settings.ppo.lambda, settings.ppo.iterations), (0.5, 3));
        // How much is drawn stays that of the model.
        assert_eq!(settings.ppo.max_tokens, Settings::embedded().ppo.max_tokens);
        let message = Settings::resolve(&[layer("[ppo]\npreset = 'x'")]).unwrap_err().to_string();
        assert!(message.contains("ppo.preset") && message.contains("openrlhf"), "{message}");
    }

    #[test]
    fn a_preset_stands_above_the_layers_before_it() {
        let named = |preset: &str| layer(&format!("[ppo]\npreset = '{preset}'"));
        let resolved = |layers: &[Layer]| Settings::resolve(layers).unwrap();
        let recorded = |preset| {
            let table = resolved(&[named(preset)]).to_table().unwrap();
            ("run.toml".to_owned(), table)
        };
        for there in ["trl", "openrlhf", "verl", "paper"] {
            for asked in ["trl", "openrlhf", "verl", "paper"] {
                // Also what one sets and the other leaves out.
                let found = resolved(&[recorded(there), named(asked)]);
                assert_eq!(found, resolved(&[named(asked)]), "{asked} over {there}");
            }
        }
        let before = layer("[ppo]\nlambda = 0.5\niterations = 3\nlora.rank = 2");
        let after = layer("[ppo]\nclip_low = 0.1");
        let found = resolved(&[before, named("trl"), after]).ppo;
        let expected = PpoConfig::preset(Preset::Trl);
        assert_eq!((found.score_place, found.lambda), (expected.score_place, expected.lambda));
        // How much is drawn and what learns is no part of a preset.
        let rank = found.lora.map(|lora| lora.rank);
        assert_eq!((found.iterations, rank, found.clip_low), (3, Some(2), 0.1));
    }

    #[test]
    fn another_model_has_other_defaults() {
        let settings = Settings::resolve(&[layer(
            "model = 'somewhere'\n[prompts]\nred_team = 'a'\nhelpful = 'b'",
        )])
        .unwrap();
        assert_eq!(settings.sft, SftConfig::default());
    }

    #[test]
    fn a_bad_key_is_named_with_its_source() {
        for (text, expected) in
            [("sead = 1", "sead"), ("[ppo]\nclipp = 1", "clipp"), ("[sft]\nepochs = 'x'", "epochs")]
        {
            let message = Settings::resolve(&[layer(text)]).unwrap_err().to_string();
            assert!(message.contains("my.toml") && message.contains(expected), "{message}");
        }
        let message = Settings::resolve(&[layer("[ppo]\nclip_low = 0.0")]).unwrap_err().to_string();
        assert!(message.contains("clip_low"), "{message}");
        for (text, expected) in [
            ("reward = 'none'", "preference_model"),
            ("reward = 'half'", "`preference_model.robustness = true`"),
            ("[direct_reward]\nhighest = 12", "[direct_reward] `highest` is 12"),
            ("[ai_feedback]\nprinciples_per_comparison = 0", "principles_per_comparison"),
        ] {
            let message = Settings::resolve(&[layer(text)]).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        Settings::resolve(&[layer("reward = 'half'\npreference_model.robustness = true")]).unwrap();
        let weights = layer("[sft.weights]\nhelpfull = 2.0");
        let message = Settings::resolve(&[weights]).unwrap_err().to_string();
        assert!(message.contains("[sft]") && message.contains("`helpfull`"), "{message}");
    }
}
