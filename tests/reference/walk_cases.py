"""The cases of `walk.py` for the checkpoints in `models/`: of every key the values that it is given one after the other,
and changes of several keys at once."""

from models import FULL, LONGROPE, SLIDING

# A key that is taken out of the file.
ABSENT = "(absent)"


def changed(base, **changes):
    return {key: value for key, value in {**base, **changes}.items() if value != ABSENT}


LINEAR = {"rope_type": "linear", "factor": 4.0}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
LONG = LONGROPE["rope_parameters"]
FACTORS = {key: LONG[key] for key in ["short_factor", "long_factor"]}
LONG_OF_16 = {"rope_type": "longrope", "short_factor": [1.0 + 0.05 * i for i in range(16)],
              "long_factor": [1.0 + 0.4 * i for i in range(16)], "original_max_position_embeddings": 32}

NUMBER = [0, 0.5, 2.0, None, "x"]
FLAG = [True, False, None, 1, ABSENT]
WINDOW = [16, 17, 1, 64, 0, -1, 16.0, None, ABSENT]
LAYERS = [[FULL, FULL], [SLIDING, FULL], [SLIDING, SLIDING], [FULL], ["other", FULL], [], None, ABSENT]

DECODER = {
    "vocab_size": [100, 200, None, ABSENT], "hidden_size": [128, None, ABSENT],
    "num_hidden_layers": [1, 3, None, ABSENT], "num_attention_heads": [2, 3, None, ABSENT],
    "max_position_embeddings": [32, 100000, None, ABSENT], "tie_word_embeddings": [True, None, "yes", ABSENT],
    "bos_token_id": [5, 500, None, "x", ABSENT], "pad_token_id": [5, 127, -1, 500, None, "x", ABSENT],
    "attention_dropout": NUMBER,
}
INNER = {"intermediate_size": [128, None, ABSENT], "initializer_range": [0.5, 2.0, 1, None, "x"]}
EPSILON = [0.05, 1e-12, 1, None, ABSENT]
ACTIVATION = ["gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "quick_gelu", "relu", "silu", "swish", "tanh",
              "none", None, ABSENT]
ROTATIONS = {
    "rope_theta": [100.0, 100, None, "x"], "partial_rotary_factor": [0.5, 1.0, None],
    "original_max_position_embeddings": [8, None],
    "rope_parameters": [
        None, ABSENT, {}, {"rope_theta": 100.0}, {"rope_type": "default"}, LINEAR, LLAMA3, YARN,
        {"rope_type": "dynamic", "factor": 4.0}, {"rope_type": "other"}, changed(LINEAR, partial_rotary_factor=0.5),
        {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.5},
    ],
    "rope_scaling": [None, {}, LINEAR, {"type": "linear", "factor": 4.0}, YARN, {"type": "dynamic", "factor": 2.0}],
}
ROTATION_PAIRS = [
    {"rope_parameters": ABSENT, "rope_theta": 100.0}, {"rope_parameters": ABSENT, "rope_theta": 100},
    {"rope_parameters": ABSENT, "rope_theta": 100.0, "rope_scaling": LINEAR},
    {"rope_parameters": ABSENT, "partial_rotary_factor": 0.5},
    {"rope_parameters": ABSENT, "partial_rotary_factor": 1.0}, {"rope_parameters": ABSENT, "rope_theta": None},
    {"rope_parameters": LINEAR, "rope_scaling": {"rope_type": "linear", "factor": 2.0}},
    {"rope_parameters": YARN, "original_max_position_embeddings": 8},
]
GATED = {**DECODER, **INNER, **ROTATIONS, "hidden_act": ["swish", "gelu", "relu", None, ABSENT],
         "rms_norm_eps": EPSILON, "num_key_value_heads": [1, 2, 0, None, ABSENT]}
# Keys that others of these models have.
OTHERS = {"head_dim": [20, 64, None], "sliding_window": [16, None], "layer_types": [[SLIDING, FULL], None],
          "attention_bias": [True, False], "mlp_bias": [True, False], "num_experts": [8], "hidden_dim": [64]}
