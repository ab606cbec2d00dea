//! From labelled rows and an objective to an operating point: select, measure, certify, record.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use artifact::{CertificateRecord, Interval, OperatingPoint, PairCalibrator};
use corpus::Example;
use evaluation::Outcomes;
use evaluation::bootstrap::percentile_intervals;
use policy::{
    Certificate, Certified, Objective, RandomisedThreshold, Risk, Selection, goes_strong,
    least_labels_for_certificate, select,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use types::{ModelPair, WinProbability};

use crate::accuracy_curve::accuracy_curve;
use crate::calibrate::pair_scores;
use crate::prices::PairCost;
use crate::tiers::Tiers;

const RESAMPLES: usize = 1_000;
const LEVEL: f64 = 0.95;

/// Rows of one pair with everything a threshold is chosen by.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// Calibrated win probabilities.
    pub probabilities: Vec<WinProbability>,
    /// Scores of weak.
    pub weak: Vec<f64>,
    /// Scores of strong.
    pub strong: Vec<f64>,
    /// Which rows belong together.
    pub groups: Vec<String>,
    /// Tags of each row.
    pub slices: Vec<Vec<String>>,
    /// Which example each row is.
    pub examples: Vec<usize>,
}

impl Rows {
    /// Scores and calibrates the rows that say something about the pair, on every core.
    pub fn new(tiers: Tiers<'_>, calibrator: &PairCalibrator, examples: &[Example], rows: &[usize]) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let size = rows.len().div_ceil(cores).max(1);
        let mut found = Self::default();
        std::thread::scope(|scope| {
            let score = |part| {
                scope.spawn(move || {
                    let score = || Self::score(tiers, calibrator, examples, part);
                    if tiers.deep.is_some() { encoder::on_this_thread(score) } else { score() }
                })
            };
            let parts: Vec<_> = rows.chunks(size).map(score).collect();
            for part in parts {
                match part.join() {
                    Ok(part) => found.extend(part),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        found
    }

    fn score(tiers: Tiers<'_>, calibrator: &PairCalibrator, examples: &[Example], rows: &[usize]) -> Self {
        let mut scratch = tiers.scratch();
        let mut found = Self::default();
        for row in rows {
            let example = &examples[*row];
            let Some((weak, strong)) = pair_scores(example, &calibrator.pair) else { continue };
            let Some(tiered) = tiers.read(example, calibrator, &mut scratch) else { continue };
            found.push(tiered.held, *row, example, (weak, strong));
        }
        found
    }

    /// Rows whose probabilities are known, such as those of a cross-fit.
    pub fn known(
        pair: &ModelPair,
        examples: &[Example],
        rows: &[usize],
        probabilities: &[WinProbability],
    ) -> Self {
        let mut found = Self::default();
        for (row, probability) in rows.iter().zip(probabilities) {
            let example = &examples[*row];
            if let Some(quality) = pair_scores(example, pair) {
                found.push(*probability, *row, example, quality);
            }
        }
        found
    }

    fn push(
        &mut self,
        probability: WinProbability,
        row: usize,
        example: &Example,
        (weak, strong): (f64, f64),
    ) {
        self.probabilities.push(probability);
        self.weak.push(weak);
        self.strong.push(strong);
        self.groups.push(example.group.clone().unwrap_or_else(|| example.id.clone()));
        self.slices.push(example.slices.clone());
        self.examples.push(row);
    }

    fn extend(&mut self, more: Self) {
        self.probabilities.extend(more.probabilities);
        self.weak.extend(more.weak);
        self.strong.extend(more.strong);
        self.groups.extend(more.groups);
        self.slices.extend(more.slices);
        self.examples.extend(more.examples);
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.probabilities.len()
    }

    /// Whether no row says anything about the pair.
    pub fn is_empty(&self) -> bool {
        self.probabilities.is_empty()
    }

    /// Selects a threshold.
    ///
    /// # Errors
    /// When there is no row, a parameter is out of its range, prices are needed and missing, or no
    /// threshold meets the objective.
    pub fn select(&self, objective: &Objective, cost: Option<PairCost>) -> Result<Selection> {
        let costs = cost.map(|c| (vec![c.weak_usd; self.len()], vec![c.strong_usd; self.len()]));
        let costs = costs.as_ref().map(|(weak, strong)| (weak.as_slice(), strong.as_slice()));
        let outcomes = Outcomes { weak: &self.weak, strong: &self.strong, costs };
        Ok(select(objective, &self.probabilities, &outcomes)?)
    }

    /// How likely each row goes strong, in [0, 1]: the draw of a randomised threshold is averaged out.
    pub fn sent(&self, threshold: &RandomisedThreshold) -> Vec<f64> {
        let low = threshold.probability_of_low();
        let of = |p: &WinProbability| {
            let goes = |at| f64::from(u8::from(goes_strong(*p, at)));
            low * goes(threshold.low()) + (1.0 - low) * goes(threshold.high())
        };
        self.probabilities.iter().map(of).collect()
    }

    /// What a threshold gives on these rows, with bootstrap intervals by group: strong-call rate,
    /// cheap-and-wrong rate, quality, the share of strong's quality that is retained, and, with prices,
    /// the fraction of strong-only cost.
    ///
    /// # Errors
    /// When there are fewer than two groups, or strong scores nothing at all.
    pub fn measure(
        &self,
        threshold: &RandomisedThreshold,
        cost: Option<PairCost>,
        seed: u64,
    ) -> Result<BTreeMap<String, Interval>> {
        let sent = self.sent(threshold);
        let figures = |rows: &[usize]| {
            let mean =
                |of: &dyn Fn(usize) -> f64| rows.iter().map(|r| of(*r)).sum::<f64>() / rows.len() as f64;
            let calls = mean(&|r| sent[r]);
            let wrong = mean(&|r| (1.0 - sent[r]) * f64::from(u8::from(self.strong[r] > self.weak[r])));
            let quality = mean(&|r| sent[r] * self.strong[r] + (1.0 - sent[r]) * self.weak[r]);
            let strong = mean(&|r| self.strong[r]);
            let retained = (strong > 0.0).then(|| quality / strong);
            let fraction = cost
                .filter(|c| c.strong_usd > 0.0)
                .map(|c| (calls * c.strong_usd + (1.0 - calls) * c.weak_usd) / c.strong_usd);
            // Without prices the resamples still need a number; it is dropped below.
            [Some(calls), Some(wrong), Some(quality), retained, fraction.or(Some(0.0))]
        };
        let all: Vec<usize> = (0..self.len()).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let intervals = percentile_intervals(&self.groups, figures, RESAMPLES, LEVEL, &mut rng)
            .context("measuring the threshold")?;
        let names =
            ["strong_call_rate", "cheap_and_wrong_rate", "quality", "quality_retained", "cost_fraction"];
        let mut measured = BTreeMap::new();
        for ((name, value), interval) in names.into_iter().zip(figures(&all)).zip(intervals) {
            if name == "cost_fraction" && cost.is_none() {
                continue;
            }
            let value = value.with_context(|| format!("{name} is undefined: strong scores nothing"))?;
            let (lower, upper) = (interval.lower, interval.upper);
            measured.insert(name.to_owned(), Interval { value, lower, upper });
        }
        Ok(measured)
    }

    /// Which slices of high stakes a threshold may decide: those with a certificate of their own, of the same risk
    /// among the rows of the slice, that reaches up to the threshold, each with its share of delta (Bonferroni
    /// over the slices), and with as many labelled answers of weak as could refute the risk without a loss
    /// (methods section 2.4). A fixed sequence certifies every threshold below its last at once, so it does not
    /// matter that this one was selected on the same rows.
    ///
    /// # Errors
    /// When a figure is undefined, which rows and certificates that were made exclude.
    pub fn certify_slices(
        &self,
        high_stakes: &[String],
        threshold: &RandomisedThreshold,
        wanted: &Certificate,
    ) -> Result<BTreeMap<String, CertificateRecord>> {
        let own = Certificate { delta: wanted.delta / high_stakes.len().max(1) as f64, ..*wanted };
        let mut certified = BTreeMap::new();
        for slice in high_stakes {
            let of: Vec<usize> = (0..self.len()).filter(|r| self.slices[*r].contains(slice)).collect();
            let kept = of.iter().filter(|r| !goes_strong(self.probabilities[**r], threshold.high())).count();
            if kept < least_labels_for_certificate(own.alpha, own.delta) {
                continue;
            }
            let pick = |column: &[f64]| of.iter().map(|r| column[*r]).collect::<Vec<_>>();
            let (weak, strong) = (pick(&self.weak), pick(&self.strong));
            let outcomes = Outcomes { weak: &weak, strong: &strong, costs: None };
            let probabilities: Vec<WinProbability> = of.iter().map(|r| self.probabilities[*r]).collect();
            let found = select(&Objective::Certificate(own), &probabilities, &outcomes)?.certified;
            if let Some(found) = found.filter(|found| found.threshold >= threshold.high()) {
                certified.insert(slice.clone(), certificate_record(&own, &found));
            }
        }
        Ok(certified)
    }
}

/// What an operating point is made from, beside its rows.
#[derive(Debug, Clone)]
pub struct Origin<'a> {
    /// Fingerprint of the data.
    pub data: String,
    /// Which part of them the rows are.
    pub split: String,
    /// Slices of high stakes.
    pub high_stakes: &'a [String],
    /// Effective prices.
    pub cost: Option<PairCost>,
    /// Seed of the bootstrap.
    pub seed: u64,
}

/// Selects, measures and certifies.
///
/// # Errors
/// See [`Rows::select`] and [`Rows::measure`].
pub fn operating_point(rows: &Rows, objective: &Objective, origin: &Origin<'_>) -> Result<OperatingPoint> {
    let selection = rows.select(objective, origin.cost)?;
    let certified_slices = match objective {
        Objective::Certificate(wanted) if selection.certified.is_some() => {
            rows.certify_slices(origin.high_stakes, &selection.threshold, wanted)?
        }
        _ => BTreeMap::new(),
    };
    let certificate = match (objective, selection.certified) {
        (Objective::Certificate(wanted), Some(certified)) => Some(certificate_record(wanted, &certified)),
        _ => None,
    };
    Ok(OperatingPoint {
        low: selection.threshold.low().get(),
        high: selection.threshold.high().get(),
        probability_of_low: selection.threshold.probability_of_low(),
        objective: objective_in_words(objective),
        data: origin.data.clone(),
        split: origin.split.clone(),
        rows: rows.len(),
        created: crate::now(),
        measured: rows.measure(&selection.threshold, origin.cost, origin.seed)?,
        certificate,
        labels_needed: selection.labels_needed.map(|all| all.saturating_sub(rows.len())),
        certified_slices,
        accuracy_curve: match objective {
            Objective::ErrorBudget(_) => accuracy_curve(rows, origin.seed)?,
            _ => Vec::new(),
        },
        bound_to: String::new(),
    })
}

fn certificate_record(wanted: &Certificate, certified: &Certified) -> CertificateRecord {
    CertificateRecord {
        risk: risk_name(wanted.risk).to_owned(),
        alpha: wanted.alpha,
        delta: wanted.delta,
        tested: certified.tested,
        loss: certified.loss,
        p_value: certified.p_value,
        upper_bound: certified.upper_bound,
    }
}

fn risk_name(risk: Risk) -> &'static str {
    match risk {
        Risk::CheapAndWrong => "cheap-and-wrong",
        Risk::WrongGivenCheap => "wrong-given-cheap",
        Risk::GradedLoss => "graded-loss",
    }
}

/// How an operating point for a strong-call rate begins to say so.
const STRONG_CALL_RATE: &str = "strong-call-rate ";

/// The rate of an operating point that was selected for a strong-call rate.
pub fn strong_call_rate(objective: &str) -> Option<f64> {
    objective.strip_prefix(STRONG_CALL_RATE)?.parse().ok()
}

/// How an operating point for an error budget begins to say so.
const ERROR_BUDGET: &str = "error-budget ";

/// The budget of an operating point that was selected for one.
pub fn error_budget(objective: &str) -> Option<f64> {
    objective.strip_prefix(ERROR_BUDGET)?.parse().ok()
}

fn objective_in_words(objective: &Objective) -> String {
    match objective {
        Objective::StrongCallRate(rate) => format!("{STRONG_CALL_RATE}{rate}"),
        Objective::ErrorBudget(budget) => format!("{ERROR_BUDGET}{budget}"),
        Objective::QualityFloor(floor) => format!("quality-floor {floor}"),
        Objective::CostBudget(budget) => format!("cost-budget {budget} USD per query"),
        Objective::ValuePerCorrect(value) => format!("value-per-correct {value} USD"),
        Objective::Certificate(Certificate { risk, alpha, delta }) => {
            format!("max-{} {alpha} at confidence {}", risk_name(*risk), 1.0 - delta)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    /// Rows half of which are of high stakes; strong wins with probability `risk · p³` there, `0.3 p³` elsewhere.
    fn simulate(n: usize, risk: f64, rng: &mut ChaCha8Rng) -> Rows {
        let mut rows = Rows::default();
        for i in 0..n {
            let p: f64 = rng.random();
            let stakes = rng.random_bool(0.5);
            let won = rng.random::<f64>() < if stakes { risk } else { 0.3 } * p.powi(3);
            rows.probabilities.push(WinProbability::saturating(p));
            rows.weak.push(if won { 0.0 } else { 1.0 });
            rows.strong.push(1.0);
            rows.groups.push(i.to_string());
            rows.slices.push(if stakes { vec!["stakes".to_owned()] } else { Vec::new() });
            rows.examples.push(i);
        }
        rows
    }

    #[test]
    fn the_promise_of_a_slice_holds_in_simulation() {
        let wanted = Certificate { risk: Risk::CheapAndWrong, alpha: 0.05, delta: 0.1 };
        let mut rng = ChaCha8Rng::seed_from_u64(12);
        let (mut certified, mut broken) = (0, 0);
        for _ in 0..1_000 {
            // The risk of the slice at threshold t is 0.5 t⁴ / 4: about alpha where the whole ends up.
            let rows = simulate(600, 0.5, &mut rng);
            let selection = rows.select(&Objective::Certificate(wanted), None).unwrap();
            let slices = ["stakes".to_owned()];
            let found = rows.certify_slices(&slices, &selection.threshold, &wanted).unwrap();
            let t = selection.threshold.high().get().min(1.0);
            certified += usize::from(!found.is_empty());
            broken += usize::from(!found.is_empty() && 0.5 * t.powi(4) / 4.0 > 0.05);
        }
        // Delta plus three binomial standard errors.
        assert!(broken <= 128, "{broken} of {certified} certified");
        assert!(certified > 20, "{certified}");
    }

    #[test]
    fn a_slice_without_labels_or_with_too_great_a_risk_stays_strong() {
        let wanted = Certificate { risk: Risk::CheapAndWrong, alpha: 0.05, delta: 0.1 };
        let mut rng = ChaCha8Rng::seed_from_u64(13);
        let threshold = RandomisedThreshold::never();
        let slices = ["stakes".to_owned()];
        let safe = simulate(2_000, 0.05, &mut rng);
        assert_eq!(safe.certify_slices(&slices, &threshold, &wanted).unwrap().len(), 1);
        let risky = simulate(2_000, 0.6, &mut rng);
        assert!(risky.certify_slices(&slices, &threshold, &wanted).unwrap().is_empty());
        let few = simulate(60, 0.05, &mut rng);
        assert!(few.certify_slices(&slices, &threshold, &wanted).unwrap().is_empty());
        assert!(safe.certify_slices(&["unseen".to_owned()], &threshold, &wanted).unwrap().is_empty());
    }

    #[test]
    fn objectives_are_read_back() {
        assert_eq!(strong_call_rate(&objective_in_words(&Objective::StrongCallRate(0.37))), Some(0.37));
        assert_eq!(error_budget(&objective_in_words(&Objective::ErrorBudget(0.08))), Some(0.08));
        assert_eq!(strong_call_rate("error-budget 0.08"), None);
    }
}
