//! What tensors are called, and matrices of two names.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use nanozk::model::synthetic::Stored;
use safetensors::tensor::{TensorView, serialize};

use super::{Model, refused};

#[test]
fn prefixes_that_all_tensors_share_are_read() {
    for model in [Model::gpt2(), Model::llama()] {
        let bare = Model {
            tensors: model.bare(),
            ..Model::new(model.name)
        };
        let opened = bare.open_with(&bare.tensors).expect("it is read");
        let weights = opened.weights.clone();
        model.check("without prefix", Ok(opened));
        // What `transformers` does not undo, but training tools do: the names say what is meant.
        for prefix in ["module.", "_orig_mod.", "module._orig_mod.", "model."] {
            for tensors in [model.prefixed(prefix), bare.prefixed(prefix)] {
                let opened = model.open_with(&tensors).expect(prefix);
                assert!(opened.weights == weights, "{prefix}");
            }
        }
    }
    let model = Model::gpt2();
    model.check(
        "transformer.",
        model.open_with(&model.without(&["lm_head.weight"])),
    );
}

/// Whether two names are one model's then is a guess.
#[test]
fn names_that_do_not_begin_alike_are_refused() {
    for (model, from, to) in [
        (
            Model::gpt2(),
            "transformer.h.1.ln_1.weight",
            "h.1.ln_1.weight",
        ),
        (
            Model::gpt2(),
            "transformer.h.1.ln_1.weight",
            "module.transformer.h.1.ln_1.weight",
        ),
        (Model::gpt2(), "lm_head.weight", "module.lm_head.weight"),
        (Model::llama(), "model.norm.weight", "norm.weight"),
        (Model::llama(), "lm_head.weight", "_orig_mod.lm_head.weight"),
    ] {
        let renamed = |name: &str| Some(if name == from { to } else { name }.to_string());
        refused(
            model.open_with(&model.renamed(renamed)),
            &["prefix", "model.safetensors"],
        );
        // Another word than those that are known is part of the name.
        let renamed = |name: &str| {
            Some(if name == from {
                format!("net.{name}")
            } else {
                name.to_string()
            })
        };
        let refusal = model.open_with(&model.renamed(renamed));
        refused(refusal, &["net.", "does not belong to the"]);
    }
}

/// One matrix for embedding and head, under the one name or the other.
#[test]
fn tied_matrices_are_read_under_either_name() {
    let gpt2 = Model::gpt2();
    let opened = gpt2.open_with(&gpt2.without(&["transformer.wte.weight"]));
    gpt2.check("head instead of embedding", opened);
    // The same without a word in the configuration: the matrix is missing.
    let llama = Model::llama();
    let rest = llama.without(&["lm_head.weight"]);
    refused(llama.open_with(&rest), &["lm_head.weight", "missing"]);
    let rest = llama.without(&["model.embed_tokens.weight"]);
    refused(
        llama.open_with(&rest),
        &["model.embed_tokens.weight", "missing"],
    );
    // What `safetensors.torch.save_model` notes of a tensor that it leaves out.
    for (name, other) in [
        ("lm_head.weight", "model.embed_tokens.weight"),
        ("model.embed_tokens.weight", "lm_head.weight"),
    ] {
        let embedding = llama.find("model.embed_tokens.weight").clone();
        let kept = Stored {
            name: other.to_string(),
            ..embedding
        };
        let mut tensors = llama.without(&[name, other]);
        tensors.push(kept);
        let write = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(a, b)| (a.to_string(), b.to_string()));
            let metadata: HashMap<String, String> = pairs.collect();
            let views = tensors.iter().map(|t| {
                let view = TensorView::new(t.dtype, t.shape.clone(), &t.bytes);
                (t.name.as_str(), view.expect("the bytes fill the shape"))
            });
            let file = serialize(views, Some(metadata)).expect("serialized");
            move |folder: &Path| fs::write(folder.join("model.safetensors"), file).expect("written")
        };
        let opened = llama.open(write(&[("format", "pt"), (name, other)]));
        llama.check("aliases", opened);
        // An alias of nothing that is there fills nothing.
        for pair in [(name, "model.norm"), ("format", other), (name, name)] {
            refused(llama.open(write(&[pair])), &[name, "missing"]);
        }
        // One of another shape is no alias, and one of a tensor that is there contradicts it.
        refused(
            llama.open(write(&[(name, "model.norm.weight")])),
            &[name, "shape [64]"],
        );
        let pairs = [(name, other), ("model.norm.weight", other)];
        refused(
            llama.open(write(&pairs)),
            &["model.norm.weight", "more than once"],
        );
    }
}
