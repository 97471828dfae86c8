//! Where the settings of a file and those of a run differ.

use serde_json::Value;
use std::fmt;

/// A setting that a file and the run at hand disagree on.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The path to the setting, joined by dots.
    pub key: String,
    /// Its value in the file, if it is there.
    pub journal: Option<Value>,
    /// Its value in this run, if it is there.
    pub run: Option<Value>,
}

impl Difference {
    /// Every place in which two settings differ, down to the innermost keys.
    pub fn all(file: &Value, run: &Value) -> Vec<Self> {
        let mut differences = Vec::new();
        compare("", Some(file), Some(run), &mut differences);
        differences
    }
}

fn compare(key: &str, file: Option<&Value>, run: Option<&Value>, into: &mut Vec<Difference>) {
    if file == run {
        return;
    }
    let (Some(Value::Object(old)), Some(Value::Object(new))) = (file, run) else {
        let key = if key.is_empty() { "header" } else { key }.to_owned();
        into.push(Difference { key, journal: file.cloned(), run: run.cloned() });
        return;
    };
    let added = new.keys().filter(|name| !old.contains_key(*name));
    for name in old.keys().chain(added) {
        let inner = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        compare(&inner, old.get(name), new.get(name), into);
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |value: &Option<Value>| {
            value.as_ref().map_or_else(|| "missing".to_owned(), ToString::to_string)
        };
        write!(f, "`{}` is {} there and {} here", self.key, name(&self.journal), name(&self.run))
    }
}
