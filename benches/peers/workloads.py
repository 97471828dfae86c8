"""What every arm runs: the same tokens, the same amounts of work, the same way of timing.

benches/throughput.rs and benches/training.rs are the arms in Rust and follow the same text.

Serving, and a bare training step:

- Token `i` of row `r` is `(i * 7919 + r * 104729) % 4095 + 1`.
- `prefill/1024` reads 1,024 tokens of row 0 into a cache and computes the logits of the last
  position; tok/s of tokens read.
- `decode/N` reads 32 tokens of each of the rows 0 to N - 1 and draws 128 greedy tokens more for
  each; nothing ends a row. tok/s of tokens drawn, the time of reading included.
- `train/RxT` makes one step of AdamW on R rows of T tokens, each position predicting the next; tok/s
  of tokens trained on, and memory.
- `choose/...` labels 16 prompts: each is tokens 0 to 999 of row 0 and then tokens 1,000 to 1,031 of
  row p + 1 for principle p. A label is the probabilities of tokens 1 and 2 after the prompt.
  `shared` reads the 1,000 tokens once for all sixteen, `each` reads every prompt whole in a pass of
  its own, and `batch`, of `transformers` alone, reads all sixteen whole in one pass. labels/s.
- Everything runs once to warm up and then again until 3 seconds and 3 runs have passed; the median
  run counts.
- Memory is the most that the process has held, and what it held when libraries were loaded and the
  model was not, so that the difference is what the work adds.

Training, on the rows of `write_rows`, which all arms read from the folder of the model:

- `sft` makes optimiser steps on 16 dialogues of 40 to 300 tokens each, in the order of the file;
  the tokens of the reply carry a loss, averaged over all of them in the step. Useful tok/s: all
  tokens but padding and the last of a dialogue, which is predicted and not read.
- `reward_model` makes optimiser steps on 16 pairs of dialogues with a common prompt. Useful tok/s:
  all tokens but padding.
- `sft/grouped` and `reward_model/grouped`: the dialogues of a step have similar lengths, so that
  little is padded, and the steps come in a shuffled order.
- `ppo` makes iterations of 64 replies of exactly 32 tokens to prompts of 24 to 32 tokens, drawn at
  temperature 1: log-probs of the policy and of a reference, values of a separate value model and
  the score of a reward model, all of one size, and then 4 epochs of one step on all 64 replies.
- `ppo/lora` learns adapters of rank 16 on all linear maps of the policy. `ppo/shared`, of this
  project alone, has a value head on the policy's trunk instead of a value model.
- AdamW has the learning rate `LEARNING_RATE`, in `ppo` `PPO_LEARNING_RATE`, without decay or
  warm-up.
- The first `WARM_UP_STEPS` steps, or the first iteration, are not timed; what comes after is, as a
  whole.
- `memory/...`, of this project alone, are not for comparison; see benches/flat_memory.rs.
"""

import json
import os
import random
import resource
import statistics
import time
from pathlib import Path

WORKLOADS = [
    "prefill/1024",
    "decode/1",
    "decode/16",
    "decode/64",
    "train/16x128",
    "train/64x128",
    "train/1x512",
    "train/1x1024",
    "train/1x2048",
    "train/4x2048",
    "choose/shared",
    "choose/each",
    "choose/batch",
]

DECODE_PROMPT, DECODE_NEW = 32, 128
PRINCIPLES, SHARED, OWN = 16, 1000, 32
OPTIONS = [1, 2]

LEAST_SECONDS, LEAST_RUNS = 3.0, 3

TRAINING_WORKLOADS = [
    "sft",
    "sft/grouped",
    "reward_model",
    "reward_model/grouped",
    "ppo",
    "ppo/shared",
    "ppo/lora",
]

# Parameters, and the width, the inner width, layers and heads that make them.
SHAPES = {
    "2M": (128, 344, 8, 4),
    "7M": (256, 688, 8, 8),
    "20M": (384, 1032, 10, 6),
}

ROWS, REWARD_MODEL = "rows", "reward_model"
ROWS_PER_STEP, MOST_STEPS, WARM_UP_STEPS = 16, 32, 2
DIALOGUE_TOKENS, SHARE_OF_PROMPT = (40, 300), (0.2, 0.6)
EPISODES, PPO_PROMPT, RESPONSE, PPO_EPOCHS = 64, (24, 32), 32, 4
LEARNING_RATE, PPO_LEARNING_RATE = 1e-4, 3e-6
LORA_RANK = 16


