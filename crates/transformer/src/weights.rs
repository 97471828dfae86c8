//! Weights as named arrays: safetensors files in and out.

use crate::index::Index;
use crate::shard::{self, Stored};
use crate::{Error, files};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensorError};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::Path;

/// The name of the file that holds all weights.
pub(crate) const WEIGHTS_FILE: &str = "model.safetensors";
/// The name of the file that says which file holds which weights, if there are several.
pub(crate) const INDEX_FILE: &str = "model.safetensors.index.json";
/// What to do about a folder without safetensors files.
pub(crate) const SAVE_AS_SAFETENSORS: &str =
    "save the weights there as safetensors with `model.save_pretrained(folder)`";

/// The type of the numbers written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bits: what was read or trained comes back exactly.
    #[default]
    F32,
    /// 16 bits: half the size, 11 significant bits.
    F16,
    /// 16 bits: half the size, 8 significant bits and the range of 32 bits.
    Bf16,
}

impl Precision {
    /// The name that `config.json` uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
        }
    }

    fn number_type(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
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
/// Files are mapped into memory, and numbers become F32 only when their tensor is taken, so that reading a model needs
/// the memory of the model and of one tensor. The system reads a mapped file as it is needed: nobody may cut it short or
/// write into it meanwhile. A file that is replaced by renaming another over it, as everything here is written, stays
/// what it was for whoever has it open.
///
/// A reader takes what it needs with [`Weights::take`] and then calls [`Weights::finish`], so that neither a missing
/// nor a superfluous tensor goes unnoticed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Weights {
    file: String,
    tensors: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone)]
enum Entry {
    Array(Array),
    Stored(Stored),
}

impl Entry {
    fn shape(&self) -> &[usize] {
        match self {
            Self::Array(array) => &array.shape,
            Self::Stored(stored) => stored.shape(),
        }
    }

    fn array(&self) -> Option<Array> {
        match self {
            Self::Array(array) => Some(array.clone()),
            Self::Stored(stored) => stored.array(),
        }
    }
}

/// Equal numbers of equal shape, in files or not; tensors whose numbers are not read are unequal.
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.shape() == other.shape()
            && match (self, other) {
                (Self::Array(left), Self::Array(right)) => left == right,
                _ => self.array().is_some_and(|array| Some(array) == other.array()),
            }
    }
}

impl Weights {
    /// Reads the contents of a safetensors file; `file` names it in errors.
    ///
    /// # Errors
    /// [`Error::Safetensors`] if the bytes are cut short or damaged.
    pub fn from_bytes(bytes: impl Into<Cow<'static, [u8]>>, file: &str) -> Result<Self, Error> {
        let tensors = stored(shard::hold(bytes.into(), file)?);
        Ok(Self { file: file.to_owned(), tensors })
    }

