//! The preference model.

use crate::pairs::check_tokens;
use crate::pairs::{Pair, Pairs};
use crate::scores::{SCORED_TOKENS, Scores, distinct};
use crate::{Error, Normalisation, Report};
use burn::module::Module;
use burn::tensor::backend::Backend;
use dialogue::{Dialogue, Preference};
use language_model::{Error as ModelError, Reward};
use serde_json::json;
use std::path::Path;
use training::Overlong;
use transformer::{
    Architecture, Array, Codec, Decoder, ModelConfig, Precision, ScalarHead, ScalarModel, Weights,
    write_folder,
};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const SCORE: &str = "score.weight";
/// The keys of `config.json` that hold the normalisation.
const MEAN: &str = "mean";
const STD: &str = "std";

/// A transformer that gives a dialogue one score, read at its last token.
///
/// As a [`Reward`] it gives normalised scores; see [`Normalisation`]. Its weights ask for no gradients, so that scoring
/// builds no graph on any backend.
#[derive(Debug, Clone)]
pub struct PreferenceModel<B: Backend> {
    model: ScalarModel<B>,
    codec: Codec,
    normalisation: Normalisation,
}

impl<B: Backend> PreferenceModel<B> {
    pub(crate) fn new(model: ScalarModel<B>, codec: Codec, normalisation: Normalisation) -> Self {
        Self { model: model.no_grad(), codec, normalisation }
    }

    /// Trunk and head, which give raw scores.
    pub fn scalar_model(&self) -> &ScalarModel<B> {
        &self.model
    }

    /// How raw scores become rewards.
    pub fn normalisation(&self) -> Normalisation {
        self.normalisation
    }

    /// How well the model agrees with preferences that it was not fitted to; pairs whose replies are the same are left
    /// out.
    ///
    /// # Errors
    /// If a dialogue cannot be rendered or does not fit the context, a label is no probability, or no pair is left.
    pub fn evaluate(&self, preferences: &[Preference]) -> Result<Report, Error> {
        let config = self.model.decoder().config();
        let pairs = Pairs::new(&self.codec, config, preferences, Overlong::Error)?;
        let all: Vec<&Pair> = pairs.kept.iter().collect();
        let scores = Scores::of(&self.model, &pairs, &distinct(&all));
        scores.report(&all)?.ok_or_else(|| pairs.none_left())
    }

    /// Reads a model folder that [`PreferenceModel::save`] wrote, or any other model with one label.
    ///
    /// A folder without `mean` and `std` in its `config.json` gets rewards that are raw scores.
    ///
    /// # Errors
    /// If a file is missing, damaged or not that of a model with one score.
    pub fn from_folder(path: impl AsRef<Path>, device: &B::Device) -> Result<Self, Error> {
        let folder = path.as_ref();
        let file = folder.join(CONFIG).display().to_string();
        let config = ModelConfig::from_folder(folder)?;
        if config.architecture != Architecture::Score {
            return Err(Error::NotPreferenceModel {
                file,
                key: "architectures",
                found: config.family.class(Architecture::CausalLm).to_owned(),
                expected: config.family.class(Architecture::Score),
            });
        }
        let normalisation = read_normalisation(&config, file)?;
        let mut weights = Weights::from_folder(folder)?;
        let decoder = Decoder::from_weights(&config, &mut weights, device)?;
        let score = weights.take(SCORE, &[1, config.hidden_size])?;
        weights.finish()?;
        let model = ScalarModel::new(decoder, ScalarHead::from_weight(score, device));
        Ok(Self::new(model, Codec::from_folder(folder)?, normalisation))
    }

    /// Writes a model folder that `transformers` opens as a sequence classifier with one label, of the family that it is.
    ///
    /// Its logit is the raw score; `mean` and `std` in `config.json` turn it into the reward.
    ///
    /// # Errors
    /// If the folder cannot be written, or something other than a model folder stands there.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let decoder = self.model.decoder();
        let mut config = decoder.config().clone();
        config.other.insert(MEAN.to_owned(), json!(self.normalisation.mean));
        config.other.insert(STD.to_owned(), json!(self.normalisation.std));
        let precision = Precision::F32;
        let mut weights = decoder.weights();
        let score: Vec<f32> = self.model.head().weight().into_data().iter().collect();
        weights.insert(SCORE, Array { shape: vec![1, score.len()], data: score });
        let text_side = self.codec.files();
        let model_side = [
            (CONFIG, config.to_json(precision.name()).into_bytes()),
            (WEIGHTS, weights.to_bytes(precision)?),
        ];
        let files: Vec<(&str, &[u8])> = model_side
            .iter()
            .chain(&text_side)
            .map(|(name, bytes)| (*name, bytes.as_slice()))
            .collect();
        Ok(write_folder(path, &files)?)
    }

    /// The tokens of dialogue `index`, if the model can read them.
    fn encode(&self, index: usize, dialogue: &Dialogue) -> Result<Vec<u32>, ModelError> {
        let tokens = self.codec.encode_dialogue(dialogue)?.tokens;
        let config = self.model.decoder().config();
        check_tokens(config, index, &tokens)?;
        let context = config.max_position_embeddings;
        if tokens.len() > context {
            let (id, tokens) = (dialogue.id(), tokens.len());
            return Err(ModelError::TooLong { id, tokens, context, reserved: 0 });
        }
        Ok(tokens)
    }
}

