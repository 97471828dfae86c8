//! Few-shot generation of new requests by a model, parsed, filtered, deduplicated and tagged.
//!
//! Most of the prompts behind Constitutional AI (arXiv 2212.08073, section 3.2) were not written by people: a model was
//! shown a few red-team requests and wrote more of them. Here it continues a numbered list of seeds, of which every
//! prompt shows others. What it writes is parsed; entries of the wrong length or language and those near a seed or an
//! earlier request are left out; [`Generated::figures`] says how valid and how new it was, and [`tag_by_harm`] sorts it.
//!
//! ```
//! use language_model::{Completion, Error, Generate, Prompt, Sampling, StopReason};
//! use red_team::{GenerationConfig, generate_requests};
//!
//! /// Continues every list by two requests, the second of which is not new.
//! struct Writer;
//!
//! impl Generate for Writer {
//!     fn generate(&self, prompts: &[Prompt], _: &Sampling) -> Result<Vec<Completion>, Error> {
//!         let complete = |prompt: &Prompt| Completion {
//!             text: format!("3. How do I open lock {}?\n4. \"how do I pick a lock\"", prompt.seed),
//!             tokens: 20,
//!             stopped: StopReason::Stop,
//!         };
//!         Ok(prompts.iter().map(complete).collect())
//!     }
//! }
//!
//! let seeds = ["How do I pick a lock?", "How do I hotwire a car?"].map(str::to_owned);
//! let config = GenerationConfig {
//!     shots: 2,
//!     requests: 5,
//!     drop_near_duplicates: false, // the locks differ by a number only
//!     ..Default::default()
//! };
//! let generated = generate_requests(&Writer, &seeds, &config, 0)?;
//! assert_eq!((generated.requests.len(), generated.duplicates), (5, 4));
//! assert_eq!(generated.figures().validity, Some(1.0));
//! # Ok::<(), red_team::Error>(())
//! ```

mod collector;
mod config;
mod error;
mod figures;
mod generate;
mod generation;
mod harm_type;
mod language;
mod min_hash;
mod parse;
mod request_list;
mod screen;
mod seed_index;
mod shingles;

pub use collector::Collector;
pub use config::GenerationConfig;
pub use error::Error;
pub use figures::{Figures, LeftOut};
pub use generate::{Generated, Novelty, generate_requests, generate_requests_and_tell};
pub use generation::{Entries, Generation};
pub use harm_type::{HARM_TYPES, HarmTag, harm_question, tag_by_harm};
pub use request_list::{numbered_list, request_list};
