//! A client of OpenAI-compatible servers, such as vLLM, SGLang, llama.cpp and Ollama, that implements
//! [`language_model::Generate`] and [`language_model::Choose`].
//!
//! ```no_run
//! use dialogue::Dialogue;
//! use language_model::Choose;
//! use openai::Client;
//!
//! let judge = Client::new("http://127.0.0.1:8000/v1", "my-model")?;
//! let question = Dialogue::from_user("Is the sky blue? (A) yes (B) no").with_assistant("The answer is: (");
//! let rows = judge.choose(&[question], &["A", "B"])?;
//! println!("P(A) = {:.2}", rows[0][0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A call sends its prompts in parallel, [`Config::concurrency`] at a time, each as a request of its own with a seed of
//! its own, so that a reply never depends on its neighbours. What fails for a while is tried again
//! ([`Config::attempts`]); when the server is gone a circuit opens ([`Config::circuit_failures`]) and the call ends with
//! an error that says how much is done. What is done is kept: the same call on the same client asks only for the rest,
//! and with [`Client::keep_answers`] that holds for another process, too.
//!
//! The transport is asynchronous, on a thread of the client's own; callers see nothing of it, and a call from inside
//! another runtime only blocks.
//!
//! The key comes from the environment ([`Config::key_variable`]) and is never part of a message, of `Debug` output or of
//! a file. The library prints nothing; [`Client::warnings`] has what a user should be told.

mod answers;
mod asked;
mod calls;
mod chat;
mod choose;
mod circuit;
mod client;
mod completions;
mod config;
mod continuation;
mod echo_check;
mod error;
mod failed_request;
mod key;
mod logprobs;
mod next_tokens;
mod presence;
mod retry;
mod retrying;
mod sampling;
mod task;
mod transport;
mod unit_of_work;
mod url;
mod worker;

pub use choose::{Listed, Scored, Unweighable, weigh_listed, weigh_sequences};
pub use client::Client;
pub use config::{Api, Config, Continuation, PromptText, Scoring};
pub use error::{Error, Failure};
pub use failed_request::FailedRequest;
pub use retrying::Retrying;
pub use unit_of_work::UnitOfWork;
pub use url::BaseUrl;
