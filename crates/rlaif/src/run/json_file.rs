//! A file of a run that holds one JSON value.

use super::Error;
use dataset::write_atomic;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;

/// Reads what [`write_json`] wrote.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::Settings`] with line and column if it holds something else.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_str(&text).map_err(|error| Error::Settings {
        source_name: path.display().to_string(),
        message: error.to_string(),
    })
}

/// Writes a file at once or not at all.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|reason| dataset::Error::Encode { path: path.to_owned(), reason })?;
    Ok(write_atomic(path, format!("{text}\n").as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn values_survive_the_disk_and_other_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let missing = read_json::<u32>(&path).unwrap_err();
        assert!(matches!(&missing, Error::Io { path: found, .. } if *found == path), "{missing}");
        let value = BTreeMap::from([("rate".to_owned(), 0.1)]);
        write_json(&path, &value).unwrap();
        assert_eq!(read_json::<BTreeMap<String, f64>>(&path).unwrap(), value);
        std::fs::write(&path, "{\n\"rate\": no}").unwrap();
        let message = read_json::<BTreeMap<String, f64>>(&path).unwrap_err().to_string();
        assert!(message.contains("report.json") && message.contains("line 2"), "{message}");
    }
}