QWEN = {
    **GATED, "use_sliding_window": FLAG, "sliding_window": WINDOW, "max_window_layers": [0, 1, None, ABSENT],
    "layer_types": LAYERS, "use_mrope": [True, False, None], "mlp_bias": [True, False], "qkv_bias": [True, False],
}
WINDOWED = {"use_sliding_window": True, "sliding_window": 16, "layer_types": ABSENT}
QWEN_PAIRS = [
    *ROTATION_PAIRS, {"num_hidden_layers": 1, "layer_types": ABSENT},
    {**WINDOWED, "max_window_layers": 0}, {**WINDOWED, "max_window_layers": 1},
    {**WINDOWED, "max_window_layers": 28}, {**WINDOWED, "layer_types": [SLIDING, FULL]},
    {**WINDOWED, "layer_types": [FULL, FULL], "max_window_layers": 0},
    {**WINDOWED, "sliding_window": None, "max_window_layers": 0},
    {**WINDOWED, "sliding_window": ABSENT, "max_window_layers": 0},
    {**WINDOWED, "use_sliding_window": False, "max_window_layers": 0},
    {**WINDOWED, "use_sliding_window": False, "layer_types": [SLIDING, FULL]},
    {**WINDOWED, "sliding_window": 1, "max_window_layers": 0}, {**WINDOWED, "sliding_window": 0, "max_window_layers": 0},
]
PHI3_MAP = {"AutoConfig": "configuration_phi3.Phi3Config", "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"}

