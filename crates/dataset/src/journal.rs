//! An append-only record of what is done.

use crate::jsonl::encode;
use crate::{AppendOnly, Difference, Error};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};

/// What the first line of every journal begins with.
const MARK: &str = "{\"journal\":";

/// One durable record an item, so that an interrupted stage continues where it stopped.
///
/// The file is JSON lines: first `{"journal": header}` with the settings it belongs to, then the records in the
/// order in which they were done. [`Journal::append`] returns once they are on the disk. A line counts from its line
/// end on; one that a killed process left half-written is cut off when the journal is opened again.
///
/// ```
/// # fn main() -> Result<(), dataset::Error> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("squares.jsonl");
/// use dataset::Journal;
///
/// let mut journal = Journal::open(&path, &"squares", |&(number, _): &(u32, u32)| number.to_string())?;
/// let ids = ["1", "2", "3"];
/// for number in 1..=3 {
///     if !journal.contains(&number.to_string()) {
///         journal.append(vec![(number, number * number)])?;
///     }
/// }
/// assert_eq!(journal.finish(&ids)?, [(1, 1), (2, 4), (3, 9)]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Journal<T> {
    path: PathBuf,
    file: AppendOnly,
    id: fn(&T) -> String,
    done: Vec<String>,
    records: HashMap<String, T>,
}

impl<T: Serialize + DeserializeOwned> Journal<T> {
    /// Opens the journal at `path`, or begins one, for the settings in `header`.
    ///
    /// `id` names the item that a record belongs to. The file stays locked against other processes while open.
    ///
    /// # Errors
    /// [`Error::Header`] if the journal belongs to other settings, naming each that differs; [`Error::Damaged`] for a
    /// whole line that is no record, [`Error::Repeated`] for a second record of one item, [`Error::NotAJournal`],
    /// [`Error::Busy`], [`Error::Open`], [`Error::Read`], [`Error::Write`] and [`Error::Encode`].
    pub fn open(
        path: impl AsRef<Path>,
        header: &impl Serialize,
        id: fn(&T) -> String,
    ) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let first = encode(&path, &json!({ "journal": value_on_disk(&path, header)? }))?;
        let mut file = AppendOnly::open(&path)?;
        let mut bytes = Vec::new();
        file.reader(u64::MAX)?
            .read_to_end(&mut bytes)
            .map_err(|source| Error::Open { path: path.clone(), source })?;
        let compared = bytes.len().min(MARK.len());
        if bytes[..compared] != MARK.as_bytes()[..compared] {
            return Err(Error::NotAJournal { path });
        }
        file.cut()?;
        bytes.truncate(usize::try_from(file.length()).unwrap_or(usize::MAX));
        let mut journal = Self { path, file, id, done: Vec::new(), records: HashMap::new() };
        if bytes.is_empty() {
            journal.file.append_durably(first.as_bytes())?;
            journal.file.sync_name()?;
        } else {
            journal.read(&bytes, &first)?;
        }
        Ok(journal)
    }

    /// The ids of the items that are done, in the order in which they were.
    pub fn done(&self) -> &[String] {
        &self.done
    }

    /// Whether item `id` is done.
    pub fn contains(&self, id: &str) -> bool {
        self.records.contains_key(id)
    }

    /// The record of item `id`, if it is done.
    pub fn get(&self, id: &str) -> Option<&T> {
        self.records.get(id)
    }

    /// Writes records and returns once all of them are on the disk.
    ///
    /// # Errors
    /// [`Error::Repeated`] if an item is done already, [`Error::Encode`], or [`Error::Write`]; then none of the records
    /// counts.
    pub fn append(&mut self, records: Vec<T>) -> Result<(), Error> {
        let mut text = String::new();
        let mut new = HashSet::new();
        for record in &records {
            let id = (self.id)(record);
            if self.contains(&id) || !new.insert(id.clone()) {
                return Err(Error::Repeated { path: self.path.clone(), id });
            }
            text += &encode(&self.path, record)?;
        }
        self.file.append_durably(text.as_bytes())?;
        for record in records {
            self.keep(record);
        }
        Ok(())
    }

    /// All records of `ids`, in that order; the file stays as it is.
    ///
    /// # Errors
    /// [`Error::Missing`] if an item is not done, [`Error::Repeated`] if `ids` holds one twice.
    pub fn finish(mut self, ids: &[impl AsRef<str>]) -> Result<Vec<T>, Error> {
        let mut missing = ids.iter().map(AsRef::as_ref).filter(|id| !self.contains(id));
        if let Some(first) = missing.next() {
            let (first, count) = (first.to_owned(), 1 + missing.count());
            return Err(Error::Missing { path: self.path, count, first });
        }
        ids.iter()
            .map(|id| {
                let id = id.as_ref();
                self.records
                    .remove(id)
                    .ok_or_else(|| Error::Repeated { path: self.path.clone(), id: id.to_owned() })
            })
            .collect()
    }

    /// Takes in the whole lines of a journal whose first line must say the same as `expected`.
    fn read(&mut self, bytes: &[u8], expected: &str) -> Result<(), Error> {
        let mut lines = (1..).zip(bytes.split_inclusive(|&byte| byte == b'\n'));
        if let Some((line, found)) = lines.next() {
            let found = self.parse::<Value>(line, found)?;
            let expected = self.parse::<Value>(line, expected.as_bytes())?;
            let differences = Difference::all(&found["journal"], &expected["journal"]);
            if !differences.is_empty() {
                return Err(Error::Header { path: self.path.clone(), differences });
            }
        }
        for (line, bytes) in lines {
            let record = self.parse(line, bytes)?;
            if let Some(id) = self.keep(record) {
                return Err(Error::Repeated { path: self.path.clone(), id });
            }
        }
        Ok(())
    }

    fn parse<U: DeserializeOwned>(&self, line: usize, bytes: &[u8]) -> Result<U, Error> {
        serde_json::from_slice(bytes).map_err(|reason| Error::Damaged {
            path: self.path.clone(),
            line,
            reason,
        })
    }

    /// Counts a record as done; gives the id back if it already was.
    fn keep(&mut self, record: T) -> Option<String> {
        let id = (self.id)(&record);
        if self.records.insert(id.clone(), record).is_some() {
            return Some(id);
        }
        self.done.push(id);
        None
    }
}

