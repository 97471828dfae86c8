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

    /// The lists whose principles, as far as both constitutions have them, stand in another order in `other`.
    pub fn reordered(&self, other: &Self) -> Vec<&'static str> {
        let lists = [
            order_differs(&self.critique_revision, &other.critique_revision),
            order_differs(&self.comparison, &other.comparison),
        ];
        lists.into_iter().flatten().collect()
    }

    /// The lists that have another length in `other`, or a principle in another place. A principle is drawn by its place, so
    /// that many items draw another one, whatever became of the words.
    pub fn redrawn(&self, other: &Self) -> Vec<&'static str> {
        let lists = [
            places_differ(&self.critique_revision, &other.critique_revision),
            places_differ(&self.comparison, &other.comparison),
        ];
        lists.into_iter().flatten().collect()
    }
}

/// The name of a list, if what both have of it is in another order.
fn order_differs<P: Principle>(before: &[P], after: &[P]) -> Option<&'static str> {
    let places: Vec<usize> = before.iter().filter_map(|one| place_of(after, one.id())).collect();
    (!places.is_sorted()).then_some(P::LIST)
}

/// The name of a list, if it is longer or shorter, or anything has moved in it.
fn places_differ<P: Principle>(before: &[P], after: &[P]) -> Option<&'static str> {
    let moved =
        |(index, one): (usize, &P)| place_of(after, one.id()).is_some_and(|found| found != index);
    (before.len() != after.len() || before.iter().enumerate().any(moved)).then_some(P::LIST)
}

fn place_of<P: Principle>(list: &[P], id: &str) -> Option<usize> {
    list.iter().position(|one| one.id() == id)
}

fn of_list<P: Principle>(before: &[P], after: &[P]) -> Vec<Difference> {
    let difference =
        |one: &P, change| Difference { list: P::LIST, id: one.id().to_owned(), change };
    let mut differences = Vec::new();
    for one in before {
        let Some(index) = place_of(after, one.id()) else {
            differences.push(difference(one, Change::Removed));
            continue;
        };
        let changed = changed_keys(one, &after[index]);
        if !changed.is_empty() {
            differences.push(difference(one, Change::Changed(changed)));
        }
    }
    let new = after.iter().filter(|one| place_of(before, one.id()).is_none());
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

    #[test]
    fn an_order_is_told_from_a_length_and_from_a_place() {
        let before = Constitution::general();
        assert!(before.reordered(&before).is_empty() && before.redrawn(&before).is_empty());
        let mut swapped = before.clone();
        swapped.comparison.swap(0, 15);
        assert_eq!(before.diff(&swapped), []);
        assert_eq!(before.reordered(&swapped), ["comparison"]);
        assert_eq!(before.redrawn(&swapped), ["comparison"]);
        let mut shorter = before.clone();
        shorter.critique_revision.remove(3);
        assert_eq!(before.reordered(&shorter), Vec::<&str>::new());
        assert_eq!(before.redrawn(&shorter), ["critique_revision"]);
        assert_eq!(shorter.redrawn(&before), ["critique_revision"]);
        // Another one in the same place is drawn for the same items.
        let mut renamed = before.clone();
        renamed.comparison[4].id = "new".to_owned();
        assert!(before.reordered(&renamed).is_empty() && before.redrawn(&renamed).is_empty());
    }
}
