"""Runs one workload with `transformers` on the CPU and prints its figure; run.py calls it.

    python transformers_arm.py --model FOLDER --only WORKLOAD [--threads 2]
"""

import argparse

import torch
from transformers import GenerationConfig, LlamaForCausalLM
from transformers.cache_utils import DynamicCache

import arms
import workloads


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--only", required=True, choices=arms.workloads_of(arms.TRANSFORMERS))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    base_bytes = workloads.resident_bytes()
    # By its own class, whose code has been loaded with the libraries.
    model = LlamaForCausalLM.from_pretrained(
        arguments.model, dtype=torch.float32, attn_implementation="sdpa"
    )
    workloads.report(arguments.only, prepare(model, arguments.only), base_bytes)


def prepare(model, workload):
    """What one run of the workload is; tokens are laid out beforehand."""
    kind, _, size = workload.partition("/")
    if kind == "train":
        return training_step(model, *workloads.train_shape(size))
    run = {"prefill": prefill, "decode": decode, "choose": choose}[kind](model.eval(), size)
    return torch.inference_mode()(run)


def prefill(model, size):
    tokens = torch.tensor([workloads.row_of_tokens(0, int(size))])
    return lambda: model(tokens, use_cache=True, logits_to_keep=1).logits


def decode(model, size):
    tokens = torch.tensor(workloads.decode_prompts(int(size)))
    settings = GenerationConfig(
        do_sample=False,
        min_new_tokens=workloads.DECODE_NEW,
        max_new_tokens=workloads.DECODE_NEW,
        pad_token_id=0,
    )
    mask = torch.ones_like(tokens)

    def run():
        drawn = model.generate(tokens, attention_mask=mask, generation_config=settings)
        assert drawn.shape[1] == workloads.DECODE_PROMPT + workloads.DECODE_NEW

    return run


def training_step(model, rows, time):
    tokens = torch.tensor([workloads.row_of_tokens(row, time) for row in range(rows)])
    model.train()
    # The Trainer's own choice.
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def run():
        model(tokens, labels=tokens, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def choose(model, size):
    """`shared` repeats the prefix's cache for all suffixes; `each` and `batch` have no cache."""
    prefix = torch.tensor([workloads.shared_prefix()])
    suffixes = torch.tensor(workloads.own_suffixes())
    prompts = torch.cat([prefix.expand(len(suffixes), -1), suffixes], 1)

    def batch():
        return options(model(prompts, use_cache=False, logits_to_keep=1).logits)

    def each():
        passes = [model(one, use_cache=False, logits_to_keep=1).logits for one in prompts.split(1)]
        return options(torch.cat(passes))

    def shared():
        cache = DynamicCache(config=model.config)
        model(prefix, past_key_values=cache, logits_to_keep=1)
        cache.batch_repeat_interleave(len(suffixes))
        return options(model(suffixes, past_key_values=cache, logits_to_keep=1).logits)

    return dict(batch=batch, each=each, shared=shared)[size]


def options(logits):
    """[16, 2] probabilities of the two options, which add up to 1."""
    return logits[:, -1, workloads.OPTIONS].softmax(-1)


if __name__ == "__main__":
    main()
