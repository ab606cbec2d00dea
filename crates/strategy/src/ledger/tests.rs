//! The ledger's promises, on random calls and clocks.

use proptest::prelude::*;

use super::*;
use crate::Place;
use crate::program::Goto;

const NOON_US: u64 = 20_000 * DAY_US + DAY_US / 2;

fn budget(cost_usd_per_day: Option<f64>, strong_calls_per_minute: Option<u32>) -> Budget {
    let place = Place { line: 1, column: 1, key: String::new() };
    Budget { cost_usd_per_day, strong_calls_per_minute, when_spent: Goto { to: 0, place }, cost_place: None }
}

fn call(is_strong: bool, expected_cost_usd: f64) -> Call {
    Call { is_strong, expected_cost_usd }
}

#[test]
fn the_day_begins_at_midnight_utc_and_a_call_belongs_to_the_day_of_its_admission() {
    let mut ledger = Ledger::new(&budget(Some(1.0), None), NOON_US);
    let admitted = ledger.admit(NOON_US, call(true, 0.75)).unwrap();
    let refused = ledger.admit(NOON_US, call(false, 0.5)).unwrap_err();
    assert_eq!(refused, Spent::CostPerDay { cost_usd: 0.75, limit_usd: 1.0 });
    assert_eq!(refused.to_string(), "cost_usd_per_day (0.7500 of 1)");
    ledger.charge(admitted, 0.25);
    let late = ledger.admit(NOON_US, call(false, 0.75)).expect("up to the limit");
    let midnight_us = NOON_US + DAY_US / 2;
    assert_eq!(ledger.standing(midnight_us - 1).cost_usd_today, 1.0);
    assert_eq!(ledger.standing(midnight_us).cost_usd_today, 0.0);
    ledger.charge(late, 100.0);
    let standing = ledger.standing(midnight_us);
    assert_eq!((standing.cost_usd_today, standing.refused_for_cost), (0.0, 1));
}

#[test]
fn the_minute_slides_and_forced_calls_count() {
    let mut ledger = Ledger::new(&budget(None, Some(2)), NOON_US);
    let strong = call(true, 0.0);
    assert!(ledger.admit(NOON_US, strong).is_ok());
    let _counted = ledger.count(NOON_US + 10, strong);
    assert_eq!(ledger.admit(NOON_US + 20, strong), Err(Spent::StrongCallsPerMinute { limit: 2 }));
    assert!(ledger.admit(NOON_US + 20, call(false, 9.0)).is_ok(), "weak calls are not counted");
    assert!(ledger.admit(NOON_US + MINUTE_US - 1, strong).is_err());
    assert!(ledger.admit(NOON_US + MINUTE_US, strong).is_ok());
    assert!(ledger.admit(NOON_US + MINUTE_US + 9, strong).is_err());
    assert_eq!(ledger.standing(NOON_US + MINUTE_US + 9).strong_calls_last_minute, 2);
    let mut none = Ledger::new(&budget(None, Some(0)), NOON_US);
    assert!(none.admit(NOON_US, strong).is_err());
    let _counted = none.count(NOON_US, strong);
    assert_eq!(none.standing(NOON_US).strong_calls_last_minute, 0);
}

#[test]
fn a_clock_that_is_set_back_neither_frees_nor_blocks() {
    let mut ledger = Ledger::new(&budget(Some(1.0), Some(1)), NOON_US);
    let month_us = 30 * DAY_US;
    // The clock runs a month ahead for a moment; what is spent then is not forgotten when it is set right.
    assert!(ledger.admit(NOON_US + month_us, call(true, 0.9)).is_ok());
    assert_eq!(ledger.standing(NOON_US).cost_usd_today, 0.9);
    assert!(ledger.admit(NOON_US + MINUTE_US - 1, call(true, 0.0)).is_err(), "the minute is not over");
    assert!(ledger.admit(NOON_US + MINUTE_US, call(true, 0.0)).is_ok(), "nor does it last a month");
    assert_eq!(ledger.standing(NOON_US + DAY_US / 2).cost_usd_today, 0.0, "nor does the day");
    // Threads overtake each other around midnight: the day begins once.
    let midnight_us = NOON_US + DAY_US / 2 + DAY_US;
    let _counted = ledger.count(midnight_us, call(false, 0.5));
    let _counted = ledger.count(midnight_us - 5, call(false, 0.5));
    assert_eq!(ledger.standing(midnight_us + 5).cost_usd_today, 1.0);
}

