"""How llama.cpp's converter makes GGUF files of the stored checkpoints in `models/`, and what `transformers` answers to these.

    pip install -r requirements.txt && python gguf_models.py

`gguf_models.json` has for each file: the checkpoint's configuration and weights (folders of `models/`), what of the
configuration such a file does not say, or says otherwise (`change`); its metadata under the architecture's prefix, each
key with its type; its tensors: the name of the one in the checkpoint that each is made of (several: side by side), the
order of its rows where that is another, what is added to it, or its values where there is none; and, where there is a
change, the answers as in `models.json`, which has the others.

Names are those of the package `gguf`; orders of rows are found by doing to the rows' numbers what the converter does to
the rows.
"""

import json
import logging
import math
import warnings

import gguf
import numpy
from safetensors import safe_open
from transformers.utils.logging import disable_progress_bar

import models

U32, F32, TEXT, FLAG = "u32", "f32", "text", "flag"
HERE = models.HERE.parent
# The file's name: the architecture, the configuration, what is changed in it, and what the converter does not write.
FILES = {
    "llama": ("llama", "llama", {}, {}),
    "llama-linear": ("llama", "llama-linear", {}, {}),
    "llama-llama3": ("llama", "llama-llama3", {}, {}),
    "llama-yarn": ("llama", "llama-yarn", {}, {}),
    "llama-outlier": ("llama", "llama-outlier", {}, {}),
    "mistral": ("llama", "mistral", {"sliding_window": None}, {}),
    "qwen2": ("qwen2", "qwen2", {}, {}),
    "qwen2-keys": ("qwen2", "qwen2-keys", {}, {}),
    "qwen2-yarn": (
        "qwen2", "qwen2", models.rope("yarn", theta=1e6, factor=4.0, original_max_position_embeddings=16), {},
    ),
    "qwen3": ("qwen3", "qwen3", {}, {}),
    "gemma3": ("gemma3", "gemma3_text", {"query_pre_attn_scalar": 256}, {"attention.sliding_window_pattern": (U32, 2)}),
    "gemma3-windows": (
        "gemma3", "gemma3_text", {"query_pre_attn_scalar": 256, "layer_types": [models.SLIDING, models.SLIDING]}, {},
    ),
    "gemma3-full": (
        "gemma3", "gemma3_text", {"query_pre_attn_scalar": 256, "layer_types": [models.FULL, models.FULL]},
        {"attention.sliding_window": (U32, 0)},
    ),
    "gemma3-linear": (
        "gemma3", "gemma3_text-old", {"query_pre_attn_scalar": 256}, {"attention.sliding_window_pattern": (U32, 2)},
    ),
    "phi3": ("phi3", "phi3", {}, {}),
    "phi3-whole": ("phi3", "phi3-old", {}, {}),
    "phi3-window": ("phi3", "phi3", {"sliding_window": 16, "rope_parameters": models.PLAIN["rope_parameters"]}, {}),
    "smollm3": ("smollm3", "smollm3", {"no_rope_layers": [1, 1]}, {}),
    "olmo2": ("olmo2", "olmo2", {}, {}),
    "granite": ("granite", "granite", {}, {}),
    "starcoder2": ("starcoder2", "starcoder2", {"sliding_window": None}, {}),
    "gptneox": ("gptneox", "gpt_neox", {"hidden_act": "gelu_new"}, {}),
    "gptneox-serial": ("gptneox", "gpt_neox-serial", {"hidden_act": "gelu_new"}, {"rope.freq_base": (F32, 1000.0)}),
    "phi2": ("phi2", "phi", {}, {}),
    # As files were made before the checkpoint's names were others.
    "phi2-fused": ("phi2", "phi", {}, {}),
}
PAIRED = ["llama", "smollm3", "granite"]


def rotations(config):
    """The rotations of all blocks, or of those without a window, with the keys of older versions."""
    stated = config.get("rope_parameters") or config.get("rope_scaling") or {}
    stated = stated.get(models.FULL, stated)
    theta = config.get("rope_theta") or config.get("rotary_emb_base")
    part = config.get("partial_rotary_factor") or config.get("rotary_pct") or 1.0
    kind = stated.get("rope_type") or stated.get("type") or "default"
    return {"rope_theta": theta, "partial_rotary_factor": part, **stated, "rope_type": kind}


