//! Replies of the policy, as text and as tokens.

use crate::{Error, Phase, PpoConfig};
use burn::prelude::Backend;
use dialogue::{Dialogue, Message, Role};
use language_model::{Prompt, Reward, Sampling, StopReason};
use serde::{Deserialize, Serialize};
use transformer::{Codec, Reply, Transformer};

/// A drawn reply.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rollout {
    pub(crate) prompt: Dialogue,
    /// The text, without the end-of-turn token.
    pub(crate) reply: String,
    /// Prompt and reply; the last is the end-of-turn token if the reply ended by itself (where a template has none,
    /// the token that completes its stop string).
    pub(crate) tokens: Vec<u32>,
    /// Where the reply begins.
    pub(crate) reply_start: usize,
    /// The log-prob of every reply token, as the engine had it that drew it.
    pub(crate) engine_log_probs: Vec<f32>,
    /// Slots behind the last token that rewards and values have: 0 or 1.
    pub(crate) slots_after: usize,
    pub(crate) stopped: StopReason,
}

impl Rollout {
    /// The tokens that were drawn.
    pub(crate) fn reply_tokens(&self) -> &[u32] {
        &self.tokens[self.reply_start..]
    }

    /// The number of tokens that were drawn.
    pub(crate) fn reply_tokens_len(&self) -> usize {
        self.reply_tokens().len()
    }

    /// The numbers of rewards and values: one a reply token, and those behind.
    pub(crate) fn slots(&self) -> usize {
        self.reply_tokens().len() + self.slots_after
    }

    /// The tokens whose hidden states are looked at: all, or all but the last.
    pub(crate) fn input(&self) -> &[u32] {
        &self.tokens[..(self.tokens.len() + self.slots_after).saturating_sub(1)]
    }

    /// True if nothing was said: there is no token but the one that ends the turn.
    pub(crate) fn is_empty(&self) -> bool {
        self.reply.trim().is_empty()
    }

    /// What the reward sees: the prompt with the reply, or with its unfinished assistant turn continued by it.
    pub(crate) fn finished_dialogue(&self) -> Dialogue {
        finished_dialogue(&self.prompt, &self.reply)
    }
}

fn finished_dialogue(prompt: &Dialogue, reply: &str) -> Dialogue {
    let mut dialogue = prompt.clone();
    match dialogue.messages.last_mut() {
        Some(Message { role: Role::Assistant, content }) => {
            content.push_str(reply);
            dialogue
        }
        _ => dialogue.with_assistant(reply),
    }
}

/// A drawn reply with its score; one line of a rollout file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoredReply {
    /// What was replied to.
    pub prompt: Dialogue,
    /// The text, without the end-of-turn token.
    pub reply: String,
    /// Tokens drawn, the end-of-turn token included.
    pub tokens: usize,
    /// Why the reply ended.
    pub stopped: StopReason,
    /// The reward's score, before any penalty.
    pub score: f32,
    /// `sum over tokens of (policy - reference)`, log-probs at drawing time, in nats.
    pub kl: f64,
}

impl ScoredReply {
    pub(crate) fn new(rollout: &Rollout, score: f32, kl: f64) -> Self {
        Self {
            prompt: rollout.prompt.clone(),
            reply: rollout.reply.clone(),
            tokens: rollout.reply_tokens().len(),
            stopped: rollout.stopped,
            score,
            kl,
        }
    }
}

/// Makes sure that a reply to every prompt fits the context, and after it what ends its turn: the reward reads a reply that
/// was cut at `max_tokens` as a whole turn.
pub(crate) fn check_prompts(
    codec: &Codec,
    prompts: &[Dialogue],
    max_tokens: usize,
) -> Result<(), Error> {
    if prompts.is_empty() {
        return Err(Error::NoPrompts);
    }
    let context = codec.context();
    let reserved = max_tokens.saturating_add(end_of_turn_tokens(codec)?);
    for prompt in prompts {
        let tokens = codec.encode_prompt(prompt)?.len();
        if tokens.saturating_add(reserved) > context {
            let id = prompt.id();
            return Err(language_model::Error::TooLong { id, tokens, context, reserved }.into());
        }
    }
    Ok(())
}

/// What the chat template puts behind the content of a reply, in tokens.
fn end_of_turn_tokens(codec: &Codec) -> Result<usize, Error> {
    let replied = Dialogue::from_user("a").with_assistant("b");
    let (template, tokenizer) = (codec.template(), codec.tokenizer());
    let (open, whole) = (template.render_open(&replied)?, template.render(&replied, false)?);
    let end = whole.strip_prefix(open.as_str()).unwrap_or_default();
    Ok(tokenizer.encode(end)?.len())
}

/// A reply of the policy to every prompt, from the whole distribution.
pub(crate) fn draw<B: Backend>(
    policy: &Transformer<B>,
    prompts: Vec<Prompt>,
    config: &PpoConfig,
) -> Result<Vec<Rollout>, Error> {
    let sampling =
        Sampling::default().with_temperature(config.temperature).with_max_tokens(config.max_tokens);
    let replies = policy.draw(&prompts, &sampling)?;
    let rollouts = prompts.into_iter().zip(replies);
    Ok(rollouts.map(|(prompt, reply)| rollout(prompt, reply, config)).collect())
}

