"""Times operations with eager PyTorch on the CPU and prints their figures; run.py calls it.

    python torch_arm.py [--only NAME ...] [--threads 2]

Each is the best that eager PyTorch has for it: what fused functions there are, no compiler.
"""

import argparse

import torch
import torch.nn.functional as F

import operations as ops
import workloads

ARM = "torch"


def main():
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    limits = measure_ceilings()
    for name in ops.chosen(arguments.only):
        ops.measure(name, prepare(name), ARM, limits)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", nargs="+", default=[], help="names or beginnings of names")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    for wanted in arguments.only:
        if not ops.chosen([wanted]):
            parser.error(f"no operation {wanted!r}, only {', '.join(ops.WORK)}")
    return arguments


def measure_ceilings():
    """By unit: what PyTorch reaches on this machine."""
    left, right = wave(ops.SIDE, ops.SIDE), wave(ops.SIDE, ops.SIDE, salt=0.73)
    a, b, c = (torch.full([ops.LENGTH], float(number)) for number in range(3))
    with torch.inference_mode():
        return dict(
            [
                ops.ceiling("ceiling/products", lambda: left @ right, ARM),
                ops.ceiling("ceiling/memory", lambda: torch.add(b, c, alpha=3.0, out=a), ARM),
            ]
        )


def prepare(name):
    """What one run is; operands are made beforehand."""
    kind, *sizes = name.split("/")
    if kind == "adamw":
        return adamw()
    learns = sizes[-1:] == ["training"]
    make = dict(
        rms_norm=rms_norm,
        layer_norm=layer_norm,
        gated_silu=gated_silu,
        gelu_tanh=gelu_tanh,
        rotate=rotate,
        causal_attention=causal_attention,
        token_log_probs=token_log_probs,
        select_rows=select_rows,
        attend_step=attend_step,
        project=project,
        project_transposed=project_transposed,
        sample=sample,
    )[kind]
    operands, operation = make(*[size for size in sizes if size not in ("forward", "training")])
    if learns:
        return training(operands, operation)
    return torch.inference_mode()(lambda: operation(*operands))


def training(operands, operation):
    """Forward and backward; gradients are given and not added up."""
    for operand in operands:
        operand.requires_grad_()

    def run():
        result = operation(*operands)
        return torch.autograd.grad(result, operands, torch.ones_like(result))

    return run


def wave(*shape, salt=0.37, size=1.0):
    """Numbers between -size and size that no short pattern repeats."""
    count = torch.Size(shape).numel()
    return (torch.arange(count, dtype=torch.float32) * salt).sin().mul(size).reshape(shape)


def rms_norm():
    operands = wave(ops.TOKENS, ops.WIDTH), wave(ops.WIDTH)
    return operands, lambda x, weight: F.rms_norm(x, [ops.WIDTH], weight, 1e-5)


def layer_norm():
    operands = wave(ops.TOKENS, ops.WIDTH), wave(ops.WIDTH), wave(ops.WIDTH)
    return operands, lambda x, weight, bias: F.layer_norm(x, [ops.WIDTH], weight, bias, 1e-5)


def gated_silu():
    operands = wave(ops.TOKENS, ops.INNER, size=4.0), wave(ops.TOKENS, ops.INNER)
    return operands, lambda gate, up: F.silu(gate) * up


def gelu_tanh():
    return [wave(ops.TOKENS, ops.INNER, size=4.0)], lambda x: F.gelu(x, approximate="tanh")


def rotate():
    """As `transformers` writes it: halves of a head that turn together."""
    half = ops.HEAD_DIM // 2
    frequencies = 10000.0 ** (-torch.arange(half) / half)
    angles = torch.outer(torch.arange(ops.TIME).float(), frequencies).repeat(1, 2)
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]

    def operation(x):
        heads = x.view(ops.ROWS, ops.TIME, ops.HEADS, ops.HEAD_DIM)
        first, second = heads.chunk(2, -1)
        return (heads * cos + torch.cat([-second, first], -1) * sin).view_as(x)

    return [wave(ops.TOKENS, ops.WIDTH)], operation


def causal_attention(size):
    rows, length = map(int, size.split("x"))

    def operation(*operands):
        query, key, value = (heads(x, rows, length) for x in operands)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=1.0)
        return attended.transpose(1, 2).reshape(rows * length, ops.WIDTH)

    salts = 0.37, 0.73, 0.11
    return [wave(rows * length, ops.WIDTH, salt=salt) for salt in salts], operation


def heads(x, rows, length):
    """[tokens, width] to [rows, heads, length, head_dim]."""
    return x.view(rows, length, ops.HEADS, ops.HEAD_DIM).transpose(1, 2)


def token_log_probs(variant=None):
    targets, vocabulary, entropy = batch_tokens(), ops.VOCABULARY, variant == "entropy"
    if variant and not entropy:
        count, vocabulary = map(int, variant.split("x"))
        targets = torch.arange(count) * 7919 % (vocabulary - 1) + 1
    operands = wave(len(targets), ops.WIDTH), wave(vocabulary, ops.WIDTH, salt=0.73, size=0.25)

    def alone(states, weight):
        return -F.cross_entropy(F.linear(states, weight), targets, reduction="none")

    def with_entropy(states, weight):
        log_probs = F.linear(states, weight).log_softmax(-1)
        asked = log_probs.gather(1, targets[:, None])
        return torch.cat([asked, -(log_probs.exp() * log_probs).sum(-1, keepdim=True)], 1)

    return operands, with_entropy if entropy else alone


def select_rows():
    tokens = batch_tokens()
    return [wave(ops.VOCABULARY, ops.WIDTH)], lambda table: F.embedding(tokens, table)


def batch_tokens():
    return torch.tensor([workloads.row_of_tokens(row, ops.TIME) for row in range(ops.ROWS)]).view(-1)


def adamw():
    parameters = [torch.nn.Parameter(wave(*shape, size=0.1)) for shape in ops.parameters()]
    for parameter in parameters:
        parameter.grad = wave(*parameter.shape, salt=0.11, size=0.01)
    settings = dict(lr=1e-2, betas=(0.9, 0.95), weight_decay=0.1)
    try:
        return torch.optim.AdamW(parameters, fused=True, **settings).step
    except RuntimeError:
        # Not every version has it on processors.
        return torch.optim.AdamW(parameters, foreach=True, **settings).step


def attend_step(rows):
    """One query against a cache in the layout of `transformers`: all slots of a head together."""
    stored = int(rows), ops.HEADS, ops.SLOTS, ops.HEAD_DIM
    keys, values = wave(*stored, salt=0.73), wave(*stored, salt=0.11)
    query = wave(int(rows), ops.HEADS, 1, ops.HEAD_DIM)
    return [query], lambda query: F.scaled_dot_product_attention(query, keys, values, scale=1.0)


def project(rows):
    return [wave(int(rows), ops.WIDTH), wave(ops.WIDTH, ops.INNER)], torch.matmul


def project_transposed(rows):
    return [wave(int(rows), ops.WIDTH), wave(ops.VOCABULARY, ops.WIDTH)], F.linear


def sample(rows):
    """The most likely tokens, the nucleus among them, one drawn for each row."""

    def operation(logits):
        likeliest, tokens = logits.topk(ops.TOP_K)
        probabilities = likeliest.softmax(-1)
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill(before >= ops.TOP_P, 0.0)
        return tokens.gather(1, probabilities.multinomial(1))

    return [wave(int(rows), ops.VOCABULARY, size=8.0)], operation


if __name__ == "__main__":
    main()
