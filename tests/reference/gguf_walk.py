"""The same walk over the metadata of GGUF files, made of the stored checkpoints: `from_pretrained(folder, gguf_file=...)`.

    pip install -r requirements.txt && python gguf_walk.py

`gguf.json` has for each architecture the answers, each once, and the cases: a key, its type, its value (null: the key
is taken out), and the index of the answer or null for an error. Answer 0 is that of the unchanged file. `transformers`
reads few keys and passes over the rest, among them some that llama.cpp reads: the test says which.
"""

import logging
import tempfile
import warnings
from pathlib import Path

import gguf
import numpy
from safetensors.numpy import load_file
from transformers.utils.logging import disable_progress_bar

from walk import HERE, answer, store

U32, F32, TEXT, FLAG = "u32", "f32", "text", "flag"
NAMES = {
    "gpt2": {
        "wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm", "h.": "blk.", "ln_1": "attn_norm",
        "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up",
        "mlp.c_proj": "ffn_down",
    },
    "llama": {
        "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
        "model.layers": "blk", "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
        "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    },
}
# `transformers` reads neither the context nor the width of the feed-forward part of a GPT-2: they are its defaults.
CONTEXT, HIDDEN = 1024, 256
# Under the architecture's prefix.
METADATA = {
    "gpt2": {
        "block_count": (U32, 2), "context_length": (U32, CONTEXT), "embedding_length": (U32, 64),
        "feed_forward_length": (U32, HIDDEN), "attention.head_count": (U32, 1),
        "attention.layer_norm_epsilon": (F32, 1e-5),
    },
    "llama": {
        "block_count": (U32, 2), "context_length": (U32, 64), "embedding_length": (U32, 64),
        "feed_forward_length": (U32, 64), "attention.head_count": (U32, 1), "attention.head_count_kv": (U32, 1),
        "attention.layer_norm_rms_epsilon": (F32, 1e-6), "rope.freq_base": (F32, 10000.0),
        "rope.dimension_count": (U32, 64), "vocab_size": (U32, 128),
    },
}
OWN = {
    "gpt2": [
        ("attention.head_count_kv", U32, 1), ("attention.head_count_kv", U32, 2), ("attention.head_count_kv", None, None),
        ("attention.layer_norm_epsilon", F32, 0.05), ("attention.layer_norm_epsilon", U32, 0),
        ("attention.layer_norm_epsilon", None, None), ("context_length", U32, 1024), ("feed_forward_length", U32, 256),
        ("attention.layer_norm_rms_epsilon", F32, 0.05), ("rope.freq_base", F32, 100.0), ("rope.dimension_count", U32, 32),
        ("rope.scaling.factor", F32, 4.0), ("attention.group_norm_epsilon", F32, 0.05),
    ],
    "llama": [
        ("attention.head_count_kv", U32, 2), ("attention.head_count_kv", None, None),
        ("attention.layer_norm_rms_epsilon", F32, 0.05), ("attention.layer_norm_rms_epsilon", U32, 0),
        ("attention.layer_norm_rms_epsilon", None, None), ("rope.dimension_count", U32, 32),
        ("rope.dimension_count", None, None), ("rope.freq_base", F32, 100.0), ("rope.freq_base", U32, 100),
        ("rope.freq_base", None, None), ("rope.scaling.type", TEXT, "none"), ("rope.scaling.type", TEXT, "linear"),
        ("rope.scaling.type", TEXT, "yarn"), ("rope.scaling.type", TEXT, "longrope"), ("rope.scaling.type", U32, 1),
        ("rope.scaling.factor", F32, 4.0), ("rope.scaling.factor", F32, 1.0), ("rope.scaling.factor", F32, 0.0),
        ("rope.scaling.factor", F32, 0.5), ("rope.scaling.factor", U32, 4), ("rope.scale_linear", F32, 4.0),
        ("rope.scaling.original_context_length", U32, 16), ("rope.scaling.finetuned", FLAG, True),
        ("rope.scaling.finetuned", U32, 1), ("rope.scaling.attn_factor", F32, 1.0), ("rope.scaling.attn_factor", F32, 2.0),
        ("rope.scaling.alpha", F32, 0.0), ("rope.scaling.alpha", F32, 2.0), ("rope.scaling.yarn_log_multiplier", F32, 0.0),
        ("rope.scaling.yarn_log_multiplier", F32, 0.1), ("rope.scaling.yarn_ext_factor", F32, 1.0),
        ("rope.scaling.yarn_attn_factor", F32, 2.0), ("rope.scaling.yarn_beta_fast", F32, 16.0),
        ("rope.scaling.yarn_beta_slow", F32, 2.0), ("tensor_data_layout", TEXT, "Meta AI original pth"),
        ("tensor_data_layout", TEXT, "other"),
    ],
}
# Of each architecture.
SHARED = [
    ("block_count", U32, 1), ("block_count", U32, 3), ("block_count", F32, 2.0), ("block_count", None, None),
    ("context_length", U32, 32), ("context_length", None, None), ("embedding_length", U32, 128),
    ("embedding_length", None, None), ("feed_forward_length", U32, 128), ("feed_forward_length", None, None),
    ("attention.head_count", U32, 2), ("attention.head_count", None, None), ("attention.key_length", U32, 64),
    ("attention.key_length", U32, 32), ("attention.value_length", U32, 64), ("attention.value_length", U32, 32),
    ("vocab_size", U32, 100), ("vocab_size", None, None), ("attention.causal", FLAG, True),
    ("attention.causal", FLAG, False), ("attention.scale", F32, 0.0), ("attention.scale", F32, 0.5),
    ("attention.sliding_window", U32, 0), ("attention.sliding_window", U32, 2), ("attention.clamp_kqv", F32, 0.0),
    ("attention.clamp_kqv", F32, 0.1), ("attention.max_alibi_bias", F32, 0.0), ("attention.max_alibi_bias", F32, 8.0),
    ("logit_scale", F32, 0.0), ("logit_scale", F32, 0.5), ("residual_scale", F32, 1.0), ("residual_scale", F32, 0.5),
    ("embedding_scale", F32, 1.0), ("embedding_scale", F32, 8.0), ("attn_logit_softcapping", F32, 0.0),
    ("attn_logit_softcapping", F32, 50.0), ("final_logit_softcapping", F32, 0.0),
    ("final_logit_softcapping", F32, 30.0), ("expert_count", U32, 0), ("expert_count", U32, 8),
    ("expert_used_count", U32, 0), ("expert_used_count", U32, 2), ("expert_shared_count", U32, 1),
    ("expert_group_count", U32, 2), ("expert_group_used_count", U32, 2), ("leading_dense_block_count", U32, 1),
    ("nextn_predict_layers", U32, 1), ("use_parallel_residual", FLAG, False), ("use_parallel_residual", FLAG, True),
    ("pooling_type", U32, 0), ("pooling_type", U32, 1), ("rope.freq_base_swa", F32, 100.0), ("unheard_of", U32, 0),
]
GENERAL = [
    ("general.type", TEXT, "model"), ("general.type", TEXT, "adapter"), ("general.name", TEXT, "a"),
    ("general.file_type", U32, 1), ("general.license", TEXT, "MIT"), ("general.sampling.temp", F32, 0.5),
    ("quantize.imatrix.file", TEXT, "a"),
]


def paired(weight):
    """Rows of a head with the two numbers of a rotary pair beside each other."""
    rows, columns = weight.shape
    return weight.reshape(2, rows // 2, columns).swapaxes(0, 1).reshape(rows, columns)


def padded(weight, rows):
    """With zeros up to this number of rows."""
    return numpy.pad(weight, [(0, rows - len(weight))] + [(0, 0)] * (weight.ndim - 1))


def laid_out(architecture, name, weight):
    """A stored tensor as it lies in a GGUF file."""
    weight = weight.astype(numpy.float32)
    if "q_proj" in name or "k_proj" in name:
        return paired(weight)
    if "wpe" in name:
        return padded(weight, CONTEXT)
    if "c_fc" in name:
        return padded(weight.T, HIDDEN)
    if name.endswith("mlp.c_proj.weight"):
        return padded(weight, HIDDEN).T
    return weight.T if architecture == "gpt2" and weight.ndim == 2 and "wte" not in name else weight


def write(path, architecture, metadata):
    writer = gguf.GGUFWriter(path, architecture)
    add = {U32: writer.add_uint32, F32: writer.add_float32, TEXT: writer.add_string, FLAG: writer.add_bool}
    for key, (kind, value) in metadata.items():
        add[kind](key, value)
    writer.add_array("tokenizer.ggml.tokens", [f"t{id}" for id in range(128)])
    for name, weight in load_file(HERE / architecture / "model.safetensors").items():
        weight = laid_out(architecture, name, weight)
        name = name.removeprefix("transformer.")
        for theirs, ours in NAMES[architecture].items():
            name = name.replace(theirs, ours)
        writer.add_tensor(name, numpy.ascontiguousarray(weight))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def walk(architecture, known):
    """The cases of an architecture; answers that are not in `known` yet are appended to it."""
    base = {f"{architecture}.{key}": stated for key, stated in METADATA[architecture].items()}
    base["tokenizer.ggml.eos_token_id"] = (U32, 127)
    own = [(f"{architecture}.{key}", kind, value) for key, kind, value in OWN[architecture] + SHARED]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for key, kind, value in [("general.name", TEXT, "base"), *own, *GENERAL]:
            changed = {**base, key: (kind, value)}
            write(folder / "model.gguf", architecture, {key: stated for key, stated in changed.items() if stated[0]})
            try:
                answers, margin = answer(folder, gguf_file="model.gguf")
            except Exception as error:
                print(f"{key} {kind} {value}: {type(error).__name__}: {str(error)[:90]!r}", flush=True)
                yield [key, kind, value, None]
                continue
            if answers not in known:
                known.append(answers)
            print(f"{key} {kind} {value}: {known.index(answers)} {margin:.3f}", flush=True)
            yield [key, kind, value, known.index(answers)]


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    disable_progress_bar()
    result = {}
    for architecture in METADATA:
        known = []
        found = list(walk(architecture, known))
        result |= {f"{architecture} answers": known, f"{architecture} cases": found}
    store(HERE / "gguf.json", result)
