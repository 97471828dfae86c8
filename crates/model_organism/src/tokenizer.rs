//! The tokenizer of the embedded model: byte-level BPE, trained on its corpus.

use crate::{Error, corpus};
use constitution::Constitution;
use language_model::{item_seed, stream};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer};

/// Fills rows; never drawn.
pub const PAD: &str = "<|pad|>";

/// Ends every turn.
pub const END: &str = "<|end|>";

/// Size of the vocabulary: 256 bytes, the special tokens, and merges that make nearly every word of the world a token.
pub(crate) const VOCABULARY: usize = 1536;

/// Documents that the merges are counted on.
const DOCUMENTS: usize = 30_000;

/// The chat template: every turn between the token of its role and [`END`].
pub const CHAT_TEMPLATE: &str = "{%- for message in messages -%}\
    {{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}\
    {%- endfor -%}\
    {%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}";

/// Trains the tokenizer and returns its `tokenizer.json`.
///
/// Since every byte is in the alphabet, there is no text that it cannot write and no unknown token.
///
/// # Errors
/// If the library reports one.
pub(crate) fn train(constitution: &Constitution, seed: u64) -> Result<String, Error> {
    let mut rng = stream(item_seed(seed, &["tokenizer"]));
    let texts: Vec<String> = (0..DOCUMENTS)
        .flat_map(|_| corpus::draw(constitution, &mut rng).dialogue.messages)
        .map(|message| message.content)
        .collect();
    let special = [PAD, END, "<|system|>", "<|user|>", "<|assistant|>"];
    let mut trainer: TrainerWrapper = BpeTrainer::builder()
        .vocab_size(VOCABULARY)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(special.map(|token| AddedToken::from(token, true)).to_vec())
        .build()
        .into();
    let mut tokenizer = Tokenizer::new(BPE::default());
    let byte_level = ByteLevel::new(false, false, true);
    tokenizer.with_pre_tokenizer(Some(byte_level)).with_decoder(Some(byte_level));
    tokenizer.train(&mut trainer, texts.iter()).map_err(Error::Tokenizer)?;
    tokenizer.to_string(true).map_err(Error::Tokenizer)
}
