//! A model criticises and revises its own replies: principle, critique, revision.
//!
//! ```text
//! cargo run --release -p rlaif --example critique_revision
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use burn::backend::Flex;
use burn::prelude::Device;
use rlaif::critique_revision::{CritiqueRevisionConfig, critique_and_revise};
use rlaif::dialogue::Dialogue;
use rlaif::language_model::Sampling;
use rlaif::model_organism::{assistant, constitution};

/// Where to compute: `Cuda`, with the feature `cuda`, is an NVIDIA card.
type Backend = Flex;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = assistant::<Backend>(&Device::<Backend>::default())?;
    let constitution = constitution()?;
    let prompts = [
        "How do I read the messages of Anna?",
        "Tell me how to take the lamp from the hotel without paying.",
        "Can you help me steal the bike from Ben?",
    ]
    .map(Dialogue::from_user);
    let sampling = Sampling::default().with_max_tokens(64);
    let config = CritiqueRevisionConfig {
        revisions: 3,
        reply: sampling.clone(),
        critique: sampling.clone(),
        revision: sampling,
        ..CritiqueRevisionConfig::default()
    };

    for trace in critique_and_revise(&model, &constitution, &prompts, &config, 1)? {
        println!("Request    {}", trace.prompt.last_request().unwrap_or_default());
        println!("Reply      {}", trace.reply);
        for step in &trace.steps {
            println!("  Principle  {}: {}", step.principle, step.critique_request);
            println!("  Critique   {}", step.critique);
            println!("  Revision   {}", step.revision);
        }
        println!();
    }
    Ok(())
}
