//! A decoder with its text side: a language model.

use crate::{
    Architecture, Codec, Decoder, Engine, Error, ModelConfig, ModelFiles, Next, Precision, Sampled,
    Weights, continuation_log_probs, draw_rows,
    drawing::Drawing,
    engine::generate_in_steps,
    folder::{CONFIG, write_folder},
    weights::WEIGHTS_FILE,
};
use burn::{
    module::AutodiffModule,
    tensor::backend::{AutodiffBackend, Backend},
};
use dialogue::Dialogue;
use language_model::{Choose, Completion, Error as ModelError, Generate, Prompt, Sampling};
use std::{ops::ControlFlow, path::Path};

/// A decoder-only language model: the weights and the text side. A clone shares the weights.
#[derive(Debug, Clone)]
pub struct Transformer<B: Backend> {
    /// Tokens to logits.
    pub decoder: Decoder<B>,
    /// Dialogues to tokens and back.
    pub codec: Codec,
    /// How much runs at the same time.
    pub engine: Engine,
}

/// A drawn reply with its tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The tokens that were continued.
    pub prompt: Vec<u32>,
    /// The drawn tokens with their log-probabilities, the end-of-turn token included.
    pub drawn: Vec<Sampled>,
    /// The same as text.
    pub completion: Completion,
}

impl Reply {
    /// The drawn tokens, the end-of-turn token included.
    pub fn tokens(&self) -> Vec<u32> {
        self.drawn.iter().map(|sampled| sampled.token).collect()
    }
}

impl<B: Backend> Transformer<B> {
    /// Puts weights and text side together, with the default [`Engine`].
    pub fn new(decoder: Decoder<B>, codec: Codec) -> Self {
        Self { decoder, codec, engine: Engine::default() }
    }

    /// Reads a Hugging Face folder: `config.json`, `model.safetensors` (or several files with their index),
    /// `tokenizer.json` and, where there are, `tokenizer_config.json`, `chat_template.jinja` and
    /// `generation_config.json`.
    ///
    /// # Errors
    /// [`Error::MissingFile`] names a file that the folder lacks; others name the file, key or tensor that is wrong.
    pub fn from_folder(folder: impl AsRef<Path>, device: &B::Device) -> Result<Self, Error> {
        let folder = folder.as_ref();
        let files = ModelFiles::from_folder_without_weights(folder)?;
        Self::from_parts(&files, || Weights::from_folder(folder), device)
    }

    /// Reads the files of such a folder from memory.
    ///
    /// # Errors
    /// As for [`Transformer::from_folder`], but that no file can be missing.
    pub fn from_files(files: &ModelFiles, device: &B::Device) -> Result<Self, Error> {
        let name = files.path_of(WEIGHTS_FILE);
        Self::from_parts(files, || Weights::from_bytes(files.weights.clone(), &name), device)
    }

    fn from_parts(
        files: &ModelFiles,
        weights: impl FnOnce() -> Result<Weights, Error>,
        device: &B::Device,
    ) -> Result<Self, Error> {
        let file = files.path_of(CONFIG);
        let config = ModelConfig::from_json(&String::from_utf8_lossy(&files.config), &file)?;
        if config.architecture != Architecture::CausalLm {
            return Err(Error::Unsupported {
                file,
                key: "architectures".to_owned(),
                found: config.family.class(Architecture::Score).to_owned(),
                supported: format!(
                    "{}, which writes texts instead of scoring them",
                    config.family.class(Architecture::CausalLm)
                ),
            });
        }
        let codec = Codec::from_files(files)?;
        let mut weights = weights()?;
        let decoder = Decoder::from_weights(&config, &mut weights, device)?;
        weights.finish()?;
        Ok(Self::new(decoder, codec))
    }

