//! The records of event files, as `TensorBoard` reads them.
//!
//! A file is a row of frames, each with a checksum of its length and one of its data:
//!
//! ```text
//! length of data (u64) | masked CRC-32C of it (u32) | data | masked CRC-32C of it (u32)      little-endian
//! ```
//!
//! The data is an `Event`. The messages below hold the fields of `event.proto`, `summary.proto` and `tensor.proto` of
//! `TensorBoard` that are written here, under the same numbers; a field that is not set takes no bytes.

use crc::{CRC_32_ISCSI, Crc};
use prost::Message;
use std::time::{SystemTime, UNIX_EPOCH};

/// CRC-32C.
const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
/// `SessionLog.START`.
const START: i32 = 1;
/// `DataType.DT_STRING`.
const STRING: i32 = 7;
/// `DataClass.DATA_CLASS_TENSOR`.
const TENSOR: i32 = 2;

/// One record; of the last three fields it has one.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub(crate) wall_time: f64,
    #[prost(int64, tag = "2")]
    pub(crate) step: i64,
    #[prost(string, optional, tag = "3")]
    pub(crate) file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    pub(crate) summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    pub(crate) session_log: Option<SessionLog>,
}

/// That a process has begun.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SessionLog {
    #[prost(int32, tag = "1")]
    pub(crate) status: i32,
}

/// What is known of a step.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub(crate) value: Vec<Value>,
}

/// A number or a tensor.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Value {
    #[prost(string, tag = "1")]
    pub(crate) tag: String,
    #[prost(float, optional, tag = "2")]
    pub(crate) scalar: Option<f32>,
    #[prost(message, optional, tag = "8")]
    pub(crate) tensor: Option<Tensor>,
    #[prost(message, optional, tag = "9")]
    pub(crate) metadata: Option<Metadata>,
}

/// One string: a tensor without dimensions.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Tensor {
    #[prost(int32, tag = "1")]
    pub(crate) dtype: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<Shape>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub(crate) string_val: Vec<Vec<u8>>,
}

/// No dimensions.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Shape {}

/// Who shows a tensor.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Metadata {
    #[prost(message, optional, tag = "1")]
    pub(crate) plugin_data: Option<PluginData>,
    #[prost(int32, tag = "4")]
    pub(crate) data_class: i32,
}

/// A plugin of `TensorBoard`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PluginData {
    #[prost(string, tag = "1")]
    pub(crate) plugin_name: String,
}

impl Event {
    /// The first event of every file.
    pub(crate) fn version() -> Self {
        // From version 2 on `TensorBoard` heeds `start`.
        Self { file_version: Some("brain.Event:2".to_owned()), ..Self::now(0) }
    }

    /// Whatever earlier files hold of `step` and later ones is void: the steps are taken again.
    pub(crate) fn start(step: u64) -> Self {
        Self { session_log: Some(SessionLog { status: START }), ..Self::now(step) }
    }

    /// Numbers by tag.
    pub(crate) fn scalars(step: u64, scalars: impl Iterator<Item = (String, f64)>) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "the format knows no wider numbers")]
        let value = |(tag, value)| Value { tag, scalar: Some(value as f32), ..Value::default() };
        Self { summary: Some(Summary { value: scalars.map(value).collect() }), ..Self::now(step) }
    }

    /// A text, for the plugin that shows texts.
    pub(crate) fn text(step: u64, tag: String, text: &str) -> Self {
        let plugin_data = PluginData { plugin_name: "text".to_owned() };
        let metadata = Metadata { plugin_data: Some(plugin_data), data_class: TENSOR };
        let tensor = Tensor {
            dtype: STRING,
            shape: Some(Shape {}),
            string_val: vec![text.as_bytes().to_vec()],
        };
        let value =
            Value { tag, tensor: Some(tensor), metadata: Some(metadata), ..Value::default() };
        Self { summary: Some(Summary { value: vec![value] }), ..Self::now(step) }
    }

    /// The event as a frame.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let data = self.encode_to_vec();
        let length = (data.len() as u64).to_le_bytes();
        let mut frame = Vec::with_capacity(data.len() + 16);
        for part in [&length[..], &data] {
            frame.extend_from_slice(part);
            frame.extend_from_slice(&masked_checksum(part).to_le_bytes());
        }
        frame
    }

    fn now(step: u64) -> Self {
        // A clock that stands before 1970 is not worth an error.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        Self { wall_time: since.as_secs_f64(), step, ..Self::default() }
    }
}

