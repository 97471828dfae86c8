//! Settings on the command line: `--set KEY=VALUE`.

use rlaif::run::Error;
use toml::{Table, Value};

/// Puts the settings of `--set` into a table. A value that is not TOML is a bare word.
pub(super) fn add_set(table: &mut Table, set: &[String]) -> Result<(), Error> {
    for text in set {
        let Some((key, value)) = text.split_once('=') else {
            return Err(Error::Settings {
                source_name: "--set".to_owned(),
                message: format!(
                    "{text:?} is not of the form KEY=VALUE, such as ppo.iterations=30"
                ),
            });
        };
        let value = format!("value = {value}")
            .parse::<Table>()
            .ok()
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(|| value.into());
        insert(table, key.trim(), value);
    }
    Ok(())
}

/// Puts a value under a dotted key.
pub(super) fn insert(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => drop(table.insert(key.to_owned(), value)),
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(|| Value::Table(Table::new()));
            if !inner.is_table() {
                *inner = Value::Table(Table::new());
            }
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}
