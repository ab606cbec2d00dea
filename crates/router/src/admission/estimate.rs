//! How long a query takes once it has a slot: an exponentially weighted mean of what was measured.

use std::time::Duration;

/// How much one query moves the mean.
const WEIGHT: f64 = 1.0 / 16.0;

/// A measurement counts as so many times the mean at most: a process that was stopped for a second is no reason to turn
/// callers away, and a load that did change is followed within some queries all the same.
const MOST: f64 = 8.0;

/// The mean; nothing is known before the first measurement.
#[derive(Debug, Default)]
pub(super) struct Estimate {
    query_ns: f64,
}

impl Estimate {
    /// Takes in a slot that was held for so long, for so many queries (at least one). A batch of n counts as n queries.
    pub(super) fn add(&mut self, held: Duration, queries: u32) {
        let queries = queries.max(1);
        let query_ns = held.as_nanos() as f64 / f64::from(queries);
        if self.query_ns == 0.0 {
            self.query_ns = query_ns;
            return;
        }
        let weight = 1.0 - (1.0 - WEIGHT).powf(f64::from(queries));
        self.query_ns += weight * (query_ns.min(self.query_ns * MOST) - self.query_ns);
    }

    /// How long so many queries take, one after the other.
    pub(super) fn of(&self, queries: u64) -> Duration {
        // Casts of floats saturate; a century is as good as any.
        Duration::from_nanos((self.query_ns * queries as f64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: Duration = Duration::from_micros(20);

    #[test]
    fn a_batch_is_measured_by_the_query() {
        let mut estimate = Estimate::default();
        assert_eq!(estimate.of(1_000), Duration::ZERO, "nothing is known yet");
        estimate.add(QUERY * 32, 32);
        assert_eq!(estimate.of(1), QUERY);
        assert_eq!(estimate.of(50), QUERY * 50);
    }

    #[test]
    fn one_slow_moment_is_not_the_rule_and_a_change_is_followed() {
        let mut estimate = Estimate::default();
        estimate.add(QUERY, 1);
        estimate.add(Duration::from_secs(5), 1);
        assert!(estimate.of(1) < QUERY * 2, "{:?}", estimate.of(1));
        (0..100).for_each(|_| estimate.add(QUERY * 50, 1));
        assert!(estimate.of(1) > QUERY * 45, "{:?}", estimate.of(1));
        (0..100).for_each(|_| estimate.add(QUERY, 1));
        assert!(estimate.of(1) < QUERY * 2, "{:?}", estimate.of(1));
    }
}
