//! What a file of lines holds of the steps that are done.

use serde::Deserialize;
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::ops::{Range, RangeInclusive};

/// The step of a line, counted from 1, or why it has none.
pub(crate) type StepOf = fn(&[u8]) -> Result<u64, serde_json::Error>;

/// What the lines of a file are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lines {
    /// The records of a stage: one of every step.
    Records,
    /// What is kept beside them: any number of lines a step, of some steps none.
    Beside(StepOf),
}

/// The records of the steps that are done, as places in a file, and what is wrong with it.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// The bytes of their lines, in order; lines that follow each other are one range.
    kept: Vec<Range<u64>>,
    /// The lines among them that are no such record.
    pub(crate) damaged: Vec<Damaged>,
    /// The steps that have no record, where every step should have one.
    pub(crate) missing: Vec<RangeInclusive<u64>>,
}

/// A line that is no record of a step that could come next.
#[derive(Debug)]
pub(crate) struct Damaged {
    /// Counted from 1.
    pub(crate) line: u64,
    /// What stands there.
    pub(crate) problem: String,
}

impl Recorded {
    /// Looks for the lines of steps 1 to `done`. What follows the last record of a stage is not looked at: it is of steps
    /// that are taken again.
    pub(crate) fn read(file: &mut impl BufRead, done: u64, lines: Lines) -> io::Result<Self> {
        let mut found = Self::default();
        let (mut line, mut begin) = (Vec::new(), 0);
        let (mut number, mut last) = (0, 0);
        let one_a_step = matches!(lines, Lines::Records);
        while last < done || !one_a_step {
            line.clear();
            let end = begin + file.read_until(b'\n', &mut line)? as u64;
            if end == begin {
                break;
            }
            number += 1;
            match lines.step_of(&line) {
                // Of a step that is taken again.
                Ok(step) if step > done => {}
                Ok(step) if step > last || (step == last && last > 0 && !one_a_step) => {
                    found.keep(begin..end);
                    if one_a_step {
                        found.miss(last + 1, step - 1);
                    }
                    last = step;
                }
                Ok(step) => {
                    let problem =
                        format!("there is a record of step {step} after that of step {last}");
                    found.damaged.push(Damaged { line: number, problem });
                }
                Err(problem) => found.damaged.push(Damaged { line: number, problem }),
            }
            begin = end;
        }
        if one_a_step {
            found.miss(last + 1, done);
        }
        Ok(found)
    }

    /// The bytes to keep, if they are the first of the file and nothing is damaged.
    pub(crate) fn whole_until(&self) -> Option<u64> {
        match self.kept.as_slice() {
            _ if !self.damaged.is_empty() => None,
            [] => Some(0),
            [Range { start: 0, end }] => Some(*end),
            _ => None,
        }
    }

    /// Copies the lines to keep.
    pub(crate) fn copy(
        &self,
        from: &mut (impl Read + Seek),
        to: &mut impl Write,
    ) -> io::Result<()> {
        for Range { start, end } in &self.kept {
            from.seek(SeekFrom::Start(*start))?;
            io::copy(&mut from.by_ref().take(end - start), to)?;
        }
        Ok(())
    }

    fn keep(&mut self, line: Range<u64>) {
        match self.kept.last_mut() {
            Some(before) if before.end == line.start => before.end = line.end,
            _ => self.kept.push(line),
        }
    }

    fn miss(&mut self, first: u64, last: u64) {
        if first <= last {
            self.missing.push(first..=last);
        }
    }
}

impl Lines {
    /// The step that a line belongs to, or what is wrong with it.
    fn step_of(self, line: &[u8]) -> Result<u64, String> {
        if !line.ends_with(b"\n") {
            return Err("there is half a line".to_owned());
        }
        let step = match self {
            Self::Records => step_of_record(line),
            Self::Beside(step_of) => step_of(line),
        };
        step.map_err(|reason| format!("there is no record of a step ({reason})"))
    }
}

