//! The lines of a file that may be compressed.

use crate::Error;
use crate::file::open_file;
use flate2::read::MultiGzDecoder;
use std::io::{BufRead, BufReader, Result as IoResult};
use std::path::{Path, PathBuf};

/// The bytes of a file, unpacked if its name says that they are packed.
pub(crate) type Bytes = Box<dyn BufRead + Send>;

/// What some editors put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The lines of a file that are not blank, numbered from 1.
pub(crate) struct Lines {
    path: PathBuf,
    bytes: Bytes,
    number: usize,
}

/// One line, with its end.
pub(crate) struct Line {
    pub(crate) number: usize,
    pub(crate) bytes: Vec<u8>,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self::from_bytes(path, open(path)?, 0))
    }

    /// The lines of what is left of a file, of which `skipped` lines are read.
    pub(crate) fn from_bytes(path: &Path, bytes: Bytes, skipped: usize) -> Self {
        Self { path: path.to_owned(), bytes, number: skipped }
    }
}

/// Opens a file to be read from its start, without a byte order mark.
pub(crate) fn open(path: &Path) -> Result<Bytes, Error> {
    let file = open_file(path)?;
    let mut bytes: Bytes = if is_gz(path) {
        Box::new(BufReader::new(MultiGzDecoder::new(file)))
    } else {
        Box::new(BufReader::new(file))
    };
    // What is wrong with the first bytes is told once: a decoder that is asked again says that the file is at its end.
    let start = bytes.fill_buf().map_err(|source| Error::Read {
        path: path.to_owned(),
        line: 1,
        source,
    })?;
    if start.starts_with(BYTE_ORDER_MARK) {
        bytes.consume(BYTE_ORDER_MARK.len());
    }
    Ok(bytes)
}

/// Whether the name says that the file is compressed.
pub(crate) fn is_gz(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))
}

/// Skips white space; gives the byte that follows, if any does, and the number of line ends skipped.
pub(crate) fn skip_white_space(bytes: &mut dyn BufRead) -> IoResult<(Option<u8>, usize)> {
    let mut ends = 0;
    loop {
        let start = bytes.fill_buf()?;
        if start.is_empty() {
            return Ok((None, ends));
        }
        let white = start.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        // As many pieces as line ends and one more.
        ends += start[..white].split(|&byte| byte == b'\n').count() - 1;
        let next = start.get(white).copied();
        bytes.consume(white);
        if next.is_some() {
            return Ok((next, ends));
        }
    }
}

impl Iterator for Lines {
    type Item = Result<Line, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.number += 1;
            let mut bytes = Vec::new();
            match self.bytes.read_until(b'\n', &mut bytes) {
                Ok(0) => return None,
                Ok(_) if bytes.trim_ascii().is_empty() => {}
                Ok(_) => return Some(Ok(Line { number: self.number, bytes })),
                Err(source) => {
                    let (path, line) = (self.path.clone(), self.number);
                    return Some(Err(Error::Read { path, line, source }));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reading;
    use flate2::{Compression, write::GzEncoder};
    use std::error::Error as _;
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
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
        Lines::open(&path)?.map(|line| line.map(|line| (line.number, text(line.bytes)))).collect()
    }

    #[test]
    fn counts_blank_lines_but_skips_them() {
        let expected = [(1, "a".to_owned()), (3, "b".to_owned())];
        assert_eq!(read("x.jsonl", b"a\r\n \nb").unwrap(), expected);
        assert_eq!(read("x.jsonl", b"\xef\xbb\xbfa\n\nb").unwrap(), expected);
        assert_eq!(read("x.jsonl.gz", &compressed("a\n\nb\n")).unwrap(), expected);
    }

    #[test]
    fn reads_compressed_files_joined_end_to_end() {
        let joined = [compressed("a\n"), compressed("b\n")].concat();
        assert_eq!(read("x.gz", &joined).unwrap().len(), 2);
    }

    #[test]
    fn names_the_line_that_cannot_be_read() {
        let whole = compressed("a\nb\n");
        let message = read("x.gz", &whole[..whole.len() - 4]).unwrap_err().to_string();
        assert!(message.contains("x.gz at line 3"), "{message}");
    }

    #[test]
    fn what_is_not_compressed_and_what_is_cut_in_its_header_is_no_empty_file() {
        let folder = tempfile::tempdir().unwrap();
        let plain = b"prompt\n\"Not compressed, though its name says so.\"\n";
        for bytes in [&plain[..], &compressed("a\n")[..5]] {
            for name in ["x.jsonl.gz", "x.csv.gz"] {
                assert!(matches!(read(name, bytes), Err(Error::Read { line: 1, .. })), "{name}");
                let path = folder.path().join(name);
                std::fs::write(&path, bytes).unwrap();
                let error = Reading::default().prompts(&path).unwrap_err();
                let message = error.to_string();
                assert!(
                    message.contains(name) && message.contains("damaged or cut off"),
                    "{message}"
                );
            }
        }
        let error = read("x.gz", plain).unwrap_err();
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains("gzip header"), "{cause}");
    }

    #[test]
    fn white_space_is_skipped_and_its_lines_are_counted() {
        let skipped = |text: &str| skip_white_space(&mut text.as_bytes()).unwrap();
        assert_eq!(skipped(" \r\n\t\n [1]"), (Some(b'['), 2));
        assert_eq!(skipped("\n "), (None, 1));
        assert_eq!(skipped("x\n"), (Some(b'x'), 0));
    }
}
