//! The empirical Fisher information of a model's layers: how strongly what the model says of the
//! next token depends on each layer's parameters.
//!
//! ```text
//! F_ℓ = mean over tokens of ‖∂ ln p(token | those before it in its window) / ∂θ_ℓ‖²
//! ```
//!
//! θ_ℓ are the parameters of layer ℓ: the embedding has those of tokens and learned positions, a
//! block its maps and both of its norms, the head the final norm and its matrix. Where the head is
//! tied, the matrix is differentiated in its two uses separately: each layer gets its own use's
//! share. The square is taken token by token, hence a backward pass for every token.

use candle_core::{DType, Tensor};

use super::float::{FloatError, FloatModel};
use super::{Config, Weights};

type Result<T> = std::result::Result<T, FloatError>;

/// A model that can be differentiated by its parameters.
#[derive(Debug)]
pub struct FisherModel {
    model: FloatModel,
    /// The parameters of every layer: `model`'s own variables.
    layers: Vec<Vec<Tensor>>,
}

/// In which numbers gradients are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Half the memory and time. Squares are summed over the rows of a tensor in `f32`, over rows
    /// and tensors in `f64`.
    Single,
    Double,
}

/// Sums over tokens, from which the layers' Fisher information follows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fisher {
    /// How many tokens were predicted.
    pub tokens: usize,
    /// For every layer the sum of the squared gradients' norms, and of their squares.
    sums: Vec<[f64; 2]>,
}

impl FisherModel {
    /// # Errors
    /// As [`FloatModel::new`].
    pub fn new(config: &Config, weights: &Weights, precision: Precision) -> Result<Self> {
        let dtype = match precision {
            Precision::Single => DType::F32,
            Precision::Double => DType::F64,
        };
        let mut model = FloatModel::new(config, weights)?.differentiable(dtype)?;
        // A clone of a variable is the variable itself.
        let own = |layer: Vec<&mut Tensor>| layer.into_iter().map(|p| p.clone()).collect();
        let layers = model.parameters().into_iter().map(own).collect();
        Ok(Self { model, layers })
    }

    /// The squared norm of the gradient by each layer's parameters of the log-likelihood of every
    /// token of `window` but the first, given those before it. `done` is called after each.
    ///
    /// # Errors
    /// [`FloatError`] where nothing is predicted, the window exceeds the context, or a token is
    /// beyond the vocabulary.
    pub fn squared_gradients(
        &self,
        window: &[u32],
        done: &mut dyn FnMut(),
    ) -> Result<Vec<Vec<f64>>> {
        let length = window.len();
        let Some((_, context)) = window
            .split_last()
            .filter(|(_, context)| !context.is_empty())
        else {
            let window = length;
            return Err(FloatError::TooShort { length, window });
        };
        let outputs = self.model.hidden(context, &mut ())?;
        let predicted = window[1..].iter().enumerate();
        let squares = predicted.map(|(position, next)| {
            let output = outputs.narrow(0, position, 1)?;
            let gradients = self.model.log_likelihood(&output, *next)?.backward()?;
            let norm = |parameter: &Tensor| gradients.get(parameter).map_or(Ok(0.0), squared_norm);
            let layer = |parameters: &Vec<Tensor>| parameters.iter().map(norm).sum();
            let norms = self.layers.iter().map(layer).collect();
            done();
            norms
        });
        squares.collect()
    }
}

/// The sum of the squares of a tensor's entries.
fn squared_norm(tensor: &Tensor) -> Result<f64> {
    let rows = tensor.sqr()?.sum(candle_core::D::Minus1)?;
    Ok(rows.to_dtype(DType::F64)?.sum_all()?.to_scalar()?)
}

impl Fisher {
    /// Counts one token: the squared norm of its gradient by each layer's parameters.
    ///
    /// Panics if the number of layers changes.
    pub fn add(&mut self, squared_norms: &[f64]) {
        if self.tokens == 0 {
            self.sums = vec![[0.0; 2]; squared_norms.len()];
        }
        assert_eq!(self.sums.len(), squared_norms.len(), "one model's layers");
        self.tokens += 1;
        for ([sum, squares], norm) in self.sums.iter_mut().zip(squared_norms) {
            *sum += norm;
            *squares += norm * norm;
        }
    }

    /// Every layer's information, and the standard error of that mean over tokens (as if they were
    /// independent; 0 for fewer than two).
    pub fn layers(&self) -> impl Iterator<Item = (f64, f64)> {
        let n = self.tokens as f64;
        self.sums.iter().map(move |[sum, squares]| {
            let mean = sum / n;
            let variance = (squares / n - mean * mean).max(0.0);
            (mean, (variance / (n - 1.0).max(1.0)).sqrt())
        })
    }
}
