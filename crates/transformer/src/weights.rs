//! Weights as named arrays: safetensors files in and out.

use crate::{Error, files};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// The name of the file that holds all weights.
pub(crate) const WEIGHTS_FILE: &str = "model.safetensors";
/// The name of the file that says which file holds which weights, if there are several.
pub(crate) const INDEX_FILE: &str = "model.safetensors.index.json";

/// The type of the numbers written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bits: what was read or trained comes back exactly.
    #[default]
    F32,
    /// 16 bits: half the size, 11 significant bits.
    F16,
}

impl Precision {
    /// The name that `config.json` uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
        }
    }
}

/// One array of numbers in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Sizes of the dimensions.
    pub shape: Vec<usize>,
    /// The numbers.
    pub data: Vec<f32>,
}

/// Named arrays, the contents of one or several safetensors files.
///
/// A reader takes what it needs with [`Weights::take`] and then calls [`Weights::finish`], so that neither a missing
/// nor a superfluous tensor goes unnoticed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Weights {
    file: String,
    arrays: BTreeMap<String, Array>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

impl Weights {
    /// Reads the contents of a safetensors file; `file` names it in errors. F16 and BF16 become F32.
    ///
    /// # Errors
    /// [`Error::Safetensors`] if the bytes are cut short or damaged, [`Error::NumberType`] if a tensor holds other
    /// numbers.
    pub fn from_bytes(bytes: &[u8], file: &str) -> Result<Self, Error> {
        let parsed = SafeTensors::deserialize(bytes).map_err(|error| Error::Safetensors {
            file: file.to_owned(),
            message: error.to_string(),
        })?;
        let mut weights = Self { file: file.to_owned(), arrays: BTreeMap::new() };
        for (name, view) in parsed.iter() {
            let data = numbers(&view).ok_or_else(|| Error::NumberType {
                file: file.to_owned(),
                name: name.to_owned(),
                found: format!("{:?}", view.dtype()),
            })?;
            weights.insert(name, Array { shape: view.shape().to_vec(), data });
        }
        Ok(weights)
    }

    /// Reads a safetensors file.
    ///
    /// # Errors
    /// [`Error::Read`], or those of [`Weights::from_bytes`].
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let bytes = files::read(path)?;
        Self::from_bytes(&bytes, &path.display().to_string())
    }

    /// Reads `model.safetensors` of a model folder, or the files that `model.safetensors.index.json` names.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Json`] for the index, or those of [`Weights::from_bytes`].
    pub fn from_folder(folder: &Path) -> Result<Self, Error> {
        let index = folder.join(INDEX_FILE);
        let single = folder.join(WEIGHTS_FILE);
        if single.exists() || !index.exists() {
            return Self::from_file(&single);
        }
        let file = index.display().to_string();
        let text = files::read(&index)?;
        let Index { weight_map } = serde_json::from_slice(&text)
            .map_err(|source| Error::Json { file: file.clone(), source })?;
        let mut weights = Self { file, arrays: BTreeMap::new() };
        for part in weight_map.into_values().collect::<BTreeSet<_>>() {
            weights.arrays.extend(Self::from_file(&folder.join(part))?.arrays);
        }
        Ok(weights)
    }

    /// Adds an array, or replaces the one of this name.
    pub fn insert(&mut self, name: impl Into<String>, array: Array) {
        self.arrays.insert(name.into(), array);
    }

    /// The array of this name.
    pub fn get(&self, name: &str) -> Option<&Array> {
        self.arrays.get(name)
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.arrays.keys().map(String::as_str)
    }

    /// Removes and gives the numbers of an array that must have this shape.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::TensorShape`].
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let Some(array) = self.arrays.remove(name) else {
            return Err(Error::MissingTensor {
                file: self.file.clone(),
                name: name.to_owned(),
                expected: shape.to_vec(),
            });
        };
        if array.shape != shape {
            return Err(Error::TensorShape {
                file: self.file.clone(),
                name: name.to_owned(),
                expected: shape.to_vec(),
                found: array.shape,
            });
        }
        Ok(array.data)
    }

    /// Removes an array if there is one.
    pub(crate) fn discard(&mut self, name: &str) {
        self.arrays.remove(name);
    }

    /// Checks that everything was taken.
    ///
    /// # Errors
    /// [`Error::UnexpectedTensor`] names the first array left.
    pub fn finish(self) -> Result<(), Error> {
        // Older files also hold the rotary frequencies, which follow from the configuration.
        let left = self.arrays.into_iter().find(|(name, _)| !name.ends_with("rotary_emb.inv_freq"));
        match left {
            None => Ok(()),
            Some((name, array)) => {
                Err(Error::UnexpectedTensor { file: self.file, name, found: array.shape })
            }
        }
    }

    /// The contents of a safetensors file.
    ///
    /// # Errors
    /// [`Error::Safetensors`] if an array's numbers do not fill its shape.
    pub fn to_bytes(&self, precision: Precision) -> Result<Vec<u8>, Error> {
        let arrays = self.arrays.iter().map(|(name, array)| (name, Written { array, precision }));
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::serialize(arrays, Some(metadata)).map_err(|error| Error::Safetensors {
            file: WEIGHTS_FILE.to_owned(),
            message: error.to_string(),
        })
    }

    /// Writes a safetensors file; it appears whole or not at all.
    ///
    /// # Errors
    /// [`Error::Write`], or that of [`Weights::to_bytes`].
    pub fn save(&self, path: &Path, precision: Precision) -> Result<(), Error> {
        files::write(path, &self.to_bytes(precision)?)
    }
}

/// An array on its way to a file.
struct Written<'a> {
    array: &'a Array,
    precision: Precision,
}

impl safetensors::View for Written<'_> {
    fn dtype(&self) -> Dtype {
        match self.precision {
            Precision::F32 => Dtype::F32,
            Precision::F16 => Dtype::F16,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.array.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let data = &self.array.data;
        Cow::Owned(match self.precision {
            Precision::F32 => data.iter().flat_map(|number| number.to_le_bytes()).collect(),
            Precision::F16 => {
                data.iter().flat_map(|&number| f16::from_f32(number).to_le_bytes()).collect()
            }
        })
    }

    fn data_len(&self) -> usize {
        let size = match self.precision {
            Precision::F32 => 4,
            Precision::F16 => 2,
        };
        self.array.data.len() * size
    }
}

/// The numbers of a tensor, or nothing if they are of a type that is not read.
fn numbers(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let bytes = view.data();
    let pairs = || bytes.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
    match view.dtype() {
        Dtype::F32 => Some(
            bytes
                .chunks_exact(4)
                .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
                .collect(),
        ),
        Dtype::F16 => Some(pairs().map(|pair| f16::from_le_bytes(pair).to_f32()).collect()),
        Dtype::BF16 => Some(pairs().map(|pair| bf16::from_le_bytes(pair).to_f32()).collect()),
        _ => None,
    }
}
