//! What was said against what happened, bucket by bucket of the probability, with exact intervals.

use evaluation::clopper_pearson;
use serde::{Deserialize, Serialize};
use types::WinProbability;

const BUCKETS: usize = 10;

/// Confidence of all intervals together.
const LEVEL: f64 = 0.95;

/// Ten buckets of equal width.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Buckets {
    counts: [Count; BUCKETS],
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Count {
    labels: u64,
    said: f64,
    events: u64,
}

/// A bucket with labels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Lowest and highest probability.
    pub probability: (f64, f64),
    /// Labels.
    pub labels: u64,
    /// Mean probability.
    pub said: f64,
    /// Share of events.
    pub found: f64,
    /// Exact interval around it: all buckets together hold with 95 % (Bonferroni).
    pub interval: (f64, f64),
}

impl Bucket {
    /// Whether what was said lies outside the interval.
    pub fn is_off(&self) -> bool {
        self.said < self.interval.0 || self.said > self.interval.1
    }
}

impl Buckets {
    /// Takes a label.
    pub fn update(&mut self, p: WinProbability, event: bool) {
        let at = ((p.get() * BUCKETS as f64) as usize).min(BUCKETS - 1);
        let count = &mut self.counts[at];
        count.labels += 1;
        count.said += p.get();
        count.events += u64::from(event);
    }

    /// Buckets with labels, lowest first.
    pub fn filled(&self) -> Vec<Bucket> {
        let filled = self.counts.iter().enumerate().filter(|(_, count)| count.labels > 0);
        let intervals = filled.clone().count().max(1) as f64;
        let bucket = |(at, count): (usize, &Count)| {
            let (events, labels) = (count.events as usize, count.labels as usize);
            let interval =
                clopper_pearson(events, labels, 1.0 - (1.0 - LEVEL) / intervals).unwrap_or((0.0, 1.0));
            let n = count.labels as f64;
            Bucket {
                probability: (at as f64 / BUCKETS as f64, (at + 1) as f64 / BUCKETS as f64),
                labels: count.labels,
                said: count.said / n,
                found: count.events as f64 / n,
                interval,
            }
        };
        filled.map(bucket).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn off(shift: f64, seed: u64) -> bool {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut buckets = Buckets::default();
        for _ in 0..600 {
            let said: f64 = rng.random();
            buckets
                .update(WinProbability::new(said).unwrap(), rng.random_bool((said + shift).clamp(0.0, 1.0)));
        }
        buckets.filled().iter().any(Bucket::is_off)
    }

    #[test]
    fn what_is_right_is_rarely_called_off_and_what_is_off_is_seen() {
        let wrong = (0..400).filter(|seed| off(0.0, *seed)).count();
        assert!(wrong <= 33, "{wrong} of 400: 20 at most, and three deviations");
        assert!((0..400).filter(|seed| off(0.3, *seed)).count() > 390);
    }
}
