//! Certificates of cascades: what is refused, what is proved, and whether the promise holds on simulated truth.

use super::*;

const WANTED: CascadeCertificate = CascadeCertificate { risk: AcceptedRisk::Wrong, alpha: 0.1, delta: 0.1 };

/// Probabilities of two stages are uniform and too hopeful: an answer judged p is right with probability p^1.5 at
/// the first stage and p^1.2 at the second. Graded: a wrong answer lacks a uniform share.
fn overconfident(n: usize, graded: bool, rng: &mut ChaCha8Rng) -> CascadeSample {
    let rows = |power: f64, rng: &mut ChaCha8Rng| {
        let mut rows = StageRows { probability: vec![], quality: vec![], cost: vec![1.0; n] };
        for _ in 0..n {
            let judged: f64 = rng.random();
            let wrong = rng.random::<f64>() >= judged.powf(power);
            let lack = if graded { rng.random::<f64>() } else { 1.0 };
            rows.probability.push(p(judged));
            rows.quality.push(if wrong { 1.0 - lack } else { 1.0 });
        }
        rows
    };
    CascadeSample::new(vec![rows(1.5, rng), rows(1.2, rng)]).unwrap()
}

/// The true error among accepted answers of a rule: stages are independent and their probabilities uniform.
fn truth(rule: &[StageThresholds], graded: bool) -> f64 {
    let wrong_above = |t: f64, power: f64| {
        let t = t.min(1.0);
        (1.0 - t) - (1.0 - t.powf(power + 1.0)) / (power + 1.0)
    };
    let (first, last) = (rule[0], rule[1].abstain_below().min(1.0));
    let sent_on = first.accept_above().min(1.0) - first.abstain_below().min(1.0);
    let accepted = 1.0 - first.accept_above().min(1.0) + sent_on * (1.0 - last);
    let wrong = wrong_above(first.accept_above(), 1.5) + sent_on * wrong_above(last, 1.2);
    (if graded { 0.5 } else { 1.0 }) * wrong / accepted
}

fn tuned() -> [StageThresholds; 2] {
    [StageThresholds::new(0.1, 0.8).unwrap(), StageThresholds::new(0.3, 0.3).unwrap()]
}

/// Of 400 samples of n rows: how many have a certificate, and how many have one whose rule errs more than it says.
fn simulated_runs(risk: AcceptedRisk, alpha: f64, path: &ShiftPath, n: usize, seed: u64) -> (u32, u32) {
    let graded = risk == AcceptedRisk::QualityLost;
    let wanted = CascadeCertificate { risk, alpha, delta: 0.1 };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut proved, mut broken) = (0, 0);
    for _ in 0..400 {
        let sample = overconfident(n, graded, &mut rng);
        if let Some(found) = certify_cascade(&wanted, &tuned(), path, &sample.whole()).unwrap() {
            proved += 1;
            broken += u32::from(truth(&found.thresholds, graded) > alpha);
        }
    }
    (proved, broken)
}

#[test]
fn the_promise_holds_in_simulation() {
    // A path of its own starts where about a tenth of the queries is accepted.
    let chosen = ShiftPath::new(3.0, -24.0, 540).unwrap();
    for (risk, seed) in [(AcceptedRisk::Wrong, 11), (AcceptedRisk::QualityLost, 12)] {
        for alpha in [0.1, 0.2] {
            for path in [ShiftPath::BEYOND_TUNED, chosen] {
                for n in [150, 600] {
                    let (proved, broken) = simulated_runs(risk, alpha, &path, n, seed);
                    // Delta plus three binomial standard errors of 400 runs is 0.145: 58 runs.
                    assert!(broken <= 58, "{risk:?} {alpha} {path:?} {n}: {broken} of {proved}");
                }
            }
        }
    }
    let (proved, broken) = simulated_runs(AcceptedRisk::Wrong, 0.2, &chosen, 600, 13);
    assert!(
        proved > 250 && broken > 3,
        "it proves something and uses what it may miss: {broken} of {proved}"
    );
}

