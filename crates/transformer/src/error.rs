//! What reading, running and writing a model can fail with.

use std::path::PathBuf;

/// Why a model could not be read, run or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The state of a stage cannot be used.
    #[error(transparent)]
    Training(#[from] training::Error),
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is not the JSON it should be.
    #[error("{file} is not valid: {source}")]
    Json {
        /// The file.
        file: String,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A setting of the model is out of range.
    #[error("{file}: `{key}` is {found}, expected {expected}")]
    Config {
        /// The file.
        file: String,
        /// The setting.
        key: String,
        /// The value found.
        found: String,
        /// The values allowed.
        expected: String,
    },
    /// A setting of a fresh adapter is out of range. The settings of every stage call their table `lora`.
    #[error("`lora.{key}` is {found}, expected {expected}")]
    Adapter {
        /// The setting.
        key: &'static str,
        /// The value found.
        found: String,
        /// The values allowed.
        expected: String,
    },
    /// The model is of a kind that this crate does not run.
    #[error("{file}: `{key}` is {found}, which is not supported; supported: {supported}")]
    Unsupported {
        /// The file.
        file: String,
        /// The setting.
        key: String,
        /// The value found.
        found: String,
        /// What can be used instead.
        supported: String,
    },
    /// A weights file is cut short or damaged.
    #[error("{file} is not a complete safetensors file: {message}; fetch or write it again")]
    Safetensors {
        /// The file.
        file: String,
        /// What is wrong with it.
        message: String,
    },
    /// A weights file holds numbers of a type that is not read.
    #[error("{file}: tensor `{name}` holds {found}, expected F32, F16 or BF16")]
    NumberType {
        /// The file.
        file: String,
        /// The tensor.
        name: String,
        /// The type found.
        found: String,
    },
    /// An index names a file that no tensors are read from.
    #[error("{file}: tensor `{name}` is said to be in `{shard}`, {reason}")]
    ShardName {
        /// The index.
        file: String,
        /// The tensor.
        name: String,
        /// The file named.
        shard: String,
        /// Why it is not read, and what to do.
        reason: &'static str,
    },
    /// An index names a file that is not in the folder.
    #[error("{file} names {shard}, which is not there; the folder is incomplete, fetch it again")]
    MissingShard {
        /// The index.
        file: String,
        /// The file named.
        shard: String,
    },
    /// A tensor is not in the file that the index names.
    #[error(
        "{file}: tensor `{name}` is said to be in {shard}, but is {}; the files do not belong together, fetch them again",
        found.as_deref().map_or("in none of the files".to_owned(), |found| format!("in {found}"))
    )]
    TensorPlace {
        /// The index.
        file: String,
        /// The tensor.
        name: String,
        /// The file named.
        shard: String,
        /// The file that holds it, if one does.
        found: Option<String>,
    },
    /// Two files of a folder hold the same tensor.
    #[error(
        "tensor `{name}` is in {first} and in {second}; the files do not belong together, fetch them again"
    )]
    TensorTwice {
        /// The tensor.
        name: String,
        /// One file.
        first: String,
        /// The other.
        second: String,
    },
    /// A tensor that the configuration asks for is not in the weights.
    #[error("{file}: tensor `{name}` of shape {expected:?} is missing")]
    MissingTensor {
        /// The file.
        file: String,
        /// The tensor.
        name: String,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// The weights hold a tensor that the configuration has no place for.
    #[error("{file}: tensor `{name}` of shape {found:?} has no place in the model of config.json")]
    UnexpectedTensor {
        /// The file.
        file: String,
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// A tensor has another shape than the configuration asks for.
    #[error("{file}: tensor `{name}` has shape {found:?}, expected {expected:?}")]
    TensorShape {
        /// The file.
        file: String,
        /// The tensor.
        name: String,
        /// The shape that follows from the configuration.
        expected: Vec<usize>,
        /// The shape found.
        found: Vec<usize>,
    },
    /// A row of tokens is empty.
    #[error("{what} {index} has no tokens, expected at least one")]
    NoTokens {
        /// Prompt or continuation.
        what: &'static str,
        /// Its place among the others.
        index: usize,
    },
    /// A token is not in the vocabulary.
    #[error("prompt {index} holds token {token}, but the vocabulary has {vocabulary} tokens")]
    UnknownToken {
        /// Place of the prompt.
        index: usize,
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// A prompt does not fit the context.
    #[error("prompt {index} has {tokens} tokens, but the context holds {context}; shorten it")]
    TooLong {
        /// Place of the prompt.
        index: usize,
        /// Tokens of the prompt, the continuation included.
        tokens: usize,
        /// Tokens the model can hold.
        context: usize,
    },
    /// The longest request does not fit the memory for keys and values.
    #[error(
        "a request of {tokens} tokens needs {needed} bytes for keys and values, but `cache_bytes` is {bytes}; raise it, or \
         shorten the prompt or the reply"
    )]
    CacheTooSmall {
        /// Tokens of the longest request, its reply included.
        tokens: usize,
        /// Bytes that it needs.
        needed: usize,
        /// The setting.
        bytes: usize,
    },
    /// An adapter is to be written, but the model has none.
    #[error("the model has no adapter to be written; add one first, or write the whole model")]
    NoAdapter,
    /// A model folder lacks a file.
    #[error("{} holds no {file}; {advice}", folder.display())]
    MissingFile {
        /// The folder.
        folder: PathBuf,
        /// The file.
        file: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// A folder that would be replaced does not look like a model.
    #[error(
        "{} exists and is not a model folder ({reason}), so it is not replaced; choose another path or remove it",
        path.display()
    )]
    Occupied {
        /// The folder.
        path: PathBuf,
        /// Why it does not look like one.
        reason: String,
    },
    /// A tokenizer cannot be read.
    #[error(
        "{file} is not a tokenizer that can be read: {source}; save it again with a current release of `tokenizers`"
    )]
    Tokenizer {
        /// The file.
        file: String,
        /// What the tokenizer says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A text has no tokens.
    #[error("the tokenizer cannot encode the text: {source}")]
    Encode {
        /// What the tokenizer says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A chat template does not compile.
    #[error("{file} is not a Jinja template that can be read: {source}")]
    Template {
        /// The file.
        file: String,
        /// What the template engine says.
        source: minijinja::Error,
    },
    /// A logit is infinite or not a number.
    #[error(
        "the logit of token {token} is {value}; the model's weights are damaged or have diverged"
    )]
    NotFiniteLogit {
        /// The token.
        token: usize,
        /// The logit.
        value: f32,
    },
}

impl From<Error> for language_model::Error {
    fn from(error: Error) -> Self {
        Self::Model(Box::new(error))
    }
}
