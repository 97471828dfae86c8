//! Constitutions: the principles to critique, revise and compare replies by.
//!
//! A constitution holds two lists (sections 3.1 and 4.1 of arXiv 2212.08073). In the supervised stage a pair of requests
//! is drawn from the first one for every step of critique and revision; in the feedback stage a sentence is drawn from
//! the second one for every comparison of two replies. Whoever edits the lists changes what the model is trained
//! towards, without a new label.
//!
//! ```
//! use constitution::{Constitution, Drawing};
//! use language_model::{item_seed, stream};
//!
//! let constitution = Constitution::from_toml(
//!     r#"
//!     name = "gardeners"
//!
//!     [[critique_revision]]
//!     id = "bees"
//!     critique_request = "Would this advice hurt the bees?"
//!     revision_request = "Give advice that spares them."
//!     tags = ["animals"]
//!
//!     [[comparison]]
//!     id = "bees"
//!     text = "Which reply is kinder to the bees?"
//!     tags = ["animals"]
//!     "#,
//! )?;
//! let mut rng = stream(item_seed(0, &["weeds"]));
//! let mut draws = constitution.revisions(&Drawing::default())?;
//! assert_eq!(draws.draw(&mut rng).id, "bees");
//! assert_eq!(Constitution::from_toml(&constitution.to_toml()?)?, constitution);
//!
//! let general = Constitution::general();
//! assert_eq!((general.critique_revision.len(), general.comparison.len()), (16, 16));
//! # Ok::<(), constitution::Error>(())
//! ```
//!
//! # The file
//!
//! | key | meaning |
//! |---|---|
//! | `name` | the name that runs and reports use |
//! | `[[critique_revision]]` | a principle to revise by: `id`, `critique_request`, `revision_request` |
//! | `[[comparison]]` | a principle to compare by: `id`, `text` |
//! | `source` | in any entry: the document or body that it derives from |
//! | `tags` | in any entry: a list of words, none by default |
//! | `weight` | in any entry: how often it is drawn where draws are weighted, 1 by default |
//!
//! At least one of the lists has an entry; ids are unique in their list; no text is empty; weights are above 0; other keys
//! are refused.

mod constitution;
mod diff;
mod drawing;
mod error;
mod file;
mod form;
mod lint;
mod paper;
mod principle;
mod validate;

pub use constitution::Constitution;
pub use diff::{Change, Difference};
pub use drawing::{Drawing, Draws};
pub use error::{Error, Place};
pub use lint::Lint;
pub use principle::{ComparisonPrinciple, Principle, RevisionPrinciple};
