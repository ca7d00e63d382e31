//! The weights of a checkpoint, as published, and as quantization sees them.

use super::Config;
use super::config::{HEAD, Part};
use crate::quant::{FloatBlock, FloatMap, FloatNorm, FloatWeights, HeadNorm};

/// A part's tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub part: Part,
    /// A map's matrix, or a norm's gain.
    pub weight: Vec<f32>,
    /// Empty where there is none.
    pub bias: Vec<f32>,
}

/// A whole model: the parts of its model_type's table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    /// Those outside of blocks, but for the head.
    pub model: Vec<Tensor>,
    /// Those of each block.
    pub blocks: Vec<Vec<Tensor>>,
    /// `[vocabulary, d]`, or `None` where the token embedding serves.
    pub lm_head: Option<Vec<f32>>,
    /// `[vocabulary]`, or empty.
    pub head_bias: Vec<f32>,
}

/// One tensor of a model: its name in a checkpoint, its shape, and where its values are.
#[derive(Debug)]
pub struct Slot<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: &'a mut Vec<f32>,
}

impl Part {
    /// The maps that a matrix holds, and how many outputs each has.
    fn maps(self, config: &Config) -> Vec<(Self, usize)> {
        let (queries, keys, hidden) = (config.query_width(), config.kv_width(), config.hidden);
        match self {
            Self::Query => vec![(self, queries)],
            Self::Key | Self::Value => vec![(self, keys)],
            Self::QueryKeyValue | Self::HeadByHead => {
                vec![
                    (Self::Query, queries),
                    (Self::Key, keys),
                    (Self::Value, keys),
                ]
            }
            Self::Output | Self::Down => vec![(self, config.width)],
            Self::Gate | Self::Up => vec![(self, hidden)],
            Self::GateUp => vec![(Self::Gate, hidden), (Self::Up, hidden)],
            _ => Vec::new(),
        }
    }

    /// The number of a map's inputs.
    fn inputs(self, config: &Config) -> usize {
        match self {
            Self::Output => config.query_width(),
            Self::Down => config.hidden,
            _ => config.width,
        }
    }

    /// The shape of its first tensor.
    fn shape(self, config: &Config) -> Vec<usize> {
        let of_heads = |heads| match config.head_norm {
            Some(HeadNorm::Whole) => vec![heads * config.head_width],
            _ => vec![config.head_width],
        };
        match self {
            Self::Tokens => vec![config.vocabulary, config.width],
            Self::Positions => {
                vec![
                    config.context + config.positions.unwrap_or_default(),
                    config.width,
                ]
            }
            Self::QueryNorm => of_heads(config.heads),
            Self::KeyNorm => of_heads(config.kv_heads),
            _ => match &*self.maps(config) {
                [] => vec![config.width],
                maps => {
                    let outputs = maps.iter().map(|(_, outputs)| outputs).sum();
                    let shape = [outputs, self.inputs(config)];
                    let inputs_first = config.tensors.inputs_first;
                    if inputs_first {
                        shape.into_iter().rev().collect()
                    } else {
                        shape.to_vec()
                    }
                }
            },
        }
    }

    /// The length of its bias, 0 where it has none.
    fn bias(self, config: &Config) -> usize {
        let b = config.biases;
        let biased = match self {
            Self::FinalNorm
            | Self::Norm1
            | Self::Norm2
            | Self::AttentionNorm
            | Self::FeedForwardNorm => {
                return if config.norm_biases { config.width } else { 0 };
            }
            Self::Query | Self::QueryKeyValue | Self::HeadByHead => b.query,
            Self::Key => b.key,
            Self::Value => b.value,
            Self::Output => b.output,
            Self::Gate | Self::GateUp => b.gate,
            Self::Up => b.up,
            Self::Down => b.down,
            Self::Tokens | Self::Positions | Self::QueryNorm | Self::KeyNorm => false,
        };
        let outputs = || self.maps(config).iter().map(|(_, outputs)| outputs).sum();
        if biased { outputs() } else { 0 }
    }

    /// Whether its first tensor is a norm's gain.
    fn is_norm(self) -> bool {
        matches!(
            self,
            Self::FinalNorm
                | Self::Norm1
                | Self::Norm2
                | Self::AttentionNorm
                | Self::FeedForwardNorm
                | Self::QueryNorm
                | Self::KeyNorm
        )
    }
}

impl Tensor {
    fn empty(part: Part) -> Self {
        let (weight, bias) = (Vec::new(), Vec::new());
        Self { part, weight, bias }
    }

    /// Its tensors, called `name` less what they are.
    fn slots(&mut self, name: &str, config: &Config) -> impl Iterator<Item = Slot<'_>> + use<'_> {
        let bias = self.part.bias(config);
        let weight = slot(
            format!("{name}.weight"),
            self.part.shape(config),
            &mut self.weight,
        );
        let bias = (bias > 0).then(|| slot(format!("{name}.bias"), vec![bias], &mut self.bias));
        [weight].into_iter().chain(bias)
    }

