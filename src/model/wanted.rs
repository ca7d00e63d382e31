//! The tensors that a checkpoint has to provide, under the names that its files give them.
//!
//! A name is wrappers, the base model, and the rest: `module.transformer.h.0.ln_1.weight`. The base (`transformer.`
//! of GPT-2, `model.` of most others) may be left out, as where only the base model was saved. In front of it may stand what
//! training tools wrap a model in. All tensors of a checkpoint have the same in front of the rest; the head, which lies
//! beside the base model, may have the same or it without the base.

use std::collections::{BTreeMap, BTreeSet};

use safetensors::Dtype;
use thiserror::Error;

use super::buffers::Buffer;
use super::config::{HEAD, Part};
use super::{Config, ShardError, Slot};

/// The name of the one tensor that a checkpoint may leave out.
pub(super) const LM_HEAD: &str = "lm_head.weight";

/// What may stand before a tensor's own name, in any number, beside the parts of its base model's name.
const WRAPPERS: [&str; 4] = ["module.", "_orig_mod.", "model.", "transformer."];

/// What is wrong with one tensor.
#[derive(Debug, Error, PartialEq)]
pub enum TensorError {
    #[error("is missing: expected shape {expected:?} by the configuration")]
    Missing { expected: Vec<usize> },
    #[error("does not belong to the {model} model that the configuration describes: {reason}")]
    Unexpected {
        model: &'static str,
        reason: &'static str,
    },
    #[error("occurs more than once")]
    Repeated,
    #[error(
        "has another prefix than \"{other}\": the names of one model's tensors begin alike; rename them"
    )]
    Prefix { other: String },
    #[error("has shape {found:?}, expected {expected:?} by the configuration")]
    Shape {
        expected: Vec<usize>,
        found: Vec<usize>,
    },
    #[error("has {rows} rows, not whole pairs for each of {heads} heads")]
    Heads { rows: usize, heads: u64 },
    #[error("has type {found:?}, expected F32, F16, BF16 or F64: convert the checkpoint")]
    Dtype { found: Dtype },
    #[error(
        "holds {value} at index {index}, not a finite number of 32 bits: the checkpoint is damaged"
    )]
    NotFinite { index: usize, value: f64 },
    #[error(
        "is a buffer of older versions, but holds {found} at index {index}, expected {expected}: remove it if the \
         model was not trained with it"
    )]
    Buffer {
        index: usize,
        found: f64,
        expected: String,
    },
    #[error(
        "{0}: save it with torch.save(tensor.contiguous()), or convert the checkpoint to safetensors"
    )]
    View(&'static str),
    #[error(
        "holds {value} at index {index}, not a positive factor of a frequency: the file is damaged"
    )]
    Factor { index: usize, value: f32 },
}

impl TensorError {
    /// Whether another configuration might be meant.
    pub(super) fn is_of_sizes(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. } | Self::Unexpected { .. } | Self::Shape { .. }
        )
    }

    /// This error as one of the tensor called `name`.
    pub(super) fn of(self, name: &str) -> ShardError {
        ShardError::Tensor {
            tensor: name.to_string(),
            source: self,
        }
    }
}

/// What a tensor of a file is for.
pub(super) enum Place<'w, 'a> {
    /// It goes there.
    Weight(&'w mut Slot<'a>),
    /// It is compared with what it must be.
    Buffer(Buffer<'w>),
}

/// The tensors that a checkpoint has to provide, filled file by file.
pub(super) struct Wanted<'a> {
    config: &'a Config,
    slots: BTreeMap<String, (Slot<'a>, bool)>,
    /// What stands before the rest of the names, by the first tensor that showed it: of the base model's, of the head.
    prefixes: [Option<Prefix>; 2],
    buffers: BTreeSet<String>,
    /// (name that was left out, name of the same tensor) as the files give them.
    aliases: Vec<(String, String)>,
}

struct Prefix {
    prefix: String,
    tensor: String,
}

impl<'a> Wanted<'a> {
    pub fn new(config: &'a Config, slots: Vec<Slot<'a>>) -> Self {
        let named = |slot: Slot<'a>| (slot.name.clone(), (slot, false));
        Self {
            config,
            slots: slots.into_iter().map(named).collect(),
            prefixes: [None, None],
            buffers: BTreeSet::new(),
            aliases: Vec::new(),
        }
    }

    /// The place for the tensor that a file in Hugging Face's layout calls `name`.
    pub fn claim(&mut self, name: &str) -> Result<Place<'_, 'a>, TensorError> {
        let (prefix, rest) = self.split(name);
        if let Some(buffer) = Buffer::named(rest, self.config) {
            self.check_prefix(prefix, rest, name)?;
            if !self.buffers.insert(rest.to_string()) {
                return Err(TensorError::Repeated);
            }
            return Ok(Place::Buffer(buffer));
        }
        let own = self.own_name(rest);
        if !self.slots.contains_key(&own) {
            return Err(self.unexpected(rest));
        }
        self.check_prefix(prefix, rest, name)?;
        self.slot(&own).map(Place::Weight)
    }

    /// The shape of a tensor by the name that it has here.
    pub fn shape(&self, own: &str) -> Result<Vec<usize>, TensorError> {
        match self.slots.get(own) {
            Some((slot, _)) => Ok(slot.shape.clone()),
            None => Err(self.unexpected(own)),
        }
    }

