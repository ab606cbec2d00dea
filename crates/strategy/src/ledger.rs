//! What was spent of a budget: a state machine that is told the time. A UTC day of cost and a sliding minute of strong
//! calls; nothing is read, locked or kept here.

use std::collections::VecDeque;
use std::fmt;

use thiserror::Error;

use crate::Budget;

const DAY_US: u64 = 86_400_000_000;
const MINUTE_US: u64 = 60_000_000;

/// A time that is earlier than the one before by at most this comes of threads that overtook each other; by more, of a
/// clock that was set back.
const OVERTAKEN_US: u64 = 1_000_000;

/// A call before it is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Call {
    /// Whether it goes to the strong model.
    pub is_strong: bool,
    /// What it is expected to cost, in US dollars; 0 where prices are not known.
    pub expected_cost_usd: f64,
}

/// A call that is counted, with its expected cost until [`Ledger::charge`] says what it was.
#[derive(Debug, PartialEq)]
#[must_use = "the expected cost stands until the call is charged"]
pub struct Admitted {
    expected_cost_usd: f64,
    /// Days the ledger had begun.
    days: u64,
}

/// Which limit a call would exceed.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum Spent {
    /// The cost of the UTC day: what was spent and the call's own expected cost exceed the limit.
    CostPerDay {
        /// Spent and reserved today, in US dollars.
        cost_usd: f64,
        /// The limit.
        limit_usd: f64,
    },
    /// The strong calls of the last 60 seconds are as many as the limit.
    StrongCallsPerMinute {
        /// The limit.
        limit: u32,
    },
}

impl Spent {
    /// The limit's key in the policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CostPerDay { .. } => "cost_usd_per_day",
            Self::StrongCallsPerMinute { .. } => "strong_calls_per_minute",
        }
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            Self::CostPerDay { cost_usd, limit_usd } => write!(f, " ({cost_usd:.4} of {limit_usd})"),
            Self::StrongCallsPerMinute { limit } => write!(f, " ({limit} in 60 s)"),
        }
    }
}

/// A ledger at a moment, for monitoring.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// Spent and reserved in this UTC day, in US dollars.
    pub cost_usd_today: f64,
    /// Its limit.
    pub cost_usd_per_day: Option<f64>,
    /// Strong calls of the last 60 seconds, counted up to the limit; 0 without one.
    pub strong_calls_last_minute: u32,
    /// Their limit.
    pub strong_calls_per_minute: Option<u32>,
    /// Calls refused for the cost since the ledger was made.
    pub refused_for_cost: u64,
    /// Calls refused for the strong calls since the ledger was made.
    pub refused_for_strong_calls: u64,
}

/// What was spent of a budget, and whether a call may still be made.
///
/// **Cost**: an admitted call reserves its expected cost, which its actual cost replaces. A call is refused when spent
/// and reserved cost of the day with its own would exceed the limit, so they never do by admission; they may once a
/// call costs more than was expected. A call belongs to the day it was admitted in.
///
/// **Strong calls**: among the calls admitted in any 60 seconds, [t, t + 60 s), at most the limit are strong. The
/// moment of each is remembered, so this is exact.
///
/// **Clock**: a clock that is set back moves the present, not the past: what was spent stays spent until the next
/// midnight, and the minute goes on from where it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Ledger {
    cost_limit_usd: Option<f64>,
    strong_limit: Option<u32>,
    clock: Clock,
    cost_usd: f64,
    /// Moments of the last strong calls by the ledger's own clock, as many as the limit, oldest first.
    strong_us: VecDeque<u64>,
    refused_for_cost: u64,
    refused_for_strong_calls: u64,
}

impl Ledger {
    /// Nothing is spent at this moment, in microseconds since 1970. What was spent earlier the same day is told by
    /// [`Ledger::count`].
    pub fn new(budget: &Budget, now_us: u64) -> Self {
        Self {
            cost_limit_usd: budget.cost_usd_per_day,
            strong_limit: budget.strong_calls_per_minute,
            clock: Clock { latest_us: now_us, set_back_us: 0, day: now_us / DAY_US, days: 0 },
            cost_usd: 0.0,
            strong_us: VecDeque::new(),
            refused_for_cost: 0,
            refused_for_strong_calls: 0,
        }
    }

