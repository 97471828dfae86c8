//! Several preference models as one.

use crate::folder::{Combination, ModelFolder};
use crate::heads::Heads;
use crate::joint::Joint;
use crate::model::evaluate;
use crate::read::{read_dialogues, rewards};
use crate::scores::SCORED_TOKENS;
use crate::{Combine, Error, Normalisation, PreferenceModel, Report};
use burn::tensor::backend::Backend;
use dialogue::{Dialogue, Preference};
use language_model::{Error as ModelError, Reward};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use training::Fingerprint;
use transformer::replace_folder;

/// The file that makes a folder one of several models.
const ENSEMBLE: &str = "ensemble.json";

/// Preference models whose rewards are combined; members may share a trunk, which then reads a dialogue once for all.
///
/// Members are combined by their rewards, since their raw scores have scales of their own, and the result is brought back
/// to nats of log-odds by the mean of their standard deviations, so that an ensemble has probabilities, too:
///
/// ```text
/// score = mean(std_1 … std_k) combine((s_1 - mean_1) / std_1 … (s_k - mean_k) / std_k)
/// reward = (score - mean) / std
/// ```
///
/// The last line has mean and standard deviation of the combined scores of the reference dialogues, so that the rewards of
/// an ensemble have the same scale as those of one model. An ensemble of one gives what its only member gives.
///
/// # References
/// Coste et al. (2023), arXiv 2310.02743; Eisenstein et al. (2023), arXiv 2312.09244.
#[derive(Debug, Clone)]
pub struct Ensemble<B: Backend> {
    /// Those that share a trunk side by side.
    members: Vec<PreferenceModel<B>>,
    /// How many members each trunk has.
    heads: Vec<usize>,
    combine: Combine,
    normalisation: Normalisation,
}

/// What `ensemble.json` holds.
#[derive(Debug, Serialize, Deserialize)]
struct Description {
    /// Folders beside the file, `member_0` and so on.
    members: usize,
    #[serde(flatten)]
    combination: Combination,
}

impl<B: Backend> Ensemble<B> {
    /// Members by trunk; all must have the text side of the first.
    pub(crate) fn new(
        trunks: Vec<Vec<PreferenceModel<B>>>,
        combine: Combine,
        normalisation: Normalisation,
    ) -> Self {
        let heads = trunks.iter().map(Vec::len).collect();
        Self { members: trunks.into_iter().flatten().collect(), heads, combine, normalisation }
    }

    /// The model alone.
    pub(crate) fn of_one(model: PreferenceModel<B>) -> Self {
        let normalisation = model.normalisation();
        Self::new(vec![vec![model]], Combine::Mean, normalisation)
    }

    /// The models that are combined, at least one.
    pub fn members(&self) -> &[PreferenceModel<B>] {
        &self.members
    }

    /// How the combined score becomes the reward.
    pub fn normalisation(&self) -> Normalisation {
        self.normalisation
    }

    /// The only member.
    ///
    /// # Errors
    /// [`Error::SeveralScores`] if there are others.
    pub fn into_single(mut self) -> Result<PreferenceModel<B>, Error> {
        match (self.members.pop(), self.members.len()) {
            (Some(only), 0) => Ok(only),
            (_, others) => Err(Error::SeveralScores { scores: others + 1 }),
        }
    }

    /// How well the combined scores agree with preferences that nothing was fitted to; see [`PreferenceModel::evaluate`].
    ///
    /// # Errors
    /// Those of [`PreferenceModel::evaluate`].
    pub fn evaluate(&self, preferences: &[Preference]) -> Result<Report, Error> {
        let first = &self.members[0];
        evaluate(first.codec(), first.scalar_model(), preferences, |rows| self.scores(rows))
    }

    /// The combined scores of rows of tokens.
    fn scores(&self, rows: &[&[u32]]) -> Vec<f64> {
        let by_member: Vec<Vec<f32>> =
            self.trunks().flat_map(|members| heads(members).scores(rows, SCORED_TOKENS)).collect();
        let members = self.members.iter().map(PreferenceModel::normalisation).collect();
        Joint { members, combine: self.combine }.scores(&by_member)
    }

