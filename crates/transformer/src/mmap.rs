//! Files mapped into memory, one of the three places of the workspace with `unsafe`.

use memmap2::Mmap;
use std::fs::File;
use std::io;

/// Maps a whole file for reading. Nothing is read before it is looked at, and the system may drop what was read.
///
/// What can go wrong: a file that another process cuts short while it is mapped ends this process with `SIGBUS` when
/// the missing part is read, and one that is overwritten in place changes under our eyes. That is the price of every
/// mapped checkpoint, in `transformers` too; whoever writes models by renaming whole files, as this crate does, never
/// meets it. Numbers are copied out before they are used and any bit pattern is a number, so that a change gives wrong
/// weights at worst; offsets are taken from a header that was copied and checked first.
#[allow(
    unsafe_code,
    reason = "mapping a file has no safe interface: the file can change underneath"
)]
pub(crate) fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the mapping is private to this crate, read-only and owned by the returned value, which unmaps it. That
    // nobody changes the file meanwhile cannot be ensured; see above for what happens then and why it is accepted.
    unsafe { Mmap::map(file) }
}
