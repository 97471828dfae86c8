//! Why there is no folder for a model.

use crate::ModelId;
use std::path::PathBuf;

/// Why a model could not be found or fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was given is no path and cannot be a name.
    #[error(
        "{given:?} is neither a folder that exists nor a model's name such as HuggingFaceTB/SmolLM2-135M ({reason})"
    )]
    Neither {
        /// What was given.
        given: String,
        /// Why it is no name.
        reason: &'static str,
    },
    /// The cache lacks the model and nothing may be downloaded.
    #[error(
        "there is no folder {model}, the cache {} does not hold the model, and HF_HUB_OFFLINE forbids to download it; \
         unset it, or fetch the model elsewhere and give its folder", cache.display()
    )]
    Offline {
        /// The model.
        model: ModelId,
        /// The folder of the cache.
        cache: PathBuf,
    },
    /// The hub cannot be reached or answers with an error.
    #[error(
        "cannot download {model} from {endpoint}: {message}; it is not in the cache {} either. Try again with a \
         network, or fetch the model elsewhere and give its folder", cache.display()
    )]
    Request {
        /// The model.
        model: ModelId,
        /// The server.
        endpoint: String,
        /// What went wrong.
        message: String,
        /// The folder of the cache.
        cache: PathBuf,
    },
    /// The hub has no such model, revision or file.
    #[error(
        "there is no folder {model}, and {endpoint} knows no such model or revision; check the name"
    )]
    NotFound {
        /// The model.
        model: ModelId,
        /// The server.
        endpoint: String,
    },
    /// The hub does not give the model to this user.
    #[error(
        "there is no folder {model}, and {endpoint} does not give a model of this name ({status}): check the name; if the \
         model is private or gated, ask for access on its page and set HF_TOKEN to a token that has it"
    )]
    Access {
        /// The model.
        model: ModelId,
        /// The server.
        endpoint: String,
        /// The answer's status.
        status: u16,
    },
    /// The model lacks a file without which it cannot be read.
    #[error("{model} holds no {file}; {advice}")]
    MissingFile {
        /// The model.
        model: ModelId,
        /// The file.
        file: &'static str,
        /// What to do.
        advice: String,
    },
    /// A file arrived other than it was announced.
    #[error("{file} of {model} arrived damaged: {message}; it was removed, try again")]
    Incomplete {
        /// The model.
        model: ModelId,
        /// The file.
        file: String,
        /// What is wrong with it.
        message: String,
    },
    /// The hub answers what it never should.
    #[error("{endpoint} answers for {model} with {what}; is HF_ENDPOINT a Hugging Face hub?")]
    Answer {
        /// The model.
        model: ModelId,
        /// The server.
        endpoint: String,
        /// What is wrong with the answer.
        what: String,
    },
    /// A file or folder of the cache cannot be used.
    #[error("cannot use {}: {source}; HF_HOME or HF_HUB_CACHE can name another cache", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// There is no place for a cache.
    #[error("there is no home folder for the cache of models; set HF_HOME to a folder")]
    NoCache,
    /// A token would go over the network in the clear.
    #[error(
        "HF_ENDPOINT is {endpoint}, where a token would be sent without encryption; use https, or unset HF_TOKEN"
    )]
    Insecure {
        /// The server.
        endpoint: String,
    },
}
