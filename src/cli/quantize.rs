//! `nanozk quantize`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::args::Quantize;
use super::output::check_writable;
use super::report::{Report, bytes};
use super::{Failure, Outcome, store};
use crate::proof::{Kind, container};
use crate::quant::Headroom;
use crate::store::QuantizeOptions;

pub fn run(args: &Quantize, report: &Report) -> Result<Outcome, Failure> {
    // `--model` knows a quantized model by its suffix, and `.vk` would be overwritten by the key.
    if args.out.extension().is_none_or(|e| e != "nzk") {
        return Err(format!("{}: a model's name must end in .nzk", args.out.display()).into());
    }
    let key_path = args.out.with_extension("vk");
    check_writable(&args.out)?;
    check_writable(&key_path)?;
    let options = QuantizeOptions {
        calibrate: args.calibrate.clone(),
        private: args.private,
        ..QuantizeOptions::new(args.model.headroom)
    };
    let (file, headroom) = store(report).quantize(args.model.name(), &options)?;
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
        "headroom": headroom.iter().map(room_json).collect::<Vec<_>>(),
    });
    let human = format!(
        "model {id}\n  {} ({}, secret)\n  {} ({}, public)\n{}",
        args.out.display(),
        bytes(encoded.len()),
        key_path.display(),
        bytes(key.len()),
        rooms_text(&headroom)
    );
    report.result(&json, &human)?;
    Ok(Outcome::Success)
}

fn room_json(room: &Headroom) -> Value {
    json!({
        "layer": room.place.to_string(),
        "tensor": room.tensor,
        "fraction_bits": room.fraction,
        "largest": room.largest,
        "limit": room.limit,
        // null where only zeros were seen.
        "headroom_bits": room.bits(),
    })
}

/// The tensor of each kind with the least room.
fn rooms_text(headroom: &[Headroom]) -> String {
    let mut least: BTreeMap<&str, &Headroom> = BTreeMap::new();
    for room in headroom {
        let entry = least.entry(room.tensor).or_insert(room);
        if room.bits() < entry.bits() {
            *entry = room;
        }
    }
    let mut text = format!(
        "\n{:<22} {:>9} {:>12} {:>12}   least room in",
        "largest in calibration", "headroom", "largest", "limit"
    );
    for room in least.values() {
        text += &format!(
            "\n{:<22} {:>4.1} bits {:>12.1} {:>12.1}   {}",
            room.tensor,
            room.bits(),
            room.largest,
            room.limit,
            room.place
        );
    }
    text
}
