//! `rlaif chat`: a conversation in the terminal.

use super::device::Task;
use super::generate::{ModelArgs, SamplingArgs};
use super::{DeviceArgs, Failure, say};
use burn::tensor::backend::AutodiffBackend;
use clap::Args;
use rlaif::dialogue::{Dialogue, Role};
use rlaif::language_model::{Generate, Prompt, item_seed};
use rlaif::transformer::Transformer;
use std::io::BufRead;

/// `rlaif chat`.
#[derive(Debug, Clone, Args)]
pub(super) struct ChatArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Talks until the input ends.
pub(super) fn chat(args: ChatArgs) -> Result<(), Failure> {
    args.device.device.run(args)
}

impl Task for ChatArgs {
    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Result<(), Failure> {
        let model: Transformer<B::InnerBackend> = self.model.load(device)?;
        let sampling = self.sampling.sampling();
        sampling.validate()?;
        say(
            "Write a message; /reset forgets the conversation, /system TEXT begins one, /quit ends.\n",
        )?;
        let mut dialogue = Dialogue::default();
        let mut turn: u64 = 0;
        // Bytes that are no text are shown as such instead of ending the conversation.
        let mut lines = std::io::stdin().lock().split(b'\n');
        loop {
            say("> ")?;
            let Some(line) = lines.next().transpose()? else { return say("\n") };
            let line = String::from_utf8_lossy(&line);
            let line = line.trim();
            match line.split_once(' ').unwrap_or((line, "")) {
                ("", _) => {}
                ("/quit", _) => return Ok(()),
                ("/reset", _) => dialogue = Dialogue::default(),
                ("/system", text) => dialogue = Dialogue::default().with(Role::System, text.trim()),
                _ => {
                    turn += 1;
                    let asked = dialogue.clone().with_user(line);
                    let seed = item_seed(self.sampling.seed, &["chat", &turn.to_string()]);
                    let prompt = Prompt { dialogue: asked.clone(), seed };
                    match model.generate(&[prompt], &sampling) {
                        Ok(replies) => {
                            let text =
                                replies.into_iter().map(|reply| reply.text).collect::<String>();
                            say(&format!("{text}\n"))?;
                            dialogue = asked.with_assistant(text);
                        }
                        // The conversation as it was is still there.
                        Err(error) => say(&format!("({error}; /reset begins anew)\n"))?,
                    }
                }
            }
        }
    }
}
