//! Held-out curves: every way to find a chain and its thresholds, tuned on some folds, measured on the others, over a
//! range of what quality is worth. Differences are paired on the same resamples of groups.

use anyhow::Result;
use artifact::Interval;
use evaluation::bootstrap::shared_intervals;
use evaluation::{RoutingPoint, aiq};
use policy::cascade::{
    Abstention, CascadeSample, ChainSearch, Labels, Objective, Stop, TuneOptions, fixed_thresholds, orders,
    per_stage_thresholds, rank_chains,
};
use policy::cascade::{Outcome, StageThresholds};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::CascadeRows;
use super::copula::{MarkovCascade, Thresholds};

/// What the dearest model's call is worth in quality, along the curve (methods section 5.3 used .05 to .4).
pub const WORTHS: [f64; 7] = [0.01, 0.03, 0.06, 0.1, 0.2, 0.4, 0.8];

/// Folds of the cross-validation.
const FOLDS: usize = 5;

/// Queries tuned on in each fold at most: more move the thresholds by less than their own noise.
const MOST_TUNED_ON: usize = 1_500;

/// A threshold one would try without looking.
const NAIVE: f64 = 0.9;

/// A way to find a chain and its thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// The best single model.
    Single,
    /// Accept from 0.9 on, everywhere.
    Naive,
    /// Each stage's threshold on its own.
    PerStage,
    /// All thresholds together.
    Joint,
    /// Thresholds of the Markov copula model (Zellinger and Thomson).
    Copula,
    /// Together, giving up at the last stage.
    JointAbstainLast,
    /// Together, giving up anywhere.
    JointAbstainEarly,
}

impl Way {
    /// Every way.
    pub const ALL: [Self; 7] = [
        Self::Single,
        Self::Naive,
        Self::PerStage,
        Self::Joint,
        Self::Copula,
        Self::JointAbstainLast,
        Self::JointAbstainEarly,
    ];

    /// What it is, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Single => "best single model",
            Self::Naive => "threshold 0.9 everywhere",
            Self::PerStage => "each stage tuned alone",
            Self::Joint => "tuned together",
            Self::Copula => "Markov copula",
            Self::JointAbstainLast => "together, abstaining at the end",
            Self::JointAbstainEarly => "together, abstaining early",
        }
    }

    fn abstention(self) -> Abstention {
        match self {
            Self::JointAbstainLast => Abstention::AtTheEnd,
            Self::JointAbstainEarly => Abstention::Anywhere,
            _ => Abstention::Never,
        }
    }
}

/// How curves are made.
#[derive(Debug, Clone, Copy)]
pub struct CurvePlan {
    /// What counts as quality while tuning.
    pub labels: Labels,
    /// Quality lost by a query without an answer.
    pub lambda_abstain: f64,
    /// Which chains are looked at.
    pub search: ChainSearch,
    /// Resamples behind every interval.
    pub resamples: usize,
    /// Seed of folds and resamples.
    pub seed: u64,
}

/// A chain with thresholds.
#[derive(Debug, Clone)]
struct Rule {
    order: Vec<usize>,
    thresholds: Vec<StageThresholds>,
}

/// One point of a curve, held out.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    /// What the dearest model's call is worth in quality.
    pub worth: f64,
    /// Share of all queries answered wrongly: quality lost.
    pub error: Interval,
    /// Share of all queries without an answer.
    pub abstention: f64,
    /// Mean cost of a query.
    pub cost_usd: f64,
    /// `error + worth x cost / dearest + lambda_abstain x abstention`.
    pub loss: Interval,
}

/// The curve of one way.
#[derive(Debug, Clone, Serialize)]
pub struct Curve {
    /// Which way.
    pub way: Way,
    /// From cheap to dear.
    pub points: Vec<Point>,
    /// Area under the curve of error against cost, from the cheapest to the dearest single model, divided by that
    /// range: the mean error over all budgets. An abstention counts as `lambda_abstain`.
    pub area: Interval,
    /// Mean loss along the curve.
    pub mean_loss: Interval,
}

/// A difference between two ways on the same resamples.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// What is compared.
    pub figure: &'static str,
    /// The one.
    pub way: Way,
    /// Less the other.
    pub over: Way,
    /// Their difference.
    pub difference: Interval,
    /// The difference as a share of the other.
    pub relative: f64,
}

