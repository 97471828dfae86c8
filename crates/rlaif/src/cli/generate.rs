//! `rlaif generate`: one continuation or one reply.

use super::device::Task;
use super::download::fetch;
use super::{DeviceArgs, Failure, say};
use burn::tensor::backend::{AutodiffBackend, Backend};
use clap::{Args, ValueEnum};
use rlaif::dialogue::Dialogue;
use rlaif::language_model::{Prompt, Sampling};
use rlaif::run::{Checkpoint, load_helpful_only, load_policy};
use rlaif::transformer::{Engine, Precision, Transformer};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Which model to load.
#[derive(Debug, Clone, Args)]
pub(super) struct ModelArgs {
    /// Hugging Face folder of a model, or its name on the hub, OWNER/NAME [default: the embedded model].
    #[arg(long, conflicts_with = "run")]
    model: Option<PathBuf>,
    /// Folder of a run, such as runs/embedded.
    #[arg(long)]
    run: Option<PathBuf>,
    /// Which model of the run.
    #[arg(long, value_enum, default_value = "rl-cai", requires = "run")]
    stage: StageArg,
    /// Folder of an adapter in PEFT's format, put on the model.
    #[arg(long, value_name = "FOLDER")]
    adapter: Option<PathBuf>,
    /// Type of the numbers; `auto` takes 16 bits on graphics cards that compute with them, and 32 on the processor.
    #[arg(long, value_enum, default_value = "auto")]
    dtype: DtypeArg,
    /// Most bytes for the keys and values of tokens already seen.
    #[arg(long, value_name = "BYTES", default_value_t = Engine::default().cache_bytes)]
    cache_bytes: usize,
}

/// A type of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DtypeArg {
    /// What suits the device.
    Auto,
    /// 32 bits.
    F32,
    /// 16 bits, 11 of them significant.
    F16,
    /// 16 bits, 8 of them significant, with the range of 32 bits.
    Bf16,
}

/// A model of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StageArg {
    /// The model that the run began with.
    HelpfulOnly,
    /// Fine-tuned on revisions.
    SlCai,
    /// Trained against the preference model.
    RlCai,
}

impl ModelArgs {
    /// Loads the model.
    pub(super) fn load<B: Backend>(&self, device: &B::Device) -> Result<Transformer<B>, Failure> {
        let mut model = self.load_as_saved(device)?;
        if let Some(adapter) = &self.adapter {
            model.decoder = model.decoder.with_adapter_from(adapter)?;
        }
        let precision = match self.dtype {
            DtypeArg::Auto => Precision::for_answers::<B>(device),
            DtypeArg::F32 => Precision::F32,
            DtypeArg::F16 => Precision::F16,
            DtypeArg::Bf16 => Precision::Bf16,
        };
        if precision != Precision::F32 {
            model.decoder = model.decoder.with_precision(precision)?;
        }
        model.engine.cache_bytes = self.cache_bytes;
        Ok(model)
    }

    fn load_as_saved<B: Backend>(&self, device: &B::Device) -> Result<Transformer<B>, Failure> {
        let checkpoint = match self.stage {
            StageArg::HelpfulOnly => Checkpoint::HelpfulOnly,
            StageArg::SlCai => Checkpoint::SlCai,
            StageArg::RlCai => Checkpoint::RlCai,
        };
        if let Some(folder) = &self.run {
            return Ok(load_policy(folder, checkpoint, device)?);
        }
        let model = self.model.as_deref().map(fetch).transpose()?;
        Ok(load_helpful_only(model.as_deref(), device)?)
    }
}

/// How to draw.
#[derive(Debug, Clone, Args)]
pub(super) struct SamplingArgs {
    /// Divides the logits; 0 takes the most likely token.
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    temperature: f32,
    /// Keep the K most likely tokens.
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Keep the smallest set of tokens with at least this probability.
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    top_p: Option<f32>,
    /// Keep tokens with at least this share of the probability of the most likely one.
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    min_p: Option<f32>,
    /// Make tokens of the text so far less likely, if above 1.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    repetition_penalty: Option<f32>,
    /// Longest reply, in tokens.
    #[arg(long, default_value_t = 128)]
    max_tokens: usize,
    /// Text that ends the reply; may be repeated.
    #[arg(long)]
    stop: Vec<String>,
    /// Number of a token that ends the reply, besides the model's own; may be repeated.
    #[arg(long = "stop-token", value_name = "TOKEN")]
    stop_tokens: Vec<u32>,
    /// Seed of the random stream.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
}

impl SamplingArgs {
    /// The settings they stand for.
    pub(super) fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            max_tokens: self.max_tokens,
            stop: self.stop.clone(),
            stop_tokens: self.stop_tokens.clone(),
        }
    }
}

/// `rlaif generate`.
#[derive(Debug, Clone, Args)]
pub(super) struct GenerateArgs {
    /// What to continue or to answer.
    text: String,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Continue the text as it is, without the chat template.
    #[arg(long)]
    raw: bool,
    /// Print each token with its log-probability.
    #[arg(long)]
    log_probs: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Prints a continuation of a text or a reply to a message.
pub(super) fn generate(args: GenerateArgs) -> Result<(), Failure> {
    args.device.device.run(args)
}

impl Task for GenerateArgs {
    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Result<(), Failure> {
        let model: Transformer<B::InnerBackend> = self.model.load(device)?;
        let (sampling, seed) = (self.sampling.sampling(), self.sampling.seed);
        let reply = if self.raw {
            model.continue_text(&self.text, &sampling, seed)?
        } else {
            let prompt = Prompt { dialogue: Dialogue::from_user(&self.text), seed };
            match model.draw(&[prompt], &sampling)?.pop() {
                Some(reply) => reply,
                None => return Ok(()),
            }
        };
        if !self.log_probs {
            return say(&format!("{}\n", reply.completion.text));
        }
        let mut lines = String::new();
        for sampled in &reply.drawn {
            let text = model.codec.tokenizer().decode_with_special_tokens(&[sampled.token]);
            // Writing to a string cannot fail.
            let _ = writeln!(lines, "{:>10.4}  {text:?}", sampled.untruncated_log_prob);
        }
        say(&lines)
    }
}
