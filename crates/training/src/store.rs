//! A folder that keeps the states of a stage.

use crate::state_folder::{Contents, Unusable, write};
use crate::{Checkpoint, CheckpointConfig, Error, Every, Observe, Owner, State, durable};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Keeps the states of a stage in a folder, each in one of its own:
///
/// ```text
/// folder/step-000000120/state.json    what it belongs to, values, size and SHA-256 of every file
///                       …             the files of the state
/// ```
///
/// A state is written under another name, brought to the disk and renamed, so that it is there as a whole or not at
/// all, and the states before it go only when it is there. The folder is for one stage and one process at a time; in it
/// nothing is touched but what has such a name. A state may be moved elsewhere and linked from here; where it would be removed
/// only the link is.
///
/// ```
/// # let temporary = tempfile::tempdir().unwrap();
/// # let folder = temporary.path().join("states");
/// use training::{Checkpoint, Checkpoints, Every, Owner, Silent, State};
///
/// let owner = Owner { stage: "sft".to_owned(), fingerprint: "settings and data".to_owned() };
/// let mut states = Checkpoints::new(&folder).every(Every::Steps(10)).keep(1);
/// for step in 1..=25 {
///     if states.is_due(step) {
///         states.save(&owner, State { step, ..State::default() })?;
///     }
/// }
/// let newest = Checkpoints::new(&folder).load(&owner, &mut Silent)?;
/// assert_eq!(newest.map(|state| state.step), Some(20));
/// states.clear()?;
/// assert!(!folder.exists());
/// # Ok::<(), training::Error>(())
/// ```
#[derive(Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    every: Every,
    keep: usize,
    /// When the last state was kept, or the first could have been.
    last: Instant,
}

impl Checkpoints {
    /// Keeps states in `folder`, which is created with the first, as [`CheckpointConfig::default`] says.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self::from_config(folder, &CheckpointConfig::default())
    }

    /// Keeps states in `folder` as `config` says, which should be valid.
    pub fn from_config(folder: impl Into<PathBuf>, config: &CheckpointConfig) -> Self {
        let CheckpointConfig { every, keep } = *config;
        Self { folder: folder.into(), every, keep, last: Instant::now() }
    }

    /// The same, as often as this.
    #[must_use]
    pub fn every(self, every: Every) -> Self {
        Self { every, ..self }
    }

    /// The same with so many states that stay; the newest one always does.
    #[must_use]
    pub fn keep(self, keep: usize) -> Self {
        Self { keep, ..self }
    }

    /// Removes all states, once the stage has given its result; the folder too if nothing else is in it.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Remove`].
    pub fn clear(&self) -> Result<(), Error> {
        // From the oldest on: should it end here, what is left is the newest.
        for kept in self.list()?.kept {
            self.remove(&kept)?;
        }
        match fs::remove_dir(&self.folder) {
            Err(source) if !may_stay(source.kind()) => {
                Err(Error::Remove { path: self.folder.clone(), source })
            }
            _ => Ok(()),
        }
    }

    /// The newest state that is whole.
    fn newest(&self, owner: &Owner, observe: &mut dyn Observe) -> Result<Option<State>, Error> {
        let Listed { kept, others } = self.list()?;
        for other in &others {
            let path = self.path(other);
            observe.note(&format!(
                "{} is left out: it has the name of a state, but is no folder, nor a link to one",
                path.display()
            ));
        }
        let mut skipped = !others.is_empty();
        for kept in kept.iter().rev().filter(|kept| kept.kind != Kind::Partial) {
            let folder = self.path(kept);
            match read(&folder, kept.step, owner) {
                Ok(state) => {
                    return Ok(Some(State { folder: Some(self.folder.clone()), ..state }));
                }
                Err(Unusable::Unreadable(error)) => return Err(error),
                Err(Unusable::Damaged(what)) => {
                    skipped = true;
                    observe.note(&format!("{} is damaged and left out: {what}", folder.display()));
                }
            }
        }
        if skipped {
            let (folder, stage) = (self.folder.display(), &owner.stage);
            observe.note(&format!("no state in {folder} is whole: {stage} begins anew"));
        }
        Ok(None)
    }

    /// What has a name of ours, from the oldest on.
    fn list(&self) -> Result<Listed, Error> {
        let failed = |source| Error::Read { path: self.folder.clone(), source };
        let mut listed = Listed::default();
        let entries = match fs::read_dir(&self.folder) {
            Err(source) if source.kind() == ErrorKind::NotFound => return Ok(listed),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            let Some(kept) = name.to_str().and_then(Kept::parse) else { continue };
            if kept.kind != Kind::State || is_folder(&self.path(&kept))? {
                listed.kept.push(kept);
            } else {
                listed.others.push(kept);
            }
        }
        listed.kept.sort_unstable();
        listed.others.sort_unstable();
        Ok(listed)
    }

    /// Puts the state that was written under the name of a partial one into its place.
    fn put_in_place(&self, step: u64) -> Result<(), Error> {
        let [partial, replaced, state] = [Kind::Partial, Kind::Replaced, Kind::State]
            .map(|kind| self.path(&Kept { step, kind }));
        let failed = |source| Error::Write { path: state.clone(), source };
        // A state of this very step is there if it is damaged and the stage went on from one before it.
        if is_there(&state) {
            if is_there(&replaced) {
                self.remove(&Kept { step, kind: Kind::Replaced })?;
            }
            durable::rename(&state, &replaced).map_err(failed)?;
        }
        durable::rename(&partial, &state).map_err(failed)?;
        durable::sync_folder(&self.folder).map_err(failed)
    }

    /// Removes all but the newest states up to `step`. Later ones are damaged, or the stage would have gone on from them.
    fn sweep(&self, step: u64) -> Result<(), Error> {
        let mut left = self.keep.max(1);
        for kept in self.list()?.kept.iter().rev() {
            if kept.kind == Kind::State && kept.step <= step && left > 0 {
                left -= 1;
            } else {
                self.remove(kept)?;
            }
        }
        Ok(())
    }

    fn remove(&self, kept: &Kept) -> Result<(), Error> {
        let path = self.path(kept);
        let failed = |source| Error::Remove { path: path.clone(), source };
        let mut doomed = path.clone();
        // Under the name of a partial one, so that half a state is never taken for a damaged one.
        if kept.kind != Kind::Partial {
            let partial = Kept { kind: Kind::Partial, ..*kept };
            doomed = self.path(&partial);
            if is_there(&doomed) {
                self.remove(&partial)?;
            }
            durable::rename(&path, &doomed).map_err(failed)?;
        }
        durable::remove(&doomed).map_err(failed)
    }

    fn path(&self, kept: &Kept) -> PathBuf {
        self.folder.join(kept.name())
    }
}

