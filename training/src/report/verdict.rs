//! *Should you route?* yes, not yet, or no: every reason with its number, the worst of them decides.

use std::collections::BTreeMap;

use anyhow::Result;
use artifact::Interval;
use economics::{PerRequest, Upkeep, router_cost};
use policy::{Certificate, Expected, Objective, Risk, SelectError, labels_for_certificate};
use serde::Serialize;

use super::{Figures, Gap, interval};
use crate::operating_point::Rows;
use crate::prices::PairCost;

/// Routing that keeps the quality floor but saves less than this share of strong-only cost is not worth its
/// moving parts.
const LEAST_SAVING: f64 = 0.05;

/// Setup that takes longer than this to come back is not worth it yet.
const LONGEST_PAYBACK_DAYS: f64 = 365.0;

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Every reason holds.
    Yes,
    /// Something is missing that can be had: labels, traffic, a better classifier.
    NotYet,
    /// Routing this pair on this traffic loses.
    No,
}

impl Answer {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::NotYet => "not yet",
            Self::No => "no",
        }
    }
}

/// How one reason stands.
pub type Standing = Answer;

/// One reason.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reason {
    /// What it is about: `better_model`, `gap`, `weak_alone`, `ranking`, `saving`, `certificate`, `volume`.
    pub about: &'static str,
    /// How it stands.
    pub standing: Standing,
    /// With its numbers.
    pub words: String,
}

/// The verdict.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The worst standing of the reasons.
    pub answer: Answer,
    /// In the order in which they were asked.
    pub reasons: Vec<Reason>,
}

/// Traffic and money, as far as they are known.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Volume {
    /// Requests a day.
    pub requests_per_day: Option<f64>,
    /// What a correct answer is worth; without, only the quality floor speaks for quality.
    pub value_per_correct_usd: Option<f64>,
    /// Fixed costs of routing and the cost of one decision.
    pub upkeep: Option<(Upkeep, f64)>,
}

/// What is known when the verdict is given.
pub(super) struct Facts<'a> {
    pub(super) gap: Gap,
    pub(super) quality_floor: f64,
    /// Alpha and delta of the certificate that is asked for.
    pub(super) certificate: (f64, f64),
    pub(super) rows: &'a Rows,
    /// Of the classifier.
    pub(super) figures: &'a Figures,
    pub(super) over_prompt_length: &'a BTreeMap<String, Interval>,
    pub(super) cost: Option<PairCost>,
    pub(super) volume: &'a Volume,
}

pub(super) fn judge(facts: &Facts<'_>) -> Result<Verdict> {
    let mut reasons = vec![better_model(facts)];
    if reasons[0].standing != Answer::No {
        let at_floor = facts.at_quality_floor()?;
        reasons.push(weak_alone(facts));
        reasons.push(ranking(facts));
        reasons.push(saving(facts, at_floor.as_ref()));
        reasons.push(certificate(facts)?);
        reasons.push(volume(facts, at_floor.as_ref())?);
    }
    let answer = reasons.iter().map(|r| r.standing).max().unwrap_or(Answer::NotYet);
    Ok(Verdict { answer, reasons })
}

fn reason(about: &'static str, standing: Standing, words: String) -> Reason {
    Reason { about, standing, words }
}

impl Facts<'_> {
    /// What the least cost that keeps the quality floor looks like; `None` where no threshold keeps it.
    fn at_quality_floor(&self) -> Result<Option<Expected>> {
        match self.rows.select(&Objective::QualityFloor(self.quality_floor), self.cost) {
            Ok(selection) => Ok(Some(selection.expected)),
            Err(error) => match error.downcast_ref() {
                Some(SelectError::QualityOutOfReach { .. }) => Ok(None),
                _ => Err(error),
            },
        }
    }
}

fn better_model(facts: &Facts<'_>) -> Reason {
    let Gap { weak, strong, gap, standard_error, recoverable } = facts.gap;
    let numbers = format!("strong scores {strong:.3}, weak {weak:.3}, a gap of {}", interval(&gap));
    if gap.value < -2.0 * standard_error {
        return reason(
            "gap",
            Answer::No,
            format!("the dearer model is worse: {numbers}; use the cheaper one"),
        );
    }
    if !recoverable {
        let words = format!("no gap to recover: {numbers}, within two standard errors of none");
        return reason("gap", Answer::No, words);
    }
    reason("gap", Answer::Yes, format!("there is a gap to recover: {numbers}"))
}

/// Whether the cheap model alone already keeps the floor.
fn weak_alone(facts: &Facts<'_>) -> Reason {
    let Gap { weak, strong, .. } = facts.gap;
    let retained = weak / strong;
    let numbers =
        format!("weak alone retains {retained:.3} of strong's quality, the floor is {}", facts.quality_floor);
    if retained >= facts.quality_floor {
        return reason("weak_alone", Answer::No, format!("{numbers}: use it for everything"));
    }
    reason("weak_alone", Answer::Yes, numbers)
}

