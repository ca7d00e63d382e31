//! Numbers of 64 bits, and buffers.

use nanozk::model::Part;
use nanozk::model::synthetic::{self, Stored};
use safetensors::Dtype;

use super::{Model, numbers, refused};

/// Rounded to the nearest `f32`, ties to even.
#[test]
fn numbers_of_64_bits_are_rounded_as_the_reference_does() {
    let model = Model::gpt2();
    let doubles = |change: &dyn Fn(&str, f64) -> f64| -> Vec<Stored> {
        let widen = |t: Stored| {
            let halves = t.bytes.as_chunks::<2>().0.iter();
            let values = halves.map(|b| change(&t.name, half::f16::from_le_bytes(*b).to_f64()));
            Stored {
                dtype: Dtype::F64,
                bytes: values.flat_map(f64::to_le_bytes).collect(),
                ..t
            }
        };
        model.bare().into_iter().map(widen).collect()
    };
    let opened = model.open_with(&doubles(&|_, v| v + 1e-9));
    model.check("float64", opened);
    let ulp = f64::from(f32::EPSILON);
    for (stored, expected) in [
        (1.0 + 0.5 * ulp, 1.0),
        (1.0 + 1.5 * ulp, 1.0 + 2.0 * ulp),
        (1.0 + 0.500001 * ulp, 1.0 + ulp),
        (f64::from(f32::MAX), f64::from(f32::MAX)),
        (1e-300, 0.0),
    ] {
        let tensors = doubles(&|name, v| if name == "ln_f.bias" { stored } else { v });
        let opened = model.open_with(&tensors).expect("it is read");
        assert_eq!(
            f64::from(opened.weights.part(Part::FinalNorm).bias[7]),
            expected
        );
    }
    for beyond in [3.5e38, -1e300, f64::INFINITY, f64::NAN] {
        let tensors = doubles(&|name, v| if name == "ln_f.bias" { beyond } else { v });
        refused(
            model.open_with(&tensors),
            &["ln_f.bias", &beyond.to_string(), "32 bits"],
        );
    }
}

/// `bias` and `masked_bias` of a GPT-2, and `inv_freq` of a Llama.
#[test]
fn buffers_are_compared_with_what_they_must_be() {
    let mask = |n: usize| -> Vec<f32> {
        (0..n * n)
            .map(|i| f32::from(u8::from(i % n <= i / n)))
            .collect()
    };
    let gpt2 = Model::gpt2();
    let (bias, masked) = (
        "transformer.h.1.attn.bias",
        "transformer.h.0.attn.masked_bias",
    );
    let usual = [
        numbers(bias, &[1, 1, 16, 16], &mask(16)),
        numbers(masked, &[], &[-1e4]),
    ];
    gpt2.check("buffers", gpt2.open_with(&gpt2.with(usual)));
    for value in [-1e9, f32::MIN, f32::NEG_INFINITY] {
        let opened = gpt2.open_with(&gpt2.with([numbers(masked, &[1], &[value])]));
        assert!(opened.is_ok(), "{value}");
    }
    let bytes = |dtype: Dtype| Stored {
        dtype,
        bytes: mask(16).iter().map(|v| *v as u8).collect(),
        ..numbers(bias, &[1, 1, 16, 16], &[])
    };
    for dtype in [Dtype::U8, Dtype::BOOL] {
        assert!(
            gpt2.open_with(&gpt2.with([bytes(dtype)])).is_ok(),
            "{dtype:?}"
        );
    }
    let ones = vec![1.0; 256];
    let mut window = mask(16);
    window[15 * 16] = 0.0;
    for (buffer, part) in [
        (numbers(bias, &[1, 1, 16, 16], &ones), "causal mask"),
        (
            numbers(bias, &[1, 1, 16, 16], &window),
            "holds 0 at index 240",
        ),
        (numbers(bias, &[16, 16], &mask(16)), "shape"),
        (numbers(bias, &[1, 1, 16, 8], &mask(16)[..128]), "shape"),
        (numbers(masked, &[], &[-100.0]), "-10000 or less"),
        (numbers(masked, &[], &[f32::NAN]), "-10000 or less"),
        (numbers(masked, &[2], &[-1e4, -1e4]), "shape"),
        (
            numbers("transformer.h.2.attn.bias", &[1, 1, 1, 1], &[1.0]),
            "does not belong",
        ),
        (
            numbers("transformer.h.01.attn.bias", &[1, 1, 1, 1], &[1.0]),
            "does not belong",
        ),
        (numbers("h.1.attn.bias", &[1, 1, 1, 1], &[1.0]), "prefix"),
        (
            Stored {
                dtype: Dtype::I8,
                ..bytes(Dtype::U8)
            },
            "I8",
        ),
    ] {
        let name = buffer.name.clone();
        refused(gpt2.open_with(&gpt2.with([buffer])), &[&name, part]);
    }

    let llama = Model::llama();
    let frequency = |m: usize| 10_000f64.powf(-(m as f64) / 32.0) as f32;
    let usual: Vec<f32> = (0..32).map(frequency).collect();
    let name = "model.layers.1.self_attn.rotary_emb.inv_freq";
    llama.check(
        "buffers",
        llama.open_with(&llama.with([numbers(name, &[32], &usual)])),
    );
    for dtype in [Dtype::F16, Dtype::BF16] {
        let stored = Stored {
            dtype,
            bytes: synthetic::encode(dtype, &usual),
            ..numbers(name, &[32], &[])
        };
        assert!(llama.open_with(&llama.with([stored])).is_ok(), "{dtype:?}");
    }
    let other: Vec<f32> = usual.iter().map(|f| f * 1.001).collect();
    refused(
        llama.open_with(&llama.with([numbers(name, &[32], &other)])),
        &[name, "index 0"],
    );
    refused(
        llama.open_with(&llama.with([numbers(name, &[16], &usual[..16])])),
        &[name, "shape"],
    );
}
