//! Dialogues to text, in the format that a model was trained on.

use crate::{Error, guard::guarded, strftime};
use dialogue::{Dialogue, Message, Role};
use language_model::Error as ModelError;
use minijinja::{
    AutoEscape, Environment, ErrorKind, Value, context,
    value::{Kwargs, ViaDeserialize},
};
use std::{io, sync::Arc, time::SystemTime};

/// The transcript of the paper (arXiv 2212.08073, appendix E) and of hh-rlhf as a chat template: what base models, whose
/// folders bring no template, read.
const TRANSCRIPT: &str = "\
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}
{{ '\\n\\nHuman: ' + message['content'] }}
{%- elif message['role'] == 'assistant' -%}
{{ '\\n\\nAssistant: ' + message['content'] }}
{%- if loop.last and not add_generation_prompt and eos_token is defined -%}
{{ eos_token }}
{%- endif -%}
{%- else -%}
{{ message['content'] }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '\\n\\nAssistant:' }}
{%- endif -%}
";

const NAME: &str = "chat_template";

/// The longest text that a template may make of nothing, in bytes.
const LONGEST_TEXT: usize = 16 << 20;

/// Instructions that a template may take for one dialogue. Those of published models take some ten for a message and
/// thousands with many tools; a loop that would never end stops after about a second.
const FUEL: u64 = 10_000_000;

/// The begin-of-text and end-of-text tokens as templates write them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// `bos_token`, if the model has one.
    pub bos: Option<String>,
    /// `eos_token`, if the model has one.
    pub eos: Option<String>,
}

/// A Jinja chat template with what Hugging Face gives to it; cheap to clone.
///
/// The template sees `messages`, `add_generation_prompt`, `bos_token`, `eos_token` (undefined if the model has none),
/// `tools` and `documents` (always none), the functions `raise_exception` and `strftime_now`, the filter `tojson` and
/// the methods of Python's strings and dictionaries. `strftime_now` tells the time at which the template was loaded, in
/// UTC, so that the parts of one run agree with each other.
#[derive(Clone)]
pub struct ChatTemplate {
    source: Arc<str>,
    environment: Arc<Environment<'static>>,
    special: SpecialTokens,
}

/// Where one assistant turn stands in the text of a dialogue, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Where the generation prompt ends.
    pub(crate) start: usize,
    /// Where the content ends.
    pub(crate) content_end: usize,
    /// Where the turn ends with all that the template writes behind the content.
    pub(crate) end: usize,
}

impl ChatTemplate {
    /// Compiles a Jinja `source`; `file` names it in errors.
    ///
    /// # Errors
    /// [`Error::Template`] with the line that does not compile.
    pub fn from_source(source: &str, file: &str, special: SpecialTokens) -> Result<Self, Error> {
        let mut environment = environment();
        let plain = plain_jinja(source);
        call(|| environment.add_template_owned(NAME, plain))
            .map_err(|source| Error::Template { file: file.to_owned(), source })?;
        Ok(Self { source: source.into(), environment: Arc::new(environment), special })
    }

    /// The transcript of the paper: `\n\nHuman: …\n\nAssistant: …`. A reply at the very end is closed by the
    /// end-of-text token, a system message stands without a speaker.
    ///
    /// # Errors
    /// None in practice: the template is built in.
    pub fn transcript(special: SpecialTokens) -> Result<Self, Error> {
        Self::from_source(TRANSCRIPT, "the built-in transcript template", special)
    }

    /// True if this is the built-in transcript.
    pub fn is_transcript(&self) -> bool {
        &*self.source == TRANSCRIPT
    }

    /// The Jinja source, as it was given.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The begin-of-text and end-of-text tokens that the template writes.
    pub fn special_tokens(&self) -> &SpecialTokens {
        &self.special
    }

    /// The text of a dialogue, followed by the opening of an assistant turn if `add_generation_prompt`.
    ///
    /// # Errors
    /// [`ModelError::Template`] if the template refuses the dialogue or fails on it.
    pub fn render(
        &self,
        dialogue: &Dialogue,
        add_generation_prompt: bool,
    ) -> Result<String, ModelError> {
        self.render_messages(&dialogue.messages, add_generation_prompt)
            .map_err(|error| refusal(dialogue, error.to_string()))
    }

