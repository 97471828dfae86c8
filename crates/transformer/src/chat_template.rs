//! Dialogues to text, in the format that a model was trained on.

use crate::{Error, jinja};
use dialogue::{Dialogue, Message, Role};
use language_model::Error as ModelError;
use minijinja::{Environment, Value, context};
use std::{collections::BTreeMap, sync::Arc};

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
/// `tools` and `documents` (always none), further variables of [`ChatTemplate::with_variables`], the functions
/// `raise_exception` and `strftime_now`, the filter `tojson` and the methods of Python's strings and dictionaries.
/// `strftime_now` tells the time at which the template was loaded, in UTC, so that the parts of one run agree with each
/// other. A variable that nobody gives is undefined: false, empty, and nothing when written.
///
/// A rendering may take some thousand steps a message and write a megabyte more than 16 times what the messages hold, so
/// that a damaged or hostile template ends with an error. The memory of the values that it computes on the way has no
/// limit of its own.
#[derive(Clone)]
pub struct ChatTemplate {
    source: Arc<str>,
    environment: Arc<Environment<'static>>,
    special: SpecialTokens,
    variables: Arc<BTreeMap<String, serde_json::Value>>,
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
        let mut environment = jinja::environment();
        jinja::compile(&mut environment, NAME, source)
            .map_err(|source| Error::Template { file: file.to_owned(), source })?;
        let environment = Arc::new(environment);
        Ok(Self { source: source.into(), environment, special, variables: Arc::default() })
    }

    /// Gives further variables to the template, as keyword arguments of `apply_chat_template` are given in Hugging Face:
    /// `enable_thinking`, `date_string` and the like. They do not replace those that the template sees anyway.
    #[must_use]
    pub fn with_variables(
        mut self,
        variables: impl IntoIterator<Item = (String, serde_json::Value)>,
    ) -> Self {
        Arc::make_mut(&mut self.variables).extend(variables);
        self
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
            ..Value::from_serialize(&*self.variables)
        };
        let bytes = messages.iter().map(|message| message.content.len()).sum();
        jinja::render(&self.environment, NAME, &context, messages.len(), bytes)
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

