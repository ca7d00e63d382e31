//! The names of a checkpoint's files in Hugging Face's layout.

pub const CONFIG: &str = "config.json";
pub const GENERATION: &str = "generation_config.json";

/// (weights in one file, index of several, their suffix), in the order in which they are looked for.
pub const WEIGHTS: [[&str; 3]; 2] = [
    [
        "model.safetensors",
        "model.safetensors.index.json",
        ".safetensors",
    ],
    ["pytorch_model.bin", "pytorch_model.bin.index.json", PICKLE],
];
pub const PICKLE: &str = ".bin";

pub const TOKENIZER: &str = "tokenizer.json";
/// What stands for it in older checkpoints, with [`MERGES`].
pub const VOCABULARY: &str = "vocab.json";
pub const MERGES: &str = "merges.txt";

pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
pub const TOKENS_MAP: &str = "special_tokens_map.json";
/// Of older checkpoints, as the one before.
pub const ADDED_TOKENS: &str = "added_tokens.json";
pub const TEMPLATE: &str = "chat_template.jinja";
/// The folder of templates with names.
pub const TEMPLATES: &str = "additional_chat_templates";
pub const TEMPLATE_SUFFIX: &str = ".jinja";
/// What goes before [`TEMPLATE`].
pub const DEFAULT_TEMPLATE: &str = "additional_chat_templates/default.jinja";
