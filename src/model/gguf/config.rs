//! What of a GGUF file's metadata a `config.json` would say. Values are taken over as they are:
//! [`Config::parse`](super::super::Config::parse) says what is supported. What a file has to say is what llama.cpp needs.

use serde_json::{Map, Value as Json, json};

use super::architecture::{FACTORS, Model, SHORT};
use super::header::{GgufError, Header};
use super::metadata::Metadata;
use crate::model::config::table::{FLAG, FLOAT, parsed};

type Object = Map<String, Json>;

/// How many lanes of a head are rotated.
const LANES: &str = "rope.dimension_count";
/// Above any head that is supported: lists of that length are made before [`Config::parse`](super::super::Config::parse) looks.
const MAX_LANES: u64 = 1 << 10;
const TYPE: &str = "rope.scaling.type";
/// The context before a model was made to read longer texts.
const ORIGINAL: &str = "rope.scaling.original_context_length";

/// A file's metadata and tensors, looked up by the architecture.
pub(super) struct Stated<'a> {
    header: &'a Header,
    model: Model,
}

/// The `config.json` of a Hugging Face checkpoint of the same model.
///
/// # Errors
/// [`GgufError`], naming the key.
pub(super) fn config(header: &Header, model: Model) -> Result<Json, GgufError> {
    let (metadata, architecture) = (&header.metadata, model.architecture);
    metadata.check(architecture)?;
    let stated = Stated { header, model };
    let mut config = Object::new();
    let mut set = |key: &str, value: Json| config.insert(key.to_string(), value);
    set("model_type", architecture.model_type.into());
    for (key, value) in architecture.constants {
        set(key, parsed(value));
    }
    for (key, name) in architecture.names.into_iter().flatten() {
        set(key, stated.value(name)?);
    }
    set("tie_word_embeddings", (!header.has("output.weight")).into());
    let begin = metadata.integer("tokenizer.ggml.bos_token_id")?;
    set("bos_token_id", begin.into());
    set("eos_token_id", ends(metadata)?.into());
    (architecture.more)(&stated, &mut config)?;
    config.insert("vocab_size".into(), stated.vocabulary()?.into());
    Ok(config.into())
}

/// (key of the `config.json`, what of the metadata says it).
pub(super) fn names(metadata: &Metadata, model: Model) -> Vec<(&'static str, String)> {
    let architecture = model.architecture;
    let copied = architecture.names.into_iter().flatten();
    let copied = copied.map(|(key, name)| (*key, architecture.key(name)));
    let others = [
        ("vocab_size", "vocab_size"),
        ("num_key_value_heads", "attention.head_count_kv"),
        ("rope_scaling", "rope.scaling.factor"),
        ("rotary_pct", "rope.dimension_count"),
        ("partial_rotary_factor", "rope.dimension_count"),
        ("attention_multiplier", "attention.scale"),
        ("embedding_multiplier", "embedding_scale"),
        ("residual_multiplier", "residual_scale"),
        ("logits_scaling", "logit_scale"),
        ("sliding_window", "attention.sliding_window"),
        ("sliding_window_pattern", "attention.sliding_window_pattern"),
        (
            "original_max_position_embeddings",
            "rope.scaling.original_context_length",
        ),
    ];
    let others = others.map(|(key, name)| (key, architecture.key(name)));
    let width = head_width_key(metadata, model);
    let end = "tokenizer.ggml.eos_token_id".to_string();
    let rest = [("head_dim", width), ("eos_token_id", end)];
    // Names are replaced in this order: one that holds another comes first.
    others.into_iter().chain(copied).chain(rest).collect()
}

/// The keys that say how wide a head is.
fn head_width_key(metadata: &Metadata, model: Model) -> String {
    let own = model.architecture.key("attention.key_length");
    match metadata.has(&own) {
        true => own,
        false => ["embedding_length", "attention.head_count"]
            .map(|name| model.architecture.key(name))
            .join(" / "),
    }
}

/// The tokens that end a text: of the text itself, of a turn, of a message to a tool.
fn ends(metadata: &Metadata) -> Result<Vec<u64>, GgufError> {
    const TEXT: &str = "tokenizer.ggml.eos_token_id";
    let mut ends = vec![Metadata::required(metadata.integer(TEXT)?, TEXT)?];
    for key in ["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"] {
        ends.extend(metadata.integer(key)?);
    }
    Ok(ends)
}

