//! Dialogues, comparisons of two replies and preferences between them.
//!
//! These are the records that every step of Constitutional AI (arXiv 2212.08073) reads and writes. A
//! [`Dialogue`] may end in an unfinished assistant turn, which a model then continues.
//!
//! ```
//! use dialogue::Dialogue;
//!
//! let prompt = Dialogue::from_user("How do I kill the weeds?");
//! let finished = prompt.clone().with_assistant("Pull them out after the rain.");
//! assert_eq!(finished.last_reply(), Some("Pull them out after the rain."));
//! assert_eq!(finished.prompt(), prompt);
//! ```

mod comparison;
mod ends;
mod message;
mod preference;
mod transcript;

pub use comparison::Comparison;
pub use ends::longest_fitting;
pub use message::{Dialogue, Message, Role};
pub use preference::Preference;
pub use transcript::TranscriptError;