/// Whether a folder that cannot be removed for this reason is left: it is not there, something else is in it, or it is a link.
fn may_stay(reason: ErrorKind) -> bool {
    matches!(reason, ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty | ErrorKind::NotADirectory)
}

/// Whether something has this name, be it a link that leads nowhere.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Whether a path is a folder or a link to one.
fn is_folder(path: &Path) -> Result<bool, Error> {
    match fs::metadata(path) {
        Ok(about) => Ok(about.is_dir()),
        // It may be one that this process cannot look at.
        Err(source) if source.kind() == ErrorKind::PermissionDenied => {
            Err(Error::Read { path: path.to_owned(), source })
        }
        Err(_) => Ok(false),
    }
}

/// Reads a state, if it is whole and of `owner`.
fn read(folder: &Path, step: u64, owner: &Owner) -> Result<State, Unusable> {
    let contents = Contents::read(folder, step)?;
    let found = contents.owner();
    if found == *owner {
        return contents.load(folder);
    }
    Err(Unusable::Unreadable(Error::OtherRun {
        path: folder.to_owned(),
        found: found.stage,
        expected: owner.stage.clone(),
    }))
}

impl Checkpoint for Checkpoints {
    fn load(&mut self, owner: &Owner, observe: &mut dyn Observe) -> Result<Option<State>, Error> {
        let newest = self.newest(owner, observe);
        self.last = Instant::now();
        newest
    }

    fn is_due(&mut self, step: u64) -> bool {
        match self.every {
            Every::Steps(steps) => step.is_multiple_of(steps),
            Every::Seconds(seconds) => self.last.elapsed().as_secs_f64() >= seconds,
        }
    }

    fn save(&mut self, owner: &Owner, state: State) -> Result<(), Error> {
        let at = |source| Error::Write { path: self.folder.clone(), source };
        durable::create_folders(&self.folder).map_err(at)?;
        // What a killed process left would stand in the way, and takes room.
        for kept in self.list()?.kept.iter().filter(|kept| kept.kind == Kind::Partial) {
            self.remove(kept)?;
        }
        let partial = Kept { step: state.step, kind: Kind::Partial };
        write(&self.path(&partial), owner, &state)?;
        self.put_in_place(state.step)?;
        self.sweep(state.step)?;
        self.last = Instant::now();
        Ok(())
    }
}

/// What is in the folder of states under a name of ours.
#[derive(Debug, Default)]
struct Listed {
    kept: Vec<Kept>,
    /// What has the name of a state, but is no folder, nor a link to one: it was not made here.
    others: Vec<Kept>,
}

/// A folder in the folder of states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Kept {
    step: u64,
    kind: Kind,
}

/// What a folder holds, from the least useful on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A state that is being written or removed.
    Partial,
    /// A state that makes place for another of the same step.
    Replaced,
    /// A state.
    State,
}

impl Kept {
    fn name(&self) -> String {
        let step = self.step;
        match self.kind {
            Kind::Partial => format!(".step-{step:09}.partial"),
            Kind::Replaced => format!(".step-{step:09}.replaced"),
            Kind::State => format!("step-{step:09}"),
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let digits = name.trim_start_matches('.').strip_prefix("step-")?.split('.').next()?;
        let step = digits.parse().ok()?;
        let kinds = [Kind::Partial, Kind::Replaced, Kind::State];
        // Only a name that would be written: neither `step-5` nor `step-+00000005`.
        kinds.map(|kind| Self { step, kind }).into_iter().find(|kept| kept.name() == name)
    }
}

#[cfg(test)]
mod tests;
