//! Several scores of one dialogue as one.

use crate::combine::{deviation, mean};
use crate::{Combine, Normalisation};

/// How raw scores of several members become one score, in nats of log-odds like those of a member.
///
/// With the raw scores `s_i` and the normalisations (`mean_i`, `std_i`) of `k` members:
///
/// ```text
/// score = mean(std_1 … std_k) combine((s_1 - mean_1) / std_1 … (s_k - mean_k) / std_k)
/// ```
///
/// Raw scores of different members cannot be compared, since the loss fixes differences alone; rewards can. Multiplied by
/// the mean of their standard deviations they are log-odds again, so that an ensemble has probabilities, too. The score of
/// a single member is its raw score.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Joint {
    pub(crate) members: Vec<Normalisation>,
    pub(crate) combine: Combine,
}

impl Joint {
    /// The rewards of the members for one dialogue.
    pub(crate) fn rewards(&self, scores: &[f64]) -> Vec<f64> {
        self.members.iter().zip(scores).map(|(member, &score)| member.reward(score)).collect()
    }

    /// The score of one dialogue.
    pub(crate) fn score(&self, scores: &[f64]) -> f64 {
        if let [score] = scores {
            return *score;
        }
        let unit = self.members.iter().map(|member| member.std).sum::<f64>();
        unit / self.members.len() as f64 * self.combine.of(&self.rewards(scores))
    }

    /// The scores of all dialogues, `[members][dialogues]` to `[dialogues]`.
    pub(crate) fn scores(&self, by_member: &[Vec<f32>]) -> Vec<f64> {
        by_dialogue(by_member).map(|scores| self.score(&scores)).collect()
    }
}

/// The scores of all members for each dialogue.
fn by_dialogue(by_member: &[Vec<f32>]) -> impl Iterator<Item = Vec<f64>> {
    let dialogues = by_member.first().map_or(0, Vec::len);
    (0..dialogues).map(|index| by_member.iter().map(|scores| f64::from(scores[index])).collect())
}

/// Scores of several members for the same dialogues, and what they are combined to.
pub(crate) struct Combined {
    pub(crate) joint: Joint,
    pub(crate) scores: Vec<f64>,
    /// Of these scores.
    pub(crate) normalisation: Normalisation,
}

impl Combined {
    /// `by_member` `[members][dialogues]`, each of which is normalised by itself.
    pub(crate) fn of(by_member: &[Vec<f32>], combine: Combine) -> Self {
        let members = by_member.iter().map(|scores| Normalisation::of(&double(scores))).collect();
        let joint = Joint { members, combine };
        let scores = joint.scores(by_member);
        let normalisation = Normalisation::of(&scores);
        Self { joint, scores, normalisation }
    }

    /// The standard deviation of the members' rewards of a dialogue, the mean over all.
    pub(crate) fn disagreement(&self, by_member: &[Vec<f32>]) -> f64 {
        let spread = |scores: Vec<f64>| deviation(&self.joint.rewards(&scores));
        mean(&by_dialogue(by_member).map(spread).collect::<Vec<f64>>())
    }
}

