//! Dialogues to tokens and back.

use crate::{
    ChatTemplate, Error, ModelConfig, ModelFiles, SpecialTokens, TextStream, Tokenizer,
    chat_template::Turn,
    first_stop,
    folder::{CHAT_TEMPLATE, CONFIG, GENERATION_CONFIG, TOKENIZER, TOKENIZER_CONFIG},
    tokenizer::TokensAt,
};
use dialogue::Dialogue;
use language_model::Error as ModelError;
use serde_json::{Map, Value, json};
use std::{borrow::Cow, path::Path, sync::Arc};

/// What ends a turn of the transcript, besides the end-of-text token: the next turn of the human.
const TRANSCRIPT_STOP: &str = "\n\nHuman:";

/// The text side of a model: tokenizer, chat template, the tokens that end a reply, and the context length. Cheap to
/// clone.
///
/// This is the one place where text becomes tokens. As in Hugging Face, the chat template writes all special tokens
/// itself, so that none is doubled; the built-in transcript writes no begin-of-text token and gets the tokenizer's.
#[derive(Debug, Clone)]
pub struct Codec {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    tokenizer: Tokenizer,
    template: ChatTemplate,
    /// Ascending, without repeats.
    stop: Vec<u32>,
    context: usize,
    /// Keys of the files as they were read, to be written back.
    tokenizer_config: Map<String, Value>,
    generation_config: Map<String, Value>,
}

/// A whole dialogue as tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizedDialogue {
    /// The tokens.
    pub tokens: Vec<u32>,
    /// For every token whether it is the content of an assistant turn or the token that ends one.
    pub assistant: Vec<bool>,
}

