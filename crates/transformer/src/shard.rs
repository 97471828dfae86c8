//! One safetensors file, open: its bytes, and where each tensor stands in them.

use crate::header::{self, TensorInfo};
use crate::weights::Array;
use crate::{Error, files, mmap};
use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::Dtype;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// The bytes of a file and what errors call it.
struct Shard {
    file: String,
    bytes: Bytes,
}

enum Bytes {
    Held(Cow<'static, [u8]>),
    Mapped(Mmap),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Held(bytes) => bytes,
            Self::Mapped(bytes) => bytes,
        }
    }
}

/// A tensor whose numbers are still in its file.
#[derive(Clone)]
pub(crate) struct Stored {
    shard: Arc<Shard>,
    info: TensorInfo,
}

/// Maps a file and reads its header.
///
/// # Errors
/// [`Error::Read`], [`Error::Safetensors`].
pub(crate) fn open(path: &Path) -> Result<BTreeMap<String, Stored>, Error> {
    let mapped = files::open(path).and_then(|file| mmap::map(&file));
    let bytes = mapped.map_err(|source| Error::Read { path: path.to_owned(), source })?;
    read(Bytes::Mapped(bytes), path.display().to_string())
}

/// Reads the header of a file that is in memory; `file` names it in errors.
///
/// # Errors
/// [`Error::Safetensors`].
pub(crate) fn hold(
    bytes: Cow<'static, [u8]>,
    file: &str,
) -> Result<BTreeMap<String, Stored>, Error> {
    read(Bytes::Held(bytes), file.to_owned())
}

fn read(bytes: Bytes, file: String) -> Result<BTreeMap<String, Stored>, Error> {
    let tensors = match header::read(bytes.as_slice()) {
        Ok(tensors) => tensors,
        Err(message) => return Err(Error::Safetensors { file, message }),
    };
    let shard = Arc::new(Shard { file, bytes });
    let stored = |info| Stored { shard: Arc::clone(&shard), info };
    Ok(tensors.into_iter().map(|(name, info)| (name, stored(info))).collect())
}

impl Stored {
    /// The file that holds the tensor.
    pub(crate) fn file(&self) -> &str {
        &self.shard.file
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.info.shape
    }

    pub(crate) fn number_type(&self) -> Dtype {
        self.info.number_type
    }

    /// How many numbers there are.
    pub(crate) fn len(&self) -> usize {
        self.info.range.len() * 8 / self.info.number_type.bitsize()
    }

    /// Whether the numbers are of a type that is read.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self.info.number_type, Dtype::F32 | Dtype::F16 | Dtype::BF16)
    }

    /// The numbers as they stand in the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        // The header was checked against the file, whose mapping does not change its length.
        self.shard.bytes.as_slice().get(self.info.range.clone()).unwrap_or_default()
    }

    /// The numbers, or nothing if they are of a type that is not read.
    pub(crate) fn numbers(&self) -> Option<Vec<f32>> {
        let bytes = self.bytes();
        let pairs = || bytes.as_chunks().0.iter().copied();
        match self.info.number_type {
            Dtype::F32 => {
                Some(bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect())
            }
            Dtype::F16 => Some(pairs().map(|pair| f16::from_le_bytes(pair).to_f32()).collect()),
            Dtype::BF16 => Some(pairs().map(|pair| bf16::from_le_bytes(pair).to_f32()).collect()),
            _ => None,
        }
    }

    /// The tensor as an array, if its numbers are of a type that is read.
    pub(crate) fn array(&self) -> Option<Array> {
        Some(Array { data: self.numbers()?, shape: self.info.shape.clone() })
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = &self.info;
        formatter
            .debug_struct("Stored")
            .field("file", &self.file())
            .field("number_type", &info.number_type)
            .field("shape", &info.shape)
            .finish_non_exhaustive()
    }
}
