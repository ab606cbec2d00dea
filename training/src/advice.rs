//! Predictive, cascade, semantic, or do not route? Every described strategy priced, timed and held against always
//! calling one model; the greatest net that keeps the quality floor and the latency limit wins. Arithmetic is that of
//! `economics`.

use anyhow::{Context, Result, bail};
use economics::{
    EconomicsError, LatencyAtom, PerRequest, Stage, Stages, Upkeep, break_even_escalation,
    cascade_beats_router_below, latency_quantile_s, router_cost,
};
use serde::Serialize;
use types::ModelName;

use crate::prices::Prices;
use crate::workload::{Cascade, Workload};

/// Setup that takes longer than this to come back is not worth it.
const LONGEST_PAYBACK_DAYS: f64 = 365.0;

const TAIL: f64 = 0.99;

/// One way to answer requests.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Strategy {
    /// `always weak`, `always strong`, `predictive`, `cascade`, `semantic`.
    pub name: &'static str,
    /// Mean cost of a request, decisions and verifiers included.
    pub usd_per_request: f64,
    /// That as a fraction of strong-only cost.
    pub cost_fraction: f64,
    /// Mean score.
    pub quality: f64,
    /// That as a share of strong's.
    pub quality_retained: f64,
    /// Of the mix of calls, at the latencies of `prices.toml`.
    pub latency_mean_s: f64,
    /// Of the mix of calls.
    pub latency_p99_s: f64,
    /// Against strong-only, what errors cost included, fixed costs of routing too.
    pub net_usd_per_month: f64,
    /// Requests a day from which it no longer loses money; infinite where it always does, 0 where nothing is fixed.
    pub break_even_requests_per_day: f64,
    /// Until the setup is paid back.
    pub payback_days: f64,
    /// What speaks against it; empty: it may be chosen.
    pub against: Vec<String>,
}

/// The advice.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Advice {
    /// `predictive`, `cascade`, `semantic`, or `do not route`.
    pub answer: &'static str,
    /// With numbers.
    pub reasons: Vec<String>,
    /// All that were priced.
    pub strategies: Vec<Strategy>,
    /// What should be known beside it.
    pub notes: Vec<String>,
}

/// A strategy before it is judged.
struct Plan {
    name: &'static str,
    usd: f64,
    quality: f64,
    latency: Vec<LatencyAtom>,
    upkeep: Upkeep,
}

/// Prices and judges every strategy of a workload.
///
/// # Errors
/// When a model has no price, upkeep is missing, or a number is out of its range.
pub fn advise(workload: &Workload, prices: &Prices) -> Result<Advice> {
    let pair = workload.pair().map_err(anyhow::Error::msg)?;
    let (upkeep, router_usd) =
        prices.upkeep().context("the prices say nothing of what routing itself costs: add [upkeep]")?;
    let whole = prices.pair(&pair)?;
    let nothing = Upkeep { monthly_usd: 0.0, setup_usd: 0.0 };
    let latency_s = |model: &ModelName| latency_s(model, workload, prices);
    let alone = |name, model: &ModelName, usd, quality| {
        let latency = vec![LatencyAtom { probability: 1.0, latency_s: latency_s(model)? }];
        Ok::<_, anyhow::Error>(Plan { name, usd, quality, latency, upkeep: nothing })
    };
    let mut plans = vec![
        alone(WEAK, pair.weak(), whole.weak_usd, workload.quality.weak)?,
        alone(STRONG, pair.strong(), whole.strong_usd, workload.quality.strong)?,
    ];
    let mut notes = Vec::new();
    let split = |name, rate: f64, decision: (f64, f64), quality, notes: &mut Vec<String>| {
        let shares = [(pair.weak(), 1.0 - rate), (pair.strong(), rate)];
        let [weak, strong] = shares.map(|(model, share)| prices.call_usd(model, share));
        let (weak, strong) = (weak?, strong?);
        let usd = router_cost(decision.0, weak, strong, rate)?;
        let unsplit = router_cost(decision.0, whole.weak_usd, whole.strong_usd, rate)?;
        if usd > unsplit {
            notes.push(format!(
                "{name}: splitting the prefix cache between two models costs {:.6} USD a request",
                usd - unsplit
            ));
        }
        let mut latency = Vec::with_capacity(2);
        for (model, probability) in shares {
            latency.push(LatencyAtom { probability, latency_s: latency_s(model)? + decision.1 });
        }
        Ok::<_, anyhow::Error>(Plan { name, usd, quality, latency, upkeep })
    };
    if let Some(p) = &workload.predictive {
        let decision = (router_usd, p.decision_s);
        plans.push(split(PREDICTIVE, p.strong_call_rate, decision, p.quality, &mut notes)?);
    }
    if let Some(c) = &workload.cascade {
        let chain = chain(c, workload, prices)?;
        notes.extend(about_chain(c, &chain, workload, prices, router_usd)?);
        let (usd, latency) = (chain.expected_cost_usd(), chain.latency_atoms());
        plans.push(Plan { name: CASCADE, usd, quality: c.quality, latency, upkeep });
    }
    if let Some(s) = &workload.semantic {
        let decision = (s.decision_usd, s.decision_s);
        plans.push(split(SEMANTIC, 1.0 - s.matched_share, decision, s.quality, &mut notes)?);
    }
    let described = [
        (PREDICTIVE, "training threshold", workload.predictive.is_some()),
        (CASCADE, "the escalation rate and quality of accepted answers", workload.cascade.is_some()),
        (SEMANTIC, "the share of requests that match a route, and quality", workload.semantic.is_some()),
    ];
    for (name, how, _) in described.iter().filter(|(.., described)| !described) {
        notes.push(format!("{name}: not described, so not judged; measure it ({how})"));
    }
    let judged = plans.into_iter().map(|plan| plan.judge(workload, whole.strong_usd));
    let strategies = judged.collect::<Result<Vec<Strategy>, EconomicsError>>()?;
    let (answer, reasons) = choose(workload, &strategies);
    Ok(Advice { answer, reasons, strategies, notes })
}

