//! The lines of a file that may be compressed.

use crate::Error;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};

/// The lines of a file that are not blank, numbered from 1, without their ends.
pub(crate) struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead>,
    number: usize,
}

/// One line.
pub(crate) struct Line {
    pub(crate) number: usize,
    pub(crate) text: String,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let path = path.to_owned();
        let reader: Box<dyn BufRead> = match File::open(&path) {
            Ok(file) if is_gz(&path) => Box::new(BufReader::new(MultiGzDecoder::new(file))),
            Ok(file) => Box::new(BufReader::new(file)),
            Err(source) => return Err(Error::Open { path, source }),
        };
        Ok(Self { path, reader, number: 0 })
    }
}

/// Whether the name says that the file is compressed.
pub(crate) fn is_gz(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))
}

impl Iterator for Lines {
    type Item = Result<Line, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.number += 1;
            let failed = |source| {
                Some(Err(Error::Read { path: self.path.clone(), line: self.number, source }))
            };
            let mut bytes = Vec::new();
            match self.reader.read_until(b'\n', &mut bytes) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(source) => return failed(source),
            }
            match String::from_utf8(bytes) {
                Ok(text) if text.trim().is_empty() => {}
                Ok(text) => return Some(Ok(Line { number: self.number, text })),
                Err(error) => return failed(IoError::new(ErrorKind::InvalidData, error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn compressed(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn read(name: &str, bytes: &[u8]) -> Result<Vec<(usize, String)>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        Lines::open(&path)?
            .map(|line| line.map(|line| (line.number, line.text.trim().to_owned())))
            .collect()
    }

    #[test]
    fn counts_blank_lines_but_skips_them() {
        let expected = [(1, "a".to_owned()), (3, "b".to_owned())];
        assert_eq!(read("x.jsonl", b"a\r\n \nb").unwrap(), expected);
        assert_eq!(read("x.jsonl.gz", &compressed("a\n\nb\n")).unwrap(), expected);
    }

    #[test]
    fn reads_compressed_files_joined_end_to_end() {
        let joined = [compressed("a\n"), compressed("b\n")].concat();
        assert_eq!(read("x.gz", &joined).unwrap().len(), 2);
    }

    #[test]
    fn names_the_line_that_cannot_be_read() {
        let message = read("x.jsonl", b"a\n\xff\n").unwrap_err().to_string();
        assert!(message.contains("x.jsonl at line 2"), "{message}");
        let whole = compressed("a\nb\n");
        let message = read("x.gz", &whole[..whole.len() - 4]).unwrap_err().to_string();
        assert!(message.contains("x.gz at line 3"), "{message}");
    }
}