/// All curves of some rows.
#[derive(Debug, Clone, Serialize)]
pub struct Curves {
    /// Queries.
    pub rows: usize,
    /// The models with mean cost and error, cheapest first.
    pub models: Vec<(String, f64, f64)>,
    /// Quality lost by a query without an answer.
    pub lambda_abstain: f64,
    /// Curves.
    pub curves: Vec<Curve>,
    /// What is compared.
    pub differences: Vec<Difference>,
}

/// Where each row stops, by way and worth.
struct HeldOut {
    stops: Vec<Vec<Vec<Stop>>>,
    dearest: f64,
    singles: Vec<Vec<(f64, f64)>>,
    lambda_abstain: f64,
}

/// Tunes every way on four fifths of the rows and measures it on the rest, five times.
///
/// # Errors
/// When a sample or an interval cannot be had.
pub fn curves(rows: &CascadeRows, plan: &CurvePlan, say: &mut dyn FnMut(&str)) -> Result<Curves> {
    let folds = rows.folds(FOLDS, plan.seed);
    let nowhere = Stop { stage: 0, accepted: false, cost: 0.0, quality_lost: 0.0 };
    let mut stops = vec![vec![vec![nowhere; rows.len()]; WORTHS.len()]; Way::ALL.len()];
    for (i, fold) in folds.iter().enumerate() {
        say(&format!("tuning on other folds, fold {} of {}", i + 1, folds.len()));
        let others = folds.iter().enumerate().filter(|(j, _)| *j != i).flat_map(|(_, f)| f.iter().copied());
        let mut tuned_on: Vec<usize> = others.collect();
        thin(&mut tuned_on, MOST_TUNED_ON);
        let (tuned_on, held_out) = (rows.sample(&tuned_on)?, rows.sample(fold)?);
        let mut models = CopulaModels::default();
        for (w, worth) in WORTHS.iter().enumerate() {
            let lambda_cost = worth / rows.dearest_usd();
            for (way, stops) in Way::ALL.into_iter().zip(&mut stops) {
                let rule = find(way, &tuned_on, lambda_cost, plan, &mut models)?;
                let found = Stop::of_rows(&held_out.chain(&rule.order)?, &rule.thresholds)?;
                fold.iter().zip(found).for_each(|(row, stop)| stops[w][*row] = stop);
            }
        }
    }
    let singles = rows.stages.iter().map(|stage| {
        stage.cost.iter().zip(&stage.quality).map(|(cost, quality)| (*cost, 1.0 - quality)).collect()
    });
    let held_out = HeldOut {
        stops,
        dearest: rows.dearest_usd(),
        singles: singles.collect(),
        lambda_abstain: plan.lambda_abstain,
    };
    held_out.curves(rows, plan)
}

/// Keeps at most so many, evenly spread.
fn thin(rows: &mut Vec<usize>, most: usize) {
    let n = rows.len();
    if n > most {
        *rows = (0..most).map(|i| rows[i * n / most]).collect();
    }
}

/// The chain and thresholds that a way finds on a sample.
fn find(
    way: Way,
    sample: &CascadeSample,
    lambda_cost: f64,
    plan: &CurvePlan,
    models: &mut CopulaModels,
) -> Result<Rule> {
    let lambda_abstain = plan.lambda_abstain;
    let objective = Objective::Weighted { lambda_cost, lambda_abstain };
    let options = TuneOptions { labels: plan.labels, abstention: way.abstention() };
    let search = ChainSearch { keep: 1, ..plan.search };
    let loss = |outcome: &Outcome| outcome.loss(lambda_cost, lambda_abstain);
    let best = |rule_of: &mut dyn FnMut(&[usize]) -> Result<Vec<StageThresholds>>| -> Result<Rule> {
        let mut best: Option<(f64, Rule)> = None;
        for order in orders(sample, &search) {
            let thresholds = rule_of(&order)?;
            let found = loss(&Outcome::measure(&sample.chain(&order)?, &thresholds)?);
            if best.as_ref().is_none_or(|(least, _)| found < *least) {
                best = Some((found, Rule { order, thresholds }));
            }
        }
        best.map(|(_, rule)| rule).ok_or_else(|| anyhow::anyhow!("no chain"))
    };
    match way {
        Way::Single => {
            let search = ChainSearch { longest: 1, ..search };
            let ranked = rank_chains(sample, &objective, &options, &search)?;
            first(ranked)
        }
        Way::Joint | Way::JointAbstainLast | Way::JointAbstainEarly => {
            first(rank_chains(sample, &objective, &options, &search)?)
        }
        Way::Naive => best(&mut |order| Ok(fixed_thresholds(order.len(), NAIVE)?)),
        Way::PerStage => best(&mut |order| {
            Ok(per_stage_thresholds(&sample.chain(order)?, lambda_cost, lambda_abstain, &options)?)
        }),
        Way::Copula => models.best(sample, &search, lambda_cost),
    }
}

