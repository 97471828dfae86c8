//! New requests, written by the helpful-only model from a few examples.

use super::world::is_held_out;
use super::{Checkpoint, Error, Session, Stage};
use burn::tensor::backend::AutodiffBackend;
use dataset::{read_jsonl, write_jsonl};
use dialogue::{Dialogue, Role};
use language_model::item_seed;
use red_team::generate_requests;
use serde::{Deserialize, Serialize};
use training::Observe;

/// What examples a request was written after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    RedTeam,
    Helpful,
}

/// A request written by the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Request {
    kind: Kind,
    prompt: Dialogue,
}

impl<B: AutodiffBackend> Session<B> {
    /// Writes `requests.jsonl`.
    pub(super) fn red_team(&self, observe: &mut dyn Observe) -> Result<(), Error> {
        let model = self.fixed(Checkpoint::HelpfulOnly)?;
        let kinds =
            [(Kind::RedTeam, &self.prompts.red_team), (Kind::Helpful, &self.prompts.helpful)];
        observe.start(Stage::RedTeam.name(), kinds.len() as u64, 0)?;
        let mut requests = Vec::new();
        // The request that a dialogue begins with is one that stands alone.
        let first_request = |prompt: &Dialogue| {
            let asked = prompt.messages.iter().find(|message| message.role == Role::User);
            asked.map(|message| message.content.clone())
        };
        for ((kind, examples), step) in kinds.into_iter().zip(1..) {
            let seeds: Vec<String> = examples.iter().filter_map(first_request).collect();
            let seed = item_seed(self.settings.seed, &["red_team", &format!("{kind:?}")]);
            let generated = generate_requests(&model, &seeds, &self.settings.red_team, seed)?;
            let new = generated.requests.into_iter().filter(|text| !self.is_held_out(text));
            requests.extend(new.map(|text| Request { kind, prompt: Dialogue::from_user(text) }));
            observe.record(step, &[("requests", requests.len() as f64)])?;
        }
        write_jsonl(self.folder.file(Stage::RedTeam, "requests.jsonl")?, requests)?;
        Ok(observe.finish()?)
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