/// Whether the classifier ranks, and better than the length of the prompt.
fn ranking(facts: &Facts<'_>) -> Reason {
    let Some(auroc) = facts.figures.estimates.get("auroc") else {
        return reason("ranking", Answer::No, "strong is better always or never: nothing to rank".to_owned());
    };
    let numbers = format!("AUROC {}", interval(auroc));
    if auroc.lower <= 0.5 {
        let words = format!("the classifier ranks no better than chance: {numbers}");
        return reason("ranking", Answer::No, words);
    }
    let over = facts.over_prompt_length.get("auroc");
    match over {
        Some(over) if over.lower <= 0.0 => reason(
            "ranking",
            Answer::NotYet,
            format!("not better than prompt length beyond noise: {numbers}, {} above it", interval(over)),
        ),
        Some(over) => reason(
            "ranking",
            Answer::Yes,
            format!("better than prompt length: {numbers}, {} above it", interval(over)),
        ),
        None => reason("ranking", Answer::Yes, numbers),
    }
}

/// Cost at the floor as a fraction of strong-only cost; the strong-call rate without prices.
fn fraction(expected: &Expected, cost: Option<PairCost>) -> f64 {
    cost.filter(|c| c.strong_usd > 0.0).map_or(expected.strong_call_rate, |c| expected.cost / c.strong_usd)
}

fn saving(facts: &Facts<'_>, at_floor: Option<&Expected>) -> Reason {
    let Some(expected) = at_floor else {
        let words = format!("no threshold keeps {} of strong's quality", facts.quality_floor);
        return reason("saving", Answer::No, words);
    };
    let saved = 1.0 - fraction(expected, facts.cost);
    let numbers = format!(
        "keeping {} of strong's quality takes {:.3} of the calls to strong and saves {saved:.3} of strong-only cost",
        facts.quality_floor, expected.strong_call_rate
    );
    if saved < LEAST_SAVING {
        return reason("saving", Answer::No, format!("the traffic is uniformly hard: {numbers}"));
    }
    reason("saving", Answer::Yes, numbers)
}

/// Tries the certificate on these very rows.
fn certificate(facts: &Facts<'_>) -> Result<Reason> {
    let (alpha, delta) = facts.certificate;
    let (rows, wanted) = (facts.rows.len(), Certificate { risk: Risk::CheapAndWrong, alpha, delta });
    let promise = format!("a cheap-and-wrong rate of at most {alpha} at confidence {}", 1.0 - delta);
    let selection = facts.rows.select(&Objective::Certificate(wanted), facts.cost)?;
    let calls = selection.expected.strong_call_rate;
    if selection.certified.is_some() && 1.0 - calls >= LEAST_SAVING {
        let words = format!("{promise} holds with {calls:.3} of the calls going strong ({rows} labels)");
        return Ok(reason("certificate", Answer::Yes, words));
    }
    let needed = labels_for_certificate(alpha, delta, 0.5 * alpha)?;
    let words = match needed {
        Some(needed) if rows >= needed => format!(
            "no certificate although {rows} labels suffice (about {needed} are needed): {promise} holds only with \
             {calls:.3} of the calls going strong, the risk is above the bound wherever weak answers more"
        ),
        Some(needed) => format!("{promise} needs about {} more labels than these {rows}", needed - rows),
        None => format!("{promise} needs millions more labels than these {rows}"),
    };
    Ok(reason("certificate", Answer::NotYet, words))
}

fn volume(facts: &Facts<'_>, at_floor: Option<&Expected>) -> Result<Reason> {
    let (Some(requests), Some(cost), Some((upkeep, router_usd)), Some(expected)) =
        (facts.volume.requests_per_day, facts.cost, facts.volume.upkeep, at_floor)
    else {
        let words =
            "whether it pays is unknown: give --prices (with [upkeep]) and --requests-per-month".to_owned();
        return Ok(reason("volume", Answer::NotYet, words));
    };
    let request = PerRequest {
        strong_usd: cost.strong_usd,
        strategy_usd: router_cost(router_usd, cost.weak_usd, cost.strong_usd, expected.strong_call_rate)?,
        extra_error_rate: facts.gap.strong - expected.quality,
        value_per_correct_usd: facts.volume.value_per_correct_usd.unwrap_or(0.0),
    };
    let net = request.net_usd()?;
    let least = upkeep.break_even_requests_per_day(&request)?;
    let payback = upkeep.payback_days(&request, requests)?;
    let monthly = upkeep.net_usd_per_month(&request, requests)?;
    let numbers = format!(
        "{requests:.0} requests a day against a break-even of {least:.0}; routing nets {net:.6} USD a request, \
         {monthly:.0} USD a month"
    );
    Ok(if net <= 0.0 {
        reason("volume", Answer::No, format!("routing loses money on every request: {numbers}"))
    } else if requests < least {
        reason("volume", Answer::No, format!("too little traffic to pay for itself: {numbers}"))
    } else if payback > LONGEST_PAYBACK_DAYS {
        reason("volume", Answer::NotYet, format!("setup comes back only after {payback:.0} days: {numbers}"))
    } else {
        reason("volume", Answer::Yes, format!("setup comes back after {payback:.0} days: {numbers}"))
    })
}
