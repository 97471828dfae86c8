//! Typed values out of a JSON object, with errors that name the key.

use crate::Error;
use serde_json::{Map, Value};

/// A JSON object that is read key by key; what is left is kept.
pub(super) struct Keys<'a> {
    file: &'a str,
    values: Map<String, Value>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(values: Map<String, Value>, file: &'a str) -> Self {
        Self { file, values }
    }

    pub(super) fn into_rest(self) -> Map<String, Value> {
        self.values
    }

    pub(super) fn wrong(
        &self,
        key: &str,
        found: impl ToString,
        expected: impl Into<String>,
    ) -> Error {
        Error::Config {
            file: self.file.to_owned(),
            key: key.to_owned(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    pub(super) fn unsupported(
        &self,
        key: &str,
        found: impl ToString,
        supported: impl Into<String>,
    ) -> Error {
        Error::Unsupported {
            file: self.file.to_owned(),
            key: key.to_owned(),
            found: found.to_string(),
            supported: supported.into(),
        }
    }

    /// True if the key is there, null or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// The value, unless it is missing or null.
    pub(super) fn value(&mut self, key: &str) -> Option<Value> {
        self.values.remove(key).filter(|value| !value.is_null())
    }

    fn typed<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        read(&value).map(Some).ok_or_else(|| self.wrong(key, &value, expected))
    }

    /// A whole number.
    pub(super) fn size(&mut self, key: &str) -> Result<Option<usize>, Error> {
        let read = |value: &Value| value.as_u64().and_then(|size| usize::try_from(size).ok());
        self.typed(key, "a whole number of at least 0", read)
    }

    /// A whole number that must be there.
    pub(super) fn required(&mut self, key: &str) -> Result<usize, Error> {
        self.size(key)?.ok_or_else(|| self.wrong(key, "missing", "a whole number above 0"))
    }

    pub(super) fn number(&mut self, key: &str) -> Result<Option<f64>, Error> {
        self.typed(key, "a number", Value::as_f64)
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<Option<bool>, Error> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, Error> {
        self.typed(key, "a text", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>, Error> {
        self.typed(key, "a list of texts", |value| {
            value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
        })
    }

    pub(super) fn object(&mut self, key: &str) -> Result<Option<Self>, Error> {
        let values = self.typed(key, "an object", |value| value.as_object().cloned())?;
        Ok(values.map(|values| Self { file: self.file, values }))
    }

    /// A token; a negative number stands for none.
    pub(super) fn token(&mut self, key: &str) -> Result<Option<u32>, Error> {
        let token = self.typed(key, "a token", Value::as_i64)?;
        Ok(token.and_then(|token| u32::try_from(token).ok()))
    }

    /// One token or a list of them.
    pub(super) fn tokens(&mut self, key: &str) -> Result<Vec<u32>, Error> {
        let token = |value: &Value| value.as_u64().and_then(|token| u32::try_from(token).ok());
        let read = |value: &Value| match value {
            Value::Array(tokens) => tokens.iter().map(token).collect(),
            one => token(one).map(|token| vec![token]),
        };
        Ok(self.typed(key, "a token or a list of tokens", read)?.unwrap_or_default())
    }
}