    /// The members of every trunk.
    fn trunks(&self) -> impl Iterator<Item = &[PreferenceModel<B>]> {
        let mut rest = self.members.as_slice();
        self.heads.iter().map(move |&count| {
            let (members, others) = rest.split_at(count);
            rest = others;
            members
        })
    }

    /// Writes the ensemble.
    ///
    /// One trunk makes a model folder that `transformers` opens as a sequence classifier with one label for every head; a
    /// single member makes the folder of [`PreferenceModel::save`]. Several trunks make a folder with `ensemble.json` and
    /// one model folder for each, `member_0` and so on. What stands there is replaced, if it is of the same kind. The new
    /// folder is written beside it and then renamed, see [`transformer::write_folder`].
    ///
    /// # Errors
    /// If the folder cannot be written, or something else stands there.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let combination = Combination { combine: self.combine, normalisation: self.normalisation };
        if self.heads.len() == 1 {
            let combination = (self.members.len() > 1).then_some(combination);
            return model_folder(&self.members, combination).write(path);
        }
        refuse_if_occupied(path)?;
        replace_folder(path, |folder| self.write_members(folder, combination))
    }

    /// Writes a folder for every trunk into this one, and what they have in common.
    fn write_members(&self, folder: &Path, combination: Combination) -> Result<(), Error> {
        for (index, members) in self.trunks().enumerate() {
            // Each folder can be read alone, so that it says how its own heads are combined.
            let own = (members.len() > 1).then_some(combination);
            model_folder(members, own).write(&member_folder(folder, index))?;
        }
        let members = self.heads.len();
        write_description(&folder.join(ENSEMBLE), &Description { members, combination })
    }

    /// Reads what [`Ensemble::save`] wrote, or any folder that [`PreferenceModel::from_folder`] reads.
    ///
    /// # Errors
    /// If a file is missing, damaged or not that of a preference model.
    pub fn from_folder(path: impl AsRef<Path>, device: &B::Device) -> Result<Self, Error> {
        let path = path.as_ref();
        let Some(Description { members, combination }) = read_description(path)? else {
            let (members, combination) = read_members(path, device)?;
            let alone = members.first().map(PreferenceModel::normalisation).unwrap_or_default();
            let Combination { combine, normalisation } =
                combination.unwrap_or(Combination { combine: Combine::Mean, normalisation: alone });
            return Ok(Self::new(vec![members], combine, normalisation));
        };
        let trunk = |index| Ok(read_members(&member_folder(path, index), device)?.0);
        let trunks = (0..members).map(trunk).collect::<Result<_, Error>>()?;
        Ok(Self::new(trunks, combination.combine, combination.normalisation))
    }
}

impl<B: Backend> Reward for Ensemble<B> {
    fn reward(&self, dialogues: &[Dialogue]) -> Result<Vec<f32>, ModelError> {
        let first = &self.members[0];
        let config = first.scalar_model().decoder().config();
        let rows = read_dialogues(first.codec(), config, dialogues)?;
        let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        rewards(dialogues, self.scores(&rows), self.normalisation)
    }

    /// A hash of all members and of how they are combined.
    fn fingerprint(&self) -> Option<String> {
        let combination = Combination { combine: self.combine, normalisation: self.normalisation };
        let hash = Fingerprint::default().with("combination", &combination);
        let members = self.members.iter();
        Some(members.fold(hash, |hash, member| member.hashed(hash)).finish())
    }
}

/// The heads of members that share a trunk.
fn heads<B: Backend>(members: &[PreferenceModel<B>]) -> Heads<B> {
    let trunk = members[0].scalar_model().decoder().clone();
    Heads::new(trunk, members.iter().map(|one| one.scalar_model().head().clone()).collect())
}

fn model_folder<B: Backend>(
    members: &[PreferenceModel<B>],
    combination: Option<Combination>,
) -> ModelFolder<B> {
    let codec = members[0].codec().clone();
    let members =
        members.iter().map(|one| (one.scalar_model().clone(), one.normalisation())).collect();
    ModelFolder { members, codec, combination }
}

fn read_members<B: Backend>(
    path: &Path,
    device: &B::Device,
) -> Result<(Vec<PreferenceModel<B>>, Option<Combination>), Error> {
    let ModelFolder { members, codec, combination } = ModelFolder::read(path, device)?;
    let member = |(model, normalisation)| PreferenceModel::new(model, codec.clone(), normalisation);
    Ok((members.into_iter().map(member).collect(), combination))
}

