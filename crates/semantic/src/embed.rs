//! Text to vector. The trait by which an encoder comes in, and an embedding that needs none: hashed words, word pairs
//! and character n-grams, weighted by what a catalogue's exemplars say of them.
//!
//! An encoder knows which words mean the same; a catalogue of a few dozen exemplars a route does not. What it does
//! know is which route a word comes from, and that is put into the vector beside the words themselves: half of the
//! coordinates are hashed features (Weinberger et al. 2009), the other half the direction in which the features were
//! seen to point, each route being a direction of its own (random indexing with labels for contexts, after Kanerva et
//! al. 2000). The weights below were chosen by cross-fitted accuracy on the exemplars of `fixtures/intents.toml`.

mod concepts;
mod walsh;
mod words;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::Catalogue;

use walsh::{DIRECTED, directions};
use words::each_feature;

/// Turns text into a vector that is compared by its direction.
pub trait Embed: Send + Sync {
    /// Numbers in a vector.
    fn dimension(&self) -> usize;

    /// Overwrites `out` with the vector of `text`. Its length does not matter; all zeros compare with nothing.
    fn embed(&self, text: &str, out: &mut Vec<f32>);
}

/// Numbers in a vector of [`StaticEmbedder`].
pub const STATIC_DIMENSION: usize = HASHED + DIRECTED;

/// Coordinates that hold hashed features.
const HASHED: usize = 128;

/// How much the routes' directions count beside the hashed features.
const DIRECTION_WEIGHT: f32 = 2.0;

/// Exemplars that a feature is taken to have been seen in before, spread over the routes as the exemplars are: one
/// sighting is a hint, ten are evidence.
const PRIOR_SIGHTINGS: f32 = 8.0;

/// Weights of features are multiples of one over this: logarithms differ in their last bits from platform to
/// platform, vectors must not.
const WEIGHT_STEPS: f64 = 4096.0;

/// An embedding fitted on a catalogue's exemplars. The same catalogue and text give the same bits on every platform.
#[derive(Debug, Clone)]
pub struct StaticEmbedder {
    /// The features of exemplars, by their hashes.
    features: HashMap<u64, Feature, BuildHasherDefault<Hashed>>,
    /// In how many exemplars of which route a feature was seen.
    sightings: Vec<Sighting>,
    /// Share of the exemplars that are of each route.
    shares: Vec<f32>,
    /// Weight of a feature that no exemplar has.
    unseen: f32,
}

#[derive(Debug, Clone, Copy)]
struct Feature {
    weight: f32,
    /// Exemplars that have it.
    exemplars: f32,
    /// Where in the sightings its own begin and end.
    start: u32,
    end: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Sighting {
    route: u32,
    exemplars: f32,
}

impl StaticEmbedder {
    /// Fits the weights. Neither negatives nor off-topic queries are looked at: the floor's promise rests on
    /// off-topic queries that took no part in the score.
    pub fn fit(catalogue: &Catalogue) -> Self {
        let mut seen: Vec<(u64, u32)> = Vec::new();
        let mut counts = vec![0usize; catalogue.routes().len()];
        let mut own = Vec::new();
        for (route, text) in catalogue.exemplars() {
            own.clear();
            each_feature(text, |hash, _| own.push(hash));
            own.sort_unstable();
            own.dedup();
            seen.extend(own.iter().map(|hash| (*hash, route as u32)));
            counts[route] += 1;
        }
        seen.sort_unstable();
        let total = counts.iter().sum::<usize>();
        let mut embedder = Self {
            features: HashMap::default(),
            sightings: Vec::new(),
            shares: counts.iter().map(|count| *count as f32 / total.max(1) as f32).collect(),
            unseen: weight(total, 0),
        };
        for run in seen.chunk_by(|a, b| a.0 == b.0) {
            let start = embedder.sightings.len() as u32;
            let of_route = |run: &[(u64, u32)]| Sighting { route: run[0].1, exemplars: run.len() as f32 };
            embedder.sightings.extend(run.chunk_by(|a, b| a.1 == b.1).map(of_route));
            let (weight, end) = (weight(total, run.len()), embedder.sightings.len() as u32);
            embedder.features.insert(run[0].0, Feature { weight, exemplars: run.len() as f32, start, end });
        }
        embedder
    }
}

/// Passes hashes on as they are: they are mixed well enough to be places in a table.
#[derive(Debug, Clone, Copy, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// How much a feature says that is in `seen` of `total` exemplars: the square root of the smoothed inverse document
/// frequency. The root, because most features of a short text are in one exemplar only and should not drown the rest.
fn weight(total: usize, seen: usize) -> f32 {
    let idf = ((1 + total) as f64 / (1 + seen) as f64).ln() + 1.0;
    ((idf.sqrt() * WEIGHT_STEPS).round() / WEIGHT_STEPS) as f32
}

impl Embed for StaticEmbedder {
    fn dimension(&self) -> usize {
        STATIC_DIMENSION
    }

