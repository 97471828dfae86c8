//! How much of the context a prompt may take.

use super::{Error, RewardSource, Settings};
use ai_feedback::{concluding_question, reasoning_question, scoring_question};
use constitution::{ComparisonPrinciple, Constitution};
use critique_revision::Sought;
use dialogue::{Comparison, Dialogue};
use transformer::Codec;

/// The most tokens a prompt may have: what the longest text that a stage builds around it leaves of the context.
///
/// That is a revision (reply, critique and revision, with the two requests of a principle), a question (two replies and a
/// principle), or, where the judge's scores are the reward, a question for a score (one reply and a principle).
pub(super) fn room(
    settings: &Settings,
    constitution: &Constitution,
    codec: &Codec,
) -> Result<usize, Error> {
    let prompt = Dialogue::from_user("");
    let judging_examples = example_tokens(settings, constitution, codec)?;
    let mut longest = 0;
    let revising = &settings.critique_revision;
    let shown = longest_examples(settings, codec)?;
    for principle in &constitution.critique_revision {
        let critique = (!revising.direct).then_some([principle.critique_request.as_str(), ""]);
        let sought = Sought::Revision { critique, request: &principle.revision_request };
        let text = revising.form.ask(&shown, &prompt, "", sought);
        longest = longest.max(codec.encode_prompt(&text)?.len() + revising_tokens(settings));
    }
    for principle in &constitution.comparison {
        let pair = Comparison { prompt: prompt.clone(), replies: Default::default() };
        let text = concluding_question(&reasoning_question(&pair, &principle.text), "");
        let question = codec.encode_prompt(&text)?.len() + judging_tokens(settings);
        longest = longest.max(question + judging_examples);
        if settings.reward == RewardSource::Direct {
            let (replied, highest) = (pair.dialogue(0), settings.direct_reward.highest);
            let text = scoring_question(&replied, &principle.text, highest);
            longest = longest.max(codec.encode_prompt(&text)?.len() + reply_tokens(settings));
        }
    }
    Ok(codec.context().saturating_sub(longest + SLACK))
}

/// The worked examples that stand in front of a revision at most: all of them, or as many of the longest as are drawn.
fn longest_examples(settings: &Settings, codec: &Codec) -> Result<Vec<Dialogue>, Error> {
    let examples = settings.critique_revision.examples();
    let Some(shots) = settings.critique_revision.shots else { return Ok(examples) };
    let length = |example: Dialogue| Ok((codec.encode_prompt(&example)?.len(), example));
    let mut measured = examples.into_iter().map(length).collect::<Result<Vec<_>, Error>>()?;
    measured.sort_by_key(|(tokens, _)| std::cmp::Reverse(*tokens));
    Ok(measured.into_iter().take(shots).map(|(_, example)| example).collect())
}

/// Tokens by which texts put together may exceed the sum of their parts.
const SLACK: usize = 4;

/// The longest reply of any stage, in tokens.
fn reply_tokens(settings: &Settings) -> usize {
    let drawn = &settings.critique_revision;
    drawn.reply.max_tokens.max(drawn.revision.max_tokens).max(settings.ppo.max_tokens)
}

/// Tokens of a reply, its critique and its revision.
fn revising_tokens(settings: &Settings) -> usize {
    let drawn = &settings.critique_revision;
    let critique = if drawn.direct { 0 } else { drawn.critique.max_tokens };
    reply_tokens(settings) + critique + drawn.revision.max_tokens
}

/// Tokens of the worked examples in front of a question, each with the longest principle that it can be shown with.
fn example_tokens(
    settings: &Settings,
    constitution: &Constitution,
    codec: &Codec,
) -> Result<usize, Error> {
    let reasons = settings.ai_feedback.chain_of_thought.is_some();
    let mut sum = 0;
    for shot in &settings.ai_feedback.few_shots {
        let turns = |principle: &str| {
            if reasons { shot.reasoned(principle) } else { shot.answered(principle) }
        };
        let tokens = |principle: &ComparisonPrinciple| codec.encode_prompt(&turns(&principle.text));
        let tokens = constitution.comparison.iter().map(tokens).collect::<Result<Vec<_>, _>>()?;
        sum += tokens.iter().map(Vec::len).max().unwrap_or(0);
    }
    Ok(sum)
}

/// Tokens of two replies and what a judge may think of them.
fn judging_tokens(settings: &Settings) -> usize {
    let thought = settings.ai_feedback.chain_of_thought.as_ref();
    2 * reply_tokens(settings) + thought.map_or(0, |thought| thought.sampling.max_tokens)
}
