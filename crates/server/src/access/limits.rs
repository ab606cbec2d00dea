//! How much one caller or tenant may ask: a rate with a burst (GCRA) and calls at once. Who has which is in `tokens`
//! and `tenants`.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::refusal::{Refusal, Whose};

/// What one may ask; none: as much as the server can.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Limits {
    rate: Option<Rate>,
    concurrent: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Rate {
    /// Between two requests, on average.
    every: Duration,
    burst: NonZeroU32,
}

impl Limits {
    /// Checks what a file says.
    ///
    /// # Errors
    /// With what was expected of which key.
    pub(crate) fn new(
        requests_per_second: Option<f64>,
        burst: Option<u32>,
        concurrent: Option<u32>,
    ) -> Result<Self, &'static str> {
        let rate = match (requests_per_second, burst) {
            (None, None) => None,
            (None, Some(_)) => return Err("burst: expected requests_per_second beside it"),
            (Some(rate), _) if !(0.001..=1e9).contains(&rate) => {
                return Err("requests_per_second: expected 0.001 to 1000000000");
            }
            (Some(rate), burst) => {
                // One second's worth, unless it is said.
                let burst = burst.unwrap_or_else(|| rate.ceil().min(1e6) as u32);
                let burst = NonZeroU32::new(burst).filter(|burst| burst.get() <= 1_000_000);
                let burst = burst.ok_or("burst: expected 1 to 1000000")?;
                Some(Rate { every: Duration::from_secs_f64(1.0 / rate).max(Duration::from_nanos(1)), burst })
            }
        };
        if concurrent == Some(0) {
            return Err("concurrent: expected at least 1");
        }
        Ok(Self { rate, concurrent })
    }

    /// Whether anything is limited.
    pub(crate) fn any(&self) -> bool {
        *self != Self::default()
    }
}

/// What is left of [`Limits`].
#[derive(Debug)]
pub(crate) struct Limiter {
    limits: Limits,
    whose: Whose,
    rate: Option<RateLimiter<NotKeyed, InMemoryState, MonotonicClock, NoOpMiddleware<Instant>>>,
    in_flight: AtomicU32,
    since: Instant,
    /// Milliseconds from `since` to the last use.
    used_ms: AtomicU64,
}

impl Limiter {
    pub(crate) fn new(limits: Limits, whose: Whose) -> Arc<Self> {
        let rate = limits.rate.and_then(|rate| {
            let quota = Quota::with_period(rate.every)?.allow_burst(rate.burst);
            Some(RateLimiter::direct_with_clock(quota, MonotonicClock))
        });
        let (in_flight, since, used_ms) = (AtomicU32::new(0), Instant::now(), AtomicU64::new(0));
        Arc::new(Self { limits, whose, rate, in_flight, since, used_ms })
    }

    /// `before` where it limits the same, so that a reload gives nobody a fresh burst.
    pub(crate) fn kept(before: Option<&Arc<Self>>, limits: Limits, whose: Whose) -> Arc<Self> {
        let same = before.filter(|before| before.limits == limits);
        same.map_or_else(|| Self::new(limits, whose), Arc::clone)
    }

    /// Takes `n` off the rate, all or none.
    pub(crate) fn charge(&self, n: NonZeroU32) -> Result<(), Refusal> {
        let (Some(limiter), Some(rate)) = (&self.rate, self.limits.rate) else { return Ok(()) };
        let whose = self.whose;
        match limiter.check_n(n) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_yet)) => {
                Err(Refusal::Rate { whose, wait: not_yet.wait_time_from(MonotonicClock.now()) })
            }
            Err(_) => Err(Refusal::Burst { whose, asked: n.get(), burst: rate.burst.get() }),
        }
    }

    /// One call more at once, until the permit is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Permit, Refusal> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        // From here on dropped on every way out.
        let permit = Permit(Arc::clone(self));
        match self.limits.concurrent {
            Some(limit) if before >= limit => Err(Refusal::Concurrency { whose: self.whose, limit }),
            _ => Ok(permit),
        }
    }

    /// Remembers that it is in use, for [`Limiter::is_as_new`].
    pub(crate) fn touch(&self) {
        self.used_ms.store(self.since.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Whether a fresh one would say the same: nothing is under way, and the whole burst has come back since.
    pub(crate) fn is_as_new(&self) -> bool {
        let refill = self.limits.rate.map_or(Duration::ZERO, |rate| rate.every * rate.burst.get());
        let used = Duration::from_millis(self.used_ms.load(Ordering::Relaxed));
        self.in_flight.load(Ordering::Relaxed) == 0 && self.since.elapsed().saturating_sub(used) > refill
    }
}

/// A call under way.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Limiter>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: NonZeroU32 = NonZeroU32::MIN;

    fn limiter(rate: Option<f64>, burst: Option<u32>, concurrent: Option<u32>) -> Arc<Limiter> {
        Limiter::new(Limits::new(rate, burst, concurrent).unwrap(), Whose::Caller)
    }

    #[test]
    fn the_burst_passes_and_what_comes_after_hears_its_wait() {
        let limiter = limiter(Some(0.01), Some(3), None);
        for _ in 0..3 {
            limiter.charge(ONE).unwrap();
        }
        let Err(Refusal::Rate { wait, .. }) = limiter.charge(ONE) else { panic!("let in") };
        assert!(wait > Duration::from_secs(90) && wait <= Duration::from_secs(100), "{wait:?}");
        let four = NonZeroU32::new(4).unwrap();
        let refused = limiter.charge(four).unwrap_err();
        assert_eq!(refused, Refusal::Burst { whose: Whose::Caller, asked: 4, burst: 3 });
        assert_eq!(refused.wait(), None, "waiting does not help");
    }

    #[test]
    fn a_call_that_ends_makes_room() {
        let limiter = limiter(None, None, Some(2));
        let (one, _other) = (limiter.enter().unwrap(), limiter.enter().unwrap());
        assert_eq!(limiter.enter().unwrap_err(), Refusal::Concurrency { whose: Whose::Caller, limit: 2 });
        drop(one);
        let again = limiter.enter().unwrap();
        assert!(limiter.enter().is_err());
        assert!(!limiter.is_as_new());
        drop(again);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_key() {
        let refused = |rate, burst, concurrent| Limits::new(rate, burst, concurrent).unwrap_err();
        assert!(refused(None, Some(3), None).starts_with("burst: expected requests_per_second"));
        assert!(refused(Some(f64::NAN), None, None).starts_with("requests_per_second"));
        assert!(refused(Some(-1.0), None, None).starts_with("requests_per_second"));
        assert!(refused(Some(1.0), Some(0), None).starts_with("burst"));
        assert!(refused(None, None, Some(0)).starts_with("concurrent"));
        assert!(!Limits::new(None, None, None).unwrap().any());
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_at_once(burst in 1_u32..200, asks in prop::collection::vec(1_u32..50, 1..60)) {
            // At one in a thousand seconds nothing comes back during the test.
            let limiter = limiter(Some(0.001), Some(burst), None);
            let passed: u32 = asks
                .iter()
                .filter(|n| limiter.charge(NonZeroU32::new(**n).unwrap()).is_ok())
                .sum();
            prop_assert!(passed <= burst);
            let asked: u32 = asks.iter().sum();
            prop_assert!(asked > burst || passed == asked, "{passed} of {asked}");
        }
    }
}
