"""Makes the checkpoints of this folder: one small random model per model_type, in Hugging Face's layout.

    pip install -r requirements.txt && python checkpoints.py

Weights are drawn by `transformers`, four times as large as it draws them for training, queries and keys twelve
times, so that logits and attention differ clearly from token to token; then they are rounded to float16. The
tokenizer, the same for all, has a token for each printable character of ASCII.
"""

import json
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).parent
VOCABULARY = 128
END = 127

GPT2 = GPT2Config(
    n_embd=64, n_head=1, n_layer=2, n_inner=64, n_positions=32, vocab_size=VOCABULARY,
    bos_token_id=END, eos_token_id=END,
)
LLAMA = LlamaConfig(
    hidden_size=64, num_attention_heads=1, num_key_value_heads=1, num_hidden_layers=2, intermediate_size=64,
    max_position_embeddings=64, vocab_size=VOCABULARY, bos_token_id=1, eos_token_id=END,
)
MODELS = {"gpt2": (GPT2LMHeadModel, GPT2, 33), "llama": (LlamaForCausalLM, LLAMA, 34)}


def draw(name, value):
    """A weight in place of the one that `transformers` drew."""
    noise = torch.randn_like(value)
    if "ln_" in name or "norm" in name:
        return value + 0.1 * noise
    if name.endswith("bias"):
        return 0.05 * noise
    value = 4 * value
    if "c_attn" in name:
        value[:, :128] *= 3
    if "q_proj" in name or "k_proj" in name:
        value = 3 * value
    return value


def make(name):
    architecture, config, seed = MODELS[name]
    torch.manual_seed(seed)
    model = architecture(config)
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    tied = set(model.all_tied_weights_keys)
    weights = {key: value for key, value in model.state_dict().items() if key not in tied}
    weights = {key: draw(key, value).to(torch.float16).contiguous() for key, value in weights.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    with tempfile.TemporaryDirectory() as temporary:
        config.save_pretrained(temporary)
        stored = json.loads((Path(temporary) / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(stored, indent=2) + "\n")


def tokenizer():
    """Byte-level BPE without merges: a space is written as the byte-level alphabet's letter for it."""
    letters = ["\u0120"] + [chr(code) for code in range(33, 127)] + ["<|endoftext|>"]
    vocabulary = {letter: id for id, letter in enumerate(letters)}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": byte_level, "post_processor": None, "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }


if __name__ == "__main__":
    for name in MODELS:
        make(name)
    (HERE / "tokenizer.json").write_text(json.dumps(tokenizer()) + "\n")
