//! Rows of any type that serde reads.

use crate::columns::{ColumnMapping, record_of_a_shard};
use crate::conversation::Problem;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Map, Number, Value, map};
use std::cell::Cell;

/// A row as a `T`, its named columns under their usual names.
///
/// A number may be written as a text, as all cells of a CSV file are.
pub(crate) fn read<T: DeserializeOwned>(
    columns: &ColumnMapping,
    row: &Value,
) -> Result<T, Problem> {
    let misfit = |field: &str, error: Error| Problem::new(field, format!("does not fit: {error}"));
    let row = record_of_a_shard(row).unwrap_or(row);
    let Value::Object(fields) = row else {
        return T::deserialize(row).map_err(|error| misfit("the row", error));
    };
    let fields = columns.under_usual_names(fields)?;
    let reading = Cell::new(None);
    T::deserialize(Fields { fields: &fields, reading: &reading }).map_err(|error| {
        match reading.get() {
            Some(name) => misfit(&format!("`{name}`"), error),
            None => misfit("the row", error),
        }
    })
}

/// The fields of a row.
struct Fields<'de, 'a> {
    fields: &'de Map<String, Value>,
    /// The name of the field that is being read.
    reading: &'a Cell<Option<&'de str>>,
}

impl<'de> Deserializer<'de> for Fields<'de, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Self { fields, reading } = self;
        visitor.visit_map(Entries { rest: fields.iter(), value: None, reading })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The fields that are still to be read.
struct Entries<'de, 'a> {
    rest: map::Iter<'de>,
    /// That of the last name.
    value: Option<&'de Value>,
    reading: &'a Cell<Option<&'de str>>,
}

impl<'de> MapAccess<'de> for Entries<'de, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((name, value)) = self.rest.next() else { return Ok(None) };
        self.value = Some(value);
        self.reading.set(Some(name));
        seed.deserialize(StrDeserializer::<Error>::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let value = self.value.take().ok_or_else(|| Error::custom("a field without a name"))?;
        let found = seed.deserialize(Field(value))?;
        // What is wrong from here on is not about this field.
        self.reading.set(None);
        Ok(found)
    }
}

/// What a field holds.
struct Field<'de>(&'de Value);

impl<'de> Field<'de> {
    fn number<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let written = self.0.as_str().map(|text| serde_json::from_str::<Number>(text.trim()));
        match written {
            Some(Ok(number)) => number.deserialize_any(visitor),
            _ => self.0.deserialize_any(visitor),
        }
    }
}

/// Methods that read numbers.
macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.number(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Field<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32
        deserialize_u64 deserialize_f32 deserialize_f64
    }

    forward_to_deserialize_any! {
        bool i128 u128 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Row {
        prompt: String,
        rating: f64,
        count: Option<u32>,
        kind: Option<Kind>,
        #[serde(default)]
        tags: Vec<String>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        First,
        Second,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(try_from = "Row")]
    struct Even(u32);

    impl TryFrom<Row> for Even {
        type Error = String;

        fn try_from(row: Row) -> Result<Self, String> {
            match row.count {
                Some(count) if count.is_multiple_of(2) => Ok(Self(count)),
                count => Err(format!("`count` is {count:?}, expected an even number")),
            }
        }
    }

    fn read_one<T: DeserializeOwned>(row: Value) -> Result<T, String> {
        let found = read(&ColumnMapping::default(), &row);
        found.map_err(|problem| format!("{} {}", problem.field, problem.text))
    }

    #[test]
    fn fields_are_read_and_numbers_may_be_text() {
        let row = |rating: f64, count: Option<u32>, kind: Option<Kind>, tags: &[&str]| Row {
            prompt: "12".to_owned(),
            rating,
            count,
            kind,
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        };
        for (value, expected) in [
            (json!({"prompt": "12", "rating": 3}), row(3.0, None, None, &[])),
            (
                json!({"prompt": "12", "rating": " 3.5", "count": "2", "kind": "second", "tags": ["3"]}),
                row(3.5, Some(2), Some(Kind::Second), &["3"]),
            ),
            (json!({"prompt": "12", "rating": 1.5, "count": null}), row(1.5, None, None, &[])),
            (
                json!({"index": 0, "record": {"prompt": "12", "rating": 1, "kind": "first"}}),
                row(1.0, None, Some(Kind::First), &[]),
            ),
        ] {
            assert_eq!(read_one::<Row>(value).unwrap(), expected);
        }
        assert_eq!(
            read_one::<Even>(json!({"prompt": "q", "rating": 1, "count": "4"})).unwrap(),
            Even(4)
        );
        assert_eq!(read_one::<u64>(json!(3)).unwrap(), 3);
    }

    #[test]
    fn columns_have_the_names_they_are_given() {
        #[derive(Debug, Deserialize)]
        struct Asked {
            prompt: String,
        }
        let prompt = Some("asked.text".to_owned());
        let columns = ColumnMapping { prompt, ..ColumnMapping::default() };
        let row = json!({"asked": {"text": "q"}, "prompt": 3});
        assert_eq!(read::<Asked>(&columns, &row).unwrap().prompt, "q");
        let problem = read::<Asked>(&columns, &json!({"prompt": "q"})).unwrap_err();
        assert_eq!(problem.field, "`asked.text`");
    }

    #[test]
    fn a_bad_field_is_named() {
        for (row, expected) in [
            (json!({"prompt": 1, "rating": 1}), "`prompt` does not fit: invalid type: integer `1`"),
            (json!({"prompt": "q", "rating": "high"}), "`rating` does not fit: invalid type"),
            (json!({"prompt": "q", "rating": 1, "count": -1}), "`count` does not fit"),
            (json!({"prompt": "q", "rating": 1, "kind": "third"}), "`kind` does not fit: unknown"),
            (json!({"prompt": "q", "rating": 1, "tags": "a"}), "`tags` does not fit"),
            (json!({"prompt": "q", "ratings": 1}), "`ratings` does not fit: unknown field"),
            (json!({"prompt": "q"}), "the row does not fit: missing field `rating`"),
            (json!(["q"]), "the row does not fit"),
        ] {
            let message = read_one::<Row>(row).unwrap_err();
            assert!(message.starts_with(expected), "{message} lacks {expected}");
        }
        let message = read_one::<Even>(json!({"prompt": "q", "rating": 1, "count": 3}));
        let message = message.unwrap_err();
        assert!(message.starts_with("the row does not fit: `count` is Some(3)"), "{message}");
    }
}