/// Raw scores in double precision.
pub(crate) fn double(scores: &[f32]) -> Vec<f64> {
    scores.iter().copied().map(f64::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, Axis};
    use proptest::prelude::*;

    fn joint(combine: Combine) -> Joint {
        let members =
            vec![Normalisation { mean: 1.0, std: 2.0 }, Normalisation { mean: -1.0, std: 4.0 }];
        Joint { members, combine }
    }

    #[test]
    fn combines_rewards_and_gives_them_the_unit_of_scores() {
        // Rewards (5 - 1) / 2 = 2 and (1 + 1) / 4 = 0.5; the mean deviation is 3.
        let scores = [5.0, 1.0];
        assert_eq!(joint(Combine::Mean).rewards(&scores), [2.0, 0.5]);
        assert!((joint(Combine::Mean).score(&scores) - 3.75).abs() < 1e-12);
        assert!((joint(Combine::Minimum).score(&scores) - 1.5).abs() < 1e-12);
        assert!((joint(Combine::MeanMinusStd(1.0)).score(&scores) - 1.5).abs() < 1e-12);
        let found = joint(Combine::Mean).scores(&[vec![5.0, 1.0], vec![1.0, -1.0]]);
        assert!((found[0] - 3.75).abs() < 1e-12 && found[1].abs() < 1e-12);
        assert!(joint(Combine::Mean).scores(&[]).is_empty());
    }

    #[test]
    fn members_are_normalised_on_what_they_scored() {
        let by_member = [vec![1.0, 3.0, 5.0, 7.0], vec![0.0, 0.0, 3.0, 3.0]];
        let found = Combined::of(&by_member, Combine::Mean);
        let root = 5.0_f64.sqrt();
        assert!((found.joint.members[0].std - root).abs() < 1e-12);
        assert!((found.joint.members[1].std - 1.5).abs() < 1e-12);
        assert!(found.normalisation.mean.abs() < 1e-12);
        // Rewards -3, -1, 1, 3 over the root of 5, and -1, -1, 1, 1: half of their distances.
        let distances = 2.0 * (3.0 / root - 1.0) + 2.0 * (1.0 - 1.0 / root);
        assert!((found.disagreement(&by_member) - distances / 8.0).abs() < 1e-12);
        let alone = Combined::of(&by_member[..1], Combine::Minimum);
        assert_eq!(alone.scores, double(&by_member[0]));
        assert_eq!(alone.normalisation, alone.joint.members[0]);
        assert!(alone.disagreement(&by_member[..1]).abs() < 1e-12);
    }

    proptest! {
        /// Where all members have one scale, the mean keeps differences of scores, and so do equal members otherwise.
        #[test]
        fn differences_keep_their_unit(
            scores in prop::collection::vec((-5.0..5.0_f64, -5.0..5.0_f64), 2..6),
            mean in -3.0..3.0_f64,
            std in 0.1..4.0_f64,
        ) {
            let members = vec![Normalisation { mean, std }; scores.len()];
            let (first, second): (Vec<f64>, Vec<f64>) = scores.iter().copied().unzip();
            let joint = Joint { members, combine: Combine::Mean };
            let expected = scores.iter().map(|(a, b)| a - b).sum::<f64>() / scores.len() as f64;
            prop_assert!((joint.score(&first) - joint.score(&second) - expected).abs() < 1e-9);
            for combine in [Combine::Minimum, Combine::MeanMinusStd(2.0)] {
                let joint = Joint { combine, ..joint.clone() };
                let alike = |score: f64| joint.score(&vec![score; scores.len()]);
                prop_assert!((alike(first[0]) - alike(second[0]) - first[0] + second[0]).abs() < 1e-9);
            }
        }

        #[test]
        fn agrees_with_ndarray_whatever_the_order_of_the_members(
            dialogues in prop::collection::vec(prop::array::uniform3(-5.0_f32..5.0), 2..20),
            factor in 0.0..2.0_f64,
        ) {
            let scores = Array2::from_shape_fn((3, dialogues.len()), |(member, dialogue)| {
                f64::from(dialogues[dialogue][member])
            });
            let (means, stds) = (scores.mean_axis(Axis(1)).unwrap(), scores.std_axis(Axis(1), 0.0));
            prop_assume!(stds.iter().all(|&std| std > 1e-3));
            let unit = stds.mean().unwrap();
            let rewards = (&scores - &means.insert_axis(Axis(1))) / &stds.insert_axis(Axis(1));
            let means = rewards.mean_axis(Axis(0)).unwrap();
            let stds = rewards.std_axis(Axis(0), 0.0);
            let least =
                rewards.fold_axis(Axis(0), f64::INFINITY, |least, &reward| least.min(reward));
            let by_member: Vec<Vec<f32>> = (0..3)
                .map(|member| dialogues.iter().map(|scores| scores[member]).collect())
                .collect();
            let turned: Vec<Vec<f32>> = by_member.iter().rev().cloned().collect();
            for (combine, expected) in [
                (Combine::Mean, means.clone()),
                (Combine::Minimum, least),
                (Combine::MeanMinusStd(factor), &means - &(&stds * factor)),
            ] {
                for members in [&by_member, &turned] {
                    let found = Combined::of(members, combine);
                    for (found, expected) in found.scores.iter().zip(&expected) {
                        prop_assert!((found - unit * expected).abs() < 1e-9);
                    }
                    let disagreement = found.disagreement(members);
                    prop_assert!((disagreement - stds.mean().unwrap()).abs() < 1e-9);
                }
            }
        }
    }
}