def name_of(workload, size):
    """Of a workload on the model of a size."""
    return f"{workload} {size}"


def token(index, row):
    return (index * 7919 + row * 104729) % 4095 + 1


def row_of_tokens(row, until, start=0):
    return [token(index, row) for index in range(start, until)]


def decode_prompts(rows):
    return [row_of_tokens(row, DECODE_PROMPT) for row in range(rows)]


def shared_prefix():
    return row_of_tokens(0, SHARED)


def own_suffixes():
    return [row_of_tokens(p + 1, SHARED + OWN, start=SHARED) for p in range(PRINCIPLES)]


def train_shape(size):
    """Rows, and the tokens of each."""
    rows, _, time = size.partition("x")
    return int(rows), int(time)


def unit_and_amount(workload):
    """What is counted, and how much of it one run does."""
    kind, _, size = workload.partition("/")
    if kind == "prefill":
        return "tok/s", int(size)
    if kind == "decode":
        return "tok/s", int(size) * DECODE_NEW
    if kind == "train":
        rows, time = train_shape(size)
        return "tok/s", rows * time
    return "labels/s", PRINCIPLES


def write_rows(folder):
    """Writes the tokens that all arms train on.

    `sft` holds prompt and reply of every dialogue, `reward_model` prompt, chosen and rejected reply
    of every pair, `ppo` prompts; the first 16 rows are those of the first step, and so on.
    """
    rng = random.Random(1)
    rows = MOST_STEPS * ROWS_PER_STEP
    dialogues = [ragged(rng, replies=1) for _ in range(rows)]
    pairs = [ragged(rng, replies=2) for _ in range(rows)]
    prompts = [random_tokens(rng, rng.randint(*PPO_PROMPT)) for _ in range(EPISODES)]
    written = {
        "sft": dialogues,
        "sft/grouped": grouped(rng, dialogues),
        "reward_model": pairs,
        "reward_model/grouped": grouped(rng, pairs),
        "ppo": prompts,
    }
    (folder / ROWS).mkdir(exist_ok=True)
    for workload, rows in written.items():
        rows_file(folder, workload).write_text(json.dumps(rows) + "\n")


def read_rows(folder, workload):
    return json.loads(rows_file(folder, workload).read_text())


def rows_file(folder, workload):
    rows = "ppo" if workload.startswith("ppo") else workload
    return folder / ROWS / f"{rows.replace('/', '_')}.json"


def ragged(rng, replies):
    """A prompt and replies to it, each of which makes a dialogue of 40 to 300 tokens with it."""
    shortest, longest = DIALOGUE_TOKENS
    prompt = round(rng.randint(shortest, longest) * rng.uniform(*SHARE_OF_PROMPT))
    lengths = [rng.randint(max(shortest, prompt + 1), longest) - prompt for _ in range(replies)]
    return [random_tokens(rng, length) for length in [prompt, *lengths]]


def random_tokens(rng, count):
    """Token 0 fills up rows and is never drawn."""
    return [rng.randint(1, 4095) for _ in range(count)]


def grouped(rng, rows):
    """Steps of rows of similar length."""
    rows = sorted(rows, key=lambda row: sum(map(len, row)))
    steps = [rows[start : start + ROWS_PER_STEP] for start in range(0, len(rows), ROWS_PER_STEP)]
    rng.shuffle(steps)
    return [row for step in steps for row in step]


def median_seconds(run):
    run()
    seconds = []
    while len(seconds) < LEAST_RUNS or sum(seconds) < LEAST_SECONDS:
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def report(workload, run, base_bytes):
    """Times `run` and prints the JSON object that run.py reads.

    `base_bytes` is what the process held before it had a model.
    """
    unit, amount = unit_and_amount(workload)
    measured = dict(
        workload=workload,
        per_second=amount / median_seconds(run),
        unit=unit,
        peak_bytes=peak_bytes(),
        base_bytes=base_bytes,
        device="cpu",
    )
    print(json.dumps(measured))


def peak_bytes():
    """The most memory that this process has held; Linux counts in kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident_bytes():
    """What it holds now, where the system says so."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
