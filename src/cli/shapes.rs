//! The shapes of published models, by their configurations.

use crate::model::Config;

/// A published model's shape.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub name: &'static str,
    /// The parts of its `config.json` that are not the defaults of its model_type.
    config: &'static str,
}

#[rustfmt::skip]
const SHAPES: [Shape; 16] = [
    shape("gpt2", r#"{"model_type": "gpt2", "n_embd": 768, "n_head": 12, "n_layer": 12,
        "n_positions": 1024, "vocab_size": 50257}"#),
    shape("gpt2-medium", r#"{"model_type": "gpt2", "n_embd": 1024, "n_head": 16, "n_layer": 24,
        "n_positions": 1024, "vocab_size": 50257}"#),
    shape("gpt2-large", r#"{"model_type": "gpt2", "n_embd": 1280, "n_head": 20, "n_layer": 36,
        "n_positions": 1024, "vocab_size": 50257}"#),
    shape("gpt2-xl", r#"{"model_type": "gpt2", "n_embd": 1600, "n_head": 25, "n_layer": 48,
        "n_positions": 1024, "vocab_size": 50257}"#),
    shape("smollm2-135m", r#"{"model_type": "llama", "hidden_size": 576, "intermediate_size": 1536,
        "num_attention_heads": 9, "num_key_value_heads": 3, "num_hidden_layers": 30, "rope_theta": 100000.0,
        "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "vocab_size": 49152, "tie_word_embeddings": true}"#),
    shape("smollm2-360m", r#"{"model_type": "llama", "hidden_size": 960, "intermediate_size": 2560,
        "num_attention_heads": 15, "num_key_value_heads": 5, "num_hidden_layers": 32, "rope_theta": 100000.0,
        "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "vocab_size": 49152, "tie_word_embeddings": true}"#),
    shape("tinyllama-1.1b", r#"{"model_type": "llama", "hidden_size": 2048, "intermediate_size": 5632,
        "num_attention_heads": 32, "num_key_value_heads": 4, "num_hidden_layers": 22,
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "vocab_size": 32000}"#),
    shape("llama-3.2-1b", r#"{"model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "head_dim": 64,
        "num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 16, "rope_theta": 500000.0,
        "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "eos_token_id": 128001,
        "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "vocab_size": 128256, "tie_word_embeddings": true}"#),
    shape("llama-3-8b", r#"{"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
        "num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 32, "rope_theta": 500000.0,
        "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "vocab_size": 128256, "eos_token_id": 128001}"#),
    shape("qwen2.5-0.5b", r#"{"model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864,
        "num_attention_heads": 14, "num_key_value_heads": 2, "num_hidden_layers": 24, "rope_theta": 1000000.0,
        "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "vocab_size": 151936, "tie_word_embeddings": true}"#),
    shape("qwen3-0.6b", r#"{"model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072, "head_dim": 128,
        "num_attention_heads": 16, "num_key_value_heads": 8, "num_hidden_layers": 28, "rope_theta": 1000000,
        "max_position_embeddings": 40960, "rms_norm_eps": 1e-6, "vocab_size": 151936, "tie_word_embeddings": true}"#),
    shape("phi-2", r#"{"model_type": "phi", "hidden_size": 2560, "intermediate_size": 10240,
        "num_attention_heads": 32, "num_hidden_layers": 32, "partial_rotary_factor": 0.4,
        "max_position_embeddings": 2048, "vocab_size": 51200, "eos_token_id": 50256}"#),
    shape("opt-1.3b", r#"{"model_type": "opt", "hidden_size": 2048, "ffn_dim": 8192,
        "num_attention_heads": 32, "num_hidden_layers": 24, "word_embed_proj_dim": 2048,
        "max_position_embeddings": 2048, "vocab_size": 50272}"#),
    shape("pythia-1b", r#"{"model_type": "gpt_neox", "hidden_size": 2048, "intermediate_size": 8192,
        "num_attention_heads": 8, "num_hidden_layers": 16, "rotary_pct": 0.25, "rotary_emb_base": 10000,
        "max_position_embeddings": 2048, "vocab_size": 50304, "eos_token_id": 0}"#),
    shape("gemma-3-270m", r#"{"model_type": "gemma3_text", "hidden_size": 640, "intermediate_size": 2048,
        "head_dim": 256, "num_attention_heads": 4, "num_key_value_heads": 1, "num_hidden_layers": 18,
        "sliding_window": 512, "max_position_embeddings": 32768, "vocab_size": 262144}"#),
    shape("gemma-3-1b", r#"{"model_type": "gemma3_text", "hidden_size": 1152, "intermediate_size": 6912,
        "head_dim": 256, "num_attention_heads": 4, "num_key_value_heads": 1, "num_hidden_layers": 26,
        "sliding_window": 512, "max_position_embeddings": 32768, "vocab_size": 262144}"#),
];

const fn shape(name: &'static str, config: &'static str) -> Shape {
    Shape { name, config }
}

/// The names, in order.
pub fn names() -> [&'static str; SHAPES.len()] {
    SHAPES.map(|shape| shape.name)
}

/// The shape of that name.
///
/// # Errors
/// What is wrong with the name.
pub fn named(name: &str) -> Result<Shape, String> {
    let shape = SHAPES.into_iter().find(|shape| shape.name == name);
    shape.ok_or_else(|| format!("one of {}", names().join(", ")))
}

impl Shape {
    /// The model's description.
    fn config(&self) -> Config {
        Config::parse(self.config.as_bytes()).expect("a configuration of a published model")
    }

    /// The first `layers` blocks of that model (again and again, where it has fewer), for `context` positions and the
    /// vocabulary of synthetic checkpoints.
    pub fn blocks(&self, layers: usize, context: usize) -> Config {
        let config = self.config();
        Config {
            kind_of: config
                .kind_of
                .iter()
                .copied()
                .cycle()
                .take(layers)
                .collect(),
            layers,
            context,
            vocabulary: 512,
            end_of_text: vec![256],
            ..config
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name with a wrong number would be measured as if it were the model.
    #[test]
    fn shapes_are_supported_and_have_the_size_in_their_name() {
        for shape in SHAPES {
            let config = shape.config();
            let architecture = config.architecture();
            architecture
                .check()
                .unwrap_or_else(|e| panic!("{}: {e}", shape.name));
            let blocks = shape.blocks(40, 64).architecture();
            blocks
                .check()
                .unwrap_or_else(|e| panic!("{}: {e}", shape.name));
        }
        let heads = |name: &str| {
            let config = named(name).expect("a name").config();
            (
                config.heads,
                config.kv_heads,
                config.head_width,
                config.rotated,
            )
        };
        assert_eq!(heads("phi-2"), (32, 32, 80, 32));
        assert_eq!(heads("pythia-1b"), (8, 8, 256, 64));
        assert_eq!(heads("qwen3-0.6b"), (16, 8, 128, 128));
        assert!(named("gpt5").is_err());
    }
}
