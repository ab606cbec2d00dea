//! The whole watch: silent on traffic that stays what it was, as often as stated; loud with monitor, slice, direction and
//! date when something changes; and the same to the bit when it was kept and read back in between.
#![allow(clippy::unwrap_used, missing_docs, reason = "helpers of tests")]

use monitoring::{DecisionSeen, LabelSeen, Monitor, Raised, Watch, WatchOptions};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use types::WinProbability;

/// What traffic is like.
#[derive(Clone, Copy)]
struct Traffic {
    /// Factor of the probabilities.
    squeeze: f64,
    /// Shift of the log odds of what happens.
    shift: f64,
    /// The same in the slice `tenant:7`, of which every fourth query is.
    shift_of_tenant: f64,
    fallback: f64,
    tokens: f64,
    other_script: f64,
    threshold: f64,
}

const QUIET: Traffic = Traffic {
    squeeze: 1.0,
    shift: 0.0,
    shift_of_tenant: 0.0,
    fallback: 0.005,
    tokens: 1.0,
    other_script: 0.1,
    threshold: 0.4,
};

/// Decisions, each labelled, one a second.
fn feed(watch: &mut Watch, rng: &mut ChaCha8Rng, traffic: Traffic, from: usize, n: usize) -> Vec<Raised> {
    let tenant = ["tenant:7".to_owned()];
    let mut raised = Vec::new();
    for i in from..from + n {
        let said = (0.05 + 0.7 * rng.random::<f64>()) * traffic.squeeze;
        let win_probability = WinProbability::new(said).unwrap();
        let of_tenant = i % 4 == 0;
        let slices = if of_tenant { &tenant[..] } else { &[] };
        let shift = traffic.shift + if of_tenant { traffic.shift_of_tenant } else { 0.0 };
        let odds = said / (1.0 - said) * shift.exp();
        let time_us = i as i64 * 1_000_000;
        let seen = DecisionSeen {
            time_us,
            pair: "large/small",
            slices,
            high_stakes: false,
            win_probability,
            strong: said >= traffic.threshold,
            target: Some(0.5),
            fallback: rng.random_bool(traffic.fallback),
            tokens: (40.0 * traffic.tokens * (1.0 + rng.random::<f64>())).round(),
            script: if rng.random_bool(traffic.other_script) { "other" } else { "latin" },
            decision_time_us: 10.0 + rng.random::<f64>(),
        };
        raised.extend(watch.decision(&seen).unwrap());
        let strong_better = rng.random_bool(odds / (1.0 + odds));
        let (pair, high_stakes) = ("large/small", false);
        raised.extend(watch.label(&LabelSeen {
            time_us,
            pair,
            slices,
            high_stakes,
            win_probability,
            strong_better,
        }));
    }
    raised
}

fn options() -> WatchOptions {
    let (slices, labels_per_false_alarm) = (vec!["tenant:7".into()], 1e6);
    WatchOptions { slices, labels_per_false_alarm, ..WatchOptions::default() }
}

fn after(traffic: Traffic, seed: u64) -> Vec<Raised> {
    let (mut watch, mut rng) = (Watch::new(options()), ChaCha8Rng::seed_from_u64(seed));
    assert_eq!(feed(&mut watch, &mut rng, QUIET, 0, 10_000), [], "seed {seed}");
    feed(&mut watch, &mut rng, traffic, 10_000, 5_000)
}

fn heard(raised: &[Raised], monitor: Monitor, slice: &str) -> bool {
    raised.iter().any(|r| r.monitor == monitor && r.slice == slice)
}

#[test]
fn each_change_is_heard_by_the_monitor_that_is_for_it() {
    let raised = after(Traffic { squeeze: 0.8, ..QUIET }, 1);
    assert!(heard(&raised, Monitor::ProbabilityPsi, "") && heard(&raised, Monitor::ProbabilityKs, ""));
    assert!(heard(&raised, Monitor::StrongCallRate, ""), "{raised:?}");
    assert!(!heard(&raised, Monitor::Calibration, "") && !heard(&raised, Monitor::LengthPsi, ""));
    let psi: Vec<&Raised> =
        raised.iter().filter(|r| r.monitor == Monitor::ProbabilityPsi && r.slice.is_empty()).collect();
    assert_eq!(psi.len(), 1, "what lasts alarms once");
    assert!((9_000_000_000..10_600_000_000).contains(&psi[0].since_us), "{psi:?}");

    let raised = after(Traffic { tokens: 1.4, ..QUIET }, 2);
    assert!(
        heard(&raised, Monitor::LengthPsi, "") && !heard(&raised, Monitor::ProbabilityPsi, ""),
        "{raised:?}"
    );
    let raised = after(Traffic { other_script: 0.3, ..QUIET }, 3);
    assert!(heard(&raised, Monitor::ScriptPsi, ""), "{raised:?}");
    let raised = after(Traffic { fallback: 0.06, ..QUIET }, 4);
    assert!(heard(&raised, Monitor::FallbackRate, ""), "{raised:?}");

    let raised = after(Traffic { shift: 0.9, ..QUIET }, 5);
    let broken = raised.iter().find(|r| r.monitor == Monitor::Calibration && r.slice.is_empty()).unwrap();
    assert!(broken.evidence.contains("more often than said"), "{broken:?}");
    assert!((9_800_000_000..10_100_000_000).contains(&broken.since_us), "{broken:?}");
    assert!(broken.time_us < 10_300_000_000, "{broken:?}");
    assert!(heard(&raised, Monitor::CalibrationCusum, ""));
    assert!(!heard(&raised, Monitor::ProbabilityPsi, "") && !heard(&raised, Monitor::StrongCallRate, ""));
}