fn first(ranked: Vec<policy::cascade::RankedChain>) -> Result<Rule> {
    let best = ranked.into_iter().next().ok_or_else(|| anyhow::anyhow!("no chain"))?;
    Ok(Rule { order: best.order, thresholds: best.tuned.thresholds })
}

/// The copula model of every chain, fitted once for all worths.
#[derive(Default)]
struct CopulaModels(Vec<(Vec<usize>, MarkovCascade)>);

impl CopulaModels {
    fn best(&mut self, sample: &CascadeSample, search: &ChainSearch, lambda_cost: f64) -> Result<Rule> {
        if self.0.is_empty() {
            for order in orders(sample, search) {
                let p = |stage: &usize| sample.probabilities(*stage).iter().map(|p| p.get()).collect();
                let confidences: Vec<Vec<f64>> = order.iter().map(p).collect();
                let costs: Vec<f64> = order.iter().filter_map(|stage| sample.mean_cost(*stage)).collect();
                self.0.push((order, MarkovCascade::fit(&confidences, &costs)?));
            }
        }
        let mut best: Option<(f64, &[usize], Thresholds)> = None;
        for (order, model) in &self.0 {
            let found = model.optimise(lambda_cost)?;
            if best.as_ref().is_none_or(|(least, ..)| found.loss < *least) {
                best = Some((found.loss, order, found.thresholds));
            }
        }
        let (_, order, found) = best.ok_or_else(|| anyhow::anyhow!("no chain"))?;
        // The model accepts above a threshold, a stage at and above it.
        let above = |t: &f64| StageThresholds::new(0.0, t.max(0.0).next_up().min(1.0 + f64::EPSILON));
        let mut thresholds = found.accept_above.iter().map(above).collect::<Result<Vec<_>, _>>()?;
        thresholds.push(StageThresholds::ACCEPT_ALL);
        Ok(Rule { order: order.to_vec(), thresholds })
    }
}

/// What a way gives at a worth, on some rows.
#[derive(Clone, Copy)]
struct Means {
    error: f64,
    abstention: f64,
    cost: f64,
}

impl HeldOut {
    fn means(&self, way: usize, worth: usize, rows: &[usize]) -> Means {
        let n = rows.len() as f64;
        let stops = || rows.iter().map(|row| &self.stops[way][worth][*row]);
        Means {
            error: stops().map(|stop| stop.quality_lost).sum::<f64>() / n,
            abstention: stops().filter(|stop| !stop.accepted).count() as f64 / n,
            cost: stops().map(|stop| stop.cost).sum::<f64>() / n / self.dearest,
        }
    }

    fn loss(&self, means: &Means, worth: usize) -> f64 {
        means.error + WORTHS[worth] * means.cost + self.lambda_abstain * means.abstention
    }

    /// One less the mean quality over all budgets, between the single models.
    fn area(&self, way: usize, rows: &[usize]) -> Option<f64> {
        let point = |cost: f64, quality: f64| RoutingPoint {
            threshold: 0.0,
            strong_call_rate: 0.0,
            quality,
            cheap_and_wrong_rate: 0.0,
            cost,
        };
        let of_way = (0..WORTHS.len()).map(|worth| {
            let Means { error, abstention, cost } = self.means(way, worth, rows);
            // Beyond the dearest model's price nothing is looked at.
            point(cost.min(1.0), 1.0 - error - self.lambda_abstain * abstention)
        });
        let n = rows.len() as f64;
        let of_single = self.singles.iter().map(|single| {
            let (cost, error) =
                rows.iter().fold((0.0, 0.0), |(c, e), row| (c + single[*row].0, e + single[*row].1));
            point(cost / n / self.dearest, 1.0 - error / n)
        });
        let points: Vec<RoutingPoint> = of_way.chain(of_single).collect();
        aiq(&points).map(|quality| 1.0 - quality)
    }

