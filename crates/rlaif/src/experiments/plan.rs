//! The runs of an experiment: made, finished and measured.

use super::arms::Arm;
use super::recipe::some_principles;
use super::shared::check_shared;
use super::{Experiment, Recipe};
use crate::run::{Error, RunFolder, Session, Settings};
use burn::tensor::backend::AutodiffBackend;
use constitution::Constitution;
use dataset::write_atomic;
use report::Observation;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use toml::Table;
use training::Observe;

/// Fewer seeds than these give no interval worth a name.
pub const LEAST_SEEDS: usize = 3;

/// The folder of all runs of experiments among the runs.
const FOLDER: &str = "experiments";

/// An experiment with everything that decides its runs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is asked.
    pub experiment: Experiment,
    /// Where its files and its run folders are.
    pub folder: PathBuf,
    arms: Vec<Arm>,
    /// One for each seed and recipe, the seeds one after the other.
    runs: Vec<Run>,
}

/// A run of an experiment.
#[derive(Debug, Clone)]
pub(super) struct Run {
    recipe: Recipe,
    pub(super) settings: Settings,
    pub(super) path: PathBuf,
    /// What stands in the file that the settings name, if the run has a constitution of its own.
    constitution: Option<Constitution>,
}

impl Run {
    /// The name of its folder.
    pub(super) fn name(&self) -> String {
        format!("{}-seed{}", self.recipe.name, self.settings.seed)
    }
}

impl Plan {
    /// Plans the runs of an experiment in a folder of runs. `layers` are settings of all of them, below those of the arms.
    /// Nothing is written.
    ///
    /// # Errors
    /// [`Error::Setting`] for fewer than [`LEAST_SEEDS`] different seeds, [`Error::Settings`] for settings that no run takes or
    /// that leave the embedded world, whose oracle measures.
    pub fn new(
        experiment: Experiment,
        runs: &Path,
        seeds: &[u32],
        layers: &[(String, Table)],
    ) -> Result<Self, Error> {
        let seeds: BTreeSet<u32> = seeds.iter().copied().collect();
        if seeds.len() < LEAST_SEEDS {
            let found = seeds.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
            let expected = "at least three different ones, since intervals are over seeds";
            return Err(Error::Setting { setting: "--seeds", found, expected });
        }
        let defaults = Settings::resolve(layers)?;
        check_shared(&defaults)?;
        let folder = runs.join(FOLDER);
        let whole = defaults.read_constitution()?;
        let arms = experiment.arms(&whole);
        let mut plan = Self { experiment, folder, arms, runs: Vec::new() };
        for seed in seeds {
            for recipe in plan.recipes() {
                let run = plan.run(recipe, seed, layers, &whole)?;
                plan.runs.push(run);
            }
        }
        Ok(plan)
    }

    /// The recipes of the arms, each once.
    fn recipes(&self) -> Vec<Recipe> {
        let mut recipes: Vec<Recipe> = Vec::new();
        for Arm { recipe, .. } in &self.arms {
            if !recipes.contains(recipe) {
                recipes.push(recipe.clone());
            }
        }
        recipes
    }

    fn run(
        &self,
        recipe: Recipe,
        seed: u32,
        layers: &[(String, Table)],
        whole: &Constitution,
    ) -> Result<Run, Error> {
        let mut layers = layers.to_vec();
        layers.push(recipe.layer()?);
        let name = format!("{}-seed{seed}", recipe.name);
        let mut own = Table::from_iter([("seed".to_owned(), i64::from(seed).into())]);
        let constitution =
            recipe.principles.map(|count| some_principles(whole, count, u64::from(seed)));
        if constitution.is_some() {
            let path = self.folder.join(format!("{name}.toml"));
            own.insert("constitution".to_owned(), path.to_string_lossy().into_owned().into());
        }
        layers.push((name.clone(), own));
        let settings = Settings::resolve(&layers)?;
        Ok(Run { recipe, settings, path: self.folder.join(name), constitution })
    }

