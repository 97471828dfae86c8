//! The items that are to do, beside what earlier rounds left of them.

use crate::Error;
use crate::input::{Item, Items};
use crate::line::Line;
use crate::output::remove;
use dataset::replace;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// An item, with its record of an earlier round if there was one.
pub(crate) struct Todo<I> {
    pub(crate) item: Item<I>,
    pub(crate) kept: Option<Kept>,
}

/// The line of a record.
pub(crate) struct Kept {
    pub(crate) line: Vec<u8>,
    /// Where it stands in its file, counted from 1.
    pub(crate) number: u64,
}

/// Items in their order.
pub(crate) struct Todos<'a, I> {
    items: Items<'a, I>,
    before: Option<Before>,
}

impl<'a, I> Todos<'a, I> {
    /// With `before`, the file of an earlier round.
    pub(crate) fn new(items: Items<'a, I>, before: Option<&Path>) -> Result<Self, Error> {
        Ok(Self { items, before: before.map(Before::open).transpose()? })
    }

    fn todo(&mut self, item: Item<I>) -> Result<Todo<I>, Error> {
        let kept = match &mut self.before {
            Some(before) => before.take(&item.id)?,
            None => None,
        };
        Ok(Todo { item, kept })
    }
}

impl<I> Iterator for Todos<'_, I> {
    type Item = Result<Todo<I>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.items.next() {
            Some(item) => Some(item.and_then(|item| self.todo(item))),
            None => self.before.as_mut()?.left().map(Err),
        }
    }
}

/// Todos in chunks of a size, the last may be shorter.
pub(crate) struct Chunks<'a, I> {
    pub(crate) todos: Todos<'a, I>,
    pub(crate) size: usize,
}

impl<I> Iterator for Chunks<'_, I> {
    type Item = Result<Vec<Todo<I>>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let chunk: Result<Vec<_>, _> = self.todos.by_ref().take(self.size).collect();
        match chunk {
            Ok(chunk) if chunk.is_empty() => None,
            chunk => Some(chunk),
        }
    }
}

/// The whole lines of a file, with their ends: what a killed process left of one is not among them.
pub(crate) fn whole_lines(
    path: &Path,
) -> Result<impl Iterator<Item = Result<Vec<u8>, dataset::Error>> + Send + use<>, Error> {
    let path = path.to_owned();
    let file =
        File::open(&path).map_err(|source| dataset::Error::Open { path: path.clone(), source })?;
    let mut reader = BufReader::new(file);
    Ok((1..).map_while(move |number| {
        let mut line = Vec::new();
        match reader.read_until(b'\n', &mut line) {
            Ok(_) => line.ends_with(b"\n").then_some(Ok(line)),
            Err(source) => {
                Some(Err(dataset::Error::Read { path: path.clone(), line: number, source }))
            }
        }
    }))
}

/// The records of an earlier round, or of a finished job, in the order of their items; some may be missing.
pub(crate) struct Before {
    path: PathBuf,
    lines: Box<dyn Iterator<Item = Result<Vec<u8>, dataset::Error>> + Send>,
    /// Lines that were read.
    number: u64,
    next: Option<(String, Vec<u8>)>,
}

impl Before {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let lines = Box::new(whole_lines(path)?);
        let mut before = Self { path: path.to_owned(), lines, number: 0, next: None };
        before.read()?;
        Ok(before)
    }

    /// The line of an item, if it is the next.
    pub(crate) fn take(&mut self, id: &str) -> Result<Option<Kept>, Error> {
        if self.next.as_ref().is_none_or(|(next, _)| next != id) {
            return Ok(None);
        }
        let number = self.number;
        Ok(self.pop()?.map(|(_, line)| Kept { line, number }))
    }

    /// The next record and its id.
    fn pop(&mut self) -> Result<Option<(String, Vec<u8>)>, Error> {
        let next = self.next.take();
        self.read()?;
        Ok(next)
    }

    /// Reads up to the next record.
    fn read(&mut self) -> Result<(), Error> {
        while let Some(line) = self.lines.next().transpose()? {
            self.number += 1;
            let read = Line::read(&line);
            let read = read.map_err(|reason| self.wrong(format!("is damaged: {reason}")))?;
            if let Line::Record { id, .. } = read {
                self.next = Some((id, line));
                return Ok(());
            }
        }
        Ok(())
    }

    /// The error that a line is left when there are no more items.
    pub(crate) fn left(&mut self) -> Option<Error> {
        let (id, _) = self.next.take()?;
        Some(
            self.wrong(format!(
                "is the record of {id}, which is no item, or comes out of its order"
            )),
        )
    }

    fn wrong(&self, problem: String) -> Error {
        Error::Record { path: self.path.clone(), line: self.number, problem }
    }
}

/// Puts the records of a round that was stopped, `part`, into those of the rounds before it; failed items have none, so that
/// they are asked for again. Killed on the way and called again, it comes to the same.
pub(crate) fn fold(part: &Path, before: &Path) -> Result<(), Error> {
    if !part.exists() {
        return Ok(());
    }
    let (mut earlier, mut later) = (Before::open(before)?, Before::open(part)?);
    let failed = |source| dataset::Error::Write { path: before.to_owned(), source };
    replace(before, |file| -> Result<(), Error> {
        // Records of earlier rounds are among those of the later one as far as it came.
        while let Some((id, line)) = later.pop()? {
            earlier.take(&id)?;
            file.write_all(&line).map_err(failed)?;
        }
        while let Some((_, line)) = earlier.pop()? {
            file.write_all(&line).map_err(failed)?;
        }
        Ok(())
    })?;
    remove(part)
}