    /// For each way: area and mean loss, then error and loss at each worth.
    fn statistics(&self, rows: &[usize]) -> Vec<Option<f64>> {
        let mut values = Vec::new();
        for way in 0..Way::ALL.len() {
            let means: Vec<Means> = (0..WORTHS.len()).map(|worth| self.means(way, worth, rows)).collect();
            let losses: Vec<f64> = means.iter().enumerate().map(|(w, means)| self.loss(means, w)).collect();
            values.push(self.area(way, rows));
            values.push(Some(losses.iter().sum::<f64>() / losses.len() as f64));
            values
                .extend(means.iter().zip(&losses).flat_map(|(means, loss)| [Some(means.error), Some(*loss)]));
        }
        let of = |way: Way, figure: usize| {
            values[way as usize * (2 + 2 * WORTHS.len()) + figure].unwrap_or(f64::NAN)
        };
        let mean = |way: Way, pick: fn(&Means) -> f64| {
            let all = (0..WORTHS.len()).map(|worth| pick(&self.means(way as usize, worth, rows)));
            all.sum::<f64>() / WORTHS.len() as f64
        };
        let mut compared = Vec::new();
        for (figure, way, over) in COMPARED {
            let (one, other) = match figure {
                "area" => (of(way, 0), of(over, 0)),
                "loss" => (of(way, 1), of(over, 1)),
                "error" => (mean(way, |m| m.error), mean(over, |m| m.error)),
                "cost" => (mean(way, |m| m.cost), mean(over, |m| m.cost)),
                _ => (mean(way, |m| m.abstention), mean(over, |m| m.abstention)),
            };
            compared.extend([Some(one - other), Some((one - other) / other)]);
        }
        values.extend(compared);
        values
    }

    fn curves(&self, rows: &CascadeRows, plan: &CurvePlan) -> Result<Curves> {
        let all: Vec<usize> = (0..rows.len()).collect();
        let values = self.statistics(&all);
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        let intervals =
            shared_intervals(&rows.groups, |rows| self.statistics(rows), plan.resamples, 0.95, &mut rng)?;
        let mut found = values.into_iter().zip(intervals).map(|(value, interval)| -> Interval {
            let value = value.unwrap_or(f64::NAN);
            // A share of nothing has no interval.
            interval.map_or(Interval { value, lower: f64::NAN, upper: f64::NAN }, |found| Interval {
                value,
                lower: found.lower,
                upper: found.upper,
            })
        });
        let mut next = || found.next().ok_or_else(|| anyhow::anyhow!("a figure is missing"));
        let mut curves = Vec::new();
        for (i, way) in Way::ALL.into_iter().enumerate() {
            let (area, mean_loss) = (next()?, next()?);
            let mut points = Vec::new();
            for (w, worth) in WORTHS.into_iter().enumerate() {
                let (means, error, loss) = (self.means(i, w, &all), next()?, next()?);
                let cost_usd = means.cost * self.dearest;
                points.push(Point { worth, error, abstention: means.abstention, cost_usd, loss });
            }
            curves.push(Curve { way, points, area, mean_loss });
        }
        let mut differences = Vec::new();
        for (figure, way, over) in COMPARED {
            let (difference, relative) = (next()?, next()?.value);
            differences.push(Difference { figure, way, over, difference, relative });
        }
        let error =
            |stage: &policy::cascade::StageRows| 1.0 - stage.quality.iter().sum::<f64>() / rows.len() as f64;
        let models = rows.models.iter().zip(&rows.cost_usd).zip(&rows.stages);
        Ok(Curves {
            rows: rows.len(),
            models: models
                .map(|((model, cost), stage)| (model.as_str().to_owned(), *cost, error(stage)))
                .collect(),
            lambda_abstain: self.lambda_abstain,
            curves,
            differences,
        })
    }
}

/// What is compared with what.
const COMPARED: [(&str, Way, Way); 9] = [
    ("area", Way::Joint, Way::Single),
    ("area", Way::Joint, Way::Naive),
    ("area", Way::Joint, Way::PerStage),
    ("area", Way::Joint, Way::Copula),
    ("loss", Way::Joint, Way::Copula),
    ("loss", Way::JointAbstainEarly, Way::JointAbstainLast),
    ("error", Way::JointAbstainEarly, Way::JointAbstainLast),
    ("cost", Way::JointAbstainEarly, Way::JointAbstainLast),
    ("abstention", Way::JointAbstainEarly, Way::JointAbstainLast),
];
