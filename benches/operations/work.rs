//! What an operation has to do at least, whoever does it.

/// Bytes of a number.
const NUMBER: usize = 4;

/// What limits an operation, and how much of it one run takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    /// Bytes to and from memory, if every operand is read and every result is written once.
    Bytes(usize),
    /// Additions and multiplications of products.
    Flops(usize),
}

impl Work {
    /// So many numbers of 32 bits read or written.
    pub(crate) fn numbers(count: usize) -> Self {
        Self::Bytes(count * NUMBER)
    }

    /// A product of `[rows, inner]` and `[inner, columns]`.
    pub(crate) fn product(rows: usize, inner: usize, columns: usize) -> Self {
        Self::Flops(2 * rows * inner * columns)
    }

    /// What is done `count` times.
    pub(crate) fn times(self, count: usize) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Bytes(bytes * count),
            Self::Flops(flops) => Self::Flops(flops * count),
        }
    }

    /// Billions of bytes or operations a second.
    pub(crate) fn rate(self, seconds: f64) -> f64 {
        let (Self::Bytes(amount) | Self::Flops(amount)) = self;
        amount as f64 / seconds / 1e9
    }

    /// Of [`Work::rate`].
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Bytes(_) => "GB/s",
            Self::Flops(_) => "GFLOP/s",
        }
    }
}
