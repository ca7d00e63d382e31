"""Walks over the keys of a `config.json`: what does each of them change in what `transformers` answers?

    pip install -r requirements.txt && python walk.py

Each case changes a stored checkpoint's `config.json` in one key, or in a few that belong together, and loads it with
the same weights (those in `models/` by the cases in `walk_cases.py`, with its longer prompts): `AutoModelForCausalLM.from_pretrained` in float32, as if nothing else were in the folder. The answer
is what `generate` appends to each of the prompts, greedily and with an attention mask of ones; it is an error where
`transformers` fails, and where it would draw weights at random that the file does not have.

`walk.json` has the prompts, the answers, each once, and for every checkpoint the cases: what is changed, the answer's
index or null for an error, and the least margin of a logit over the next one (null where they are no numbers). Answer 0 is that of the unchanged checkpoint. It has also what absent keys mean.
With names as arguments, only those are walked, and the rest of `walk.json` stays.
"""

import dataclasses
import json
import logging
import math
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, GenerationConfig
from transformers.utils.logging import disable_progress_bar

import models
import walk_cases
from walk_cases import ABSENT

HERE = Path(__file__).parent
NEW_TOKENS = 8
PROMPTS = [[40, 3, 77, 18, 61], [7 * i % 94 + 1 for i in range(12)], [(i * i + 5) % 95 for i in range(20)]]

GENERATION = {
    # read where there is no generation_config.json, whatever the model_type: walked over once
    "max_length": [4, 100, None], "max_new_tokens": [3, None], "min_length": [0, 30, None],
    "min_new_tokens": [8, None], "do_sample": [True, False, None], "temperature": [0.1, 2.0, None],
    "top_k": [1, 0, None], "top_p": [0.2, None], "min_p": [0.5, None], "top_h": [0.5, None],
    "typical_p": [0.5, None], "epsilon_cutoff": [0.3, None], "eta_cutoff": [0.3, None],
    "early_stopping": [True, "never", None], "num_beams": [1, 4, None], "num_beam_groups": [1, 2, None],
    "length_penalty": [3.0, None], "diversity_penalty": [1.0, None], "repetition_penalty": [1.0, 9.0, None],
    "encoder_repetition_penalty": [1.0, 9.0, None], "no_repeat_ngram_size": [0, 1, None],
    "encoder_no_repeat_ngram_size": [0, 1, None], "bad_words_ids": [[[9], [4], [41]], None],
    "renormalize_logits": [True, None], "remove_invalid_values": [True, None], "forced_bos_token_id": [5, None],
    "forced_eos_token_id": [5, None], "force_bos_token_to_be_generated": [True, False],
    "forced_decoder_ids": [[[1, 5]], None], "exponential_decay_length_penalty": [[1, 90.0], None],
    "suppress_tokens": [list(range(0, 128, 2)), None], "begin_suppress_tokens": [list(range(0, 128, 2)), None],
    "sequence_bias": [[[[7], 90.0]], None], "token_healing": [True, False, None], "guidance_scale": [1, 3.0, None],
    "watermarking_config": [{"bias": 50.0}, None], "num_return_sequences": [1, 2, None],
    "output_scores": [True, None], "output_logits": [True, None], "return_dict_in_generate": [True, None],
    "cache_implementation": ["static", "dynamic", "offloaded", "paper", None], "cache_config": [{"nbits": 2}, None],
    "max_cache_len": [64, None], "prefill_chunk_size": [4, None], "penalty_alpha": [0.6, None],
    "dola_layers": ["low", None], "constraints": [[1], None], "force_words_ids": [[[5]], None],
    "stop_strings": [["a"], None], "max_time": [1e-9, None], "use_mtp": [True, False, None],
    "speculation_type": ["dflash", None], "is_assistant": [True, None], "num_assistant_tokens": [3, None],
    "num_assistant_tokens_schedule": ["heuristic", None], "assistant_confidence_threshold": [0.9, None],
    "prompt_lookup_num_tokens": [3, None], "max_matching_ngram_size": [1, None], "assistant_early_exit": [1, None],
    "assistant_lookbehind": [1, None], "target_lookbehind": [1, None], "assistant_ensemble_weight": [0.5, None],
    "compile_config": [{}, None], "disable_compile": [True, None], "continuous_batching_config": [{}, None],
    "low_memory": [True, None],
}

