//! The preference model.

use crate::folder::{CONFIG, ModelFolder};
use crate::pairs::{Pair, Pairs};
use crate::read::{read_dialogues, rewards};
use crate::scores::{Measured, SCORED_TOKENS};
use crate::{Error, Normalisation, Report, Source};
use burn::module::Module;
use burn::tensor::backend::Backend;
use dialogue::{Dialogue, Preference};
use language_model::{Error as ModelError, Reward};
use std::path::Path;
use training::{Fingerprint, Overlong};
use transformer::{Codec, ScalarModel, fingerprint_of};

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
    /// Puts the parts together.
    pub fn new(model: ScalarModel<B>, codec: Codec, normalisation: Normalisation) -> Self {
        Self { model: model.no_grad(), codec, normalisation }
    }

    /// The network, whose scores are raw: what a value function may begin as. A clone shares the weights, which ask for no
    /// gradients; [`crate::Start`] lets them learn again.
    pub fn scalar_model(&self) -> &ScalarModel<B> {
        &self.model
    }

    /// The text side.
    pub fn codec(&self) -> &Codec {
        &self.codec
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
        evaluate(&self.codec, &self.model, preferences, |rows| {
            self.model.scores(rows, SCORED_TOKENS).into_iter().map(f64::from).collect()
        })
    }

    /// Reads a model folder that [`PreferenceModel::save`] wrote, or any other model with one label.
    ///
    /// A folder without `mean` and `std` in its `config.json` gets rewards that are raw scores.
    ///
    /// # Errors
    /// If a file is missing, damaged or not that of a model with one score.
    pub fn from_folder(path: impl AsRef<Path>, device: &B::Device) -> Result<Self, Error> {
        let path = path.as_ref();
        let mut folder = ModelFolder::read(path, device)?;
        match (folder.members.pop(), folder.combination) {
            (Some((model, normalisation)), None) => {
                Ok(Self::new(model, folder.codec, normalisation))
            }
            _ => Err(Error::NotPreferenceModel {
                file: path.join(CONFIG).display().to_string(),
                key: "id2label",
                found: "a list of several scores".to_owned(),
                expected: "one; an `Ensemble` reads several",
            }),
        }
    }

    /// Writes a model folder that `transformers` opens as a sequence classifier with one label, of the family that it is.
    ///
    /// Its logit is the raw score; `mean` and `std` in `config.json` turn it into the reward.
    ///
    /// # Errors
    /// If the folder cannot be written, or something other than a model folder stands there.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let members = vec![(self.model.clone(), self.normalisation)];
        ModelFolder { members, codec: self.codec.clone(), combination: None }.write(path.as_ref())
    }

    /// Adds everything that decides a reward to a hash.
    pub(crate) fn hashed(&self, hash: Fingerprint) -> Fingerprint {
        let hash = hash
            .with("weights", &fingerprint_of(&self.model))
            .with("normalisation", &self.normalisation);
        let text_side = self.codec.files();
        text_side.iter().fold(hash, |hash, (name, bytes)| hash.with_bytes(name, bytes))
    }
}

impl<B: Backend> Reward for PreferenceModel<B> {
    fn reward(&self, dialogues: &[Dialogue]) -> Result<Vec<f32>, ModelError> {
        let rows = read_dialogues(&self.codec, self.model.decoder().config(), dialogues)?;
        let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        let scores = self.model.scores(&rows, SCORED_TOKENS).into_iter().map(f64::from);
        rewards(dialogues, scores, self.normalisation)
    }

    /// A hash of weights, normalisation, tokenizer and chat template.
    fn fingerprint(&self) -> Option<String> {
        Some(self.hashed(Fingerprint::default()).finish())
    }
}

