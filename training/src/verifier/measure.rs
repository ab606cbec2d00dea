//! What a verifier is worth beside what is known without it: figures of held-out answers, with intervals from resamples of
//! groups, differences on the same resamples.

use std::collections::BTreeMap;

use anyhow::Result;
use artifact::{Interval, ModelMetrics, VerifierMetrics};
use corpus::Example;
use evaluation::bootstrap::shared_intervals;
use evaluation::{auroc, brier, ece_equal_mass, log_loss};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use types::SuccessProbability;

use super::answers::Answers;
use super::fit::View;

/// Bins of equal mass of the calibration error.
pub const BINS: usize = 15;

const LEVEL: f64 = 0.95;

/// Names of the figures, in the order they are computed.
const FIGURES: [&str; 4] = ["auroc", "brier", "log_loss", "ece"];

/// Held-out probabilities of every view, for the same answers.
pub type Scored = Vec<(View, Vec<SuccessProbability>)>;

/// Answers, what came of them and what each view said.
struct Rows<'a> {
    acceptable: &'a [bool],
    scored: Vec<(View, Vec<f64>)>,
    groups: Vec<&'a str>,
    rows: Vec<usize>,
}

/// Measures every view on the same answers; the first is the verifier.
///
/// # Errors
/// When all answers have one outcome, or all are of one group.
pub fn measure(
    examples: &[Example],
    answers: &Answers,
    acceptable: &[bool],
    scored: &Scored,
    resamples: usize,
    seed: u64,
) -> Result<VerifierMetrics> {
    let group = |row: usize| {
        let example = &examples[answers.rows[row].example];
        example.group.as_deref().unwrap_or(&example.id)
    };
    let values = |(view, p): &(View, Vec<SuccessProbability>)| (*view, p.iter().map(|p| p.get()).collect());
    let mut all = Rows {
        acceptable,
        scored: scored.iter().map(values).collect(),
        groups: (0..acceptable.len()).map(group).collect(),
        rows: (0..acceptable.len()).collect(),
    };
    let mut metrics = all.figures(resamples, seed)?;
    for (column, model) in answers.models.iter().enumerate() {
        all.rows = (0..acceptable.len()).filter(|row| answers.rows[*row].model == column).collect();
        // A model that is always right, or always wrong, has no ranking.
        let Ok(mut of_model) = all.figures(resamples, seed) else { continue };
        let ece = of_model.scorers.get_mut(View::Whole.as_str()).and_then(|figures| figures.remove("ece"));
        let Some(ece) = ece else { continue };
        let ranking = |(name, mut figures): (String, BTreeMap<String, Interval>)| {
            figures.remove("auroc").map(|auroc| (name, auroc))
        };
        let auroc = of_model.scorers.into_iter().filter_map(ranking).collect();
        let (answers, base_rate) = (of_model.answers, of_model.base_rate);
        metrics.models.insert(model.as_str().to_owned(), ModelMetrics { answers, base_rate, auroc, ece });
    }
    Ok(metrics)
}

impl Rows<'_> {
    fn figures(&self, resamples: usize, seed: u64) -> Result<VerifierMetrics> {
        let groups: Vec<&str> = self.rows.iter().map(|row| self.groups[*row]).collect();
        let statistics = |picked: &[usize]| {
            let rows: Vec<usize> = picked.iter().map(|i| self.rows[*i]).collect();
            self.values(&rows)
        };
        let whole: Vec<usize> = (0..self.rows.len()).collect();
        let values = statistics(&whole);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let intervals = shared_intervals(&groups, statistics, resamples, LEVEL, &mut rng)?;
        let mut found = values.into_iter().zip(intervals);
        let mut next = |centred: bool| -> Result<Interval> {
            let (value, interval) = found.next().ok_or_else(|| anyhow::anyhow!("a figure is missing"))?;
            let value = value.ok_or_else(|| anyhow::anyhow!("all answers have one outcome"))?;
            let interval = interval?;
            let interval = if centred { interval.centred_on(value) } else { interval };
            Ok(Interval { value, lower: interval.lower, upper: interval.upper })
        };
        let n = self.rows.len();
        let acceptable = self.rows.iter().filter(|row| self.acceptable[**row]).count();
        let mut metrics = VerifierMetrics {
            answers: n,
            base_rate: acceptable as f64 / n as f64,
            ..VerifierMetrics::default()
        };
        for (view, _) in &self.scored {
            let figures = FIGURES.map(|name| next(name == "ece").map(|interval| (name.to_owned(), interval)));
            let figures = figures.into_iter().collect::<Result<_>>()?;
            metrics.scorers.insert(view.as_str().to_owned(), figures);
        }
        for (view, _) in &self.scored[1..] {
            metrics.auroc_gain.insert(view.as_str().to_owned(), next(false)?);
        }
        Ok(metrics)
    }

    /// The figures of each view, then the gains in AUROC of the first over the others.
    fn values(&self, rows: &[usize]) -> Vec<Option<f64>> {
        let y: Vec<bool> = rows.iter().map(|row| self.acceptable[*row]).collect();
        let mut values = Vec::new();
        let mut rankings = Vec::new();
        for (_, p) in &self.scored {
            let p: Vec<f64> = rows.iter().map(|row| p[*row]).collect();
            let ranking = auroc(&p, &y).ok();
            rankings.push(ranking);
            values.extend([
                ranking,
                brier(&p, &y).ok(),
                log_loss(&p, &y).ok(),
                ece_equal_mass(&p, &y, BINS).ok(),
            ]);
        }
        let own = rankings.first().copied().flatten();
        values.extend(rankings.iter().skip(1).map(|other| Some(own? - (*other)?)));
        values
    }
}
