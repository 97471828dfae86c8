//! What must be on one side of a split.

use std::cmp::min;
use std::collections::HashMap;
use std::hash::Hash;

/// The group of every item: items with one name or one look are in one group, and so are those that others link.
///
/// Prompts that lose their oldest turns to fit a context need both. Different ones may look alike to the model then, and one
/// may look different beside replies of different length; split by either alone, what is held out would be learnt from.
///
/// A group is called by the least name in it, so that the order of the items does not matter and an item without others
/// keeps its own.
///
/// ```
/// use training::groups;
///
/// // The second has the name of the first and the look of the third.
/// let items = [("b", "long"), ("b", "short"), ("a", "short"), ("c", "other")];
/// assert_eq!(groups(items), ["a", "a", "a", "c"]);
/// ```
pub fn groups<N, L>(items: impl IntoIterator<Item = (N, L)>) -> Vec<N>
where
    N: Clone + Ord + Hash,
    L: Eq + Hash,
{
    let items: Vec<(N, L)> = items.into_iter().collect();
    let (mut by_name, mut by_look) = (HashMap::new(), HashMap::new());
    let mut parents: Vec<usize> = (0..items.len()).collect();
    for (item, (name, look)) in items.iter().enumerate() {
        let first_of_name = *by_name.entry(name).or_insert(item);
        let first_of_look = *by_look.entry(look).or_insert(item);
        for alike in [first_of_name, first_of_look] {
            let (one, other) = (root(&mut parents, item), root(&mut parents, alike));
            parents[one] = other;
        }
    }
    let roots: Vec<usize> = (0..items.len()).map(|item| root(&mut parents, item)).collect();
    let mut least: HashMap<usize, &N> = HashMap::new();
    for (&group, (name, _)) in roots.iter().zip(&items) {
        least.entry(group).and_modify(|least| *least = min(*least, name)).or_insert(name);
    }
    roots.iter().map(|group| least[group].clone()).collect()
}

/// The item that stands for the group of `item` so far; the way to it is made shorter for the next time.
fn root(parents: &mut [usize], mut item: usize) -> usize {
    while parents[item] != item {
        parents[item] = parents[parents[item]];
        item = parents[item];
    }
    item
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_looks_link() {
        assert_eq!(
            groups([("d", 1), ("c", 2), ("d", 3), ("b", 2), ("a", 4)]),
            ["d", "b", "d", "b", "a"]
        );
        // A chain of names and looks in turn.
        let chain = [(3, 'p'), (3, 'q'), (2, 'q'), (2, 'r'), (1, 'r')];
        assert_eq!(groups(chain), [1; 5]);
        assert!(groups::<u8, u8>([]).is_empty());
    }

    /// Spreads the least name until nothing changes.
    fn oracle(items: &[(u8, u8)]) -> Vec<u8> {
        let mut found: Vec<u8> = items.iter().map(|(name, _)| *name).collect();
        loop {
            let before = found.clone();
            for (one, (name, look)) in items.iter().enumerate() {
                for (other, (other_name, other_look)) in items.iter().enumerate() {
                    if name == other_name || look == other_look {
                        let least = min(found[one], found[other]);
                        (found[one], found[other]) = (least, least);
                    }
                }
            }
            if found == before {
                return found;
            }
        }
    }

    proptest! {
        #[test]
        fn agree_with_spreading_the_least_name_whatever_the_order(
            items in prop::collection::vec((0_u8..12, 0_u8..12), 0..20),
        ) {
            let found = groups(items.iter().copied());
            prop_assert_eq!(&found, &oracle(&items));
            let mut back = groups(items.iter().rev().copied());
            back.reverse();
            prop_assert_eq!(back, found);
        }

        #[test]
        fn looks_that_follow_from_names_change_nothing(
            names in prop::collection::vec(0_u32..9, 0..20),
        ) {
            let items = names.iter().map(|&name| (name, 7 * name));
            prop_assert_eq!(groups(items), names);
        }
    }
}
