"""Makes the files of `files/` and what `transformers` makes of them: `files/results.json`.

    pip install -r requirements.txt && python files.py

Two small random models, each stored once: a GPT-2 as `torch.save` writes it (`gpt2/pytorch_model.bin`, its head tied, so
two names for one storage), a Llama as safetensors (`llama/`, its head of its own). Weights are four times as large as
`transformers` draws them for training, queries and keys twelve times, in float16. Then the same tensors are laid out in other
ways, in temporary folders, and loaded by `transformers` in float32: the greedy tokens of each are stored, which the
tests of this crate expect of files that they lay out in the same ways. Beside them small files of `torch.save` in every type
and of every kind of view.
"""

import json
import shutil
import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy
import torch
from safetensors.torch import load_file, save_file, save_model
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

logging.set_verbosity_error()
HERE = Path(__file__).parent / "files"
VOCABULARY = 64
END = 63
NEW = 8
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


def draw(name, value):
    noise = torch.randn_like(value)
    if "ln_" in name or "norm" in name:
        value = value + 0.1 * noise
    elif name.endswith("bias"):
        value = 0.05 * noise
    else:
        value = 4 * value
        if "c_attn" in name:
            value[:, : 2 * value.shape[0]] *= 3
        if "q_proj" in name or "k_proj" in name:
            value = 3 * value
    return value.to(torch.float16)


def gpt2():
    torch.manual_seed(3)
    config = GPT2Config(
        n_embd=64, n_head=1, n_layer=2, n_inner=64, n_positions=16, vocab_size=VOCABULARY, bos_token_id=END,
        eos_token_id=END,
    )
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(draw(name, value))
    return model.half()


def llama():
    torch.manual_seed(5)
    config = LlamaConfig(
        hidden_size=64, num_attention_heads=1, num_key_value_heads=1, num_hidden_layers=2, intermediate_size=64,
        max_position_embeddings=64, vocab_size=VOCABULARY, bos_token_id=END, eos_token_id=END,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(draw(name, value))
    return model.half()


def config_of(model):
    with tempfile.TemporaryDirectory() as folder:
        model.config.save_pretrained(folder)
        return json.loads((Path(folder) / "config.json").read_text())


def greedy(model):
    """Prompts with the tokens after each, and the smallest distance of the best logit from the next: of 4,000 random
    prompts the three with the largest such distances after which at least five different tokens come."""
    prompts = torch.randint(0, END, (4000, 6), generator=torch.Generator().manual_seed(1))
    tokens, margins = prompts, torch.full((4000,), float("inf"))
    for _ in range(NEW):
        best, index = torch.topk(model(tokens).logits[:, -1], 2)
        margins = torch.minimum(margins, best[:, 0] - best[:, 1])
        tokens = torch.cat([tokens, index[:, :1]], dim=1)
    margins[(tokens == END).any(dim=1)] = 0
    margins[torch.tensor([len(set(t)) < 5 for t in tokens[:, 6:].tolist()])] = 0
    chosen = margins.topk(3).indices
    runs = [{"prompt": t[:6], "output": t[6:]} for t in tokens[chosen].tolist()]
    return runs, margins[chosen].min().item()


def load(config, write):
    """What `transformers` makes of a folder that `write` has filled."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config))
        write(Path(folder))
        model, info = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True
        )
        with torch.no_grad():
            runs, margin = greedy(model.eval())
    return {
        "runs": runs,
        "margin": round(margin, 3),
        "missing": sorted(info["missing_keys"]),
        "unexpected": sorted(info["unexpected_keys"]),
    }


def safetensors(tensors):
    copies = {name: value.clone().contiguous() for name, value in tensors.items()}
    return lambda folder: save_file(copies, folder / "model.safetensors", metadata={"format": "pt"})


def pickle(tensors, name="pytorch_model.bin"):
    return lambda folder: torch.save(tensors, folder / name)


def with_names(tensors, name):
    return {name(key): value for key, value in tensors.items()}


def gpt2_rows(model):
    config, tensors = config_of(model), model.state_dict()
    bare = {k.removeprefix("transformer."): v for k, v in tensors.items() if k != "lm_head.weight"}
    prefixed = {k: v for k, v in tensors.items() if k != "lm_head.weight"}
    head_only = {k: v for k, v in tensors.items() if k != "transformer.wte.weight"}
    other_head = dict(prefixed, **{"lm_head.weight": tensors["lm_head.weight"].flip(0)})
    mask = torch.tril(torch.ones(16, 16, dtype=torch.uint8)).view(1, 1, 16, 16)
    buffers = {f"h.{n}.attn.bias": mask for n in range(2)}
    buffers |= {f"h.{n}.attn.masked_bias": torch.tensor(-1e4) for n in range(2)}

    def halves(folder):
        names = sorted(tensors)
        weight_map = {}
        for part in range(2):
            file = f"pytorch_model-0000{part + 1}-of-00002.bin"
            torch.save({k: tensors[k] for k in names[part::2]}, folder / file)
            weight_map |= {k: file for k in names[part::2]}
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))

    def both(folder):
        safetensors(bare)(folder)
        pickle({k: v.flip(0) for k, v in tensors.items()})(folder)

    return {
        "bin": load(config, pickle(tensors)),
        "bin in two files": load(config, halves),
        "bin beside safetensors": load(config, both),
        "without prefix": load(config, safetensors(bare)),
        "transformer.": load(config, safetensors(prefixed)),
        "head instead of embedding": load(config, safetensors(head_only)),
        "another head": load(config, safetensors(other_head)),
        "float64": load(config, safetensors({k: v.double() + 1e-9 for k, v in bare.items()})),
        "buffers": load(config, safetensors(bare | buffers)),
    }


def llama_rows(model):
    config, tensors = config_of(model), model.state_dict()
    bare = {k.removeprefix("model."): v for k, v in tensors.items()}
    tied = dict(config, tie_word_embeddings=True)
    frequencies = 1.0 / (10000.0 ** (torch.arange(0, 64, 2).float() / 64))
    buffers = {f"model.layers.{n}.self_attn.rotary_emb.inv_freq": frequencies for n in range(2)}
    biases = {"model.layers.0.self_attn.q_proj.bias": torch.ones(64)}

    def aliases(folder):
        twin = LlamaForCausalLM(LlamaConfig(**tied)).half()
        twin.load_state_dict({k: v for k, v in tensors.items() if k != "lm_head.weight"}, strict=False)
        twin.tie_weights()
        save_model(twin, str(folder / "model.safetensors"), metadata={"format": "pt"})

    return {
        "safetensors": load(config, safetensors(tensors)),
        "bin": load(config, pickle(tensors)),
        "without prefix": load(config, safetensors(bare)),
        "buffers": load(config, safetensors(tensors | buffers)),
        "aliases": load(tied, aliases),
        "another head": load(tied, safetensors(tensors)),
        "a bias": load(config, safetensors(tensors | biases)),
        "llama3": load(dict(config, rope_parameters=LLAMA3), safetensors(tensors)),
    }


def factors():
    """As llama.cpp's converter writes `rope_freqs.weight` for LLAMA3: in float32."""
    base, dim = LLAMA3["rope_theta"], 64
    freqs = 1.0 / (base ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim))
    old, low, high = LLAMA3["original_max_position_embeddings"], LLAMA3["low_freq_factor"], LLAMA3["high_freq_factor"]
    found = []
    for freq in freqs:
        wavelen = 2 * numpy.pi / freq
        if wavelen < old / high:
            found.append(1)
        elif wavelen > old / low:
            found.append(LLAMA3["factor"])
        else:
            smooth = (old / wavelen - low) / (high - low)
            found.append(1 / ((1 - smooth) / LLAMA3["factor"] + smooth))
    return [float(f) for f in torch.tensor(found, dtype=torch.float32)]


