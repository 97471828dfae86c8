//! Critique and revision of many prompts.

use crate::about::about;
use crate::report::Figures;
use crate::stage::{Kind, Record, Stage, Tally};
use crate::{Error, Job, Prepared};
use ai_feedback::Judge;
use constitution::Constitution;
use critique_revision::{CritiqueRevisionConfig, RevisionSummary, Trace, critique_and_revise};
use dialogue::Dialogue;
use serde_json::{Value, json};

/// Prepares to draw, criticise and revise a reply to every prompt of a file, as [`critique_and_revise`] does; a record is
/// a [`Trace`].
///
/// The whole input is read, so that what is wrong with it shows before a model is there.
///
/// # Errors
/// If the prompts, the constitution or the settings cannot be used, or another file stands in the place of the records.
pub fn revise(
    job: Job,
    constitution: Constitution,
    config: CritiqueRevisionConfig,
) -> Result<Prepared, Error> {
    config.validate()?;
    if config.revisions > 0 {
        constitution.revisions(&config.principles)?;
    }
    Prepared::new(job, Revision { constitution, config })
}

pub(crate) struct Revision {
    constitution: Constitution,
    config: CritiqueRevisionConfig,
}

impl Stage for Revision {
    type Item = Dialogue;
    type Record = Trace;

    const NAME: &'static str = "revise";
    const KIND: Kind<Dialogue> =
        Kind { open: |reading, path| reading.prompts(path), id: Dialogue::id, is_void: |_| false };

    fn settings(&self) -> Result<Value, Error> {
        let constitution = about(&self.constitution)?;
        Ok(json!({ "constitution": constitution, "critique_revision": self.config }))
    }

    fn records(
        &self,
        model: &dyn Judge,
        prompts: &[Dialogue],
        seed: u64,
    ) -> Result<Vec<Result<Trace, String>>, Error> {
        let traces = critique_and_revise(model, &self.constitution, prompts, &self.config, seed)?;
        Ok(traces.into_iter().map(Ok).collect())
    }

    fn row(prompt: &Dialogue) -> Value {
        json!({ "prompt": prompt })
    }
}

impl Record for Trace {
    type Tally = RevisionSummary;

    fn id(&self) -> &str {
        &self.id
    }

    fn tally(&self, _: Option<f64>) -> RevisionSummary {
        self.into()
    }
}

impl Tally for RevisionSummary {
    fn figures(&self) -> Figures {
        Figures::Revisions(*self)
    }
}
