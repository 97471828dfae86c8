"""Who is compared: the arms, what each can do, and what has to be installed for it."""

import importlib.util

from workloads import TRAINING_WORKLOADS, WORKLOADS

OURS, TRANSFORMERS, LLAMA_CPP, TRL = "rlaif", "transformers", "llama_cpp", "trl"
PRIMITIVES, TORCH = "primitives", "torch"
SERVING_ARMS, TRAINING_ARMS = [OURS, TRANSFORMERS, LLAMA_CPP], [OURS, TRL]
OPERATION_ARMS = [OURS, PRIMITIVES, TORCH]
ARMS = [*SERVING_ARMS, TRL, PRIMITIVES, TORCH]

# What an arm cannot do, and what stands for it in ratios.
UNSUPPORTED = {
    **{(LLAMA_CPP, workload): None for workload in WORKLOADS if workload.startswith("train/")},
    # How `transformers` is used; the others share what prompts begin with.
    (OURS, "choose/batch"): None,
    (LLAMA_CPP, "choose/batch"): None,
    # It has no values on the policy's trunk.
    (TRL, "ppo/shared"): "ppo",
}

# `gguf` writes the model that llama.cpp reads.
MODULES = {
    TRANSFORMERS: ["torch", "transformers"],
    LLAMA_CPP: ["llama_cpp", "gguf"],
    TRL: ["torch", "transformers", "trl"],
    TORCH: ["torch"],
}


def arms_of(workload):
    arms = SERVING_ARMS if workload in WORKLOADS else TRAINING_ARMS
    return [arm for arm in arms if (arm, workload) not in UNSUPPORTED]


def workloads_of(arm):
    return [workload for workload in [*WORKLOADS, *TRAINING_WORKLOADS] if arm in arms_of(workload)]


def stand_in(arm, workload):
    return UNSUPPORTED.get((arm, workload)) or workload


def missing_modules(arm):
    return [name for name in MODULES.get(arm, []) if importlib.util.find_spec(name) is None]
