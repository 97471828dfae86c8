"""Trains one workload with TRL on the CPU and prints its figures; run.py calls it.

    python trl_arm.py --model FOLDER --only WORKLOAD [--steps 8] [--iterations 2] [--threads 2]

The trainers are TRL's own and run in float32 with what is fastest on a processor: no gradient
checkpointing and --micro-rows rows at once, of PPO all 64. --as-shipped leaves TRL's settings as they come.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
import transformers
from datasets import Dataset
from torch.utils.data import SequentialSampler
from transformers import (
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    TrainerCallback,
)
from trl import RewardConfig, RewardTrainer, SFTConfig, SFTTrainer
from trl.experimental.ppo import PPOConfig, PPOTrainer

import arms
import workloads

# Loaded now, so that their memory is not taken for that of the work.
try:
    import peft
except ImportError:
    peft = None


def main():
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore")
    base_bytes = workloads.resident_bytes()
    kind = arguments.only.partition("/")[0]
    run = dict(sft=sft, reward_model=reward_model, ppo=ppo)[kind]
    # The trainers print; the only thing on this program's output is its report.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        measured = run(arguments, folder)
    report = dict(
        workload=arguments.only,
        **measured,
        peak_bytes=workloads.peak_bytes(),
        base_bytes=base_bytes,
        device="cpu",
    )
    print(json.dumps(report))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--only", required=True, choices=arms.workloads_of(arms.TRL))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8, help="optimiser steps that are timed")
    parser.add_argument("--iterations", type=int, default=2, help="PPO iterations that are timed")
    most_at_once = "rows or pairs at once [default: 8, in PPO all]"
    parser.add_argument("--micro-rows", type=int, help=most_at_once)
    parser.add_argument("--as-shipped", action="store_true", help="TRL's settings as they come")
    arguments = parser.parse_args()
    most = workloads.MOST_STEPS - workloads.WARM_UP_STEPS
    if not 1 <= arguments.steps <= most:
        parser.error(f"--steps must be from 1 to {most}")
    return arguments


def sft(arguments, folder):
    """Rows are padded: the trainer packs them with the attention of graphics cards alone."""
    rows = first_rows(arguments)
    dataset = Dataset.from_dict(
        {
            "input_ids": [prompt + reply for prompt, reply in rows],
            "completion_mask": [[0] * len(prompt) + [1] * len(reply) for prompt, reply in rows],
        }
    )
    trainer = timed(SFTTrainer)(
        model=causal_model(arguments.model),
        args=SFTConfig(
            **step_settings(arguments, folder), completion_only_loss=True, max_length=None
        ),
        train_dataset=dataset,
        processing_class=tokenizer(arguments.model),
    )
    # The last token of a row is predicted and not read.
    return steps(trainer, tokens_not_read=workloads.ROWS_PER_STEP)


def reward_model(arguments, folder):
    rows = first_rows(arguments)
    dataset = Dataset.from_dict(
        {
            "chosen_ids": [prompt + chosen for prompt, chosen, _ in rows],
            "rejected_ids": [prompt + rejected for prompt, _, rejected in rows],
        }
    )
    trainer = timed(RewardTrainer)(
        model=scalar_model(arguments.model),
        args=RewardConfig(**step_settings(arguments, folder), max_length=None),
        train_dataset=dataset,
        processing_class=tokenizer(arguments.model),
    )
    return steps(trainer)


def ppo(arguments, folder):
    model = causal_model(arguments.model)
    parameters = model.num_parameters()
    adapter, reference = None, None
    if arguments.only == "ppo/lora":
        adapter = lora()
    else:
        reference = causal_model(arguments.model)
    clock = Clock()
    trainer = PPOTrainer(
        args=PPOConfig(
            **settings(arguments, folder, workloads.EPISODES),
            learning_rate=workloads.PPO_LEARNING_RATE,
            total_episodes=(1 + arguments.iterations) * workloads.EPISODES,
            num_ppo_epochs=workloads.PPO_EPOCHS,
            num_mini_batches=1,
            response_length=workloads.RESPONSE,
            # As this project draws.
            temperature=1.0,
            num_sample_generations=0,
        ),
        processing_class=tokenizer(arguments.model),
        model=model,
        ref_model=reference,
        reward_model=scalar_model(arguments.model),
        value_model=scalar_model(arguments.model),
        train_dataset=Dataset.from_dict(
            {"input_ids": workloads.read_rows(arguments.model, arguments.only)}
        ),
        # It makes a loader of these, which is never asked for anything.
        eval_dataset=Dataset.from_dict({"input_ids": []}),
        callbacks=[clock],
        peft_config=adapter,
    )
    trainer.train()
    seconds = (clock.ends[-1] - clock.ends[0]) / arguments.iterations
    logged = trainer.state.log_history[-1]
    return dict(
        per_second=1 / seconds,
        unit="iterations/s",
        seconds=seconds,
        steps=arguments.iterations,
        parameters=parameters,
        # The policy's is 0 but for rounding at the first step of each iteration.
        loss=logged["loss/value_avg"],
    )


def first_rows(arguments):
    count = (workloads.WARM_UP_STEPS + arguments.steps) * workloads.ROWS_PER_STEP
    return workloads.read_rows(arguments.model, arguments.only)[:count]


def step_settings(arguments, folder):
    return dict(
        **settings(arguments, folder, workloads.ROWS_PER_STEP),
        learning_rate=workloads.LEARNING_RATE,
        max_steps=workloads.WARM_UP_STEPS + arguments.steps,
    )


def settings(arguments, folder, rows):
    """What all trainers share: float32 on the processor, and nothing but training."""
    default = rows if arguments.only.startswith("ppo") else 8
    micro_rows = min(arguments.micro_rows or default, rows)
    chosen = {}
    if not arguments.as_shipped:
        chosen = dict(gradient_checkpointing=False)
    return dict(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        per_device_train_batch_size=micro_rows,
        gradient_accumulation_steps=rows // micro_rows,
        lr_scheduler_type="constant",
        dataloader_num_workers=0,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **chosen,
    )


def timed(trainer):
    """A trainer that reads its rows in their order and keeps when each step ended and its loss."""

    class Timed(trainer):
        def __init__(self, **arguments):
            self.clock = Clock()
            self.loss = 0.0
            super().__init__(**arguments, callbacks=[self.clock])
            self.clock.look = self.look

        def _get_train_sampler(self, *_):
            return SequentialSampler(self.train_dataset)

        def training_step(self, *arguments, **more):
            loss = super().training_step(*arguments, **more)
            self.loss = self.loss + loss
            return loss

        def look(self):
            seen = (self._total_train_tokens, float(self.loss))
            self.loss = 0.0
            return seen

    return Timed


class Clock(TrainerCallback):
    """When every step or iteration ended, and what there was to see then."""

    def __init__(self):
        self.ends, self.seen = [], []
        self.look = lambda: None

    def on_step_end(self, *_, **__):
        self.seen.append(self.look())
        self.ends.append(time.perf_counter())


def steps(trainer, tokens_not_read=0):
    trainer.train()
    ends, seen = trainer.clock.ends, trainer.clock.seen
    warm = workloads.WARM_UP_STEPS - 1
    count_of_steps = len(ends) - workloads.WARM_UP_STEPS
    tokens = seen[-1][0] - seen[warm][0] - count_of_steps * tokens_not_read
    seconds = ends[-1] - ends[warm]
    return dict(
        per_second=tokens / seconds,
        unit="tok/s",
        seconds=seconds / count_of_steps,
        steps=count_of_steps,
        parameters=trainer.model.num_parameters(),
        loss=seen[-1][1],
    )


def causal_model(folder):
    """By its own class, whose code is loaded before the memory of the work is counted."""
    return LlamaForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="sdpa"
    )


def scalar_model(folder):
    return LlamaForSequenceClassification.from_pretrained(
        folder / workloads.REWARD_MODEL, dtype=torch.float32, attn_implementation="sdpa"
    )


def tokenizer(folder):
    """Rows are filled up with token 0. TRL asks for an end of text, which ends nothing here."""
    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        pad_token="0",
        eos_token="1",
        padding_side="left",
    )


def lora():
    if peft is None:
        sys.exit("ppo/lora needs peft")
    return peft.LoraConfig(
        r=workloads.LORA_RANK,
        lora_alpha=2 * workloads.LORA_RANK,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


if __name__ == "__main__":
    main()
