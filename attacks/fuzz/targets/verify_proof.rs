#![no_main]

use std::sync::LazyLock;

use nanozk_fuzz::readers::Verifier;

static VERIFIER: LazyLock<Verifier> = LazyLock::new(nanozk_fuzz::verifier);

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    VERIFIER.read(data);
});
