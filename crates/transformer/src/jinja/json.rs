//! JSON as Python's `json.dumps` writes it.

use super::python::number;
use minijinja::{
    Error, ErrorKind, Value,
    value::{Kwargs, ValueKind},
};
use std::fmt::Write as _;

/// Deepest nesting that is written; the parsers of this format stop here too.
const DEEPEST: usize = 128;

/// The filter `tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`. It does not escape HTML.
pub(super) fn to_json(
    value: &Value,
    ensure_ascii: Option<bool>,
    options: Kwargs,
) -> Result<String, Error> {
    let indent = indent(options.get("indent")?)?;
    let separators: Option<(String, String)> =
        match options.get::<Option<Vec<String>>>("separators")? {
            None => None,
            Some(pair) => match <[String; 2]>::try_from(pair) {
                Ok([item, key]) => Some((item, key)),
                Err(_) => return Err(wrong("`separators` needs two texts")),
            },
        };
    let named: Option<bool> = options.get("ensure_ascii")?;
    let sort_keys: Option<bool> = options.get("sort_keys")?;
    options.assert_all_used()?;
    // As in Python, a comma at the end of a line has no space behind it.
    let item = if indent.is_some() { "," } else { ", " };
    let (item, key) = separators.unwrap_or_else(|| (item.to_owned(), ": ".to_owned()));
    let mut writer = Writer {
        text: String::new(),
        indent,
        item,
        key,
        ascii: ensure_ascii.or(named).unwrap_or(false),
        sorted: sort_keys.unwrap_or(false),
    };
    writer.value(value, 0)?;
    Ok(writer.text)
}

/// A number of spaces, or the text of one level.
fn indent(option: Option<Value>) -> Result<Option<String>, Error> {
    let Some(option) = option.filter(|option| !option.is_none() && !option.is_undefined()) else {
        return Ok(None);
    };
    if let Some(text) = option.as_str() {
        return Ok(Some(text.chars().take(64).collect()));
    }
    let spaces =
        option.as_usize().ok_or_else(|| wrong("`indent` is a number of spaces or a text"))?;
    Ok(Some(" ".repeat(spaces.min(64))))
}

fn wrong(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("tojson: {message}"))
}

struct Writer {
    text: String,
    indent: Option<String>,
    item: String,
    key: String,
    ascii: bool,
    sorted: bool,
}

impl Writer {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > DEEPEST {
            return Err(wrong("the value is nested too deep"));
        }
        match value.kind() {
            ValueKind::None => self.text.push_str("null"),
            ValueKind::Bool => self.text.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.text.push_str(&number(value)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<_> = value.try_iter()?.map(|item| (None, item)).collect();
                self.items(['[', ']'], &items, depth)?;
            }
            ValueKind::Map => {
                let mut items = Vec::new();
                for key in value.try_iter()? {
                    items.push((Some(Self::key_text(&key)?), value.get_item(&key)?));
                }
                if self.sorted {
                    items.sort_by(|(one, _), (other, _)| one.cmp(other));
                }
                self.items(['{', '}'], &items, depth)?;
            }
            _ => return Err(wrong("the value is nothing that JSON can hold")),
        }
        Ok(())
    }

    /// Keys are texts; numbers and the like become such.
    fn key_text(key: &Value) -> Result<String, Error> {
        Ok(match key.kind() {
            ValueKind::String => key.as_str().unwrap_or_default().to_owned(),
            ValueKind::None => "null".to_owned(),
            ValueKind::Bool => if key.is_true() { "true" } else { "false" }.to_owned(),
            ValueKind::Number => number(key),
            _ => return Err(wrong("a key is neither a text nor a number")),
        })
    }

    fn items(
        &mut self,
        [open, close]: [char; 2],
        items: &[(Option<String>, Value)],
        depth: usize,
    ) -> Result<(), Error> {
        self.text.push(open);
        for (index, (key, item)) in items.iter().enumerate() {
            if index > 0 {
                self.text.push_str(&self.item);
            }
            self.line(depth + 1);
            if let Some(key) = key {
                self.string(key);
                self.text.push_str(&self.key);
            }
            self.value(item, depth + 1)?;
        }
        if !items.is_empty() {
            self.line(depth);
        }
        self.text.push(close);
        Ok(())
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = &self.indent {
            self.text.push('\n');
            self.text.push_str(&indent.repeat(depth));
        }
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        for character in text.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                _ if character < ' ' || self.ascii && character > '~' => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        // Writing to a string cannot fail.
                        let _ = write!(self.text, "\\u{unit:04x}");
                    }
                }
                _ => self.text.push(character),
            }
        }
        self.text.push('"');
    }
}
