//! Of what the reference is made: norms, maps, rotations, masks.

use candle_core::{D, DType, Device, Tensor};

use super::Result;
use crate::model::Rotation;
use crate::model::reproducible::{cos_sin, matmul};
use crate::quant::{FloatMap, FloatNorm, NormKind};

/// A weight and perhaps a bias: γ∘z + β of a norm, or x·W + b.
#[derive(Clone, Debug)]
pub struct Affine {
    pub weight: Tensor,
    pub bias: Option<Tensor>,
}

impl Affine {
    pub fn norm(norm: &FloatNorm) -> Result<Self> {
        Ok(Self {
            weight: tensor(norm.gain, &[norm.gain.len()])?,
            bias: vector(norm.bias)?,
        })
    }

    pub fn linear(map: &FloatMap) -> Result<Self> {
        let weight = if map.transposed {
            tensor(map.weight, &[map.stored, map.inputs])?.t()?
        } else {
            tensor(map.weight, &[map.inputs, map.stored])?
        };
        let weight = match map.runs.0 == map.outputs {
            true => weight.narrow(1, map.first, map.outputs)?,
            false => {
                let places = map.places().map(|place| place as u32);
                let places = Tensor::from_iter(places.collect::<Vec<_>>(), &Device::Cpu)?;
                weight.contiguous()?.index_select(&places, 1)?
            }
        };
        Ok(Self {
            weight,
            bias: vector(&map.biases())?,
        })
    }

    pub fn parameters(&mut self) -> impl Iterator<Item = &mut Tensor> {
        [&mut self.weight].into_iter().chain(&mut self.bias)
    }

    /// γ∘z + β.
    pub fn scale(&self, z: &Tensor) -> Result<Tensor> {
        self.shift(z.broadcast_mul(&self.weight)?)
    }

    /// x·W + b.
    pub fn map(&self, x: &Tensor) -> Result<Tensor> {
        self.shift(matmul(x, &self.weight)?)
    }

    /// x + b.
    pub fn shift(&self, x: Tensor) -> Result<Tensor> {
        match &self.bias {
            Some(bias) => Ok(x.broadcast_add(bias)?),
            None => Ok(x),
        }
    }
}

/// The variance of every row of x, and (x − mean) / √(variance + ε); of RMSNorm the mean square, and x / √(mean square + ε).
pub fn normalize(x: &Tensor, kind: NormKind, epsilon: f64) -> Result<[Tensor; 2]> {
    let centred = match kind {
        NormKind::Layer => x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?,
        NormKind::RootMeanSquare => x.clone(),
    };
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let z = centred.broadcast_div(&(&variance + epsilon)?.sqrt()?)?;
    Ok([variance, z])
}

/// Cosines and sines at every position of the pairs that turn, `[T, 1, pairs]` each.
pub type Turned = [Tensor; 2];

/// Those of the first `rotated` lanes of a head at `t` positions.
pub fn turned(rotation: &Rotation, rotated: usize, t: usize, dtype: DType) -> Result<Turned> {
    let turns = rotation.frequencies.turns(rotated);
    let at = |i: u64| turns.iter().map(move |turn| cos_sin(i.wrapping_mul(*turn)));
    let (cos, sin): (Vec<f64>, Vec<f64>) = (0..t as u64).flat_map(at).unzip();
    let table = |values| -> Result<Tensor> {
        let table = Tensor::from_vec(values, (t, 1, turns.len()), &Device::Cpu)?;
        Ok(times(table, rotation.factor)?.to_dtype(dtype)?)
    };
    Ok([table(cos)?, table(sin)?])
}

/// x, `[T, heads·width]`, with the pairs (m, m + pairs) of the first lanes of each head turned.
pub fn rotate(x: &Tensor, [cos, sin]: &Turned, width: usize) -> Result<Tensor> {
    let (t, features) = x.dims2()?;
    let pairs = cos.dim(2)?;
    let x = x.reshape((t, features / width, width))?;
    let (a, b) = (x.narrow(2, 0, pairs)?, x.narrow(2, pairs, pairs)?);
    let low = (a.broadcast_mul(cos)? - b.broadcast_mul(sin)?)?;
    let high = (a.broadcast_mul(sin)? + b.broadcast_mul(cos)?)?;
    let mut lanes = vec![low, high];
    if 2 * pairs < width {
        lanes.push(x.narrow(2, 2 * pairs, width - 2 * pairs)?);
    }
    Ok(Tensor::cat(&lanes, 2)?.reshape((t, features))?)
}

/// 1 where i sees j: j ≤ i, and less than a window before it. `[T, T]`.
pub fn seen(t: usize, window: Option<u32>) -> Result<Tensor> {
    let window = window.map_or(t, |window| window as usize);
    let sees = |i: usize, j: usize| j <= i && i - j < window;
    let entries: Vec<u8> = (0..t * t)
        .map(|at| u8::from(sees(at / t, at % t)))
        .collect();
    Ok(Tensor::from_vec(entries, (t, t), &Device::Cpu)?)
}

/// x·factor.
pub fn times(x: Tensor, factor: f64) -> Result<Tensor> {
    if factor == 1.0 {
        Ok(x)
    } else {
        Ok((x * factor)?)
    }
}

pub fn tensor(values: &[f32], shape: &[usize]) -> Result<Tensor> {
    Ok(Tensor::from_slice(values, shape, &Device::Cpu)?.to_dtype(DType::F64)?)
}

/// A bias, unless it is empty.
pub fn vector(values: &[f32]) -> Result<Option<Tensor>> {
    if values.is_empty() {
        return Ok(None);
    }
    tensor(values, &[values.len()]).map(Some)
}

pub fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}