COMMON = {
    # what every configuration may have
    "model_type": [None, "bert", ABSENT],
    "architectures": [["GPT2LMHeadModel"], ["LlamaForCausalLM"], None, "LlamaForCausalLM"],
    "transformers_version": ["4.0.0", None, 5], "_name_or_path": ["a/b", None], "name_or_path": ["a/b", None],
    "_commit_hash": ["0", None], "dtype": ["float16", "bfloat16", "float32", "float64", None, "auto"],
    "torch_dtype": ["float16", "bfloat16", "float32", "float64", None, "auto"],
    "use_cache": [False, None], "output_hidden_states": [True, None], "output_attentions": [True, None],
    "return_dict": [False, None], "use_return_dict": [False], "torchscript": [True, None],
    "chunk_size_feed_forward": [1, None], "is_encoder_decoder": [True, None], "is_decoder": [True, False, None],
    "is_causal": [True, False, None], "add_cross_attention": [True, False, None],
    "cross_attention_hidden_size": [32, None], "tie_encoder_decoder": [True, False],
    "tie_last_hidden_states": [False, None], "pruned_heads": [{"0": [0]}, {}, None],
    "id2label": [{"0": "a"}, {"a": "a"}, None], "label2id": [{"a": 0}, None], "num_labels": [7, 1, None],
    "_num_labels": [7, None], "problem_type": ["regression", None, "other"],
    "finetuning_task": ["x", None], "task_specific_params": [{"text-generation": {"do_sample": True}}, None],
    "tokenizer_class": ["GPT2Tokenizer", None], "prefix": ["x", None], "sep_token_id": [5, None],
    "cls_token_id": [5, None], "mask_token_id": [5, None], "decoder_start_token_id": [5, None],
    "bos_token_id": [5, 500, None, "x"], "pad_token_id": [5, 127, -1, 500, None],
    "attn_implementation": ["eager", "sdpa", "flash_attention_2", None],
    "_attn_implementation": ["eager", "sdpa", None], "_attn_implementation_autoset": [True, False],
    "_attn_implementation_internal": ["eager", None], "_flash_attn_2_enabled": [True, False],
    "experts_implementation": ["eager", None], "gradient_checkpointing": [True, False, None],
    "use_bfloat16": [True, False], "tf_legacy_loss": [True, False],
    "quantization_config": [{"quant_method": "bitsandbytes", "load_in_4bit": True}, {}, None],
    "auto_map": [{"AutoModelForCausalLM": "modeling.Model"}, {}, None],
    "sliding_window": [2, None], "attention_chunk_size": [2, None],
    "layer_types": [["full_attention", "full_attention"], ["sliding_attention", "full_attention"], None],
    "per_layer_config": [{"0": {"skip": ["mlp"]}}, {}, None], "unpadded_vocab_size": [90, None],
    "transformers_weights": ["other.safetensors", None], "configuration_files": [["config.json"], None],
    "text_config": [{"model_type": "gpt2", "n_embd": 128}, None], "transformers.js_config": [{"dtype": "q4"}],
    "max_sequence_length": [4, None], "model_max_length": [4, None], "unsloth_fixed": [True],
    "unsloth_version": ["2025.1"],
    # in no table
    "logit_scale": [0.5, None], "num_experts": [8], "rope_interleaved": [False, True], "is_llama_config": [True],
}

