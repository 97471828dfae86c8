//! Adapters in the format of PEFT: `adapter_config.json` and `adapter_model.safetensors`.

use crate::assemble::Part;
use crate::config::Family;
use crate::decoder::Decoder;
use crate::folder::write_folder_of;
use crate::hugging_face::{Layout, array};
use crate::linear::Adapter;
use crate::lora::LoraConfig;
use crate::names::name;
use crate::weights::{Array, Precision, Weights};
use crate::{Error, files};
use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::Path;

const CONFIG_FILE: &str = "adapter_config.json";
const WEIGHTS_FILE: &str = "adapter_model.safetensors";

/// What PEFT puts in front of the names of the model.
const BASE: &str = "base_model.model.";

impl<B: Backend> Decoder<B> {
    /// Reads an adapter of PEFT onto this model and freezes everything else. An adapter that was there is dropped.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Json`], [`Error::Unsupported`] for kinds of adapters that are not run,
    /// [`Error::Config`], and those of weights that do not fit: [`Error::MissingTensor`], [`Error::TensorShape`],
    /// [`Error::UnexpectedTensor`].
    pub fn with_adapter_from(self, folder: impl AsRef<Path>) -> Result<Self, Error> {
        let folder = folder.as_ref();
        let path = folder.join(CONFIG_FILE);
        let file = path.display().to_string();
        let values: Map<String, Value> = serde_json::from_slice(&files::read(&path)?)
            .map_err(|source| Error::Json { file: file.clone(), source })?;
        let mut config = read_config(&values, &file)?;
        let mut weights = Weights::from_file(&folder.join(WEIGHTS_FILE))?;
        let mut decoder = self.without_adapter().no_grad();
        let model = decoder.config.clone();
        let device = decoder.device();
        let mut corrected = BTreeSet::new();
        for (part, map) in decoder.linear_maps_mut() {
            let names = Names::of(model.family, part);
            if weights.shape(&names.a).is_none() && weights.shape(&names.b).is_none() {
                continue;
            }
            let name = name(model.family, part);
            corrected.insert(name.rsplit('.').next().unwrap_or_default().to_owned());
            let ([from, to], dtype) = (map.weight.val().dims(), map.weight.val().dtype());
            let rank = config.rank;
            let a = Layout::of_adapter(&model, None);
            let a = a.read(weights.take(&names.a, &[rank, from])?, [from, rank]);
            let b = Layout::of_adapter(&model, Some(part));
            let b = b.read(weights.take(&names.b, &[to, rank])?, [rank, to]);
            let tensor = |data: Vec<f32>, shape: [usize; 2]| {
                Tensor::<B, 2>::from_data(TensorData::new(data, shape), &device).cast(dtype)
            };
            map.adapter = Some(Adapter {
                a: Param::from_tensor(tensor(a, [from, rank])),
                b: Param::from_tensor(tensor(b, [rank, to])),
                scale: config.scale(),
            });
        }
        if corrected.is_empty() {
            let part = Part::Layer(0, crate::assemble::LayerPart::AttentionOutput);
            let name = Names::of(model.family, part).a;
            let expected = vec![config.rank, model.query_width()];
            let file = folder.join(WEIGHTS_FILE).display().to_string();
            return Err(Error::MissingTensor { file, name, expected });
        }
        weights.finish()?;
        let listed = values.get("target_modules").is_some_and(Value::is_array);
        if !listed {
            // A text is a pattern; what it meant is known now.
            config.target_modules = corrected.into_iter().collect();
        }
        decoder.adapter = Some(config);
        Ok(decoder)
    }

