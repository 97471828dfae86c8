//! Whether a server that has failed a request is still there for others.

use crate::transport::Transport;
use crate::{Api, chat, completions};
use dialogue::Dialogue;
use language_model::{Prompt, Sampling};

/// Asks a short question once, for a reply of one token, and tells whether it was answered.
///
/// Then whatever failed before failed by what was asked: a prompt on which the server breaks down, or never ends.
pub(crate) async fn is_there(transport: &Transport) -> bool {
    let (config, model) = (&transport.config, &transport.model);
    let prompt = Prompt { dialogue: Dialogue::from_user("Hello"), seed: 0 };
    let sampling = Sampling::default().with_max_tokens(1);
    match config.api {
        Api::Chat => {
            let Ok(body) = chat::generate_body(config, model, &prompt, &sampling) else {
                return false;
            };
            let answer = transport.post_once(chat::PATH, &body).await;
            answer.and_then(|bytes| chat::read_completion(&bytes, &sampling)).is_ok()
        }
        Api::Completions => {
            let body = completions::generate_body(config, model, &prompt, &sampling);
            let answer = transport.post_once(completions::PATH, &body).await;
            let read = |bytes: Vec<u8>| {
                completions::read_completion(&bytes, config.prompt_text, false, &sampling)
            };
            answer.and_then(read).is_ok()
        }
    }
}
