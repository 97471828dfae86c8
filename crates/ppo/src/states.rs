//! The states of a run, those of what comes before its first round among them.

use training::{Checkpoint, Error, Observe, Owner, State};

/// Keeps all states of a run under one owner, with numbers that rise from the first to the last: whoever keeps some of them
/// keeps the newest, and finds the one before if one is damaged.
///
/// What comes before the first round has the numbers up to `before_rounds`, and round `n` is `before_rounds + n`. The newest
/// state is read once, before anything is drawn.
pub(crate) struct States<'a> {
    checkpoint: &'a mut dyn Checkpoint,
    owner: Owner,
    before_rounds: u64,
    found: Option<State>,
}

impl<'a> States<'a> {
    /// Reads the newest state.
    pub(crate) fn load(
        owner: Owner,
        before_rounds: u64,
        observe: &mut dyn Observe,
        checkpoint: &'a mut dyn Checkpoint,
    ) -> Result<Self, Error> {
        let found = checkpoint.load(&owner, observe)?;
        Ok(Self { checkpoint, owner, before_rounds, found })
    }

    /// The newest state; none if the run begins.
    pub(crate) fn found(&mut self) -> Option<&mut State> {
        self.found.as_mut()
    }

    /// Keeps a state of what comes before the first round under its own number.
    pub(crate) fn save_before_rounds(&mut self, state: State) -> Result<(), Error> {
        self.checkpoint.save(&self.owner, state)
    }

    /// Keeps the state that the first round begins with.
    pub(crate) fn save_beginning(&mut self, state: State) -> Result<(), Error> {
        self.save_before_rounds(State { step: self.before_rounds, ..state })
    }
}

/// Of the rounds alone, as they count themselves.
impl Checkpoint for States<'_> {
    fn keeps(&self) -> bool {
        self.checkpoint.keeps()
    }

    /// The state that a round has left, as it was found.
    fn load(&mut self, _owner: &Owner, _observe: &mut dyn Observe) -> Result<Option<State>, Error> {
        let before = self.before_rounds;
        let round = |state: State| {
            let step = state.step.checked_sub(before).filter(|&step| step > 0)?;
            Some(State { step, ..state })
        };
        Ok(self.found.take().and_then(round))
    }

    fn is_due(&mut self, step: u64) -> bool {
        self.checkpoint.is_due(step)
    }

    fn save(&mut self, owner: &Owner, state: State) -> Result<(), Error> {
        let step = self.before_rounds.saturating_add(state.step);
        self.checkpoint.save(owner, State { step, ..state })
    }
}
