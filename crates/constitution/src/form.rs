//! Which keys the tables of a file have.

use crate::{ComparisonPrinciple, Error, Place, Principle, RevisionPrinciple};
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// The keys that a table must and may have.
struct Keys {
    required: &'static [&'static str],
    optional: &'static [&'static str],
}

const FILE: Keys = Keys { required: &["name"], optional: &["critique_revision", "comparison"] };

/// What entries of both lists may have.
const OPTIONAL: &[&str] = &["source", "tags", "weight"];

const REVISION: Keys =
    Keys { required: &["id", "critique_request", "revision_request"], optional: OPTIONAL };

const COMPARISON: Keys = Keys { required: &["id", "text"], optional: OPTIONAL };

/// Finds all keys that are missing or unknown and all entries that cannot be read, and mends them, so that the rest of the
/// document can be looked at. `place` says where a byte stands.
pub(crate) fn mend(
    document: &mut Spanned<DeTable<'_>>,
    place: &dyn Fn(usize) -> Place,
) -> Vec<Error> {
    let mut mending = Mending { place, faults: Vec::new() };
    let start = document.span().start;
    let table = document.get_mut();
    mending.keys(table, start, "", &FILE);
    mending.entries::<RevisionPrinciple>(table, &REVISION);
    mending.entries::<ComparisonPrinciple>(table, &COMPARISON);
    mending.faults
}

struct Mending<'a> {
    place: &'a dyn Fn(usize) -> Place,
    faults: Vec<Error>,
}

impl Mending<'_> {
    fn entries<P: Principle + DeserializeOwned>(&mut self, table: &mut DeTable<'_>, keys: &Keys) {
        let list = table.get_mut(P::LIST).map(Spanned::get_mut);
        let Some(DeValue::Array(entries)) = list else { return };
        for (index, entry) in entries.iter_mut().enumerate() {
            let name = format!("{}[{}].", P::LIST, index + 1);
            let start = entry.span().start;
            if let DeValue::Table(table) = entry.get_mut() {
                self.keys(table, start, &name, keys);
            }
            if let Err(error) = P::deserialize(ValueDeserializer::from(entry.clone())) {
                let offset = error.span().map_or(start, |span| span.start);
                let message = error.message().trim().to_owned();
                self.faults.push(Error::Toml { place: (self.place)(offset), message });
                let mut whole = DeTable::new();
                for key in keys.required {
                    stand_in(&mut whole, start, &name, key);
                }
                *entry.get_mut() = DeValue::Table(whole);
            }
        }
    }

    /// Takes out of a table what is unknown, and puts in what is missing.
    fn keys(&mut self, table: &mut DeTable<'_>, start: usize, name: &str, keys: &Keys) {
        let known: Vec<&'static str> = keys.required.iter().chain(keys.optional).copied().collect();
        let is_known = |key: &str| known.contains(&key);
        let unknown: Vec<(String, usize)> = table
            .keys()
            .filter(|key| !is_known(key.get_ref()))
            .map(|key| (key.get_ref().to_string(), key.span().start))
            .collect();
        for (key, offset) in unknown {
            table.remove(key.as_str());
            let (place, key) = ((self.place)(offset), format!("{name}{key}"));
            self.faults.push(Error::Unknown { place, key, known: known.clone() });
        }
        for &key in keys.required {
            if !table.contains_key(key) {
                let place = (self.place)(start);
                self.faults.push(Error::Missing { place, key: format!("{name}{key}") });
                stand_in(table, start, name, key);
            }
        }
    }
}

/// Puts the name of a key in the place of its value: a text like no other, so that nothing more is said of it.
fn stand_in(table: &mut DeTable<'_>, start: usize, name: &str, key: &str) {
    let (at, text) = (start..start, DeValue::String(format!("{name}{key}").into()));
    table.insert(Spanned::new(at.clone(), key.to_owned().into()), Spanned::new(at, text));
}