    /// The place for a tensor by the name that it has here.
    pub fn slot(&mut self, own: &str) -> Result<&mut Slot<'a>, TensorError> {
        if !self.slots.contains_key(own) {
            return Err(self.unexpected(own));
        }
        match self.slots.get_mut(own) {
            Some((slot, filled)) if !*filled => {
                *filled = true;
                Ok(slot)
            }
            _ => Err(TensorError::Repeated),
        }
    }

    /// Notes that tensors were left out of a file because they are the same as others, as `safetensors` does: (name,
    /// name of the other). What else stands among these pairs is of no consequence.
    pub fn note_aliases<'b>(&mut self, pairs: impl Iterator<Item = (&'b String, &'b String)>) {
        for (name, other) in pairs {
            let [name, other] = [name, other].map(|name| self.own_name(self.split(name).1));
            if self.slots.contains_key(&name) && self.slots.contains_key(&other) {
                self.aliases.push((name, other));
            }
        }
    }

    /// Fills tensors that were left out with the values of the tensors that they are the same as: by what the files say,
    /// and, as in `transformers`, the token embedding of a tied model by its head.
    pub fn resolve_aliases(&mut self) -> Result<(), ShardError> {
        let mut aliases = std::mem::take(&mut self.aliases);
        let tokens = self.config.tensors.name_of(Part::Tokens);
        let tokens = self.own_name(&format!("{tokens}.weight"));
        let filled = |name: &str| self.slots.get(name).is_some_and(|(_, filled)| *filled);
        if self.config.tied && !filled(&tokens) && !aliases.iter().any(|(name, _)| *name == tokens)
        {
            aliases.push((tokens, LM_HEAD.to_string()));
        }
        for (name, other) in aliases {
            let (source, values) = match self.slots.get(&other) {
                Some((slot, true)) => (slot.shape.clone(), slot.values.clone()),
                _ => continue,
            };
            let slot = self.slot(&name).map_err(|e| e.of(&name))?;
            check_shape(&source, &slot.shape).map_err(|e| e.of(&name))?;
            *slot.values = values;
        }
        Ok(())
    }

    /// The tensors that no file has provided.
    pub fn missing(&self) -> impl Iterator<Item = &Slot<'a>> {
        let entries = self.slots.values();
        entries.filter_map(|(slot, filled)| (!filled).then_some(slot))
    }

    /// A name's wrappers, and the rest.
    fn split<'n>(&self, name: &'n str) -> (&'n str, &'n str) {
        let base = self.config.tensors.base.split_inclusive('.');
        let mut rest = name;
        while let Some(inner) = base
            .clone()
            .chain(WRAPPERS)
            .find_map(|wrapper| rest.strip_prefix(wrapper))
        {
            rest = inner;
        }
        name.split_at(name.len() - rest.len())
    }

    /// The name of a [`Slot`], of a name without prefix.
    fn own_name(&self, rest: &str) -> String {
        match head(rest, self.config) {
            Some(kind) => format!("{HEAD}{kind}"),
            None => self.config.tensors.in_model(rest),
        }
    }

    /// Refuses tensors whose names do not begin alike.
    fn check_prefix(&mut self, prefix: &str, rest: &str, name: &str) -> Result<(), TensorError> {
        let is_head = usize::from(head(rest, self.config).is_some());
        let known = self.prefixes[is_head].get_or_insert_with(|| Prefix {
            prefix: prefix.to_string(),
            tensor: name.to_string(),
        });
        if known.prefix != prefix {
            let other = known.tensor.clone();
            return Err(TensorError::Prefix { other });
        }
        let [Some(body), Some(head)] = &self.prefixes else {
            return Ok(());
        };
        let outside = body.prefix.strip_suffix(self.config.tensors.base);
        if head.prefix != body.prefix && Some(&*head.prefix) != outside {
            let other = [body, head][1 - is_head].tensor.clone();
            return Err(TensorError::Prefix { other });
        }
        Ok(())
    }

    fn unexpected(&self, rest: &str) -> TensorError {
        TensorError::Unexpected {
            model: self.config.tensors.name,
            reason: reason(rest),
        }
    }
}

/// What follows the head's name, or an older one of it, in a name without prefix.
fn head<'n>(rest: &'n str, config: &Config) -> Option<&'n str> {
    let mut names = [HEAD]
        .into_iter()
        .chain(config.tensors.heads.iter().copied());
    let kind = names.find_map(|name| rest.strip_prefix(name))?;
    kind.starts_with('.').then_some(kind)
}

/// What a tensor that does not belong may be, and what to do.
fn reason(rest: &str) -> &'static str {
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| rest.ends_with(suffix));
    if rest.contains("lora_") {
        "it is an adapter's; merge the adapter into the model (merge_and_unload) and save that"
    } else if ends(&[
        ".qweight",
        ".qzeros",
        ".scales",
        ".g_idx",
        ".absmax",
        ".quant_map",
        ".SCB",
        ".weight_scale",
        ".weight_scale_inv",
        ".input_scale",
    ]) || rest.contains(".quant_state")
    {
        "it is of quantized weights; use the checkpoint that was quantized"
    } else if rest.starts_with("score.") || rest.starts_with("classifier.") {
        "it is a classifier's head; use a checkpoint that was saved with a language model's"
    } else if ends(&["q_norm.weight", "k_norm.weight"]) {
        "queries and keys are not normalized in this model"
    } else if ends(&[".bias"]) {
        "there is no such bias in this model"
    } else {
        "without it the model would be another function"
    }
}

pub(super) fn check_shape(found: &[usize], expected: &[usize]) -> Result<(), TensorError> {
    if found != expected {
        return Err(TensorError::Shape {
            expected: expected.to_vec(),
            found: found.to_vec(),
        });
    }
    Ok(())
}
