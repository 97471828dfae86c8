//! What changed from one constitution to another.

use crate::{Constitution, Principle};

/// What a principle's entry did from the first constitution to the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// The values of these keys are others.
    Changed(Vec<&'static str>),
}

/// One principle that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The list that holds it.
    pub list: &'static str,
    /// Its id.
    pub id: String,
    /// What happened to it.
    pub change: Change,
}

impl Constitution {
    /// What is not the same in `other`, list by list: what is gone or changed in the order of this one, then what is new.
    pub fn diff(&self, other: &Self) -> Vec<Difference> {
        let mut differences = of_list(&self.critique_revision, &other.critique_revision);
        differences.extend(of_list(&self.comparison, &other.comparison));
        differences
    }
}

fn of_list<P: Principle>(before: &[P], after: &[P]) -> Vec<Difference> {
    let difference =
        |one: &P, change| Difference { list: P::LIST, id: one.id().to_owned(), change };
    let find = |list: &'_ [P], id: &str| list.iter().position(|one| one.id() == id);
    let mut differences = Vec::new();
    for one in before {
        let Some(index) = find(after, one.id()) else {
            differences.push(difference(one, Change::Removed));
            continue;
        };
        let changed = changed_keys(one, &after[index]);
        if !changed.is_empty() {
            differences.push(difference(one, Change::Changed(changed)));
        }
    }
    let new = after.iter().filter(|one| find(before, one.id()).is_none());
    differences.extend(new.map(|one| difference(one, Change::Added)));
    differences
}

fn changed_keys<P: Principle>(before: &P, after: &P) -> Vec<&'static str> {
    let texts = before.texts().into_iter().zip(after.texts());
    let mut changed: Vec<&'static str> =
        texts.filter(|(before, after)| before != after).map(|(before, _)| before.0).collect();
    let others = [
        ("source", before.source() != after.source()),
        ("tags", before.tags() != after.tags()),
        ("weight", before.weight().to_bits() != after.weight().to_bits()),
    ];
    changed.extend(others.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key));
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_came_went_and_changed() {
        let before = Constitution::general();
        assert_eq!(before.diff(&before), []);
        let mut after = before.clone();
        let gone = after.comparison.remove(3);
        after.comparison[0].text.push('!');
        after.comparison[0].weight = 2.0;
        after.critique_revision[1].tags.clear();
        after.critique_revision[2].id = "new".to_owned();
        let found = before.diff(&after);
        let expected = [
            ("critique_revision", &before.critique_revision[1].id, Change::Changed(vec!["tags"])),
            ("critique_revision", &before.critique_revision[2].id, Change::Removed),
            ("critique_revision", &"new".to_owned(), Change::Added),
            ("comparison", &before.comparison[0].id, Change::Changed(vec!["text", "weight"])),
            ("comparison", &gone.id, Change::Removed),
        ]
        .map(|(list, id, change)| Difference { list, id: id.clone(), change });
        assert_eq!(found, expected);
    }
}