GPT2 = {
    "vocab_size": [100, 200, None, "128", ABSENT], "n_positions": [16, 64, None, ABSENT], "n_ctx": [8, 4096, None],
    "n_embd": [128, 64.0, None, ABSENT], "n_layer": [1, 3, 0, True, None, ABSENT],
    "n_head": [2, 4, None, ABSENT], "n_inner": [128, None, 64.0, ABSENT],
    "activation_function": [
        "gelu", "gelu_pytorch_tanh", "gelu_fast", "gelu_accurate", "gelu_python", "gelu_python_tanh", "relu", "silu",
        "swish", "tanh", "none", None, ABSENT,
    ],
    "resid_pdrop": [0, 0.5, 2.0, None, ABSENT], "embd_pdrop": [0.5, 2.0, None], "attn_pdrop": [0.5, 2.0, None],
    "layer_norm_epsilon": [0.05, 1e-12, 1, None, ABSENT], "initializer_range": [0.5, None, "x"],
    "summary_type": ["last", None], "summary_use_proj": [False, None], "summary_activation": ["tanh", None],
    "summary_proj_to_labels": [False, None], "summary_first_dropout": [0.0, 0, None],
    "summary_last_dropout": [0.0, None], "scale_attn_weights": [False, None, 1, ABSENT],
    "scale_attn_by_inverse_layer_idx": [True, None, ABSENT], "reorder_and_upcast_attn": [True, None, ABSENT],
    "tie_word_embeddings": [False, None, "yes", ABSENT],
    "hidden_size": [64, 128, None], "max_position_embeddings": [32, 16, None], "num_attention_heads": [1, 2, None],
    "num_hidden_layers": [2, 1, None], "hidden_act": ["relu"], "num_key_value_heads": [1, 2],
    "rope_theta": [500.0], "rope_scaling": [{"rope_type": "linear", "factor": 4.0}],
    "n_special": [0, 5], "predict_special_tokens": [True, False], "attention_bias": [True],
}
GPT2_PAIRS = [
    {"hidden_size": 64, "n_embd": 128}, {"num_attention_heads": 1, "n_head": 4},
    {"num_hidden_layers": 2, "n_layer": 7}, {"max_position_embeddings": 32, "n_positions": 999},
    {"hidden_size": 128, "n_embd": 64}, {"hidden_size": 64, "n_embd": ABSENT},
    {"num_attention_heads": 1, "n_head": ABSENT}, {"n_ctx": 32, "n_positions": ABSENT},
    {"dtype": "float16", "torch_dtype": "x"}, {"problem_type": "single_label_classification", "num_labels": 1},
    {"early_stopping": True, "num_beams": 2}, {"top_k": 4, "penalty_alpha": 0.6},
]

LINEAR = {"rope_type": "linear", "factor": 4.0}
SLOW = {"rope_type": "linear", "factor": 3.0}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}


def rope(base, **changes):
    changed = {**base, **changes}
    return {key: value for key, value in changed.items() if value != ABSENT}