#[test]
fn what_is_no_cost_costs_nothing() {
    let mut ledger = Ledger::new(&budget(Some(1.0), None), NOON_US);
    for cost in [f64::NAN, f64::INFINITY, -3.0] {
        let admitted = ledger.admit(NOON_US, call(true, cost)).unwrap();
        ledger.charge(admitted, cost);
    }
    assert_eq!(ledger.standing(NOON_US).cost_usd_today, 0.0);
}

#[derive(Debug, Clone)]
struct Event {
    /// Since the event before; negative where the clock goes backwards.
    after_us: i64,
    is_strong: bool,
    expected_cost_usd: f64,
}

fn events(backwards: bool) -> impl Strategy<Value = Vec<Event>> {
    let forward = prop_oneof![3 => 0..MINUTE_US as i64 / 3, 1 => 0..DAY_US as i64];
    let after = if backwards {
        prop_oneof![4 => forward, 1 => -(DAY_US as i64)..0, 1 => -2_000_000i64..0].boxed()
    } else {
        forward.boxed()
    };
    let event = (after, any::<bool>(), 0.0..0.5f64).prop_map(|(after_us, is_strong, expected_cost_usd)| {
        Event { after_us, is_strong, expected_cost_usd }
    });
    prop::collection::vec(event, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Against everything that was ever admitted, on a clock that goes forward.
    #[test]
    fn limits_hold_in_every_minute_and_day_and_nothing_is_refused_in_vain(
        events in events(false), limit in 0u32..6, limit_usd in 0.0..3.0f64,
    ) {
        let mut ledger = Ledger::new(&budget(Some(limit_usd), Some(limit)), NOON_US);
        let (mut now_us, mut strong_us, mut days) = (NOON_US, Vec::new(), std::collections::BTreeMap::new());
        for event in events {
            now_us += event.after_us as u64;
            let within = strong_us.iter().filter(|at_us| now_us - **at_us < MINUTE_US).count();
            let today: &mut f64 = days.entry(now_us / DAY_US).or_default();
            let too_strong = event.is_strong && within >= limit as usize;
            let too_dear = *today + event.expected_cost_usd > limit_usd;
            let admitted = ledger.admit(now_us, call(event.is_strong, event.expected_cost_usd));
            prop_assert_eq!(admitted.is_err(), too_strong || too_dear);
            if admitted.is_ok() {
                *today += event.expected_cost_usd;
                if event.is_strong {
                    strong_us.push(now_us);
                }
            }
        }
        prop_assert!(days.values().all(|cost| *cost <= limit_usd));
    }

    /// Where the clock may go back: by the time that passed, forward steps alone, no minute has too many strong calls,
    /// and a minute without calls always frees them.
    #[test]
    fn a_clock_going_back_admits_no_more_and_blocks_no_longer(events in events(true), limit in 1u32..5) {
        let mut ledger = Ledger::new(&budget(None, Some(limit)), NOON_US);
        let (mut now_us, mut latest_us, mut passed_us) = (NOON_US, NOON_US, 0);
        let mut strong_us = Vec::new();
        for event in events {
            now_us = now_us.saturating_add_signed(event.after_us);
            if now_us >= latest_us || latest_us - now_us > OVERTAKEN_US {
                passed_us += now_us.saturating_sub(latest_us);
                latest_us = now_us;
            }
            if ledger.admit(now_us, call(event.is_strong, 0.0)).is_ok() && event.is_strong {
                strong_us.push(passed_us);
            }
        }
        for (i, first_us) in strong_us.iter().enumerate() {
            let window = strong_us[i..].iter().filter(|at_us| **at_us - first_us < MINUTE_US).count();
            prop_assert!(window <= limit as usize);
        }
        let freed = ledger.admit(latest_us + MINUTE_US, call(true, 0.0));
        prop_assert!(freed.is_ok());
    }

    /// Admitting, refusing and charging keep the sum that a plain list of costs has.
    #[test]
    fn actual_costs_replace_expected_ones(costs in prop::collection::vec((0.0..1.0f64, 0.0..1.0f64), 0..40)) {
        let mut ledger = Ledger::new(&budget(None, None), NOON_US);
        let mut sum = 0.0;
        for (expected, actual) in costs {
            let admitted = ledger.admit(NOON_US, call(true, expected)).unwrap();
            ledger.charge(admitted, actual);
            sum += actual;
        }
        prop_assert!((ledger.standing(NOON_US).cost_usd_today - sum).abs() < 1e-9);
    }
}
