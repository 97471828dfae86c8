//! Preference models in Hugging Face folders.

use crate::padding::name_padding;
use crate::{Combine, Error, Normalisation};
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;
use transformer::{
    Architecture, Array, Codec, Decoder, ModelConfig, Precision, ScalarHead, ScalarModel, Weights,
    write_folder,
};

pub(crate) const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
pub(crate) const SCORE: &str = "score.weight";
/// The keys of `config.json` that hold the normalisation: a number, or a list of one for every head.
const MEAN: &str = "mean";
const STD: &str = "std";
/// The key of `config.json` that says how the heads become one reward, if there are several.
const ENSEMBLE: &str = "ensemble";

/// How several scores become one reward.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Combination {
    pub(crate) combine: Combine,
    /// Of the combined scores.
    #[serde(flatten)]
    pub(crate) normalisation: Normalisation,
}

/// The heads of one trunk, with what makes rewards of them.
pub(crate) struct ModelFolder<B: Backend> {
    pub(crate) members: Vec<(ScalarModel<B>, Normalisation)>,
    pub(crate) codec: Codec,
    /// None of a single head.
    pub(crate) combination: Option<Combination>,
}

impl<B: Backend> ModelFolder<B> {
    /// Writes a folder that `transformers` opens as a sequence classifier with one label for every head.
    ///
    /// All members must have the trunk of the first. The padding token may be another than that of the trunk, see
    /// [`name_padding`].
    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        let Some((first, _)) = self.members.first() else { return Ok(()) };
        let precision = Precision::F32;
        let mut weights = first.decoder().weights();
        let score: Vec<f32> = self
            .members
            .iter()
            .flat_map(|(model, _)| model.head().weight().into_data().iter().collect::<Vec<f32>>())
            .collect();
        let shape = vec![self.members.len(), score.len() / self.members.len()];
        weights.insert(SCORE, Array { shape, data: score });
        let mut text_side = self.codec.files();
        let mut config = first.decoder().config().clone();
        name_padding(&self.codec, &mut config, &mut text_side)?;
        let config = self.config(config, precision)?;
        let model_side = [(CONFIG, config.into_bytes()), (WEIGHTS, weights.to_bytes(precision)?)];
        let files: Vec<(&str, &[u8])> = model_side
            .iter()
            .chain(&text_side)
            .map(|(name, bytes)| (*name, bytes.as_slice()))
            .collect();
        Ok(write_folder(path, &files)?)
    }

    /// The text of `config.json`.
    fn config(&self, mut config: ModelConfig, precision: Precision) -> Result<String, Error> {
        let number = |of: fn(&Normalisation) -> f64| match self.members.as_slice() {
            [(_, only)] => json!(of(only)),
            several => several.iter().map(|(_, one)| of(one)).collect(),
        };
        config.other.insert(MEAN.to_owned(), number(|one| one.mean));
        config.other.insert(STD.to_owned(), number(|one| one.std));
        config.other.remove(ENSEMBLE);
        if let Some(combination) = self.combination {
            config.other.insert(ENSEMBLE.to_owned(), json!(combination));
        }
        let text = config.to_json(precision.name());
        let heads = self.members.len();
        if heads == 1 {
            return Ok(text);
        }
        let file = || CONFIG.to_owned();
        let mut file: Value = serde_json::from_str(&text)
            .map_err(|source| transformer::Error::Json { file: file(), source })?;
        let label = |head: usize| format!("LABEL_{head}");
        file["id2label"] = (0..heads).map(|head| (head.to_string(), json!(label(head)))).collect();
        file["label2id"] = (0..heads).map(|head| (label(head), json!(head))).collect();
        Ok(format!("{file:#}\n"))
    }

    /// Reads such a folder, or any other sequence classifier with one label, whose rewards are its raw scores.
    pub(crate) fn read(folder: &Path, device: &B::Device) -> Result<Self, Error> {
        let file = folder.join(CONFIG).display().to_string();
        let mut config = ModelConfig::from_folder(folder)?;
        if config.architecture != Architecture::Score {
            return Err(Error::NotPreferenceModel {
                file,
                key: "architectures",
                found: config.family.class(Architecture::CausalLm).to_owned(),
                expected: config.family.class(Architecture::Score),
            });
        }
        let mut weights = Weights::from_folder(folder)?;
        let heads = match weights.shape(SCORE) {
            Some([heads, _]) if *heads > 0 => *heads,
            // Whatever else is there, taking it says what is wrong.
            _ => 1,
        };
        let settings = Settings { config: &config, file };
        let normalisations = settings.normalisations(heads)?;
        let combination = settings.combination(heads)?;
        config.other.remove(ENSEMBLE);
        let decoder = Decoder::from_weights(&config, &mut weights, device)?;
        let width = config.hidden_size;
        let score = weights.take(SCORE, &[heads, width])?;
        weights.finish()?;
        let head = |weight: &[f32]| ScalarHead::from_weight(weight.to_vec(), device);
        let models = score.chunks(width).map(|row| ScalarModel::new(decoder.clone(), head(row)));
        let members = models.zip(normalisations).collect();
        Ok(Self { members, codec: Codec::from_folder(folder)?, combination })
    }
}

/// What `config.json` says beside the shape of the model.
struct Settings<'a> {
    config: &'a ModelConfig,
    file: String,
}

impl Settings<'_> {
    fn wrong(&self, key: &'static str, expected: &'static str) -> Error {
        let found = self.config.other.get(key).map_or("missing".to_owned(), ToString::to_string);
        Error::NotPreferenceModel { file: self.file.clone(), key, found, expected }
    }

    /// One for every head.
    fn normalisations(&self, heads: usize) -> Result<Vec<Normalisation>, Error> {
        let means = self.numbers(MEAN, heads, 0.0, "a number")?;
        let stds = self.numbers(STD, heads, 1.0, "a number above 0")?;
        if stds.iter().any(|&std| std <= 0.0) {
            return Err(self.wrong(STD, "a number above 0"));
        }
        Ok(means.into_iter().zip(stds).map(|(mean, std)| Normalisation { mean, std }).collect())
    }

    /// A number for each head, or `default` for each.
    fn numbers(
        &self,
        key: &'static str,
        heads: usize,
        default: f64,
        expected: &'static str,
    ) -> Result<Vec<f64>, Error> {
        let numbers = match self.config.other.get(key) {
            None => Some(vec![default; heads]),
            Some(Value::Array(list)) => list.iter().map(Value::as_f64).collect(),
            Some(number) => number.as_f64().map(|number| vec![number]),
        };
        match numbers {
            None => Err(self.wrong(key, expected)),
            Some(numbers) if numbers.len() != heads => {
                Err(self.wrong(key, "one number for every row of `score.weight`"))
            }
            Some(numbers) => Ok(numbers),
        }
    }

    fn combination(&self, heads: usize) -> Result<Option<Combination>, Error> {
        if heads == 1 {
            return Ok(None);
        }
        let found = self.config.other.get(ENSEMBLE);
        let combination = found.and_then(|found| Combination::deserialize(found).ok());
        match combination.filter(Combination::is_sound) {
            Some(combination) => Ok(Some(combination)),
            None => Err(self.wrong(ENSEMBLE, "how its several scores become one reward")),
        }
    }
}

impl Combination {
    pub(crate) fn is_sound(&self) -> bool {
        let Normalisation { mean, std } = self.normalisation;
        mean.is_finite() && std.is_finite() && std > 0.0 && self.combine.validate().is_ok()
    }
}