impl Stated<'_> {
    fn key(&self, name: &str) -> String {
        self.model.architecture.key(name)
    }

    fn integer(&self, name: &str) -> Result<Option<u64>, GgufError> {
        self.header.metadata.integer(&self.key(name))
    }

    fn float(&self, name: &str) -> Result<Option<f64>, GgufError> {
        self.header.metadata.float(&self.key(name))
    }

    fn refuse<T>(&self, name: &str, supported: &str) -> Result<T, GgufError> {
        let key = self.key(name);
        Err(self.header.metadata.unsupported(&key, supported))
    }

    /// The value of a key, or what the table says that its absence means.
    ///
    /// # Errors
    /// [`GgufError::Missing`] where that is nothing.
    fn value(&self, name: &str) -> Result<Json, GgufError> {
        let row = self.model.architecture.row(name);
        let row = row.expect("a key of the tables");
        let stated = match row.kinds {
            kinds if kinds == FLOAT => self.float(name)?.map(Json::from),
            kinds if kinds == FLAG => self.header.metadata.flag(&self.key(name))?.map(Json::from),
            _ => self.integer(name)?.map(Json::from),
        };
        match stated {
            None if row.default.is_empty() => Err(GgufError::Missing(self.key(name))),
            None => Ok(row.default()),
            Some(value) => Ok(value),
        }
    }

    /// A number of which 0 means the same as its absence.
    fn scale(&self, name: &str, usual: f64) -> Result<f64, GgufError> {
        let stated = self.float(name)?.filter(|scale| *scale != 0.0);
        Ok(stated.unwrap_or(usual))
    }

    /// The number of embeddings, which is the number of rows where the metadata does not say it.
    fn vocabulary(&self) -> Result<u64, GgufError> {
        const NAME: &str = "vocab_size";
        let embedding = self.header.tensor("token_embd.weight");
        let rows = embedding.and_then(|t| t.shape.first()).map(|n| *n as u64);
        Metadata::required(self.integer(NAME)?.or(rows), &self.key(NAME))
    }

    /// `embedding_length / attention.head_count`; nothing where there are no heads.
    fn part_of_width(&self) -> Result<Option<u64>, GgufError> {
        let key = self.key("embedding_length");
        let width = Metadata::required(self.integer("embedding_length")?, &key)?;
        Ok(width.checked_div(self.model.heads))
    }

    /// The width of a head.
    fn head_width(&self) -> Result<Option<u64>, GgufError> {
        match self.integer("attention.key_length")? {
            None => self.part_of_width(),
            stated => Ok(stated),
        }
    }

    /// Refuses another width of a head than `head`.
    fn expect_width(&self, name: &str, head: Option<u64>) -> Result<(), GgufError> {
        match self.integer(name)? {
            Some(width) if Some(width) != head => {
                let said = head_width_key(&self.header.metadata, self.model);
                self.refuse(name, &format!("the width of a head, by {said},"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses heads that do not fill the width, where a `config.json` cannot say their own.
    fn expect_filled(&self) -> Result<(), GgufError> {
        let head = self.part_of_width()?;
        for name in ["attention.key_length", "attention.value_length"] {
            if self.integer(name)?.is_some_and(|width| Some(width) != head) {
                let [width, heads] =
                    ["embedding_length", "attention.head_count"].map(|name| self.key(name));
                let supported = format!("the width of a head, by {width} / {heads},");
                return self.refuse(name, &supported);
            }
        }
        Ok(())
    }

    /// How many lanes of a head are rotated.
    fn rotated_lanes(&self) -> Result<u64, GgufError> {
        let stated = self.integer(LANES)?;
        Ok(stated.or(self.head_width()?).unwrap_or_default())
    }

    /// The part of a head's lanes that is rotated: what Python's `int(width * part)` takes for as many as there are.
    fn rotated_part(&self) -> Result<f64, GgufError> {
        let (lanes, head) = (
            self.rotated_lanes()?,
            self.head_width()?.unwrap_or_default(),
        );
        if lanes == head {
            return Ok(1.0);
        }
        if !(2..head).contains(&lanes) || !lanes.is_multiple_of(2) {
            let said = head_width_key(&self.header.metadata, self.model);
            let supported = format!("an even number up to the width of a head, by {said},");
            return self.refuse(LANES, &supported);
        }
        let part = lanes as f64 / head as f64;
        Ok(match (part * head as f64) < lanes as f64 {
            true => part.next_up(),
            false => part,
        })
    }

    /// How rotary frequencies are scaled, `null` if they are not or by the factors of a tensor: as llama.cpp reads it,
    /// linearly unless the type says something else, and not at all by a factor of 0. Llama 3.1's scaling is a tensor of
    /// factors here and a formula there.
    fn rope_scaling(&self) -> Result<Json, GgufError> {
        let (name, factor) = self.scaling_factor()?;
        let key = self.key(TYPE);
        let kind = self.header.metadata.text(&key)?;
        if self.model.architecture.factors.contains(&FACTORS) && self.header.has(FACTORS) {
            // Both would scale.
            return match (kind, factor) {
                (Some("none"), _) | (None, None) => Ok(Json::Null),
                (Some(_), _) => self.refuse(TYPE, "\"none\" beside rope_freqs.weight"),
                (None, _) => self.refuse(name, "0 beside rope_freqs.weight"),
            };
        }
        match (kind, factor) {
            (Some("none"), _) | (None | Some("linear" | "yarn"), None) => Ok(Json::Null),
            (None | Some("linear" | "yarn"), Some(factor)) if factor < 1.0 => {
                self.refuse(name, "0 or a factor from 1 on")
            }
            (None | Some("linear"), Some(factor)) => {
                Ok(json!({"rope_type": "linear", "factor": factor}))
            }
            (Some("yarn"), Some(factor)) => {
                let original = self.integer(ORIGINAL)?;
                let original = original.or(self.integer("context_length")?);
                Ok(json!({
                    "rope_type": "yarn", "factor": factor,
                    "original_max_position_embeddings": original,
                }))
            }
            (Some(_), _) => self.refuse(TYPE, "\"none\", \"linear\" or \"yarn\""),
        }
    }

    /// By what positions are divided, if they are, and the key that says it.
    fn scaling_factor(&self) -> Result<(&'static str, Option<f64>), GgufError> {
        const FACTOR: &str = "rope.scaling.factor";
        let name = match self.header.metadata.has(&self.key(FACTOR)) {
            true => FACTOR,
            false => "rope.scale_linear",
        };
        Ok((name, self.float(name)?.filter(|factor| *factor != 0.0)))
    }

    /// The scaling of Phi-3's long contexts, whose factors are tensors: the lists are their lengths only.
    fn longrope(&self) -> Result<Json, GgufError> {
        const ATTENTION: &str = "rope.scaling.attn_factor";
        let (name, factor) = self.scaling_factor()?;
        if factor.is_some_and(|factor| factor != 1.0) {
            return self.refuse(name, "0: Phi-3's scaling is by factors of its own,");
        }
        let kind = self.key(TYPE);
        let kind = self.header.metadata.text(&kind)?;
        if kind.is_some_and(|kind| !["none", "linear", "longrope"].contains(&kind)) {
            return self.refuse(TYPE, "\"none\", \"linear\" or \"longrope\"");
        }
        let mut factors = self.model.architecture.factors.iter();
        let stored = factors.find_map(|name| self.header.tensor(name));
        let attention = self.float(ATTENTION)?;
        let Some(stored) = stored else {
            return match attention {
                None | Some(1.0) => Ok(Json::Null),
                Some(_) => self.refuse(ATTENTION, &format!("1 without {SHORT}")),
            };
        };
        let attention = Metadata::required(attention, &self.key(ATTENTION))?;
        if !(1e-3..=1e3).contains(&attention) {
            return self.refuse(ATTENTION, "a number from 10^-3 to 10^3");
        }
        if Metadata::required(self.integer(ORIGINAL)?, &self.key(ORIGINAL))? < 2 {
            return self.refuse(ORIGINAL, "a number from 2 on");
        }
        let lanes = self.rotated_lanes()?;
        if lanes > MAX_LANES {
            return self.refuse(LANES, &format!("a number up to {MAX_LANES}"));
        }
        if stored.shape.iter().map(|n| 2 * *n as u64).ne([lanes]) {
            let supported = format!("twice as many as {} has factors", stored.name);
            return self.refuse(LANES, &supported);
        }
        let ones = vec![1.0; stored.shape[0]];
        Ok(json!({
            "rope_type": "longrope", "attention_factor": attention,
            "short_factor": ones, "long_factor": ones,
        }))
    }

    /// Whether a tensor of some block has one of these names.
    fn in_blocks(&self, names: &[&str]) -> bool {
        let within = |name: &str| {
            let rest = name.strip_prefix("blk.")?.split_once('.')?.1;
            names.contains(&rest).then_some(())
        };
        let mut tensors = self.header.tensors.iter();
        tensors.any(|info| within(&info.name).is_some())
    }
}

/// Heads that share no keys and values, and fill the width.
pub(super) fn with_own_heads(stated: &Stated, _: &mut Object) -> Result<(), GgufError> {
    if stated.model.kv_heads != stated.model.heads {
        return stated.refuse("attention.head_count_kv", "as many as there are heads");
    }
    stated.expect_filled()
}

fn with_heads(stated: &Stated, config: &mut Object) -> Result<(), GgufError> {
    let head = stated.head_width()?;
    stated.expect_width("attention.value_length", head)?;
    config.insert("head_dim".into(), head.into());
    config.insert("num_key_value_heads".into(), stated.model.kv_heads.into());
    Ok(())
}

/// Heads of which all lanes are rotated.
pub(super) fn rotating(stated: &Stated, config: &mut Object) -> Result<(), GgufError> {
    with_heads(stated, config)?;
    stated.expect_width(LANES, stated.head_width()?)?;
    config.insert("rope_scaling".into(), stated.rope_scaling()?);
    Ok(())
}

/// The same, with biases where the file has them.
pub(super) fn biased(stated: &Stated, config: &mut Object) -> Result<(), GgufError> {
    rotating(stated, config)?;
    let attention = [
        "attn_q.bias",
        "attn_k.bias",
        "attn_v.bias",
        "attn_output.bias",
    ];
    let feed_forward = ["ffn_gate.bias", "ffn_up.bias", "ffn_down.bias"];
    config.insert("attention_bias".into(), stated.in_blocks(&attention).into());
    config.insert("mlp_bias".into(), stated.in_blocks(&feed_forward).into());
    Ok(())
}

pub(super) fn granite(stated: &Stated, config: &mut Object) -> Result<(), GgufError> {
    biased(stated, config)?;
    let head = stated.head_width()?.unwrap_or_default();
    let score = stated.scale("attention.scale", (head as f64).sqrt().recip())?;
    config.insert("attention_multiplier".into(), score.into());
    let embedding = stated.scale("embedding_scale", 1.0)?;
    config.insert("embedding_multiplier".into(), embedding.into());
    let branch = stated.scale("residual_scale", 1.0)?;
    config.insert("residual_multiplier".into(), branch.into());
    config.insert("logits_scaling".into(), stated.value("logit_scale")?);
    Ok(())
}

/// llama.cpp scales the scores of the model of 27 billion parameters by its width, as the file does not say.
pub(super) fn gemma3(stated: &Stated, config: &mut Object) -> Result<(), GgufError> {
    const LARGEST: u64 = 62;
    rotating(stated, config)?;
    if config["rope_scaling"]["rope_type"] == "yarn" {
        return stated.refuse(TYPE, "\"none\" or \"linear\"");
    }
    let scalar = match stated.integer("block_count")? {
        Some(LARGEST) => stated.part_of_width()?,
        _ => stated.head_width()?,
    };
    config.insert("query_pre_attn_scalar".into(), scalar.into());
    let window = stated.integer("attention.sliding_window")?.unwrap_or(0);
    let pattern = match window {
        0 => 1.into(),
        window => {
            config.insert("sliding_window".into(), window.into());
            stated.value("attention.sliding_window_pattern")?
        }
    };
    config.insert("sliding_window_pattern".into(), pattern);
    Ok(())
}

pub(super) fn phi3(stated: &Stated, config: &mut Object) -> Result<(), GgufError> {
    stated.expect_filled()?;
    config.insert("num_key_value_heads".into(), stated.model.kv_heads.into());
    let part = stated.rotated_part()?;
    config.insert("partial_rotary_factor".into(), part.into());
    config.insert("rope_scaling".into(), stated.longrope()?);
    if let Some(original) = stated.integer(ORIGINAL)? {
        config.insert("original_max_position_embeddings".into(), original.into());
    }
    let key = "attention.sliding_window";
    let window = Metadata::required(stated.integer(key)?, &stated.key(key))?;
    let window = Some(window).filter(|window| *window != 0);
    config.insert("sliding_window".into(), window.into());
    Ok(())
}

pub(super) fn gptneox(stated: &Stated, config: &mut Object) -> Result<(), GgufError> {
    with_own_heads(stated, config)?;
    config.insert("rotary_pct".into(), stated.rotated_part()?.into());
    config.insert("rope_scaling".into(), stated.rope_scaling()?);
    Ok(())
}

pub(super) fn phi2(stated: &Stated, config: &mut Object) -> Result<(), GgufError> {
    with_heads(stated, config)?;
    let part = stated.rotated_part()?;
    config.insert("partial_rotary_factor".into(), part.into());
    config.insert("rope_scaling".into(), stated.rope_scaling()?);
    Ok(())
}
