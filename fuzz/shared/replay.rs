//! Runs a fuzz target over its corpus as an ordinary test: what was found once must not come back on a machine without a fuzzer. Part of the
//! tests of each crate that has targets (by path, so that no crate depends on it). Seeds are made by the crate's own code; with
//! HEARTH_WRITE_CORPUS set they are written to `fuzz/corpus/TARGET/`, where the fuzzer starts from and where inputs that failed once stay.

use std::{fs, path::Path};

/// Shortened inputs and flipped bits tried for each of the corpus: a little fuzzing where there is no fuzzer.
const CUTS: usize = 16;
const FLIPS: usize = 24;

pub fn replay(target: &str, seeds: &[Vec<u8>], run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    if std::env::var_os("HEARTH_WRITE_CORPUS").is_some() {
        fs::create_dir_all(&folder).unwrap();
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), seed).unwrap();
        }
    }
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(!names.is_empty(), "{} is empty: HEARTH_WRITE_CORPUS=1 makes its seeds", folder.display());
    for name in names {
        // Shown when the test fails: which input it was.
        println!("{}", name.display());
        around(&fs::read(&name).unwrap(), run);
    }
    for (number, seed) in seeds.iter().enumerate() {
        println!("seed {number} of {target}");
        around(seed, run);
    }
}

fn around(input: &[u8], run: fn(&[u8])) {
    run(input);
    for n in 0..CUTS.min(input.len()) {
        run(&input[..input.len() * n / CUTS]);
    }
    for n in 0..FLIPS.min(input.len() * 8) {
        let mut flipped = input.to_vec();
        // Spread over the whole input by a step that no length of ours divides.
        let bit = n * 40_503 % (input.len() * 8);
        flipped[bit / 8] ^= 1 << (bit % 8);
        run(&flipped);
    }
}
