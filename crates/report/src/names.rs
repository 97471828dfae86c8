//! What the names in a run's files are called on the page.

/// The name of the model that every other is compared with.
pub(crate) const BASELINE: &str = "helpful_only";

/// A measure known by name.
pub(crate) struct KnownMeasure {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) meaning: &'static str,
    pub(crate) more_is_better: bool,
}

/// The known measures, in the order in which they are shown.
pub(crate) const MEASURES: [KnownMeasure; 6] = [
    KnownMeasure {
        name: "harmless",
        title: "Harmless",
        meaning: "replies to red-team prompts that give no help with harm",
        more_is_better: true,
    },
    KnownMeasure {
        name: "helpful",
        title: "Helpful",
        meaning: "replies to benign prompts that give the help asked for",
        more_is_better: true,
    },
    KnownMeasure {
        name: "evasive",
        title: "Evasive",
        meaning: "replies to red-team prompts that dodge, with neither reason nor alternative",
        more_is_better: false,
    },
    KnownMeasure {
        name: "over_refusal",
        title: "Over-refusal",
        meaning: "benign prompts refused",
        more_is_better: false,
    },
    KnownMeasure {
        name: "exact",
        title: "Exact",
        meaning: "replies that are right in every detail of the request",
        more_is_better: true,
    },
    KnownMeasure {
        name: "unparsed",
        title: "Unparsed",
        meaning: "replies of no known kind",
        more_is_better: false,
    },
];

/// The measure of that name, if the page knows it.
pub(crate) fn measure(name: &str) -> Option<&'static KnownMeasure> {
    MEASURES.iter().find(|known| known.name == name)
}

/// What a measure is called in tables and plots.
pub fn measure_title(name: &str) -> String {
    let others = [("self_bleu", "Self-BLEU")];
    measure(name).map_or_else(|| known(&others, name), |known| known.title.to_owned())
}

/// The models known by name, in the order in which they are made.
const MODELS: [(&str, &str); 3] =
    [(BASELINE, "Helpful-only"), ("sl_cai", "SL-CAI"), ("rl_cai", "RL-CAI")];

/// What a model is called.
pub(crate) fn model(name: &str) -> String {
    known(&MODELS, name)
}

/// Sorts models: the known ones first, in the order in which they are made.
pub(crate) fn model_order(name: &str) -> usize {
    MODELS.iter().position(|&(known, _)| known == name).unwrap_or(MODELS.len())
}

/// What a stage is called.
pub(crate) fn stage(name: &str) -> String {
    let stages = [
        ("red_team", "Red-team prompts"),
        ("critique_revision", "Critiques and revisions"),
        ("sft", "Supervised fine-tuning"),
        ("ai_feedback", "AI feedback"),
        ("preference_model", "Preference model"),
        ("ppo", "PPO"),
        ("evals", "Evaluation"),
    ];
    known(&stages, name)
}

/// What a number in `metrics.jsonl` is called, with its unit.
pub(crate) fn metric(name: &str) -> String {
    let metrics = [
        ("loss", "Loss (nats)"),
        ("accuracy", "Accuracy (share of pairs)"),
        ("score", "Score by the preference model"),
        ("harmless", "Harmless (share of replies)"),
        ("helpful", "Helpful (share of replies)"),
        ("kl_per_sequence", "KL from the start (nats a reply)"),
        ("kl", "KL from the start (nats)"),
        ("entropy", "Entropy (nats a token)"),
        ("clip_fraction", "Clipped share of tokens"),
    ];
    known(&metrics, name)
}

fn known(names: &[(&str, &str)], name: &str) -> String {
    let title = names.iter().find(|&&(known, _)| known == name).map(|&(_, title)| title.to_owned());
    title.unwrap_or_else(|| plain(name))
}

/// An unknown name in words: `judge_win_rate` becomes "Judge win rate".
pub(crate) fn plain(name: &str) -> String {
    let words = name.replace(['_', '/'], " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_put_in_words() {
        assert_eq!(model("sl_cai"), "SL-CAI");
        assert_eq!(model("hh_rlhf"), "Hh rlhf");
        assert_eq!(metric("explained_variance"), "Explained variance");
        assert_eq!(plain(""), "");
        let titles = ["over_refusal", "self_bleu", "label_accuracy"].map(measure_title);
        assert_eq!(titles, ["Over-refusal", "Self-BLEU", "Label accuracy"]);
    }
}