    /// Admits a call and counts it.
    ///
    /// # Errors
    /// When it would exceed a limit; then only the refusal is counted.
    pub fn admit(&mut self, now_us: u64, call: Call) -> Result<Admitted, Spent> {
        match self.spent(now_us, call) {
            None => Ok(self.count(now_us, call)),
            Some(spent) => {
                match spent {
                    Spent::CostPerDay { .. } => self.refused_for_cost += 1,
                    Spent::StrongCallsPerMinute { .. } => self.refused_for_strong_calls += 1,
                }
                Err(spent)
            }
        }
    }

    /// The limit that a call would exceed.
    pub fn spent(&mut self, now_us: u64, call: Call) -> Option<Spent> {
        self.advance(now_us);
        if let Some(limit_usd) = self.cost_limit_usd
            && self.cost_usd + payable(call.expected_cost_usd) > limit_usd
        {
            return Some(Spent::CostPerDay { cost_usd: self.cost_usd, limit_usd });
        }
        let limit = self.strong_limit.filter(|_| call.is_strong)?;
        let full = self.strong_calls_last_minute() >= limit;
        full.then_some(Spent::StrongCallsPerMinute { limit })
    }

    /// Counts a call that is made whatever the budget says, such as an override's.
    pub fn count(&mut self, now_us: u64, call: Call) -> Admitted {
        self.advance(now_us);
        let expected_cost_usd = payable(call.expected_cost_usd);
        self.cost_usd += expected_cost_usd;
        if let Some(limit) = self.strong_limit.filter(|_| call.is_strong) {
            self.strong_us.push_back(self.clock.own_us());
            if self.strong_us.len() > limit as usize {
                self.strong_us.pop_front();
            }
        }
        Admitted { expected_cost_usd, days: self.clock.days }
    }

    /// Puts what a call did cost, in US dollars, in the place of what was expected; 0 for one that was not made after
    /// all. Does nothing once the day of its admission is over.
    // By value: a call is charged once.
    #[expect(clippy::needless_pass_by_value)]
    pub fn charge(&mut self, admitted: Admitted, cost_usd: f64) {
        if admitted.days == self.clock.days {
            self.cost_usd = (self.cost_usd - admitted.expected_cost_usd + payable(cost_usd)).max(0.0);
        }
    }

    /// The ledger at a moment.
    pub fn standing(&mut self, now_us: u64) -> Standing {
        self.advance(now_us);
        Standing {
            cost_usd_today: self.cost_usd,
            cost_usd_per_day: self.cost_limit_usd,
            strong_calls_last_minute: self.strong_calls_last_minute(),
            strong_calls_per_minute: self.strong_limit,
            refused_for_cost: self.refused_for_cost,
            refused_for_strong_calls: self.refused_for_strong_calls,
        }
    }

    fn advance(&mut self, now_us: u64) {
        if self.clock.advance(now_us) {
            self.cost_usd = 0.0;
        }
    }

    fn strong_calls_last_minute(&self) -> u32 {
        let own_us = self.clock.own_us();
        let over = self.strong_us.partition_point(|at_us| own_us - at_us >= MINUTE_US);
        u32::try_from(self.strong_us.len() - over).unwrap_or(u32::MAX)
    }
}

/// A cost that can be added up: what is no finite number above 0 costs nothing.
fn payable(cost_usd: f64) -> f64 {
    if cost_usd.is_finite() { cost_usd.max(0.0) } else { 0.0 }
}

/// The present, which never runs backwards.
#[derive(Debug, Clone, PartialEq)]
struct Clock {
    /// The latest time told, since the clock was last set back.
    latest_us: u64,
    /// By how much it was set back in all.
    set_back_us: u64,
    /// The UTC day of the latest time, since 1970.
    day: u64,
    /// Days that began.
    days: u64,
}

impl Clock {
    /// Takes note of the time and says whether a day began.
    fn advance(&mut self, now_us: u64) -> bool {
        if now_us < self.latest_us {
            let by_us = self.latest_us - now_us;
            if by_us > OVERTAKEN_US {
                self.set_back_us = self.set_back_us.saturating_add(by_us);
                (self.latest_us, self.day) = (now_us, now_us / DAY_US);
            }
            return false;
        }
        self.latest_us = now_us;
        let begun = now_us / DAY_US > self.day;
        if begun {
            (self.day, self.days) = (now_us / DAY_US, self.days + 1);
        }
        begun
    }

    fn own_us(&self) -> u64 {
        self.latest_us.saturating_add(self.set_back_us)
    }
}

#[cfg(test)]
mod tests;
