//! Splits that do not move when data is added.

use crate::Error;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Whether item `id` belongs to a split that holds `share` of all items.
///
/// The answer depends on `id` and `share` alone: not on other items, their order or the machine. A larger share
/// holds every item of a smaller one; a share of 0 holds none and a share of 1 all.
pub fn split_by_hash(id: &str, share: f64) -> bool {
    place_of("", id) < share
}

/// The place of an item in \[0, 1), uniform over items.
fn place_of(salt: &str, id: &str) -> f64 {
    // The prefix keeps the split independent of ids and seeds that are hashes of the same text.
    let mut hash = Sha256::new().chain_update("split:");
    if !salt.is_empty() {
        hash.update((salt.len() as u64).to_le_bytes());
        hash.update(salt);
    }
    let digest = hash.chain_update(id).finalize();
    let hash = u64::from_le_bytes(std::array::from_fn(|index| digest[index]));
    // The upper 53 bits are a uniform double in [0, 1).
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

/// A name made of the content of a row: the first 32 hexadecimal digits of a SHA-256.
///
/// The order of fields and how numbers and texts are written in the file do not matter.
pub fn content_id(row: &Value) -> String {
    let mut hash = Sha256::new();
    hash_value(row, &mut hash);
    format!("{:.32x}", hash.finalize())
}

/// Hashes a value so that no two different ones give the same bytes.
fn hash_value(value: &Value, hash: &mut Sha256) {
    let text = |mark: &str, text: &str, hash: &mut Sha256| {
        hash.update(mark);
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    let count = |mark: &str, count: usize, hash: &mut Sha256| {
        hash.update(mark);
        hash.update((count as u64).to_le_bytes());
    };
    match value {
        Value::Null => hash.update("0"),
        Value::Bool(flag) => hash.update(if *flag { "t" } else { "f" }),
        Value::Number(number) => text("n", &number.to_string(), hash),
        Value::String(string) => text("s", string, hash),
        Value::Array(values) => {
            count("l", values.len(), hash);
            for value in values {
                hash_value(value, hash);
            }
        }
        Value::Object(fields) => {
            count("o", fields.len(), hash);
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort_unstable();
            for key in keys {
                text("k", key, hash);
                hash_value(&fields[key], hash);
            }
        }
    }
}

/// Named parts of all items, each with its share.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `salt` | `""` | another salt is another split |
/// | `shares` | `train` 0.9, `validation` 0.05, `test` 0.05 | names and shares, from 0 and together at most 1 |
///
/// An item's part depends on its content, the salt and the shares alone: not on other items, their order or the machine. Where
/// the shares are together below 1, the rest of the items is in no part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Splits {
    /// Another salt is another split.
    pub salt: String,
    /// Names and shares, in the order in which they divide the range.
    pub shares: indexmap::IndexMap<String, f64>,
}

impl Default for Splits {
    fn default() -> Self {
        let shares = [("train", 0.9), ("validation", 0.05), ("test", 0.05)];
        Self {
            salt: String::new(),
            shares: shares.map(|(name, share)| (name.to_owned(), share)).into(),
        }
    }
}

/// What the sum of shares may exceed 1 by, since 0.1 and 0.2 are no binary fractions.
const ROUNDING: f64 = 1e-9;

impl Splits {
    /// Checks the shares.
    ///
    /// # Errors
    /// [`Error::Splits`] if there is none, one is not in \[0, 1\], or they are together above 1.
    pub fn validate(&self) -> Result<(), Error> {
        let refused = |problem: String| Err(Error::Splits { problem });
        if self.shares.is_empty() {
            return refused("there are no shares; give at least one".to_owned());
        }
        if let Some((name, share)) =
            self.shares.iter().find(|(_, share)| !(0.0..=1.0).contains(*share))
        {
            return refused(format!("the share of `{name}` is {share}, expected 0 to 1"));
        }
        let sum: f64 = self.shares.values().sum();
        if sum > 1.0 + ROUNDING {
            return refused(format!("the shares are {sum} together, expected at most 1"));
        }
        Ok(())
    }

    /// The part that item `id` is in, such as [`content_id`] of a row or [`dialogue::Dialogue::id`].
    pub fn part(&self, id: &str) -> Option<&str> {
        let place = place_of(&self.salt, id);
        let mut end = 0.0;
        self.shares.iter().find_map(|(name, share)| {
            end += share;
            // Rounding must not leave items outside shares that are 1 together.
            let end = if end > 1.0 - ROUNDING { 1.0 } else { end };
            (place < end).then_some(name.as_str())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn holds_about_its_share() {
        let held = (0..10_000).filter(|item| split_by_hash(&format!("{item:016x}"), 0.1)).count();
        // Four standard deviations of a binomial: 4 sqrt(10000 x 0.1 x 0.9) = 120.
        assert!((880..=1_120).contains(&held), "{held}");
    }

    #[test]
    fn is_the_same_on_every_machine() {
        // The places of a to f in [0, 1), computed apart: 0.979, 0.184, 0.544, 0.651, 0.755, 0.827.
        let mut ids = vec!["a", "b", "c", "d", "e", "f"];
        ids.retain(|id| split_by_hash(id, 0.7));
        assert_eq!(ids, ["b", "c", "d"]);
        let splits = splits(&[("train", 0.6), ("test", 0.2)]);
        let parts = ["a", "b", "d", "e"].map(|id| splits.part(id));
        assert_eq!(parts, [None, Some("train"), Some("test"), Some("test")]);
    }

    fn splits(shares: &[(&str, f64)]) -> Splits {
        let shares = shares.iter().map(|&(name, share)| (name.to_owned(), share)).collect();
        Splits { salt: String::new(), shares }
    }

    #[test]
    fn parts_hold_about_their_shares_and_another_salt_is_another_split() {
        let default = Splits::default();
        let salted = Splits { salt: "s".to_owned(), ..Splits::default() };
        let ids: Vec<String> = (0..10_000).map(|item: u32| item.to_string()).collect();
        let in_part =
            |splits: &Splits, part| ids.iter().filter(|id| splits.part(id) == Some(part)).count();
        // Four standard deviations: 120 of 9000, 87 of 500.
        assert!(in_part(&default, "train").abs_diff(9_000) < 120);
        assert!(in_part(&default, "validation").abs_diff(500) < 87);
        assert!(ids.iter().all(|id| default.part(id).is_some()));
        let both =
            |id: &&String| default.part(id) == Some("test") && salted.part(id) == Some("test");
        // Independent splits share 10000 x 0.05 x 0.05 = 25 items, with a deviation of 5.
        assert!(ids.iter().filter(both).count() < 45);
    }

    #[test]
    fn content_is_what_counts() {
        let id = |text: &str| content_id(&serde_json::from_str(text).unwrap());
        assert_eq!(id(r#"{"a": 1, "b": ["\u0078"]}"#), id(r#"{"b":["x"],"a":1}"#));
        let rows =
            [json!({"a": 1}), json!({"a": "1"}), json!(["a", 1]), json!({"a": [1]}), json!({})];
        let ids: std::collections::HashSet<String> = rows.iter().map(content_id).collect();
        assert_eq!(ids.len(), rows.len());
    }

    #[test]
    fn bad_shares_are_refused() {
        for (shares, expected) in [
            (&[][..], "no shares"),
            (&[("a", 0.7), ("b", 0.4)][..], "1.1 together"),
            (&[("a", -0.1)][..], "`a` is -0.1"),
            (&[("a", f64::NAN)][..], "`a` is NaN"),
        ] {
            let message = splits(shares).validate().unwrap_err().to_string();
            assert!(message.contains(expected), "{message} lacks {expected}");
        }
        assert!(splits(&[("a", 0.7), ("b", 0.2), ("c", 0.1)]).validate().is_ok());
    }

    proptest! {
        #[test]
        fn shares_are_nested(id in "\\PC{0,20}", low in 0.0..=1.0_f64, high in 0.0..=1.0_f64) {
            let (low, high) = (low.min(high), low.max(high));
            prop_assert!(!split_by_hash(&id, low) || split_by_hash(&id, high));
            prop_assert!(!split_by_hash(&id, 0.0) && split_by_hash(&id, 1.0));
        }

        #[test]
        fn a_part_does_not_depend_on_other_rows_or_their_order(
            mut ids in prop::collection::vec("[a-z]{1,6}", 1..20), salt in "[a-z]{0,3}",
        ) {
            let splits = Splits { salt, ..Splits::default() };
            let parts: std::collections::HashMap<String, Option<String>> = ids
                .iter()
                .map(|id| (id.clone(), splits.part(id).map(str::to_owned)))
                .collect();
            ids.reverse();
            ids.push("another".to_owned());
            for id in &ids {
                let part = splits.part(id).map(str::to_owned);
                prop_assert!(part.is_some());
                prop_assert!(parts.get(id).is_none_or(|before| *before == part));
            }
        }
    }
}
