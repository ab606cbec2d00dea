//! When requests are due. What was due is due whether or not earlier answers are back: that is what keeps latencies
//! free of coordinated omission.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::Notify;

/// How often it is looked at what is due, at most. A sleep of tokio is a millisecond at least, as long as the latencies
/// that are looked for; a thread of the system sleeps a tenth of that.
const TICK: Duration = Duration::from_micros(100);
/// What is due may change while it is waited for.
const LONGEST: Duration = Duration::from_millis(1);

/// How requests arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arrivals {
    /// At equal distances.
    Constant,
    /// Each on its own, as from many callers that know nothing of each other.
    Poisson,
}

/// The seconds at which requests are due, ascending, without end.
#[derive(Debug)]
pub(crate) struct Schedule {
    arrivals: Arrivals,
    gap_s: f64,
    due_s: f64,
    rng: ChaCha8Rng,
}

impl Schedule {
    pub(crate) fn new(arrivals: Arrivals, per_second: f64, seed: u64) -> Self {
        Self { arrivals, gap_s: 1.0 / per_second, due_s: 0.0, rng: ChaCha8Rng::seed_from_u64(seed) }
    }
}

impl Iterator for Schedule {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        let due_s = self.due_s;
        self.due_s += match self.arrivals {
            Arrivals::Constant => self.gap_s,
            Arrivals::Poisson => -self.gap_s * (1.0 - self.rng.random::<f64>()).ln(),
        };
        Some(due_s)
    }
}

/// A thread that wakes whoever waits when something is due, until this is dropped.
#[derive(Debug)]
pub(crate) struct Ticks {
    notify: Arc<Notify>,
    /// Nanoseconds after the start at which something is due next; the end of time once this is dropped.
    due: Arc<AtomicU64>,
}

const OVER: u64 = u64::MAX;

impl Ticks {
    /// Times are told since `begin`.
    pub(crate) fn start(begin: Instant) -> std::io::Result<Self> {
        let (notify, due) = (Arc::new(Notify::new()), Arc::new(AtomicU64::new(0)));
        let (wake, next) = (Arc::clone(&notify), Arc::clone(&due));
        std::thread::Builder::new().name("ticks".into()).spawn(move || {
            loop {
                match next.load(Ordering::Relaxed) {
                    OVER => break,
                    due => {
                        let due = Duration::from_nanos(due).saturating_sub(begin.elapsed());
                        std::thread::sleep(due.clamp(TICK, LONGEST));
                    }
                }
                wake.notify_one();
            }
        })?;
        Ok(Self { notify, due })
    }

    /// Waits until `due`, a tick more or less.
    pub(crate) async fn wait(&self, due: Duration) {
        self.due.store(due.as_nanos() as u64, Ordering::Relaxed);
        self.notify.notified().await;
    }
}

impl Drop for Ticks {
    fn drop(&mut self) {
        self.due.store(OVER, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_what_was_asked_for() {
        let constant: Vec<f64> = Schedule::new(Arrivals::Constant, 1_000.0, 1).take(1_001).collect();
        assert!((constant[1_000] - 1.0).abs() < 1e-9);
        let poisson: Vec<f64> = Schedule::new(Arrivals::Poisson, 1_000.0, 1).take(100_001).collect();
        assert!((poisson[100_000] / 100.0 - 1.0).abs() < 0.02, "{}", poisson[100_000]);
        let gaps: Vec<f64> = poisson.windows(2).map(|pair| pair[1] - pair[0]).collect();
        // Of an exponential distribution, the share above its mean is 1/e.
        let above = gaps.iter().filter(|gap| **gap > 1e-3).count() as f64 / gaps.len() as f64;
        assert!((above - (-1.0f64).exp()).abs() < 0.01, "{above}");
        assert!(gaps.iter().all(|gap| *gap >= 0.0));
    }

    #[test]
    fn a_seed_gives_the_same_arrivals() {
        let of = |seed| Schedule::new(Arrivals::Poisson, 50.0, seed).take(20).collect::<Vec<_>>();
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }
}