/// A value as it will be read back: an `f32`, for one, is another number in memory than on disk.
fn value_on_disk(path: &Path, value: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_string(value)
        .and_then(|text| serde_json::from_str(&text))
        .map_err(|reason| Error::Encode { path: path.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Item {
        id: String,
        text: String,
    }

    fn item(id: usize, text: &str) -> Item {
        Item { id: id.to_string(), text: text.to_owned() }
    }

    fn open(path: &Path, header: &impl Serialize) -> Result<Journal<Item>, Error> {
        Journal::open(path, header, |item| item.id.clone())
    }

    /// A folder with a journal of two records.
    fn two_records() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let mut journal = open(&path, &json!({"seed": 1})).unwrap();
        journal.append(vec![item(2, "b"), item(1, "a")]).unwrap();
        (folder, path)
    }

    #[test]
    fn goes_on_where_it_stopped_and_gives_records_in_the_order_asked() {
        let (_folder, path) = two_records();
        let mut journal = open(&path, &json!({"seed": 1})).unwrap();
        assert_eq!(journal.done(), ["2", "1"]);
        assert!(journal.contains("1") && !journal.contains("3"));
        journal.append(vec![item(3, "c")]).unwrap();
        journal.append(Vec::new()).unwrap();
        let records = journal.finish(&["1", "2", "3"]).unwrap();
        assert_eq!(records, [item(1, "a"), item(2, "b"), item(3, "c")]);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 4);
        assert_eq!(text.lines().next(), Some("{\"journal\":{\"seed\":1}}"));
    }

    #[test]
    fn names_every_setting_that_differs() {
        #[derive(Serialize)]
        struct Settings {
            seed: u64,
            rate: f32,
            sampling: Value,
            old: Option<u8>,
        }
        let settings = |seed, top_k| Settings { seed, rate: 0.9, sampling: top_k, old: None };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        drop(open(&path, &settings(1, json!({"top_k": 5}))).unwrap());
        drop(open(&path, &settings(1, json!({"top_k": 5}))).unwrap());
        let error = open(&path, &settings(2, json!({"top_p": 0.5}))).unwrap_err();
        let Error::Header { differences, .. } = &error else { panic!("{error}") };
        let keys: Vec<&str> = differences.iter().map(|found| found.key.as_str()).collect();
        assert_eq!(keys, ["seed", "sampling.top_k", "sampling.top_p"]);
        let message = error.to_string();
        assert!(message.contains("`seed` is 1 there and 2 here"), "{message}");
        assert!(message.contains("`sampling.top_k` is 5 there and missing here"), "{message}");
        let message = open(&path, &"plain").unwrap_err().to_string();
        assert!(message.contains("`header` is {"), "{message}");
    }

    #[test]
    fn a_damaged_line_in_the_middle_is_an_error() {
        let (_folder, path) = two_records();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("\"id\":\"2\"", "\"id\":\"2", 1)).unwrap();
        let message = open(&path, &json!({"seed": 1})).unwrap_err().to_string();
        assert!(message.contains("journal.jsonl, line 2 is damaged"), "{message}");
    }

    #[test]
    fn an_item_is_done_once() {
        let (_folder, path) = two_records();
        let mut journal = open(&path, &json!({"seed": 1})).unwrap();
        for again in [vec![item(2, "x")], vec![item(3, "x"), item(3, "y")]] {
            assert!(matches!(journal.append(again), Err(Error::Repeated { .. })));
        }
        assert_eq!(journal.done().len(), 2);
        assert!(
            matches!(journal.finish(&["1", "1"]), Err(Error::Repeated { id, .. }) if id == "1")
        );
        let text = std::fs::read_to_string(&path).unwrap();
        let last = text.lines().last().unwrap().to_owned();
        std::fs::write(&path, format!("{text}{last}\n")).unwrap();
        assert!(matches!(open(&path, &json!({"seed": 1})), Err(Error::Repeated { .. })));
    }

    #[test]
    fn says_what_is_missing() {
        let (_folder, path) = two_records();
        let journal = open(&path, &json!({"seed": 1})).unwrap();
        let message = journal.finish(&["1", "7", "8"]).unwrap_err().to_string();
        assert!(message.contains("lacks 2 of the items asked for, the first is 7"), "{message}");
    }

    #[test]
    fn another_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        for text in ["half a note", "a note\n"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(open(&path, &1), Err(Error::NotAJournal { .. })));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn one_process_at_a_time() {
        let (_folder, path) = two_records();
        let journal = open(&path, &json!({"seed": 1})).unwrap();
        assert!(matches!(open(&path, &json!({"seed": 1})), Err(Error::Busy { .. })));
        drop(journal);
        assert!(open(&path, &json!({"seed": 1})).is_ok());
    }

    proptest! {
        #[test]
        fn survives_a_cut_at_any_byte(
            texts in prop::collection::vec("\\PC{0,8}", 1..6),
            at in any::<prop::sample::Index>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("journal.jsonl");
            let items: Vec<Item> =
                texts.iter().enumerate().map(|(index, text)| item(index, text)).collect();
            let header = json!({"name": "é", "rate": 0.1});
            open(&path, &header).unwrap().append(items.clone()).unwrap();
            let whole = std::fs::read(&path).unwrap();

            let cut = at.index(whole.len() + 1);
            std::fs::write(&path, &whole[..cut]).unwrap();
            // As many pieces as line ends and one more; the first line is the header.
            let survivors = whole[..cut].split(|&byte| byte == b'\n').count().saturating_sub(2);
            let mut journal = open(&path, &header).unwrap();
            let ids: Vec<String> = items.iter().map(|item| item.id.clone()).collect();
            prop_assert_eq!(journal.done(), &ids[..survivors]);
            journal.append(items[survivors..].to_vec()).unwrap();
            prop_assert_eq!(journal.finish(&ids).unwrap(), items);
            prop_assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
    }
}
