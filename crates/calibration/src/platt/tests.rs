//! Platt scaling against reference figures, its own invariants, and simulated truth.

use super::*;
use crate::numeric::logit;
use crate::sample::tests::{assert_close, fixture_a, labels, scores};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn fit(scores: &[Score], labels: &[bool], weights: Option<&[f64]>) -> Result<PlattFit, CalibrationError> {
    PlattScaling::fit(&Sample::at_least(2, scores, labels, weights)?)
}

#[test]
fn agrees_with_the_reference_on_fixture_a() {
    let sample = fixture_a();
    let fit = PlattScaling::fit(&sample).unwrap();
    assert!(!fit.inverted);
    // The reference stopped at a numerical gradient: it is good to some 1e-8, ours to rounding.
    assert_close(fit.map.slope(), 1.2161457268299487, 1e-7);
    assert_close(fit.map.intercept(), -0.875316913544608, 1e-7);
    let expected = [
        (0.05, 0.011473405025130919),
        (0.25, 0.09873235576958664),
        (0.5, 0.2941491685580969),
        (0.75, 0.6131934402143638),
        (0.95, 0.9373533416721939),
    ];
    for (s, p) in expected {
        assert_close(fit.map.apply(Score::new(logit(s)).unwrap()).get(), p, 1e-9);
    }
    let loss = Targets::new(&sample).loss(Line { slope: fit.map.slope(), intercept: fit.map.intercept() });
    assert_close(loss, 9.025375739706986, 1e-11);
}

#[test]
fn agrees_with_the_reference_on_each_fold_of_a_cross_fit() {
    // s_i = frac((i + 1) phi) to six decimals; fold i mod 5 is left out of its own fit.
    let phi = (5f64.sqrt() - 1.0) / 2.0;
    let s: Vec<f64> = (1..=30).map(|i| ((f64::from(i) * phi).fract() * 1e6).round() / 1e6).collect();
    let y =
        labels(&[0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0]);
    let expected = [
        (0.5270481298921619, -0.10888406754783919),
        (0.5895693434956704, -0.2956671621415056),
        (0.6531629499536841, -0.13901193642681237),
        (0.46242666494337953, -0.301369579106799),
        (0.7204345211264254, -0.2600093758027864),
    ];
    let mut loss = 0.0;
    for (fold, (slope, intercept)) in expected.into_iter().enumerate() {
        let pick = |inside: bool| (0..30).filter(move |i| (i % 5 == fold) == inside);
        let z = scores(pick(false).map(|i| logit(s[i])));
        let t: Vec<bool> = pick(false).map(|i| y[i]).collect();
        let map = fit(&z, &t, None).unwrap().map;
        assert_close(map.slope(), slope, 1e-6);
        assert_close(map.intercept(), intercept, 1e-6);
        for i in pick(true) {
            let p = map.apply(Score::new(logit(s[i])).unwrap()).get();
            loss -= if y[i] { p.ln() } else { (1.0 - p).ln() } / 30.0;
        }
    }
    assert_close(loss, 0.5963156866725675, 1e-7);
}

#[test]
fn parameters_are_checked() {
    assert_eq!(PlattScaling::new(-1e-9, 0.0), Err(CalibrationError::NegativeSlope(-1e-9)));
    assert!(PlattScaling::new(f64::NAN, 0.0).is_err());
    assert!(PlattScaling::new(1.0, f64::INFINITY).is_err());
    assert!(PlattScaling::new(0.0, -3.0).is_ok());
}

#[test]
fn a_falling_line_becomes_the_base_rate_and_says_so() {
    let z = scores((0..40).map(f64::from));
    let y: Vec<bool> = (0..40).map(|i| i < 9).collect();
    let fit = fit(&z, &y, None).unwrap();
    assert!(fit.inverted);
    for score in [-1e9, 0.0, 1e9] {
        assert_close(fit.map.apply(Score::new(score).unwrap()).get(), 10.0 / 42.0, 1e-12);
    }
}

#[test]
fn equal_scores_give_the_base_rate_without_a_flag() {
    let z = scores(std::iter::repeat_n(0.1, 40));
    let y: Vec<bool> = (0..40).map(|i| i < 9).collect();
    let fit = fit(&z, &y, None).unwrap();
    assert_eq!((fit.inverted, fit.map.slope()), (false, 0.0));
    assert_close(fit.map.apply(z[0]).get(), 10.0 / 42.0, 1e-12);
}