    /// Does what is missing of every run; what is finished is not repeated.
    ///
    /// # Errors
    /// Those of [`Session::check`], [`RunFolder::open`] and [`Session::run_to`]; what was finished stays finished.
    pub fn run_all<B: AutodiffBackend>(
        &self,
        device: &B::Device,
        device_name: &str,
        observe: &mut dyn Observe,
    ) -> Result<(), Error> {
        let last = self.experiment.last_stage();
        for (run, number) in self.runs.iter().zip(1..) {
            observe.note(&format!("{}: run {number} of {}", run.name(), self.runs.len()));
            self.write_constitution(run)?;
            Session::<B>::check(&run.settings, &run.path, device)?;
            let folder = RunFolder::open(&run.path, &run.settings, device_name)?;
            let session = Session::<B>::new(run.settings.clone(), folder, device.clone())?;
            session.run_to(last, observe)?;
        }
        Ok(())
    }

    fn write_constitution(&self, run: &Run) -> Result<(), Error> {
        let (Some(constitution), Some(path)) = (&run.constitution, &run.settings.constitution)
        else {
            return Ok(());
        };
        self.make_folder()?;
        Ok(write_atomic(path, constitution.to_toml()?.as_bytes())?)
    }

    pub(super) fn make_folder(&self) -> Result<(), Error> {
        std::fs::create_dir_all(&self.folder).map_err(|source| Error::Io {
            action: "create",
            path: self.folder.clone(),
            source,
        })
    }

    /// Measures the runs, which are finished.
    ///
    /// # Errors
    /// If a file of a run is missing or cannot be read.
    pub fn observe(&self) -> Result<Vec<Observation>, Error> {
        let mut observations = Vec::new();
        for arm in &self.arms {
            for run in self.runs.iter().filter(|run| run.recipe == arm.recipe) {
                observations.extend(self.experiment.observe(arm, run)?);
            }
        }
        Ok(observations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(text: &str) -> Vec<(String, Table)> {
        vec![("command line".to_owned(), text.parse().unwrap())]
    }

    fn plan(experiment: Experiment, text: &str) -> Result<Plan, Error> {
        Plan::new(experiment, Path::new("runs"), &[3, 1, 2], &layer(text))
    }

    #[test]
    fn shared_runs_are_planned_once_and_every_seed_has_all() {
        let plan = plan(Experiment::TradeOff, "").unwrap();
        let names: Vec<String> = plan.runs.iter().map(Run::name).collect();
        assert_eq!(names.len(), 4 * 3);
        assert_eq!(names[..2], ["defaults-seed1", "helpful-rlhf-seed1"]);
        assert_eq!(plan.runs[4].settings.seed, 2);
        assert_eq!(plan.runs[4].path, Path::new("runs/experiments/defaults-seed2"));
    }

    #[test]
    fn arms_stand_above_what_all_runs_share() {
        let text = "seed = 9\ncritique_revision.revisions = 2\nppo.iterations = 5";
        let plan = plan(Experiment::TradeOff, text).unwrap();
        let [defaults, helpful] = [0, 1].map(|place| &plan.runs[place].settings);
        assert_eq!((defaults.seed, defaults.ppo.iterations, helpful.ppo.iterations), (1, 5, 5));
        let revisions = |settings: &Settings| settings.critique_revision.revisions;
        assert_eq!((revisions(defaults), revisions(helpful)), (2, 0));
    }

    #[test]
    fn subsets_of_the_principles_are_files_of_the_experiment() {
        let plan = plan(Experiment::Principles, "").unwrap();
        let run = &plan.runs[1];
        assert_eq!(run.name(), "principles-2-seed1");
        let file = Path::new("runs/experiments/principles-2-seed1.toml");
        assert_eq!(run.settings.constitution.as_deref(), Some(file));
        assert_eq!(run.constitution.as_ref().unwrap().critique_revision.len(), 2);
        assert!(plan.runs[4].constitution.is_none());
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        for seeds in [&[1, 2][..], &[1, 2, 2], &[]] {
            let error = Plan::new(Experiment::Labels, Path::new("runs"), seeds, &[]).unwrap_err();
            assert!(error.to_string().contains("three different"), "{error}");
        }
        let files = "model = 'm'\n[prompts]\nred_team = 'a'\nhelpful = 'b'";
        let message = plan(Experiment::Labels, files).unwrap_err().to_string();
        assert!(message.contains("oracle"), "{message}");
        let message = plan(Experiment::Labels, "ppo.iteration = 5").unwrap_err().to_string();
        assert!(message.contains("command line") && message.contains("iteration"), "{message}");
    }
}