LLAMA = {
    "vocab_size": [100, 200, None, ABSENT], "hidden_size": [128, None, ABSENT],
    "intermediate_size": [128, None, ABSENT], "num_hidden_layers": [1, 3, None, ABSENT],
    "num_attention_heads": [2, 3, None, ABSENT], "num_key_value_heads": [2, 0, None, ABSENT],
    "head_dim": [32, 128, None, ABSENT], "hidden_act": ["swish", "gelu", "relu", None, ABSENT],
    "max_position_embeddings": [32, 100000, None, ABSENT], "initializer_range": [0.5, 2.0, None],
    "rms_norm_eps": [0.05, 1e-12, 1, None, ABSENT], "pretraining_tp": [4, None], "attention_bias": [True, None, ABSENT],
    "mlp_bias": [True, None, ABSENT], "attention_dropout": [0.5, 2.0, None, "x"],
    "tie_word_embeddings": [None, ABSENT], "n_embd": [128], "n_head": [4], "layer_norm_epsilon": [0.1],
    "partial_rotary_factor": [0.5, 1.0, None], "rope_theta": [100.0, 100, 0.5, None, "x"],
    "original_max_position_embeddings": [8, None],
    "rope_parameters": [
        None, ABSENT, {}, [], 8, {"rope_theta": 100.0}, {"rope_theta": None}, {"rope_type": None}, {"type": None},
        {"rope_type": "other"}, {"rope_theta": True}, {"rope_theta": 100.0, "rope_type": "default", "factor": 9.0},
        LINEAR, rope(SLOW, rope_theta=500), {"type": "linear", "factor": 4}, {"type": "linear", "rope_type": "default"},
        {"type": "yarn", "rope_type": "linear", "factor": 4.0}, rope(LINEAR, factor=ABSENT), rope(LINEAR, factor=None),
        rope(LINEAR, factor=0.5), rope(LINEAR, factor="4"), rope(LINEAR, factor=True),
        rope(LINEAR, original_max_position_embeddings=8), rope(LINEAR, low_freq_factor=3.0),
        rope(LINEAR, partial_rotary_factor=0.5), rope(LINEAR, partial_rotary_factor=1.0),
        rope(LINEAR, partial_rotary_factor=None), rope(LINEAR, attention_factor=7.0), rope(LINEAR, unheard_of=1),
        rope(LINEAR, mrope_section=[8, 8, 16]), rope(LINEAR, beta_fast=9.0), rope(LINEAR, beta_slow=9.0),
        rope(LINEAR, mscale=9.0), rope(LINEAR, mscale_all_dim=9.0), rope(LINEAR, truncate=False),
        rope(LINEAR, short_factor=[9.0]), rope(LINEAR, long_factor=[9.0]),
        LLAMA3, rope(LLAMA3, original_max_position_embeddings=ABSENT, high_freq_factor=3, factor=4),
        rope(LLAMA3, factor=None),
        rope(LLAMA3, low_freq_factor=ABSENT), rope(LLAMA3, low_freq_factor=2, high_freq_factor=3, factor=4),
        rope(LLAMA3, original_max_position_embeddings=64, high_freq_factor=3, factor=4),
        rope(LLAMA3, high_freq_factor=1.0),
        YARN, {"rope_type": "dynamic", "factor": 4.0}, {"rope_type": "proportional", "rope_theta": 100.0},
        {"rope_type": "longrope", "short_factor": [1.0] * 32, "long_factor": [2.0] * 32,
         "original_max_position_embeddings": 16},
        {"full_attention": LINEAR},
    ],
    "rope_scaling": [None, {}, [], False, "x", 8, LINEAR, {"type": "linear", "factor": 4.0}, LLAMA3, YARN,
                     {"type": "dynamic", "factor": 2.0}, {"factor": 4.0}],
}
LLAMA_PAIRS = [
    {"rope_scaling": LINEAR, "rope_parameters": {"rope_theta": 100.0, "rope_type": "default"}},
    {"rope_scaling": {}, "rope_parameters": {"rope_theta": 100.0, "rope_type": "default"}},
    {"rope_scaling": None, "rope_parameters": rope(SLOW, rope_theta=500.0)},
    {"rope_scaling": SLOW, "rope_parameters": None, "rope_theta": 500.0},
    {"rope_scaling": rope(SLOW, rope_theta=500.0), "rope_theta": 7.0},
    {"rope_scaling": LINEAR, "rope_theta": None},
    {"rope_scaling": None, "rope_parameters": ABSENT, "rope_theta": 100.0},
    {"rope_parameters": ABSENT, "rope_theta": None}, {"rope_parameters": ABSENT, "rope_theta": 0},
    {"rope_parameters": SLOW, "rope_theta": 500.0}, {"rope_parameters": None, "rope_theta": 100.0},
    {"rope_parameters": rope(LLAMA3, low_freq_factor=2, high_freq_factor=3, factor=2),
     "original_max_position_embeddings": 8},
    {"rope_parameters": LLAMA3, "original_max_position_embeddings": None},
    {"rope_parameters": rope(LLAMA3, original_max_position_embeddings=ABSENT), "max_position_embeddings": 32},
    {"rope_parameters": LINEAR, "original_max_position_embeddings": 8},
    {"rope_parameters": LINEAR, "partial_rotary_factor": 0.5},
    {"rope_parameters": LINEAR, "partial_rotary_factor": None},
    {"rope_parameters": LINEAR, "partial_rotary_factor": 1.0},
    {"head_dim": None, "num_attention_heads": 2}, {"num_key_value_heads": None, "head_dim": None},
    {"rope_parameters": {"full_attention": LINEAR}, "layer_types": ["full_attention", "full_attention"]},
]

