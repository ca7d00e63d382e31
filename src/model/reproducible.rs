//! What the reference computes beyond + − × ÷ √, which IEEE 754 rounds alike everywhere: products
//! of matrices, and exp, tanh, erf, sine and cosine. The scales of a model, and so its id, come from a run of the
//! reference: every machine must find the same numbers, whatever its instructions, its C library and its
//! number of threads.
//!
//! Products are [`crate::ops::ordered`]; functions are those of the crate `libm`, which are plain Rust.
//! Tensors in another precision, or by which results are to be differentiated, are left to candle: no
//! id depends on them.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Error, Layout, Result, Shape, Tensor};

use crate::ops::gemm::Matrix;
use crate::ops::ordered;

/// a · b of each matrix in a batch.
pub fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    match reproduced(a) && reproduced(b) {
        true => a.apply_op2_no_bwd(b, &Product),
        false => a.matmul(b),
    }
}

pub fn exp(x: &Tensor) -> Result<Tensor> {
    match reproduced(x) {
        true => x.apply_op1_no_bwd(&Map(libm::exp)),
        false => x.exp(),
    }
}

/// ½x(1 + tanh(√(2/π)(x + 0.044715x³))).
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    const FACTOR: f64 = 0.797_884_560_802_865_4; // √(2/π)
    let gelu = |x: f64| 0.5 * x * (1.0 + libm::tanh(FACTOR * x * (1.0 + 0.044715 * x * x)));
    match reproduced(x) {
        true => x.apply_op1_no_bwd(&Map(gelu)),
        false => x.gelu(),
    }
}

/// ½x(1 + erf(x/√2)).
pub fn gelu_erf(x: &Tensor) -> Result<Tensor> {
    let gelu = |x: f64| 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2));
    match reproduced(x) {
        true => x.apply_op1_no_bwd(&Map(gelu)),
        false => x.gelu_erf(),
    }
}

/// x/(1 + exp(−x)).
pub fn silu(x: &Tensor) -> Result<Tensor> {
    let silu = |x: f64| x / (1.0 + libm::exp(-x));
    match reproduced(x) {
        true => x.apply_op1_no_bwd(&Map(silu)),
        false => x.silu(),
    }
}

/// x/(1 + exp(−1.702x)).
pub fn quick_gelu(x: &Tensor) -> Result<Tensor> {
    let quick_gelu = |x: f64| x / (1.0 + libm::exp(-1.702 * x));
    match reproduced(x) {
        true => x.apply_op1_no_bwd(&Map(quick_gelu)),
        false => x.div(&(x.affine(-1.702, 0.0)?.exp()? + 1.0)?),
    }
}

/// max(x, 0), which is exact.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    x.relu()
}

/// The cosine and sine of `phase`·2^-64 of a full circle.
pub fn cos_sin(phase: u64) -> (f64, f64) {
    // As a number from −1/2 to 1/2 of the circle, to 53 digits.
    let angle = phase as i64 as f64 * (std::f64::consts::TAU / 18_446_744_073_709_551_616.0);
    (libm::cos(angle), libm::sin(angle))
}

fn reproduced(x: &Tensor) -> bool {
    x.dtype() == DType::F64 && !x.track_op()
}

struct Product;

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "product in order"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (left, right) = (a_layout.dims(), b_layout.dims());
        let rank = left.len();
        let agree = rank >= 2
            && rank == right.len()
            && left[..rank - 2] == right[..rank - 2]
            && left[rank - 1] == right[rank - 2];
        if !agree {
            return Err(Error::Msg(format!("no product of {left:?} and {right:?}")));
        }
        let (a, b) = (matrices(a, a_layout)?, matrices(b, b_layout)?);
        let product: Vec<f64> = a.zip(b).flat_map(|(a, b)| ordered::product(a, b)).collect();
        let dims = [&left[..rank - 1], &right[rank - 1..]].concat();
        Ok((CpuStorage::F64(product), dims.into()))
    }
}