    /// Opens a safetensors file.
    ///
    /// # Errors
    /// [`Error::Read`], or those of [`Weights::from_bytes`].
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        Ok(Self { file: path.display().to_string(), tensors: stored(shard::open(path)?) })
    }

    /// Opens `model.safetensors` of a model folder, or the files that `model.safetensors.index.json` names.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::MissingFile`] if there is no such file, [`Error::Json`], [`Error::ShardName`],
    /// [`Error::MissingShard`], [`Error::TensorPlace`] or [`Error::TensorTwice`] if the index does not describe the files
    /// beside it, or those of [`Weights::from_bytes`].
    pub fn from_folder(folder: &Path) -> Result<Self, Error> {
        let index = folder.join(INDEX_FILE);
        let single = folder.join(WEIGHTS_FILE);
        if files::there(&single) || !folder.is_dir() {
            Self::from_file(&single)
        } else if files::there(&index) {
            Self::from_shards(folder, &index)
        } else {
            let (folder, advice) = (folder.to_owned(), SAVE_AS_SAFETENSORS);
            Err(Error::MissingFile { folder, file: WEIGHTS_FILE, advice })
        }
    }

    fn from_shards(folder: &Path, index: &Path) -> Result<Self, Error> {
        let file = index.display().to_string();
        let index = Index::from_file(index)?;
        let mut tensors = BTreeMap::new();
        for shard in index.shards() {
            let missing = || Error::MissingShard { file: file.clone(), shard: shard.to_owned() };
            let opened = shard::open(&folder.join(shard)).map_err(|error| match error {
                Error::Read { source, .. } if source.kind() == ErrorKind::NotFound => missing(),
                other => other,
            })?;
            join(&mut tensors, opened)?;
        }
        for (name, shard) in index.weight_map {
            let found = tensors.get(&name).map(Stored::file);
            if found != Some(&folder.join(&shard).display().to_string()) {
                let found = found.map(str::to_owned);
                return Err(Error::TensorPlace { file, name, shard, found });
            }
        }
        Ok(Self { file, tensors: stored(tensors) })
    }

    /// Adds an array, or replaces the one of this name.
    pub fn insert(&mut self, name: impl Into<String>, array: Array) {
        self.tensors.insert(name.into(), Entry::Array(array));
    }

    /// The array of this name, if there is one and its numbers are of a type that is read. A tensor that is still in
    /// its file is read at every call; [`Weights::shape`] does not read it.
    pub fn get(&self, name: &str) -> Option<Array> {
        self.tensors.get(name)?.array()
    }

    /// The shape of the array of this name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(Entry::shape)
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Removes and gives the numbers of an array that must have this shape. F16 and BF16 become F32.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::TensorShape`], [`Error::NumberType`] if the tensor holds other numbers.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let Some(entry) = self.tensors.remove(name) else {
            return Err(Error::MissingTensor {
                file: self.file.clone(),
                name: name.to_owned(),
                expected: shape.to_vec(),
            });
        };
        if entry.shape() != shape {
            return Err(Error::TensorShape {
                file: self.file_of(&entry),
                name: name.to_owned(),
                expected: shape.to_vec(),
                found: entry.shape().to_vec(),
            });
        }
        match entry {
            Entry::Array(array) => Ok(array.data),
            Entry::Stored(stored) => stored.numbers().ok_or_else(|| number_type(name, &stored)),
        }
    }

    /// Removes an array if there is one.
    pub(crate) fn discard(&mut self, name: &str) {
        self.tensors.remove(name);
    }

    /// Checks that everything was taken.
    ///
    /// # Errors
    /// [`Error::UnexpectedTensor`] names the first array left.
    pub fn finish(self) -> Result<(), Error> {
        // Older files also hold the rotary frequencies, which follow from the configuration.
        let left = self.tensors.iter().find(|(name, _)| !name.ends_with("rotary_emb.inv_freq"));
        match left {
            None => Ok(()),
            Some((name, entry)) => Err(Error::UnexpectedTensor {
                file: self.file_of(entry),
                name: name.clone(),
                found: entry.shape().to_vec(),
            }),
        }
    }

    /// The contents of a safetensors file.
    ///
    /// # Errors
    /// [`Error::Safetensors`] if an array's numbers do not fill its shape, [`Error::NumberType`] if a tensor that was
    /// read holds numbers other than F32, F16 and BF16.
    pub fn to_bytes(&self, precision: Precision) -> Result<Vec<u8>, Error> {
        safetensors::serialize(self.written(precision)?, Some(metadata()))
            .map_err(|error| not_writable(Path::new(WEIGHTS_FILE), error))
    }

    /// Writes a safetensors file, one tensor after the other; it appears whole or not at all.
    ///
    /// # Errors
    /// [`Error::Write`], or those of [`Weights::to_bytes`].
    pub fn save(&self, path: &Path, precision: Precision) -> Result<(), Error> {
        let tensors = self.written(precision)?;
        files::write_with(path, |unfinished| {
            safetensors::serialize_to_file(tensors, Some(metadata()), unfinished)
                .map_err(|error| not_writable(path, error))
        })
    }

    fn written(&self, precision: Precision) -> Result<Vec<(&String, Written<'_>)>, Error> {
        let entries = self.tensors.iter();
        let written = entries.map(|(name, entry)| match entry {
            Entry::Stored(stored) if !stored.is_read() => Err(number_type(name, stored)),
            _ => Ok((name, Written { entry, precision })),
        });
        written.collect()
    }

    fn file_of(&self, entry: &Entry) -> String {
        match entry {
            Entry::Array(_) => self.file.clone(),
            Entry::Stored(stored) => stored.file().to_owned(),
        }
    }
}

fn stored(tensors: BTreeMap<String, Stored>) -> BTreeMap<String, Entry> {
    tensors.into_iter().map(|(name, stored)| (name, Entry::Stored(stored))).collect()
}

/// Adds the tensors of a file to those of others.
fn join(
    tensors: &mut BTreeMap<String, Stored>,
    added: BTreeMap<String, Stored>,
) -> Result<(), Error> {
    for (name, second) in added {
        if let Some(first) = tensors.get(&name) {
            let (first, second) = (first.file().to_owned(), second.file().to_owned());
            return Err(Error::TensorTwice { name, first, second });
        }
        tensors.insert(name, second);
    }
    Ok(())
}

fn number_type(name: &str, stored: &Stored) -> Error {
    Error::NumberType {
        file: stored.file().to_owned(),
        name: name.to_owned(),
        found: stored.number_type().to_string(),
    }
}

/// What `transformers` wants to find in a file.
fn metadata() -> HashMap<String, String> {
    HashMap::from([("format".to_owned(), "pt".to_owned())])
}

fn not_writable(path: &Path, error: SafeTensorError) -> Error {
    match error {
        SafeTensorError::IoError(source) => Error::Write { path: path.to_owned(), source },
        other => {
            Error::Safetensors { file: path.display().to_string(), message: other.to_string() }
        }
    }
}

/// An array on its way to a file.
struct Written<'a> {
    entry: &'a Entry,
    precision: Precision,
}

impl safetensors::View for Written<'_> {
    fn dtype(&self) -> Dtype {
        self.precision.number_type()
    }

    fn shape(&self) -> &[usize] {
        self.entry.shape()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match self.entry {
            Entry::Stored(stored) if stored.number_type() == self.dtype() => stored.bytes().into(),
            Entry::Stored(stored) => bytes(&stored.numbers().unwrap_or_default(), self.precision),
            Entry::Array(array) => bytes(&array.data, self.precision),
        }
    }

    fn data_len(&self) -> usize {
        let numbers = match self.entry {
            Entry::Stored(stored) => stored.len(),
            Entry::Array(array) => array.data.len(),
        };
        numbers * self.dtype().bitsize() / 8
    }
}

fn bytes(numbers: &[f32], precision: Precision) -> Cow<'static, [u8]> {
    let numbers = numbers.iter().copied();
    match precision {
        Precision::F32 => numbers.flat_map(f32::to_le_bytes).collect(),
        Precision::F16 => numbers.flat_map(|n| f16::from_f32(n).to_le_bytes()).collect(),
        Precision::Bf16 => numbers.flat_map(|n| bf16::from_f32(n).to_le_bytes()).collect(),
    }
}
