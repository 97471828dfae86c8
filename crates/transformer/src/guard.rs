//! Panics of other libraries on hostile files, as errors.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls into a library that panics on some files whose parts do not fit together; gives the message of the panic.
///
/// Only for calls that leave nothing of ours half-changed: texts and tokens go in, new ones come out.
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
        format!("the library that reads it panics: {}", message.unwrap_or("without a message"))
    })
}