/// The matrices of a batch of at most one dimension.
fn matrices<'a>(
    storage: &'a CpuStorage,
    layout: &'a Layout,
) -> Result<impl Iterator<Item = Matrix<'a>>> {
    let values = storage.as_slice::<f64>()?;
    let (dims, steps) = (layout.dims(), layout.stride());
    let (count, step) = match dims {
        [_, _] => (1, 0),
        [count, _, _] => (*count, steps[0]),
        _ => return Err(Error::Msg(format!("no matrices: {dims:?}"))),
    };
    let (sizes, inner) = (&dims[dims.len() - 2..], &steps[dims.len() - 2..]);
    Ok((0..count).map(move |index| {
        let values = &values[layout.start_offset() + index * step..];
        Matrix::strided(values, (sizes[0], sizes[1]), (inner[0], inner[1]))
    }))
}

struct Map<F>(F);

impl<F: Fn(f64) -> f64> CustomOp1 for Map<F> {
    fn name(&self) -> &'static str {
        "function"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            return Err(Error::Msg("a function of a tensor with gaps".to_string()));
        };
        let values = x.as_slice::<f64>()?[start..end].iter();
        let values = values.map(|x| self.0(*x)).collect();
        Ok((CpuStorage::F64(values), layout.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn tensor(shape: &[usize], seed: f64) -> Tensor {
        let count: usize = shape.iter().product();
        let values = (0..count).map(|i| ((i as f64 + seed) * 0.73).sin() * 4.0);
        Tensor::from_iter(values, &Device::Cpu)
            .and_then(|t| t.reshape(shape))
            .expect("whole")
    }

    fn flat(x: &Tensor) -> Vec<f64> {
        x.flatten_all().and_then(|x| x.to_vec1()).expect("numbers")
    }

    fn assert_near(found: &Tensor, expected: &Tensor) {
        assert_eq!(found.dims(), expected.dims());
        for (found, expected) in flat(found).iter().zip(flat(expected)) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }

    /// The function is candle's; only its last bits are this module's own.
    #[test]
    fn results_are_those_of_candle_but_for_rounding() {
        let x = tensor(&[7, 33], 0.5);
        for (own, candle) in [
            (exp(&x), x.exp()),
            (gelu(&x), x.gelu()),
            (gelu_erf(&x), x.gelu_erf()),
            (silu(&x), x.silu()),
            (
                quick_gelu(&x),
                (&x * 1.702).and_then(|y| y.silu()).and_then(|y| y / 1.702),
            ),
        ] {
            assert_near(&own.expect("computed"), &candle.expect("computed"));
        }
        // Whole, transposed, a part, and a batch of transposed ones.
        let wide = tensor(&[33, 20], 1.0);
        let batch = [tensor(&[3, 5, 33], 2.0), tensor(&[3, 9, 33], 3.0)];
        let pairs = [
            (x.clone(), wide.clone()),
            (wide.t().unwrap(), x.t().unwrap()),
            (x.narrow(0, 2, 3).unwrap(), wide.narrow(1, 4, 11).unwrap()),
            (batch[0].clone(), batch[1].t().unwrap()),
        ];
        for (a, b) in pairs {
            let (a_whole, b_whole) = (a.contiguous().unwrap(), b.contiguous().unwrap());
            assert_near(&matmul(&a, &b).unwrap(), &a_whole.matmul(&b_whole).unwrap());
        }
    }

    /// Sizes that do not fit are an error, as candle's are; what is differentiated keeps its gradient.
    #[test]
    fn sizes_are_checked_and_gradients_kept() {
        let (a, b) = (tensor(&[2, 3], 0.0), tensor(&[2, 3], 1.0));
        assert!(matmul(&a, &b).is_err());
        assert!(matmul(&a, &tensor(&[1, 3, 2], 0.0)).is_err());
        let variable = Var::from_tensor(&a).unwrap();
        let square = matmul(variable.as_tensor(), &b.t().unwrap()).unwrap();
        let gradients = square.sum_all().unwrap().backward().unwrap();
        assert!(gradients.get(&variable).is_some());
    }

    #[test]
    fn cosines_and_sines_go_around_the_circle() {
        for (phase, expected) in [
            (0u64, (1.0, 0.0)),
            (1 << 62, (0.0, 1.0)),
            (1 << 63, (-1.0, 0.0)),
            (3 << 62, (0.0, -1.0)),
            (1 << 61, (0.5f64.sqrt(), 0.5f64.sqrt())),
        ] {
            let (cos, sin) = cos_sin(phase);
            let (c, s) = expected;
            assert!(
                (cos - c).abs() < 1e-15 && (sin - s).abs() < 1e-15,
                "{phase:#x}"
            );
        }
    }
}
