//! A model organism of harmlessness: a tiny synthetic world, its oracle and an embedded assistant.

mod assistant;
pub mod corpus;
mod error;
mod gates;
mod pretrain;
mod principles;
pub mod rater;
mod record;
mod tokenizer;
pub mod world;

pub use assistant::{assistant, assistant_files};
pub use corpus::garble;
pub use error::Error;
pub use gates::Gates;
pub use pretrain::{Encoder, PretrainConfig};
pub use principles::{CONSTITUTION, Fault, catches, constitution, fault, taste};
pub use record::Record;
pub use tokenizer::{CHAT_TEMPLATE, END, PAD};
