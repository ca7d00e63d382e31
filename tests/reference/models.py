"""Makes `models/`: small random checkpoints of every model_type, and `models.json`: what `transformers` answers to them.

    pip install -r requirements.txt && python models.py [--check]

Shapes and options are those that published models have and the checkpoints beside this folder have not: widths that
are no multiples of 64, heads of many widths, shared heads of keys, biases, windows, scaled rotations. Weights are drawn
as in `checkpoints.py`. A checkpoint that differs from another one only in its configuration takes the weights of that.

`models.json` has the prompts, and for every checkpoint the folder of its weights and, for every prompt: the new tokens
of `generate`, greedily in float32 with an attention mask of ones; for each of them its logit's margin over the next
one and the standard deviation of the logits; and all logits after the prompt.

With `--check` nothing is written: each option is switched off, and it is printed how much that changes the answers.
"""

import json
import logging
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

HERE = Path(__file__).parent / "models"
VOCABULARY, CONTEXT, END = 128, 64, 127
NEW_TOKENS = 12
# The first ends before position 32, where longrope changes its factors, the second begins behind it.
PROMPTS = [[7 * i % 94 + 1 for i in range(12)], [(i * i * i + 5 * i + 40) % 95 for i in range(44)]]
FULL, SLIDING = "full_attention", "sliding_attention"

COMMON = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": END, "pad_token_id": None}
SIZES = {**COMMON, "num_hidden_layers": 2, "max_position_embeddings": CONTEXT, "tie_word_embeddings": True}


def shape(width, heads, hidden, **others):
    return {**SIZES, "hidden_size": width, "num_attention_heads": heads, "intermediate_size": hidden, **others}


def rope(kind="default", theta=10000.0, **others):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **others}}


LLAMA3 = rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)
YARN = rope("yarn", factor=4.0, original_max_position_embeddings=16)
LONGROPE = rope(
    "longrope", original_max_position_embeddings=32, partial_rotary_factor=0.75,
    short_factor=[1.0 + 0.03 * i for i in range(9)], long_factor=[1.0 + 0.4 * i for i in range(9)],
)
PLAIN = rope(partial_rotary_factor=0.75)
FACTORS = {key: LONGROPE["rope_parameters"][key] for key in ["short_factor", "long_factor"]}