impl<B: Backend> Reward for PreferenceModel<B> {
    fn reward(&self, dialogues: &[Dialogue]) -> Result<Vec<f32>, ModelError> {
        let rows =
            dialogues.iter().enumerate().map(|(index, dialogue)| self.encode(index, dialogue));
        let rows: Vec<Vec<u32>> = rows.collect::<Result<_, _>>()?;
        let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        let scores = self.model.scores(&rows, SCORED_TOKENS);
        let rewards = scores.into_iter().map(|score| self.normalisation.reward(score));
        let checked = dialogues.iter().zip(rewards).map(|(dialogue, reward)| {
            if reward.is_finite() {
                Ok(reward)
            } else {
                Err(ModelError::NotFinite { what: "the reward", id: dialogue.id() })
            }
        });
        checked.collect()
    }
}

fn read_normalisation(config: &ModelConfig, file: String) -> Result<Normalisation, Error> {
    let number = |key, default: f64| match config.other.get(key) {
        None => Some(default),
        Some(value) => value.as_f64(),
    };
    let wrong = |key, expected| {
        let found = config.other.get(key).map(ToString::to_string).unwrap_or_default();
        Error::NotPreferenceModel { file: file.clone(), key, found, expected }
    };
    let mean = number(MEAN, 0.0).ok_or_else(|| wrong(MEAN, "a number"))?;
    let std = number(STD, 1.0).filter(|&std| std > 0.0);
    Ok(Normalisation { mean, std: std.ok_or_else(|| wrong(STD, "a number above 0"))? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{codec, model_config, preference, scalar_model};
    use burn_flex::{Flex, FlexDevice};
    use std::fs;

    fn model() -> PreferenceModel<Flex> {
        let normalisation = Normalisation { mean: 0.25, std: 0.5 };
        PreferenceModel::new(scalar_model(1), codec(), normalisation)
    }

    fn dialogue(reply: &str) -> Dialogue {
        Dialogue::from_user("q").with_assistant(reply)
    }

    fn read(folder: &Path) -> Result<PreferenceModel<Flex>, Error> {
        PreferenceModel::from_folder(folder, &FlexDevice)
    }

    #[test]
    fn rewards_are_normalised_scores_at_the_last_token() {
        let model = model();
        // <user> q <end> <assistant> a <end>
        let tokens: &[u32] = &[1, 8, 0, 2, 4, 0];
        assert_eq!(model.codec.encode_dialogue(&dialogue("a")).unwrap().tokens, tokens);
        let score = model.model.scores(&[tokens], 100)[0];
        let rewards = model.reward(&[dialogue("b c d"), dialogue("a")]).unwrap();
        assert!((rewards[1] - (score - 0.25) / 0.5).abs() < 1e-5);
        assert!((rewards[0] - rewards[1]).abs() > 1e-3);
        assert!(model.reward(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_folder_gives_the_same_rewards() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        let (saved, dialogues) = (model(), [dialogue("a"), dialogue("good bad")]);
        saved.save(&path).unwrap();
        let loaded = read(&path).unwrap();
        assert_eq!(loaded.normalisation(), saved.normalisation());
        let bits = |model: &PreferenceModel<Flex>| {
            let rewards = model.reward(&dialogues).unwrap();
            rewards.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        assert_eq!(bits(&loaded), bits(&saved));

        let config: serde_json::Value =
            serde_json::from_slice(&fs::read(path.join(CONFIG)).unwrap()).unwrap();
        assert_eq!(config["architectures"][0], "LlamaForSequenceClassification");
        assert_eq!(config["id2label"], json!({"0": "LABEL_0"}));
        assert_eq!((&config["mean"], &config["std"]), (&json!(0.25), &json!(0.5)));
        let weights = Weights::from_folder(&path).unwrap();
        let names: Vec<&str> = weights.names().collect();
        assert!(names.contains(&SCORE) && names.contains(&"model.embed_tokens.weight"));
        assert!(names.iter().all(|name| *name == SCORE || name.starts_with("model.")), "{names:?}");
    }

    /// The rows of the fixture are filled up with token 0, which is its end-of-turn token.
    #[test]
    fn the_padding_token_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        model().save(&path).unwrap();
        let dialogues = [dialogue("a"), dialogue("good bad a b c"), dialogue("b c")];
        let expected = model().reward(&dialogues).unwrap();
        let config = fs::read(path.join(CONFIG)).unwrap();
        for pad in [json!(null), json!(-1), json!(0), json!(2), json!(8)] {
            let mut config: serde_json::Value = serde_json::from_slice(&config).unwrap();
            config["pad_token_id"] = pad;
            fs::write(path.join(CONFIG), config.to_string()).unwrap();
            let padded = read(&path).unwrap();
            assert_eq!(padded.reward(&dialogues).unwrap(), expected);
            for (dialogue, expected) in dialogues.iter().zip(&expected) {
                let alone = padded.reward(std::slice::from_ref(dialogue)).unwrap()[0];
                assert!((alone - expected).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn names_what_is_wrong_with_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        model().save(&path).unwrap();
        let config = fs::read_to_string(path.join(CONFIG)).unwrap();
        let with = |from: &str, to: &str| {
            assert!(config.contains(from), "{config}");
            fs::write(path.join(CONFIG), config.replace(from, to)).unwrap();
            read(&path).map_err(|error| error.to_string())
        };
        let cases = [
            ("LlamaForSequenceClassification", "LlamaForCausalLM", "`architectures`"),
            (r#""mean": 0.25"#, r#""mean": "a""#, r#"`mean` is "a", expected a number"#),
            (r#""std": 0.5"#, r#""std": 0.0"#, "`std` is 0.0, expected a number above 0"),
        ];
        for (from, to, part) in cases {
            let message = with(from, to).unwrap_err();
            assert!(message.contains(part) && message.contains(CONFIG), "{message}");
        }
        let foreign = with(r#""mean": 0.25"#, r#""average": 0.25"#).unwrap();
        assert!(foreign.normalisation().mean.abs() < 1e-12);
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        let long = dialogue(&["a"; 20].join(" "));
        let error = model().reward(&[dialogue("a"), long.clone()]).unwrap_err();
        let id = long.id();
        assert!(
            matches!(&error, ModelError::TooLong { id: found, tokens: 25, context: 16, .. } if *found == id),
            "{error}"
        );
        let mut config = model_config();
        config.vocab_size = 5;
        let decoder = Decoder::<Flex>::init(&config, 1, &FlexDevice);
        let small = ScalarModel::new(decoder, ScalarHead::zeros(16, &FlexDevice));
        let small = PreferenceModel::new(small, codec(), Normalisation::default());
        let message = small.reward(&[dialogue("a")]).unwrap_err().to_string();
        assert!(message.contains("token 8") && message.contains("5 tokens"), "{message}");
        let message =
            model().reward(&[dialogue("a"), Dialogue::default()]).unwrap_err().to_string();
        assert!(message.contains("dialogue 1 has no tokens"), "{message}");
        let damaged = Normalisation { mean: f64::NAN, std: 1.0 };
        let damaged = PreferenceModel::new(scalar_model(1), codec(), damaged);
        let error = damaged.reward(&[dialogue("a")]).unwrap_err();
        assert!(matches!(error, ModelError::NotFinite { .. }), "{error}");
    }

    #[test]
    fn evaluates_raw_margins() {
        let model = model();
        let scores = model.reward(&[dialogue("a"), dialogue("b")]).unwrap();
        let margin = f64::from(scores[0] - scores[1]) * 0.5;
        let pairs = [preference("q", "a", "b", 1.0), preference("q", "a", "a", 1.0)];
        let report = model.evaluate(&pairs).unwrap();
        assert_eq!(report.pairs, 1);
        assert!((report.mean_margin - margin).abs() < 1e-5);
        assert!((report.log_loss - (1.0 + (-margin).exp()).ln()).abs() < 1e-5);
        let error = model.evaluate(&pairs[1..]).unwrap_err();
        assert!(matches!(error, Error::NoPreferences { overlong: 0, identical: 1 }), "{error}");
    }
}
