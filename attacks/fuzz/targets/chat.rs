#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    nanozk_fuzz::readers::chat(data);
});
