//! What the bodies of fuzz targets are given by ordinary tests: every committed seed as it is, among them whatever
//! fuzzing found, then seeds with bits flipped, parts cut, doubled and spliced, and bytes of no origin.

use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Bytes that mean something to one decoder or another.
const TELLING: [&[u8]; 16] = [
    b"\0",
    b"\n",
    b"\"",
    b"\\u0000",
    b"{",
    b"[",
    b"]]",
    b"= ",
    b",",
    b"nan",
    b"-1",
    b"1e999",
    b"null",
    b"\xff\xff",
    b"18446744073709551615",
    b"\xf0\x9f\x99\x82",
];

/// One change to a seed; places are shares of its length.
#[derive(Debug, Clone)]
enum Change {
    Flip { at: prop::sample::Index, bit: u8 },
    Cut { at: prop::sample::Index },
    Remove { at: prop::sample::Index, bytes: usize },
    Insert { at: prop::sample::Index, bytes: Vec<u8> },
    Double { from: prop::sample::Index, bytes: usize, to: prop::sample::Index },
    Splice { at: prop::sample::Index, other: prop::sample::Index, from: prop::sample::Index },
}

/// Gives a body every seed of its target, then `cases` hostile inputs.
pub fn hold(target: &str, cases: u32, decode: fn(&[u8])) {
    let seeds = seeds(target);
    for (_, seed) in &seeds {
        decode(seed);
    }
    let seeds: Vec<Vec<u8>> = seeds.into_iter().map(|(_, seed)| seed).collect();
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let held = runner.run(&hostile(seeds), |bytes| {
        decode(&bytes);
        Ok(())
    });
    if let Err(error) = held {
        panic!("{target}: {error}");
    }
}

/// The seeds of a target, by name.
fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{}: no seed", folder.display());
    let read = |file: PathBuf| {
        let bytes = std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        (file, bytes)
    };
    files.into_iter().map(read).collect()
}

fn hostile(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let changed = (any::<prop::sample::Index>(), vec(change(), 1..6)).prop_map(move |(seed, changes)| {
        let seed = seed.get(&seeds).clone();
        changes.iter().fold(seed, |bytes, change| change.apply(bytes, &seeds))
    });
    prop_oneof![9 => changed, 1 => vec(any::<u8>(), 0..300)]
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    let telling = prop::sample::select(TELLING.to_vec()).prop_map(<[u8]>::to_vec);
    prop_oneof![
        3 => (at(), 0..8u8).prop_map(|(at, bit)| Change::Flip { at, bit }),
        1 => at().prop_map(|at| Change::Cut { at }),
        2 => (at(), 1..20usize).prop_map(|(at, bytes)| Change::Remove { at, bytes }),
        3 => (at(), prop_oneof![telling, vec(any::<u8>(), 1..8)])
            .prop_map(|(at, bytes)| Change::Insert { at, bytes }),
        2 => (at(), 1..200usize, at()).prop_map(|(from, bytes, to)| Change::Double { from, bytes, to }),
        2 => (at(), at(), at()).prop_map(|(at, other, from)| Change::Splice { at, other, from }),
    ]
}

impl Change {
    fn apply(&self, mut bytes: Vec<u8>, seeds: &[Vec<u8>]) -> Vec<u8> {
        let place = |at: &prop::sample::Index, length: usize| at.index(length + 1);
        let length = bytes.len();
        match self {
            Self::Flip { at, bit } => {
                if let Some(byte) = bytes.get_mut(place(at, length)) {
                    *byte ^= 1 << bit;
                }
            }
            Self::Cut { at } => bytes.truncate(place(at, length)),
            Self::Remove { at, bytes: many } => {
                let from = place(at, length);
                bytes.drain(from..length.min(from + many));
            }
            Self::Insert { at, bytes: new } => {
                let to = place(at, length);
                bytes.splice(to..to, new.iter().copied());
            }
            Self::Double { from, bytes: many, to } => {
                let (from, to) = (place(from, length), place(to, length));
                let copy = bytes[from..length.min(from + many)].to_vec();
                bytes.splice(to..to, copy);
            }
            Self::Splice { at, other, from } => {
                let other = other.get(seeds);
                bytes.truncate(place(at, length));
                bytes.extend_from_slice(&other[place(from, other.len())..]);
            }
        }
        bytes
    }
}
