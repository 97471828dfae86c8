//! The columns that JSON rows need.

use arrow_schema::{DataType, Field, Fields, Schema};
use indexmap::IndexMap;
use serde_json::{Number, Value};
use std::sync::Arc;

/// The type that all values of a field have in common.
///
/// Columns keep the order in which they were seen, so that the same rows give the same file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum ColumnType {
    /// Nothing but nulls so far.
    #[default]
    Unknown,
    Boolean,
    /// Whole numbers from 0, all of which fit 64 bits with a sign too.
    Natural,
    /// Whole numbers of 64 bits with a sign, of which one is negative.
    Integer,
    /// Whole numbers from 0, of which one needs all 64 bits.
    Unsigned,
    Float,
    Text,
    List(Box<Self>),
    Object(IndexMap<String, Self>),
}

impl ColumnType {
    /// Widens the type so that `value`, which stands at `name`, is of it.
    ///
    /// # Errors
    /// What the field is in this row and what it was before.
    pub(crate) fn widen(&mut self, name: &str, value: &Value) -> Result<(), String> {
        match (&mut *self, value) {
            (_, Value::Null) => Ok(()),
            (Self::Unknown, Value::Array(_)) => {
                *self = Self::List(Box::default());
                self.widen(name, value)
            }
            (Self::Unknown, Value::Object(_)) => {
                *self = Self::Object(IndexMap::new());
                self.widen(name, value)
            }
            (Self::List(inner), Value::Array(values)) => {
                values.iter().try_for_each(|value| inner.widen(name, value))
            }
            (Self::Object(columns), Value::Object(fields)) => {
                for (key, value) in fields {
                    let inner = columns.entry(key.clone()).or_default();
                    inner.widen(&join(name, key), value)?;
                }
                Ok(())
            }
            (before, value) => {
                let here = Self::of_scalar(value);
                let common = here.as_ref().and_then(|here| before.common(here));
                let Some(common) = common else {
                    let here = here.as_ref().map_or_else(|| container(value), Self::describe);
                    let before = before.describe();
                    return Err(format!("`{name}` is {here} there and {before} in rows before it"));
                };
                *self = common;
                Ok(())
            }
        }
    }

    fn of_scalar(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(_) => Some(Self::Boolean),
            Value::String(_) => Some(Self::Text),
            Value::Number(number) => Some(Self::of_number(number)),
            _ => None,
        }
    }

    fn of_number(number: &Number) -> Self {
        match (number.is_i64(), number.is_u64()) {
            (true, true) => Self::Natural,
            (true, false) => Self::Integer,
            (false, true) => Self::Unsigned,
            (false, false) => Self::Float,
        }
    }

    /// The type that holds all values of two.
    fn common(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (same, again) if same == again => Some(same.clone()),
            (Self::Unknown, wider) => Some(wider.clone()),
            (Self::Natural, wider) | (wider, Self::Natural) if wider.is_number() => {
                Some(wider.clone())
            }
            (Self::Float, whole) | (whole, Self::Float) if whole.is_number() => Some(Self::Float),
            _ => None,
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Natural | Self::Integer | Self::Unsigned | Self::Float)
    }

    fn describe(&self) -> &'static str {
        match self {
            Self::Unknown => "null",
            Self::Boolean => "a boolean",
            Self::Natural => "a whole number",
            Self::Integer => "a whole number below 0",
            Self::Unsigned => "a whole number above 2^63",
            Self::Float => "a number",
            Self::Text => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    /// The columns of rows, which are objects.
    ///
    /// # Errors
    /// Which field has no type that Parquet knows.
    pub(crate) fn schema(&self) -> Result<Schema, String> {
        match self {
            Self::Object(columns) => Ok(Schema::new(fields("", columns)?)),
            _ => Err("the rows are no objects".to_owned()),
        }
    }

    fn data_type(&self, name: &str) -> Result<DataType, String> {
        Ok(match self {
            // A column of nulls is one of texts to which none has come yet.
            Self::Unknown | Self::Text => DataType::Utf8,
            Self::Boolean => DataType::Boolean,
            Self::Natural | Self::Integer => DataType::Int64,
            Self::Unsigned => DataType::UInt64,
            Self::Float => DataType::Float64,
            Self::List(inner) => {
                DataType::List(Arc::new(Field::new("element", inner.data_type(name)?, true)))
            }
            Self::Object(columns) if columns.is_empty() => {
                return Err(format!("`{name}` is an object without fields"));
            }
            Self::Object(columns) => DataType::Struct(fields(name, columns)?),
        })
    }
}

fn fields(name: &str, columns: &IndexMap<String, ColumnType>) -> Result<Fields, String> {
    let field = |(key, kind): (&String, &ColumnType)| {
        Ok(Field::new(key, kind.data_type(&join(name, key))?, true))
    };
    columns.iter().map(field).collect()
}

fn join(name: &str, key: &str) -> String {
    if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") }
}

fn container(value: &Value) -> &'static str {
    if value.is_array() { "a list" } else { "an object" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema(rows: &[Value]) -> Result<Schema, String> {
        let mut columns = ColumnType::default();
        rows.iter().try_for_each(|row| columns.widen("", row))?;
        columns.schema()
    }

    #[test]
    fn columns_are_those_of_all_rows_in_the_order_seen() {
        let rows = [json!({"b": 1, "a": null}), json!({"c": [{"x": true}], "b": 1.5})];
        let found = schema(&rows).unwrap();
        let inner = Fields::from(vec![Field::new("x", DataType::Boolean, true)]);
        let element = Field::new("element", DataType::Struct(inner), true);
        let expected = Schema::new(vec![
            Field::new("b", DataType::Float64, true),
            Field::new("a", DataType::Utf8, true),
            Field::new("c", DataType::List(Arc::new(element)), true),
        ]);
        assert_eq!(found, expected);
    }

    #[test]
    fn numbers_are_of_the_narrowest_type_that_holds_all() {
        for (values, expected) in [
            (vec![json!(1), json!(2)], DataType::Int64),
            (vec![json!(1), json!(-1), json!(2)], DataType::Int64),
            (vec![json!(1), json!(u64::MAX), json!(2)], DataType::UInt64),
            (vec![json!(-1), json!(0.5), json!(1)], DataType::Float64),
        ] {
            let rows: Vec<Value> = values.iter().map(|value| json!({"a": value})).collect();
            assert_eq!(schema(&rows).unwrap().field(0).data_type(), &expected, "{values:?}");
        }
    }

    #[test]
    fn a_field_of_two_types_is_named() {
        for (first, second, expected) in [
            (json!({"a": {"b": 1}}), json!({"a": {"b": "x"}}), "`a.b` is a text there and a whole"),
            (json!({"a": [1]}), json!({"a": {}}), "`a` is an object there and a list"),
            (json!({"a": 1}), json!({"a": [1]}), "`a` is a list there and a whole number"),
            (
                json!({"a": -1}),
                json!({"a": u64::MAX}),
                "a whole number above 2^63 there and a whole number below 0",
            ),
            (json!({"a": {}}), json!({"a": {}}), "`a` is an object without fields"),
            (json!(1), json!(2), "no objects"),
        ] {
            let message = schema(&[first, second]).unwrap_err();
            assert!(message.contains(expected), "{message} lacks {expected}");
        }
    }
}