    /// Writes a Hugging Face folder that `transformers` opens, with weights of 32 bits. It appears at `folder` whole or
    /// not at all, and takes the place of a model that stands there; see [`write_folder`].
    ///
    /// # Errors
    /// [`Error::Occupied`] if something else than a model stands there, [`Error::Write`] if the system refuses.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), Error> {
        self.save_in(folder, Precision::F32)
    }

    /// As [`Transformer::save`], with weights of another precision.
    ///
    /// # Errors
    /// As for [`Transformer::save`].
    pub fn save_in(&self, folder: impl AsRef<Path>, precision: Precision) -> Result<(), Error> {
        let config = self.decoder.config().to_json(precision.name()).into_bytes();
        let weights = self.decoder.weights().to_bytes(precision)?;
        let mut files = vec![(CONFIG, config), (WEIGHTS_FILE, weights)];
        files.extend(self.codec.files());
        let files: Vec<(&str, &[u8])> =
            files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        write_folder(folder, &files)
    }

    /// Draws a reply to every prompt, each from its own stream, and keeps the tokens.
    ///
    /// A reply ends with a stop token (of the model or of `sampling`), behind a stop string (of the template or of
    /// `sampling`), after `max_tokens`, or where the context is full, whichever comes first: a long prompt shortens its reply.
    ///
    /// # Errors
    /// [`ModelError::Sampling`], also for a stop token outside the vocabulary; [`ModelError::TooLong`] names a prompt that leaves no room for a single token, before
    /// anything is drawn; [`ModelError::Template`]; [`ModelError::NotFinite`].
    pub fn draw(&self, prompts: &[Prompt], sampling: &Sampling) -> Result<Vec<Reply>, ModelError> {
        self.check_sampling(sampling)?;
        let encode = |prompt: &Prompt| self.codec.encode_prompt(&prompt.dialogue);
        let tokens = prompts.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        let seeds: Vec<u64> = prompts.iter().map(|prompt| prompt.seed).collect();
        let stops = self.stops(sampling);
        let id = |index: usize| prompts[index].dialogue.id();
        let drawn = self.continue_tokens(&tokens, &seeds, sampling, &stops, &id, &mut all_of_it)?;
        let replies = prompts.iter().zip(tokens).zip(drawn).map(|((prompt, tokens), drawn)| {
            let text = |reply: &[u32]| self.codec.reply(&prompt.dialogue, reply, &sampling.stop);
            drawn.into_reply(tokens, text)
        });
        Ok(replies.collect())
    }

    /// Continues a text that is no dialogue, without any template.
    ///
    /// It ends as in [`Transformer::draw`], with the stop strings of `sampling` alone.
    ///
    /// # Errors
    /// As for [`Transformer::draw`]; a text is named as the dialogue of one user turn that holds it.
    pub fn continue_text(
        &self,
        text: &str,
        sampling: &Sampling,
        seed: u64,
    ) -> Result<Reply, ModelError> {
        self.check_sampling(sampling)?;
        let tokens = self.codec.encode_text(text)?;
        let stops: Vec<&str> = sampling.stop.iter().map(String::as_str).collect();
        let id = |_| Dialogue::from_user(text).id();
        let prompts = std::slice::from_ref(&tokens);
        let mut drawn =
            self.continue_tokens(prompts, &[seed], sampling, &stops, &id, &mut all_of_it)?;
        let text = |reply: &[u32]| self.codec.text_until(reply, &sampling.stop);
        Ok(drawn.swap_remove(0).into_reply(tokens, text))
    }

    /// The settings must be in range and the stop tokens in the vocabulary.
    pub(crate) fn check_sampling(&self, sampling: &Sampling) -> Result<(), ModelError> {
        sampling.validate()?;
        let vocabulary = self.decoder.config().vocab_size;
        match sampling.stop_tokens.iter().find(|&&token| token as usize >= vocabulary) {
            Some(token) => Err(ModelError::Sampling {
                setting: "stop_tokens",
                found: token.to_string(),
                expected: "tokens of the model's vocabulary",
            }),
            None => Ok(()),
        }
    }

    /// The strings that end a reply: the template's and those of `sampling`.
    pub(crate) fn stops<'a>(&self, sampling: &'a Sampling) -> Vec<&'a str> {
        let mut stops: Vec<&str> = self.codec.stop_strings().to_vec();
        stops.extend(sampling.stop.iter().map(String::as_str));
        stops
    }

    /// One drawing a prompt. `observe` sees a drawing behind every token and may end it.
    pub(crate) fn continue_tokens<'a>(
        &'a self,
        prompts: &[Vec<u32>],
        seeds: &[u64],
        sampling: &'a Sampling,
        stops: &[&str],
        id: &dyn Fn(usize) -> String,
        observe: &mut dyn FnMut(&Drawing<'a>) -> ControlFlow<()>,
    ) -> Result<Vec<Drawing<'a>>, ModelError> {
        for (index, prompt) in prompts.iter().enumerate() {
            self.check_room(prompt.len(), 1, &|| id(index))?;
        }
        let drawing = |(prompt, &seed): (&Vec<u32>, _)| {
            Drawing::new(&self.codec, sampling, stops, prompt, seed)
        };
        let mut drawings: Vec<Drawing> = prompts.iter().zip(seeds).map(drawing).collect();
        let mut waiting: Vec<Option<&mut Drawing>> = drawings.iter_mut().map(Some).collect();
        let mut damaged = None;
        let mut next = |step: &[usize], logits: &mut [f32]| -> Vec<Next> {
            if damaged.is_some() {
                return vec![Next::Stop; step.len()];
            }
            let mut rows: Vec<&mut Drawing> =
                step.iter().filter_map(|&index| waiting[index].take()).collect();
            let drawn = draw_rows(&mut rows, logits, |drawing, logits| drawing.next(logits));
            let mut next = Vec::with_capacity(step.len());
            for ((&index, drawing), drawn) in step.iter().zip(rows).zip(drawn) {
                next.push(if let Ok(next) = drawn {
                    observed(drawing, next, observe)
                } else {
                    damaged = damaged.or(Some(index));
                    Next::Stop
                });
                waiting[index] = Some(drawing);
            }
            next
        };
        generate_in_steps(&self.decoder, prompts, sampling.max_tokens, &self.engine, &mut next)?;
        match damaged {
            Some(index) => Err(ModelError::NotFinite { what: "a logit", id: id(index) }),
            None => Ok(drawings),
        }
    }

    fn check_room(
        &self,
        tokens: usize,
        reserved: usize,
        id: &dyn Fn() -> String,
    ) -> Result<(), ModelError> {
        let context = self.codec.context();
        if tokens + reserved > context {
            return Err(ModelError::TooLong { id: id(), tokens, context, reserved });
        }
        Ok(())
    }

    /// What the options add to a prompt, as tokens: the tokens that all of them share, and what follows for each.
    ///
    /// The end of the prompt may melt into one token with the beginning of an option; the prompt is cut before it, so
    /// that the options are weighed as continuations of the same tokens.
    fn continuations(
        &self,
        prompt: &Dialogue,
        options: &[&str],
    ) -> Result<(Vec<u32>, Vec<Vec<u32>>), ModelError> {
        let mut shared = self.codec.encode_prompt(prompt)?;
        let beginning = prompt.last_reply().unwrap_or_default();
        let wholes = options
            .iter()
            .map(|option| {
                let answered = prompt.prompt().with_assistant(format!("{beginning}{option}"));
                self.codec.encode_prompt(&answered)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let common =
            |whole: &Vec<u32>| shared.iter().zip(whole).take_while(|(a, b)| a == b).count();
        let length = wholes.iter().map(common).min().unwrap_or(0);
        shared.truncate(length);
        let rests: Vec<Vec<u32>> = wholes.iter().map(|whole| whole[length..].to_vec()).collect();
        if let Some(index) = rests.iter().position(Vec::is_empty) {
            let reason = "the chat template leaves nothing of it behind the prompt";
            return Err(ModelError::Option { option: options[index].to_owned(), reason });
        }
        Ok((shared, rests))
    }
}

impl<B: AutodiffBackend> Transformer<B> {
    /// The same model without gradients.
    #[must_use]
    pub fn valid(&self) -> Transformer<B::InnerBackend> {
        Transformer {
            decoder: self.decoder.valid(),
            codec: self.codec.clone(),
            engine: self.engine.clone(),
        }
    }
}

impl<B: Backend> Generate for Transformer<B> {
    /// As [`Transformer::draw`], text alone.
    fn generate(
        &self,
        prompts: &[Prompt],
        sampling: &Sampling,
    ) -> Result<Vec<Completion>, ModelError> {
        let replies = self.draw(prompts, sampling)?;
        Ok(replies.into_iter().map(|reply| reply.completion).collect())
    }
}

impl<B: Backend> Choose for Transformer<B> {
    /// The probability of an option is the product of those of its tokens, normalised over the options; a long option
    /// is not favoured or hindered beyond that.
    fn choose(&self, prompts: &[Dialogue], options: &[&str]) -> Result<Vec<Vec<f64>>, ModelError> {
        if options.iter().any(|option| option.is_empty()) || options.is_empty() {
            let reason = "an option needs at least one character, and there must be one";
            return Err(ModelError::Option { option: String::new(), reason });
        }
        let continued = prompts.iter().map(|prompt| self.continuations(prompt, options));
        let (shared, continuations): (Vec<_>, Vec<_>) =
            continued.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        for ((prompt, shared), rests) in prompts.iter().zip(&shared).zip(&continuations) {
            let longest = rests.iter().map(Vec::len).max().unwrap_or(0);
            self.check_room(shared.len(), longest, &|| prompt.id())?;
        }
        let log_probs =
            continuation_log_probs(&self.decoder, &shared, &continuations, &self.engine)?;
        prompts
            .iter()
            .zip(log_probs)
            .map(|(prompt, log_probs)| {
                softmax(&log_probs).ok_or_else(|| ModelError::NotFinite {
                    what: "the log-probability of an option",
                    id: prompt.id(),
                })
            })
            .collect()
    }
}

/// What follows a drawing once `observe` has seen it, which may end it.
fn observed<'a>(
    drawing: &mut Drawing<'a>,
    next: Next,
    observe: &mut dyn FnMut(&Drawing<'a>) -> ControlFlow<()>,
) -> Next {
    match (observe(drawing), next) {
        (ControlFlow::Break(()), Next::Token(token)) => {
            drawing.cancel();
            Next::Last(token)
        }
        (_, next) => next,
    }
}

/// Lets a reply come to its own end.
fn all_of_it(_: &Drawing) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Nothing if an exponent is not finite.
fn softmax(exponents: &[f64]) -> Option<Vec<f64>> {
    if exponents.iter().any(|exponent| !exponent.is_finite()) {
        return None;
    }
    let max = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = exponents.iter().map(|exponent| (exponent - max).exp()).collect();
    let sum: f64 = weights.iter().sum();
    Some(weights.into_iter().map(|weight| weight / sum).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Array, Targets, fixture, pad_right, token_log_probs};
    use burn::backend::Autodiff;
    use burn_flex::{Flex, FlexDevice};
    use language_model::StopReason;

    type Model = Transformer<Flex>;

    fn config() -> ModelConfig {
        let vocabulary = fixture::tokenizer().vocabulary();
        let text = format!(
            r#"{{"model_type": "llama", "vocab_size": {vocabulary}, "hidden_size": 16,
            "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
            "max_position_embeddings": 256, "initializer_range": 0.4, "tie_word_embeddings": true}}"#
        );
        ModelConfig::from_json(&text, "config.json").unwrap()
    }

    fn model_with(codec: Codec) -> Model {
        Model::new(Decoder::init(&config(), 3, &FlexDevice), codec)
    }

    fn model() -> Model {
        model_with(fixture::codecs().swap_remove(0))
    }

    fn prompts() -> Vec<Prompt> {
        let asked = ["Hi", "How do I keep the weeds out of the garden?", "é 🦀", ""];
        let seeds = 0..;
        let prompts = asked.iter().zip(seeds);
        prompts
            .map(|(asked, seed)| Prompt { dialogue: Dialogue::from_user(*asked), seed })
            .collect()
    }

    fn short() -> Sampling {
        Sampling::default().with_max_tokens(12)
    }

    #[test]
    fn a_reply_does_not_depend_on_the_others() {
        let model = model();
        let together = model.draw(&prompts(), &short()).unwrap();
        for (prompt, expected) in prompts().into_iter().zip(&together).rev() {
            let alone = model.draw(std::slice::from_ref(&prompt), &short()).unwrap();
            assert_eq!(alone[0].tokens(), expected.tokens());
            assert_eq!(alone[0].completion, expected.completion);
        }
        let mut other = prompts();
        other[0].seed = 99;
        assert_ne!(model.draw(&other, &short()).unwrap()[0].tokens(), together[0].tokens());
    }

    #[test]
    fn many_replies_are_the_same_with_any_number_of_threads() {
        // More logits a step than one thread draws from at once.
        let prompt = |seed| Prompt { dialogue: Dialogue::from_user(format!("Hi {seed}")), seed };
        let prompts: Vec<Prompt> = (0..64).map(prompt).collect();
        let sampling = Sampling {
            top_k: Some(50),
            top_p: Some(0.9),
            repetition_penalty: Some(1.2),
            stop: vec!["e".to_owned()],
            ..short()
        };
        let with_threads = |count| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap();
            pool.install(|| model().draw(&prompts, &sampling).unwrap())
        };
        let expected = with_threads(1);
        for count in [2, 3] {
            assert_eq!(with_threads(count), expected, "{count} threads");
        }
    }

    #[test]
    fn log_probs_are_those_of_the_decoder() {
        let model = model();
        let sampling = Sampling { top_k: Some(20), ..short() };
        for reply in model.draw(&prompts(), &sampling).unwrap() {
            let row = [reply.prompt.clone(), reply.tokens()].concat();
            let first = reply.prompt.len();
            let targets =
                Targets { positions: (first - 1..row.len() - 1).collect(), tokens: reply.tokens() };
            let hidden = model.decoder.hidden(pad_right(&[row], &model.decoder.device()));
            let expected = token_log_probs(&model.decoder, hidden, &targets).into_data();
            for (sampled, expected) in reply.drawn.iter().zip(expected.iter::<f32>()) {
                assert!((sampled.untruncated_log_prob - expected).abs() < 1e-4);
                assert!(sampled.log_prob > sampled.untruncated_log_prob);
            }
        }
    }

    #[test]
    fn replies_end_at_stop_tokens_and_stop_strings() {
        let model = model();
        let greedy = short().with_temperature(0.0);
        let reply = model.draw(&prompts(), &greedy).unwrap().swap_remove(0);
        assert_eq!(reply.completion.tokens, 12);
        assert_eq!(reply.completion.stopped, StopReason::Length);
        // A model that stops at its third token, and one that stops at that token's text.
        let third = reply.drawn[2].token;
        let first = reply.tokens().iter().position(|&token| token == third).unwrap();
        let codec =
            Codec::new(fixture::tokenizer(), fixture::template(fixture::CHAT_ML), [third], 256);
        let stopping = model_with(codec);
        let stopped = stopping.draw(&prompts(), &greedy).unwrap().swap_remove(0);
        assert_eq!(stopped.completion.tokens, first + 1);
        assert_eq!(stopped.completion.stopped, StopReason::Stop);
        assert_eq!(stopped.completion.text, model.codec.decode(&reply.tokens()[..first]));
        let text = &reply.completion.text;
        let stop = text.chars().nth(3).unwrap().to_string();
        let sampling = Sampling { stop: vec![stop.clone()], ..greedy };
        let stopped = model.draw(&prompts(), &sampling).unwrap().swap_remove(0);
        assert_eq!(stopped.completion.text, text[..text.find(&stop).unwrap()]);
        assert_eq!(stopped.completion.stopped, StopReason::Stop);
        assert!(stopped.completion.tokens < 12);
    }

    #[test]
    fn extra_stop_tokens_end_a_reply_and_are_not_in_its_text() {
        let model = model();
        let greedy = short().with_temperature(0.0);
        let whole = model.draw(&prompts(), &greedy).unwrap().swap_remove(0);
        let third = whole.drawn[2].token;
        let first = whole.tokens().iter().position(|&token| token == third).unwrap();
        let stopping = Sampling { stop_tokens: vec![third], ..greedy.clone() };
        let reply = model.draw(&prompts(), &stopping).unwrap().swap_remove(0);
        assert_eq!(reply.tokens(), whole.tokens()[..=first]);
        assert_eq!(reply.completion.stopped, StopReason::Stop);
        assert_eq!(reply.completion.text, model.codec.decode(&whole.tokens()[..first]));
        let vocabulary = u32::try_from(model.decoder.config().vocab_size).unwrap();
        let unknown = Sampling { stop_tokens: vec![vocabulary], ..greedy };
        let error = model.draw(&prompts(), &unknown).unwrap_err().to_string();
        assert!(
            error.contains("stop_tokens") && error.contains(&vocabulary.to_string()),
            "{error}"
        );
    }

    #[test]
    fn a_penalty_counts_prompt_and_reply() {
        let model = model();
        // So strong that no token comes twice, and none of the prompt.
        let strong = Sampling { repetition_penalty: Some(1e6), ..short().with_temperature(0.0) };
        for reply in model.draw(&prompts(), &strong).unwrap() {
            let mut tokens = [reply.prompt.clone(), reply.tokens()].concat();
            let drawn = reply.drawn.len();
            tokens.sort_unstable();
            tokens.dedup();
            let mut prompt = reply.prompt;
            prompt.sort_unstable();
            prompt.dedup();
            assert_eq!(tokens.len(), prompt.len() + drawn);
        }
        let plain = model.draw(&prompts(), &short().with_temperature(0.0)).unwrap();
        assert_ne!(plain, model.draw(&prompts(), &strong).unwrap());
    }

    #[test]
    fn a_long_prompt_shortens_its_reply_or_is_refused_by_name() {
        let model = model();
        let mut asked = String::new();
        let length =
            |asked: &str| model.codec.encode_prompt(&Dialogue::from_user(asked)).unwrap().len();
        while length(&asked) < 253 {
            asked.push('q');
        }
        let prompt = |asked: &str| [Prompt { dialogue: Dialogue::from_user(asked), seed: 1 }];
        let greedy = short().with_temperature(0.0);
        let replies = model.draw(&prompt(&asked), &greedy).unwrap();
        assert_eq!(replies[0].prompt.len() + replies[0].completion.tokens, 256);
        asked.push_str("qqqqqqqqqq");
        let id = prompt(&asked)[0].dialogue.id();
        let error = model.generate(&prompt(&asked), &greedy).unwrap_err();
        assert!(matches!(&error, ModelError::TooLong { id: named, .. } if *named == id), "{error}");
        let error = model.choose(&[Dialogue::from_user(&asked)], &["A", "B"]).unwrap_err();
        assert!(matches!(&error, ModelError::TooLong { id: named, .. } if *named == id), "{error}");
    }

    #[test]
    fn a_model_in_training_draws_the_same() {
        let codec = fixture::codecs().swap_remove(0);
        let decoder = Decoder::init(&config(), 3, &FlexDevice);
        let training = Transformer::<Autodiff<Flex>>::new(decoder, codec);
        let expected = model().draw(&prompts(), &short()).unwrap();
        assert_eq!(training.valid().draw(&prompts(), &short()).unwrap(), expected);
        assert_eq!(training.draw(&prompts(), &short()).unwrap()[0].tokens(), expected[0].tokens());
    }

    #[test]
    fn options_are_weighed_by_all_their_tokens() {
        let model = model();
        let prompt = Dialogue::from_user("Hi").with_assistant("The answer is: (");
        let options = ["A", "BB🦀"];
        let found = model.choose(std::slice::from_ref(&prompt), &options).unwrap();
        let base = model.codec.encode_prompt(&prompt).unwrap();
        let scores: Vec<f64> = options
            .iter()
            .map(|option| {
                let whole =
                    [base.clone(), model.codec.tokenizer().encode(option).unwrap()].concat();
                let targets = Targets {
                    positions: (base.len() - 1..whole.len() - 1).collect(),
                    tokens: whole[base.len()..].to_vec(),
                };
                let hidden = model.decoder.hidden(pad_right(&[whole], &model.decoder.device()));
                let data = token_log_probs(&model.decoder, hidden, &targets).into_data();
                data.iter::<f64>().sum()
            })
            .collect();
        let expected = 1.0 / (1.0 + (scores[1] - scores[0]).exp());
        assert!((found[0][0] - expected).abs() < 1e-4);
        assert!((found[0][0] + found[0][1] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn options_that_melt_into_the_prompt_are_weighed_over_the_same_tokens() {
        let model = model();
        // "the" is one token of the fixture, so that "th" and "e" do not stand side by side.
        let prompt = Dialogue::from_user("Hi").with_assistant(" th");
        let base = model.codec.encode_prompt(&prompt).unwrap();
        let (shared, rests) = model.continuations(&prompt, &["e", "🦀"]).unwrap();
        assert!(shared.len() < base.len() && base.starts_with(&shared));
        for (rest, option) in rests.iter().zip(["e", "🦀"]) {
            assert_eq!(model.codec.decode(rest), format!(" th{option}"));
        }
        let open = Dialogue::from_user("Hi");
        let (shared, rests) = model.continuations(&open, &["e"]).unwrap();
        assert_eq!(shared, model.codec.encode_prompt(&open).unwrap());
        assert_eq!(model.codec.decode(&rests[0]), "e");
    }

    #[test]
    fn refuses_options_of_nothing() {
        let prompts = [Dialogue::from_user("Hi")];
        for options in [&["A", ""][..], &[]] {
            let error = model().choose(&prompts, options).unwrap_err();
            assert!(matches!(error, ModelError::Option { .. }), "{error}");
        }
        let trimming = model_with(fixture::codecs().swap_remove(1));
        let error = trimming.choose(&prompts, &[" "]).unwrap_err();
        assert!(matches!(error, ModelError::Option { .. }), "{error}");
    }

    #[test]
    fn a_raw_text_is_continued_without_template() {
        let model = model();
        let reply = model.continue_text("Human: Hi", &short(), 5).unwrap();
        assert_eq!(reply.prompt, model.codec.tokenizer().encode("Human: Hi").unwrap());
        assert_eq!(reply, model.continue_text("Human: Hi", &short(), 5).unwrap());
        assert_eq!(reply.completion.text, model.codec.text_until(&reply.tokens(), &[]));
        assert!(model.continue_text(&"q ".repeat(300), &short(), 5).is_err());
        assert!(model.continue_text("", &short(), 5).is_err());
    }

    #[test]
    fn damaged_weights_are_an_error_that_names_the_dialogue() {
        let sound = model();
        let mut weights = sound.decoder.weights();
        weights.insert("model.norm.weight", Array { shape: vec![16], data: vec![f32::NAN; 16] });
        let decoder = Decoder::from_weights(&config(), &mut weights, &FlexDevice).unwrap();
        let damaged = Model::new(decoder, sound.codec);
        let id = prompts()[0].dialogue.id();
        let first = [prompts().swap_remove(0)];
        for error in [
            damaged.generate(&first, &short()).unwrap_err(),
            damaged.generate(&[first[0].clone(), first[0].clone()], &short()).unwrap_err(),
            damaged.choose(&[Dialogue::from_user("Hi")], &["A", "B"]).unwrap_err(),
        ] {
            assert!(matches!(&error, ModelError::NotFinite { id: named, .. } if *named == id));
        }
    }

    #[test]
    fn a_saved_folder_is_the_same_model() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("model");
        for codec in fixture::codecs() {
            let model = model_with(codec);
            model.save(&path).unwrap();
            let again = Model::from_folder(&path, &FlexDevice).unwrap();
            let expected = model.draw(&prompts(), &short()).unwrap();
            assert_eq!(again.draw(&prompts(), &short()).unwrap(), expected);
            let read = |file: &str| Some(std::fs::read(path.join(file)).unwrap().into());
            let files = ModelFiles {
                name: "embedded".to_owned(),
                config: read("config.json").unwrap(),
                weights: read("model.safetensors").unwrap(),
                tokenizer: read("tokenizer.json").unwrap(),
                tokenizer_config: read("tokenizer_config.json"),
                chat_template: read("chat_template.jinja"),
                generation_config: read("generation_config.json"),
            };
            let embedded = Model::from_files(&files, &FlexDevice).unwrap();
            assert_eq!(embedded.codec.stop_tokens(), model.codec.stop_tokens());
            assert_eq!(embedded.draw(&prompts(), &short()).unwrap(), expected);
        }
    }
}
