//! The model that the program carries, so that it works without a download: `tiny-gpt2`.

use std::borrow::Cow;

use super::{Checkpoint, CheckpointError};

/// What the embedded model is called.
pub const NAME: &str = "tiny-gpt2";

const CONFIG: &[u8] = include_bytes!("../../models/tiny-gpt2/config.json");
const WEIGHTS: &[u8] = include_bytes!("../../models/tiny-gpt2/model.safetensors");
const TOKENIZER: &[u8] = include_bytes!("../../models/tiny-gpt2/tokenizer.json");

/// The embedded checkpoint.
///
/// # Errors
/// As [`Checkpoint::open`]; a test shows that there are none.
pub fn checkpoint() -> Result<Checkpoint, CheckpointError> {
    let weights = ("model.safetensors".to_string(), Cow::Borrowed(WEIGHTS));
    Checkpoint::from_parts(NAME, CONFIG, vec![weights], TOKENIZER)
}
