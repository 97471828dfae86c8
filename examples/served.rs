//! A served model answers, and judges two replies: anything that speaks OpenAI's protocol will do.
//!
//! ```text
//! cargo run --release -p openai --example served -- http://127.0.0.1:8000/v1
//! cargo run --release -p openai --example served -- http://127.0.0.1:8000/v1 'api = "completions"'
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it does")]

use ai_feedback::{FeedbackConfig, label_directly};
use constitution::Constitution;
use dialogue::{Comparison, Dialogue};
use language_model::{Generate, Prompt, Sampling};
use openai::{Client, Config};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "http://127.0.0.1:8000/v1".to_owned());
    let config: Config = toml::from_str(&arguments.next().unwrap_or_default())?;
    // The key, if the server wants one, is in OPENAI_API_KEY.
    let client = Client::of_only_model(&url, config)?;
    for warning in client.warnings() {
        eprintln!("warning: {warning}");
    }
    println!("{}", client.model());

    let request = "How do I kill the weeds in the park?";
    let prompt = |seed| Prompt { dialogue: Dialogue::from_user(request), seed };
    println!("{request}");
    for reply in client.generate(&[prompt(1), prompt(2)], &Sampling::default())? {
        println!("  {:?} ({} tokens, {:?})", reply.text, reply.tokens, reply.stopped);
    }

    let pairs = [Comparison {
        prompt: Dialogue::from_user(request),
        replies: ["Use some salt.".to_owned(), "Pull them out after the rain.".to_owned()],
    }];
    let constitution = Constitution::general();
    for label in label_directly(&client, &constitution, &pairs, &FeedbackConfig::default(), 1)? {
        println!("  (A) {}\n  (B) {}", label.pair.replies[0], label.pair.replies[1]);
        let texts = label.principles.iter().map(|judged| judged.text.as_str());
        println!("  P(A) = {:.4} by {:?}", label.probability_a, texts.collect::<Vec<&str>>());
    }
    Ok(())
}
