//! How Python writes values, and the methods of its strings that `minijinja_contrib` lacks.

use minijinja::{
    Error, ErrorKind, Output, State, Value,
    value::{ValueKind, from_args},
};
use minijinja_contrib::pycompat;
use std::fmt::Write as _;

/// Deepest nesting that is written.
const DEEPEST: usize = 128;

/// Writes a value as `{{ value }}` does in Python: lists and dictionaries quote their texts.
pub(super) fn write(output: &mut Output, _: &State, value: &Value) -> Result<(), Error> {
    let written = match value.kind() {
        ValueKind::Undefined => return Ok(()),
        ValueKind::Seq | ValueKind::Map | ValueKind::Number => {
            let mut text = String::new();
            represent(&mut text, value, 0)?;
            output.write_str(&text)
        }
        _ => write!(output, "{value}"),
    };
    written.map_err(Error::from)
}

/// Python's `repr`.
fn represent(text: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
    if depth > DEEPEST {
        let message = "a value is nested too deep to be written";
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    match value.kind() {
        ValueKind::Number => text.push_str(&number(value)),
        ValueKind::String => quote(text, value.as_str().unwrap_or_default()),
        ValueKind::Seq => {
            text.push('[');
            for (index, item) in value.try_iter()?.enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                represent(text, &item, depth + 1)?;
            }
            text.push(']');
        }
        ValueKind::Map => {
            text.push('{');
            for (index, key) in value.try_iter()?.enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                represent(text, &key, depth + 1)?;
                text.push_str(": ");
                represent(text, &value.get_item(&key)?, depth + 1)?;
            }
            text.push('}');
        }
        _ => text.push_str(&value.to_string()),
    }
    Ok(())
}

/// A text in single quotes, or in double ones if it holds single ones alone.
fn quote(text: &mut String, content: &str) {
    let mark = if content.contains('\'') && !content.contains('"') { '"' } else { '\'' };
    text.push(mark);
    for character in content.chars() {
        // Writing to a string cannot fail.
        let _ = match character {
            '\\' => write!(text, "\\\\"),
            '\n' => write!(text, "\\n"),
            '\r' => write!(text, "\\r"),
            '\t' => write!(text, "\\t"),
            _ if character == mark => write!(text, "\\{mark}"),
            _ if u32::from(character) < 0x20 || (0x7f..0xa0).contains(&u32::from(character)) => {
                write!(text, "\\x{:02x}", u32::from(character))
            }
            _ => write!(text, "{character}"),
        };
    }
    text.push(mark);
}

/// A number; an integer is written with all its digits.
pub(super) fn number(value: &Value) -> String {
    let float = f64::try_from(value.clone()).ok().filter(|_| !value.is_integer());
    float.map_or_else(|| value.to_string(), float_text)
}

/// Python writes very large and very small numbers with an exponent of at least two digits.
fn float_text(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let size = number.abs();
    if size > 0.0 && !(1e-4..1e16).contains(&size) {
        let scientific = format!("{number:e}");
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let (sign, exponent) =
            exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{number:?}")
}

/// Methods of texts, lists and dictionaries.
pub(super) fn method(
    state: &State,
    value: &Value,
    name: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    match value.as_str().map(|text| string_method(text, name, arguments)) {
        Some(Err(error)) if error.kind() == ErrorKind::UnknownMethod => {
            pycompat::unknown_method_callback(state, value, name, arguments)
        }
        Some(result) => result,
        None => pycompat::unknown_method_callback(state, value, name, arguments),
    }
}

fn string_method(text: &str, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    Ok(match name {
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(arguments)?;
            text.strip_prefix(prefix).unwrap_or(text).into()
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(arguments)?;
            text.strip_suffix(suffix).unwrap_or(text).into()
        }
        "rsplit" => {
            let (separator, most): (&str, Option<i64>) = from_args(arguments)?;
            not_empty(separator)?;
            let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
            let mut parts: Vec<&str> = text.rsplitn(most.saturating_add(1), separator).collect();
            parts.reverse();
            Value::from_iter(parts)
        }
        "partition" => {
            let (separator,): (&str,) = from_args(arguments)?;
            not_empty(separator)?;
            let (before, after) = text.split_once(separator).unwrap_or((text, ""));
            let mark = if text.contains(separator) { separator } else { "" };
            Value::from_iter([before, mark, after])
        }
        "rpartition" => {
            let (separator,): (&str,) = from_args(arguments)?;
            not_empty(separator)?;
            let (before, after) = text.rsplit_once(separator).unwrap_or(("", text));
            let mark = if text.contains(separator) { separator } else { "" };
            Value::from_iter([before, mark, after])
        }
        "index" => {
            let (part,): (&str,) = from_args(arguments)?;
            let Some(bytes) = text.find(part) else {
                return Err(Error::new(ErrorKind::InvalidOperation, "substring not found"));
            };
            text[..bytes].chars().count().into()
        }
        _ => return Err(Error::from(ErrorKind::UnknownMethod)),
    })
}

fn not_empty(separator: &str) -> Result<(), Error> {
    if separator.is_empty() {
        return Err(Error::new(ErrorKind::InvalidOperation, "empty separator"));
    }
    Ok(())
}