#[test]
fn separable_and_far_off_scores_still_have_an_optimum() {
    let y: Vec<bool> = (0..40).map(|i| i >= 20).collect();
    for (scale, shift) in [(1.0, 0.0), (1e6, 0.0), (1e-6, 0.0), (1.0, 1e6), (1e30, -1e31)] {
        let z = scores((0..40).map(|i| f64::from(i) * scale + shift));
        let fit = fit(&z, &y, None).unwrap();
        assert!(!fit.inverted && fit.map.slope() > 0.0, "scale {scale} shift {shift}");
        // The smoothed targets bound the confidence: 21/22 is the best that 20 rows can claim.
        let top = fit.map.apply(z[39]).get();
        assert!(top > 0.9 && top < 1.0, "scale {scale} shift {shift}: {top}");
    }
}

/// Rows whose labels are drawn from `sigmoid(slope * z + intercept)`.
fn simulate(rows: usize, slope: f64, intercept: f64, seed: u64) -> (Vec<Score>, Vec<bool>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let z: Vec<f64> = (0..rows).map(|_| rng.random_range(-3.0..3.0)).collect();
    let y = z.iter().map(|z| rng.random::<f64>() < sigmoid(slope * z + intercept)).collect();
    (scores(z), y)
}

#[test]
fn recovers_the_truth_of_a_well_specified_simulation() {
    for (seed, (slope, intercept)) in [(1.0, 0.0), (0.5, -1.0), (2.0, 0.7)].into_iter().enumerate() {
        let (z, y) = simulate(20_000, slope, intercept, seed as u64);
        let map = fit(&z, &y, None).unwrap().map;
        // Standard errors from the Fisher information at the truth; four of them are a 1 in 16,000 event.
        let (mut h0, mut h1, mut h2) = (0.0, 0.0, 0.0);
        for x in z.iter().map(|z| z.logit()) {
            let p = sigmoid(slope * x + intercept);
            let c = p * (1.0 - p);
            (h0, h1, h2) = (h0 + c, h1 + c * x, h2 + c * x * x);
        }
        let det = h0 * h2 - h1 * h1;
        assert_close(map.slope(), slope, 4.0 * (h0 / det).sqrt());
        assert_close(map.intercept(), intercept, 4.0 * (h2 / det).sqrt());
    }
}

proptest! {
    #[test]
    fn every_map_is_monotone_and_stays_in_the_unit_interval(
        slope in 0.0..1e300f64, intercept in -1e300..1e300f64, a in -1e300..1e300f64, b in -1e300..1e300f64,
    ) {
        for slope in [slope, slope * 1e-300] {
            for intercept in [intercept, intercept * 1e-300] {
                let map = PlattScaling::new(slope, intercept).unwrap();
                let at = |x: f64| map.apply(Score::new(x).unwrap()).get();
                prop_assert!((0.0..=1.0).contains(&at(a)));
                prop_assert!(at(a.min(b)) <= at(a.max(b)));
                prop_assert!(at(a.min(b) * 1e-299) <= at(a.max(b) * 1e-299));
            }
        }
    }

    #[test]
    fn a_whole_weight_equals_that_many_copies(
        rows in prop::collection::vec((-4.0..4.0f64, any::<bool>(), 0u8..4), 40..80),
    ) {
        let z = scores(rows.iter().map(|r| r.0));
        let y: Vec<bool> = rows.iter().map(|r| r.1).collect();
        let w: Vec<f64> = rows.iter().map(|r| f64::from(r.2)).collect();
        let copies = || rows.iter().flat_map(|r| std::iter::repeat_n(r, r.2.into()));
        let z_copies = scores(copies().map(|r| r.0));
        let y_copies: Vec<bool> = copies().map(|r| r.1).collect();
        let weighted = fit(&z, &y, Some(&w));
        let copied = fit(&z_copies, &y_copies, None);
        match (weighted, copied) {
            (Ok(a), Ok(b)) => {
                prop_assert_eq!(a.inverted, b.inverted);
                prop_assert!((a.map.slope() - b.map.slope()).abs() < 1e-8);
                prop_assert!((a.map.intercept() - b.map.intercept()).abs() < 1e-8);
            }
            (a, b) => prop_assert!(a.is_err() && b.is_err()),
        }
    }

    #[test]
    fn the_fit_is_a_stationary_point(
        rows in prop::collection::vec((-50.0..50.0f64, any::<bool>()), 30..60),
    ) {
        let z = scores(rows.iter().map(|r| r.0));
        let y: Vec<bool> = rows.iter().map(|r| r.1).collect();
        if let Ok(fit) = fit(&z, &y, None) {
            let sample = Targets::new(&Sample::at_least(2, &z, &y, None).unwrap());
            let line = Line { slope: fit.map.slope(), intercept: fit.map.intercept() };
            let best = sample.loss(line);
            // Along the slope only upwards when it was clamped at 0.
            for (da, db) in [(1e-3, 0.0), (-1e-3, 0.0), (0.0, 1e-2), (0.0, -1e-2)] {
                let next = Line { slope: line.slope + da, intercept: line.intercept + db };
                prop_assert!(fit.inverted || sample.loss(next) >= best);
            }
        }
    }
}
