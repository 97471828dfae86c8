"""Writes a model that all arms run: a Llama of 7 million random float32 parameters.

    python make_model.py FOLDER --gguf
    python make_model.py FOLDER --training --size 20M

FOLDER gets config.json and model.safetensors for `transformers` and this project; the arms work on
token numbers. With --gguf there is model.gguf with the same weights for llama.cpp.

With --training there are the rows to train on, a reward model of the same size and a tokenizer
whose words are the token numbers, since some of this project's stages read dialogues.
"""

import argparse
import json
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

import workloads

# Every token ends up as its number, and a dialogue as the numbers of all its turns.
CHAT_TEMPLATE = "{% for message in messages %}{{ message.content }} {% endfor %}"

# Names of GGUF, by those of `transformers`.
WHOLE = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
}
LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=workloads.SHAPES, default="7M")
    parser.add_argument("--training", action="store_true", help="what the training workloads need")
    parser.add_argument("--gguf", action="store_true", help="what llama.cpp needs")
    arguments = parser.parse_args()
    config = make_config(arguments.size)
    torch.manual_seed(1)
    model = LlamaForCausalLM(config)
    model.save_pretrained(arguments.folder)
    if arguments.training:
        write_training_side(arguments.size, arguments.folder)
    if arguments.gguf:
        write_gguf(model, arguments.folder / "model.gguf")
    print(f"{model.num_parameters():,} parameters")


def make_config(size):
    hidden, intermediate, layers, heads = workloads.SHAPES[size]
    return LlamaConfig(
        vocab_size=4096,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=2048,
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
    )


def write_training_side(size, folder):
    """Tokenizer, reward model and rows; the rows come last and show that all is there."""
    config = make_config(size)
    config.num_labels = 1
    torch.manual_seed(2)
    reward_model = LlamaForSequenceClassification(config)
    reward_model.save_pretrained(folder / workloads.REWARD_MODEL)
    for path in [folder, folder / workloads.REWARD_MODEL]:
        write_tokenizer(config.vocab_size, path)
    workloads.write_rows(folder)


def write_tokenizer(vocabulary, folder):
    tokenizer = {
        "version": "1.0",
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {
            "type": "WordLevel",
            "vocab": {str(token): token for token in range(vocabulary)},
            "unk_token": "0",
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer) + "\n")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)


def write_gguf(model, file):
    import gguf

    config = model.config
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("none")
    # The output layer is the embedding, which llama.cpp takes where there is no output.weight.
    for name, parameter in model.named_parameters():
        heads = {
            "q_proj": config.num_attention_heads,
            "k_proj": config.num_key_value_heads,
        }.get(name.split(".")[-2])
        values = parameter.detach()
        writer.add_tensor(gguf_name(name), (pairs(values, heads) if heads else values).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_name(name):
    if name in WHOLE:
        return WHOLE[name]
    _, _, layer, part = name.split(".", 3)
    return f"blk.{layer}.{LAYER[part.removesuffix('.weight')]}.weight"


def pairs(weight, heads):
    """Rows in llama.cpp's order, which turns neighbours and not the halves of a head."""
    outputs, inputs = weight.shape
    halves = weight.reshape(heads, 2, outputs // heads // 2, inputs)
    return halves.swapaxes(1, 2).reshape(outputs, inputs).contiguous()


if __name__ == "__main__":
    main()
