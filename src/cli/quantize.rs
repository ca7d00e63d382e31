//! `nanozk quantize`.

use serde_json::json;

use super::args::Quantize;
use super::report::{Report, bytes};
use super::{Failure, Outcome, models};
use crate::proof::{Kind, Setup, container};

pub fn run(args: &Quantize, report: &Report) -> Result<Outcome, Failure> {
    // `--model` knows a quantized model by its suffix, and `.vk` would be overwritten by the key.
    if args.out.extension().is_none_or(|e| e != "nzk") {
        return Err(format!("{}: a model's name must end in .nzk", args.out.display()).into());
    }
    let key_path = args.out.with_extension("vk");
    models::check_writable(&args.out)?;
    models::check_writable(&key_path)?;
    let home = models::home();
    let setup = Setup::load(home.as_deref());
    let options = models::QuantizeOptions {
        calibrate: args.calibrate.clone(),
        headroom: args.headroom,
        private: args.private,
    };
    let file = models::quantize(args.model.model.as_deref(), &options, &setup, report)?;
    let encoded = container::encode(Kind::Model, &file);
    let key = container::encode(Kind::VerifyingKey, &file.key_file());
    // A model without its key, or beside the key of the model that was there before, misleads.
    let staged = [
        container::stage(&args.out, &encoded, true)?,
        container::stage(&key_path, &key, false)?,
    ];
    staged.into_iter().try_for_each(|file| file.persist())?;
    let id = file.id().to_string();
    let json = json!({
        "model_id": id,
        "out": args.out.display().to_string(),
        "vk": key_path.display().to_string(),
        "model_bytes": encoded.len(),
        "vk_bytes": key.len(),
    });
    let human = format!(
        "model {id}\n  {} ({}, secret)\n  {} ({}, public)",
        args.out.display(),
        bytes(encoded.len()),
        key_path.display(),
        bytes(key.len())
    );
    report.result(&json, &human)?;
    Ok(Outcome::Success)
}
