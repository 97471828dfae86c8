"""What every arm runs: the same tokens, the same amounts of work, the same way of timing.

benches/throughput.rs is the arm in Rust and follows the same text.

- Token `i` of row `r` is `(i * 7919 + r * 104729) % 4095 + 1`.
- `prefill/1024` reads 1,024 tokens of row 0 into a cache and computes the logits of the last
  position; tok/s of tokens read.
- `decode/N` reads 32 tokens of each of the rows 0 to N - 1 and draws 128 greedy tokens more for
  each; nothing ends a row. tok/s of tokens drawn, the time of reading included.
- `train` makes one step of AdamW on 16 rows of 128 tokens, each position predicting the next; tok/s
  of tokens trained on.
- `choose/shared` and `choose/alone` label 16 prompts: each is tokens 0 to 999 of row 0 and then
  tokens 1,000 to 1,031 of row p + 1 for principle p. A label is the probabilities of tokens 1 and 2
  after the prompt. `shared` reads the 1,000 tokens once for all sixteen, `alone` reads each prompt
  whole. labels/s.
- Everything runs once to warm up and then again until 3 seconds and 3 runs have passed; the median
  run counts.
"""

import json
import resource
import statistics
import time

WORKLOADS = [
    "prefill/1024",
    "decode/1",
    "decode/16",
    "decode/64",
    "train",
    "choose/shared",
    "choose/alone",
]

DECODE_PROMPT, DECODE_NEW = 32, 128
TRAIN_ROWS, TRAIN_TIME = 16, 128
PRINCIPLES, SHARED, OWN = 16, 1000, 32
OPTIONS = [1, 2]

LEAST_SECONDS, LEAST_RUNS = 3.0, 3


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


def unit_and_amount(workload):
    """What is counted, and how much of it one run does."""
    kind, _, size = workload.partition("/")
    if kind == "prefill":
        return "tok/s", int(size)
    if kind == "decode":
        return "tok/s", int(size) * DECODE_NEW
    if kind == "train":
        return "tok/s", TRAIN_ROWS * TRAIN_TIME
    return "labels/s", PRINCIPLES


def median_seconds(run):
    run()
    seconds = []
    while len(seconds) < LEAST_RUNS or sum(seconds) < LEAST_SECONDS:
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def report(workload, run):
    """Times `run` and prints the JSON object that run.py reads."""
    unit, amount = unit_and_amount(workload)
    measured = dict(
        workload=workload,
        per_second=amount / median_seconds(run),
        unit=unit,
        # Linux counts in kilobytes.
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        device="cpu",
    )
    print(json.dumps(measured))
