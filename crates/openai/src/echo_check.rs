//! Whether a server scores an echo rightly.

use crate::completions::{self, without_drawn};
use crate::transport::Transport;
use crate::{Error, Listed};

/// The largest difference between two log-probabilities of the same token that rounding explains.
const ROUNDING: f64 = 0.5;

/// Lets the server draw one token, sends it back behind the prompt, and compares what it says about the token both
/// times. Some servers report, in an echo, how likely a token is behind itself. What cannot be compared, since the token
/// melts into the prompt or is none, is believed.
pub(crate) async fn check(transport: &Transport, text: &str) -> Result<(), Error> {
    let (config, model) = (&transport.config, &transport.model);
    let body = completions::choose_body(config, model, text);
    let drawn = transport.post(completions::PATH, &body, completions::read_drawn).await?;
    let Some(Listed { text: token, log_prob: when_drawn }) = drawn else { return Ok(()) };
    let whole = format!("{text}{token}");
    let body = completions::echo_body(config, model, &whole);
    let (scored, _) = transport.post(completions::PATH, &body, completions::read_scored).await?;
    let last = scored.and_then(|scored| without_drawn(scored, &whole)?.pop());
    match last {
        Some(last) if last.text == token && (last.log_prob - when_drawn).abs() > ROUNDING => {
            Err(Error::EchoedWrongly {
                url: transport.base_url.at(completions::PATH).to_string(),
                model: model.clone(),
                token: transport.shown(&token),
                when_drawn,
                echoed: last.log_prob,
            })
        }
        _ => Ok(()),
    }
}
