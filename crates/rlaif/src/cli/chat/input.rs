//! The lines that the user writes.

use super::super::{Failure, say};
use rustyline::{DefaultEditor, error::ReadlineError};
use std::env;
use std::io::{BufRead, IsTerminal, Split, StdinLock, stdin, stdout};

const PROMPT: &str = "> ";

/// Terminals in which lines cannot be edited.
const PLAIN_TERMINALS: [&str; 3] = ["dumb", "cons25", "emacs"];

/// Where lines come from.
pub(super) enum Input {
    /// A terminal, with editing and the lines of this conversation to go back to.
    Terminal(Box<DefaultEditor>),
    /// A file, a pipe, or a terminal that can do no more.
    Plain(Split<StdinLock<'static>>),
}

/// What came.
pub(super) enum Line {
    Text(String),
    /// Ctrl-C while nothing was drawn.
    Interrupted,
    /// Ctrl-D, or the end of the file.
    End,
}

impl Input {
    pub(super) fn new() -> Result<Self, Failure> {
        let plain = env::var("TERM").is_ok_and(|kind| PLAIN_TERMINALS.contains(&kind.as_str()));
        if stdin().is_terminal() && stdout().is_terminal() && !plain {
            return Ok(Self::Terminal(Box::new(DefaultEditor::new()?)));
        }
        Ok(Self::Plain(stdin().lock().split(b'\n')))
    }

    /// True if Ctrl-C arrives as a key while a line is read, and not as a signal.
    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal(_))
    }

    /// Asks for the next line.
    pub(super) fn next(&mut self) -> Result<Line, Failure> {
        match self {
            Self::Terminal(editor) => match editor.readline(PROMPT) {
                Ok(line) => {
                    if !line.trim().is_empty() {
                        editor.add_history_entry(&line)?;
                    }
                    Ok(Line::Text(line))
                }
                Err(ReadlineError::Interrupted) => Ok(Line::Interrupted),
                Err(ReadlineError::Eof) => Ok(Line::End),
                Err(error) => Err(error.into()),
            },
            Self::Plain(lines) => {
                say(PROMPT)?;
                // Bytes that are no text are shown as such instead of ending the conversation.
                let line = lines.next().transpose()?;
                Ok(line.map_or(Line::End, |line| {
                    Line::Text(String::from_utf8_lossy(&line).into_owned())
                }))
            }
        }
    }
}
