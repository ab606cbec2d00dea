//! Which models form the chain, and in what order: every subset in every order is tuned, single models included.
//! Forcing all models into one chain was measured to be worse than the best single model (methods section 5.3).

use crate::SelectError;
use crate::cascade::problem::{Problem, ROUNDING, Weights};
use crate::cascade::{CascadeSample, Chain, Objective, TuneOptions, Tuned, tune};
use crate::error::count;

/// Most stages of a chain that is looked for: the orders of 8 models' subsets are 2,080 up to here.
const LONGEST: usize = 4;

/// Which chains are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainSearch {
    /// Most stages of a chain, 1 to 4.
    pub longest: usize,
    /// Only orders in which no stage has a lower mean cost than the one before.
    pub rising_cost_only: bool,
    /// How many chains are returned, at least 1. A chain that provably is not among them is not tuned.
    pub keep: usize,
}

impl Default for ChainSearch {
    /// Up to four stages in all orders; all of them returned.
    fn default() -> Self {
        Self { longest: LONGEST, rising_cost_only: false, keep: usize::MAX }
    }
}

/// A chain and its thresholds.
#[derive(Debug, Clone, PartialEq)]
pub struct RankedChain {
    /// Stages of the sample, the first one called first.
    pub order: Vec<usize>,
    /// Its thresholds and what they give.
    pub tuned: Tuned,
}

/// Tunes chains of the sample's stages and ranks them by the objective, the best first; of equals the shorter.
/// Chains that miss a quality floor are left out.
///
/// # Errors
/// As [`tune`]; a quality floor is out of reach where it is for every chain. When `longest` is not 1 to 4, or nothing
/// is to be kept.
pub fn rank_chains(
    sample: &CascadeSample,
    objective: &Objective,
    options: &TuneOptions,
    search: &ChainSearch,
) -> Result<Vec<RankedChain>, SelectError> {
    objective.check()?;
    options.check()?;
    count("longest", search.longest, 1..=LONGEST, "1 to 4")?;
    count("keep", search.keep, 1..=usize::MAX, "at least 1")?;
    let mut ranked: Vec<RankedChain> = Vec::new();
    let mut out_of_reach: Option<(f64, f64)> = None;
    for order in orders(sample, search) {
        let chain = sample.chain(&order)?;
        let worst = ranked.get(search.keep - 1).map_or(f64::INFINITY, |chain| chain.tuned.objective);
        if lower_bound(&chain, objective, options) >= worst {
            continue;
        }
        match tune(&chain, objective, options) {
            Ok(tuned) => {
                let better = |other: &RankedChain| other.tuned.objective <= tuned.objective + ROUNDING;
                let place = ranked.partition_point(better);
                ranked.insert(place, RankedChain { order, tuned });
                ranked.truncate(search.keep);
            }
            Err(SelectError::QualityOutOfReach { wanted, best }) => {
                let before = out_of_reach.map_or(f64::NEG_INFINITY, |(_, best)| best);
                out_of_reach = Some((wanted, best.max(before)));
            }
            Err(other) => return Err(other),
        }
    }
    match out_of_reach {
        Some((wanted, best)) if ranked.is_empty() => Err(SelectError::QualityOutOfReach { wanted, best }),
        _ => Ok(ranked),
    }
}

/// All orders of all subsets that are looked at, the shorter ones first.
pub fn orders(sample: &CascadeSample, search: &ChainSearch) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = vec![vec![]];
    let mut start = 0;
    for _ in 0..search.longest.min(sample.stages()) {
        let end = all.len();
        for shorter in start..end {
            for stage in 0..sample.stages() {
                let cheaper = |last: &usize| sample.mean_cost(stage) < sample.mean_cost(*last);
                let falls = search.rising_cost_only && all[shorter].last().is_some_and(cheaper);
                if !falls && !all[shorter].contains(&stage) {
                    let longer = all[shorter].iter().copied().chain([stage]).collect();
                    all.push(longer);
                }
            }
        }
        start = end;
    }
    all.remove(0);
    all
}

/// What no thresholds of the chain can go below: every row at its best, or everything stopping at the first stage.
fn lower_bound(chain: &Chain<'_>, objective: &Objective, options: &TuneOptions) -> f64 {
    match *objective {
        Objective::Weighted { lambda_cost, lambda_abstain } => {
            let weights = Weights { error: 1.0, abstain: lambda_abstain, cost: lambda_cost };
            let bound = Problem::new(chain, options.labels, options.abstention, weights).bound();
            bound / chain.rows() as f64
        }
        Objective::CostUnderQualityFloor { .. } => chain.stages[0].mean_cost,
    }
}