    fn norm(&self) -> FloatNorm<'_> {
        FloatNorm {
            gain: &self.weight,
            bias: &self.bias,
        }
    }

    /// The map `wanted`, if this tensor holds it.
    fn map(&self, wanted: Part, config: &Config) -> Option<FloatMap<'_>> {
        let maps = self.part.maps(config);
        let index = maps.iter().position(|(part, _)| *part == wanted)?;
        let before: usize = maps[..index].iter().map(|(_, outputs)| outputs).sum();
        let (outputs, stored) = (maps[index].1, maps.iter().map(|(_, outputs)| outputs).sum());
        let whole = if config.tensors.inputs_first {
            FloatMap::whole
        } else {
            FloatMap::transposed
        };
        let whole = whole(&self.weight, &self.bias, self.part.inputs(config), stored);
        let width = config.head_width;
        Some(match self.part {
            Part::HeadByHead => whole.in_turns(index * width, (width, 3 * width), outputs),
            _ => whole.part(before, outputs),
        })
    }
}

impl Weights {
    /// A model of the given shape whose tensors are all empty, to be filled through
    /// [`Weights::slots`].
    pub fn empty(config: &Config) -> Self {
        let all =
            |table: &[(Part, &str)]| table.iter().map(|(part, _)| Tensor::empty(*part)).collect();
        Self {
            model: all(config.tensors.model),
            blocks: (0..config.layers)
                .map(|_| all(config.tensors.blocks))
                .collect(),
            lm_head: None,
            head_bias: Vec::new(),
        }
    }

    /// Every tensor with its name and the shape that `config` gives it; the head's matrix only where there is one.
    pub fn slots(&mut self, config: &Config) -> Vec<Slot<'_>> {
        let names = config.tensors;
        let model = self.model.iter_mut().zip(names.model);
        let mut slots: Vec<Slot> = model
            .flat_map(|(tensor, (_, name))| tensor.slots(&names.in_model(name), config))
            .collect();
        for (index, block) in self.blocks.iter_mut().enumerate() {
            for (tensor, (_, name)) in block.iter_mut().zip(names.blocks) {
                slots.extend(tensor.slots(&names.in_block(index, name), config));
            }
        }
        let head = self.lm_head.as_mut();
        let shape = || vec![config.vocabulary, config.width];
        slots.extend(head.map(|values| slot(format!("{HEAD}.weight"), shape(), values)));
        if config.biases.head {
            let shape = vec![config.vocabulary];
            slots.push(slot(format!("{HEAD}.bias"), shape, &mut self.head_bias));
        }
        slots
    }

    /// Outside of blocks.
    ///
    /// Panics where the model has no such part.
    pub fn part(&self, part: Part) -> &Tensor {
        find(&self.model, part).expect("a part of the model")
    }

    /// The token embedding, `[vocabulary, d]`.
    pub fn tokens(&self) -> &[f32] {
        &self.part(Part::Tokens).weight
    }

    pub fn tokens_mut(&mut self) -> &mut Vec<f32> {
        let mut parts = self.model.iter_mut();
        let tokens = parts.find(|tensor| tensor.part == Part::Tokens);
        &mut tokens.expect("a part of the model").weight
    }

    /// The matrix of the head, `[vocabulary, d]`.
    pub fn head(&self) -> &[f32] {
        self.lm_head.as_deref().unwrap_or(self.tokens())
    }

    /// Makes stored gains those of the function, where `offset` is what they lack.
    pub(super) fn shift_gains(&mut self, offset: f32) {
        let tensors = self
            .model
            .iter_mut()
            .chain(self.blocks.iter_mut().flatten());
        for tensor in tensors.filter(|tensor| tensor.part.is_norm()) {
            tensor.weight.iter_mut().for_each(|gain| *gain += offset);
        }
    }

    /// The weights as norms and maps.
    pub fn view(&self, config: &Config) -> FloatWeights<'_> {
        let positions = config.positions.map(|skipped| {
            let rows = &self.part(Part::Positions).weight;
            rows.get(skipped * config.width..).unwrap_or_default()
        });
        FloatWeights {
            tokens: self.tokens(),
            positions,
            blocks: self
                .blocks
                .iter()
                .map(|block| view(block, config))
                .collect(),
            final_norm: self.part(Part::FinalNorm).norm(),
            lm_head: self.lm_head.as_deref(),
            logit_bias: &self.head_bias,
            factors: config.factors(),
        }
    }
}

fn view<'a>(block: &'a [Tensor], config: &Config) -> FloatBlock<'a> {
    let norm = |part| find(block, part).map(Tensor::norm);
    let optional = |part| block.iter().find_map(|tensor| tensor.map(part, config));
    let map = |part| optional(part).expect("a part of every block");
    let [norm1, norm2] = [Part::Norm1, Part::Norm2].map(norm);
    FloatBlock {
        norm1,
        query: map(Part::Query),
        key: map(Part::Key),
        value: map(Part::Value),
        output: map(Part::Output),
        query_norm: norm(Part::QueryNorm),
        key_norm: norm(Part::KeyNorm),
        attention_norm: norm(Part::AttentionNorm),
        norm2,
        gate: optional(Part::Gate),
        up: map(Part::Up),
        down: map(Part::Down),
        feed_forward_norm: norm(Part::FeedForwardNorm),
    }
}

fn find(tensors: &[Tensor], part: Part) -> Option<&Tensor> {
    tensors.iter().find(|tensor| tensor.part == part)
}

fn slot(name: String, shape: Vec<usize>, values: &mut Vec<f32>) -> Slot<'_> {
    Slot {
        name,
        shape,
        values,
    }
}