impl Codec {
    /// Puts the parts together.
    ///
    /// Replies end at `stop`, at the template's end-of-text token and at the special token that the template writes
    /// behind an assistant turn. Which token fills up rows makes no difference, not even if it is the end-of-text token:
    /// rows are known by their lengths.
    pub fn new(
        tokenizer: Tokenizer,
        template: ChatTemplate,
        stop: impl IntoIterator<Item = u32>,
        context: usize,
    ) -> Self {
        let special = template.special_tokens();
        let tokenizer_config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": special.bos,
            "eos_token": special.eos,
            "model_max_length": context,
            "clean_up_tokenization_spaces": false,
        });
        Self::with_files(tokenizer, template, stop, context, object(tokenizer_config), Map::new())
    }

    fn with_files(
        tokenizer: Tokenizer,
        template: ChatTemplate,
        stop: impl IntoIterator<Item = u32>,
        context: usize,
        tokenizer_config: Map<String, Value>,
        generation_config: Map<String, Value>,
    ) -> Self {
        let eos = template.special_tokens().eos.as_deref();
        let mut stop: Vec<u32> = stop.into_iter().collect();
        stop.extend(eos.and_then(|eos| tokenizer.token_to_id(eos)));
        stop.extend(end_of_turn(&tokenizer, &template));
        stop.sort_unstable();
        stop.dedup();
        let inner =
            Inner { tokenizer, template, stop, context, tokenizer_config, generation_config };
        Self { inner: Arc::new(inner) }
    }

    /// Reads the text side of a model folder. A folder without chat template gets [`ChatTemplate::transcript`].
    ///
    /// Replies end at every token that `config.json` or `generation_config.json` names as `eos_token_id`, a number or a
    /// list, besides those of [`Codec::new`]. (In `transformers` the latter file replaces the former, and neither its
    /// `eos_token` nor the end of a turn counts, which lets some models talk on.)
    ///
    /// # Errors
    /// [`Error::MissingFile`] and [`Error::Read`], or those of [`Codec::from_files`].
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, Error> {
        Self::from_files(&ModelFiles::from_folder_without_weights(folder.as_ref())?)
    }

    /// As [`Codec::from_folder`], of files in memory; the weights are not looked at.
    ///
    /// # Errors
    /// Those of [`ModelConfig::from_json`], [`Error::Json`], [`Error::Tokenizer`] or [`Error::Template`] name the file
    /// that cannot be used.
    pub fn from_files(files: &ModelFiles) -> Result<Self, Error> {
        let config = String::from_utf8_lossy(&files.config);
        let config = ModelConfig::from_json(&config, &files.path_of(CONFIG))?;
        let tokenizer = Tokenizer::from_bytes(&files.tokenizer, &files.path_of(TOKENIZER))?;
        let mut tokenizer_config =
            read_object(files.tokenizer_config.as_deref(), &files.path_of(TOKENIZER_CONFIG))?;
        let generation_config =
            read_object(files.generation_config.as_deref(), &files.path_of(GENERATION_CONFIG))?;
        let written = |key, id: Option<u32>| match tokenizer_config.get(key) {
            Some(token) => token_text(token),
            None => id.and_then(|id| tokenizer.id_to_token(id)),
        };
        let special = SpecialTokens {
            bos: written("bos_token", config.bos_token_id),
            eos: written("eos_token", config.eos_token_id.first().copied()),
        };
        let named = tokenizer_config.remove("chat_template");
        let template = read_template(files, named.as_ref(), special)?;
        let template = template.with_variables(further_tokens(&tokenizer_config));
        let mut stop = config.eos_token_id;
        stop.extend(token_ids(generation_config.get("eos_token_id")));
        Ok(Self::with_files(
            tokenizer,
            template,
            stop,
            config.max_position_embeddings,
            tokenizer_config,
            generation_config,
        ))
    }

    /// The files of a model folder that hold the text side, by name: `tokenizer.json`, `tokenizer_config.json`,
    /// `chat_template.jinja` and `generation_config.json`.
    pub fn files(&self) -> Vec<(&'static str, Vec<u8>)> {
        let Inner { tokenizer, template, stop, tokenizer_config, generation_config, .. } =
            &*self.inner;
        let mut generation_config = generation_config.clone();
        match stop.as_slice() {
            [] => {}
            [token] => {
                generation_config.insert("eos_token_id".to_owned(), json!(token));
            }
            tokens => {
                generation_config.insert("eos_token_id".to_owned(), json!(tokens));
            }
        }
        vec![
            (TOKENIZER, tokenizer.json().to_vec()),
            (TOKENIZER_CONFIG, pretty(tokenizer_config)),
            (CHAT_TEMPLATE, template.source().as_bytes().to_vec()),
            (GENERATION_CONFIG, pretty(&generation_config)),
        ]
    }

    /// The tokens of a dialogue, ready to be continued: a dialogue that ends in a user turn is followed by the opening
    /// of an assistant turn, one that ends in an unfinished assistant turn stops where its content stops.
    ///
    /// # Errors
    /// [`ModelError::Template`] if the template refuses the dialogue, [`Error::Encode`] inside [`ModelError::Model`].
    pub fn encode_prompt(&self, dialogue: &Dialogue) -> Result<Vec<u32>, ModelError> {
        let text = self.inner.template.render_open(dialogue)?;
        if self.inner.template.is_transcript() {
            return Ok(self.inner.tokenizer.encode_with_special_tokens(&text)?);
        }
        Ok(self.inner.tokenizer.encode(&text)?)
    }

    /// The tokens of a whole dialogue, and which of them the assistant says.
    ///
    /// An assistant turn goes from the end of its opening to the token that ends it, both its content and that token
    /// included; a template that writes no such token has turns that end with their content. The text is tokenised
    /// once, so the tokens are those of any other reader of the same text. They begin with those of
    /// [`Codec::encode_prompt`], unless a token reaches over the place where the prompt ends.
    ///
    /// # Errors
    /// [`ModelError::Template`] if the template refuses the dialogue or writes earlier turns differently once later
    /// ones follow, [`Error::Encode`] inside [`ModelError::Model`].
    pub fn encode_dialogue(&self, dialogue: &Dialogue) -> Result<TokenizedDialogue, ModelError> {
        let Inner { tokenizer, template, .. } = &*self.inner;
        let text = template.render(dialogue, false)?;
        let turns = template.assistant_turns(dialogue, &text)?;
        let TokensAt { mut tokens, offsets } = tokenizer.encode_with_offsets(&text)?;
        let ends_turn: Vec<bool> = tokens.iter().map(|&token| self.is_stop(token)).collect();
        let mut assistant = assistant_tokens(&offsets, &ends_turn, &turns);
        if template.is_transcript() {
            let added = tokenizer.lead(&mut tokens);
            assistant.splice(0..0, std::iter::repeat_n(false, added));
        }
        Ok(TokenizedDialogue { tokens, assistant })
    }

    /// The tokens of a text that is no dialogue, behind the begin-of-text token that the tokenizer may add.
    ///
    /// # Errors
    /// [`Error::Encode`].
    pub fn encode_text(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.inner.tokenizer.encode_with_special_tokens(text)
    }

    /// The text of tokens, special ones left out.
    pub fn decode(&self, tokens: &[u32]) -> String {
        self.inner.tokenizer.decode(tokens)
    }

    /// The reply that `tokens`, drawn as the continuation of `prompt`, stand for: up to the first stop token and the
    /// first stop string of the template or of `stop`, without special tokens. A new turn of the transcript begins with
    /// a space, which is not part of it.
    pub fn reply(&self, prompt: &Dialogue, tokens: &[u32], stop: &[String]) -> String {
        let mut text = self.text_until(tokens, stop);
        if let Some(end) = first_stop(&text, self.stop_strings()) {
            text.truncate(end);
        }
        if self.trims_reply(prompt) {
            text.drain(..text.len() - text.trim_start().len());
        }
        text
    }

    /// True if white space at the beginning of a reply to `prompt` belongs to the template.
    pub(crate) fn trims_reply(&self, prompt: &Dialogue) -> bool {
        self.inner.template.is_transcript() && prompt.last_reply().is_none_or(str::is_empty)
    }

    /// The text of `tokens` up to the first stop token and the first of the strings `stop`, without special tokens.
    pub fn text_until(&self, tokens: &[u32], stop: &[String]) -> String {
        let end = tokens.iter().position(|&token| self.is_stop(token)).unwrap_or(tokens.len());
        let mut text = self.decode(&tokens[..end]);
        if let Some(end) = first_stop(&text, stop) {
            text.truncate(end);
        }
        text
    }

    /// The text that every one of `tokens` adds; special tokens are written out. A character of several tokens counts
    /// for the last of them.
    pub fn pieces(&self, tokens: &[u32]) -> Vec<String> {
        let tokenizer = &self.inner.tokenizer;
        let mut stream = TextStream::default();
        tokens
            .iter()
            .map(|&token| {
                let piece = stream.push(token, tokenizer);
                if tokenizer.is_special(token) {
                    return piece + &tokenizer.id_to_token(token).unwrap_or_default();
                }
                piece
            })
            .collect()
    }

    /// True if `token` ends a reply.
    pub fn is_stop(&self, token: u32) -> bool {
        self.inner.stop.binary_search(&token).is_ok()
    }

    /// The tokens that end a reply, in ascending order.
    pub fn stop_tokens(&self) -> &[u32] {
        &self.inner.stop
    }

    /// The strings that end a reply: those of the transcript, none of other templates, which have tokens for it.
    pub fn stop_strings(&self) -> &'static [&'static str] {
        if self.inner.template.is_transcript() { &[TRANSCRIPT_STOP] } else { &[] }
    }

    /// Tokens the model can hold.
    pub fn context(&self) -> usize {
        self.inner.context
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.inner.tokenizer
    }

    /// The chat template.
    pub fn template(&self) -> &ChatTemplate {
        &self.inner.template
    }
}

