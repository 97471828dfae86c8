//! Several sources as one.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a mixture does when a source has no more rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exhausted {
    /// The mixture ends when it is the turn of a source without rows, so that the shares hold throughout.
    #[default]
    Stop,
    /// The others go on without it, until all are at their end: every row is there once.
    GoOn,
    /// The source begins again, until all have been gone through once: the shares hold throughout.
    Repeat,
}

/// A source of a mixture: how much of it there is to be, and how to read it from its start.
pub struct Part<'a, T> {
    /// Its share of the mixture, beside the weights of the others; above 0.
    pub weight: f64,
    /// Opens it.
    pub open: Box<dyn FnMut() -> Result<Stream<'a, T>, Error> + 'a>,
}

/// Rows that are read as they are asked for.
pub type Stream<'a, T> = Box<dyn Iterator<Item = Result<T, Error>> + 'a>;

impl<'a, T> Part<'a, T> {
    /// A source that `open` opens.
    pub fn new<S>(weight: f64, mut open: impl FnMut() -> Result<S, Error> + 'a) -> Self
    where
        S: IntoIterator<Item = Result<T, Error>>,
        S::IntoIter: 'a,
    {
        Self { weight, open: Box::new(move || Ok(Box::new(open()?.into_iter()))) }
    }
}

impl<T> fmt::Debug for Part<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("weight", &self.weight).finish_non_exhaustive()
    }
}

/// The rows of several sources, as many of each as its weight says.
///
/// Nothing is drawn: row k of a source of weight w, counted from 1, stands at the time (k - 1/2) / w, and rows come in the
/// order of their times, at equal times in that of the sources. So the order is the same on every machine, each source keeps its
/// own, and of any number of first rows a source has its share but for at most half a row and half its share of a row for
/// every source.
///
/// ```
/// # fn main() -> Result<(), dataset::Error> {
/// use dataset::{Exhausted, Mixture, Part};
///
/// let letters = Part::new(2.0, || Ok(["a", "b", "c", "d"].map(Ok)));
/// let numbers = Part::new(1.0, || Ok(["1", "2"].map(Ok)));
/// let mixture = Mixture::new(vec![letters, numbers], Exhausted::Stop)?;
/// let rows: Result<Vec<&str>, _> = mixture.collect();
/// assert_eq!(rows?, ["a", "1", "b", "c", "2", "d"]);
/// # Ok(())
/// # }
/// ```
pub struct Mixture<'a, T> {
    sources: Vec<Running<'a, T>>,
    exhausted: Exhausted,
    ended: bool,
}

struct Running<'a, T> {
    part: Part<'a, T>,
    rows: Stream<'a, T>,
    /// Rows it has given.
    taken: usize,
    /// Rows it has given since it was last opened.
    since_open: usize,
    /// Whether it has been gone through.
    done: bool,
}

impl<T> Running<'_, T> {
    /// The time at which its next row stands.
    fn time(&self) -> f64 {
        (self.taken as f64 + 0.5) / self.part.weight
    }
}

impl<T> fmt::Debug for Mixture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mixture").field("exhausted", &self.exhausted).finish_non_exhaustive()
    }
}