CASES = {
    # Shared heads of keys and values, biases, and the rotations that depend on the position.
    "llama-shared": ({
        "num_attention_heads": [1, 4, 3], "num_key_value_heads": [1, 2, 4, 0, None, ABSENT],
        "head_dim": [36, 64, 16, None, ABSENT], "attention_bias": FLAG, "mlp_bias": FLAG, "hidden_size": [64, 144],
        "intermediate_size": [64], "tie_word_embeddings": [False, ABSENT],
        "rope_parameters": [
            LINEAR, LLAMA3, YARN, changed(YARN, factor=ABSENT), changed(YARN, factor=None),
            changed(YARN, factor=0.5), changed(YARN, factor=1.0), changed(YARN, factor=3), changed(YARN, factor="4"),
            changed(YARN, original_max_position_embeddings=ABSENT),
            changed(YARN, original_max_position_embeddings=64), changed(YARN, original_max_position_embeddings=None),
            changed(YARN, original_max_position_embeddings=2), changed(YARN, original_max_position_embeddings=16.0),
            changed(YARN, attention_factor=1.0), changed(YARN, attention_factor=2), changed(YARN, attention_factor=-1.0),
            changed(YARN, attention_factor=0.0), changed(YARN, attention_factor=None), changed(YARN, beta_fast=4.0),
            changed(YARN, beta_fast=None), changed(YARN, beta_fast=0), changed(YARN, beta_slow=0.5),
            changed(YARN, beta_slow=None), changed(YARN, beta_slow=64.0), changed(YARN, beta_fast=4, beta_slow=2),
            changed(YARN, mscale=0.7), changed(YARN, mscale_all_dim=0.7), changed(YARN, mscale=1.0, mscale_all_dim=0.7),
            changed(YARN, mscale=0.7, mscale_all_dim=0.7), changed(YARN, mscale=0, mscale_all_dim=0.7),
            changed(YARN, truncate=False), changed(YARN, truncate=True), changed(YARN, truncate=None),
            changed(YARN, rope_theta=100.0), changed(YARN, rope_theta=1.0), changed(YARN, partial_rotary_factor=0.5),
            changed(YARN, low_freq_factor=3.0), changed(YARN, short_factor=[1.0]), changed(YARN, unheard_of=1),
            LONG_OF_16, changed(LONG_OF_16, factor=4.0), changed(LONG_OF_16, factor=1.0),
            changed(LONG_OF_16, attention_factor=1.0), changed(LONG_OF_16, attention_factor=2),
            changed(LONG_OF_16, original_max_position_embeddings=ABSENT),
            changed(LONG_OF_16, original_max_position_embeddings=64),
            changed(LONG_OF_16, original_max_position_embeddings=8),
            changed(LONG_OF_16, long_factor=ABSENT), changed(LONG_OF_16, short_factor=[1.0] * 8),
            changed(LONG_OF_16, long_factor=[1.0] * 8), changed(LONG_OF_16, short_factor=[2] * 16),
            changed(LONG_OF_16, rope_type="su"), changed(LONG_OF_16, beta_fast=4.0),
        ],
        "rope_scaling": [YARN, changed(YARN, rope_type=ABSENT, type="yarn"), LONG_OF_16],
        "original_max_position_embeddings": [8],
    }, [
        {"num_attention_heads": 4, "head_dim": 16}, {"num_attention_heads": 1, "head_dim": 64},
        {"num_attention_heads": 4, "head_dim": 16, "num_key_value_heads": 2},
        {"attention_bias": False, "mlp_bias": False},
        {"rope_parameters": YARN, "original_max_position_embeddings": 8},
        {"rope_parameters": YARN, "max_position_embeddings": 128}, {"rope_parameters": YARN, "rope_theta": 100.0},
        {"rope_parameters": changed(YARN, factor=None), "max_position_embeddings": 32},
        {"rope_parameters": LONG_OF_16, "max_position_embeddings": 128},
        {"rope_parameters": LONG_OF_16, "max_position_embeddings": 32},
        {"rope_parameters": LONG_OF_16, "original_max_position_embeddings": 64},
    ]),
    "phi": ({
        **DECODER, **INNER, **ROTATIONS, **OTHERS, "layer_norm_eps": EPSILON, "hidden_act": ACTIVATION,
        "num_key_value_heads": [1, 2, 0, None, ABSENT], "qk_layernorm": FLAG, "resid_pdrop": NUMBER,
        "embd_pdrop": NUMBER, "partial_rotary_factor": [0.4, 0.5, 1.0, 0, None],
        "auto_map": [{"AutoConfig": "configuration_phi.PhiConfig", "AutoModelForCausalLM": "modeling_phi.PhiForCausalLM"}],
    }, [
        *ROTATION_PAIRS, {"num_attention_heads": 2, "num_key_value_heads": 2},
        {"num_attention_heads": 2, "num_key_value_heads": None},
        *({"rope_parameters": ABSENT, "partial_rotary_factor": value} for value in [0.4, 1.0, 1, 0, 0.01, 2.0, None]),
        {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.4}, "partial_rotary_factor": 0.5},
        {"rope_parameters": {"rope_type": "default"}, "partial_rotary_factor": 0.4},
        {"rope_parameters": ABSENT, "rope_scaling": {"type": "linear", "factor": 4.0}, "partial_rotary_factor": 0.4},
        {"rope_parameters": changed(YARN, partial_rotary_factor=0.4)},
        {"tie_word_embeddings": True},
    ]),
    "opt": ({
        **DECODER, "num_attention_heads": [2, 4, 3, None, ABSENT], "tie_word_embeddings": [False, None, "yes", ABSENT],
        "max_position_embeddings": [32, 66, None, ABSENT], "ffn_dim": [128, None, ABSENT],
        "activation_function": ACTIVATION, "do_layer_norm_before": FLAG, "_remove_final_layer_norm": FLAG,
        "word_embed_proj_dim": [20, 0, None, ABSENT], "dropout": NUMBER, "activation_dropout": NUMBER,
        "layerdrop": NUMBER, "init_std": [0.5, 2.0, 1, None, "x"], "enable_bias": FLAG,
        "layer_norm_elementwise_affine": FLAG, "prefix": ["</s>", None], "learned_embeddings": [True, False],
        "scale_embeddings": [True, False], "layer_norm_eps": [0.1], "intermediate_size": [64], "n_embd": [64],
        "num_key_value_heads": [1, 2], "rope_theta": [100.0], "head_dim": [20], "attention_bias": [True, False],
        "use_bias": [True, False], "sliding_window": [16, None], "initializer_range": [0.5, None],
    }, [{"hidden_size": 40, "word_embed_proj_dim": None}, {"activation_function": "gelu", "dropout": 0.0}]),
    "qwen2": ({**QWEN, **{key: OTHERS[key] for key in ["head_dim", "attention_bias", "num_experts"]}}, QWEN_PAIRS),
    "qwen3": ({**QWEN, "head_dim": [40, 64, None, ABSENT], "attention_bias": FLAG, "num_experts": [8]}, QWEN_PAIRS),
    "mistral": ({
        **GATED, **OTHERS, "head_dim": [20, 64, None, ABSENT], "sliding_window": WINDOW, "layer_types": LAYERS,
        "use_sliding_window": [True, False], "max_window_layers": [0, 28],
    }, [*ROTATION_PAIRS, {"sliding_window": None, "layer_types": [SLIDING, FULL]}]),
    "phi3": ({
        **GATED, **OTHERS, "sliding_window": WINDOW, "resid_pdrop": NUMBER, "embd_pdrop": NUMBER,
        "original_max_position_embeddings": [16, 64, 128, 1, 0, 32.0, None, ABSENT],
        "partial_rotary_factor": [0.5, 0.75, 1.0, None],
        "rope_parameters": [
            None, ABSENT, {}, {"rope_theta": 100.0}, {"rope_type": "default"}, LINEAR, LLAMA3,
            {"rope_type": "default", "partial_rotary_factor": 0.75}, {"rope_type": "default", "partial_rotary_factor": 0},
            {"rope_type": "default", "partial_rotary_factor": 0.5}, {"rope_type": "default", "partial_rotary_factor": 1},
            changed(LONG, partial_rotary_factor=ABSENT), changed(LONG, partial_rotary_factor=0.5),
            changed(LONG, original_max_position_embeddings=16), changed(LONG, original_max_position_embeddings=ABSENT),
            changed(LONG, attention_factor=1.0), changed(LONG, attention_factor=2), changed(LONG, attention_factor=None),
            changed(LONG, attention_factor="x"), changed(LONG, factor=2.0), changed(LONG, factor=8), changed(LONG, factor=1.0),
            changed(LONG, factor=0.5), changed(LONG, factor=None), changed(LONG, long_factor=ABSENT),
            changed(LONG, long_factor=None), changed(LONG, short_factor=[1.0] * 8), changed(LONG, short_factor=[1] * 9),
            changed(LONG, long_factor=[1.0] * 24), changed(LONG, long_factor=["x"] * 9), changed(LONG, rope_theta=100.0),
            changed(LONG, rope_type=ABSENT, type="longrope"), changed(LONG, rope_type="su"),
            changed(LONG, rope_type=ABSENT, type="su"), changed(LONG, rope_type="yarn"),
            changed(LONG, rope_type=ABSENT, type="yarn"), changed(LONG, short_mscale=1.0), changed(LONG, long_mscale=1.0),
        ],
        "rope_scaling": [None, {}, LINEAR, {"type": "longrope", **FACTORS}, {"type": "su", **FACTORS},
                         {"type": "longrope", **FACTORS, "partial_rotary_factor": 0.75}],
        "auto_map": [PHI3_MAP, {**PHI3_MAP, "AutoTokenizer": "Xenova/gpt-4o"}],
        "full_attn_mod": [1, 2], "interpolate_factor": [1, 2], "lm_head_bias": [True, False],
    }, [
        {"rope_parameters": ABSENT, "rope_theta": 100.0, "partial_rotary_factor": 0.75},
        *({"rope_parameters": ABSENT, "partial_rotary_factor": value} for value in [0.5, 1, 0, None]),
        *({"rope_parameters": ABSENT, "partial_rotary_factor": 0.75, "rope_scaling": {"type": kind, **FACTORS},
           "original_max_position_embeddings": length} for kind in ["longrope", "su", "yarn"] for length in [32, 64]),
        {"max_position_embeddings": 128}, {"max_position_embeddings": 128, "original_max_position_embeddings": 64},
        {"num_attention_heads": 3, "num_key_value_heads": 1},
        {"sliding_window": 16, "rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.75}},
    ]),
    "gemma3_text": ({
        **DECODER, **INNER, "rms_norm_eps": EPSILON, "num_attention_heads": [2, 3, None, ABSENT],
        "num_key_value_heads": [1, 2, 0, None, ABSENT], "head_dim": [128, 64, None, ABSENT],
        "hidden_activation": ACTIVATION, "hidden_act": ["relu", None], "tie_word_embeddings": [False, None, "yes", ABSENT],
        "query_pre_attn_scalar": [256, 1, 64.0, 0, -1, None, ABSENT], "sliding_window": WINDOW, "layer_types": LAYERS,
        "sliding_window_pattern": [1, 2, None], "_sliding_window_pattern": [2, 6, None], "attention_bias": FLAG,
        "final_logit_softcapping": [30.0, 0.5, 30, 0.0, None], "attn_logit_softcapping": [50.0, 0.1, 50, None],
        "use_bidirectional_attention": FLAG, "rope_theta": [100.0, None], "rope_local_base_freq": [100.0, None],
        "rope_scaling": [None, {}, LINEAR, {"factor": 8.0}], "partial_rotary_factor": [0.5, 1.0],
        "rope_parameters": [
            None, ABSENT, {}, {"rope_theta": 100.0, "rope_type": "default"}, {FULL: LINEAR}, {SLIDING: LINEAR},
            {FULL: None, SLIDING: LINEAR}, {FULL: LINEAR, SLIDING: {"rope_type": "default", "rope_theta": 100.0}},
            {FULL: {"rope_theta": 100.0}, SLIDING: {"rope_theta": 1000}}, {FULL: {"rope_theta": None}},
            {FULL: {"type": "linear", "factor": 4.0}}, {FULL: YARN}, {FULL: {"rope_type": "dynamic", "factor": 2.0}},
            {FULL: LINEAR, "other": LINEAR}, {FULL: LINEAR, "rope_theta": 100.0},
        ],
        "cache_implementation": ["hybrid", "static"], "use_cache": [False], "mlp_bias": [True], "num_experts": [8],
        "text_config": [{"hidden_size": 16}], "hidden_dim": [64],
    }, [
        {"rope_parameters": ABSENT, "rope_theta": 100.0}, {"rope_parameters": ABSENT, "rope_theta": 100},
        {"rope_parameters": ABSENT, "rope_local_base_freq": 100.0}, {"rope_parameters": ABSENT, "rope_local_base_freq": 100},
        {"rope_parameters": ABSENT, "rope_scaling": LINEAR}, {"rope_parameters": ABSENT, "rope_scaling": {"factor": 8.0}},
        {"rope_parameters": ABSENT, "rope_scaling": changed(LINEAR, rope_theta=100.0), "rope_theta": 1000.0},
        {"rope_parameters": None, "rope_theta": None}, {"rope_parameters": {FULL: LINEAR}, "rope_local_base_freq": 100.0},
        {"num_hidden_layers": 1, "layer_types": ABSENT},
        *({"layer_types": ABSENT, "sliding_window_pattern": value} for value in [1, 2, 6, 0, None, 2.0]),
        {"layer_types": ABSENT, "_sliding_window_pattern": 2}, {"layer_types": [FULL, FULL], "sliding_window": None},
        {"use_bidirectional_attention": False, "sliding_window": 1},
        {"layer_types": [FULL, FULL], "rope_parameters": {FULL: LINEAR}},
        {"layer_types": [SLIDING, SLIDING], "rope_parameters": {SLIDING: LINEAR}},
    ]),
    "gpt_neox": ({
        **DECODER, **INNER, **OTHERS, "layer_norm_eps": EPSILON, "hidden_act": ACTIVATION,
        "num_attention_heads": [1, 4, 3, None, ABSENT], "tie_word_embeddings": [False, None, "yes", ABSENT],
        "rope_theta": [100.0, None], "rotary_pct": [0.5, None], "rotary_emb_base": [100.0, None],
        "partial_rotary_factor": [0.5, 1.0, None], "rope_parameters": [
            *ROTATIONS["rope_parameters"], changed(LINEAR, partial_rotary_factor=0.25),
            changed(YARN, partial_rotary_factor=0.25), {"partial_rotary_factor": 0}, {"partial_rotary_factor": 1.0},
        ],
        "rope_scaling": ROTATIONS["rope_scaling"], "original_max_position_embeddings": [8, None],
        "use_parallel_residual": FLAG, "attention_bias": FLAG,
        "hidden_dropout": NUMBER, "classifier_dropout": NUMBER, "is_decoder": [True, False, None],
        "hidden_dropout_prob": [0.1, None], "attention_probs_dropout_prob": [0.1, None], "num_key_value_heads": [1, 2],
        "intermediate_size": [128, None, ABSENT], "layer_norm_epsilon": [0.1], "head_dim": [24, 12, None],
    }, [
        *({"rope_parameters": ABSENT, "rotary_pct": value} for value in [0.5, 1.0, 1, 0, 0.01, None]),
        *({"rope_parameters": ABSENT, "rotary_emb_base": value} for value in [100, 100.0, 0, None]),
        {"rope_parameters": ABSENT, "rope_theta": 100.0}, {"rope_parameters": ABSENT, "partial_rotary_factor": 0.5},
        {"rope_parameters": ABSENT, "rotary_pct": 0.5, "rope_scaling": LINEAR},
        {"rope_parameters": {"rope_type": "default"}, "rotary_pct": 0.5, "rotary_emb_base": 100},
        {"rope_parameters": YARN, "original_max_position_embeddings": 8},
    ]),
    "smollm3": ({
        **GATED, "tie_word_embeddings": [False, None, "yes", ABSENT], "head_dim": [36, 16, None, ABSENT],
        "attention_bias": FLAG, "mlp_bias": FLAG, "use_sliding_window": FLAG, "sliding_window": WINDOW,
        "layer_types": LAYERS, "max_window_layers": [0, 28, None], "pretraining_tp": [2, None],
        "no_rope_layers": [[1, 1], [0, 0], [0, 1], [1], [1, 0, 1], [], [True, False], [2, 0], [1.0, 0], 1, None, ABSENT],
        "no_rope_layer_interval": [1, 2, 0, None, ABSENT], "num_experts": [8],
    }, [
        *ROTATION_PAIRS, *({"no_rope_layers": value, "no_rope_layer_interval": interval}
                           for value in [ABSENT, None] for interval in [1, 2, 3, 0, -1, ABSENT]),
        {"num_hidden_layers": 1, "layer_types": ABSENT}, {"num_hidden_layers": 1, "layer_types": [FULL], "no_rope_layers": [1]},
        WINDOWED, {**WINDOWED, "layer_types": [SLIDING, FULL]}, {**WINDOWED, "layer_types": [FULL, FULL]},
        {**WINDOWED, "use_sliding_window": False}, {**WINDOWED, "sliding_window": None},
        {**WINDOWED, "no_rope_layers": [0, 0]}, {"sliding_window": 16, "layer_types": [FULL, SLIDING]},
    ]),
    "olmo2": ({**GATED, **OTHERS, "tie_word_embeddings": [False, None, "yes", ABSENT], "attention_bias": FLAG,
               "clip_qkv": [8.0, None], "num_attention_heads": [1, 4, 3, None, ABSENT]},
              [*ROTATION_PAIRS, {"num_attention_heads": 4, "num_key_value_heads": 2}]),
    "granite": ({
        **GATED, **OTHERS, "tie_word_embeddings": [False, None, "yes", ABSENT], "attention_bias": FLAG, "mlp_bias": FLAG,
        "head_dim": [36, 16, None, ABSENT],
        **{key: [0.25, 1, 2, 0, -0.5, None, "x", ABSENT] for key in [
            "embedding_multiplier", "logits_scaling", "residual_multiplier", "attention_multiplier"]},
    }, ROTATION_PAIRS),
    "starcoder2": ({
        **DECODER, **INNER, **ROTATIONS, **OTHERS, "hidden_act": ACTIVATION, "norm_epsilon": EPSILON,
        "tie_word_embeddings": [False, None, "yes", ABSENT], "num_attention_heads": [1, 4, 3, None, ABSENT],
        "num_key_value_heads": [1, 2, 0, None, ABSENT], "sliding_window": WINDOW, "residual_dropout": NUMBER,
        "embedding_dropout": NUMBER, "use_bias": FLAG, "layer_norm_epsilon": [0.1], "mlp_type": ["default", "gated"],
        "norm_type": ["layer_norm", "rms_norm"], "attention_softmax_in_fp32": [True, False],
        "scale_attention_softmax_in_fp32": [True, False], "scale_attn_weights": [True, False],
        "activation_function": ["relu"], "layer_types": LAYERS,
    }, [*ROTATION_PAIRS, {"num_attention_heads": 4, "num_key_value_heads": 2}]),
}