#[test]
fn a_slice_that_breaks_is_heard_in_its_slice() {
    let raised = after(Traffic { shift_of_tenant: -1.2, ..QUIET }, 6);
    let of_slice =
        raised.iter().find(|r| r.monitor == Monitor::Calibration && r.slice == "tenant:7").unwrap();
    assert!(of_slice.evidence.contains("less often"), "{of_slice:?}");
    let of_all = raised.iter().find(|r| r.monitor == Monitor::Calibration && r.slice.is_empty());
    assert!(of_all.is_none_or(|all| all.time_us > of_slice.time_us));
}

/// Windows and labels between two false alarms, over 30 streams of 20,000 decisions: as many as stated, or more.
#[test]
fn false_alarms_come_as_rarely_as_stated() {
    let mut of_distribution = 0;
    let mut of_calibration = 0;
    let options = WatchOptions {
        windows_per_false_alarm: 200.0,
        labels_per_false_alarm: 5_000.0,
        decisions_per_false_alarm: 10_000.0,
        ..WatchOptions::default()
    };
    let mut of_rates = 0;
    for seed in 0..30 {
        let (mut watch, mut rng) = (Watch::new(options.clone()), ChaCha8Rng::seed_from_u64(seed));
        for raised in feed(&mut watch, &mut rng, QUIET, 0, 20_000) {
            match raised.monitor {
                Monitor::Calibration | Monitor::CalibrationCusum => of_calibration += 1,
                Monitor::StrongCallRate | Monitor::FallbackRate => of_rates += 1,
                _ => of_distribution += 1,
            }
        }
    }
    // 30 streams of 36 windows, an alarm in 200: 5.4, and three deviations. Windows share a reference, and tests of one
    // window are of the same probabilities, so the count spreads wider than Poisson's.
    assert!((1..=16).contains(&of_distribution), "{of_distribution} about distributions");
    // 600,000 labels, two monitors, an alarm in 5,000 at most: 240; what is tolerated makes them rarer.
    assert!(of_calibration <= 240, "{of_calibration} about calibration");
    assert!(of_rates <= 120, "{of_rates} about rates");
}

#[test]
fn a_watch_that_was_kept_goes_on_as_if_it_had_never_stopped() {
    let traffic = Traffic { shift: 0.5, squeeze: 0.9, ..QUIET };
    let (mut whole, mut rng) = (Watch::new(options()), ChaCha8Rng::seed_from_u64(7));
    let mut again = rng.clone();
    feed(&mut whole, &mut rng, QUIET, 0, 4_321);
    let mut kept = Watch::new(options());
    feed(&mut kept, &mut again, QUIET, 0, 4_321);
    let text = serde_json::to_string(&kept).unwrap();
    assert!(text.len() < 2_000_000, "{} bytes", text.len());
    let mut kept: Watch = serde_json::from_str(&text).unwrap();
    let (a, b) = (
        feed(&mut whole, &mut rng, traffic, 4_321, 4_000),
        feed(&mut kept, &mut again, traffic, 4_321, 4_000),
    );
    assert!(!a.is_empty());
    assert_eq!(a, b);
    assert_eq!(serde_json::to_string(&whole).unwrap(), serde_json::to_string(&kept).unwrap());
}

#[test]
fn callers_cannot_fill_the_memory() {
    let (mut watch, p) = (Watch::new(WatchOptions::default()), WinProbability::new(0.5).unwrap());
    for i in 0..200 {
        let pair = format!("large/{i}");
        let (time_us, slices, high_stakes, win_probability) = (0, &[][..], true, p);
        watch.label(&LabelSeen {
            time_us,
            pair: &pair,
            slices,
            high_stakes,
            win_probability,
            strong_better: true,
        });
    }
    assert_eq!(watch.status().len(), 64);
    assert_eq!(watch.unwatched(), 400 - 64);
}