    fn embed(&self, text: &str, out: &mut Vec<f32>) {
        out.clear();
        out.resize(STATIC_DIMENSION, 0.0);
        let mut evidence = vec![0.0f32; self.shares.len()];
        // What every route loses by a sighting elsewhere, in units of its share.
        let mut elsewhere = 0.0f32;
        each_feature(text, |hash, amount| {
            let known = self.features.get(&hash);
            let amount = amount * known.map_or(self.unseen, |known| known.weight);
            out[(hash >> 32) as usize % HASHED] += if hash & 1 == 0 { amount } else { -amount };
            let Some(known) = known else { return };
            let each = amount / (known.exemplars + PRIOR_SIGHTINGS);
            for sighting in &self.sightings[known.start as usize..known.end as usize] {
                evidence[sighting.route as usize] += each * sighting.exemplars;
            }
            elsewhere += each * known.exemplars;
        });
        for (evidence, share) in evidence.iter_mut().zip(&self.shares) {
            *evidence = DIRECTION_WEIGHT * (*evidence - elsewhere * share);
        }
        directions(&evidence, &mut out[HASHED..]);
        crate::index::normalise(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        let text = r#"
            [[route]]
            name = "money"
            utterances = ["pay the invoice", "refund my payment", "the bill is too high"]
            [[route]]
            name = "code"
            utterances = ["fix the bug", "my program crashes", "write a function"]
        "#;
        Catalogue::from_toml(text, "a.toml").unwrap()
    }

    fn cosine(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn a_query_leans_towards_the_route_its_words_come_from() {
        let embedder = StaticEmbedder::fit(&catalogue());
        let vector = |text: &str| {
            let mut out = Vec::new();
            embedder.embed(text, &mut out);
            out
        };
        let query = vector("is there a refund for this invoice");
        assert!((cosine(&query, &query) - 1.0).abs() < 1e-5);
        let (money, code) = (vector("the bill is too high"), vector("my program crashes"));
        assert!(cosine(&query, &money) > cosine(&query, &code) + 0.2);
        // Case does not count, order and words do.
        assert_eq!(vector("Fix the BUG"), vector("fix the bug"));
        assert_ne!(vector("bug the fix"), vector("fix the bug"));
        assert_eq!(vector(""), vec![0.0; STATIC_DIMENSION]);
    }

    #[test]
    fn bits_are_the_same_everywhere() {
        let embedder = StaticEmbedder::fit(&catalogue());
        let mut out = Vec::new();
        embedder.embed("refund the größer invoice, 東京 + 1", &mut out);
        let bytes: Vec<u8> = out.iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(features::hash::WordHash::text(&hex::encode(bytes)), PINNED);
    }

    /// From the first run on x86-64; a change of the embedding changes it, another platform must not.
    const PINNED: u64 = 14_176_235_727_608_801_058;
}
