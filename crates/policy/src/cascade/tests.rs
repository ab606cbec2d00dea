//! Tuned thresholds against reference figures, brute force and the guarantee's own promise.

mod brute_force;
mod certificate;
mod golden;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use types::SuccessProbability;

use super::*;

fn p(value: f64) -> SuccessProbability {
    SuccessProbability::new(value).unwrap()
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
}

fn stage(probability: &[f64], quality: &[f64], cost: f64) -> StageRows {
    StageRows {
        probability: probability.iter().map(|value| p(*value)).collect(),
        quality: quality.to_vec(),
        cost: vec![cost; quality.len()],
    }
}

fn options(abstention: Abstention) -> TuneOptions {
    TuneOptions { labels: Labels::Quality, abstention }
}

const ALL_ABSTENTIONS: [Abstention; 3] = [Abstention::Never, Abstention::AtTheEnd, Abstention::Anywhere];

/// Models of rising strength and cost; a query's difficulty is shared, verifiers see part of it. Calibrated.
fn simulated(stages: usize, n: usize, seed: u64) -> CascadeSample {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let difficulty: Vec<f64> = (0..n).map(|_| rng.random::<f64>() * 4.0 - 2.0).collect();
    let rows = |strength: usize| {
        let mut rows = StageRows { probability: vec![], quality: vec![], cost: vec![] };
        for difficulty in &difficulty {
            let logit = strength as f64 - difficulty + 3.0 * (rng.random::<f64>() - 0.5);
            let chance = 1.0 / (1.0 + (-logit).exp());
            rows.probability.push(p(chance));
            rows.quality.push(f64::from(u8::from(rng.random::<f64>() < chance)));
            rows.cost.push(4.0_f64.powi(strength as i32) * (0.5 + rng.random::<f64>()));
        }
        rows
    };
    CascadeSample::new((0..stages).map(rows).collect()).unwrap()
}

#[test]
fn an_outcome_adds_up_and_tells_what_the_break_even_needs() {
    let sample = simulated(3, 500, 1);
    let rule = [0.2, 0.3, 0.4].map(|below| StageThresholds::new(below, 0.8).unwrap());
    let found = Outcome::measure(&sample.whole(), &rule).unwrap();
    let mut reach = 1.0;
    for stage in &found.stages {
        close(stage.reach, reach);
        close(stage.accept + stage.escalate + stage.abstain, reach);
        reach = stage.escalate;
    }
    close(found.stages.iter().map(|stage| stage.abstain).sum(), found.abstention);
    close(found.stages.iter().map(|stage| stage.reach * stage.stage_cost.unwrap()).sum(), found.mean_cost);
    close(found.error * 500.0, found.quality_lost);
    close(found.quality(0.3), 1.0 - found.loss(0.0, 0.3));
    assert_eq!(found.stages[2].cost_beyond, Some(0.0));
    // Every row reaches the first stage: sent on, it would cost what the rest of the chain costs.
    let rest = sample.chain(&[1, 2]).unwrap();
    close(found.stages[0].cost_beyond.unwrap(), Outcome::measure(&rest, &rule[1..]).unwrap().mean_cost);
    // Everything sent on costs the rest of the chain.
    let all = [StageThresholds::ESCALATE_ALL; 3];
    let dear = Outcome::measure(&sample.whole(), &all).unwrap();
    let rest = sample.mean_cost(1).unwrap() + sample.mean_cost(2).unwrap();
    assert!((dear.stages[0].cost_beyond.unwrap() - rest).abs() < 1e-9);
    assert_eq!((dear.stages[0].escalation_rate(), dear.stages[2].accept), (Some(1.0), 1.0));
    let none = Outcome::measure(&sample.whole(), &[StageThresholds::ACCEPT_ALL; 3]).unwrap();
    assert_eq!((none.stages[1].escalation_rate(), none.stages[1].stage_cost), (None, None));
    assert!(Outcome::measure(&sample.whole(), &all[..2]).is_err());
}

#[test]
fn dearer_calls_and_cheaper_abstentions_do_what_they_should() {
    let sample = simulated(3, 600, 2);
    let tuned = |lambda_cost, lambda_abstain| {
        let objective = Objective::Weighted { lambda_cost, lambda_abstain };
        tune(&sample.whole(), &objective, &options(Abstention::Anywhere)).unwrap()
    };
    // Up to how far the local search may stray from the optimum, costs fall along a row and abstentions rise.
    let costs: Vec<f64> = [0.0, 0.003, 0.01, 0.03, 0.1].map(|l| tuned(l, 0.4).outcome.mean_cost).to_vec();
    assert!(costs.is_sorted_by(|a, b| a >= b), "{costs:?}");
    let abstained: Vec<f64> = [1.0, 0.5, 0.3, 0.1, 0.0].map(|l| tuned(0.01, l).outcome.abstention).to_vec();
    assert!(abstained.is_sorted(), "{abstained:?}");
    assert!(abstained[0] < 0.05 && abstained[4] > 0.9, "{abstained:?}");
}

