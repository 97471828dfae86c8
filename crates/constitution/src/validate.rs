//! What every constitution must fulfil.

use crate::{Constitution, Error, Place, Principle};
use std::collections::HashMap;

/// The path of a value: the list, the entry counted from 0, the key inside it.
#[derive(Clone, Copy)]
pub(crate) enum Key {
    Name,
    Entry { list: &'static str, index: usize, key: &'static str },
}

impl std::fmt::Display for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name => write!(out, "name"),
            Self::Entry { list, index, key } => write!(out, "{list}[{}].{key}", index + 1),
        }
    }
}

/// Finds all faults; `place` says where the value of a key stands.
pub(crate) fn faults(
    constitution: &Constitution,
    place: impl Fn(Option<Key>) -> Place,
) -> Vec<Error> {
    let Constitution { name, critique_revision, comparison } = constitution;
    let mut faults = Vec::new();
    if critique_revision.is_empty() && comparison.is_empty() {
        faults.push(Error::NoPrinciple { place: place(None) });
    }
    if is_empty(name) {
        faults.push(Error::Empty { place: place(Some(Key::Name)), key: Key::Name.to_string() });
    }
    of_list(critique_revision, &place, &mut faults);
    of_list(comparison, &place, &mut faults);
    faults
}

fn is_empty(text: &str) -> bool {
    text.trim().is_empty()
}

fn of_list<P: Principle>(
    principles: &[P],
    place: &impl Fn(Option<Key>) -> Place,
    faults: &mut Vec<Error>,
) {
    let mut seen = HashMap::new();
    for (index, principle) in principles.iter().enumerate() {
        let at = |key| {
            let key = Key::Entry { list: P::LIST, index, key };
            (place(Some(key)), key.to_string())
        };
        let texts = [("id", principle.id())].into_iter().chain(principle.texts());
        for (key, _) in texts.filter(|(_, text)| is_empty(text)) {
            let (place, key) = at(key);
            faults.push(Error::Empty { place, key });
        }
        let found = principle.weight();
        if !(found > 0.0 && found.is_finite()) {
            let (place, key) = at("weight");
            faults.push(Error::Weight { place, key, found });
        }
        let first = *seen.entry(principle.id()).or_insert(index);
        if first != index {
            let (place, key) = at("id");
            let id = principle.id().to_owned();
            faults.push(Error::Duplicate { place, key, id, first: first + 1 });
        }
    }
}