/// The CRC-32C, turned and shifted so that a checksum of data that holds checksums stays one.
fn masked_checksum(bytes: &[u8]) -> u32 {
    CHECKSUM.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The events of a file.
#[cfg(test)]
pub(crate) fn parse(mut bytes: &[u8]) -> Vec<Event> {
    let mut part = |length: usize| {
        let (part, rest) = bytes.split_at(length);
        let (checksum, rest) = rest.split_at(4);
        assert_eq!(checksum, masked_checksum(part).to_le_bytes());
        bytes = rest;
        (part, rest.is_empty())
    };
    let mut events = Vec::new();
    loop {
        let (length, _) = part(8);
        let length = u64::from_le_bytes(length.try_into().unwrap());
        let (data, last) = part(usize::try_from(length).unwrap());
        events.push(Event::decode(data).unwrap());
        if last {
            return events;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn checksums_are_those_of_the_format() {
        // RFC 3720, B.4: 32 bytes of zeros.
        assert_eq!(CHECKSUM.checksum(&[0; 32]), 0x8a91_36aa);
        // 0x8a9136aa turned right by 15 bits is 0x6d551522; with 0xa282ead8 added it is 0x10fd7fffa.
        assert_eq!(masked_checksum(&[0; 32]), 0x0fd7_fffa);
    }

    #[test]
    fn frames_hold_the_bytes_of_the_format() {
        let event = Event { wall_time: 0.0, ..Event::start(3) };
        let frame = event.frame();
        // Field 2, a number: 3. Field 7, 2 bytes: field 1, a number: 1.
        assert_eq!(frame[12..18], [0x10, 3, 0x3a, 2, 0x08, 1]);
        assert_eq!(frame[..8], [6, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(frame.len(), 8 + 4 + 6 + 4);
        assert_eq!(parse(&frame), [event]);
    }

    #[test]
    fn a_number_that_is_zero_is_written() {
        let scalars = [("sft/loss".to_owned(), 0.0)].into_iter();
        let event = Event { wall_time: 0.0, ..Event::scalars(0, scalars) };
        // Field 5, 17 bytes: field 1, 15 bytes: field 1, 8 bytes; field 2, a float.
        let mut expected = vec![0x2a, 17, 0x0a, 15, 0x0a, 8];
        expected.extend_from_slice(b"sft/loss");
        expected.extend_from_slice(&[0x15, 0, 0, 0, 0]);
        assert_eq!(event.encode_to_vec(), expected);
    }

    proptest! {
        #[test]
        fn what_is_framed_is_read_back(step in any::<u64>(), tag in ".*", text in ".*", value in any::<f32>()) {
            let events = [
                Event::version(),
                Event::start(step),
                Event::scalars(step, [(tag.clone(), f64::from(value))].into_iter()),
                Event::text(step, tag, &text),
            ];
            let bytes: Vec<u8> = events.iter().flat_map(Event::frame).collect();
            let found = parse(&bytes);
            prop_assert_eq!(&found[..2], &events[..2]);
            prop_assert_eq!(&found[3], &events[3]);
            let bits = |event: &Event| event.summary.as_ref().unwrap().value[0].scalar.unwrap().to_bits();
            prop_assert!(bits(&found[2]) == bits(&events[2]) || value.is_nan());
        }
    }
}