# The model_type, the seed, and what is not its default.
MODELS = {
    "gpt2": ("gpt2", 1, {
        **COMMON, "n_embd": 48, "n_head": 1, "n_layer": 2, "n_inner": 40, "n_positions": CONTEXT,
        "activation_function": "relu", "scale_attn_by_inverse_layer_idx": True,
    }),
    "llama": ("llama", 1, shape(
        72, 2, 40, head_dim=32, num_key_value_heads=1, attention_bias=True, mlp_bias=True,
    )),
    "llama-outlier": ("llama", 46, shape(24, 1, 40, head_dim=96, num_key_value_heads=1, tie_word_embeddings=False)),
    "phi": ("phi", 43, shape(
        40, 1, 40, tie_word_embeddings=False, **rope(partial_rotary_factor=0.4),
    )),
    "opt": ("opt", 22, {
        **SIZES, "hidden_size": 40, "num_attention_heads": 1, "ffn_dim": 40, "word_embed_proj_dim": 40,
        "pad_token_id": 1, "bos_token_id": 2,
    }),
    "qwen2": ("qwen2", 16, shape(40, 1, 40, num_key_value_heads=1, **rope(theta=1e6))),
    "qwen2-keys": ("qwen2", 14, shape(32, 1, 40, num_key_value_heads=1, **rope(theta=1e6))),
    "qwen3": ("qwen3", 22, shape(20, 2, 40, head_dim=80, num_key_value_heads=1, **rope(theta=1e6))),
    "mistral": ("mistral", 45, shape(20, 1, 40, head_dim=128, num_key_value_heads=1, sliding_window=16)),
    "phi3": ("phi3", 53, shape(48, 2, 40, num_key_value_heads=1, original_max_position_embeddings=32, **LONGROPE)),
    "gemma3_text": ("gemma3_text", 55, shape(
        16, 1, 40, head_dim=256, num_key_value_heads=1, query_pre_attn_scalar=64, sliding_window=16,
        layer_types=[SLIDING, FULL], pad_token_id=0, bos_token_id=2,
    )),
    "gpt_neox": ("gpt_neox", 36, shape(48, 2, 40, **rope(partial_rotary_factor=0.25))),
    "olmo2": ("olmo2", 57, shape(40, 2, 72, num_key_value_heads=1, pad_token_id=1)),
    "starcoder2": ("starcoder2", 50, shape(40, 2, 80, num_key_value_heads=1, sliding_window=16)),
}
# The model_type, the folder of the weights, what is changed in its configuration (None: left out).
VARIANTS = {
    "gpt2-gelu": ("gpt2", "gpt2", {"activation_function": "gelu_new", "scale_attn_by_inverse_layer_idx": False}),
    "llama-linear": ("llama", "llama", rope("linear", factor=4.0)),
    "llama-llama3": ("llama", "llama", LLAMA3),
    "llama-yarn": ("llama", "llama", YARN),
    "qwen2-window": ("qwen2", "qwen2", {
        "use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1, "layer_types": None,
    }),
    # As they are published, with the keys of older versions.
    "phi3-old": ("phi3", "phi3", {
        "original_max_position_embeddings": CONTEXT, "rope_parameters": None, "rope_theta": 500.0,
        "partial_rotary_factor": 0.75, "rope_scaling": {"type": "longrope", **FACTORS},
    }),
    "gemma3_text-old": ("gemma3_text", "gemma3_text", {
        "layer_types": None, "rope_parameters": None, "_sliding_window_pattern": None, "sliding_window_pattern": 2,
        "rope_theta": 1e6, "rope_local_base_freq": 100.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    }),
    "gpt_neox-serial": ("gpt_neox", "gpt_neox", {
        "use_parallel_residual": False, "rope_parameters": None, "rotary_pct": 0.5, "rotary_emb_base": 1000,
    }),
    "smollm3": ("smollm3", "llama", {"no_rope_layers": [1, 0], **rope()}),
    "granite": ("granite", "llama", {
        "embedding_multiplier": 3.0, "attention_multiplier": 0.08, "residual_multiplier": 0.5, "logits_scaling": 8.0,
    }),
}
# What is changed to switch an option off.
OFF = {
    "gpt2": {"activation": {"activation_function": "gelu"}, "by layer": {"scale_attn_by_inverse_layer_idx": False}},
    "llama": {"rotation": rope(theta=100.0)},
    "llama-linear": {"scaling": rope()}, "llama-llama3": {"scaling": rope(), "as linear": rope("linear", factor=8.0)},
    "llama-yarn": {
        "scaling": rope(), "as linear": rope("linear", factor=4.0),
        "attention factor": {"rope_parameters": {**YARN["rope_parameters"], "attention_factor": 1.0}},
    },
    "llama-outlier": {"rotation": rope(theta=100.0)},
    "phi": {"whole heads": rope(partial_rotary_factor=1.0), "half": rope(partial_rotary_factor=0.5)},
    "opt": {"ReLU": {"activation_function": "gelu"}},
    "qwen2": {"rotation": rope(theta=100.0)}, "qwen2-keys": {"rotation": rope(theta=100.0)},
    "qwen2-window": {"window": {"use_sliding_window": False}, "all blocks": {"max_window_layers": 0}},
    "qwen3": {"rotation": rope(theta=100.0)},
    "mistral": {"window": {"sliding_window": None}, "one more": {"sliding_window": 17}},
    "phi3": {
        "longrope": PLAIN,
        "attention factor": {"rope_parameters": {**LONGROPE["rope_parameters"], "attention_factor": 1.0}},
    },
    "phi3-old": {"factors": {"rope_scaling": None}},
    "gemma3_text": {
        "window": {"layer_types": [FULL, FULL]}, "all windows": {"layer_types": [SLIDING, SLIDING]},
        "scale": {"query_pre_attn_scalar": 256}, "activation": {"hidden_activation": "silu"},
    },
    "gemma3_text-old": {"local base": {"rope_local_base_freq": 1e4}, "scaling": {"rope_scaling": None}},
    "gpt_neox": {"parallel": {"use_parallel_residual": False}, "rotation": rope(partial_rotary_factor=0.5)},
    "gpt_neox-serial": {"base": {"rotary_emb_base": 10000}, "fraction": {"rotary_pct": 0.25}},
    "smollm3": {"no rotation": {"no_rope_layers": [1, 1]}},
    "granite": {key: {key: 1.0} for key in [
        "embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling"]},
    "olmo2": {"rotation": rope(theta=100.0)},
    "starcoder2": {"window": {"sliding_window": None}, "activation": {"hidden_act": "relu"}},
}
OUTLIER = 5


