//! What every constitution must fulfil.

use crate::{Constitution, Error, Place};
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

/// Finds the first fault; `place` says where the value of a key stands.
pub(crate) fn validate(
    constitution: &Constitution,
    place: impl Fn(Option<Key>) -> Place,
) -> Result<(), Error> {
    let Constitution { name, critique_revision, comparison } = constitution;
    if critique_revision.is_empty() && comparison.is_empty() {
        return Err(Error::NoPrinciple { place: place(None) });
    }
    let entry = |list, index, key| Key::Entry { list, index, key };
    let mut texts = vec![(Key::Name, name)];
    for (index, principle) in critique_revision.iter().enumerate() {
        let key = |key| entry("critique_revision", index, key);
        texts.push((key("id"), &principle.id));
        texts.push((key("critique_request"), &principle.critique_request));
        texts.push((key("revision_request"), &principle.revision_request));
    }
    for (index, principle) in comparison.iter().enumerate() {
        let key = |key| entry("comparison", index, key);
        texts.push((key("id"), &principle.id));
        texts.push((key("text"), &principle.text));
    }
    if let Some(&(key, _)) = texts.iter().find(|(_, text)| text.trim().is_empty()) {
        return Err(Error::Empty { place: place(Some(key)), key: key.to_string() });
    }
    let ids = critique_revision.iter().map(|principle| principle.id.as_str());
    unique(ids, |index| entry("critique_revision", index, "id"), &place)?;
    let ids = comparison.iter().map(|principle| principle.id.as_str());
    unique(ids, |index| entry("comparison", index, "id"), &place)
}

fn unique<'a>(
    ids: impl Iterator<Item = &'a str>,
    key: impl Fn(usize) -> Key,
    place: impl Fn(Option<Key>) -> Place,
) -> Result<(), Error> {
    let mut seen = HashMap::new();
    for (index, id) in ids.enumerate() {
        if let Some(first) = seen.insert(id, index) {
            let key = key(index);
            let (place, key) = (place(Some(key)), key.to_string());
            return Err(Error::Duplicate { place, key, id: id.to_owned(), first: first + 1 });
        }
    }
    Ok(())
}