def metadata(architecture, config):
    """What the converter writes for a configuration."""
    rope = rotations(config)
    width, heads = config["hidden_size"], config["num_attention_heads"]
    head = config.get("head_dim", width // heads)
    result = {
        "block_count": (U32, config["num_hidden_layers"]), "context_length": (U32, config["max_position_embeddings"]),
        "embedding_length": (U32, width), "feed_forward_length": (U32, config["intermediate_size"]),
        "attention.head_count": (U32, heads),
    }
    if architecture != "gptneox":
        result["attention.head_count_kv"] = (U32, config["num_key_value_heads"])
        result["rope.freq_base"] = (F32, rope["rope_theta"])
    if "head_dim" in config:
        result |= {"attention.key_length": (U32, head), "attention.value_length": (U32, head)}
    if "rms_norm_eps" in config:
        result["attention.layer_norm_rms_epsilon"] = (F32, config["rms_norm_eps"])
    else:
        epsilon = config.get("norm_epsilon", config.get("layer_norm_eps"))
        result["attention.layer_norm_epsilon"] = (F32, epsilon)
    if rope["rope_type"] in ["linear", "yarn"]:
        result |= {"rope.scaling.type": (TEXT, rope["rope_type"]), "rope.scaling.factor": (F32, rope["factor"])}
    if rope["rope_type"] == "yarn":
        result["rope.scaling.original_context_length"] = (U32, rope["original_max_position_embeddings"])
    if architecture in PAIRED:
        result |= {"vocab_size": (U32, config["vocab_size"]), "rope.dimension_count": (U32, head)}
    if architecture in ["phi2", "phi3", "gptneox"]:
        result["rope.dimension_count"] = (U32, int(rope["partial_rotary_factor"] * width) // heads)
    if architecture in ["gemma3", "phi3"]:
        result["attention.sliding_window"] = (U32, config["sliding_window"] or 0)
    if architecture == "gemma3":
        local = config.get("rope_local_base_freq") or config["rope_parameters"][models.SLIDING]["rope_theta"]
        result["rope.freq_base_swa"] = (F32, local)
    if architecture == "phi3":
        original = config["original_max_position_embeddings"]
        result["rope.scaling.original_context_length"] = (U32, original)
        if rope["rope_type"] == "longrope":
            scale = config["max_position_embeddings"] / original
            factor = math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0
            result["rope.scaling.attn_factor"] = (F32, factor)
    if architecture == "gptneox":
        result["use_parallel_residual"] = (FLAG, config["use_parallel_residual"])
    if architecture == "granite":
        result |= {
            "attention.scale": (F32, config["attention_multiplier"]),
            "embedding_scale": (F32, config["embedding_multiplier"]),
            "residual_scale": (F32, config["residual_multiplier"]), "logit_scale": (F32, config["logits_scaling"]),
        }
    return result


def order(architecture, config, name, rows):
    """The numbers of the rows of a tensor in the checkpoint, as they lie in the file; nothing where they stay."""
    numbers = numpy.arange(rows)
    if architecture in PAIRED and ("q_proj" in name or "k_proj" in name):
        heads = config["num_attention_heads" if "q_proj" in name else "num_key_value_heads"]
        return numbers.reshape(heads, 2, -1).swapaxes(1, 2).reshape(-1).tolist()
    if architecture == "gptneox" and "query_key_value" in name:
        parts = numbers.reshape(config["num_attention_heads"], 3, -1)
        return numpy.concatenate([parts[:, part].reshape(-1) for part in range(3)]).tolist()
    return None


def factors(config):
    """Llama 3.1's scaling as by what each pair's frequency is divided, in float32."""
    rope = rotations(config)
    pairs = numpy.arange(0, config["head_dim"], 2, dtype=numpy.float32)
    frequencies = 1.0 / rope["rope_theta"] ** (pairs / config["head_dim"])
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    turns = rope["original_max_position_embeddings"] * frequencies / (2 * math.pi)
    kept = numpy.clip((turns - low) / (high - low), 0, 1)
    return (1 / ((1 - kept) / rope["factor"] + kept)).astype(numpy.float32)


def extra(architecture, config):
    """Tensors that no checkpoint has."""
    rope = rotations(config)
    if rope["rope_type"] == "llama3":
        yield "rope_freqs.weight", factors(config)
    if rope["rope_type"] == "longrope":
        for kind in ["short", "long"]:
            yield f"rope_factors_{kind}.weight", numpy.array(rope[f"{kind}_factor"], dtype=numpy.float32)


def fused(tensors):
    """With queries, keys and values in one tensor."""
    for name, made in tensors.items():
        if ".attn_q." in name:
            sources = [tensors[name.replace("attn_q", f"attn_{kind}")]["from"][0] for kind in "qkv"]
            yield name.replace("attn_q", "attn_qkv"), {"from": sources}
        elif not any(f".attn_{kind}." in name for kind in "kv"):
            yield name, made


def tensors(architecture, config, weights):
    kind = next(kind for kind, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(kind, config["num_hidden_layers"])
    result = {}
    with safe_open(models.HERE / weights / "model.safetensors", "np") as file:
        for name in file.keys():
            made = {"from": [name]}
            rows = order(architecture, config, name, file.get_slice(name).get_shape()[0])
            if rows is not None:
                made["rows"] = rows
            if architecture == "gemma3" and name.endswith("norm.weight"):
                made["add"] = 1.0
            result[names.get_name(name, (".weight", ".bias"))] = made
    for name, values in extra(architecture, config):
        result[name] = {"values": [float(value) for value in values]}
    return result


def made(name):
    architecture, source, change, others = FILES[name]
    weights = models.VARIANTS[source][1] if source in models.VARIANTS else source
    config = json.loads((models.HERE / source / "config.json").read_text()) | change
    stored = tensors(architecture, config, weights)
    result = {
        "architecture": architecture, "config": source, "weights": weights, "change": change,
        "metadata": metadata(architecture, config) | others,
        "tensors": dict(fused(stored)) if name.endswith("-fused") else stored,
    }
    if change:
        _, model = models.load(source, change)
        result["answers"] = [models.answer(model, prompt) for prompt in models.PROMPTS]
    return result


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    disable_progress_bar()
    lines = [f"{json.dumps(name)}: {json.dumps(made(name), separators=(',', ':'))}" for name in FILES]
    (HERE / "gguf_models.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
