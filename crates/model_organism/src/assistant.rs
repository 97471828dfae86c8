//! The shipped checkpoint.

use crate::Error;
use burn::tensor::backend::Backend;
use transformer::{ModelFiles, Transformer};

/// The folder of the embedded helpful-only assistant.
pub fn assistant_files() -> ModelFiles {
    let file = |bytes: &'static [u8]| std::borrow::Cow::Borrowed(bytes);
    ModelFiles {
        name: "embedded model".to_owned(),
        config: file(include_bytes!("../assistant/config.json")),
        weights: file(include_bytes!("../assistant/model.safetensors")),
        tokenizer: file(include_bytes!("../assistant/tokenizer.json")),
        tokenizer_config: Some(file(include_bytes!("../assistant/tokenizer_config.json"))),
        chat_template: Some(file(include_bytes!("../assistant/chat_template.jinja"))),
        generation_config: Some(file(include_bytes!("../assistant/generation_config.json"))),
    }
}

/// The embedded helpful-only assistant.
///
/// # Errors
/// Never with the checkpoint that is shipped; a test loads it.
pub fn assistant<B: Backend>(device: &B::Device) -> Result<Transformer<B>, Error> {
    Ok(Transformer::from_files(&assistant_files(), device)?)
}