/// Which tokens the assistant says, from the places of the tokens and of the assistant's turns in the text.
///
/// A token that reaches over the end of a turn's content belongs to the turn. So do the tokens behind the content up to
/// the first that ends a turn, if it stands in the turn or right behind it.
fn assistant_tokens(offsets: &[(usize, usize)], ends_turn: &[bool], turns: &[Turn]) -> Vec<bool> {
    let mut assistant = vec![false; offsets.len()];
    let first = |from: usize, is: &dyn Fn(&(usize, usize)) -> bool| {
        offsets[from..].iter().position(is).map_or(offsets.len(), |index| from + index)
    };
    let mut from = 0;
    for turn in turns {
        let begin = first(from, &|&(_, end)| end > turn.start);
        let content_end = first(begin, &|&(start, _)| start >= turn.content_end);
        let turn_end = first(content_end, &|&(start, _)| start >= turn.end);
        let searched = offsets.len().min(turn_end + usize::from(turn_end == content_end));
        let stop = ends_turn[content_end..searched].iter().position(|&ends| ends);
        let end = stop.map_or(content_end, |index| content_end + index + 1);
        assistant[begin..end].fill(true);
        from = end;
    }
    assistant
}

/// The special token that the template writes behind an assistant turn, found in a short dialogue.
fn end_of_turn(tokenizer: &Tokenizer, template: &ChatTemplate) -> Option<u32> {
    let dialogue = Dialogue::from_user("a").with_assistant("b");
    let text = template.render(&dialogue, false).ok()?;
    let open = template.render_open(&dialogue).ok()?;
    let tokens = tokenizer.encode(text.strip_prefix(&open)?).ok()?;
    let is_space = |token: u32| tokenizer.decode(&[token]).trim().is_empty();
    tokens
        .into_iter()
        .take_while(|&token| tokenizer.is_special(token) || is_space(token))
        .find(|&token| tokenizer.is_special(token))
}