#[test]
fn a_certificate_says_what_it_proves() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let sample = overconfident(2_000, false, &mut rng);
    let found =
        certify_cascade(&WANTED, &tuned(), &ShiftPath::DOWN_TO_TUNED, &sample.whole()).unwrap().unwrap();
    assert!(found.shift > 0.0, "the tuned rule is wrong too often: {found:?}");
    assert!(found.p_value <= WANTED.delta && found.upper_bound <= WANTED.alpha);
    assert!(found.outcome.error_among_accepted().unwrap() < found.upper_bound);
    assert_eq!(Outcome::measure(&sample.whole(), &found.thresholds).unwrap(), found.outcome);
    // An easier promise reaches the tuned rule itself, and no further.
    let easy = CascadeCertificate { alpha: 0.6, ..WANTED };
    let found =
        certify_cascade(&easy, &tuned(), &ShiftPath::DOWN_TO_TUNED, &sample.whole()).unwrap().unwrap();
    assert_eq!((found.shift, &found.thresholds[..]), (0.0, &tuned()[..]));
    let found = certify_cascade(&easy, &tuned(), &ShiftPath::BEYOND_TUNED, &sample.whole()).unwrap().unwrap();
    assert!(found.shift < 0.0);
}

#[test]
fn the_first_failure_ends_the_sequence() {
    // By falling probability: 30 right, 10 wrong, 1,000 right. Accepting all errs in 1 %, but some rule on the way
    // there in a quarter.
    let judged: Vec<f64> = (0..1_040).map(|i| 0.99 - 0.0009 * f64::from(i)).collect();
    let quality: Vec<f64> = (0..1_040).map(|i| f64::from(u8::from(!(30..40).contains(&i)))).collect();
    let sample = CascadeSample::new(vec![stage(&judged, &quality, 1.0)]).unwrap();
    let rule = [StageThresholds::new(0.5, 0.5).unwrap()];
    let path = ShiftPath::new(6.0, -6.0, 2_400).unwrap();
    let found = certify_cascade(&WANTED, &rule, &path, &sample.whole()).unwrap().unwrap();
    assert!((22..40).contains(&found.outcome.accepted), "{found:?}");
}

#[test]
fn a_last_stage_that_accepts_everything_abstains_when_it_must() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let sample = overconfident(2_000, false, &mut rng);
    let rule = [StageThresholds::new(0.0, 0.9).unwrap(), StageThresholds::ACCEPT_ALL];
    let found = certify_cascade(&WANTED, &rule, &ShiftPath::DOWN_TO_TUNED, &sample.whole()).unwrap().unwrap();
    assert!(found.outcome.abstention > 0.1 && found.upper_bound <= WANTED.alpha);
}

#[test]
fn along_the_path_more_is_accepted() {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let sample = overconfident(300, false, &mut rng);
    // A promise so easy that every rule keeps it: the last rule of each path is what is certified.
    let easy = CascadeCertificate { alpha: 0.999, ..WANTED };
    let accepted = |strictest: f64| {
        let path = ShiftPath::new(strictest, strictest, 1).unwrap();
        let found = certify_cascade(&easy, &tuned(), &path, &sample.whole()).unwrap();
        found.map_or(0, |found| found.outcome.accepted)
    };
    let counts: Vec<usize> = (-24..=24).map(|shift| accepted(f64::from(-shift))).collect();
    assert!(counts.is_sorted() && counts[0] == 0 && counts[48] == 300, "{counts:?}");
}

#[test]
fn too_few_rows_prove_nothing_and_nonsense_is_refused() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let sample = overconfident(15, false, &mut rng);
    let certified = |wanted: CascadeCertificate, rule: &[StageThresholds], sample: &CascadeSample| {
        certify_cascade(&wanted, rule, &ShiftPath::DOWN_TO_TUNED, &sample.whole())
    };
    assert_eq!(certified(WANTED, &tuned(), &sample), Ok(None));
    assert!(certified(WANTED, &tuned()[..1], &sample).is_err());
    assert!(certified(CascadeCertificate { alpha: 1.0, ..WANTED }, &tuned(), &sample).is_err());
    assert!(certified(CascadeCertificate { delta: 0.0, ..WANTED }, &tuned(), &sample).is_err());
    let graded = overconfident(200, true, &mut rng);
    assert!(certified(WANTED, &tuned(), &graded).is_err(), "half a mistake needs the graded test");
    for (strictest, loosest, steps) in [(f64::NAN, 0.0, 5), (1.0, -501.0, 5), (0.0, 1.0, 5), (1.0, 0.0, 0)] {
        assert!(ShiftPath::new(strictest, loosest, steps).is_err());
    }
}