    /// Writes the adapter alone as a folder that PEFT opens on top of `base_model`, the folder or the name of the model
    /// under it. It appears whole or not at all.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] if there is none, [`Error::Occupied`] if something else than an adapter stands there,
    /// [`Error::Write`].
    pub fn save_adapter(&self, folder: impl AsRef<Path>, base_model: &str) -> Result<(), Error> {
        let Some(config) = &self.adapter else { return Err(Error::NoAdapter) };
        let mut decoder = self.clone();
        let mut weights = Weights::default();
        let model = self.config.clone();
        for (part, map) in decoder.linear_maps_mut() {
            let Some(Adapter { a, b, .. }) = &map.adapter else { continue };
            let names = Names::of(model.family, part);
            let to_file = |layout: Layout, array: Array| layout.to_file(array);
            weights.insert(names.a, to_file(Layout::of_adapter(&model, None), array(a.val())));
            weights
                .insert(names.b, to_file(Layout::of_adapter(&model, Some(part)), array(b.val())));
        }
        let mut json = serde_json::to_vec_pretty(&written_config(config, model.family, base_model))
            .unwrap_or_default();
        json.push(b'\n');
        let weights = weights.to_bytes(Precision::F32)?;
        write_folder_of(folder, CONFIG_FILE, &[(CONFIG_FILE, &json), (WEIGHTS_FILE, &weights)])
    }
}

/// The names of the two matrices of an adapter.
struct Names {
    a: String,
    b: String,
}

impl Names {
    fn of(family: Family, part: Part) -> Self {
        let name = name(family, part);
        Self { a: format!("{BASE}{name}.lora_A.weight"), b: format!("{BASE}{name}.lora_B.weight") }
    }
}

/// A key, whether its value is supported, and what is.
type Only = (&'static str, fn(&Value) -> bool, &'static str);

/// Settings under which the adapter would compute something else than it does here.
const ONLY: [Only; 10] = [
    ("peft_type", |value| value == "LORA", "LORA"),
    ("bias", |value| value == "none", "none"),
    ("use_dora", |value| value == false, "false"),
    ("lora_bias", |value| value == false, "false"),
    ("use_qalora", |value| value == false, "false"),
    ("modules_to_save", is_empty, "null"),
    ("rank_pattern", is_empty, "{}"),
    ("alpha_pattern", is_empty, "{}"),
    ("trainable_token_indices", is_empty, "null"),
    ("layers_to_transform", is_empty, "null"),
];

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
        _ => false,
    }
}

fn read_config(values: &Map<String, Value>, file: &str) -> Result<LoraConfig, Error> {
    for (key, is_supported, supported) in ONLY {
        match values.get(key) {
            None | Some(Value::Null) => {}
            Some(value) if is_supported(value) => {}
            Some(value) => {
                return Err(Error::Unsupported {
                    file: file.to_owned(),
                    key: key.to_owned(),
                    found: value.to_string(),
                    supported: supported.to_owned(),
                });
            }
        }
    }
    let wrong = |key: &str, expected: &str| Error::Config {
        file: file.to_owned(),
        key: key.to_owned(),
        found: values.get(key).map_or("missing".to_owned(), Value::to_string),
        expected: expected.to_owned(),
    };
    let rank = values.get("r").and_then(Value::as_u64).and_then(|rank| usize::try_from(rank).ok());
    let rank = rank.filter(|&rank| rank > 0 && rank <= 1 << 20);
    let alpha = values.get("lora_alpha").and_then(Value::as_f64);
    let target_modules = match values.get("target_modules") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => {
            many.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect()
        }
        _ => return Err(wrong("target_modules", "a list of names")),
    };
    Ok(LoraConfig {
        rank: rank.ok_or_else(|| wrong("r", "a whole number above 0"))?,
        alpha: alpha
            .filter(|alpha| alpha.is_finite() && *alpha > 0.0)
            .ok_or_else(|| wrong("lora_alpha", "a number above 0"))?,
        target_modules,
        rank_stabilised: values.get("use_rslora").and_then(Value::as_bool).unwrap_or(false),
    })
}

fn written_config(config: &LoraConfig, family: Family, base_model: &str) -> Value {
    // PEFT reads `all-linear` as a text of its own.
    let targets = match config.target_modules.as_slice() {
        [one] if one == "all-linear" => json!(one),
        many => json!(many),
    };
    json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "r": config.rank,
        "lora_alpha": config.alpha,
        "target_modules": targets,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": family == Family::Gpt2,
        "use_rslora": config.rank_stabilised,
        "inference_mode": true,
    })
}
