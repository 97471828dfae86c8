"""Runs one workload with llama.cpp on the CPU and prints its figure; run.py calls it.

    python llama_cpp_arm.py --model FOLDER --only WORKLOAD [--threads 2]

Reads model.gguf in FOLDER through the C interface, many sequences in a batch. Settings are
llama.cpp's defaults (its cache holds 16-bit numbers). It does not train.
"""

import argparse
import ctypes
from pathlib import Path

import llama_cpp as llama
import numpy as np

import arms
import workloads

# The most tokens that one call takes; no workload hands over more.
BATCH = 2048


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--only", required=True, choices=arms.workloads_of(arms.LLAMA_CPP))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    kind, _, size = arguments.only.partition("/")
    make = {"prefill": prefill, "decode": decode, "choose": choose}[kind]
    base_bytes = workloads.resident_bytes()
    run = make(arguments.model / "model.gguf", size, arguments.threads)
    workloads.report(arguments.only, run, base_bytes)


def prefill(file, size, threads):
    context = Context(file, 1, int(size), threads)
    tokens = workloads.row_of_tokens(0, int(size))

    def run():
        context.clear()
        return context.read([(0, 0, tokens)])

    return run


def decode(file, size, threads):
    prompts = workloads.decode_prompts(int(size))
    # The last token is drawn and not read.
    time = workloads.DECODE_PROMPT + workloads.DECODE_NEW
    context = Context(file, len(prompts), len(prompts) * time, threads)

    def run():
        context.clear()
        logits = context.read([(row, 0, prompt) for row, prompt in enumerate(prompts)])
        drawn = [logits.argmax(1)]
        for position in range(workloads.DECODE_PROMPT, time - 1):
            logits = context.read([(row, position, [new]) for row, new in enumerate(drawn[-1])])
            drawn.append(logits.argmax(1))
        return np.stack(drawn, 1)

    return run


def choose(file, size, threads):
    prefix, suffixes = workloads.shared_prefix(), workloads.own_suffixes()
    # One cache for all sequences, so that the prefix lies in it once.
    context = Context(file, len(suffixes), BATCH, threads, shared=True)

    def shared():
        context.clear()
        context.read([(0, 0, prefix)])
        for row in range(1, len(suffixes)):
            context.copy(0, row)
        return options(context.read([(row, len(prefix), own) for row, own in enumerate(suffixes)]))

    def each():
        rows = []
        for own in suffixes:
            context.clear()
            rows.append(options(context.read([(0, 0, prefix + own)])))
        return np.concatenate(rows)

    return dict(each=each, shared=shared)[size]


def options(logits):
    """[rows, 2] probabilities of the two options, which add up to 1."""
    chosen = np.exp(logits[:, workloads.OPTIONS])
    return chosen / chosen.sum(1, keepdims=True)


class Context:
    """A model with a cache of `tokens` positions for `rows` sequences together."""

    def __init__(self, file, rows, tokens, threads, shared=False):
        # Kept, for llama.cpp calls it as long as it runs; its lines would stand among the figures.
        self.silent = llama.llama_log_callback(lambda level, text, data: None)
        llama.llama_log_set(self.silent, ctypes.c_void_p(0))
        llama.llama_backend_init()
        model_settings = llama.llama_model_default_params()
        self.model = llama.llama_model_load_from_file(str(file).encode(), model_settings)
        if not self.model:
            raise SystemExit(f"llama.cpp cannot read {file}")
        settings = llama.llama_context_default_params()
        settings.n_ctx = tokens
        settings.n_batch = BATCH
        settings.n_seq_max = rows
        settings.n_threads = settings.n_threads_batch = threads
        settings.kv_unified = shared
        self.context = llama.llama_init_from_model(self.model, settings)
        if not self.context:
            raise SystemExit(f"llama.cpp makes no context of {tokens} tokens and {rows} rows")
        self.memory = llama.llama_get_memory(self.context)
        self.vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self.model))
        self.batch = llama.llama_batch_init(BATCH, 0, 1)

    def clear(self):
        llama.llama_memory_clear(self.memory, False)

    def copy(self, source, target):
        llama.llama_memory_seq_cp(self.memory, source, target, -1, -1)

    def read(self, parts):
        """Logits [parts, vocabulary] after each part: a row, its first position, its tokens."""
        batch = self.batch
        count = 0
        for row, start, tokens in parts:
            for position, token in enumerate(tokens, start):
                batch.token[count] = token
                batch.pos[count] = position
                batch.n_seq_id[count] = 1
                batch.seq_id[count][0] = row
                batch.logits[count] = 0
                count += 1
            batch.logits[count - 1] = 1
        batch.n_tokens = count
        if failure := llama.llama_decode(self.context, batch):
            raise SystemExit(f"llama_decode returned {failure}")
        # Rows come in the order of the batch, whichever way it was split.
        logits = llama.llama_get_logits(self.context)
        return np.ctypeslib.as_array(logits, (len(parts), self.vocabulary))


if __name__ == "__main__":
    main()