    /// The text of a dialogue, ready to be continued: with the opening of an assistant turn behind it, or, if its last
    /// turn is the assistant's, up to the end of that turn's content. An empty assistant turn is the opening alone.
    ///
    /// A template that trims contents also trims the white space at the end of the turn that is continued.
    ///
    /// # Errors
    /// [`ModelError::Template`] if the template refuses the dialogue or leaves out the last turn.
    pub fn render_open(&self, dialogue: &Dialogue) -> Result<String, ModelError> {
        match dialogue.last_reply() {
            None => self.render(dialogue, true),
            Some("") => self
                .render_messages(&dialogue.messages[..dialogue.messages.len() - 1], true)
                .map_err(|error| refusal(dialogue, error.to_string())),
            Some(_) => self.render_to_content_end(dialogue, dialogue.messages.len() - 1),
        }
    }

    /// The places of all assistant turns in `text`, the text of `dialogue` without generation prompt.
    ///
    /// A turn starts where the text of the turns before it, with generation prompt, ends.
    ///
    /// # Errors
    /// [`ModelError::Template`] if the template writes earlier turns differently once later ones follow.
    pub(crate) fn assistant_turns(
        &self,
        dialogue: &Dialogue,
        text: &str,
    ) -> Result<Vec<Turn>, ModelError> {
        let turns = dialogue.messages.iter().enumerate();
        turns
            .filter(|(_, message)| message.role == Role::Assistant)
            .map(|(index, _)| self.assistant_turn(dialogue, text, index))
            .collect()
    }

    fn assistant_turn(
        &self,
        dialogue: &Dialogue,
        text: &str,
        index: usize,
    ) -> Result<Turn, ModelError> {
        let rendered = |messages, opened| {
            self.render_messages(messages, opened)
                .map_err(|error| refusal(dialogue, error.to_string()))
        };
        let open = rendered(&dialogue.messages[..index], true)?;
        let head = self.render_to_content_end(dialogue, index)?;
        if !text.starts_with(&open) || !text.starts_with(&head) || head.len() < open.len() {
            let message = format!(
                "it writes the text before message {} differently once that message follows, so the assistant's \
                 tokens cannot be told apart; use a template that only ever appends",
                index + 1
            );
            return Err(refusal(dialogue, message));
        }
        let closed = rendered(&dialogue.messages[..=index], false)?;
        let appends = text.starts_with(&closed) && closed.len() >= head.len();
        let end = if appends { closed.len() } else { head.len() };
        Ok(Turn { start: open.len(), content_end: head.len(), end })
    }

    /// The text up to the end of the content of message `index`, found by a mark behind that content.
    ///
    /// Searching for the content itself would be wrong where it repeats other text or where the template changes it.
    /// The tab behind the mark tells whether the template trims contents.
    fn render_to_content_end(
        &self,
        dialogue: &Dialogue,
        index: usize,
    ) -> Result<String, ModelError> {
        let Some(mark) = unused_character(&dialogue.messages) else {
            return Err(refusal(dialogue, "it uses every private-use character of Unicode"));
        };
        let mut messages = dialogue.messages.clone();
        messages[index].content.extend([mark, '\t']);
        let mut text = self
            .render_messages(&messages, false)
            .map_err(|error| refusal(dialogue, error.to_string()))?;
        let Some(end) = text.rfind(mark) else {
            let message = format!("it leaves out the content of message {}", index + 1);
            return Err(refusal(dialogue, message));
        };
        let trims = !text[end + mark.len_utf8()..].starts_with('\t');
        text.truncate(end);
        if trims {
            let content = &dialogue.messages[index].content;
            // Of white space alone nothing is left: what stands before the mark then is the template's.
            let space = if content.trim().is_empty() { "" } else { trailing_space(content) };
            let kept = text.strip_suffix(space).map_or(end, str::len);
            text.truncate(kept);
        }
        Ok(text)
    }