#[test]
fn tuned_thresholds_beat_naive_ones() {
    let (lambda_cost, lambda_abstain) = (0.005, 0.4);
    let objective = Objective::Weighted { lambda_cost, lambda_abstain };
    let (mut fixed_sum, mut alone_sum, mut tuned_sum) = (0.0, 0.0, 0.0);
    for seed in 0..10 {
        let (train, test) = (simulated(4, 400, 100 + seed), simulated(4, 2_000, 200 + seed));
        let loss = |rule: &[StageThresholds]| {
            Outcome::measure(&test.whole(), rule).unwrap().loss(lambda_cost, lambda_abstain)
        };
        let options = options(Abstention::Anywhere);
        let alone = per_stage_thresholds(&train.whole(), lambda_cost, lambda_abstain, &options).unwrap();
        fixed_sum += loss(&fixed_thresholds(4, 0.9).unwrap());
        alone_sum += loss(&alone);
        tuned_sum += loss(&tune(&train.whole(), &objective, &options).unwrap().thresholds);
    }
    assert!(tuned_sum < alone_sum && tuned_sum < fixed_sum, "{tuned_sum} {alone_sum} {fixed_sum}");
    assert!(fixed_thresholds(0, 0.9).is_err() && fixed_thresholds(9, 0.9).is_err());
    assert!(fixed_thresholds(2, 1.1).is_err());
}

#[test]
fn calibrated_labels_are_better_with_few_rows() {
    let objective = Objective::Weighted { lambda_cost: 0.01, lambda_abstain: 0.4 };
    let test = simulated(3, 20_000, 1_000);
    let held_out = |labels: Labels| {
        let options = TuneOptions { labels, abstention: Abstention::Never };
        let loss = |seed| {
            let train = simulated(3, 30, seed);
            let tuned = tune(&train.whole(), &objective, &options).unwrap();
            Outcome::measure(&test.whole(), &tuned.thresholds).unwrap().loss(0.01, 0.4)
        };
        (0..40).map(loss).sum::<f64>() / 40.0
    };
    let (quality, calibrated) = (held_out(Labels::Quality), held_out(Labels::Calibrated));
    let mixed = held_out(Labels::Mixed { weight: 30.0 / 130.0 });
    assert!(calibrated < quality && mixed < quality, "{quality} {mixed} {calibrated}");
}

#[test]
fn parameters_out_of_range_are_refused() {
    let sample = simulated(2, 20, 3);
    let tuned = |objective| tune(&sample.whole(), &objective, &options(Abstention::Never));
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(tuned(Objective::Weighted { lambda_cost: bad, lambda_abstain: 0.0 }).is_err());
        assert!(tuned(Objective::Weighted { lambda_cost: 0.0, lambda_abstain: bad }).is_err());
        assert!(tuned(Objective::CostUnderQualityFloor { floor: bad, lambda_abstain: 0.0 }).is_err());
    }
    let options = TuneOptions { labels: Labels::Mixed { weight: 1.5 }, abstention: Abstention::Never };
    let objective = Objective::Weighted { lambda_cost: 0.0, lambda_abstain: 0.0 };
    assert!(tune(&sample.whole(), &objective, &options).is_err());
}