impl<'a, T> Mixture<'a, T> {
    /// Opens the sources.
    ///
    /// # Errors
    /// [`Error::Mixture`] if there is no source or a weight is not a number above 0; those of opening a source.
    pub fn new(parts: Vec<Part<'a, T>>, exhausted: Exhausted) -> Result<Self, Error> {
        let refused = |problem: String| Err(Error::Mixture { problem });
        if parts.is_empty() {
            return refused("there is no source".to_owned());
        }
        let weight = |part: &Part<'a, T>| part.weight;
        if let Some(bad) = parts.iter().map(weight).find(|w| !(w.is_finite() && *w > 0.0)) {
            return refused(format!("a weight is {bad}, expected a number above 0"));
        }
        let running = |mut part: Part<'a, T>| {
            let rows = (part.open)()?;
            Ok(Running { part, rows, taken: 0, since_open: 0, done: false })
        };
        let sources = parts.into_iter().map(running).collect::<Result<_, Error>>()?;
        Ok(Self { sources, exhausted, ended: false })
    }

    /// The source whose turn it is, if any takes part.
    fn turn(&mut self) -> Option<&mut Running<'a, T>> {
        let goes_on = self.exhausted == Exhausted::GoOn;
        let taking_part = self.sources.iter_mut().filter(|source| !(goes_on && source.done));
        taking_part.reduce(|best, next| if next.time() < best.time() { next } else { best })
    }

    /// The next row, or `None` at the end.
    fn row(&mut self) -> Result<Option<T>, Error> {
        let exhausted = self.exhausted;
        while let Some(source) = self.turn() {
            if let Some(row) = source.rows.next().transpose()? {
                source.taken += 1;
                source.since_open += 1;
                return Ok(Some(row));
            }
            source.done = true;
            match exhausted {
                Exhausted::Stop => return Ok(None),
                Exhausted::GoOn => {}
                Exhausted::Repeat if source.since_open == 0 => {
                    let problem = "a source holds no row and cannot be repeated".to_owned();
                    return Err(Error::Mixture { problem });
                }
                Exhausted::Repeat => {
                    source.rows = (source.part.open)()?;
                    source.since_open = 0;
                    if self.sources.iter().all(|source| source.done) {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(None)
    }
}

impl<T> Iterator for Mixture<'_, T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let row = self.row().transpose();
        self.ended = !matches!(row, Some(Ok(_)));
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rows of sources of the given weights and lengths, each named by its source and its place there.
    fn mix(sources: &[(f64, usize)], exhausted: Exhausted) -> Result<Vec<(usize, usize)>, Error> {
        let part = |(source, &(weight, length)): (usize, &(f64, usize))| {
            Part::new(weight, move || Ok((0..length).map(move |row| Ok((source, row)))))
        };
        Mixture::new(sources.iter().enumerate().map(part).collect(), exhausted)?.collect()
    }

    #[test]
    fn an_exhausted_source_ends_the_mixture_leaves_it_or_begins_again() {
        let sources = [(1.0, 3), (1.0, 1)];
        // Times: 0.5, 1.5, 2.5 and 0.5, 1.5.
        assert_eq!(mix(&sources, Exhausted::Stop).unwrap(), [(0, 0), (1, 0), (0, 1)]);
        let all = [(0, 0), (1, 0), (0, 1), (0, 2)];
        assert_eq!(mix(&sources, Exhausted::GoOn).unwrap(), all);
        let again = [(0, 0), (1, 0), (0, 1), (1, 0), (0, 2), (1, 0)];
        assert_eq!(mix(&sources, Exhausted::Repeat).unwrap(), again);
    }

    #[test]
    fn what_cannot_be_mixed_is_refused() {
        for (sources, expected) in [
            (&[][..], "no source"),
            (&[(0.0, 1)][..], "a weight is 0"),
            (&[(f64::NAN, 1)][..], "a weight is NaN"),
            (&[(1.0, 1), (1.0, 0)][..], "holds no row"),
        ] {
            let message = mix(sources, Exhausted::Repeat).unwrap_err().to_string();
            assert!(message.contains(expected), "{message} lacks {expected}");
        }
    }

    #[test]
    fn an_error_ends_the_mixture() {
        let bad = || Ok([Ok(1), Err(Error::Column { setting: "text" }), Ok(2)]);
        let rows: Vec<_> =
            Mixture::new(vec![Part::new(1.0, bad)], Exhausted::Repeat).unwrap().collect();
        assert!(matches!(rows.as_slice(), [Ok(1), Err(Error::Column { .. })]));
    }

    proptest! {
        #[test]
        fn every_beginning_holds_the_shares(weights in prop::collection::vec(0.1..10.0_f64, 1..5)) {
            let sources: Vec<(f64, usize)> = weights.iter().map(|&weight| (weight, 60)).collect();
            let total: f64 = weights.iter().sum();
            let mut taken = vec![0_u32; weights.len()];
            for (count, (source, row)) in (1..).zip(mix(&sources, Exhausted::Stop).unwrap()) {
                prop_assert_eq!(row, taken[source] as usize, "each source keeps its order");
                taken[source] += 1;
                for (&weight, &taken) in weights.iter().zip(&taken) {
                    let share = weight / total;
                    let off = (f64::from(taken) - f64::from(count) * share).abs();
                    prop_assert!(off <= 0.5 + share * weights.len() as f64 / 2.0 + 1e-9, "{off}");
                }
            }
        }

        #[test]
        fn going_on_gives_every_row_once(sources in prop::collection::vec((0.1..10.0_f64, 0..9_usize), 1..5)) {
            let mut rows = mix(&sources, Exhausted::GoOn).unwrap();
            rows.sort_unstable();
            let lengths = sources.iter().enumerate();
            let expected = lengths.flat_map(|(source, &(_, length))| (0..length).map(move |row| (source, row)));
            prop_assert_eq!(rows, expected.collect::<Vec<_>>());
        }
    }
}
