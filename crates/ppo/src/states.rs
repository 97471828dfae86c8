//! The states of a run, those of what comes before its first round among them.

use training::{Checkpoint, Error, Observe, Owner, State};

/// Keeps all states of a run under one owner.
///
/// They are read once, before anything is drawn. A state at step 0 is of what comes before the first round, and replaces the
/// one before it.
pub(crate) struct States<'a> {
    checkpoint: &'a mut dyn Checkpoint,
    owner: Owner,
    found: Option<State>,
}

impl<'a> States<'a> {
    /// Reads the newest state.
    pub(crate) fn load(
        owner: Owner,
        observe: &mut dyn Observe,
        checkpoint: &'a mut dyn Checkpoint,
    ) -> Result<Self, Error> {
        let found = checkpoint.load(&owner, observe)?;
        Ok(Self { checkpoint, owner, found })
    }

    /// The newest state; none if the run begins.
    pub(crate) fn found(&mut self) -> Option<&mut State> {
        self.found.as_mut()
    }

    /// Keeps a state of what comes before the first round.
    pub(crate) fn save_before_rounds(&mut self, state: State) -> Result<(), Error> {
        self.checkpoint.save(&self.owner, &State { step: 0, ..state })
    }
}

impl Checkpoint for States<'_> {
    fn keeps(&self) -> bool {
        self.checkpoint.keeps()
    }

    /// The state that a round has left, as it was found.
    fn load(&mut self, _owner: &Owner, _observe: &mut dyn Observe) -> Result<Option<State>, Error> {
        Ok(self.found.take().filter(|state| state.step > 0))
    }

    fn is_due(&mut self, step: u64) -> bool {
        self.checkpoint.is_due(step)
    }

    fn save(&mut self, owner: &Owner, state: &State) -> Result<(), Error> {
        self.checkpoint.save(owner, state)
    }
}
