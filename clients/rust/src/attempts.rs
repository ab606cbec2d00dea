//! The attempts of one call: how many, how far apart, until when. Pure: time and chance are arguments.
//! `client.rs` runs what is said here.

use std::time::{Duration, Instant};

use crate::budget::Budget;
use crate::config::Retry;
use crate::failure::Failure;

/// The attempts of one call.
#[derive(Debug)]
pub(crate) struct Attempts<'a> {
    retry: &'a Retry,
    budget: &'a Budget,
    end: Instant,
    made: u32,
}

impl<'a> Attempts<'a> {
    /// A call whose first attempt is made now and which is over at `end`.
    pub(crate) fn new(retry: &'a Retry, budget: &'a Budget, end: Instant) -> Self {
        Self { retry, budget, end, made: 1 }
    }

    /// An attempt has failed. How long to wait before the next one; `None`: there is none, because the failure is
    /// final, the attempts or the budget are used up, or the wait ends after the call. `chance` is uniform
    /// in [0, 1).
    pub(crate) fn next(&mut self, failure: &Failure, now: Instant, chance: f64) -> Option<Duration> {
        let Failure::NotAnswered { retry: true, retry_after, .. } = failure else {
            return None;
        };
        self.budget.failed();
        if self.made >= self.retry.attempts || !self.budget.allows() {
            return None;
        }
        // The server's wish is a floor: the jitter on top keeps callers from coming back together.
        let wait = retry_after.unwrap_or_default().saturating_add(self.jittered(chance));
        let at = now.checked_add(wait)?;
        if at >= self.end {
            return None;
        }
        self.made += 1;
        Some(wait)
    }

    /// Full jitter: anything up to the exponential backoff.
    fn jittered(&self, chance: f64) -> Duration {
        let doubled = 1_u32.checked_shl(self.made - 1).unwrap_or(u32::MAX);
        let most = self.retry.first_backoff.saturating_mul(doubled).min(self.retry.longest_backoff);
        most.mul_f64(chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Reason;
    use proptest::prelude::*;

    fn failure(retry: bool, after_ms: Option<u64>) -> Failure {
        let retry_after = after_ms.map(Duration::from_millis);
        Failure::NotAnswered { reason: Reason::TooLate, retry, retry_after }
    }

    /// An attempt of a scripted server: how long it takes, whether it may be tried again, what the server asks for.
    fn script() -> impl Strategy<Value = Vec<(u64, bool, Option<u64>)>> {
        let attempt = (0_u64..40, prop::bool::weighted(0.9), prop::option::of(0_u64..200));
        prop::collection::vec(attempt, 1..20)
    }

    proptest! {
        #[test]
        fn never_more_attempts_than_allowed_and_none_after_the_deadline(
            script in script(),
            allowed in 1_u32..6,
            deadline in 1_u64..200,
            chances in prop::collection::vec(0.0..1.0_f64, 20),
        ) {
            let retry = Retry { attempts: allowed, ..Retry::default() };
            let budget = Budget::default();
            let begin = Instant::now();
            let end = begin + Duration::from_millis(deadline);
            let mut now = begin;
            let mut attempts = Attempts::new(&retry, &budget, end);
            let mut made = 1;
            for ((takes, again, after), chance) in script.into_iter().zip(chances) {
                now += Duration::from_millis(takes);
                let Some(wait) = attempts.next(&failure(again, after), now, chance) else { break };
                prop_assert!(again, "what is final was tried again");
                prop_assert!(wait >= Duration::from_millis(after.unwrap_or(0)), "the server asked for more");
                now += wait;
                made += 1;
                prop_assert!(now < end, "an attempt after the deadline");
            }
            prop_assert!(made <= allowed);
        }
    }

    #[test]
    fn the_wait_doubles_up_to_its_limit() {
        let retry = Retry { attempts: 9, ..Retry::default() };
        let budget = Budget::default();
        let now = Instant::now();
        let mut attempts = Attempts::new(&retry, &budget, now + Duration::from_secs(60));
        let mut waits = Vec::new();
        for _ in 0..4 {
            waits.extend(attempts.next(&failure(true, None), now, 0.5));
        }
        assert_eq!(waits, [2.5, 5.0, 10.0, 12.5].map(|ms| Duration::from_secs_f64(ms / 1e3)));
        assert_eq!(attempts.next(&failure(true, None), now, 0.5), None, "the budget is used up");
    }
}
