//! What is suspect about a constitution.

use crate::file::{parse_all, read};
use crate::{ComparisonPrinciple, Constitution, Error, Principle, RevisionPrinciple};
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

    /// Entries that say the same, ids that are hard to tell apart, and ids in both lists of which nothing says that they mean one
    /// thing there.
    ///
    /// Texts cannot say it, since a request for a critique and a sentence to compare by are different texts in any case. A tag in
    /// common vouches for an id, unless the two entries derive from different sources.
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = of_list(&self.critique_revision);
        doubts.extend(of_list(&self.comparison));
        let by_id: HashMap<&str, &RevisionPrinciple> =
            self.critique_revision.iter().map(|one| (one.id(), one)).collect();
        for principle in &self.comparison {
            let other = by_id.get(principle.id());
            doubts.extend(other.and_then(|other| of_both_lists(other, principle)));
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

/// Why two entries with one id, one of each list, may not be one principle.
fn of_both_lists(revision: &RevisionPrinciple, comparison: &ComparisonPrinciple) -> Option<String> {
    let id = revision.id();
    let [tags, others] = [revision.tags(), comparison.tags()];
    if !tags.iter().any(|tag| others.contains(tag)) {
        return Some(if tags.is_empty() || others.is_empty() {
            format!(
                "id {id:?} stands in both lists, and no tag in common says that it means one thing; give both entries one, or \
                 give each an id of its own"
            )
        } else {
            format!(
                "id {id:?} stands in both lists for different things: its tags are {tags:?} and {others:?}"
            )
        });
    }
    let [source, other] = [revision.source(), comparison.source()];
    let differ = !source.is_empty() && !other.is_empty() && source != other;
    differ.then(|| {
        format!(
            "id {id:?} stands in both lists for different things: its sources are {source:?} and {other:?}"
        )
    })
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
    fn an_id_of_both_lists_needs_something_that_vouches_for_it() {
        let doubts = |revision: &str, comparison: &str| {
            let text = format!(
                "name = 'n'\n[[critique_revision]]\nid = 'bees'\ncritique_request = 'c'\nrevision_request = 'r'\n{revision}\n\
                 [[comparison]]\nid = 'bees'\ntext = 'Which reply is shorter?'\n{comparison}\n"
            );
            Constitution::from_toml(&text).unwrap().doubts()
        };
        let (animals, honey) = ("tags = ['animals', 'food']", "tags = ['honey']");
        for (revision, comparison, expected) in [
            ("", "", "no tag in common"),
            (animals, "", "no tag in common"),
            ("", honey, "no tag in common"),
            ("source = 'a book'", "source = 'a book'", "no tag in common"),
            (animals, honey, "its tags are"),
            (
                "tags = ['bees']\nsource = 'a book'",
                "tags = ['bees']\nsource = 'a law'",
                r#"its sources are "a book" and "a law""#,
            ),
        ] {
            let found = doubts(revision, comparison);
            assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
            assert!(found[0].starts_with("id \"bees\" stands in both lists"), "{found:?}");
        }
        for (revision, comparison) in [
            (animals, "tags = ['food']"),
            ("tags = ['bees']\nsource = 'a book'", "tags = ['bees']"),
            ("tags = ['bees']\nsource = 'a book'", "tags = ['bees']\nsource = 'a book'"),
        ] {
            assert_eq!(doubts(revision, comparison), [""; 0]);
        }
    }

    #[test]
    fn the_built_in_constitution_is_beyond_doubt() {
        assert_eq!(Constitution::general().doubts(), [""; 0]);
    }
}
