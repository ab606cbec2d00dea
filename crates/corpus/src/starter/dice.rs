//! Random draws that are the same on every platform: integers from `ChaCha8`, no library sampling
//! whose method may change with a version.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of draws.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream `stream` of a seed; different streams of one seed are independent.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// A whole number below `n`; 0 when `n` is 0. The bias is below `n / 2^32`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        ((u64::from(self.0.next_u32()) * n as u64) >> 32) as usize
    }

    /// True with the given probability, to a grain of 2^-53.
    pub(super) fn happens(&mut self, probability: f64) -> bool {
        let grains = self.0.next_u64() >> 11;
        (grains as f64) < probability * (1_u64 << 53) as f64
    }

    /// An index drawn in proportion to `weights`.
    pub(super) fn weighted(&mut self, weights: impl Iterator<Item = u32> + Clone) -> usize {
        let total: u32 = weights.clone().sum();
        let mut left = self.below(total as usize) as u32;
        for (index, weight) in weights.enumerate() {
            if left < weight {
                return index;
            }
            left -= weight;
        }
        0
    }
}
