//! Bytes whose lines are counted while somebody else reads them.

use crate::lines::Bytes;
use std::collections::VecDeque;
use std::io::{Read, Result as IoResult};

/// Bytes that remember where lines begin, as far as they are read and until they are asked.
pub(crate) struct Numbered {
    bytes: Bytes,
    /// Bytes and lines that are read.
    offset: u64,
    line: usize,
    /// Whether the next byte is the first of a line.
    at_start: bool,
    /// Where lines begin that are not blank, and their numbers.
    starts: VecDeque<(u64, usize)>,
}

impl Numbered {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes, offset: 0, line: 1, at_start: true, starts: VecDeque::new() }
    }

    /// The number of the first line that is not blank and begins at `offset` or behind it; offsets must not fall.
    pub(crate) fn line_from(&mut self, offset: u64) -> usize {
        while self.starts.front().is_some_and(|&(start, _)| start < offset) {
            self.starts.pop_front();
        }
        self.starts.front().map_or(self.line, |&(_, line)| line)
    }
}

impl Read for Numbered {
    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        let count = self.bytes.read(buffer)?;
        for &byte in &buffer[..count] {
            if self.at_start && !matches!(byte, b'\r' | b'\n') {
                self.starts.push_back((self.offset, self.line));
            }
            self.at_start = byte == b'\n';
            self.line += usize::from(self.at_start);
            self.offset += 1;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_their_offset() {
        let text = b"ab\r\n\r\nc\nd";
        let mut numbered = Numbered::new(Box::new(&text[..]));
        let mut read = Vec::new();
        numbered.read_to_end(&mut read).unwrap();
        assert_eq!(read, text);
        for (offset, line) in [(0, 1), (1, 3), (3, 3), (6, 3), (7, 4), (8, 4), (9, 4)] {
            assert_eq!(numbered.line_from(offset), line, "{offset}");
        }
    }
}
