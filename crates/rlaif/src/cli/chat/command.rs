//! What a line of the user asks for.

pub(super) const HELP: &str = "\
/system TEXT  begin a new conversation under this system message; without a text, under none
/reset        forget the conversation, keep the system message
/quit         end, as does Ctrl-D
/help         show this

Ctrl-C stops a reply; what has been said of it stays in the conversation.
A message that begins with a slash can be sent with a space before it.
";

/// A line of the user.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    /// A blank line.
    Nothing,
    Quit,
    Help,
    Reset,
    /// A new conversation under this system message, which may be empty.
    System(&'a str),
    /// Looks like a command.
    Unknown(&'a str),
    /// For the model.
    Message(&'a str),
}

impl<'a> Command<'a> {
    pub(super) fn parse(line: &'a str) -> Self {
        let text = line.trim();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        match word {
            "" => Self::Nothing,
            _ if line.starts_with(char::is_whitespace) => Self::Message(text),
            "/quit" | "/exit" => Self::Quit,
            "/help" => Self::Help,
            "/reset" => Self::Reset,
            "/system" => Self::System(rest.trim()),
            _ if is_command(word) => Self::Unknown(word),
            _ => Self::Message(text),
        }
    }
}

/// `/word`, unlike a path such as `/etc/hosts`.
fn is_command(word: &str) -> bool {
    word.strip_prefix('/')
        .is_some_and(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_commands_from_messages() {
        let cases = [
            ("  ", Command::Nothing),
            ("/quit", Command::Quit),
            ("/help me", Command::Help),
            ("/reset \r", Command::Reset),
            ("/system  Be brief. ", Command::System("Be brief.")),
            ("/system", Command::System("")),
            ("/sytem Be brief.", Command::Unknown("/sytem")),
            (" /reset", Command::Message("/reset")),
            ("/etc/hosts is what?", Command::Message("/etc/hosts is what?")),
            ("/ is a slash", Command::Message("/ is a slash")),
            (" Hi\t", Command::Message("Hi")),
        ];
        for (line, expected) in cases {
            assert_eq!(Command::parse(line), expected, "{line:?}");
        }
    }
}