def queries_and_keys(kind, config, name, value):
    """Where a matrix (or bias) makes queries and keys, as a mask of its rows or columns, or nothing."""
    rows = torch.zeros(value.shape[-1] if kind == "gpt2" else value.shape[0], dtype=torch.bool)
    if "q_proj" in name or "k_proj" in name:
        rows[:] = True
    elif kind == "gpt2" and "c_attn" in name:
        rows[:2 * config.n_embd] = True
    elif kind == "phi3" and "qkv_proj" in name:
        width = config.hidden_size // config.num_attention_heads
        rows[:width * (config.num_attention_heads + config.num_key_value_heads)] = True
    elif kind == "gpt_neox" and "query_key_value" in name:
        rows.view(config.num_attention_heads, 3, -1)[:, :2] = True
    return rows


def draw(kind, config, name, value):
    """A weight in place of the one that `transformers` drew."""
    noise = torch.randn_like(value)
    if "ln_" in name or "norm" in name:
        return value + 0.1 * noise
    if name.endswith("bias"):
        return 0.1 * noise
    value = value + 0.02 * noise * (value.abs().sum(-1, keepdim=True) == 0)  # the row of the padding token
    if "embed" in name or "wte" in name or "wpe" in name or "head" in name:
        return 4 * value
    rows = queries_and_keys(kind, config, name, value)
    scale = torch.where(rows, 12.0, 8.0)
    return value * (scale if kind == "gpt2" else scale[:, None])


def large_keys(weights):
    """Biases of ±100 in the lanes that turn slowly, of ±3 in the others: as Qwen 2.5 has them."""
    for name in weights:
        if name.endswith("k_proj.bias"):
            half = weights[name].numel() // 2
            size = torch.tensor([3.0] * (half // 2) + [100.0] * (half - half // 2)).repeat(2)
            weights[name] = size * torch.where(torch.rand(2 * half) < 0.5, -1.0, 1.0) + weights[name]


def outlier(weights):
    """One channel of the residual stream some thousand times as large as the others, as in published models never near
    zero; the norms make up for it."""
    for name, value in weights.items():
        if "embed_tokens" in name:
            value /= value.std()
            value[:, OUTLIER] = 1000 + 200 * value[:, OUTLIER].clamp(-2, 2)
        elif "o_proj" in name or "down_proj" in name:
            value /= 8
            value[OUTLIER] *= 50
        elif "norm" in name:
            value *= 200
            value[OUTLIER] /= 10000


def stored(config):
    with tempfile.TemporaryDirectory() as temporary:
        config.save_pretrained(temporary)
        return json.loads((Path(temporary) / "config.json").read_text())


def write(name, config):
    folder = HERE / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def make(name):
    kind, seed, options = MODELS[name]
    config = CONFIG_MAPPING[kind](**options)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    tied = set(model.all_tied_weights_keys)
    weights = {key: value for key, value in model.state_dict().items() if key not in tied}
    weights = {key: draw(kind, config, key, value) for key, value in weights.items()}
    if name == "qwen2-keys":
        large_keys(weights)
    if name == "llama-outlier":
        outlier(weights)
    weights = {key: value.to(torch.float16).contiguous() for key, value in weights.items()}
    write(name, stored(config))
    save_file(weights, HERE / name / "model.safetensors", metadata={"format": "pt"})
    (HERE / name / "model.safetensors").chmod(0o644)


def vary(name):
    kind, source, change = VARIANTS[name]
    config = json.loads((HERE / source / "config.json").read_text())
    if kind != config["model_type"]:
        options = {**MODELS[source][2], **change}
        write(name, stored(CONFIG_MAPPING[kind](**options)))
        return
    config.update(change)
    write(name, {key: value for key, value in config.items() if key not in change or value is not None})


def load(name, change=None):
    source = VARIANTS[name][1] if name in VARIANTS else name
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "model.safetensors").symlink_to(HERE / source / "model.safetensors")
        config = json.loads((HERE / name / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **(change or {})}))
        model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    for kind in ["missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"]:
        if info[kind]:
            raise ValueError(f"{name}: {kind}: {info[kind]}")
    return source, model


