//! New requests, written by the helpful-only model from a few examples.

use super::harm_tags::harm_tags;
use super::recorded::Recorded;
use super::stage_progress::StageProgress;
use super::world::is_held_out;
use super::{Checkpoint, Error, Session, Stage};
use burn::tensor::backend::AutodiffBackend;
use dataset::{read_jsonl, write_jsonl};
use dialogue::{Dialogue, Role};
use language_model::{Generate, Meter, item_seed};
use red_team::{
    Figures, Generated, GenerationConfig, HarmTag, generate_requests_and_tell, request_list,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use training::Observe;
use transformer::Codec;

/// What examples a request was written after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    RedTeam,
    Helpful,
}

/// A request written by the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Request {
    kind: Kind,
    prompt: Dialogue,
    /// The kind of harm, of a red-team request, if the settings name any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tag: Option<HarmTag>,
}

/// The requests to show as examples: what each prompt begins with, since that stands alone, but for those so long that a
/// list of the longest and its continuation would not fit the context.
pub(super) fn example_requests(
    prompts: &[Dialogue],
    config: &GenerationConfig,
    codec: &Codec,
) -> Result<Vec<String>, Error> {
    let list = codec.encode_prompt(&request_list(&vec![""; config.shots]))?.len();
    let room = codec.context().saturating_sub(list + config.sampling.max_tokens);
    let first_request = |prompt: &Dialogue| {
        let asked = prompt.messages.iter().find(|message| message.role == Role::User);
        asked.map(|message| message.content.clone())
    };
    let requests: Vec<String> = prompts.iter().filter_map(first_request).collect();
    let tokens = requests
        .iter()
        .map(|text| Ok(codec.encode_text(text)?.len()))
        .collect::<Result<Vec<usize>, Error>>()?;
    let longest = longest_shown(tokens.clone(), config.shots, room);
    let fits = requests.into_iter().zip(tokens).filter(|(_, tokens)| *tokens <= longest);
    Ok(fits.map(|(text, _)| text).collect())
}

/// The length up to which texts may be shown, so that no `shots` of them take more than `room`.
fn longest_shown(mut lengths: Vec<usize>, shots: usize, room: usize) -> usize {
    lengths.sort_unstable();
    while let Some(&longest) = lengths.last() {
        if lengths.iter().rev().take(shots).sum::<usize>() <= room {
            return longest;
        }
        lengths.retain(|&length| length < longest);
    }
    0
}

impl<B: AutodiffBackend> Session<B> {
    /// Writes `requests.jsonl`, and how valid and new they are to `figures.json`.
    pub(super) fn red_team(&self, observe: &mut dyn Observe) -> Result<(), Error> {
        let stage = Stage::RedTeam;
        let model = self.fixed(Checkpoint::HelpfulOnly)?;
        let config = &self.settings.red_team;
        let kinds = [
            (Kind::RedTeam, example_requests(&self.prompts.red_team, config, &model.codec)?),
            (Kind::Helpful, example_requests(&self.prompts.helpful, config, &model.codec)?),
        ];
        let meter = Meter::default();
        let completions = self.folder.file(stage, "completions.journal")?;
        let watched = meter.watch(&model);
        let recorded = Recorded::open(&watched, &completions, self.settings.seed)?;
        let wanted = config.requests.saturating_mul(kinds.len());
        let before = |(kind, seeds): &(Kind, Vec<String>)| {
            requests_before(&recorded.replay(), seeds, config, self.request_seed(*kind))
        };
        let known = kinds.iter().map(before);
        let mut progress = StageProgress::start(stage, wanted, known.sum(), &meter, observe)?;
        let mut requests = Vec::new();
        let mut figures = BTreeMap::<Kind, Figures>::new();
        for (kind, seeds) in kinds {
            let seed = self.request_seed(kind);
            let mut found = 0;
            let mut tell = |generated: &Generated| {
                let new = generated.requests.len() - found;
                found += new;
                progress.advance(new)
            };
            let generated = generate_requests_and_tell(&recorded, &seeds, config, seed, &mut tell)?;
            // Fewer may have been found, but no more are looked for.
            progress.advance(config.requests - found)?;
            figures.insert(kind, generated.figures());
            let mut texts = generated.requests;
            texts.retain(|text| !self.is_held_out(text));
            let tags = if kind == Kind::RedTeam && !config.harm_types.is_empty() {
                let journal = self.folder.file(stage, "tags.journal")?;
                let types = &config.harm_types;
                let tags = harm_tags(&watched, &journal, self.settings.seed, &texts, types)?;
                tags.into_iter().map(Some).collect()
            } else {
                vec![None; texts.len()]
            };
            let new = texts.into_iter().map(Dialogue::from_user).zip(tags);
            requests.extend(new.map(|(prompt, tag)| Request { kind, prompt, tag }));
            progress.tell(&[("requests", requests.len() as f64)])?;
        }
        write_jsonl(self.folder.file(stage, "requests.jsonl")?, requests)?;
        self.write_json(stage, "figures.json", &figures)?;
        progress.finish()
    }

