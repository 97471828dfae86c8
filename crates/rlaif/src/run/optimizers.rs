//! The adapters and the groups of all optimisers, checked before the first stage.

use super::settings::in_table;
use super::{Error, RewardSource, Settings};
use burn::tensor::backend::AutodiffBackend;
use ppo::ValueStart;
use transformer::{Decoder, ScalarHead, ScalarModel, Transformer};

impl Settings {
    /// Checks that every adapter fits and every group of an optimiser has a parameter, as each stage does when it begins. `model`
    /// is the one that the run begins with; those that the stages make of it have the same shape.
    pub(super) fn check_optimizers<B: AutodiffBackend>(
        &self,
        model: &Transformer<B>,
    ) -> Result<(), Error> {
        in_table("sft", self.sft.check_optimizer(model.decoder.clone()))?;
        let second = &self.preference_model.training;
        in_table("preference_model", second.check_optimizer(model.clone()))?;
        if let Some(pretraining) = &self.preference_model.pretraining {
            let first = pretraining.config(second);
            in_table("preference_model.pretraining", first.check_optimizer(model.clone()))?;
        }
        let value = self.value_begins_as_preference_model().then(|| value_of_shape(&model.decoder));
        in_table("ppo", self.ppo.check_optimizers(&model.decoder, value.as_ref()))
    }

    /// True if a separate value model begins as the preference model.
    pub(super) fn value_begins_as_preference_model(&self) -> bool {
        self.ppo.has_separate_values() && self.reward != RewardSource::Direct
    }
}

/// A value model on a trunk of this shape.
fn value_of_shape<B: AutodiffBackend>(trunk: &Decoder<B>) -> ValueStart<B> {
    let head = ScalarHead::zeros(trunk.config().hidden_size, &trunk.device());
    ValueStart { model: ScalarModel::new(trunk.clone(), head), mean: 0.0, std: 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Autodiff;
    use burn_flex::{Flex, FlexDevice};

    fn check(text: &str) -> Result<(), Error> {
        let layer = ("my.toml".to_owned(), text.parse().unwrap());
        let settings = Settings::resolve(&[layer]).unwrap();
        settings
            .check_optimizers(&model_organism::assistant::<Autodiff<Flex>>(&FlexDevice).unwrap())
    }

    /// Settings with a group of a table.
    fn grouped(table: &str, name: &str, beside: &str) -> String {
        format!("{beside}\n{table}.groups = [{{ names = ['{name}'] }}]")
    }

    const FIRST_PASS: &str = "preference_model.pretraining.file = 'pairs.jsonl'";
    const OWN_VALUES: &str = "ppo.preset = 'verl'";

    #[test]
    fn a_group_without_a_parameter_is_named_with_its_stage() {
        for (table, name, beside, expected) in [
            ("sft.optimizer", "embeding", "", "[sft] `optimizer.groups`: "),
            // What an adapter leaves as it is does not learn.
            ("sft.optimizer", "embedding", "sft.lora.rank = 2", "[sft] `optimizer.groups`: "),
            ("preference_model.optimizer", "heeds", "", "[preference_model] `optimizer.groups`: "),
            (
                "preference_model.optimizer",
                "heads.1.",
                format!("preference_model.ensemble.heads = 2\n{FIRST_PASS}").as_str(),
                "[preference_model.pretraining] `optimizer.groups`: ",
            ),
            ("ppo.optimizer", "embeding", "", "[ppo] `optimizer.groups`: "),
            ("ppo.optimizer", "trunk", "", "[ppo] `optimizer.groups`: "),
            ("ppo.optimizer", "value_head", OWN_VALUES, "[ppo] `optimizer.groups`: "),
            ("ppo.value_optimizer", "critic", OWN_VALUES, "[ppo] `value_optimizer.groups`: "),
            (
                "ppo.best_of_n_start.sft.optimizer",
                "value_head",
                "",
                "[ppo] `best_of_n_start.sft.optimizer.groups`: ",
            ),
        ] {
            let message = check(&grouped(table, name, beside)).unwrap_err().to_string();
            let names = format!("the group with `names` = [{name:?}]");
            assert!(message.starts_with(expected) && message.contains(&names), "{message}");
        }
    }

    #[test]
    fn a_setting_of_an_adapter_is_named_with_its_stage() {
        for table in ["sft", "preference_model", "ppo"] {
            let message = check(&format!("{table}.lora.rank = 0")).unwrap_err().to_string();
            let expected = format!("[{table}] `lora.rank` is 0, expected ");
            assert!(message.starts_with(&expected), "{message}");
        }
    }

    #[test]
    fn a_group_may_name_what_a_stage_adds() {
        for (table, name, beside) in [
            ("sft.optimizer", "adapter", "sft.lora.rank = 2"),
            ("preference_model.optimizer", "heads.1.", "preference_model.ensemble.heads = 2"),
            ("preference_model.optimizer", "heads.0.", FIRST_PASS),
            ("ppo.optimizer", "critic.value_head", ""),
            ("ppo.optimizer", "trunk.layers.0.", "ppo.value_model = 'separate'"),
            ("ppo.value_optimizer", "value_head", OWN_VALUES),
            ("ppo.value_optimizer", "trunk", format!("{OWN_VALUES}\nreward = 'direct'").as_str()),
        ] {
            check(&grouped(table, name, beside)).unwrap();
        }
    }
}
