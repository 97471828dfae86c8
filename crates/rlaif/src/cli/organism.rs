//! `rlaif organism`: train or measure the embedded model.

use super::device::Task;
use super::download::fetch;
use super::{DeviceArgs, Failure, say};
use burn::tensor::backend::AutodiffBackend;
use clap::{Args, Subcommand};
use rlaif::model_organism::{Gates, PretrainConfig, Record, assistant};
use rlaif::training::Progress;
use rlaif::transformer::Transformer;
use std::path::PathBuf;
use std::time::Instant;

/// `rlaif organism`.
#[derive(Debug, Clone, Args)]
pub(super) struct OrganismArgs {
    #[command(subcommand)]
    command: OrganismCommand,
    #[command(flatten)]
    device: DeviceArgs,
}

#[derive(Debug, Clone, Subcommand)]
enum OrganismCommand {
    /// Train the embedded model from scratch, write its folder and measure it against its gates.
    #[command(after_help = "Example:\n  rlaif organism pretrain --out models/organism")]
    Pretrain {
        /// Folder to write.
        #[arg(long, default_value = "models/organism")]
        out: PathBuf,
        /// Seed of the corpus, the weights and the tokenizer.
        #[arg(long, default_value_t = PretrainConfig::default().seed)]
        seed: u64,
        /// Optimiser steps.
        #[arg(long, default_value_t = PretrainConfig::default().steps)]
        steps: u64,
    },
    /// Measure a model against the gates of the shipped one, on held-out requests.
    #[command(after_help = "Example:\n  rlaif organism gates --cases 600")]
    Gates {
        /// Folder of the model, or its name on the hub, OWNER/NAME [default: the embedded one].
        #[arg(long)]
        model: Option<PathBuf>,
        /// Cases behind each figure.
        #[arg(long, default_value_t = 300)]
        cases: usize,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Seed of the cases.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

/// Trains or measures the embedded model.
pub(super) fn organism(args: OrganismArgs) -> Result<(), Failure> {
    args.device.device.run(args.command)
}

impl Task for OrganismCommand {
    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Result<(), Failure> {
        match self {
            Self::Pretrain { out, seed, steps } => {
                let start = Instant::now();
                let config = PretrainConfig { seed, steps, ..PretrainConfig::default() };
                let (files, tokens) = config.run::<B>(device, &mut Progress::new())?;
                let seconds = start.elapsed().as_secs_f64();
                let model = Transformer::<B::InnerBackend>::from_files(&files, device)?;
                let gates = Gates::measure(&model, 300, 1)?;
                say(&format!("{gates}\n"))?;
                let failures = gates.failures();
                Record { config, tokens, seconds, gates }.write(&out, &files)?;
                say(&format!("written to {}\n", out.display()))?;
                if failures.is_empty() {
                    return say("passes every gate\n");
                }
                Err(format!("fails its gates: {}", failures.join("; ")).into())
            }
            Self::Gates { model, cases, json, seed } => {
                let model = match model {
                    Some(model) => {
                        Transformer::<B::InnerBackend>::from_folder(fetch(&model)?, device)?
                    }
                    None => assistant(device)?,
                };
                let gates = Gates::measure(&model, cases.max(2), seed)?;
                if json {
                    say(&format!("{}\n", serde_json::to_string_pretty(&gates)?))?;
                } else {
                    say(&format!("{gates}\n"))?;
                }
                match gates.failures() {
                    failures if failures.is_empty() => Ok(()),
                    failures => Err(format!("fails its gates: {}", failures.join("; ")).into()),
                }
            }
        }
    }
}
