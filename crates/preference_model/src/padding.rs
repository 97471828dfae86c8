//! The padding token of a saved folder.

use crate::Error;
use dialogue::Dialogue;
use serde_json::{Map, Value};
use transformer::{Codec, ModelConfig};

/// The settings of a tokenizer.
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// Its keys that name tokens to fill rows up with, the best first.
const PAD_TOKEN: &str = "pad_token";
const UNK_TOKEN: &str = "unk_token";

/// Names a padding token in the settings of a model and of its tokenizer, the latter one of `files`, such that the
/// sequence classifiers of `transformers` read the score where it is read here.
///
/// They know rows neither by their lengths nor by the attention mask: they read the last token that is not
/// `pad_token_id`, and refuse batches if there is none. So a token that dialogues end with will not do, such as an end
/// of text that also fills rows up: the score would be read before it.
pub(crate) fn name_padding(
    codec: &Codec,
    config: &mut ModelConfig,
    files: &mut [(&str, Vec<u8>)],
) -> Result<(), Error> {
    let settings = files.iter_mut().find(|(name, _)| *name == TOKENIZER_CONFIG);
    let Some((name, file)) = settings else { return Ok(()) };
    let mut settings: Map<String, Value> = serde_json::from_slice(file)
        .map_err(|source| transformer::Error::Json { file: (*name).to_owned(), source })?;
    config.pad_token_id = padding(codec, config, &settings)?;
    let named = config.pad_token_id.and_then(|token| codec.tokenizer().id_to_token(token));
    if named.as_deref() != settings.get(PAD_TOKEN).and_then(text) {
        settings.insert(PAD_TOKEN.to_owned(), named.into());
        *file = format!("{:#}\n", Value::Object(settings)).into_bytes();
    }
    Ok(())
}

/// The padding token of the model, or of its tokenizer, or a special token: the first with which no dialogue ends. None
/// if there is none, so that `transformers` refuses a batch where it would misread it.
fn padding(
    codec: &Codec,
    config: &ModelConfig,
    settings: &Map<String, Value>,
) -> Result<Option<u32>, Error> {
    let (tokenizer, end) = (codec.tokenizer(), end_of_dialogues(codec)?);
    let will_do = |token: u32| {
        let ends_none = end.map_or_else(|| tokenizer.is_special(token), |end| token != end);
        (token as usize) < config.vocab_size && ends_none
    };
    let id = |key: &str| tokenizer.token_to_id(text(settings.get(key)?)?);
    let named = [config.pad_token_id, id(PAD_TOKEN), id(UNK_TOKEN)];
    if let Some(token) = named.into_iter().flatten().find(|&token| will_do(token)) {
        return Ok(Some(token));
    }
    let is_padding = |token| tokenizer.id_to_token(token).is_some_and(|text| text.contains("pad"));
    let all = 0..u32::try_from(config.vocab_size).unwrap_or(u32::MAX);
    let special = all.filter(|&token| tokenizer.is_special(token) && will_do(token));
    Ok(special.min_by_key(|&token| !is_padding(token)))
}

/// The token that the template writes at the end of every dialogue; none if dialogues end with what was said, which is
/// no special token.
fn end_of_dialogues(codec: &Codec) -> Result<Option<u32>, Error> {
    let last = |reply: &str| -> Result<Option<u32>, Error> {
        let dialogue = Dialogue::from_user("a").with_assistant(reply);
        Ok(codec.encode_dialogue(&dialogue)?.tokens.last().copied())
    };
    let (one, other) = (last("a")?, last("b")?);
    Ok(one.filter(|_| one == other))
}

