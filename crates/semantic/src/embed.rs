//! Text to vector. The trait by which an encoder comes in, and an embedding that needs none: hashed words, word pairs
//! and character n-grams, weighted by what a catalogue's exemplars say of them.
//!
//! An encoder knows which words mean the same; a catalogue of a few dozen exemplars a route does not. What it does
//! know is which route a word comes from, and that is put into the vector beside the words themselves: half of the
//! coordinates are hashed features (Weinberger et al. 2009), the other half the direction in which the features were
//! seen to point, each route being a direction of its own (random indexing with labels for contexts, after Kanerva et
//! al. 2000).

mod concepts;
mod words;

use crate::Catalogue;

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

/// Coordinates that hold directions of routes: a power of two, for [`signature`].
const DIRECTED: usize = 128;

/// How much the routes' directions count beside the hashed features.
const DIRECTION_WEIGHT: f32 = 2.0;

/// Exemplars that a feature is taken to have been seen in before, spread over the routes as the exemplars are: one
/// sighting is a hint, ten are evidence.
const PRIOR_SIGHTINGS: f32 = 3.0;

/// Weights of features are multiples of one over this: logarithms differ in their last bits from platform to platform,
/// vectors must not.
const WEIGHT_STEPS: f64 = 4096.0;

/// An embedding fitted on a catalogue's exemplars. The same catalogue and text give the same bits on every platform.
#[derive(Debug, Clone)]
pub struct StaticEmbedder {
    /// Hashes of the features of exemplars, ascending.
    features: Vec<u64>,
    /// Where in `sightings` those of each feature begin; one more entry than features.
    starts: Vec<u32>,
    /// Weight of each feature.
    weights: Vec<f32>,
    /// In how many exemplars of which route a feature was seen.
    sightings: Vec<Sighting>,
    /// Share of the exemplars that are of each route.
    shares: Vec<f32>,
    /// Weight of a feature that no exemplar has.
    unseen: f32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Sighting {
    route: u32,
    exemplars: f32,
}

impl StaticEmbedder {
    /// Fits the weights. Neither negatives nor off-topic queries are looked at: the floor's promise rests on off-topic
    /// queries that took no part in the score.
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
            features: Vec::new(),
            starts: vec![0],
            weights: Vec::new(),
            sightings: Vec::new(),
            shares: counts.iter().map(|count| *count as f32 / total.max(1) as f32).collect(),
            unseen: weight(total, 0),
        };
        for run in seen.chunk_by(|a, b| a.0 == b.0) {
            embedder.features.push(run[0].0);
            embedder.weights.push(weight(total, run.len()));
            let of_route = |run: &[(u64, u32)]| Sighting { route: run[0].1, exemplars: run.len() as f32 };
            embedder.sightings.extend(run.chunk_by(|a, b| a.1 == b.1).map(of_route));
            embedder.starts.push(embedder.sightings.len() as u32);
        }
        embedder
    }

    /// Weight and sightings of a feature.
    fn known(&self, hash: u64) -> (f32, &[Sighting]) {
        let Ok(at) = self.features.binary_search(&hash) else { return (self.unseen, &[]) };
        (self.weights[at], &self.sightings[self.starts[at] as usize..self.starts[at + 1] as usize])
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
            let (weight, sightings) = self.known(hash);
            let amount = amount * weight;
            let sign = if hash & 1 == 0 { amount } else { -amount };
            out[(hash >> 32) as usize % HASHED] += sign;
            let exemplars = sightings.iter().map(|s| s.exemplars).sum::<f32>();
            let each = amount / (exemplars + PRIOR_SIGHTINGS);
            for sighting in sightings {
                evidence[sighting.route as usize] += each * sighting.exemplars;
            }
            elsewhere += each * exemplars;
        });
        for (route, (evidence, share)) in evidence.iter().zip(&self.shares).enumerate() {
            let towards = DIRECTION_WEIGHT * (evidence - elsewhere * share);
            let coordinates = out[HASHED..].iter_mut().enumerate();
            coordinates.for_each(|(at, x)| *x += towards * signature(route, at));
        }
        crate::index::normalise(out);
    }
}

/// Coordinate `at` of the direction of a route, of length 1: a row of the Walsh-Hadamard matrix, orthogonal to those of
/// other routes, while there are any; then a random row, nearly orthogonal.
fn signature(route: usize, at: usize) -> f32 {
    let negative = if route < DIRECTED {
        (route & at).count_ones() % 2 == 1
    } else {
        features::hash::pair(route as u64, at as u64) >> 63 == 1
    };
    // One over the root of DIRECTED.
    const LENGTH: f32 = 0.088_388_35;
    if negative { -LENGTH } else { LENGTH }
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
    fn routes_are_directions_of_their_own() {
        for a in [0, 1, 5, 127] {
            for b in [0, 1, 5, 127, 128, 1_000] {
                let dot: f32 = (0..DIRECTED).map(|at| signature(a, at) * signature(b, at)).sum();
                let expected = f32::from(u8::from(a == b));
                let slack = if b < DIRECTED { 1e-5 } else { 0.3 };
                assert!((dot - expected).abs() < slack, "{a} {b}: {dot}");
            }
        }
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
    const PINNED: u64 = 11_907_090_822_984_857_571;
}
