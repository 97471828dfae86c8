//! One step of all prompts.

use crate::critique_and_revise::step_seed;
use crate::detect::{critique_failures, revision_failures};
use crate::draw::{Asked, Drawn, draw};
use crate::trace::Part;
use crate::{CritiqueRevisionConfig, Error, Sought, Step, Trace};
use constitution::RevisionPrinciple;
use dialogue::Dialogue;
use language_model::{Completion, Generate, StopReason, stream};

/// What the steps of all prompts have in common.
pub(crate) struct Steps<'a> {
    pub(crate) model: &'a dyn Generate,
    pub(crate) config: &'a CritiqueRevisionConfig,
    /// The worked examples as they are shown.
    pub(crate) examples: Vec<Dialogue>,
    /// Of the run.
    pub(crate) seed: u64,
}

/// The step of one prompt before anything is drawn for it.
struct Begun<'a> {
    trace: &'a Trace,
    principle: &'a RevisionPrinciple,
    /// The places of the examples that it shows.
    few_shots: Vec<usize>,
}

impl Steps<'_> {
    /// Adds one step to every trace.
    pub(crate) fn advance(
        &self,
        principles: &[&RevisionPrinciple],
        traces: &mut [Trace],
    ) -> Result<(), Error> {
        let begun: Vec<Begun<'_>> = traces
            .iter()
            .zip(principles)
            .map(|(trace, principle)| self.begin(trace, principle))
            .collect();
        let critiques = self.critiques(&begun)?;
        let revisions = self.revisions(&begun, &critiques)?;
        let drawn = critiques.into_iter().zip(revisions);
        let finish = |(begun, (critique, revision))| self.finish(begun, critique, revision);
        let steps: Vec<Step> = begun.into_iter().zip(drawn).map(finish).collect();
        traces.iter_mut().zip(steps).for_each(|(trace, step)| trace.steps.push(step));
        Ok(())
    }

    fn begin<'a>(&self, trace: &'a Trace, principle: &'a RevisionPrinciple) -> Begun<'a> {
        let seed = step_seed(self.seed, &trace.id, trace.steps.len(), "few_shots");
        Begun { trace, principle, few_shots: self.config.shown(&mut stream(seed)) }
    }

    /// What is drawn for a part of a step.
    fn ask<'a>(&self, begun: &Begun<'a>, part: Part, sought: Sought<'_>) -> Asked<'a> {
        let Begun { trace, few_shots, .. } = begun;
        let examples: Vec<Dialogue> =
            few_shots.iter().map(|&place| self.examples[place].clone()).collect();
        let dialogue = self.config.form.ask(&examples, &trace.prompt, trace.current(), sought);
        Asked { dialogue, id: &trace.id, step: trace.steps.len(), part }
    }

    /// A critique of every reply; none if revisions are asked for directly.
    fn critiques(&self, begun: &[Begun<'_>]) -> Result<Vec<Option<Drawn>>, Error> {
        let Self { model, config, seed, .. } = *self;
        if config.direct {
            return Ok(vec![None; begun.len()]);
        }
        let asked: Vec<Asked<'_>> = begun
            .iter()
            .map(|begun| {
                let request = begun.principle.critique_request.as_str();
                self.ask(begun, Part::Critique, Sought::Critique { request })
            })
            .collect();
        let find = |place: usize, critique: &Completion| {
            critique_failures(critique, begun[place].trace.current())
        };
        let sampling = config.form.sampling(&config.critique);
        let drawn = draw(model, &asked, &sampling, &config.failures, seed, find)?;
        Ok(drawn.into_iter().map(Some).collect())
    }

    /// A revision of every reply, but where the critique is dropped.
    fn revisions(
        &self,
        begun: &[Begun<'_>],
        critiques: &[Option<Drawn>],
    ) -> Result<Vec<Option<Drawn>>, Error> {
        let Self { model, config, seed, .. } = *self;
        let drops = |drawn: &Drawn| config.failures.drops(&drawn.failures);
        let stands = |place: &usize| !critiques[*place].as_ref().is_some_and(drops);
        let places: Vec<usize> = (0..begun.len()).filter(stands).collect();
        let critique = |place: usize| critiques[place].as_ref().map(|d| d.completion.text.as_str());
        let ask = |&place: &usize| {
            let RevisionPrinciple { critique_request, revision_request, .. } =
                begun[place].principle;
            let critique = critique(place).map(|text| [critique_request.as_str(), text]);
            let sought = Sought::Revision { critique, request: revision_request };
            self.ask(&begun[place], Part::Revision, sought)
        };
        let asked: Vec<Asked<'_>> = places.iter().map(ask).collect();
        let find = |index: usize, revision: &Completion| {
            let place = places[index];
            let current = begun[place].trace.current();
            revision_failures(revision, current, critique(place).unwrap_or_default())
        };
        let sampling = config.form.sampling(&config.revision);
        let drawn = draw(model, &asked, &sampling, &config.failures, seed, find)?;
        let mut revisions = vec![None; begun.len()];
        places.iter().zip(drawn).for_each(|(&place, drawn)| revisions[place] = Some(drawn));
        Ok(revisions)
    }

    /// The record of a step.
    fn finish(&self, begun: Begun<'_>, critique: Option<Drawn>, revision: Option<Drawn>) -> Step {
        let Begun { trace, principle, few_shots } = begun;
        let drawn = || [&critique, &revision].into_iter().flatten();
        let failures: Vec<_> = drawn().flat_map(|drawn| drawn.failures.clone()).collect();
        let redrawn = drawn().flat_map(|drawn| drawn.redrawn.clone()).collect();
        let kept = self.config.failures.drops(&failures);
        let (critique_prompt, critique) = self.read_and_said(critique);
        let (revision_prompt, revision) = self.read_and_said(revision);
        let (stands, dropped) = if kept {
            (trace.current().to_owned(), revision.text)
        } else {
            (revision.text, String::new())
        };
        let critique_request =
            if self.config.direct { String::new() } else { principle.critique_request.clone() };
        Step {
            principle: principle.id.clone(),
            few_shots,
            critique_request,
            critique_prompt,
            critique: critique.text,
            critique_tokens: critique.tokens,
            critique_stopped: critique.stopped,
            revision_request: principle.revision_request.clone(),
            revision_prompt,
            revision: stands,
            revision_tokens: revision.tokens,
            revision_stopped: revision.stopped,
            failures,
            kept,
            dropped,
            redrawn,
        }
    }

    /// The prompt, if it is kept, and what the model said, which is nothing where it was not asked.
    fn read_and_said(&self, drawn: Option<Drawn>) -> (Option<Dialogue>, Completion) {
        let nothing = Completion { text: String::new(), tokens: 0, stopped: StopReason::Stop };
        drawn.map_or((None, nothing), |Drawn { prompt, completion, .. }| {
            (self.config.keep_prompts.then_some(prompt), completion)
        })
    }
}

#[cfg(test)]
mod tests;