/// A special token as the settings of a tokenizer write it: a string, or an object that holds one.
fn text(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token["content"].as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{codec, model_config, tokenizer};
    use proptest::prelude::*;
    use serde_json::json;
    use transformer::{ChatTemplate, SpecialTokens};

    /// The token that is named, and what the settings of the tokenizer become of `settings`.
    fn named(codec: &Codec, pad: Option<u32>, settings: Value) -> (Option<u32>, Value) {
        let mut config = ModelConfig { pad_token_id: pad, ..model_config() };
        let mut files = [("other", Vec::new()), (TOKENIZER_CONFIG, settings.to_string().into())];
        name_padding(codec, &mut config, &mut files).unwrap();
        assert!(files[0].1.is_empty());
        (config.pad_token_id, serde_json::from_slice(&files[1].1).unwrap())
    }

    /// Dialogues that end with what was said.
    fn open_ended() -> Codec {
        let template = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}\
            {% if add_generation_prompt %}<assistant>{% endif %}";
        let special = SpecialTokens { bos: None, eos: Some("<end>".to_owned()) };
        let template = ChatTemplate::from_source(template, "chat_template.jinja", special).unwrap();
        Codec::new(tokenizer(), template, [], 16)
    }

    #[test]
    fn a_token_that_dialogues_end_with_is_replaced() {
        let end = json!({"pad_token": "<end>", "eos_token": "<end>"});
        for pad in [Some(0), None] {
            let (token, settings) = named(&codec(), pad, end.clone());
            assert_eq!(token, Some(1));
            assert_eq!(settings, json!({"pad_token": "<user>", "eos_token": "<end>"}));
        }
        let unknown = json!({"pad_token": {"content": "<end>"}, "unk_token": "<unk>"});
        let (token, settings) = named(&codec(), Some(0), unknown);
        assert_eq!((token, &settings["pad_token"]), (Some(3), &json!("<unk>")));
    }

    #[test]
    fn one_that_does_no_harm_stays() {
        for (pad, settings) in [
            (Some(2), json!({"pad_token": "<assistant>"})),
            (None, json!({"pad_token": {"content": "<assistant>", "special": true}})),
        ] {
            let (token, after) = named(&codec(), pad, settings.clone());
            assert_eq!((token, after), (Some(2), settings));
        }
        // The tokenizer fills up with what the model expects.
        let (token, settings) = named(&codec(), Some(2), json!({"pad_token": "<user>"}));
        assert_eq!((token, &settings["pad_token"]), (Some(2), &json!("<assistant>")));
        // Beyond the vocabulary of the model.
        assert_eq!(named(&codec(), Some(12), json!({})).0, Some(1));
    }

    #[test]
    fn an_end_of_text_that_no_dialogue_ends_with_will_do() {
        let (token, settings) = named(&open_ended(), None, json!({"unk_token": "<end>"}));
        assert_eq!((token, &settings["pad_token"]), (Some(0), &json!("<end>")));
        // A word may be the last that is said.
        assert_eq!(named(&open_ended(), Some(5), json!({})).0, Some(0));
    }

    #[test]
    fn without_a_token_there_is_none() {
        // All special tokens but the end of a turn are beyond the vocabulary.
        let mut config = ModelConfig { pad_token_id: Some(0), vocab_size: 1, ..model_config() };
        let mut files = [(TOKENIZER_CONFIG, br#"{"pad_token":"<end>"}"#.to_vec())];
        name_padding(&codec(), &mut config, &mut files).unwrap();
        assert_eq!(config.pad_token_id, None);
        let settings: Value = serde_json::from_slice(&files[0].1).unwrap();
        assert_eq!(settings, json!({"pad_token": null}));
    }

    proptest! {
        /// The rule of `transformers` finds the last token of every dialogue, filled up on either side.
        #[test]
        fn the_last_token_that_is_no_padding_is_the_last(
            words in prop::collection::vec(
                prop::sample::select(vec!["a", "b", "good", "<user>", "<end>"]),
                0..5,
            ),
            filled in 0_usize..4,
            left: bool,
            pad in prop::option::of(0_u32..12),
        ) {
            let codec = codec();
            let (pad, _) = named(&codec, pad, json!({}));
            let pad = pad.unwrap();
            let dialogue = Dialogue::from_user("q").with_assistant(words.join(" "));
            let mut row = codec.encode_dialogue(&dialogue).unwrap().tokens;
            let last = if left { row.len() - 1 + filled } else { row.len() - 1 };
            let place = if left { 0 } else { row.len() };
            row.splice(place..place, std::iter::repeat_n(pad, filled));
            prop_assert_eq!(row.iter().rposition(|&token| token != pad), Some(last));
        }
    }
}