fn member_folder(path: &Path, index: usize) -> PathBuf {
    path.join(format!("member_{index}"))
}

/// None if the folder has no such file.
fn read_description(path: &Path) -> Result<Option<Description>, Error> {
    let path = path.join(ENSEMBLE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(transformer::Error::Read { path, source }.into()),
    };
    let file = path.display().to_string();
    let description: Description = serde_json::from_str(&text)
        .map_err(|source| transformer::Error::Json { file: file.clone(), source })?;
    if description.members == 0 || !description.combination.is_sound() {
        let (found, expected) = (text.trim().to_owned(), "at least one member, and `std` above 0");
        return Err(Error::NotPreferenceModel { file, key: "members", found, expected });
    }
    Ok(Some(description))
}

fn write_description(path: &Path, description: &Description) -> Result<(), Error> {
    let text = format!("{:#}\n", serde_json::json!(description));
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Only an ensemble gives way to another, whole or as a process that was killed has left it, or nothing.
fn refuse_if_occupied(path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    let occupied = || Err(Error::Occupied { path: path.to_owned() });
    if path.join(ENSEMBLE).exists() {
        return Ok(());
    }
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => return occupied(),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        if !name.to_str().is_some_and(is_left_over) {
            return occupied();
        }
    }
    Ok(())
}

