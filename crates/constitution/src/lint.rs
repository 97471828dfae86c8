//! What is suspect about a constitution.

use crate::file::{parse_all, read};
use crate::{Constitution, Error, Principle};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

/// What `lint` found, as sentences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lint {
    /// What the format forbids: the constitution cannot be used.
    pub faults: Vec<String>,
    /// What is allowed and hardly meant.
    pub doubts: Vec<String>,
}

impl Constitution {
    /// Reads a file and finds everything that is wrong with it, not only the first fault.
    ///
    /// # Errors
    /// If the file cannot be read or is no TOML of a constitution's form.
    pub fn lint(path: impl AsRef<Path>) -> Result<(Self, Lint), Error> {
        let path = path.as_ref();
        let (constitution, faults) = parse_all(&read(path)?, Some(path))?;
        let faults = faults.iter().map(ToString::to_string).collect();
        let doubts = constitution.doubts();
        Ok((constitution, Lint { faults, doubts }))
    }

    /// Entries that say the same, ids that are hard to tell apart, and ids that mean different things in the two lists.
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = of_list(&self.critique_revision);
        doubts.extend(of_list(&self.comparison));
        let tags: HashMap<&str, &[String]> =
            self.critique_revision.iter().map(|one| (one.id(), one.tags())).collect();
        for principle in &self.comparison {
            let Some(others) = tags.get(principle.id()) else { continue };
            let tagged = !others.is_empty() && !principle.tags().is_empty();
            if tagged && !principle.tags().iter().any(|tag| others.contains(tag)) {
                doubts.push(format!(
                    "id {:?} stands in both lists for different things: its tags are {others:?} and {:?}",
                    principle.id(),
                    principle.tags()
                ));
            }
        }
        doubts
    }

    /// What does not fit these counts of draws, by id: the principles that they lack, and the ids that this constitution
    /// lacks. Nothing is said of a list that was not drawn from at all.
    pub fn doubts_of_draws(
        &self,
        revisions: &BTreeMap<String, usize>,
        comparisons: &BTreeMap<String, usize>,
    ) -> Vec<String> {
        let mut doubts = unlike(&self.critique_revision, revisions);
        doubts.extend(unlike(&self.comparison, comparisons));
        doubts
    }
}

fn unlike<P: Principle>(principles: &[P], drawn: &BTreeMap<String, usize>) -> Vec<String> {
    let total: usize = drawn.values().sum();
    let never = principles.iter().filter(|one| total > 0 && !drawn.contains_key(one.id()));
    let never =
        never.map(|one| format!("{} {:?} was never drawn in {total} draws", P::LIST, one.id()));
    let ids: HashSet<&str> = principles.iter().map(Principle::id).collect();
    let unknown = drawn.iter().filter(|(id, _)| !ids.contains(id.as_str()));
    let unknown = unknown.map(|(id, count)| {
        format!("{} {id:?} was drawn in {count} of {total} draws and is not there", P::LIST)
    });
    never.chain(unknown).collect()
}

/// Without what does not tell texts apart: case, white space, marks.
fn essence(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn of_list<P: Principle>(principles: &[P]) -> Vec<String> {
    let mut doubts = Vec::new();
    let mut by_id: HashMap<String, &str> = HashMap::new();
    let mut by_text: HashMap<Vec<String>, &str> = HashMap::new();
    for principle in principles {
        let id = principle.id();
        if let Some(other) = by_id.insert(essence(id), id)
            && other != id
        {
            doubts.push(format!("{} ids {other:?} and {id:?} are hard to tell apart", P::LIST));
        }
        let texts = principle.texts().iter().map(|(_, text)| essence(text)).collect();
        if let Some(other) = by_text.insert(texts, id) {
            doubts.push(format!("{} {other:?} and {id:?} say the same", P::LIST));
        }
    }
    doubts
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        name = "doubtful"
        [[critique_revision]]
        id = "bees"
        critique_request = "Bees?"
        revision_request = "Spare them."
        tags = ["animals"]
        [[comparison]]
        id = "bees"
        text = "Which is kinder to the bees?"
        tags = ["honey"]
        [[comparison]]
        id = "Bees"
        text = "which is kinder to the bees"
        [[comparison]]
        id = "bees"
        text = ""
        weight = -1
    "#;

    #[test]
    fn finds_everything_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        std::fs::write(&file, TEXT).unwrap();
        let (constitution, lint) = Constitution::lint(&file).unwrap();
        let has = |list: &[String], part: &str| list.iter().any(|line| line.contains(part));
        for part in ["comparison[3].id", "comparison[3].text", "comparison[3].weight"] {
            assert!(has(&lint.faults, part), "{part}: {:?}", lint.faults);
        }
        for part in ["hard to tell apart", "say the same", "different things"] {
            assert!(has(&lint.doubts, part), "{part}: {:?}", lint.doubts);
        }
        let drawn = BTreeMap::from([("bees".to_owned(), 5)]);
        let doubts = constitution.doubts_of_draws(&BTreeMap::new(), &drawn);
        assert_eq!(doubts, ["comparison \"Bees\" was never drawn in 5 draws"]);
        let drawn = BTreeMap::from([("bees", 5), ("Bees", 1), ("wasps", 2)]);
        let drawn = drawn.into_iter().map(|(id, count)| (id.to_owned(), count)).collect();
        let doubts = constitution.doubts_of_draws(&drawn, &drawn);
        let unknown = |list: &str, id: &str, count: usize| {
            format!("{list} {id:?} was drawn in {count} of 8 draws and is not there")
        };
        let expected = [
            unknown("critique_revision", "Bees", 1),
            unknown("critique_revision", "wasps", 2),
            unknown("comparison", "wasps", 2),
        ];
        assert_eq!(doubts, expected);
    }

    #[test]
    fn every_entry_that_lacks_a_key_is_named_beside_all_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        let text = TEXT
            .replacen("critique_request = \"Bees?\"\n", "", 1)
            .replacen("text = \"which is", "txt = \"which is", 1)
            .replacen("tags = [\"honey\"]", "tags = 3", 1);
        std::fs::write(&file, text).unwrap();
        let (_, lint) = Constitution::lint(&file).unwrap();
        let expected = [
            ("line 3", "`critique_revision[1].critique_request` is missing"),
            ("line 10", "integer"),
            ("line 13", "`comparison[2].txt` is unknown; there are id, text, "),
            ("line 11", "`comparison[2].text` is missing"),
            ("line 16", "`comparison[3].text` is empty"),
            ("line 17", "`comparison[3].weight` is -1"),
        ];
        assert_eq!(lint.faults.len(), expected.len(), "{:?}", lint.faults);
        for (fault, (line, part)) in lint.faults.iter().zip(expected) {
            assert!(fault.contains(&format!("{line}: ")) && fault.contains(part), "{fault}");
        }
        assert!(lint.doubts.iter().all(|doubt| !doubt.contains("the same")), "{:?}", lint.doubts);
        let first = Constitution::from_file(&file).unwrap_err().to_string();
        assert!(first.contains(expected[0].1), "{first}");
    }

    #[test]
    fn the_built_in_constitution_is_beyond_doubt() {
        assert_eq!(Constitution::general().doubts(), [""; 0]);
    }
}
