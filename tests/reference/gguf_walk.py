"""The same walk over the metadata of a GGUF file, made of the stored Llama: `from_pretrained(folder, gguf_file=...)`.

    pip install -r requirements.txt && python gguf_walk.py

`gguf.json` has the answers, each once, and the cases: a key, its type, its value (null: the key is taken out), and the
index of the answer or null for an error. Answer 0 is that of the unchanged file. `transformers` reads few keys and
passes over the rest, among them some that llama.cpp reads: the test says which.
"""

import logging
import tempfile
import warnings
from pathlib import Path

import gguf
import numpy
from safetensors.numpy import load_file

from walk import HERE, answer, store

HEADS = 1
NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "model.layers": "blk", "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}
U32, F32, TEXT, FLAG = "u32", "f32", "text", "flag"
METADATA = {
    "llama.block_count": (U32, 2), "llama.context_length": (U32, 64), "llama.embedding_length": (U32, 64),
    "llama.feed_forward_length": (U32, 64), "llama.attention.head_count": (U32, HEADS),
    "llama.attention.head_count_kv": (U32, HEADS), "llama.attention.layer_norm_rms_epsilon": (F32, 1e-6),
    "llama.rope.freq_base": (F32, 10000.0), "llama.rope.dimension_count": (U32, 64), "llama.vocab_size": (U32, 128),
    "tokenizer.ggml.eos_token_id": (U32, 127),
}
CASES = [
    ("llama.block_count", U32, 1), ("llama.block_count", U32, 3), ("llama.block_count", F32, 2.0),
    ("llama.block_count", None, None), ("llama.context_length", U32, 32), ("llama.context_length", None, None),
    ("llama.embedding_length", U32, 128), ("llama.embedding_length", None, None),
    ("llama.feed_forward_length", U32, 128), ("llama.feed_forward_length", None, None),
    ("llama.attention.head_count", U32, 2), ("llama.attention.head_count", None, None),
    ("llama.attention.head_count_kv", U32, 2), ("llama.attention.head_count_kv", None, None),
    ("llama.attention.key_length", U32, 64), ("llama.attention.key_length", U32, 32),
    ("llama.attention.value_length", U32, 64), ("llama.attention.value_length", U32, 32),
    ("llama.attention.layer_norm_rms_epsilon", F32, 0.05), ("llama.attention.layer_norm_rms_epsilon", U32, 0),
    ("llama.attention.layer_norm_rms_epsilon", None, None), ("llama.vocab_size", U32, 100),
    ("llama.vocab_size", None, None), ("llama.rope.dimension_count", U32, 32),
    ("llama.rope.dimension_count", None, None), ("llama.rope.freq_base", F32, 100.0),
    ("llama.rope.freq_base", U32, 100),
    ("llama.rope.freq_base", None, None), ("llama.rope.scaling.type", TEXT, "none"),
    ("llama.rope.scaling.type", TEXT, "linear"), ("llama.rope.scaling.type", TEXT, "yarn"),
    ("llama.rope.scaling.type", TEXT, "longrope"), ("llama.rope.scaling.type", U32, 1),
    ("llama.rope.scaling.factor", F32, 4.0), ("llama.rope.scaling.factor", F32, 1.0),
    ("llama.rope.scaling.factor", F32, 0.0), ("llama.rope.scaling.factor", F32, 0.5),
    ("llama.rope.scaling.factor", U32, 4), ("llama.rope.scale_linear", F32, 4.0),
    ("llama.rope.scaling.original_context_length", U32, 16), ("llama.rope.scaling.finetuned", FLAG, True),
    ("llama.rope.scaling.finetuned", U32, 1), ("llama.rope.scaling.attn_factor", F32, 1.0),
    ("llama.rope.scaling.attn_factor", F32, 2.0), ("llama.rope.scaling.alpha", F32, 0.0),
    ("llama.rope.scaling.alpha", F32, 2.0), ("llama.rope.scaling.yarn_log_multiplier", F32, 0.0),
    ("llama.rope.scaling.yarn_log_multiplier", F32, 0.1), ("llama.rope.scaling.yarn_ext_factor", F32, 1.0),
    ("llama.rope.scaling.yarn_attn_factor", F32, 2.0), ("llama.rope.scaling.yarn_beta_fast", F32, 16.0),
    ("llama.rope.scaling.yarn_beta_slow", F32, 2.0), ("llama.tensor_data_layout", TEXT, "Meta AI original pth"),
    ("llama.tensor_data_layout", TEXT, "other"), ("llama.attention.causal", FLAG, True),
    ("llama.attention.causal", FLAG, False), ("llama.attention.scale", F32, 0.0), ("llama.attention.scale", F32, 0.5),
    ("llama.attention.sliding_window", U32, 0), ("llama.attention.sliding_window", U32, 2),
    ("llama.attention.clamp_kqv", F32, 0.0), ("llama.attention.clamp_kqv", F32, 0.1),
    ("llama.attention.max_alibi_bias", F32, 0.0), ("llama.attention.max_alibi_bias", F32, 8.0),
    ("llama.logit_scale", F32, 0.0), ("llama.logit_scale", F32, 0.5), ("llama.residual_scale", F32, 1.0),
    ("llama.residual_scale", F32, 0.5), ("llama.embedding_scale", F32, 1.0), ("llama.embedding_scale", F32, 8.0),
    ("llama.attn_logit_softcapping", F32, 0.0), ("llama.attn_logit_softcapping", F32, 50.0),
    ("llama.final_logit_softcapping", F32, 0.0), ("llama.final_logit_softcapping", F32, 30.0),
    ("llama.expert_count", U32, 0), ("llama.expert_count", U32, 8), ("llama.expert_used_count", U32, 0),
    ("llama.expert_used_count", U32, 2), ("llama.expert_shared_count", U32, 1), ("llama.expert_group_count", U32, 2),
    ("llama.expert_group_used_count", U32, 2), ("llama.leading_dense_block_count", U32, 1),
    ("llama.nextn_predict_layers", U32, 1), ("llama.use_parallel_residual", FLAG, False),
    ("llama.use_parallel_residual", FLAG, True), ("llama.pooling_type", U32, 0), ("llama.pooling_type", U32, 1),
    ("llama.rope.freq_base_swa", F32, 100.0), ("llama.unheard_of", U32, 0), ("general.type", TEXT, "model"),
    ("general.type", TEXT, "adapter"), ("general.name", TEXT, "a"), ("general.file_type", U32, 1),
    ("general.license", TEXT, "MIT"), ("general.sampling.temp", F32, 0.5), ("quantize.imatrix.file", TEXT, "a"),
]


