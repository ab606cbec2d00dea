//! The cascade that is written: tuned on all rows (or all but those a certificate needs), measured on folds it was not
//! tuned on, with what its stages cost and whether they earn it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use artifact::{CascadeRecord, CertificateRecord, Interval, StageRecord};
use economics::break_even_escalation;
use evaluation::bootstrap::shared_intervals;
use policy::cascade::{
    AcceptedRisk, CascadeCertificate, CascadeSample, ChainSearch, Objective, Outcome, ShiftPath,
    StageThresholds, Stop, TuneOptions, break_even_acceptance, certify_cascade, rank_chains,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::CascadeRows;

/// Folds on which the way of tuning is measured.
const FOLDS: usize = 5;

/// Of so many parts of the rows one is kept for the certificate.
const PARTS: usize = 3;

/// What is asked of a cascade.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What it is tuned for.
    pub objective: Objective,
    /// That, in words.
    pub in_words: String,
    /// The command that asks it.
    pub command: String,
    /// How.
    pub options: TuneOptions,
    /// Which chains are looked at.
    pub search: ChainSearch,
    /// What is to be proved of accepted answers.
    pub certificate: Option<CascadeCertificate>,
    /// Resamples behind every interval.
    pub resamples: usize,
    /// Seed of folds and resamples.
    pub seed: u64,
}

/// A tuned cascade with what should be known of it.
#[derive(Debug, Clone)]
pub struct TunedCascade {
    /// As it is stored.
    pub record: CascadeRecord,
    /// Stages that cost more than they save, a certificate that was not reached.
    pub warnings: Vec<String>,
}

/// Tunes, measures and, where it is wanted, certifies.
///
/// # Errors
/// When the objective is out of reach, or a sample or interval cannot be had.
pub fn tuned_cascade(rows: &CascadeRows, wanted: &Wanted, data: &str) -> Result<TunedCascade> {
    let all: Vec<usize> = (0..rows.len()).collect();
    let mut warnings = Vec::new();
    let (tuned_on, proved_on) = match wanted.certificate {
        None => (all.clone(), Vec::new()),
        Some(_) => {
            let mut parts = rows.folds(PARTS, wanted.seed ^ 0x5eed);
            let proved_on = parts.pop().context("no rows for a certificate")?;
            (parts.concat(), proved_on)
        }
    };
    let (order, mut thresholds) = best(&rows.sample(&tuned_on)?, wanted)?;
    let (mut certificate, mut shift) = (None, 0.0);
    if let Some(asked) = &wanted.certificate {
        let path = path(asked, &thresholds, &rows.sample(&tuned_on)?, &order)?;
        let sample = rows.sample(&proved_on)?;
        match certify_cascade(asked, &thresholds, &path, &sample.chain(&order)?)? {
            Some(proved) => {
                if proved.shift > 0.0 {
                    warnings.push(format!(
                        "thresholds were raised by {:.2} logits until the error among accepted answers was proved",
                        proved.shift
                    ));
                }
                shift = proved.shift;
                certificate = Some(record_of(asked, &proved));
                thresholds = proved.thresholds;
            }
            None => warnings.push(format!(
                "no certificate: the error among accepted answers could not be shown to be at most {} with \
                 confidence {} on {} queries",
                asked.alpha,
                1.0 - asked.delta,
                proved_on.len()
            )),
        }
    }
    let whole = rows.sample(&all)?;
    let outcome = Outcome::measure(&whole.chain(&order)?, &thresholds)?;
    let stages = stages(rows, &order, &thresholds, &outcome, &mut warnings)?;
    let record = CascadeRecord {
        stages,
        objective: wanted.in_words.clone(),
        data: data.to_owned(),
        rows: tuned_on.len(),
        created: crate::now(),
        command: wanted.command.clone(),
        measured: measured(rows, wanted, shift)?,
        certificate,
        bound_to: String::new(),
    };
    dearer_than_strong(&record, rows, &outcome, &mut warnings);
    Ok(TunedCascade { record, warnings })
}

fn best(sample: &CascadeSample, wanted: &Wanted) -> Result<(Vec<usize>, Vec<StageThresholds>)> {
    let search = ChainSearch { keep: 1, ..wanted.search };
    let ranked = rank_chains(sample, &wanted.objective, &wanted.options, &search)?;
    let best = ranked.into_iter().next().context("no chain")?;
    Ok((best.order, best.tuned.thresholds))
}

/// The rules that a certificate tests: from the one that the tuning rows say is the easiest to prove, by the distance
/// of its error from alpha in standard deviations, down to the tuned one. Starting stricter, where few answers are
/// accepted, a single mistake would end the sequence.
fn path(
    asked: &CascadeCertificate,
    tuned: &[StageThresholds],
    sample: &CascadeSample,
    order: &[usize],
) -> Result<ShiftPath> {
    const STEP: f64 = 0.05;
    const STEPS: u32 = 240;
    let chain = sample.chain(order)?;
    let mut best = (f64::NEG_INFINITY, 0u32);
    for step in 0..=STEPS {
        let shift = f64::from(step) * STEP;
        let thresholds: Vec<StageThresholds> = tuned.iter().map(|pair| pair.shifted(shift)).collect();
        let found = Outcome::measure(&chain, &thresholds)?;
        let Some(error) = found.error_among_accepted() else { break };
        let deviation = (asked.alpha * (1.0 - asked.alpha) / found.accepted as f64).sqrt();
        let distance = (asked.alpha - error) / deviation;
        if distance > best.0 {
            best = (distance, step);
        }
    }
    Ok(ShiftPath::new(f64::from(best.1) * STEP, 0.0, best.1.max(1))?)
}