/// How well the scores that `score` gives rows of tokens agree with preferences.
pub(crate) fn evaluate<B: Backend>(
    codec: &Codec,
    model: &ScalarModel<B>,
    preferences: &[Preference],
    score: impl FnOnce(&[&[u32]]) -> Vec<f64>,
) -> Result<Report, Error> {
    let sources = [Source::new(PREFERENCES, preferences)];
    let pairs = Pairs::new(codec, model.decoder().config(), &sources, Overlong::Error)?;
    let all: Vec<&Pair> = pairs.kept.iter().collect();
    let measured = Measured::of(&all);
    let scores = score(&measured.tokens(&pairs));
    measured.report(&scores, &pairs, &all)?.ok_or_else(|| pairs.none_left())
}

/// What a single set of preferences is called where sets have names.
pub(crate) const PREFERENCES: &str = "preferences";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::SCORE;
    use crate::testing::{codec, model_config, preference, scalar_model};
    use burn_flex::{Flex, FlexDevice};
    use serde_json::json;
    use std::fs;
    use transformer::{Decoder, ScalarHead, Weights};

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

    fn change(path: &Path, change: impl FnOnce(&mut serde_json::Value)) {
        let mut value: serde_json::Value =
            serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        change(&mut value);
        fs::write(path, value.to_string()).unwrap();
    }

    /// The rows of the fixture are filled up with token 0, which is its end-of-turn token.
    #[test]
    fn neither_padding_nor_batch_matters() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        model().save(&path).unwrap();
        let dialogues = [dialogue("a"), dialogue("good bad a b c"), dialogue("b c")];
        let expected = model().reward(&dialogues).unwrap();
        for pad in [json!(null), json!(-1), json!(0), json!(2), json!(8)] {
            for side in ["left", "right"] {
                change(&path.join(CONFIG), |config| {
                    config["pad_token_id"] = pad.clone();
                    config["eos_token_id"] = json!(0);
                });
                // A tokenizer that fills up and cuts short, as many published ones were saved.
                change(&path.join("tokenizer.json"), |tokenizer| {
                    let direction = if side == "left" { "Left" } else { "Right" };
                    tokenizer["padding"] = json!({
                        "strategy": {"Fixed": 14}, "direction": direction, "pad_to_multiple_of": null,
                        "pad_id": 0, "pad_type_id": 0, "pad_token": "<end>",
                    });
                    tokenizer["truncation"] = json!({
                        "direction": direction, "max_length": 4, "strategy": "LongestFirst", "stride": 0,
                    });
                });
                change(&path.join("tokenizer_config.json"), |config| {
                    config["padding_side"] = json!(side);
                    config["pad_token"] = json!("<end>");
                });
                let padded = read(&path).unwrap();
                assert_eq!(padded.reward(&dialogues).unwrap(), expected);
                for (dialogue, expected) in dialogues.iter().zip(&expected) {
                    let alone = padded.reward(std::slice::from_ref(dialogue)).unwrap()[0];
                    assert!((alone - expected).abs() < 1e-5);
                }
                let many: Vec<Dialogue> = dialogues.iter().cycle().take(99).cloned().collect();
                let together = padded.reward(&many).unwrap();
                for (found, expected) in together.iter().zip(expected.iter().cycle()) {
                    assert!((found - expected).abs() < 1e-5);
                }
            }
        }
    }

    /// A token that is said at the end of a reply is read, also if rows are filled up with it.
    #[test]
    fn the_score_is_read_behind_a_padding_token_that_was_said() {
        let model = model();
        let tokens = model.codec.encode_dialogue(&dialogue("a")).unwrap().tokens;
        assert_eq!(tokens.last(), Some(&0));
        let [whole, cut] = [tokens.as_slice(), &tokens[..tokens.len() - 1]];
        let scores = model.model.scores(&[whole, cut, &[1, 8, 0, 2, 4, 5, 6, 7, 0]], 100);
        assert!((scores[0] - scores[1]).abs() > 1e-3, "{scores:?}");
        let alone = model.model.scores(&[whole], 100)[0];
        assert!((scores[0] - alone).abs() < 1e-5);
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
