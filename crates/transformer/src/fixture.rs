//! A small tokenizer and chat templates for tests.

use crate::{ChatTemplate, Codec, SpecialTokens, Tokenizer};
use std::sync::OnceLock;
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, PostProcessorWrapper, PreTokenizerWrapper,
    models::{
        TrainerWrapper,
        bpe::{BPE, BpeTrainer},
    },
    pre_tokenizers::byte_level::ByteLevel,
};

const CORPUS: [&str; 6] = [
    "Human: How do I keep the weeds out of the garden?",
    "Assistant: Pull them out after the rain, and cover the ground with straw.",
    "The answer is: (A) the answer is: (B) the answer",
    "user assistant system user assistant system",
    "Let's think step by step: the reply is short and it is kind.",
    "Human: Thank you. Assistant: You are welcome.",
];

/// Written by the templates below.
pub(crate) const SPECIAL: [&str; 10] = [
    "<|pad|>",
    "<|begin|>",
    "<|end|>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|header|>",
    "<|/header|>",
];

/// A byte-level BPE tokenizer of 256 bytes, some merges and [`SPECIAL`].
pub(crate) fn tokenizer() -> Tokenizer {
    static TOKENIZER: OnceLock<Tokenizer> = OnceLock::new();
    TOKENIZER
        .get_or_init(|| Tokenizer::from_bytes(trained().as_bytes(), "fixture").unwrap())
        .clone()
}

/// The same, putting `<|begin|>` in front of every text.
pub(crate) fn tokenizer_that_begins() -> Tokenizer {
    let mut json: serde_json::Value = serde_json::from_str(&trained()).unwrap();
    let begin = tokenizer().token_to_id("<|begin|>").unwrap();
    json["post_processor"] = serde_json::json!({
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<|begin|>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [],
        "special_tokens": {
            "<|begin|>": {"id": "<|begin|>", "ids": [begin], "tokens": ["<|begin|>"]},
        },
    });
    Tokenizer::from_bytes(json.to_string().as_bytes(), "fixture").unwrap()
}

fn trained() -> String {
    let mut trainer: TrainerWrapper = BpeTrainer::builder()
        .vocab_size(420)
        .min_frequency(1)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(SPECIAL.map(|token| AddedToken::from(token, true)).to_vec())
        .build()
        .into();
    let mut tokenizer = tokenizers::Tokenizer::new(ModelWrapper::from(BPE::default()));
    tokenizer
        .with_pre_tokenizer(Some(PreTokenizerWrapper::from(ByteLevel::new(false, true, true))));
    tokenizer.with_post_processor(Some(PostProcessorWrapper::from(ByteLevel::default())));
    tokenizer.with_decoder(Some(DecoderWrapper::from(ByteLevel::default())));
    tokenizer.train(&mut trainer, CORPUS.iter()).unwrap();
    tokenizer.to_string(false).unwrap()
}

/// `ChatML`: no begin-of-text token, a system message of its own accord.
pub(crate) const CHAT_ML: &str = "\
{% if messages[0]['role'] != 'system' %}
{{- '<|im_start|>system\\nBe helpful.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role not in ['system', 'user', 'assistant'] %}
        {{- raise_exception('Unknown role ' + message.role) }}
    {%- endif %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
";

/// In the style of Llama 3: begins with the begin-of-text token and trims contents.
pub(crate) const HEADERS: &str = "\
{{- bos_token }}
{%- for message in messages %}
    {%- if loop.index0 > 0 and message.role == loop.previtem.role %}
        {{- raise_exception('Roles must alternate') }}
    {%- endif %}
    {{- '<|header|>' + message['role'] + '<|/header|>\\n\\n' + message['content'] | trim + '<|end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|header|>assistant<|/header|>\\n\\n' }}
{%- endif %}
";

/// In the style of Zephyr: one block a role, white space left to `trim_blocks`.
pub(crate) const BLOCKS: &str = "\
{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{% generation %}
{{ '<|assistant|>\\n' + message['content'] + eos_token }}
{% endgeneration %}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}
";

pub(crate) fn special() -> SpecialTokens {
    SpecialTokens { bos: Some("<|begin|>".to_owned()), eos: Some("<|end|>".to_owned()) }
}

pub(crate) fn template(source: &str) -> ChatTemplate {
    ChatTemplate::from_source(source, "chat_template.jinja", special()).unwrap()
}

/// A codec for every template above and for the transcript.
pub(crate) fn codecs() -> Vec<Codec> {
    let mut templates = [CHAT_ML, HEADERS, BLOCKS].map(template).to_vec();
    templates.push(ChatTemplate::transcript(special()).unwrap());
    templates.into_iter().map(|template| Codec::new(tokenizer(), template, [], 256)).collect()
}