/// The template of a folder: its own file, or that in the tokenizer's settings, or the transcript.
fn read_template(
    files: &ModelFiles,
    named: Option<&Value>,
    special: SpecialTokens,
) -> Result<ChatTemplate, Error> {
    if let Some(source) = &files.chat_template {
        let source = String::from_utf8_lossy(source);
        return ChatTemplate::from_source(&source, &files.path_of(CHAT_TEMPLATE), special);
    }
    let file = files.path_of(TOKENIZER_CONFIG);
    let default = match named {
        None | Some(Value::Null) => return ChatTemplate::transcript(special),
        Some(Value::Array(templates)) => templates
            .iter()
            .find(|template| template["name"] == "default")
            .map_or(&Value::Null, |template| &template["template"]),
        Some(other) => other,
    };
    match default {
        Value::String(source) => {
            ChatTemplate::from_source(source, &format!("`chat_template` of {file}"), special)
        }
        _ => Err(Error::Config {
            file,
            key: "chat_template".to_owned(),
            found: found(named),
            expected: "a template, or a list of named ones with one that is named `default`"
                .to_owned(),
        }),
    }
}

/// What stands in the place of a template.
fn found(template: Option<&Value>) -> String {
    let Some(Value::Array(templates)) = template else {
        return template.unwrap_or(&Value::Null).to_string();
    };
    let names: Vec<&str> =
        templates.iter().filter_map(|template| template["name"].as_str()).collect();
    format!(
        "a list with {}",
        if names.is_empty() { "no names".to_owned() } else { names.join(", ") }
    )
}

/// The special tokens of a tokenizer's settings that templates may name besides those of [`SpecialTokens`].
fn further_tokens(tokenizer_config: &Map<String, Value>) -> Vec<(String, Value)> {
    const NAMES: [&str; 5] = ["unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
    let token =
        |name: &str| Some((name.to_owned(), token_text(tokenizer_config.get(name)?)?.into()));
    let mut tokens: Vec<_> = NAMES.into_iter().filter_map(token).collect();
    if let Some(Value::Array(more)) = tokenizer_config.get("additional_special_tokens") {
        let more: Vec<String> = more.iter().filter_map(token_text).collect();
        tokens.push(("additional_special_tokens".to_owned(), more.into()));
    }
    tokens
}

/// A special token as the tokenizer's settings write it: a string, or an object that holds one.
fn token_text(token: &Value) -> Option<String> {
    token.as_str().or_else(|| token["content"].as_str()).map(str::to_owned)
}

/// One token or a list of them.
fn token_ids(ids: Option<&Value>) -> Vec<u32> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match ids {
        Some(Value::Array(ids)) => ids.iter().filter_map(id).collect(),
        Some(one) => id(one).into_iter().collect(),
        None => Vec::new(),
    }
}