fn step_of_record(line: &[u8]) -> Result<u64, serde_json::Error> {
    /// The part of a record that all stages share.
    #[derive(Deserialize)]
    struct Record {
        step: u64,
    }

    Ok(serde_json::from_slice::<Record>(line)?.step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    /// What is found, and what is kept of it.
    fn read(text: &str, done: u64) -> (Recorded, String) {
        read_as(Lines::Records, text, done)
    }

    fn read_as(lines: Lines, text: &str, done: u64) -> (Recorded, String) {
        let found = Recorded::read(&mut text.as_bytes(), done, lines).unwrap();
        let mut kept = Vec::new();
        found.copy(&mut Cursor::new(text), &mut kept).unwrap();
        (found, String::from_utf8(kept).unwrap())
    }

    fn lines(steps: &[u64]) -> String {
        let line = |step: &u64| format!("{{\"step\":{step},\"loss\":0.5}}\n");
        steps.iter().map(line).collect()
    }

    #[test]
    fn a_whole_file_is_kept_until_the_last_step_that_is_done() {
        let text = lines(&[1, 2, 3, 4]);
        for rest in ["", "half", "{\"step\":1}\n", "\0\0\n"] {
            let (found, kept) = read(&format!("{text}{rest}"), 3);
            assert_eq!(kept, lines(&[1, 2, 3]));
            assert_eq!(found.whole_until(), Some(kept.len() as u64));
            assert!(found.damaged.is_empty() && found.missing.is_empty(), "{found:?}");
        }
        let (found, kept) = read(&text, 0);
        assert_eq!((found.whole_until(), &*kept), (Some(0), ""));
    }

    #[test]
    fn what_is_damaged_is_named_and_nothing_else_is_lost() {
        let cases = [
            ("nonsense\n", "no record of a step"),
            ("\n", "no record of a step"),
            ("\0\0\0\n", "no record of a step"),
            ("{\"loss\":1}\n", "missing field `step`"),
            ("{\"step\":1}\n", "a record of step 1 after that of step 1"),
            ("{\"step\":0}\n", "a record of step 0 after that of step 1"),
        ];
        for (damage, expected) in cases {
            let text = format!("{}{damage}{}", lines(&[1]), lines(&[2, 3, 4]));
            let (found, kept) = read(&text, 3);
            assert_eq!(kept, lines(&[1, 2, 3]), "{damage:?}");
            assert_eq!(found.whole_until(), None);
            assert!(found.missing.is_empty(), "{found:?}");
            let [Damaged { line: 2, problem }] = &found.damaged[..] else { panic!("{found:?}") };
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn steps_without_a_record_are_told() {
        for (text, expected, damaged) in [
            (lines(&[1, 3, 6]), &[2, 4, 5, 7, 8][..], 0),
            (String::new(), &[1, 2, 3, 4, 5, 6, 7, 8], 0),
            (format!("{}{{\"step\":5,\"lo", lines(&[1, 2, 3, 4])), &[5, 6, 7, 8], 1),
            // What was recorded of steps that are taken again is not damaged.
            (lines(&[1, 2, 3, 4, 5, 6, 7, 9, 10]), &[8], 0),
        ] {
            let (found, kept) = read(&text, 8);
            assert_eq!(found.damaged.len(), damaged, "{text}");
            let missing: Vec<u64> = found.missing.into_iter().flatten().collect();
            assert_eq!(missing, expected, "{text}");
            assert!(text.starts_with(&kept));
        }
    }

    #[test]
    fn of_what_stands_beside_records_a_step_may_have_no_line_or_several() {
        let beside = |text: &str, done| read_as(Lines::Beside(step_of_record), text, done);
        for (steps, kept) in [
            (&[1, 1, 3, 3, 3, 6][..], &[1, 1, 3, 3, 3][..]),
            (&[2, 4], &[2, 4]),
            (&[5, 6], &[]),
            (&[], &[]),
        ] {
            let (found, text) = beside(&lines(steps), 4);
            assert_eq!(text, lines(kept));
            assert_eq!(found.whole_until(), Some(text.len() as u64));
            assert!(found.damaged.is_empty() && found.missing.is_empty(), "{found:?}");
        }
        // What is damaged behind the last of them is told as well: how many there should be nobody knows.
        for damage in ["garbage\n", "{\"step\":0}\n", "{\"step\":2}\n", "{\"step\":4"] {
            let (found, text) = beside(&format!("{}{damage}", lines(&[1, 3])), 4);
            assert_eq!(text, lines(&[1, 3]));
            assert_eq!(found.whole_until(), None);
            assert_eq!(found.damaged.len(), 1, "{found:?}");
        }
    }

    proptest! {
        /// However lines are damaged, the others are kept and every step is kept or told to be missing.
        #[test]
        fn every_step_is_kept_or_missing(damaged in prop::collection::vec(any::<bool>(), 1..20)) {
            let steps = damaged.len() as u64;
            let line = |(step, damaged): (u64, &bool)| {
                if *damaged { "{\"step\":\n".to_owned() } else { lines(&[step]) }
            };
            let text: String = (1..).zip(&damaged).map(line).collect();
            let (found, kept) = read(&text, steps);
            let whole = (1..).zip(&damaged).filter(|(_, damaged)| !**damaged);
            let whole: Vec<u64> = whole.map(|(step, _)| step).collect();
            prop_assert_eq!(kept, lines(&whole));
            let named: Vec<u64> = found.damaged.iter().map(|damaged| damaged.line).collect();
            let missing: Vec<u64> = found.missing.into_iter().flatten().collect();
            prop_assert_eq!(&named, &missing);
            prop_assert_eq!(named.len() + whole.len(), damaged.len());
        }
    }
}
