//! Files that are read.

use crate::Error;
use std::fs::File;
use std::path::Path;

/// Opens a file to be read. A folder can be opened too, and would pass for a damaged file.
pub(crate) fn open_file(path: &Path) -> Result<File, Error> {
    let failed = |source| Error::Open { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(Error::Folder { path: path.to_owned() });
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use crate::{Error, Reading, read_jsonl};
    use serde_json::Value;

    #[test]
    fn a_folder_is_told_from_a_damaged_file() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["rows", "rows.jsonl.gz", "rows.csv", "rows.csv.gz"] {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            let error = Reading::default().prompts(&path).unwrap_err();
            let message = error.to_string();
            assert!(message.contains(name) && message.contains("is a folder"), "{message}");
            assert!(matches!(read_jsonl::<Value>(&path), Err(Error::Folder { .. })), "{name}");
        }
    }

    #[cfg(feature = "parquet")]
    #[test]
    fn a_folder_is_no_parquet_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        std::fs::create_dir(&path).unwrap();
        assert!(matches!(Reading::default().values(&path), Err(Error::Folder { .. })));
    }
}
