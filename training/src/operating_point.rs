//! From labelled rows and an objective to an operating point: select, measure, certify, record.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use artifact::{CertificateRecord, Interval, OperatingPoint, PairCalibrator};
use classifier::Classifier;
use corpus::Example;
use evaluation::bootstrap::percentile_intervals;
use evaluation::{Outcomes, binomial_cdf, upper_bound};
use policy::{
    Certificate, Certified, Objective, RandomisedThreshold, Risk, Selection, goes_strong,
    least_labels_for_certificate, select,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use types::{Score, WinProbability};

use crate::accuracy_curve::accuracy_curve;
use crate::calibrate::pair_scores;
use crate::prices::PairCost;

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
    pub fn new(
        classifier: &Classifier,
        calibrator: &PairCalibrator,
        examples: &[Example],
        rows: &[usize],
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let size = rows.len().div_ceil(cores).max(1);
        let mut found = Self::default();
        std::thread::scope(|scope| {
            let score = |part| scope.spawn(move || Self::score(classifier, calibrator, examples, part));
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

    fn score(
        classifier: &Classifier,
        calibrator: &PairCalibrator,
        examples: &[Example],
        rows: &[usize],
    ) -> Self {
        let mut scratch = classifier.scratch();
        let mut found = Self::default();
        for row in rows {
            let example = &examples[*row];
            let Some((weak, strong)) = pair_scores(example, &calibrator.pair) else { continue };
            classifier.read(&example.query, &mut scratch);
            let Some(score) = classifier.win_score(&scratch, &calibrator.pair) else { continue };
            found.push(calibrator, *row, example, score, (weak, strong));
        }
        found
    }

    /// Calibrates rows whose scores are known, such as those of a cross-fit.
    pub fn scored(
        calibrator: &PairCalibrator,
        examples: &[Example],
        rows: &[usize],
        scores: &[Score],
    ) -> Self {
        let mut found = Self::default();
        for (row, score) in rows.iter().zip(scores) {
            let example = &examples[*row];
            if let Some(quality) = pair_scores(example, &calibrator.pair) {
                found.push(calibrator, *row, example, *score, quality);
            }
        }
        found
    }

    fn push(
        &mut self,
        calibrator: &PairCalibrator,
        row: usize,
        example: &Example,
        score: Score,
        (weak, strong): (f64, f64),
    ) {
        let offset = calibrator.slices.of(example.slices.iter().map(String::as_str));
        self.probabilities.push(calibrator.calibrator.apply(score, offset).win_probability);
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
        // How likely each row goes strong: the draw of a randomised threshold is averaged out.
        let sent: Vec<f64> = self
            .probabilities
            .iter()
            .map(|p| {
                let goes = |at| f64::from(u8::from(goes_strong(*p, at)));
                let low = threshold.probability_of_low();
                low * goes(threshold.low()) + (1.0 - low) * goes(threshold.high())
            })
            .collect();
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

    /// Tests each slice of high stakes at a threshold of known certificate: among the rows of the slice, too,
    /// the risk must be at most alpha, each with its share of delta (Bonferroni over the slices).
    ///
    /// # Errors
    /// When a figure is undefined, which rows and certificates that were made exclude.
    pub fn certify_slices(
        &self,
        high_stakes: &[String],
        threshold: &RandomisedThreshold,
        wanted: &Certificate,
    ) -> Result<BTreeMap<String, CertificateRecord>> {
        let delta = wanted.delta / high_stakes.len().max(1) as f64;
        let mut certified = BTreeMap::new();
        for slice in high_stakes {
            let of: Vec<usize> = (0..self.len()).filter(|r| self.slices[*r].contains(slice)).collect();
            let kept: Vec<usize> = of
                .iter()
                .copied()
                .filter(|r| !goes_strong(self.probabilities[*r], threshold.high()))
                .collect();
            // Labelled cheap answers are those the threshold would give: only they speak for it.
            if kept.len() < least_labels_for_certificate(wanted.alpha, delta) {
                continue;
            }
            let loss = kept.iter().filter(|r| self.strong[**r] > self.weak[**r]).count();
            let p_value = binomial_cdf(loss, kept.len(), wanted.alpha)?;
            if p_value <= delta {
                let record = CertificateRecord {
                    risk: risk_name(Risk::WrongGivenCheap).to_owned(),
                    alpha: wanted.alpha,
                    delta,
                    tested: kept.len(),
                    loss: loss as f64,
                    p_value,
                    upper_bound: upper_bound(loss, kept.len(), delta)?,
                };
                certified.insert(slice.clone(), record);
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
