//! `rlaif chat`: a conversation in the terminal.

mod command;
mod history;
mod input;
mod interrupt;

use super::device::Task;
use super::generate::{ModelArgs, SamplingArgs};
use super::{DeviceArgs, Failure, say};
use burn::tensor::backend::{AutodiffBackend, Backend};
use clap::Args;
use command::{Command, HELP};
use history::{forget_oldest, without_controls};
use input::{Input, Line};
use interrupt::Interrupts;
use rlaif::dialogue::{Dialogue, Role};
use rlaif::language_model::{
    Completion, Error as ModelError, Prompt, Sampling, StopReason, item_seed,
};
use rlaif::transformer::Transformer;
use std::io::{IsTerminal, stdout};
use std::ops::ControlFlow;

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
        let input = Input::new()?;
        let mut chat = Chat {
            model,
            sampling,
            seed: self.sampling.seed,
            interrupts: Interrupts::install(input.is_terminal())?,
            dialogue: Dialogue::default(),
            turn: 0,
        };
        chat.talk(input)
    }
}

/// A conversation on its way.
struct Chat<B: Backend> {
    model: Transformer<B>,
    sampling: Sampling,
    seed: u64,
    interrupts: Interrupts,
    /// What has been said.
    dialogue: Dialogue,
    /// Messages sent so far.
    turn: u64,
}

impl<B: Backend> Chat<B> {
    fn talk(&mut self, mut input: Input) -> Result<(), Failure> {
        say("Write a message; /help lists the commands, Ctrl-C stops a reply.\n")?;
        let mut interrupted = false;
        loop {
            let line = match input.next()? {
                Line::Text(line) => line,
                Line::End => return say("\n"),
                Line::Interrupted if interrupted => return Ok(()),
                Line::Interrupted => {
                    interrupted = true;
                    note("Ctrl-C once more, Ctrl-D or /quit ends")?;
                    continue;
                }
            };
            interrupted = false;
            match Command::parse(&line) {
                Command::Nothing => {}
                Command::Quit => return Ok(()),
                Command::Help => say(HELP)?,
                Command::Reset => self.begin(self.system())?,
                Command::System(text) => self.begin(Some(text.to_owned()))?,
                Command::Unknown(word) => {
                    note(&format!("there is no {word}; /help lists what there is"))?;
                }
                Command::Message(text) => self.answer(text)?,
            }
        }
    }

    fn system(&self) -> Option<String> {
        let first = self.dialogue.messages.first();
        first.filter(|message| message.role == Role::System).map(|message| message.content.clone())
    }

    /// Begins a new conversation; an empty system message is none.
    fn begin(&mut self, system: Option<String>) -> Result<(), Failure> {
        self.dialogue = match system.filter(|text| !text.is_empty()) {
            Some(text) => Dialogue::default().with(Role::System, text),
            None => Dialogue::default(),
        };
        note(if self.dialogue.messages.is_empty() {
            "a new conversation begins"
        } else {
            "a new conversation begins, under the system message"
        })
    }

    /// Prints the reply to a message while it is drawn. What the model refuses leaves the conversation as it was.
    fn answer(&mut self, message: &str) -> Result<(), Failure> {
        self.turn += 1;
        let mut asked = self.dialogue.clone().with_user(message);
        match self.make_room(&mut asked) {
            Ok(0) => {}
            Ok(1) => note("the oldest exchange no longer fits the context and is forgotten")?,
            Ok(count) => note(&format!(
                "the oldest {count} exchanges no longer fit the context and are forgotten"
            ))?,
            Err(error) => return self.refused(&error),
        }
        let seed = item_seed(self.seed, &["chat", &self.turn.to_string()]);
        let prompt = Prompt { dialogue: asked, seed };
        let mut shown = Ok(());
        let mut on_piece = |piece: &str| {
            shown = show(piece);
            if shown.is_err() || self.interrupts.requested() {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        self.interrupts.reply_begins();
        let reply = self.model.stream(&prompt, &self.sampling, &mut on_piece);
        self.interrupts.reply_ended();
        shown?;
        match reply {
            Ok(reply) => self.keep(prompt.dialogue, reply.completion),
            Err(error) => self.refused(&error),
        }
    }

    /// Forgets the oldest exchanges of `asked` until the context has room for a reply of some length, and tells how
    /// many.
    fn make_room(&self, asked: &mut Dialogue) -> Result<usize, ModelError> {
        let codec = &self.model.codec;
        let room = self.sampling.max_tokens.min(codec.context() / 4);
        forget_oldest(asked, &|dialogue| {
            Ok(codec.encode_prompt(dialogue)?.len() + room <= codec.context())
        })
    }

    /// Says how the reply ended, if not by itself, and makes it part of the conversation. A reply that was stopped
    /// counts as far as it went.
    fn keep(&mut self, asked: Dialogue, reply: Completion) -> Result<(), Failure> {
        say("\n")?;
        match reply.stopped {
            StopReason::Stop => {}
            StopReason::Length if reply.tokens == self.sampling.max_tokens => {
                note(&format!("cut after {} tokens; --max-tokens allows for more", reply.tokens))?;
            }
            StopReason::Length => note("cut where the context ends; /reset makes room")?,
            StopReason::Cancelled if reply.text.trim().is_empty() => {
                return note("stopped before a word was said; the message is forgotten");
            }
            StopReason::Cancelled => note("stopped")?,
            StopReason::Filtered => note("cut by a filter")?,
        }
        self.dialogue = asked.with_assistant(reply.text);
        Ok(())
    }

    fn refused(&self, error: &ModelError) -> Result<(), Failure> {
        let advice = match error {
            ModelError::Template { .. } if self.system().is_some() => {
                "; /system without a text removes the system message"
            }
            _ => "; the conversation is as it was, /reset begins anew",
        };
        note(&format!("{error}{advice}"))
    }
}

/// Prints what the program itself has to say.
fn note(text: &str) -> Result<(), Failure> {
    show(&format!("({text})\n"))
}

/// Prints text of a model or of its template, which must not steer the terminal.
fn show(text: &str) -> Result<(), Failure> {
    if stdout().is_terminal() { say(&without_controls(text)) } else { say(text) }
}
