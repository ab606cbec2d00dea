//! A threshold for every target, also where a sample has none: two thresholds and how often each is
//! used. A tied mass is split in the same way, because its score and the next one up are two thresholds.

use types::{ProbabilityError, Threshold};

/// The lower of two thresholds with some probability, the higher one otherwise. A fixed threshold is the
/// same one twice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RandomisedThreshold {
    low: Threshold,
    high: Threshold,
    probability_of_low: f64,
}

impl RandomisedThreshold {
    /// Always this one.
    pub fn fixed(threshold: Threshold) -> Self {
        Self { low: threshold, high: threshold, probability_of_low: 1.0 }
    }

    /// Every query goes strong.
    pub fn always() -> Self {
        Self::fixed(Threshold::ALWAYS)
    }

    /// No query goes strong, whatever its probability.
    pub fn never() -> Self {
        Self::fixed(Threshold::NEVER)
    }

    /// One of two, the lower with `probability_of_low` in [0, 1].
    ///
    /// # Errors
    /// When that is no probability, or `low` is above `high`.
    pub fn new(low: Threshold, high: Threshold, probability_of_low: f64) -> Result<Self, ProbabilityError> {
        if !(0.0..=1.0).contains(&probability_of_low) {
            return Err(ProbabilityError::OutOfRange(probability_of_low));
        }
        if low > high {
            return Err(ProbabilityError::ThresholdOutOfRange(low.get()));
        }
        Ok(Self { low, high, probability_of_low })
    }

    /// The lower threshold.
    pub fn low(&self) -> Threshold {
        self.low
    }

    /// The higher threshold.
    pub fn high(&self) -> Threshold {
        self.high
    }

    /// How often the lower one is used, in [0, 1].
    pub fn probability_of_low(&self) -> f64 {
        self.probability_of_low
    }

    /// The threshold of one request for its draw in [0, 1) (see [`request_draw`]).
    pub fn at(&self, draw: f64) -> Threshold {
        if draw < self.probability_of_low { self.low } else { self.high }
    }
}

/// A number in [0, 1) that belongs to a request for good: the same key gives the same draw on every
/// machine, so that a retry is decided like the first try. FNV-1a with splitmix64's finaliser.
pub fn request_draw<'a>(key: impl IntoIterator<Item = &'a [u8]>) -> f64 {
    let fnv = |h: u64, byte: &u8| (h ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let mut h = key.into_iter().flatten().fold(0xcbf2_9ce4_8422_2325, fnv);
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^= h >> 31;
    (h >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goes_strong;
    use types::WinProbability;

    fn draw(key: &str) -> f64 {
        request_draw([key.as_bytes()])
    }

    #[test]
    fn never_and_always_mean_it() {
        for p in [0.0, 0.5, 1.0] {
            let p = WinProbability::new(p).unwrap();
            for draw in [0.0, 0.999] {
                assert!(goes_strong(p, RandomisedThreshold::always().at(draw)));
                assert!(!goes_strong(p, RandomisedThreshold::never().at(draw)));
            }
        }
    }

    #[test]
    fn a_retry_gets_the_same_draw_and_draws_are_uniform() {
        assert_eq!(draw("request-7"), draw("request-7"));
        let draws: Vec<f64> = (0..20_000).map(|i| draw(&format!("request-{i}"))).collect();
        assert!(draws.iter().all(|d| (0.0..1.0).contains(d)));
        // Deciles of 2,000 expected draws: four standard deviations are 170.
        for decile in 0..10 {
            let inside = draws.iter().filter(|d| (**d * 10.0) as usize == decile).count();
            assert!((1_830..=2_170).contains(&inside), "decile {decile}: {inside}");
        }
    }

    #[test]
    fn impossible_mixtures_are_refused() {
        let t = |v| Threshold::new(v).unwrap();
        assert!(RandomisedThreshold::new(t(0.2), t(0.3), 1.1).is_err());
        assert!(RandomisedThreshold::new(t(0.3), t(0.2), 0.5).is_err());
        let mixed = RandomisedThreshold::new(t(0.2), t(0.3), 0.25).unwrap();
        assert_eq!((mixed.at(0.24).get(), mixed.at(0.25).get()), (0.2, 0.3));
    }
}