#[test]
fn chains_are_ranked() {
    let sample = simulated(4, 300, 4);
    for objective in [
        Objective::Weighted { lambda_cost: 0.01, lambda_abstain: 0.4 },
        Objective::CostUnderQualityFloor { floor: 0.8, lambda_abstain: 0.4 },
    ] {
        let ranked = |search: ChainSearch| {
            rank_chains(&sample, &objective, &options(Abstention::AtTheEnd), &search).unwrap()
        };
        let all = ranked(ChainSearch::default());
        assert!(all.is_sorted_by(|a, b| a.tuned.objective <= b.tuned.objective + 1e-12));
        if matches!(objective, Objective::Weighted { .. }) {
            assert_eq!(all.len(), 4 + 12 + 24 + 24);
        }
        let best = ranked(ChainSearch { keep: 3, ..ChainSearch::default() });
        assert_eq!(best[..], all[..3]);
        let rising = ranked(ChainSearch { rising_cost_only: true, ..ChainSearch::default() });
        assert!(rising.iter().all(|chain| chain.order.is_sorted()) && rising.len() <= 15);
        let short = ranked(ChainSearch { longest: 1, ..ChainSearch::default() });
        assert!(short.iter().all(|chain| chain.order.len() == 1));
        // What a chain gives is what it gives on its own.
        let alone = tune(&sample.chain(&all[0].order).unwrap(), &objective, &options(Abstention::AtTheEnd));
        assert_eq!(alone.unwrap(), all[0].tuned);
    }
    for bad in [
        ChainSearch { longest: 0, ..ChainSearch::default() },
        ChainSearch { longest: 5, ..ChainSearch::default() },
        ChainSearch { keep: 0, ..ChainSearch::default() },
    ] {
        let objective = Objective::Weighted { lambda_cost: 0.01, lambda_abstain: 0.4 };
        assert!(rank_chains(&sample, &objective, &options(Abstention::Never), &bad).is_err());
    }
    let objective = Objective::CostUnderQualityFloor { floor: 1.0, lambda_abstain: 1.0 };
    let found = rank_chains(&sample, &objective, &options(Abstention::Never), &ChainSearch::default());
    assert!(
        matches!(found, Err(crate::SelectError::QualityOutOfReach { best, .. }) if best > 0.9 && best < 1.0)
    );
}

#[test]
fn a_floor_costs_no_more_than_any_weight_that_keeps_it() {
    // Where weighted tuning is exact, no weight finds a cheaper rule that keeps the floor.
    for (stages, abstention) in [(2, Abstention::AtTheEnd), (2, Abstention::Anywhere), (3, Abstention::Never)]
    {
        for seed in 0..4 {
            let sample = simulated(stages, 150, 40 + seed);
            let weighted = |step: u32| {
                let objective = Objective::Weighted {
                    lambda_cost: 1e-4 * 1.1_f64.powf(f64::from(step)),
                    lambda_abstain: 0.3,
                };
                tune(&sample.whole(), &objective, &options(abstention)).unwrap().outcome
            };
            let outcomes: Vec<Outcome> = (0..100).map(weighted).collect();
            for floor in [0.6, 0.65, 0.7, 0.75] {
                let objective = Objective::CostUnderQualityFloor { floor, lambda_abstain: 0.3 };
                let found = tune(&sample.whole(), &objective, &options(abstention)).unwrap();
                assert!(found.outcome.quality(0.3) >= floor - 1e-9);
                let kept = outcomes.iter().filter(|outcome| outcome.quality(0.3) >= floor);
                let least = kept.map(|outcome| outcome.mean_cost).fold(f64::INFINITY, f64::min);
                assert!(found.objective <= least + 1e-9, "{stages} {floor}: {} {least}", found.objective);
            }
        }
    }
}

#[test]
fn pruning_changes_nothing() {
    for seed in 0..20 {
        let sample = simulated(4, 40, 20 + seed);
        let objective = Objective::Weighted { lambda_cost: 0.02, lambda_abstain: 0.3 };
        let objectives = |keep| {
            let search = ChainSearch { keep, ..ChainSearch::default() };
            let options = options(ALL_ABSTENTIONS[seed as usize % 3]);
            let ranked = rank_chains(&sample, &objective, &options, &search).unwrap();
            ranked.iter().map(|chain| chain.tuned.objective).collect::<Vec<_>>()
        };
        let all = objectives(usize::MAX);
        for keep in [1, 2, 8] {
            assert_eq!(objectives(keep), all[..keep], "seed {seed} keep {keep}");
        }
    }
}

#[test]
fn tuning_ends_whatever_the_scale_of_costs() {
    // At such costs sums round by more than what counts as equal.
    for scale in [1e-9, 1e6, 1e15] {
        let mut rng = ChaCha8Rng::seed_from_u64(31);
        let rows = |rng: &mut ChaCha8Rng| {
            let values: Vec<f64> = (0..200).map(|_| rng.random()).collect();
            let cost = values.iter().map(|_| scale * rng.random::<f64>()).collect();
            let probability = values.iter().map(|value| p(*value)).collect();
            StageRows { probability, quality: values, cost }
        };
        let sample = CascadeSample::new((0..4).map(|_| rows(&mut rng)).collect()).unwrap();
        for lambda_cost in [0.01, 1.0] {
            let objective = Objective::Weighted { lambda_cost, lambda_abstain: 0.3 };
            let found = tune(&sample.whole(), &objective, &options(Abstention::Anywhere)).unwrap();
            let measured = found.outcome.loss(lambda_cost, 0.3);
            assert!((found.objective - measured).abs() <= 1e-9 * measured.max(1.0), "{scale} {lambda_cost}");
        }
    }
}
