//! Data stages over more prompts than memory holds: critique and revision ([`revise`]),
//! pairs of replies ([`reply_pairs`]) and labels ([`label()`]). One more, [`requests()`], makes many prompts of a few.
//!
//! A job reads its input row by row, has many chunks of it under way at a time, and writes one record an item, in the
//! order of the input. However long the input, memory is that of the chunks under way. Killed at any moment, it goes on
//! where it stood: records are whole lines of `OUT.part`, and answers outlive the process, those of a server one by one and
//! those of a model on this machine call by call. A finished file is renamed to `OUT` and holds the same bytes as if nothing had happened. [`Shard`] splits a job
//! over machines, [`merge`] joins the parts. What is written at once, after many answers, has a [`Place`] of the same kind.
//!
//! ```no_run
//! use constitution::Constitution;
//! use critique_revision::CritiqueRevisionConfig;
//! use jobs::{Job, Served};
//! use openai::{Client, Config};
//! use training::Silent;
//!
//! let job = Job::new("prompts.jsonl", "revisions.jsonl");
//! let config = Config { concurrency: 256, ..Config::default() };
//! let client = Client::with_config("http://127.0.0.1:8000/v1", "my-model", config.clone())?;
//! let model = Served::new(client, &config);
//! let revision = jobs::revise(job, Constitution::general(), CritiqueRevisionConfig::default())?;
//! let done = revision.run(&model, &mut Silent)?;
//! println!("{} records", done.report.records);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod about;
mod alone;
mod apart;
mod before;
mod chunk;
mod count;
mod error;
mod failed;
mod flow;
mod forecast;
mod header;
mod in_order;
mod input;
mod job;
mod join;
mod label;
mod line;
mod merge;
mod model;
mod output;
mod part;
mod place;
mod prepared;
mod recorded;
mod recount;
mod reply_pairs;
mod report;
mod requests;
mod revise;
mod served;
mod shard;
mod stage;
mod stop;
mod writer;

pub use alone::Alone;
pub use error::Error;
pub use failed::Failed;
pub use flow::Flow;
pub use forecast::forecast;
pub use job::{Done, Job};
pub use label::label;
pub use merge::{Merged, merge};
pub use model::{Lent, Model};
pub use place::{Basis, Place};
pub use prepared::Prepared;
pub use recorded::Recorded;
pub use reply_pairs::{PairSummary, ReplyPair, reply_pairs};
pub use report::{Figures, Report};
pub use requests::{Ended, NewRequest, RequestSummary, requests};
pub use revise::revise;
pub use served::Served;
pub use shard::Shard;