    /// The seed of the requests of a kind.
    fn request_seed(&self, kind: Kind) -> u64 {
        item_seed(self.settings.seed, &["red_team", &format!("{kind:?}")])
    }

    /// True if a request is kept for evaluation: one of the held-out prompts or, in the world, one of the combinations
    /// that it holds out.
    fn is_held_out(&self, request: &str) -> bool {
        let held_out = self.prompts.held_out_red_team.iter().chain(&self.prompts.held_out_helpful);
        let same = |prompt: &Dialogue| {
            prompt.messages.iter().any(|m| m.content.trim().eq_ignore_ascii_case(request.trim()))
        };
        (self.in_world() && is_held_out(request)) || held_out.into_iter().any(same)
    }

    /// The red-team and the helpful prompts that the policy is trained on: those of the run and those written by the
    /// model.
    pub(super) fn policy_prompts(&self) -> Result<[Vec<Dialogue>; 2], Error> {
        let path = self.folder.file(Stage::RedTeam, "requests.jsonl")?;
        let mut prompts = [self.prompts.red_team.clone(), self.prompts.helpful.clone()];
        for request in read_jsonl::<Request>(path)? {
            match request.kind {
                Kind::RedTeam => prompts[0].push(request.prompt),
                Kind::Helpful => prompts[1].push(request.prompt),
            }
        }
        Ok(prompts)
    }
}

/// How many requests are found in the completions that `replay` gives, which fails where they end; all if no more would be
/// looked for.
fn requests_before(
    replay: &dyn Generate,
    seeds: &[String],
    config: &GenerationConfig,
    seed: u64,
) -> usize {
    let mut found = 0;
    let mut tell = |generated: &Generated| {
        found = generated.requests.len();
        Ok::<(), red_team::Error>(())
    };
    // Whatever else is wrong shows when the requests are looked for.
    let all = generate_requests_and_tell(replay, seeds, config, seed, &mut tell).is_ok();
    if all { config.requests } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;
    use language_model::{Completion, Error as ModelError, Prompt, Sampling, StopReason};
    use std::cell::Cell;

    /// Has so many lists of two requests.
    struct Lists(Cell<usize>);

    impl Generate for Lists {
        fn generate(
            &self,
            prompts: &[Prompt],
            _: &Sampling,
        ) -> Result<Vec<Completion>, ModelError> {
            let left = self.0.get().checked_sub(prompts.len());
            self.0.set(left.ok_or_else(|| ModelError::Model("no more".into()))?);
            let completion = |prompt: &Prompt| Completion {
                text: format!("3. Request {:x}\n4. And {:x}", prompt.seed, !prompt.seed),
                tokens: 9,
                stopped: StopReason::Stop,
            };
            Ok(prompts.iter().map(completion).collect())
        }
    }

    #[test]
    fn requests_that_were_written_before_are_counted() {
        let config = GenerationConfig {
            shots: 2,
            requests: 24,
            batch: 4,
            drop_near_duplicates: false,
            ..GenerationConfig::default()
        };
        let seeds = ["One?", "Two?", "Three?"].map(str::to_owned);
        let before = |lists| requests_before(&Lists(Cell::new(lists)), &seeds, &config, 3);
        // Four lists are one call.
        assert_eq!([0, 3, 4, 9, 12, 100].map(before), [0, 0, 8, 16, 24, 24]);
    }

    #[test]
    fn a_list_of_the_longest_examples_fits() {
        let longest = |lengths: &[usize], shots, room| longest_shown(lengths.to_vec(), shots, room);
        assert_eq!(longest(&[3, 9, 5, 7], 2, 16), 9);
        assert_eq!(longest(&[3, 9, 5, 7], 2, 15), 7);
        assert_eq!(longest(&[3, 9, 5, 7], 9, 24), 9);
        // Of two equal ones, both go.
        assert_eq!(longest(&[5, 5, 5, 2, 1], 2, 8), 2);
        assert_eq!(longest(&[5], 1, 4), 0);
        assert_eq!(longest(&[], 3, 4), 0);
    }

    #[test]
    fn requests_survive_the_disk_with_and_without_a_tag() {
        let old = r#"{"kind":"helpful","prompt":[{"role":"user","content":"q"}]}"#;
        let mut request: Request = serde_json::from_str(old).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), old);
        request.tag = Some(HarmTag { harm_type: "theft".to_owned(), probability: 0.5 });
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);
    }
}
