"""What to reach beside the peers, on two cores in float32, and whether it was reached."""

from dataclasses import dataclass

from arms import LLAMA_CPP, OURS, TRANSFORMERS, TRL
from workloads import SHAPES, WORKLOADS, name_of

SPEED, MEMORY = "per_second", "peak_bytes"


@dataclass(frozen=True)
class Goal:
    """A bound on this project's figure in units of a peer's, by the size of the model.

    A speed has to reach it and is above 1 where this project is faster, also where a table shows
    seconds; memory must not exceed it.
    """

    what: str
    workload: str
    peer: str
    bounds: dict
    # The workload of the peer where it is another.
    theirs: str | None = None
    key: str = SPEED

    def verdict(self, size, figures):
        """The ratio, the bound, and whether it is kept; nothing where a figure is missing."""
        above = OURS, name_of(self.workload, size)
        below = self.peer, name_of(self.theirs or self.workload, size)
        if above not in figures or below not in figures:
            return None
        value, bound = figures[above] / figures[below], self.bounds[size]
        least = self.key == SPEED
        reached = value >= bound if least else value <= bound
        ratio = f"{' '.join(above)} / {' '.join(below)} = {value:.3f}x"
        goal = f"goal at {'least' if least else 'most'} {bound}x"
        return f"{self.what}: {ratio}, {goal}, {'reached' if reached else 'missed'}"


def at_every_size(bound):
    return dict.fromkeys(SHAPES, bound)


GOALS = [
    Goal("training step", "train/16x128", TRANSFORMERS, {"2M": 1.2, "7M": 1.1, "20M": 1.0}),
    *(
        Goal("memory of a training step", step, TRANSFORMERS, at_every_size(0.7), key=MEMORY)
        for step in WORKLOADS
        if step.startswith("train/")
    ),
    Goal("fine-tuning on ragged dialogues", "sft", TRL, at_every_size(1.4)),
    Goal("training of a preference model", "reward_model", TRL, at_every_size(1.6)),
    Goal("PPO, a value model of its own", "ppo", TRL, at_every_size(1.4)),
    Goal("PPO, values on the policy's trunk", "ppo/shared", TRL, at_every_size(2.5), theirs="ppo"),
    *(
        Goal("memory of a training stage", stage, TRL, at_every_size(0.5), theirs, MEMORY)
        for stage, theirs in [
            ("sft", None),
            ("reward_model", None),
            ("ppo", None),
            ("ppo/shared", "ppo"),
            ("ppo/lora", None),
        ]
    ),
    Goal("decode at batch 1", "decode/1", TRANSFORMERS, at_every_size(6.0)),
    Goal("decode at batch 16", "decode/16", TRANSFORMERS, at_every_size(2.0)),
    Goal("decode at batch 64", "decode/64", TRANSFORMERS, at_every_size(2.0)),
    Goal("decode at batch 1", "decode/1", LLAMA_CPP, at_every_size(0.7)),
    Goal("prefill of 1,024 tokens", "prefill/1024", TRANSFORMERS, at_every_size(1.0)),
    Goal(
        "choose, theirs prompt by prompt",
        "choose/shared",
        TRANSFORMERS,
        at_every_size(8.0),
        theirs="choose/each",
    ),
]


def verdicts(figures):
    """Of all goals whose figures were measured, which are given by key, then arm and job."""
    found = (goal.verdict(size, figures[goal.key]) for goal in GOALS for size in goal.bounds)
    return [verdict for verdict in found if verdict]