const WEAK: &str = "always weak";
const STRONG: &str = "always strong";
const PREDICTIVE: &str = "predictive";
const CASCADE: &str = "cascade";
const SEMANTIC: &str = "semantic";
const DO_NOT_ROUTE: &str = "do not route";

impl Plan {
    fn judge(self, workload: &Workload, strong_usd: f64) -> Result<Strategy, EconomicsError> {
        let request = PerRequest {
            strong_usd,
            strategy_usd: self.usd,
            extra_error_rate: workload.quality.strong - self.quality,
            value_per_correct_usd: workload.value_per_correct_usd,
        };
        let requests = workload.requests_per_day;
        let mean = self.latency.iter().map(|a| a.probability * a.latency_s).sum();
        let mut strategy = Strategy {
            name: self.name,
            usd_per_request: self.usd,
            cost_fraction: if strong_usd > 0.0 { self.usd / strong_usd } else { 1.0 },
            quality: self.quality,
            quality_retained: self.quality / workload.quality.strong.max(f64::MIN_POSITIVE),
            latency_mean_s: mean,
            latency_p99_s: latency_quantile_s(&self.latency, TAIL)?,
            net_usd_per_month: self.upkeep.net_usd_per_month(&request, requests)?,
            break_even_requests_per_day: self.upkeep.break_even_requests_per_day(&request)?,
            payback_days: self.upkeep.payback_days(&request, requests)?,
            against: Vec::new(),
        };
        let floor = workload.quality_floor;
        if strategy.quality_retained < floor {
            strategy
                .against
                .push(format!("retains {:.3} of strong's quality, not {floor}", strategy.quality_retained));
        }
        if let Some(limit) = workload.max_latency_p99_s.filter(|limit| strategy.latency_p99_s > *limit) {
            strategy.against.push(format!("p99 latency {:.2} s is above {limit} s", strategy.latency_p99_s));
        }
        let fixed = self.upkeep.monthly_usd > 0.0 || self.upkeep.setup_usd > 0.0;
        if fixed && requests < strategy.break_even_requests_per_day {
            strategy.against.push(format!(
                "{requests:.0} requests a day are below its break-even of {:.0}",
                strategy.break_even_requests_per_day
            ));
        } else if fixed && strategy.payback_days > LONGEST_PAYBACK_DAYS {
            strategy.against.push(format!("setup comes back only after {:.0} days", strategy.payback_days));
        }
        Ok(strategy)
    }
}