    fn render_messages(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, minijinja::Error> {
        let undefined_if_none = |token: &Option<String>| token.as_deref().map(Value::from);
        let context = context! {
            messages,
            add_generation_prompt,
            tools => (),
            documents => (),
            bos_token => undefined_if_none(&self.special.bos).unwrap_or(Value::UNDEFINED),
            eos_token => undefined_if_none(&self.special.eos).unwrap_or(Value::UNDEFINED),
        };
        let content: usize = messages.iter().map(|message| message.content.len()).sum();
        let mut text = Text { bytes: Vec::new(), most: LONGEST_TEXT + 16 * content };
        call(|| {
            self.environment.get_template(NAME)?.render_captured_to(context, &mut text).map(drop)
        })?;
        Ok(String::from_utf8_lossy(&text.bytes).into_owned())
    }
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ChatTemplate")
            .field("source", &self.source)
            .field("special", &self.special)
            .finish_non_exhaustive()
    }
}

/// A call into the template engine, whose panics are failures.
fn call<T>(call: impl FnOnce() -> Result<T, minijinja::Error>) -> Result<T, minijinja::Error> {
    guarded(call)
        .unwrap_or_else(|message| Err(minijinja::Error::new(ErrorKind::InvalidOperation, message)))
}

/// A text that stops growing at some length.
struct Text {
    bytes: Vec<u8>,
    most: usize,
}

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            let message = format!("it writes more than {} bytes", self.most);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn refusal(dialogue: &Dialogue, message: impl Into<String>) -> ModelError {
    ModelError::Template { id: dialogue.id(), message: message.into() }
}