def rounded(values, digits):
    return [float(f"{value:.{digits}g}") for value in values]


def answer(model, prompt):
    tokens = torch.tensor([prompt])
    output = model.generate(
        tokens, attention_mask=torch.ones_like(tokens), do_sample=False, max_new_tokens=NEW_TOKENS,
        return_dict_in_generate=True, output_logits=True,
    )
    logits = torch.cat(output.logits)
    best = logits.topk(2).values
    return {
        "tokens": output.sequences[0, len(prompt):].tolist(),
        "margins": rounded((best[:, 0] - best[:, 1]).tolist(), 4),
        "deviations": rounded(logits.std(-1).tolist(), 4),
        "logits": rounded(logits[0].tolist(), 6),
    }


def check(name):
    """Prints what each option of a checkpoint changes."""
    _, model = load(name)
    answers = [answer(model, prompt) for prompt in PROMPTS]
    relative = [m / d for a in answers for m, d in zip(a["margins"], a["deviations"])]
    distinct = [len(set(a["tokens"])) for a in answers]
    print(f"{name}: least margin {min(relative):.3f}, distinct tokens {distinct}, ends {[len(a['tokens']) for a in answers]}"
          f", deviation {answers[0]['deviations'][0]}, below 0.02: {sum(r < 0.02 for r in relative)}")
    for option, change in OFF.get(name, {}).items():
        _, other = load(name, change)
        others = [answer(other, prompt) for prompt in PROMPTS]
        tokens = [a["tokens"] != b["tokens"] for a, b in zip(answers, others)]
        change = [max(abs(x - y) for x, y in zip(a["logits"], b["logits"])) / a["deviations"][0]
                  for a, b in zip(answers, others)]
        print(f"    {option}: other tokens {tokens}, logits by {change[0]:.3f} and {change[1]:.3f} deviations")


def store():
    """One line for each prompt's answer."""
    lines = ["{", f'"prompts": {json.dumps(PROMPTS)},', '"models": {']
    names = [*MODELS, *VARIANTS]
    for name in names:
        source, model = load(name)
        answers = ",\n".join(json.dumps(answer(model, prompt), separators=(",", ":")) for prompt in PROMPTS)
        comma = "" if name == names[-1] else ","
        lines.append(f'"{name}": {{"weights": "{source}", "answers": [\n{answers}\n]}}{comma}')
    (HERE.parent / "models.json").write_text("\n".join([*lines, "}", "}"]) + "\n")


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    disable_progress_bar()
    if "--check" in sys.argv:
        for name in [*MODELS, *VARIANTS]:
            check(name)
    else:
        shutil.rmtree(HERE, ignore_errors=True)
        for name in MODELS:
            make(name)
        for name in VARIANTS:
            vary(name)
        store()
