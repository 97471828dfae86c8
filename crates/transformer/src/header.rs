//! The header of a safetensors file, checked before anything else of the file is believed.
//!
//! The reader of `safetensors` 0.7 takes the last of two tensors with the same name, adds sizes that can overflow (a
//! panic where that is checked), and buffers the header in a form many times its size. Files come from strangers, so the
//! header is read here, in one pass into what is kept of it; tests compare the two readers.

use safetensors::Dtype;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// Bytes of the length that stands before the header.
const LENGTH: usize = 8;
/// The largest header that the format allows, in bytes.
const LARGEST_HEADER: usize = 100_000_000;
/// More dimensions than any model uses; a bound on what a line of a hostile header can make us keep.
const MOST_DIMENSIONS: usize = 16;
/// The key that holds notes rather than a tensor.
const NOTES: &str = "__metadata__";

/// Where a tensor's numbers stand in the file, and what they are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TensorInfo {
    pub(crate) number_type: Dtype,
    pub(crate) shape: Vec<usize>,
    /// The place in the whole file, in bytes.
    pub(crate) range: Range<usize>,
}

/// Reads the header at the start of `file`, the bytes of a whole safetensors file.
///
/// The tensors fill the rest of the file without gaps or overlaps, and each has the size that follows from its shape and
/// type. The error says what is wrong, for people.
pub(crate) fn read(file: &[u8]) -> Result<BTreeMap<String, TensorInfo>, String> {
    let (text, numbers_from) = split(file)?;
    let text = std::str::from_utf8(text).map_err(|error| format!("the header is {error}"))?;
    let Header(mut tensors) =
        serde_json::from_str(text).map_err(|error| format!("the header: {error}"))?;
    check(&tensors, file.len() - numbers_from)?;
    for tensor in tensors.values_mut() {
        tensor.range.start += numbers_from;
        tensor.range.end += numbers_from;
    }
    Ok(tensors)
}

/// The text of the header, and where it ends.
fn split(file: &[u8]) -> Result<(&[u8], usize), String> {
    if let Some(kind) = another_format(file) {
        return Err(kind.to_owned());
    }
    let Some((length, _)) = file.split_first_chunk::<LENGTH>() else {
        return Err(format!("it has {} bytes, a header needs at least {LENGTH}", file.len()));
    };
    let length = u64::from_le_bytes(*length);
    let Some(length) = usize::try_from(length).ok().filter(|&length| length <= LARGEST_HEADER)
    else {
        return Err(format!(
            "the header is said to have {length} bytes, the largest allowed is {LARGEST_HEADER}"
        ));
    };
    let end = LENGTH + length;
    let text = file.get(LENGTH..end).ok_or_else(|| {
        format!("the header ends at byte {end}, but the file has {} bytes", file.len())
    })?;
    Ok((text, end))
}

/// Files that people have in place of a safetensors file.
fn another_format(file: &[u8]) -> Option<&'static str> {
    let starts = |bytes: &[u8]| file.starts_with(bytes);
    if starts(b"version https://git-lfs") {
        Some("it is a Git LFS pointer; run `git lfs pull` in its folder")
    } else if starts(b"PK\x03\x04") || starts(b"\x80\x02") {
        Some("it is a pickled PyTorch file, which can run code when read; save it as safetensors")
    } else if starts(b"<!") || starts(b"<html") {
        Some("it is a web page, not what was to be downloaded")
    } else {
        None
    }
}

/// Checks that every tensor has the size of its shape, and that together they fill `bytes` bytes exactly.
fn check(tensors: &BTreeMap<String, TensorInfo>, bytes: usize) -> Result<(), String> {
    let mut in_order: Vec<_> = tensors.iter().collect();
    in_order.sort_by_key(|(_, tensor)| (tensor.range.start, tensor.range.end));
    let mut end = 0;
    for (name, tensor) in in_order {
        let Range { start, end: stop } = tensor.range;
        if stop < start || stop > bytes {
            return Err(format!(
                "tensor `{name}` stands at bytes {start} to {stop} of {bytes} bytes of numbers"
            ));
        }
        if start != end {
            let what = if start < end { "overlaps the tensor before it" } else { "leaves a gap" };
            return Err(format!(
                "tensor `{name}` {what}: it starts at byte {start} of the numbers, expected {end}"
            ));
        }
        let found = stop - start;
        if size(tensor) != Some(found) {
            return Err(format!(
                "tensor `{name}` has {found} bytes, which do not hold {:?} numbers of type {}",
                tensor.shape, tensor.number_type
            ));
        }
        end = stop;
    }
    if end == bytes {
        Ok(())
    } else {
        Err(format!("its tensors fill {end} bytes, but {bytes} bytes of numbers are there"))
    }
}

/// The bytes that a tensor of this shape and type takes, if that is a number of bytes at all.
fn size(tensor: &TensorInfo) -> Option<usize> {
    let numbers = tensor.shape.iter().try_fold(1_usize, |size, &next| size.checked_mul(next))?;
    let bits = numbers.checked_mul(tensor.number_type.bitsize())?;
    (bits % 8 == 0).then_some(bits / 8)
}

/// The tensors of a header, each name once.
struct Header(BTreeMap<String, TensorInfo>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
            type Value = Header;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a table of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut tensors = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == NOTES {
                        map.next_value::<Option<BTreeMap<String, String>>>()?;
                    } else {
                        let tensor = map.next_value::<Written>()?.into();
                        if tensors.insert(name.clone(), tensor).is_some() {
                            let message = format_args!("tensor `{name}` stands there twice");
                            return Err(de::Error::custom(message));
                        }
                    }
                }
                Ok(Header(tensors))
            }
        }

        deserializer.deserialize_map(Names)
    }
}

/// A tensor as it stands in the header.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    dtype: Dtype,
    shape: Shape,
    data_offsets: (usize, usize),
}

impl From<Written> for TensorInfo {
    fn from(Written { dtype, shape: Shape(shape), data_offsets: (start, end) }: Written) -> Self {
        Self { number_type: dtype, shape, range: start..end }
    }
}

/// The sizes of the dimensions; not more than anyone needs.
struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sizes;

        impl<'de> Visitor<'de> for Sizes {
            type Value = Shape;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "a list of at most {MOST_DIMENSIONS} sizes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sizes: A) -> Result<Shape, A::Error> {
                let mut shape = Vec::new();
                while let Some(size) = sizes.next_element()? {
                    if shape.len() == MOST_DIMENSIONS {
                        return Err(de::Error::invalid_length(shape.len() + 1, &self));
                    }
                    shape.push(size);
                }
                Ok(Shape(shape))
            }
        }

        deserializer.deserialize_seq(Sizes)
    }
}