/// The row keeps the tokens as they were drawn: the same text may also be written with other tokens.
fn rollout(prompt: Prompt, reply: Reply, config: &PpoConfig) -> Rollout {
    let drawn = reply.tokens();
    let slots_after = config.score_place.slots_after(drawn.len(), config.max_tokens);
    let engine_log_probs = reply.drawn.iter().map(|drawn| drawn.untruncated_log_prob).collect();
    let mut tokens = reply.prompt;
    let reply_start = tokens.len();
    tokens.extend(drawn);
    let (text, stopped) = (reply.completion.text, reply.completion.stopped);
    let prompt = prompt.dialogue;
    Rollout { prompt, reply: text, tokens, reply_start, engine_log_probs, slots_after, stopped }
}

/// Stops a run whose policy no longer says anything.
pub(crate) fn refuse_silence(rollouts: &[Rollout], phase: Phase) -> Result<(), Error> {
    if rollouts.iter().all(Rollout::is_empty) {
        return Err(Error::EmptyReplies { phase, replies: rollouts.len() });
    }
    Ok(())
}

/// One finite score a reply.
pub(crate) fn score(
    reward: &dyn Reward,
    rollouts: &[Rollout],
    phase: Phase,
) -> Result<Vec<f32>, Error> {
    let dialogues: Vec<Dialogue> = rollouts.iter().map(Rollout::finished_dialogue).collect();
    let scores = reward.reward(&dialogues)?;
    if scores.len() != dialogues.len() {
        return Err(Error::Scores { expected: dialogues.len(), found: scores.len() });
    }
    match scores.iter().position(|score| !score.is_finite()) {
        Some(wrong) => {
            let (id, score) = (dialogues[wrong].id(), scores[wrong]);
            Err(Error::Score { phase, id, score })
        }
        None => Ok(scores),
    }
}

/// The scores, less `penalty` for every reply that was cut.
pub(crate) fn penalised(rollouts: &[Rollout], scores: &[f32], penalty: f32) -> Vec<f32> {
    rollouts
        .iter()
        .zip(scores)
        .map(|(rollout, score)| match rollout.stopped {
            StopReason::Stop => *score,
            StopReason::Length | StopReason::Cancelled | StopReason::Filtered => score - penalty,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{CONTEXT, assert_close, codec, policy};

    #[test]
    fn an_unfinished_turn_is_continued_in_place() {
        let asked = Dialogue::from_user("q");
        assert_eq!(finished_dialogue(&asked, "a"), asked.clone().with_assistant("a"));
        let open = asked.clone().with_assistant("The answer is");
        let finished = asked.with_assistant("The answer is no");
        assert_eq!(finished_dialogue(&open, " no"), finished);
    }

    #[test]
    fn a_row_is_the_prompt_and_what_was_drawn() {
        let policy = policy(1).valid();
        let prompts: Vec<Prompt> =
            (0..40).map(|seed| Prompt { dialogue: Dialogue::from_user("ab"), seed }).collect();
        let asked = policy.codec.encode_prompt(&prompts[0].dialogue).unwrap();
        let config = PpoConfig { max_tokens: 20, ..PpoConfig::default() };
        let rollouts = draw(&policy, prompts, &config).unwrap();
        for rollout in &rollouts {
            assert_eq!(rollout.tokens[..rollout.reply_start], asked);
            assert_eq!(rollout.input().len() + 1, rollout.tokens.len());
            assert_eq!(policy.codec.decode(rollout.reply_tokens()), rollout.reply);
            let ended =
                rollout.reply_tokens().last().is_some_and(|&last| policy.codec.is_stop(last));
            assert_eq!(ended, rollout.stopped == StopReason::Stop);
            assert!(ended || rollout.reply_tokens().len() == 20);
        }
        // At one in thirty a token both kinds occur.
        let ended = rollouts.iter().filter(|rollout| rollout.stopped == StopReason::Stop).count();
        assert!((5..35).contains(&ended), "{ended}");
    }

    #[test]
    fn only_a_cut_reply_is_penalised() {
        let rollout = |stopped| Rollout {
            prompt: Dialogue::from_user("q"),
            reply: "a".to_owned(),
            tokens: vec![1, 2],
            reply_start: 1,
            engine_log_probs: vec![0.0],
            slots_after: 0,
            stopped,
        };
        let rollouts = [rollout(StopReason::Stop), rollout(StopReason::Length)];
        assert_close(&penalised(&rollouts, &[0.5, 0.5], 2.0), &[0.5, -1.5], 1e-6);
    }

    #[test]
    fn a_prompt_needs_room_for_the_longest_reply() {
        // The template adds two tokens in front of the reply and one behind it.
        let prompt = [Dialogue::from_user("a".repeat(CONTEXT - 3 - 10))];
        check_prompts(&codec(), &prompt, 10).unwrap();
        let error = check_prompts(&codec(), &prompt, 11).unwrap_err().to_string();
        assert!(error.contains("21 tokens") && error.contains("holds 32 and 12"), "{error}");
        // The longest reply, cut, fills the context of whoever reads it as a whole turn.
        let cut = finished_dialogue(&prompt[0], &"b".repeat(10));
        assert_eq!(codec().encode_dialogue(&cut).unwrap().tokens.len(), CONTEXT);
        assert!(matches!(check_prompts(&codec(), &[], 1), Err(Error::NoPrompts)));
    }
}