fn read_object(bytes: Option<&[u8]>, file: &str) -> Result<Map<String, Value>, Error> {
    let bytes = bytes.map_or(Cow::Borrowed("{}"), String::from_utf8_lossy);
    serde_json::from_str(&bytes).map_err(|source| Error::Json { file: file.to_owned(), source })
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn pretty(map: &Map<String, Value>) -> Vec<u8> {
    format!("{:#}\n", Value::Object(map.clone())).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, CHAT_ML, HEADERS, codecs, template};
    use dialogue::{Message, Role};
    use proptest::prelude::*;

    fn dialogue() -> Dialogue {
        Dialogue::from_user("How do I keep the weeds out?")
            .with_assistant("Pull them out.")
            .with_user("Thank you.")
            .with_assistant("You are welcome.")
    }

    fn kept(codec: &Codec, tokenized: &TokenizedDialogue) -> Vec<String> {
        // The text of every run of tokens that are the assistant's.
        let pairs: Vec<(u32, bool)> =
            tokenized.tokens.iter().copied().zip(tokenized.assistant.iter().copied()).collect();
        pairs
            .chunk_by(|a, b| a.1 == b.1)
            .filter(|run| run[0].1)
            .map(|run| {
                let tokens: Vec<u32> = run.iter().map(|&(token, _)| token).collect();
                codec.tokenizer().decode_with_special_tokens(&tokens)
            })
            .collect()
    }

    #[test]
    fn marks_contents_and_the_tokens_that_end_turns() {
        let expected = [
            ["Pull them out.<|im_end|>", "You are welcome.<|im_end|>"],
            ["Pull them out.<|end|>", "You are welcome.<|end|>"],
            ["Pull them out.<|end|>", "You are welcome.<|end|>"],
            // Turns of the transcript end with the next one, the last with the end of the text.
            [" Pull them out.", " You are welcome.<|end|>"],
        ];
        for (codec, expected) in codecs().iter().zip(expected) {
            let tokenized = codec.encode_dialogue(&dialogue()).unwrap();
            assert_eq!(tokenized.tokens.len(), tokenized.assistant.len());
            assert_eq!(kept(codec, &tokenized), expected);
        }
    }

    #[test]
    fn a_reply_may_hold_the_token_that_ends_it() {
        let dialogue = Dialogue::from_user("a").with_assistant("x<|im_end|>y").with_user("b");
        let tokenized = codecs()[0].encode_dialogue(&dialogue).unwrap();
        assert_eq!(kept(&codecs()[0], &tokenized), ["x<|im_end|>y<|im_end|>"]);
    }

    #[test]
    fn a_prompt_begins_its_dialogue() {
        for codec in codecs() {
            let whole = codec.encode_dialogue(&dialogue()).unwrap();
            let prompt = codec.encode_prompt(&dialogue().prompt()).unwrap();
            assert!(whole.tokens.starts_with(&prompt));
            assert!(!whole.assistant[prompt.len() - 1]);
            assert!(whole.assistant[prompt.len()..].iter().take_while(|&&is| is).count() >= 4);
            // The unfinished turn, up to the token that ends it.
            let open = codec.encode_prompt(&dialogue()).unwrap();
            assert!(whole.tokens.starts_with(&open));
            assert!(codec.is_stop(whole.tokens[open.len()]));
        }
    }

    #[test]
    fn no_begin_token_is_doubled() {
        let begin = fixture::tokenizer().token_to_id("<|begin|>").unwrap();
        let begins = |template| {
            let codec = Codec::new(fixture::tokenizer_that_begins(), template, [], 256);
            let count = |tokens: &[u32]| tokens.iter().filter(|&&token| token == begin).count();
            let whole = codec.encode_dialogue(&dialogue()).unwrap();
            assert_eq!(whole.tokens.len(), whole.assistant.len());
            assert!(whole.tokens.starts_with(&codec.encode_prompt(&dialogue().prompt()).unwrap()));
            (
                count(&codec.encode_prompt(&dialogue()).unwrap()),
                count(&whole.tokens),
                count(&codec.encode_text("Hi").unwrap()),
                count(&codec.encode_text("<|begin|>Hi").unwrap()),
            )
        };
        assert_eq!(begins(template(HEADERS)), (1, 1, 1, 1));
        assert_eq!(begins(template(CHAT_ML)), (0, 0, 1, 1));
        assert_eq!(begins(ChatTemplate::transcript(fixture::special()).unwrap()), (1, 1, 1, 1));
    }

    #[test]
    fn stops_at_end_of_text_and_end_of_turn() {
        let id = |text| fixture::tokenizer().token_to_id(text).unwrap();
        let stops: Vec<Vec<u32>> =
            codecs().iter().map(|codec| codec.stop_tokens().to_vec()).collect();
        assert_eq!(stops[0], [id("<|end|>"), id("<|im_end|>")]);
        assert_eq!(stops[1..], vec![vec![id("<|end|>")]; 3]);
        let strings: Vec<_> = codecs().iter().map(Codec::stop_strings).collect();
        assert_eq!(strings, [&[][..], &[], &[], &["\n\nHuman:"]]);
    }

    #[test]
    fn a_template_that_rewrites_history_is_refused() {
        let counting =
            template("{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}");
        let codec = Codec::new(fixture::tokenizer(), counting, [], 256);
        let error = codec.encode_dialogue(&dialogue()).unwrap_err().to_string();
        assert!(error.contains(&dialogue().id()) && error.contains("message 2"), "{error}");
    }

    #[test]
    fn thoughts_that_a_template_adds_are_said_by_the_assistant() {
        // In the style of Qwen 3: an empty thought stands before the last reply, but not in the generation prompt.
        let thinking = template(
            "{% for m in messages %}<|{{ m.role }}|>{% if loop.last and m.role == 'assistant' %}(no thought) \
             {% endif %}{{ m.content.split('</think>')[-1] }}<|end|>{% endfor %}\
             {% if add_generation_prompt %}<|assistant|>{% endif %}",
        );
        let codec = Codec::new(fixture::tokenizer(), thinking, [], 256);
        let dialogue = Dialogue::from_user("a").with_assistant("hm</think>b").with_user("c");
        let tokenized = codec.encode_dialogue(&dialogue.with_assistant("d")).unwrap();
        assert_eq!(kept(&codec, &tokenized), ["b<|end|>", "(no thought) d<|end|>"]);
    }

    #[test]
    fn replies_end_at_stop_strings() {
        let tokens = |text: &str| fixture::tokenizer().encode(text).unwrap();
        let (chat, transcript) = (&codecs()[0], &codecs()[3]);
        let asked = Dialogue::from_user("a");
        let stop = ["!".to_owned()];
        let reply = |codec: &Codec, text| codec.reply(&asked, &tokens(text), &stop);
        assert_eq!(reply(transcript, " Sure.\n\nHuman: more"), "Sure.");
        assert_eq!(reply(transcript, " Sure! Yes.\n\nHuman: more"), "Sure");
        assert_eq!(reply(chat, " Sure.\n\nHuman: more<|im_end|>"), " Sure.\n\nHuman: more");
        assert_eq!(reply(chat, "one<|im_end|>two"), "one");
        assert_eq!(chat.pieces(&tokens("né<|end|>a")), ["n", "", "é", "<|end|>", "a"]);
        let open = asked.with_assistant("The answer is:");
        assert_eq!(transcript.reply(&open, &tokens(" (A)"), &[]), " (A)");
    }

    fn files(tokenizer_config: &str) -> ModelFiles {
        let id = |text| fixture::tokenizer().token_to_id(text).unwrap();
        let config = json!({
            "model_type": "llama", "vocab_size": 420, "hidden_size": 8, "intermediate_size": 8,
            "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 99,
            "bos_token_id": id("<|begin|>"), "eos_token_id": [id("<|end|>"), id("<|pad|>")],
        });
        ModelFiles {
            name: "some/folder".to_owned(),
            config: config.to_string().into_bytes().into(),
            tokenizer: fixture::tokenizer().json().to_vec().into(),
            tokenizer_config: Some(tokenizer_config.to_owned().into_bytes().into()),
            ..ModelFiles::default()
        }
    }

    #[test]
    fn a_folder_says_what_ends_a_reply() {
        let id = |text| fixture::tokenizer().token_to_id(text).unwrap();
        let mut files = files(r#"{"bos_token": null, "eos_token": {"content": "<|user|>"}}"#);
        let system = id("<|system|>");
        files.generation_config =
            Some(format!(r#"{{"eos_token_id": {system}, "top_k": 5}}"#).into_bytes().into());
        let codec = Codec::from_files(&files).unwrap();
        let mut expected = ["<|end|>", "<|pad|>", "<|user|>", "<|system|>"].map(id);
        expected.sort_unstable();
        assert_eq!(codec.stop_tokens(), expected);
        assert_eq!(codec.context(), 99);
        let special = codec.template().special_tokens();
        assert_eq!((special.bos.as_deref(), special.eos.as_deref()), (None, Some("<|user|>")));
        // Settings that mean nothing here are kept.
        let written = codec.files();
        let generation: Value = serde_json::from_slice(&written[3].1).unwrap();
        assert_eq!(generation, json!({"eos_token_id": expected, "top_k": 5}));
    }

    /// Special tokens of a folder whose padding token is its end-of-text token, and of one that has another or none.
    const PADDINGS: [(&str, Option<&str>); 3] = [
        (r#""pad_token": "<|end|>""#, Some("<|end|>")),
        (r#""pad_token": {"content": "<|pad|>"}"#, Some("<|pad|>")),
        (r#""pad_token": null"#, None),
    ];

    #[test]
    fn the_padding_token_makes_no_difference() {
        let end = fixture::tokenizer().token_to_id("<|end|>").unwrap();
        let read = |(pad_token, pad): (&str, Option<&str>), template: &[u8]| {
            let text =
                format!(r#"{{"bos_token": "<|begin|>", "eos_token": "<|end|>", {pad_token}}}"#);
            let mut files = files(&text);
            let mut config: Value = serde_json::from_slice(&files.config).unwrap();
            config["eos_token_id"] = json!(end);
            config["pad_token_id"] =
                json!(pad.and_then(|pad| fixture::tokenizer().token_to_id(pad)));
            files.config = config.to_string().into_bytes().into();
            files.chat_template = (!template.is_empty()).then(|| template.to_vec().into());
            Codec::from_files(&files).unwrap()
        };
        for template in ["", CHAT_ML, HEADERS, fixture::BLOCKS] {
            let codecs = PADDINGS.map(|padding| read(padding, template.as_bytes()));
            for codec in &codecs {
                let whole = codec.encode_dialogue(&dialogue()).unwrap();
                assert_eq!(whole, codecs[2].encode_dialogue(&dialogue()).unwrap());
                assert_eq!(codec.stop_tokens(), codecs[2].stop_tokens());
                // The token that ends the last reply is there once, and is learnt.
                let last = whole.tokens.iter().rposition(|&token| codec.is_stop(token)).unwrap();
                assert!(whole.assistant[last]);
                assert!(!codec.is_stop(whole.tokens[last - 1]));
                let prompt = codec.encode_prompt(&dialogue().prompt()).unwrap();
                assert!(whole.tokens.starts_with(&prompt));
                assert!(!codec.is_stop(*prompt.last().unwrap()));
                let reply = &whole.tokens[prompt.len()..=last];
                assert_eq!(codec.reply(&dialogue().prompt(), reply, &[]), "You are welcome.");
            }
        }
    }

    #[test]
    fn odd_stop_tokens_are_read() {
        let read = |generation: &str| {
            let mut files = files(r#"{"eos_token": "<|end|>"}"#);
            files.generation_config = Some(generation.as_bytes().to_vec().into());
            Codec::from_files(&files).unwrap().stop_tokens().to_vec()
        };
        let none = read("{}");
        assert_eq!(read(r#"{"eos_token_id": null, "pad_token_id": -1}"#), none);
        assert_eq!(read(r#"{"eos_token_id": -1, "pad_token_id": [0, 1]}"#), none);
        assert_eq!(read(r#"{"eos_token_id": [], "temperature": null}"#), none);
        let mut more = [none.as_slice(), &[300, 301]].concat();
        more.sort_unstable();
        assert_eq!(read(r#"{"eos_token_id": [301, 300, 301]}"#), more);
    }

    #[test]
    fn templates_see_all_special_tokens() {
        let text = r#"{"pad_token": "<|pad|>", "unk_token": {"content": "<|user|>"}, "additional_special_tokens":
            ["<|begin|>", {"content": "<|end|>"}], "mask_token": null,
            "chat_template": "{{ pad_token }}{{ unk_token }}{{ additional_special_tokens[1] }}{{ mask_token is defined }}"}"#;
        let codec = Codec::from_files(&files(text)).unwrap();
        let written = codec.template().render(&dialogue(), true).unwrap();
        assert_eq!(written, "<|pad|><|user|><|end|>False");
    }

    #[test]
    fn finds_the_template_of_a_folder() {
        let source = |codec: &Codec| codec.template().source().to_owned();
        let none = Codec::from_files(&files("{}")).unwrap();
        assert!(none.template().is_transcript());
        assert_eq!(none.template().special_tokens(), &fixture::special());
        let string = Codec::from_files(&files(r#"{"chat_template": "one"}"#)).unwrap();
        assert_eq!(source(&string), "one");
        let list = r#"{"chat_template": [{"name": "rag", "template": "no"}, {"name": "default", "template": "two"}]}"#;
        assert_eq!(source(&Codec::from_files(&files(list)).unwrap()), "two");
        assert!(
            Codec::from_files(&files(r#"{"chat_template": null}"#))
                .unwrap()
                .template()
                .is_transcript()
        );
        for wrong in
            [r#"{"chat_template": [{"name": "rag", "template": "no"}]}"#, r#"{"chat_template": 3}"#]
        {
            let error = Codec::from_files(&files(wrong)).unwrap_err().to_string();
            assert!(error.contains("tokenizer_config.json: `chat_template`"), "{error}");
        }
        let mut both = files(r#"{"chat_template": "one"}"#);
        both.chat_template = Some(b"three".as_slice().into());
        assert_eq!(source(&Codec::from_files(&both).unwrap()), "three");
    }

    #[test]
    fn files_come_back_the_same() {
        for codec in codecs() {
            let mut written = codec.files().into_iter().map(|(_, bytes)| Some(bytes.into()));
            let mut next = || written.next().unwrap();
            let again = ModelFiles {
                tokenizer: next().unwrap(),
                tokenizer_config: next(),
                chat_template: next(),
                generation_config: next(),
                ..files("{}")
            };
            let again = Codec::from_files(&again).unwrap();
            assert_eq!(again.template().is_transcript(), codec.template().is_transcript());
            assert_eq!(again.template().special_tokens(), codec.template().special_tokens());
            let tokens = codec.encode_dialogue(&dialogue()).unwrap();
            assert_eq!(again.encode_dialogue(&dialogue()).unwrap(), tokens);
        }
    }

    #[test]
    fn errors_name_the_file() {
        let wrong = || Some(b"[".as_slice().into());
        let cases = [
            ("config.json", ModelFiles { config: b"{".as_slice().into(), ..files("{}") }),
            ("tokenizer.json", ModelFiles { tokenizer: b"{}".as_slice().into(), ..files("{}") }),
            ("tokenizer_config.json", files("[]")),
            ("generation_config.json", ModelFiles { generation_config: wrong(), ..files("{}") }),
            (
                "chat_template.jinja",
                ModelFiles { chat_template: Some(b"{{".as_slice().into()), ..files("{}") },
            ),
        ];
        for (file, files) in cases {
            let error = Codec::from_files(&files).unwrap_err().to_string();
            assert!(error.contains(&format!("some/folder/{file}")), "{error}");
        }
    }

    #[test]
    fn a_template_without_end_token_marks_contents_alone() {
        // A reply that is followed by the opening of the next turn, which also is a stop token.
        let bare = template(
            "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}\
                             {% if add_generation_prompt %}<|assistant|>{% endif %}",
        );
        let user = fixture::tokenizer().token_to_id("<|user|>").unwrap();
        let codec = Codec::new(fixture::tokenizer(), bare.clone(), [user], 256);
        let tokenized = codec.encode_dialogue(&dialogue()).unwrap();
        assert_eq!(kept(&codec, &tokenized), ["Pull them out.<|user|>", "You are welcome."]);
        let codec = Codec::new(fixture::tokenizer(), bare, [], 256);
        let tokenized = codec.encode_dialogue(&dialogue()).unwrap();
        assert_eq!(kept(&codec, &tokenized), ["Pull them out.", "You are welcome."]);
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(
            contents in prop::collection::vec("\\PC{0,20}|[\u{0}-\u{ff}\u{e000}\u{fffd}🦀]{0,8}|<\\|[a-z_]{3,9}\\|>", 0..5),
            roles in prop::collection::vec(0..3_usize, 5),
        ) {
            let roles = roles.into_iter().map(|role| [Role::User, Role::Assistant, Role::System][role]);
            let messages = contents.into_iter().zip(roles).map(|(content, role)| Message::new(role, content));
            let dialogue = Dialogue::new(messages.collect());
            for codec in codecs() {
                if let Ok(tokens) = codec.encode_prompt(&dialogue) {
                    prop_assert!(!codec.decode(&tokens).contains("<|im_start|>"));
                }
                if let Ok(tokenized) = codec.encode_dialogue(&dialogue) {
                    prop_assert_eq!(tokenized.tokens.len(), tokenized.assistant.len());
                }
                let text = codec.encode_text(dialogue.last_request().unwrap_or("")).unwrap();
                codec.reply(&dialogue, &text, &[]);
            }
        }

        #[test]
        fn a_prompt_is_a_prefix_for_ordinary_replies(
            asked in "[a-zA-Z][a-z ,.é]{0,20}[a-z?]",
            reply in "[A-Z][a-z ,.é]{0,20}[a-z.]",
        ) {
            let prompt = Dialogue::from_user(asked);
            for codec in codecs() {
                let whole = codec.encode_dialogue(&prompt.clone().with_assistant(reply.as_str())).unwrap();
                let tokens = codec.encode_prompt(&prompt).unwrap();
                prop_assert!(whole.tokens.starts_with(&tokens));
                let said = &whole.tokens[tokens.len()..];
                let end = said.iter().position(|&token| codec.is_stop(token)).unwrap();
                let text = codec.reply(&prompt, &said[..=end], &[]);
                prop_assert_eq!(text.trim_start(), reply.as_str());
                let marked = whole.assistant.iter().filter(|&&is| is).count();
                prop_assert_eq!(marked, end + 1);
                prop_assert!(whole.assistant[tokens.len()]);
            }
        }
    }
}
