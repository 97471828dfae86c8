//! The policy and its reference before the first round.

use crate::best_of_n::learn_the_best;
use crate::run::STAGE;
use crate::states::States;
use crate::{BestOfN, Error, Inputs, PpoConfig};
use burn::module::AutodiffModule;
use burn::tensor::backend::AutodiffBackend;
use language_model::item_seed;
use training::{Checkpoint, Observe, State};
use transformer::{Decoder, Precision, Weights};

/// The file of a state that holds the reference, if it is not the policy as it came in.
pub(crate) const REFERENCE: &str = "reference.safetensors";

/// What the rounds begin with.
pub(crate) struct Start<B: AutodiffBackend> {
    pub(crate) policy: Decoder<B>,
    pub(crate) reference: Decoder<B::InnerBackend>,
}

/// Fine-tunes on the best of several replies, if asked, takes the reference, and adds an adapter, if asked.
///
/// What was drawn or learned before a crash is taken from the state that was kept.
pub(crate) fn begin<B: AutodiffBackend>(
    config: &PpoConfig,
    inputs: &Inputs<'_, B>,
    seed: u64,
    observe: &mut dyn Observe,
    states: &mut States<'_>,
) -> Result<Start<B>, Error> {
    let policy = match &config.best_of_n_start {
        None => inputs.policy.decoder.clone(),
        Some(best) => taught(config, best, inputs, seed, observe, states)?,
    };
    let reference = policy.valid();
    Ok(Start { policy: with_adapter(config, policy, seed)?, reference })
}

/// The policy with the adapter that the settings ask for.
pub(crate) fn with_adapter<B: AutodiffBackend>(
    config: &PpoConfig,
    policy: Decoder<B>,
    seed: u64,
) -> Result<Decoder<B>, Error> {
    match &config.lora {
        None => Ok(policy),
        Some(lora) => Ok(policy.with_adapter(lora, item_seed(seed, &[STAGE, "adapter"]))?),
    }
}

/// The policy after the fine-tuning; it is kept before any round is recorded.
fn taught<B: AutodiffBackend>(
    config: &PpoConfig,
    best: &BestOfN,
    inputs: &Inputs<'_, B>,
    seed: u64,
    observe: &mut dyn Observe,
    states: &mut States<'_>,
) -> Result<Decoder<B>, Error> {
    if let Some(state) = states.found().filter(|state| holds_reference(state)) {
        let given = &inputs.policy.decoder;
        let mut weights = Weights::from_bytes(state.take(REFERENCE)?, REFERENCE)?;
        return Ok(Decoder::from_weights(given.config(), &mut weights, &given.device())?);
    }
    let policy = learn_the_best(config, best, inputs, seed, observe, states)?;
    if states.keeps() {
        let bytes = policy.valid().weights().to_bytes(Precision::F32)?;
        let files = vec![(REFERENCE.to_owned(), bytes)];
        states.save_beginning(State { files, ..State::default() })?;
    }
    Ok(policy)
}

/// Whether all that comes before the first round is done.
fn holds_reference(state: &State) -> bool {
    state.files.iter().any(|(name, _)| name == REFERENCE)
}
