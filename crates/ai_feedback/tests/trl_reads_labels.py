"""Opens a file of labels as a dataset and trains on it with TRL, one step with each of two trainers.

    python trl_reads_labels.py LABELS

Needs `torch`, `transformers`, `datasets` and `trl`. The models are made on the spot, with random weights. Prints what was
found as JSON on the last line: the type of every column, the number of rows, whether TRL takes them for a conversation, the
soft labels, and what both trainers log for their step.
"""

import copy
import json
import sys
import tempfile

import torch
from datasets import load_dataset
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer
from trl.data_utils import is_conversational

TEMPLATE = (
    "{% for message in messages %}[{{ message['role'] }}]{{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def tiny_tokenizer():
    """A tokenizer of single characters."""
    words = ["<pad>", "<s>", "</s>", "<unk>", "\n"] + [chr(code) for code in range(32, 127)]
    places = {word: place for place, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(places, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    fast.chat_template = TEMPLATE
    return fast


def tiny_config(tokenizer):
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=2048,
        pad_token_id=tokenizer.pad_token_id,
        num_labels=1,
    )


def one_step(trainer, config, labels, tokenizer, **models):
    with tempfile.TemporaryDirectory() as folder:
        settings = config(
            output_dir=folder,
            max_steps=1,
            per_device_train_batch_size=2,
            logging_steps=1,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
            bf16=False,
            max_length=None,
            disable_tqdm=True,
        )
        training = trainer(args=settings, train_dataset=labels, processing_class=tokenizer, **models)
        rows = len(training.train_dataset)
        training.train()
    logged = next(entry for entry in training.state.log_history if "loss" in entry)
    return {"rows": rows, "loss": float(logged["loss"])}


def main():
    torch.manual_seed(0)
    labels = load_dataset("json", data_files=sys.argv[1], split="train")
    tokenizer = tiny_tokenizer()
    config = tiny_config(tokenizer)
    scorer, policy = LlamaForSequenceClassification(config), LlamaForCausalLM(config)
    reference = copy.deepcopy(policy)
    found = {
        "columns": {name: str(kind) for name, kind in labels.features.items()},
        "rows": len(labels),
        "conversational": is_conversational(labels[0]),
        "probabilities": [row["probability"] for row in labels],
        "reward": one_step(RewardTrainer, RewardConfig, labels, tokenizer, model=scorer),
        "dpo": one_step(DPOTrainer, DPOConfig, labels, tokenizer, model=policy, ref_model=reference),
    }
    print()
    print(json.dumps(found))


main()
