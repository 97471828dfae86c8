"""How fast the same work could be if it took no more than its products of matrices, at their peak.

    python benches/peers/limits.py --peak 270 FILE.json [FILE.json ...]

FILE.json is what run.py wrote with --output, and the peak the GFLOP/s that its --operations found
for a product of large matrices (ceiling/products). Prints, for every workload that was measured, the
GFLOP of a unit of it and the limit: the speed at the peak in units of the peer's. Norms, gates,
softmax, the optimiser and everything else count as nothing, so no program comes near.

A token costs 2 operations for every weight of the layers, a logit 2 for each of its weights, and a
query that sees a key 4 for every number of the two; a backward pass takes twice its forward pass.
Beginnings that dialogues share count once. Drawing is bound by memory, not by products, and has no
limit here.
"""

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path

from arms import OURS, TRANSFORMERS, TRL
from run import target_folder
from workloads import (
    EPISODES,
    OWN,
    PPO_EPOCHS,
    PRINCIPLES,
    RESPONSE,
    SHAPES,
    SHARED,
    TRAINING_WORKLOADS,
    read_rows,
    train_shape,
)

VOCABULARY = 4096
# Of training, in units of a forward pass.
LEARNING = 3


@dataclass(frozen=True)
class Rows:
    """Tokens that are read, query-key pairs of causal attention, and logits."""

    tokens: int = 0
    pairs: int = 0
    logits: int = 0

    def __add__(self, other):
        return Rows(
            self.tokens + other.tokens, self.pairs + other.pairs, self.logits + other.logits
        )

    def operations(self, size):
        """Of a forward pass."""
        width, inner, layers, _ = SHAPES[size]
        weights = layers * (4 * width**2 + 3 * width * inner)
        logit, pair = 2 * width, 4 * width * layers
        return 2 * weights * self.tokens + pair * self.pairs + logit * VOCABULARY * self.logits


def row(tokens, after=0, logits=0):
    """One row behind others of its beginning."""
    return Rows(tokens, tokens * after + tokens * (tokens + 1) // 2, logits)


def total(rows):
    return sum(rows, Rows())


def work(workload, size, folder):
    """Operations of one unit, a token, label or iteration, or nothing for what products do not bound."""
    kind, _, shape = workload.partition("/")
    if kind == "prefill":
        tokens = int(shape)
        return row(tokens, logits=1).operations(size) / tokens
    if kind == "train":
        count, time = train_shape(shape)
        return LEARNING * row(time, logits=time).operations(size) / time
    if workload == "choose/shared":
        own = [row(OWN, SHARED, 1)] * PRINCIPLES
        return (row(SHARED) + total(own)).operations(size) / PRINCIPLES
    if kind == "sft":
        rows = [row(len(p) + len(r) - 1, logits=len(r)) for p, r in read_rows(folder, workload)]
        rows = total(rows)
        return LEARNING * rows.operations(size) / rows.tokens
    if kind == "reward_model":
        pairs = read_rows(folder, workload)
        rows = [row(len(p)) + row(len(a), len(p)) + row(len(b), len(p)) for p, a, b in pairs]
        useful = sum(2 * len(p) + len(a) + len(b) for p, a, b in pairs)
        return LEARNING * total(rows).operations(size) / useful
    return ppo(shape, size, read_rows(folder, workload)) if kind == "ppo" else None


def ppo(shape, size, prompts):
    """Of an iteration: replies are drawn, a policy and a reference weigh them, a reward model scores
    them, and a policy learns from them; so do values, where they have a model of their own."""
    assert len(prompts) == EPISODES
    drawn = total(row(len(prompt) + RESPONSE - 1, logits=RESPONSE) for prompt in prompts)
    whole = total(row(len(prompt) + RESPONSE) for prompt in prompts)
    policy, scored = drawn.operations(size), whole.operations(size)
    values = 0 if shape == "shared" else scored
    return 3 * policy + scored + values + LEARNING * PPO_EPOCHS * (policy + values)


def peer_of(workload):
    """The arm and workload that this project is compared with."""
    if workload == "ppo/shared":
        return TRL, "ppo"
    return (TRL if workload in TRAINING_WORKLOADS else TRANSFORMERS), workload


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--peak", type=float, required=True, help="GFLOP/s")
    parser.add_argument("--folder", type=Path, default=target_folder() / "peers")
    parser.add_argument("files", nargs="+", type=Path)
    arguments = parser.parse_args()
    print("| workload | model | GFLOP a unit | at the peak | limit |\n|---|---|---|---|---|")
    for file in arguments.files:
        measured = json.loads(file.read_text())
        for name in measured[OURS]:
            workload, size = name.split()
            operations = work(workload, size, arguments.folder / f"training-{size}")
            peer, theirs = peer_of(workload)
            reports = measured.get(peer, {}).get(f"{theirs} {size}")
            if operations is None or not reports:
                continue
            speed = statistics.median(report["per_second"] for report in reports)
            peak = arguments.peak * 1e9 / operations
            limit = f"{peak / speed:.2f}x"
            print(f"| `{workload}` | {size} | {operations / 1e9:.4g} | {peak:.4g} | {limit} |")


if __name__ == "__main__":
    main()
