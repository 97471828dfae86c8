//! What is told of a download.

/// Watches a download.
pub trait Progress {
    /// A file of so many bytes begins; also when it begins again after an interruption.
    fn start(&mut self, file: &str, bytes: u64);

    /// So many bytes more are there.
    fn advance(&mut self, bytes: u64);

    /// The file is there.
    fn finish(&mut self);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&mut self, _: &str, _: u64) {}

    fn advance(&mut self, _: u64) {}

    fn finish(&mut self) {}
}