/// Jinja as Hugging Face sets it up for chat templates.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |message: String| {
        Err::<Value, _>(minijinja::Error::new(ErrorKind::InvalidOperation, message))
    });
    let loaded = SystemTime::now();
    environment.add_function("strftime_now", move |format: &str| {
        strftime::format_time(loaded, format)
            .map_err(|message| minijinja::Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_filter("tojson", to_json);
    environment
}

/// Python's `json.dumps` without its escapes for HTML and for characters beyond ASCII.
fn to_json(
    ViaDeserialize(value): ViaDeserialize<serde_json::Value>,
    options: Kwargs,
) -> Result<String, minijinja::Error> {
    let indent: Option<usize> = options.get("indent")?;
    let _: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let mut json = Vec::new();
    let written = if let Some(indent) = indent {
        let spaces = " ".repeat(indent.min(16));
        let formatter = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
        write_json(&value, &mut json, formatter)
    } else {
        write_json(&value, &mut json, PythonSpaces)
    };
    written
        .map_err(|error| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    Ok(String::from_utf8_lossy(&json).into_owned())
}

fn write_json(
    value: &serde_json::Value,
    json: &mut Vec<u8>,
    formatter: impl serde_json::ser::Formatter,
) -> serde_json::Result<()> {
    use serde::Serialize as _;
    value.serialize(&mut serde_json::Serializer::with_formatter(json, formatter))
}

/// A space behind every comma and colon.
struct PythonSpaces;

impl serde_json::ser::Formatter for PythonSpaces {
    fn begin_array_value<W>(&mut self, writer: &mut W, first: bool) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W>(&mut self, writer: &mut W, first: bool) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W>(&mut self, writer: &mut W) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        writer.write_all(b": ")
    }
}

/// The source as this Jinja needs it to give what Hugging Face's gives: line ends are `\n`, and `{% generation %}`
/// blocks, which mark what is trained on and change no text, are plain blocks.
fn plain_jinja(source: &str) -> String {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut plain = String::with_capacity(source.len());
    let mut rest = source.as_str();
    while let Some(start) = rest.find("{%") {
        // Behind the two characters that open the tag, whose second could close it again.
        let Some(length) = rest[start + 2..].find("%}").map(|length| length + 2) else { break };
        let (before, tag) = (&rest[..start], &rest[start..start + length]);
        plain.push_str(before);
        plain.push_str(&match tag[2..].trim_matches(['-', '+', ' ', '\t', '\n']) {
            "generation" => tag.replace("generation", "if true"),
            "endgeneration" => tag.replace("endgeneration", "endif"),
            _ => tag.to_owned(),
        });
        rest = &rest[start + length..];
    }
    plain + rest
}

fn trailing_space(text: &str) -> &str {
    &text[text.trim_end().len()..]
}

/// A private-use character that none of the messages holds.
fn unused_character(messages: &[Message]) -> Option<char> {
    let mut planes = ('\u{e000}'..='\u{f8ff}').chain('\u{f0000}'..='\u{ffffd}');
    planes.find(|&mark| !messages.iter().any(|message| message.content.contains(mark)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{BLOCKS, CHAT_ML, HEADERS, special, template};
    use proptest::prelude::*;

    fn transcript() -> ChatTemplate {
        ChatTemplate::transcript(special()).unwrap()
    }

    fn dialogue() -> Dialogue {
        Dialogue::from_user("Hi \n")
            .with_assistant(" Yes? ")
            .with_user("A")
            .with_assistant("The answer is: (")
    }

    /// What `apply_chat_template` of `transformers` 5.23 gives for the same templates and dialogue: with generation
    /// prompt behind the third turn, the whole, the whole to be continued, the first two turns to be continued.
    #[test]
    fn renders_as_hugging_face_does() {
        let chat_ml = "<|im_start|>system\nBe helpful.<|im_end|>\n<|im_start|>user\nHi \n<|im_end|>\n\
                       <|im_start|>assistant\n Yes? <|im_end|>\n<|im_start|>user\nA<|im_end|>\n\
                       <|im_start|>assistant\nThe answer is: (<|im_end|>\n";
        let headers = "<|begin|><|header|>user<|/header|>\n\nHi<|end|>\
                       <|header|>assistant<|/header|>\n\nYes?<|end|><|header|>user<|/header|>\n\nA<|end|>\
                       <|header|>assistant<|/header|>\n\nThe answer is: (<|end|>";
        let blocks = "<|user|>\nHi \n<|end|>\n<|assistant|>\n Yes? <|end|>\n<|user|>\nA<|end|>\n\
                      <|assistant|>\nThe answer is: (<|end|>\n";
        let human = "\n\nHuman: Hi \n\n\nAssistant:  Yes? \n\nHuman: A\n\nAssistant: The answer is: (<|end|>";
        let cases = [
            (template(CHAT_ML), chat_ml, "The answer is: (", "<|im_end|>\n", " Yes? "),
            (template(HEADERS), headers, "The answer is: (", "<|end|>", "Yes?"),
            (template(BLOCKS), blocks, "The answer is: (", "<|end|>\n", " Yes? "),
            (transcript(), human, " The answer is: (", "<|end|>", " Yes? "),
        ];
        for (template, whole, last, end, first) in cases {
            assert_eq!(template.render(&dialogue(), false).unwrap(), whole);
            let open = whole.strip_suffix(end).unwrap();
            assert_eq!(template.render_open(&dialogue()).unwrap(), open);
            let asked = dialogue().prompt();
            assert_eq!(template.render_open(&asked).unwrap(), open.strip_suffix(last).unwrap());
            let two = Dialogue::new(dialogue().messages[..2].to_vec());
            let first_end = whole.find(first).unwrap() + first.len();
            assert_eq!(template.render_open(&two).unwrap(), whole[..first_end]);
        }
    }

    #[test]
    fn an_empty_reply_is_the_opening_alone() {
        for template in [template(CHAT_ML), template(HEADERS), template(BLOCKS), transcript()] {
            let asked = Dialogue::from_user("Hi");
            let opened = template.render_open(&asked.clone().with_assistant("")).unwrap();
            assert_eq!(opened, template.render_open(&asked).unwrap());
        }
    }

    #[test]
    fn continues_a_reply_that_repeats_other_text() {
        // These also stand in the user's turn, in the template and behind the reply.
        for reply in ["im", "end", "<|im_end|>", "\n", "assistant", "\u{e000}", "Hi"] {
            let dialogue = Dialogue::from_user("Hi\u{e001} assistant").with_assistant(reply);
            let text = template(CHAT_ML).render_open(&dialogue).unwrap();
            assert!(text.ends_with(&format!("<|im_start|>assistant\n{reply}")), "{text:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_dialogue() {
        let twice = Dialogue::from_user("a").with_user("b");
        let error = template(HEADERS).render(&twice, true).unwrap_err().to_string();
        assert!(error.contains(&twice.id()) && error.contains("Roles must alternate"), "{error}");
        let error = template("{{ messages[0].role }}").render_open(&dialogue()).unwrap_err();
        assert!(error.to_string().contains("leaves out the content of message 4"), "{error}");
    }

    #[test]
    fn a_template_that_does_not_compile_names_file_and_line() {
        let error = ChatTemplate::from_source("a\n{% if %}", "some/file.jinja", special());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("some/file.jinja") && error.contains(":2"), "{error}");
    }

    #[test]
    fn gives_what_templates_of_hugging_face_ask_for() {
        let render = |source| template(source).render(&dialogue(), true).unwrap();
        assert_eq!(
            render("{{ messages[1] | tojson }}{{ {'<': ['é', \"'\"]} | tojson }}"),
            r#"{"role": "assistant", "content": " Yes? "}{"<": ["é", "'"]}"#
        );
        assert_eq!(render("{{ {'a': [1]} | tojson(indent=1) }}"), "{\n \"a\": [\n  1\n ]\n}");
        assert_eq!(render("{{ strftime_now('%Y') | length }}"), "4");
        assert_eq!(render("{{ tools is none }} {{ pad_token is defined }}"), "True False");
        assert_eq!(render("{{ messages[1].content.strip().split('e')[0] }}"), "Y");
        assert_eq!(
            render(
                "{% for m in messages[::-1] %}{% if loop.index0 %}{% break %}{% endif %}{{ m.role }}{% endfor %}"
            ),
            "assistant"
        );
        assert_eq!(
            render(
                "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}"
            ),
            "4"
        );
        assert_eq!(
            render("{%- generation -%} a {%- endgeneration -%}{{ 'generation' }}"),
            "ageneration"
        );
        assert_eq!(plain_jinja("{% generation %}\r\n{% if"), "{% if true %}\n{% if");
    }

    proptest! {
        #[test]
        fn turns_are_where_the_contents_are(
            contents in prop::collection::vec("\\PC{0,12}|[ \n]{0,3}|<\\|end\\|>", 1..6),
        ) {
            let mut dialogue = Dialogue::default();
            for (index, content) in contents.iter().enumerate() {
                let role = if index % 2 == 0 { Role::User } else { Role::Assistant };
                dialogue = dialogue.with(role, content.clone());
            }
            for template in [template(CHAT_ML), template(BLOCKS), transcript()] {
                let text = template.render(&dialogue, false).unwrap();
                let turns = template.assistant_turns(&dialogue, &text).unwrap();
                prop_assert_eq!(turns.len(), contents.len() / 2);
                for (turn, content) in turns.iter().zip(contents.iter().skip(1).step_by(2)) {
                    prop_assert!(text[turn.start..turn.content_end].ends_with(content.as_str()));
                    let opening = turn.content_end - turn.start - content.len();
                    prop_assert!(opening <= 1, "a line break or a space");
                    prop_assert!(turn.content_end <= turn.end);
                }
            }
            let trimming = template(HEADERS);
            let text = trimming.render(&dialogue, false).unwrap();
            let turns = trimming.assistant_turns(&dialogue, &text).unwrap();
            for (turn, content) in turns.iter().zip(contents.iter().skip(1).step_by(2)) {
                prop_assert_eq!(&text[turn.start..turn.content_end], content.trim());
                prop_assert_eq!(&text[turn.content_end..turn.end], "<|end|>");
            }
        }
    }
}