fn record_of(asked: &CascadeCertificate, proved: &policy::cascade::CertifiedCascade) -> CertificateRecord {
    let risk = match asked.risk {
        AcceptedRisk::Wrong => "wrong-given-accepted",
        AcceptedRisk::QualityLost => "quality-lost-given-accepted",
    };
    CertificateRecord {
        risk: risk.to_owned(),
        alpha: asked.alpha,
        delta: asked.delta,
        tested: proved.outcome.accepted,
        loss: proved.outcome.quality_lost,
        p_value: proved.p_value,
        upper_bound: proved.upper_bound,
    }
}

fn stages(
    rows: &CascadeRows,
    order: &[usize],
    thresholds: &[StageThresholds],
    outcome: &Outcome,
    warnings: &mut Vec<String>,
) -> Result<Vec<StageRecord>> {
    let mut found = Vec::new();
    let last = order.len() - 1;
    for (i, ((stage, pair), of)) in order.iter().zip(thresholds).zip(&outcome.stages).enumerate() {
        let model = &rows.models[*stage];
        let cost_usd = of.stage_cost.unwrap_or(rows.cost_usd[*stage]);
        let beyond = of.cost_beyond.unwrap_or_default();
        let escalation_rate = of.escalation_rate().unwrap_or_default();
        let skip_below =
            if i == last || beyond <= 0.0 { 0.0 } else { break_even_acceptance(cost_usd, beyond)? };
        if i < last && beyond > 0.0 {
            let break_even = break_even_escalation(cost_usd, 0.0, beyond)?;
            if escalation_rate > break_even {
                warnings.push(format!(
                    "{model} is dearer than it saves: {escalation_rate:.3} of its answers are sent on, the break-even \
                     is {break_even:.3}; it stays for what it adds in quality"
                ));
            }
        }
        found.push(StageRecord {
            model: model.as_str().to_owned(),
            abstain_below: pair.abstain_below(),
            accept_above: pair.accept_above(),
            skip_below,
            cost_usd,
            latency_s: rows.latency_s[*stage],
            reach: of.reach,
            escalation_rate,
        });
    }
    Ok(found)
}

/// Held-out figures of the way the cascade was found: tuned on four folds, raised by as much as its certificate took,
/// measured on the fifth, five times.
fn measured(rows: &CascadeRows, wanted: &Wanted, shift: f64) -> Result<BTreeMap<String, Interval>> {
    let folds = rows.folds(FOLDS, wanted.seed);
    let mut stops = vec![None; rows.len()];
    for (i, fold) in folds.iter().enumerate() {
        let others: Vec<usize> =
            folds.iter().enumerate().filter(|(j, _)| *j != i).flat_map(|(_, f)| f.iter().copied()).collect();
        let (order, mut thresholds) = best(&rows.sample(&others)?, wanted)?;
        thresholds.iter_mut().for_each(|pair| *pair = pair.shifted(shift));
        let held_out = rows.sample(fold)?;
        let found = Stop::of_rows(&held_out.chain(&order)?, &thresholds)?;
        fold.iter().zip(found).for_each(|(row, stop)| stops[*row] = Some(stop));
    }
    let stops: Vec<Stop> = stops.into_iter().collect::<Option<_>>().context("a row was not measured")?;
    let strong = rows.stages.last().context("no stage")?;
    let names = [
        "error",
        "error_among_accepted",
        "abstention_rate",
        "cost_usd",
        "strong_only_error",
        "strong_only_cost_usd",
    ];
    let statistics = |picked: &[usize]| {
        let n = picked.len() as f64;
        let mean = |of: &dyn Fn(usize) -> f64| picked.iter().map(|row| of(*row)).sum::<f64>() / n;
        let accepted = mean(&|row| f64::from(u8::from(stops[row].accepted)));
        let error = mean(&|row| stops[row].quality_lost);
        vec![
            Some(error),
            (accepted > 0.0).then(|| error / accepted),
            Some(1.0 - accepted),
            Some(mean(&|row| stops[row].cost)),
            Some(mean(&|row| 1.0 - strong.quality[row])),
            Some(mean(&|row| strong.cost[row])),
        ]
    };
    let all: Vec<usize> = (0..rows.len()).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(wanted.seed);
    let intervals = shared_intervals(&rows.groups, statistics, wanted.resamples, 0.95, &mut rng)?;
    let found = names.into_iter().zip(statistics(&all)).zip(intervals);
    let interval = |((name, value), interval): ((&str, Option<f64>), Result<evaluation::Interval, _>)| {
        let (value, found) = (value?, interval.ok()?);
        Some((name.to_owned(), Interval { value, lower: found.lower, upper: found.upper }))
    };
    Ok(found.filter_map(interval).collect())
}

fn dearer_than_strong(
    record: &CascadeRecord,
    rows: &CascadeRows,
    outcome: &Outcome,
    warnings: &mut Vec<String>,
) {
    let single = record.stages.len() == 1;
    if !single && outcome.mean_cost >= rows.dearest_usd() {
        warnings.push(format!(
            "the cascade costs {:.6} USD a query, calling {} alone {:.6}",
            outcome.mean_cost,
            rows.models.last().map_or("the dearest model", |model| model.as_str()),
            rows.dearest_usd()
        ));
    }
}