CASES = {
    "gpt2": ({**COMMON, **GENERATION, **GPT2}, GPT2_PAIRS),
    "llama": ({**COMMON, **LLAMA}, LLAMA_PAIRS),
    **walk_cases.CASES,
}


def defaults(name):
    """What an absent key means: the pairs of `config.json`, then those of `generate`."""
    configuration = CONFIG_MAPPING[name]
    # Fields as they are before some are derived from others, which the file may state.
    fields = {field.name: field.default for field in dataclasses.fields(configuration)}
    generation = GenerationConfig._get_default_generation_params()
    stated = {**configuration().to_dict(), **fields, **generation, "use_cache": True}
    without = ["id2label", "label2id", "transformers_version", "model_type"]
    return [[key, value] for key, value in stated.items() if key not in without]


def cases(name):
    """The changes of one checkpoint: those of single keys, then those of several."""
    single, several = CASES[name]
    for key, values in single.items():
        for value in values:
            yield {key: value}
    yield from several


def changed(stored, change):
    config = {**stored, **change}
    return {key: value for key, value in config.items() if value is not ABSENT and value != ABSENT}


def answer(folder, prompts=PROMPTS, **options):
    """The answers to all prompts and the least margin of a token over the next; an exception where there are none."""
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True, **options
    )
    for kind in ["missing_keys", "mismatched_keys", "error_msgs"]:
        if info[kind]:
            raise ValueError(f"{kind}: {info[kind]}")
    answers, margin = [], float("inf")
    for prompt in prompts:
        tokens = torch.tensor([prompt])
        output = model.generate(
            tokens, attention_mask=torch.ones_like(tokens), do_sample=False, max_new_tokens=NEW_TOKENS
        )
        sequences = output if isinstance(output, torch.Tensor) else output.sequences
        answers.append(sequences[0, len(prompt):].tolist())
        with torch.no_grad():
            logits = model(sequences[:, :-1], return_dict=True).logits[0, len(prompt) - 1:].topk(2).values
        margin = min(margin, (logits[:, 0] - logits[:, 1]).min().item())
    return answers, margin


def files(name):
    """Where a checkpoint's configuration and weights are, and the prompts that it is asked."""
    if name in ["gpt2", "llama"]:
        return HERE / name, HERE / name, PROMPTS
    name = "llama" if name == "llama-shared" else name
    weights = models.VARIANTS[name][1] if name in models.VARIANTS else name
    return models.HERE / name, models.HERE / weights, models.PROMPTS


def walk(name, known):
    """The cases of a checkpoint; answers that are not in `known` yet are appended to it."""
    source, weights, prompts = files(name)
    stored = json.loads((source / "config.json").read_text())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "model.safetensors").symlink_to(weights / "model.safetensors")
        for change in [{}, *cases(name)]:
            (folder / "config.json").write_text(json.dumps(changed(stored, change)))
            try:
                answers, margin = answer(folder, prompts)
            except Exception as error:
                print(f"{name} {change}: {type(error).__name__}: {str(error)[:90]!r}", flush=True)
                yield [change, None]
                continue
            if answers not in known:
                known.append(answers)
            index = known.index(answers)
            print(f"{name} {change}: {index} {margin:.3f}", flush=True)
            yield [change, index, round(margin, 3) if math.isfinite(margin) else None]


def rows(items):
    return "[\n" + ",\n".join(json.dumps(item, separators=(",", ":")) for item in items) + "\n]"


def store(path, parts):
    """Writes a JSON object whose lists have an item a line."""
    path.write_text("{\n" + ",\n".join(f'"{name}": {rows(items)}' for name, items in parts.items()) + "\n}\n")


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    disable_progress_bar()
    names = sys.argv[1:] or list(CASES)
    result = {} if names == list(CASES) else json.loads((HERE / "walk.json").read_text())
    result |= {"prompts": PROMPTS, "long prompts": models.PROMPTS}
    for name in names:
        known = []
        found = list(walk(name, known))
        result |= {f"{name} answers": known, f"{name} cases": found}
        if name in CONFIG_MAPPING:
            result[f"{name} defaults"] = defaults(name)
    store(HERE / "walk.json", result)
