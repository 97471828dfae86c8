"""The operations that run.py --operations compares: their names, and what each has to do at least.

benches/operations.rs is the arm in Rust and follows the same text; its catalogue.rs tells how the
work is counted.

- Shapes are those of a Llama of 7 million weights on 16 rows of 128 tokens. Token `i` of row `r` is
  that of workloads.py.
- `training` is forward and backward, `forward` is not recorded. The gradient of the result is 1
  everywhere, written anew in every run; all operands get gradients.
- Operands have another owner: nothing writes over them but `adamw` over its own state.
- `token_log_probs/TOKENSxVOCABULARY` has one row of tokens, of which token `i` is that of row 0 in
  that vocabulary.
- `attend_step/N` is one new token of each of N rows whose caches hold 160. `sample/64` draws one
  token for each of 64 rows among the 50 most likely and of those a nucleus of 0.9, on all
  threads.
- Everything runs once to warm up and then again until 0.5 seconds and 5 runs have passed; the
  median run counts, of ceilings the best.
- Bytes count every operand and every result once: what bounds is memory. Elsewhere operations count.
"""

import json
import statistics
import time

import workloads

ROWS, TIME, PROMPT = 16, 128, 1024
TOKENS = ROWS * TIME
WIDTH, INNER, LAYERS, HEADS = workloads.SHAPES["7M"]
HEAD_DIM, VOCABULARY = WIDTH // HEADS, 4096
SLOTS = workloads.DECODE_PROMPT + workloads.DECODE_NEW
TOP_K, TOP_P = 50, 0.9

# The sides of the matrices, and the length of each of three arrays, whose speed is the ceiling.
SIDE, LENGTH = 1024, 1 << 27

LEAST_SECONDS, LEAST_RUNS = 0.5, 5
NUMBER = 4
STATES, INSIDE = TOKENS * WIDTH, TOKENS * INNER


def parameters():
    """Shapes of all parameters."""
    layer = [(WIDTH,)] * 2 + [(WIDTH, WIDTH)] * 4 + [(WIDTH, INNER)] * 3
    return [(VOCABULARY, WIDTH), (WIDTH,)] + layer * LAYERS


def weights():
    return VOCABULARY * WIDTH + WIDTH + LAYERS * (2 * WIDTH + 4 * WIDTH**2 + 3 * WIDTH * INNER)


def numbers(count):
    return "GB/s", count * NUMBER


def flops(rows, inner, columns, times=1):
    """A product of [rows, inner] and [inner, columns]."""
    return "GFLOP/s", 2 * rows * inner * columns * times


def attention(rows, length, times=1):
    """Scores and their sums of values, of what causal order leaves."""
    return flops(length * (length + 1) // 2, WIDTH, 1, 2 * rows * times)


# Unit, and bytes or operations of one run.
WORK = {
    "rms_norm/forward": numbers(2 * STATES),
    "rms_norm/training": numbers(5 * STATES),
    "layer_norm/forward": numbers(2 * STATES),
    "layer_norm/training": numbers(5 * STATES),
    "gated_silu/forward": numbers(3 * INSIDE),
    "gated_silu/training": numbers(8 * INSIDE),
    "gelu_tanh/forward": numbers(2 * INSIDE),
    "gelu_tanh/training": numbers(5 * INSIDE),
    "rotate/forward": numbers(2 * STATES),
    "rotate/training": numbers(4 * STATES),
    "causal_attention/16x128/forward": attention(ROWS, TIME),
    "causal_attention/16x128/training": attention(ROWS, TIME, 3),
    "causal_attention/1x1024/forward": attention(1, PROMPT),
    "causal_attention/1x1024/training": attention(1, PROMPT, 3),
    "token_log_probs/forward": flops(TOKENS, WIDTH, VOCABULARY),
    "token_log_probs/training": flops(TOKENS, WIDTH, VOCABULARY, 3),
    "token_log_probs/entropy/forward": flops(TOKENS, WIDTH, VOCABULARY),
    "token_log_probs/entropy/training": flops(TOKENS, WIDTH, VOCABULARY, 3),
    "token_log_probs/256x32768/forward": flops(256, WIDTH, 32768),
    "token_log_probs/256x32768/training": flops(256, WIDTH, 32768, 3),
    "select_rows/forward": numbers(2 * STATES),
    "select_rows/training": numbers(3 * STATES + VOCABULARY * WIDTH),
    "adamw": numbers(7 * weights()),
    "attend_step/16": numbers(2 * 16 * SLOTS * WIDTH),
    "attend_step/64": numbers(2 * 64 * SLOTS * WIDTH),
    "project/1": numbers(WIDTH * INNER),
    "project/16": flops(16, WIDTH, INNER),
    "project_transposed/16": flops(16, WIDTH, VOCABULARY),
    "sample/64": numbers(64 * VOCABULARY),
}
CEILINGS = {
    "ceiling/products": flops(SIDE, SIDE, SIDE),
    "ceiling/memory": numbers(3 * LENGTH),
}


def chosen(only):
    """Those whose names are, or begin with, one of the names in `only`; all without any."""
    return [name for name in WORK if not only or any(is_or_begins(name, wanted) for wanted in only)]


def is_or_begins(name, wanted):
    return f"{name}/".startswith(f"{wanted}/")


def seconds(run):
    """Of every run, the shortest first."""
    run()
    found = []
    while len(found) < LEAST_RUNS or sum(found) < LEAST_SECONDS:
        start = time.perf_counter()
        kept = run()
        found.append(time.perf_counter() - start)
        # Freed outside of the time, as in the arm in Rust.
        del kept
    return sorted(found)


def rate(name, taken):
    """Billions of bytes or operations a second."""
    _, amount = {**WORK, **CEILINGS}[name]
    return amount / taken / 1e9


def ceiling(name, run, arm):
    """Measures and reports a ceiling, of the best run; gives its unit and rate."""
    unit, _ = CEILINGS[name]
    taken = seconds(run)[0]
    report(name, arm, taken, unit, share=1.0)
    return unit, rate(name, taken)


def measure(name, run, arm, ceilings):
    unit, _ = WORK[name]
    taken = statistics.median(seconds(run))
    report(name, arm, taken, unit, share=rate(name, taken) / ceilings[unit])


def report(name, arm, taken, unit, share):
    """Prints the JSON object that run.py reads."""
    line = dict(operation=name, arm=arm, seconds=taken, rate=rate(name, taken), unit=unit)
    print(json.dumps(line | dict(share=share)), flush=True)
