//! Whether a server continues an unfinished turn.

use crate::chat::{self, read_prompt_tokens};
use crate::transport::Transport;
use crate::{Continuation, Error};
use dialogue::Dialogue;
use language_model::{Prompt, Sampling};

/// Tokens by which an unfinished turn of one letter may lengthen a prompt: the letter, and what a template may write
/// around it. One that is answered is also ended, and the next turn begun, which takes more.
const MOST: u64 = 2;

/// The shortest turn there is.
const LETTER: &str = "a";

/// Asks two questions of one token that differ by an unfinished turn of one letter. If that turn makes the prompt much
/// longer, the server has finished it and begun another. Servers that do not count tokens are believed.
pub(crate) async fn check(transport: &Transport) -> Result<(), Error> {
    let way = transport.config.continuation;
    if matches!(way, Continuation::Ask | Continuation::Refuse) {
        return Ok(());
    }
    let asked = Dialogue::from_user(LETTER);
    let begun = asked.clone().with_assistant(LETTER);
    let (Some(asked), Some(begun)) =
        (prompt_tokens(transport, asked).await?, prompt_tokens(transport, begun).await?)
    else {
        return Ok(());
    };
    let grown = begun.saturating_sub(asked);
    // A count of hardly anything is none: some servers leave out what they remember.
    if grown <= MOST || asked <= 1 {
        return Ok(());
    }
    let url = transport.base_url.at(chat::PATH).to_string();
    Err(Error::NotContinued { url, model: transport.model.clone(), grown })
}

async fn prompt_tokens(transport: &Transport, dialogue: Dialogue) -> Result<Option<u64>, Error> {
    let prompt = Prompt { dialogue, seed: 0 };
    let sampling = Sampling::default().with_max_tokens(1);
    let (config, model) = (&transport.config, &transport.model);
    let body = chat::generate_body(config, model, &prompt, &sampling)?;
    transport.post(chat::PATH, &body, read_prompt_tokens).await
}
