//! What this machine can do at most, on as many threads as the operations have.

use crate::operations::case::timed;
use crate::operations::shapes::wave;
use crate::operations::timing::seconds;
use crate::operations::work::Work;
use burn::backend::Flex;
use kernels::project;
use rayon::prelude::*;
use std::time::{Duration, Instant};

/// Side of the matrices whose product is the ceiling of products.
const SIDE: usize = 1024;

/// Numbers of each of three arrays, 512 MiB: far more than caches hold, those of large servers among them.
const LENGTH: usize = 1 << 27;

/// Numbers that a thread takes on at a time.
const CHUNK: usize = 1 << 20;

/// A ceiling as a line of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ceiling {
    pub(crate) name: &'static str,
    pub(crate) work: Work,
    /// Of the best run, as in the benchmark STREAM: what disturbs only takes away.
    pub(crate) seconds: f64,
}

/// Measured before the operations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ceilings {
    pub(crate) products: Ceiling,
    pub(crate) memory: Ceiling,
}

impl Ceilings {
    pub(crate) fn measure() -> Self {
        Self { products: products(), memory: memory() }
    }

    /// Billions of bytes or operations a second that such work could reach.
    pub(crate) fn rate(&self, work: Work) -> f64 {
        let ceiling = match work {
            Work::Bytes(_) => self.memory,
            Work::Flops(_) => self.products,
        };
        ceiling.work.rate(ceiling.seconds)
    }
}

/// By `kernels`: burn's own product also fills its result with zeros and copies it.
fn products() -> Ceiling {
    let [a, b] = [0.37, 0.73].map(|salt| wave::<Flex, 2>([SIDE, SIDE], salt, 1.0));
    let mut multiply = timed(move || vec![project(a.clone(), b.clone()).flatten(0, 1)]);
    Ceiling {
        name: "ceiling/products",
        work: Work::product(SIDE, SIDE, SIDE),
        seconds: best(|| multiply().0),
    }
}

/// The triad of STREAM, `a = b + s c`; as there, reading what is about to be overwritten is not counted.
fn memory() -> Ceiling {
    let mut arrays = [0.0, 1.0, 2.0].map(filled);
    let [a, b, c] = &mut arrays;
    let triad = || {
        let start = Instant::now();
        let read = b.par_chunks(CHUNK).zip(c.par_chunks(CHUNK));
        a.par_chunks_mut(CHUNK).zip(read).for_each(|(a, (b, c))| {
            for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
                *a = b + 3.0 * c;
            }
        });
        start.elapsed()
    };
    Ceiling { name: "ceiling/memory", work: Work::numbers(3 * LENGTH), seconds: best(triad) }
}

/// Written by all threads, so that each page comes from the memory near one of them.
fn filled(number: f32) -> Vec<f32> {
    rayon::iter::repeat_n(number, LENGTH).collect()
}

fn best(run: impl FnMut() -> Duration) -> f64 {
    seconds(run).first().copied().unwrap_or(f64::NAN)
}