def torch_files(folder):
    """Small files of torch.save, named by what is special about them."""
    values = torch.arange(24, dtype=torch.float32).view(4, 6) / 7
    for dtype in [torch.float16, torch.bfloat16, torch.float64]:
        name = str(dtype).removeprefix("torch.")
        torch.save({"a": values.to(dtype), "b": torch.nn.Parameter(values[0].to(dtype))}, folder / f"{name}.bin")
    torch.save(
        OrderedDict(a=values.t(), b=values[1:3], c=values[:, 2], d=values[::2, ::3], e=values, f=values.view(2, 2, 6)),
        folder / "views.bin",
    )
    torch.save({"a": torch.ones(1).expand(3)}, folder / "repeated.bin")
    torch.save({"a": torch.complex(values, values).conj().imag}, folder / "negated.bin")
    torch.save({"a": values, "epoch": 3}, folder / "number.bin")
    torch.save({"model": {"a": values}}, folder / "nested.bin")
    torch.save(torch.nn.Linear(2, 2).state_dict(), folder / "module.bin")
    torch.save(torch.nn.Linear(2, 2), folder / "object.bin")
    torch.save({"a": values}, folder / "legacy.bin", _use_new_zipfile_serialization=False)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(folder / "script.bin"))


def tokenizer():
    """Byte-level BPE without merges: a space is written as the byte-level alphabet's letter for it."""
    letters = "\u0120abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    vocabulary = {letter: id for id, letter in enumerate([*letters, "<|endoftext|>"])}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": byte_level, "post_processor": None, "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    for name in ["gpt2", "llama", "torch"]:
        (HERE / name).mkdir(parents=True)
    models = {"gpt2": gpt2(), "llama": llama()}
    for name, model in models.items():
        (HERE / name / "config.json").write_text(json.dumps(config_of(model), indent=1) + "\n")
    pickle(models["gpt2"].state_dict())(HERE / "gpt2")
    safetensors(models["llama"].state_dict())(HERE / "llama")
    torch_files(HERE / "torch")
    for file in HERE.rglob("*.*"):
        file.chmod(0o644)
    (HERE / "tokenizer.json").write_text(json.dumps(tokenizer()) + "\n")
    results = {
        "factors": factors(),
        "gpt2": gpt2_rows(models["gpt2"]),
        "llama": llama_rows(models["llama"]),
    }
    (HERE / "results.json").write_text(json.dumps(results).replace("}]", "}]\n") + "\n")


if __name__ == "__main__":
    main()