/// The greatest net of those nothing speaks against; strong where something speaks against all.
fn choose(workload: &Workload, strategies: &[Strategy]) -> (&'static str, Vec<String>) {
    let inverted = workload.quality.strong <= workload.quality.weak;
    let best = strategies
        .iter()
        .filter(|s| s.against.is_empty() && (!inverted || s.name == WEAK || s.name == STRONG))
        .max_by(|a, b| a.net_usd_per_month.total_cmp(&b.net_usd_per_month));
    let mut reasons = Vec::new();
    if inverted {
        reasons.push(format!(
            "the dearer model is no better: it scores {:.3}, the cheaper one {:.3}",
            workload.quality.strong, workload.quality.weak
        ));
    }
    let answer = match best {
        Some(best) if best.name == WEAK || best.name == STRONG => {
            let retained = best.quality_retained;
            reasons.push(format!(
                "use {} for everything: it retains {retained:.3} of strong's quality",
                &best.name[7..]
            ));
            DO_NOT_ROUTE
        }
        Some(best) => {
            reasons.push(format!(
                "it retains {:.3} of strong's quality at fraction {:.3} of strong-only cost and nets {:.0} USD a month; \
                 setup comes back after {:.0} days",
                best.quality_retained, best.cost_fraction, best.net_usd_per_month, best.payback_days
            ));
            best.name
        }
        None => {
            reasons.push(
                "use strong for everything: nothing else meets the limits, and it misses them least"
                    .to_owned(),
            );
            DO_NOT_ROUTE
        }
    };
    for s in strategies.iter().filter(|s| !s.against.is_empty()) {
        reasons.push(format!("not {}: {}", s.name, s.against.join("; ")));
    }
    (answer, reasons)
}

/// Seconds a call takes. Where a limit is to be held, a model without a latency is an error: nothing would be held.
fn latency_s(model: &ModelName, workload: &Workload, prices: &Prices) -> Result<f64> {
    match (prices.latency_s(model)?, workload.max_latency_p99_s) {
        (None, Some(limit)) => {
            bail!("max_latency_p99_s is {limit}, but the prices say no latency_s of {model}")
        }
        (found, _) => Ok(found.unwrap_or(0.0)),
    }
}

fn chain(cascade: &Cascade, workload: &Workload, prices: &Prices) -> Result<Stages> {
    let mut stages = Vec::with_capacity(cascade.stages.len());
    let mut reach = 1.0;
    let last = cascade.stages.len() - 1;
    for (i, stage) in cascade.stages.iter().enumerate() {
        let model = ModelName::new(&stage.model).context("cascade.stages.model")?;
        // The last stage has nowhere to send its answers, and no verifier.
        let judged = if i == last { 0.0 } else { 1.0 };
        stages.push(Stage {
            call_usd: prices.call_usd(&model, reach)?,
            verifier_usd: judged * stage.verifier_usd,
            call_s: latency_s(&model, workload, prices)?,
            verifier_s: judged * stage.verifier_s,
            escalation_rate: judged * stage.escalation_rate,
        });
        reach *= stage.escalation_rate;
    }
    Ok(Stages::new(stages)?)
}

/// Break-evens of a chain, and a warning where it is dearer than strong alone.
fn about_chain(
    cascade: &Cascade,
    chain: &Stages,
    workload: &Workload,
    prices: &Prices,
    router_usd: f64,
) -> Result<Vec<String>> {
    let pair = workload.pair().map_err(anyhow::Error::msg)?;
    let (whole, first) = (prices.pair(&pair)?, &cascade.stages[0]);
    let opener = ModelName::new(&first.model).context("cascade.stages.model")?;
    let first_usd = prices.call_usd(&opener, 1.0)?;
    let limit = break_even_escalation(first_usd, first.verifier_usd, whole.strong_usd)?;
    let rate = first.escalation_rate;
    let mut notes = vec![format!(
        "cascade: breaks even with strong at an escalation rate of {limit:.4}; described is {rate:.4}"
    )];
    let cost = chain.expected_cost_usd();
    if cost >= whole.strong_usd {
        notes.push(format!(
            "warning: the cascade costs {cost:.6} USD a request, more than strong alone ({:.6})",
            whole.strong_usd
        ));
    }
    if let (Some(p), 2) = (&workload.predictive, cascade.stages.len()) {
        let limit = cascade_beats_router_below(
            router_usd,
            first_usd,
            first.verifier_usd,
            whole.strong_usd,
            p.strong_call_rate,
        )?;
        notes.push(format!(
            "cascade: cheaper than the predictive router below an escalation rate of {limit:.4}"
        ));
    }
    for (j, stage) in cascade.stages.iter().enumerate().filter(|(j, _)| !chain.worth_its_place(*j)) {
        notes.push(format!(
            "cascade: stage {} ({}) costs more than it keeps from the stages after it; it must earn its place by accuracy",
            j + 1,
            stage.model
        ));
    }
    Ok(notes)
}