/// Whether something has this name that earlier versions wrote before `ensemble.json`: `member_0`, be it still under the name
/// of a folder that is being written, or the description under such a name.
fn is_left_over(name: &str) -> bool {
    let hidden = name.strip_prefix('.').and_then(|name| name.rsplit_once('.'));
    let name = match hidden {
        Some((name, "partial" | "replaced")) => name,
        _ => name,
    };
    let index = name.strip_prefix("member_");
    name == "ensemble.partial" || index.is_some_and(|index| index.parse::<usize>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{codec, model_config, preference, scalar_model};
    use burn_flex::{Flex, FlexDevice};
    use transformer::{Decoder, ScalarHead, ScalarModel, Weights};

    const COMBINED: [Combine; 3] = [Combine::Mean, Combine::Minimum, Combine::MeanMinusStd(0.5)];

    fn member(model: ScalarModel<Flex>, mean: f64, std: f64) -> PreferenceModel<Flex> {
        PreferenceModel::new(model, codec(), Normalisation { mean, std })
    }

    /// Two trunks, the second with two heads.
    fn trunks() -> Vec<Vec<PreferenceModel<Flex>>> {
        let decoder = Decoder::init(&model_config(), 3, &FlexDevice);
        let head =
            |seed| ScalarModel::new(decoder.clone(), ScalarHead::init(16, seed, &FlexDevice));
        vec![
            vec![member(scalar_model(1), 0.5, 2.0)],
            vec![member(head(5), -0.25, 0.5), member(head(6), 0.0, 1.5)],
        ]
    }

    fn ensemble(trunks: Vec<Vec<PreferenceModel<Flex>>>, combine: Combine) -> Ensemble<Flex> {
        Ensemble::new(trunks, combine, Normalisation { mean: 0.125, std: 0.75 })
    }

    fn dialogues() -> Vec<Dialogue> {
        let replies = ["a", "b c d", "good bad a", "q q q q q"];
        replies.map(|reply| Dialogue::from_user("q").with_assistant(reply)).to_vec()
    }

    fn bits(model: &impl Reward) -> Vec<u32> {
        model.reward(&dialogues()).unwrap().into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn a_fingerprint_tells_models_apart() {
        let of = |model: &dyn Reward| model.fingerprint().unwrap();
        let whole = of(&ensemble(trunks(), Combine::Mean));
        assert_eq!(of(&ensemble(trunks(), Combine::Mean)), whole);
        assert_ne!(of(&ensemble(trunks(), Combine::Minimum)), whole);
        assert_ne!(of(&ensemble(trunks().split_off(1), Combine::Mean)), whole);
        let alone = |seed, mean| of(&member(scalar_model(seed), mean, 2.0));
        assert_eq!(alone(1, 0.5), alone(1, 0.5));
        assert_ne!(alone(1, 0.5), alone(2, 0.5));
        assert_ne!(alone(1, 0.5), alone(1, 0.25));
    }

    #[test]
    fn combines_the_rewards_of_its_members() {
        for combine in COMBINED {
            let ensemble = ensemble(trunks(), combine);
            let by_member: Vec<Vec<f32>> =
                ensemble.members().iter().map(|one| one.reward(&dialogues()).unwrap()).collect();
            for (index, found) in ensemble.reward(&dialogues()).unwrap().into_iter().enumerate() {
                let rewards: Vec<f64> =
                    by_member.iter().map(|member| f64::from(member[index])).collect();
                // The mean of 2, 0.5 and 1.5 is 4 / 3.
                let expected = (combine.of(&rewards) * 4.0 / 3.0 - 0.125) / 0.75;
                assert!((f64::from(found) - expected).abs() < 1e-4, "{found} {expected}");
            }
        }
    }

    #[test]
    fn one_member_gives_what_it_gives_alone() {
        let alone = member(scalar_model(1), 0.5, 2.0);
        for combine in COMBINED {
            let only = Ensemble::new(vec![vec![alone.clone()]], combine, alone.normalisation());
            assert_eq!(bits(&only), bits(&alone));
            assert_eq!(bits(&only.into_single().unwrap()), bits(&alone));
        }
        let error = ensemble(trunks(), Combine::Mean).into_single().unwrap_err();
        assert!(matches!(error, Error::SeveralScores { scores: 3 }), "{error}");
    }

    #[test]
    fn a_folder_of_members_gives_the_same_rewards() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        for combine in COMBINED {
            let saved = ensemble(trunks(), combine);
            saved.save(&path).unwrap();
            let loaded = Ensemble::<Flex>::from_folder(&path, &FlexDevice).unwrap();
            assert_eq!((loaded.combine, &loaded.heads), (combine, &saved.heads));
            assert_eq!(loaded.normalisation(), saved.normalisation());
            assert_eq!(bits(&loaded), bits(&saved));
        }
        // A member is a model of its own.
        let first = PreferenceModel::<Flex>::from_folder(path.join("member_0"), &FlexDevice);
        assert_eq!(bits(&first.unwrap()), bits(&trunks()[0][0]));

        let mut three = trunks();
        three.push(vec![member(scalar_model(9), 0.0, 1.0)]);
        ensemble(three, Combine::Mean).save(&path).unwrap();
        assert!(path.join("member_2").exists());
        ensemble(trunks(), Combine::Mean).save(&path).unwrap();
        assert!(!path.join("member_2").exists());
    }

    #[test]
    fn one_trunk_is_a_classifier_with_a_label_for_every_head() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        let saved = ensemble(trunks().split_off(1), Combine::Minimum);
        saved.save(&path).unwrap();
        let loaded = Ensemble::<Flex>::from_folder(&path, &FlexDevice).unwrap();
        assert_eq!((loaded.combine, loaded.members().len()), (Combine::Minimum, 2));
        assert_eq!(bits(&loaded), bits(&saved));

        let config: serde_json::Value =
            serde_json::from_slice(&fs::read(path.join("config.json")).unwrap()).unwrap();
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(config["architectures"], json(r#"["LlamaForSequenceClassification"]"#));
        assert_eq!(config["id2label"], json(r#"{"0": "LABEL_0", "1": "LABEL_1"}"#));
        assert_eq!(config["label2id"], json(r#"{"LABEL_0": 0, "LABEL_1": 1}"#));
        assert_eq!((&config["mean"], &config["std"]), (&json("[-0.25, 0.0]"), &json("[0.5, 1.5]")));
        let combined = r#"{"combine": "minimum", "mean": 0.125, "std": 0.75}"#;
        assert_eq!(config["ensemble"], json(combined));
        let weights = Weights::from_folder(&path).unwrap();
        assert_eq!(weights.shape("score.weight"), Some(&[2, 16][..]));

        let error = PreferenceModel::<Flex>::from_folder(&path, &FlexDevice).unwrap_err();
        assert!(error.to_string().contains("an `Ensemble` reads several"), "{error}");
    }

    #[test]
    fn reads_a_single_model_and_writes_one() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        let alone = member(scalar_model(1), 0.5, 2.0);
        alone.save(&one).unwrap();
        let read = Ensemble::<Flex>::from_folder(&one, &FlexDevice).unwrap();
        assert_eq!(bits(&read), bits(&alone));
        read.save(&two).unwrap();
        let config = |path: &Path| -> serde_json::Value {
            serde_json::from_slice(&fs::read(path.join("config.json")).unwrap()).unwrap()
        };
        assert_eq!(config(&one), config(&two));
        assert!(!two.join(ENSEMBLE).exists());
    }

    #[test]
    fn names_what_is_wrong_with_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        ensemble(trunks(), Combine::Mean).save(&path).unwrap();
        let read = || Ensemble::<Flex>::from_folder(&path, &FlexDevice).unwrap_err().to_string();
        let text = fs::read_to_string(path.join(ENSEMBLE)).unwrap();
        for (from, to, part) in [
            (r#""members": 2"#, r#""members": 0"#, "ensemble.json: `members` is"),
            (r#""std": 0.75"#, r#""std": 0.0"#, "`std` above 0"),
            (r#""members": 2"#, r#""members": 3"#, "member_2"),
            ("{", "[", "ensemble.json"),
        ] {
            assert!(text.contains(from), "{text}");
            fs::write(path.join(ENSEMBLE), text.replacen(from, to, 1)).unwrap();
            let message = read();
            assert!(message.contains(part), "{message}");
        }
        let config = path.join("member_1").join("config.json");
        let settings = fs::read_to_string(&config).unwrap();
        fs::write(path.join(ENSEMBLE), &text).unwrap();
        for (from, to, part) in [
            (r#""ensemble""#, r#""together""#, "`ensemble` is missing"),
            ("-0.25,", "", "`mean` is [0.0], expected one number for every row"),
        ] {
            assert!(settings.contains(from), "{settings}");
            fs::write(&config, settings.replacen(from, to, 1)).unwrap();
            let message = read();
            assert!(message.contains(part) && message.contains("config.json"), "{message}");
        }
    }

    #[test]
    fn takes_the_place_of_a_folder_that_was_half_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        let saved = ensemble(trunks(), Combine::Mean);
        // As versions that wrote in place left it: the first member whole, the second amid its writing.
        fs::create_dir_all(path.join(".member_1.partial")).unwrap();
        trunks()[0][0].save(path.join("member_0")).unwrap();
        fs::write(path.join("ensemble.partial"), "{").unwrap();
        // As this one leaves it.
        fs::create_dir_all(folder.path().join(".model.partial/.member_0.partial")).unwrap();
        saved.save(&path).unwrap();
        let loaded = Ensemble::<Flex>::from_folder(&path, &FlexDevice).unwrap();
        assert_eq!(bits(&loaded), bits(&saved));
        let names = |folder: &Path| -> Vec<String> {
            let entries = fs::read_dir(folder).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<String> = names.collect();
            names.sort();
            names
        };
        assert_eq!(names(&path), [ENSEMBLE, "member_0", "member_1"]);
        assert_eq!(names(folder.path()), ["model"]);

        fs::remove_file(path.join(ENSEMBLE)).unwrap();
        fs::write(path.join("member_0.txt"), "a list of members").unwrap();
        let error = saved.save(&path).unwrap_err();
        assert!(matches!(error, Error::Occupied { .. }), "{error}");
        assert!(path.join("member_0.txt").exists());
    }

    #[test]
    fn leaves_alone_what_is_no_ensemble() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("thesis.txt"), "years of work").unwrap();
        let error = ensemble(trunks(), Combine::Mean).save(&path).unwrap_err();
        assert!(matches!(error, Error::Occupied { .. }), "{error}");
        assert!(ensemble(trunks().split_off(1), Combine::Mean).save(&path).is_err());
        assert!(path.join("thesis.txt").exists());
    }

    #[test]
    fn evaluates_combined_scores() {
        let ensemble = ensemble(trunks(), Combine::Mean);
        let rewards = ensemble.reward(&dialogues()).unwrap();
        let margin = f64::from(rewards[0] - rewards[1]) * 0.75;
        let report = ensemble.evaluate(&[preference("q", "a", "b c d", 1.0)]).unwrap();
        assert!((report.mean_margin - margin).abs() < 1e-5);
        assert_eq!(report.length.unwrap().dialogues, 2);
    }
}
