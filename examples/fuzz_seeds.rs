//! Writes what the fuzz targets start from into `attacks/fuzz/corpus`, which `attacks/fuzz/run`
//! calls. Every seed goes through its reader first.

#[path = "../attacks/fuzz/src/readers.rs"]
mod readers;
#[path = "../attacks/fuzz/src/seeds.rs"]
mod seeds;

use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("attacks/fuzz/corpus");
    fs::create_dir_all(&corpus)?;
    let files = seeds::files(&corpus);
    let [proof, _] = &files.proofs;
    // What an earlier run found there starts from its own proof, which is as valid as this one.
    for reader in ["verify_proof", "pair"] {
        let earlier = corpus.join(reader);
        if earlier.exists() {
            fs::remove_dir_all(earlier)?;
        }
    }
    fs::write(corpus.join("model.vk"), &files.key)?;
    fs::write(corpus.join("model.proof"), proof)?;
    let verifier = readers::Verifier::new(&corpus, &files.key, proof);
    for (number, seed) in seeds::seeds(&files).into_iter().enumerate() {
        let good = match readers::READERS
            .iter()
            .find(|(name, _)| *name == seed.reader)
        {
            Some((_, read)) => read(&seed.input),
            None if seed.reader == "pair" => verifier.pair(&seed.input),
            None => verifier.read(&seed.input),
        };
        assert_eq!(good, seed.good, "seed {number}, {}", seed.reader);
        let directory = corpus.join(seed.reader);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(format!("seed-{number:02}")), seed.input)?;
    }
    Ok(())
}