fn refusal(dialogue: &Dialogue, message: impl Into<String>) -> ModelError {
    ModelError::Template { id: dialogue.id(), message: message.into() }
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
        assert_eq!(jinja::plain_source("{% generation %}\r\n{% if"), "{% if true %}\n{% if");
    }

    /// What Jinja of Python writes (`transformers` 5.24), for the first two messages of the dialogue.
    #[test]
    fn writes_and_asks_as_python_does() {
        let cases = [
            (
                "{{ none is iterable }} {{ 'a' is iterable }} {{ {} is iterable }} {{ 1 is iterable }}",
                "False True True False",
            ),
            (
                "{{ messages is sequence }} {{ 'a' is sequence }} {{ {} is sequence }} {{ none is sequence }}",
                "True True True False",
            ),
            ("{{ tools is iterable and tools | length > 0 }} {{ nothing | length }}", "False 0"),
            (
                "{{ true is number }} {{ nothing is iterable }} {{ nothing is string }}",
                "True True False",
            ),
            ("{{ nothing }}{{ nothing is defined }}{% if nothing and x %}y{% endif %}", "False"),
            (
                "{{ nothing == none }} {{ nothing is none }} {{ 'x' in nothing }}",
                "False False False",
            ),
            ("{{ messages[1] }}", "{'role': 'assistant', 'content': ' Yes? '}"),
            (
                "{{ [1, 'a', none, true, 1.5, \"it's\", 'a\\n\\t\\\\'] }}",
                "[1, 'a', None, True, 1.5, \"it's\", 'a\\n\\t\\\\']",
            ),
            (
                "{{ {'b': {}, 'a': []} }} {{ 1e20 }} {{ 1e-7 }} {{ 2.0 }}",
                "{'b': {}, 'a': []} 1e+20 1e-07 2.0",
            ),
            (
                "{{ messages | map(attribute='role') | list }}",
                "['user', 'assistant', 'user', 'assistant']",
            ),
            (
                "{{ 'a,b,c'.rsplit(',', 1) }} {{ 'a,b,c'.split(',', 1) }}",
                "['a,b', 'c'] ['a', 'b,c']",
            ),
            (
                "{{ 'abc'.removeprefix('a') }} {{ 'abc'.removesuffix('c') }} {{ 'abc'.index('c') }}",
                "bc ab 2",
            ),
            (
                "{{ 'a=b=c'.partition('=')[2] }} {{ 'a=b=c'.rpartition('=')[0] }} {{ 'a'.partition('=')[0] }}",
                "b=c a=b a",
            ),
            (
                "{{ {'b': 1, 'a': [1, {}]} | tojson(sort_keys=true, separators=(',', ':')) }}",
                r#"{"a":[1,{}],"b":1}"#,
            ),
            (
                "{{ {'b': [1], 'a': {}} | tojson(indent=2) }}",
                "{\n  \"b\": [\n    1\n  ],\n  \"a\": {}\n}",
            ),
            ("{{ [1] | tojson(indent='\t') }} {{ [] | tojson(indent=2) }}", "[\n\t1\n] []"),
            ("{{ 'é🦀\x7f\\u0007<\\n' | tojson }}", "\"é🦀\x7f\\u0007<\\n\""),
            (
                "{{ 'é🦀\x7f' | tojson(ensure_ascii=true) }} {{ 'é' | tojson(true) }}",
                "\"\\u00e9\\ud83e\\udd80\\u007f\" \"\\u00e9\"",
            ),
            (
                "{{ 1e20 | tojson }} {{ 1e-7 | tojson }} {{ 1.0 | tojson }} {{ none | tojson }}",
                "1e+20 1e-07 1.0 null",
            ),
        ];
        for (source, expected) in cases {
            assert_eq!(template(source).render(&dialogue(), true).unwrap(), expected, "{source}");
        }
    }

    #[test]
    fn what_is_wrong_in_a_filter_is_an_error() {
        for source in [
            "{{ 1 | tojson(indent='x', separators=(',',)) }}",
            "{{ 1 | tojson(indent=[]) }}",
            "{{ 1 | tojson(colour=1) }}",
            "{{ 1 | length }}",
            "{{ 'a'.rsplit('') }}",
            "{{ 'a'.index('b') }}",
            "{{ 'a'.dance() }}",
            "{{ raise_exception('no') }}",
            "{{ strftime_now('%!') }}",
        ] {
            let error = template(source).render(&dialogue(), true).unwrap_err();
            assert!(matches!(&error, ModelError::Template { .. }), "{error}");
        }
    }

    #[test]
    fn further_variables_are_seen() {
        let source = "{{ enable_thinking is defined and not enable_thinking }} {{ date_string }} {{ eos_token }}";
        assert_eq!(template(source).render(&dialogue(), true).unwrap(), "False  <|end|>");
        let given = [
            ("enable_thinking", false.into()),
            ("date_string", "today".into()),
            ("eos_token", "x".into()),
        ];
        let given = given.map(|(name, value): (&str, serde_json::Value)| (name.to_owned(), value));
        let told = template(source).with_variables(given);
        assert_eq!(told.render(&dialogue(), true).unwrap(), "True today <|end|>");
    }

    #[test]
    fn a_template_that_never_ends_is_an_error() {
        let hostile = [
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "{% for a in range(1000000000) %}{% endfor %}",
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
            "{% for x in [[1]] recursive %}{{ loop(x) }}{{ loop([[[x]]]) }}{% endfor %}",
            "{{ 'a' * 1000000000000 }}",
            "{{ 'a' * 90000000 }}",
            "{% for a in range(99999) %}{{ 'a' * 1000 }}{% endfor %}",
            "{% set ns = namespace(x=[]) %}{% for a in range(99999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
            "{% set ns = namespace(x=[]) %}{% for a in range(1000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x | tojson }}",
            "{% set ns = namespace(x=[]) %}{% for a in range(1000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ (ns.x | string)[0] }}{{ ns.x == ns.x }}{{ raise_exception('') }}",
            "{% set ns = namespace(x=[]) %}{% for a in range(1000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
        ];
        for source in hostile {
            let error = template(source).render(&dialogue(), true).unwrap_err();
            assert!(matches!(&error, ModelError::Template { .. }), "{source}: {error}");
        }
        let deep = "(".repeat(100_000);
        assert!(
            ChatTemplate::from_source(&format!("{{{{ {deep} }}}}"), "file", special()).is_err()
        );
    }

    #[test]
    fn long_dialogues_have_room() {
        let mut long = Dialogue::default();
        for _ in 0..2000 {
            long = long.with_user("Is it?").with_assistant("It is.");
        }
        for template in [template(CHAT_ML), template(HEADERS), template(BLOCKS), transcript()] {
            assert!(template.render(&long, true).unwrap().len() > 2000 * 12);
        }
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