def paired(weight):
    """Rows of each head with the two numbers of a rotary pair beside each other."""
    rows, columns = weight.shape
    return weight.reshape(HEADS, 2, rows // HEADS // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write(path, metadata):
    writer = gguf.GGUFWriter(path, "llama")
    add = {U32: writer.add_uint32, F32: writer.add_float32, TEXT: writer.add_string, FLAG: writer.add_bool}
    for key, (kind, value) in metadata.items():
        add[kind](key, value)
    writer.add_array("tokenizer.ggml.tokens", [f"t{id}" for id in range(128)])
    for name, weight in load_file(HERE / "llama" / "model.safetensors").items():
        weight = weight.astype(numpy.float32)
        if "q_proj" in name or "k_proj" in name:
            weight = paired(weight)
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        writer.add_tensor(name, numpy.ascontiguousarray(weight))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    known, found = [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for key, kind, value in [("general.name", TEXT, "base"), *CASES]:
            changed = {**METADATA, key: (kind, value)}
            write(folder / "model.gguf", {key: stated for key, stated in changed.items() if stated[0]})
            try:
                answers, margin = answer(folder, gguf_file="model.gguf")
            except Exception as error:
                print(f"{key} {kind} {value}: {type(error).__name__}: {str(error)[:90]!r}")
                found.append([key, kind, value, None])
                continue
            if answers not in known:
                known.append(answers)
            print(f"{key} {kind} {value}: {known.index(answers)} {margin:.3f}")
            found.append([key, kind, value, known.index(answers)])
    store(HERE / "gguf.json", {"answers": known, "cases": found})
