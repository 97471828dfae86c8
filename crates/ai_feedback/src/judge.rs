//! Who gives the feedback.

use language_model::{Choose, Generate};

/// A model that can think aloud and choose; every type that implements both traits is one.
pub trait Judge: Generate + Choose {}

impl<T: Generate + Choose + ?Sized> Judge for T {}
