//! Queries that every model of a cascade answered: what the verifier says of each answer, what it is worth, what it
//! cost.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use corpus::{Answer, Example};
use policy::cascade::{CascadeSample, MOST_STAGES, StageRows};
use types::{ModelName, SuccessProbability};

use crate::prices::Prices;
use crate::verifier::Answers;

/// Bytes of text to a token of the reference tokenizer, where only text is known: about right for English.
pub const BYTES_PER_TOKEN: f64 = 4.0;

/// What calls cost.
#[derive(Debug, Clone, Copy)]
pub struct Costs<'a> {
    /// Prices by token, where answers do not carry their cost.
    pub prices: Option<&'a Prices>,
    /// Judging one answer.
    pub verifier_usd: f64,
}

impl Costs<'_> {
    fn of(&self, model: &ModelName, example: &Example, answer: &Answer) -> Result<f64> {
        let call = match (answer.cost_usd, self.prices) {
            (Some(cost), _) => cost,
            (None, Some(prices)) => {
                let tokens = |bytes: usize| bytes as f64 / BYTES_PER_TOKEN;
                prices.answer_usd(model, tokens(example.query.byte_len()), tokens(answer.text.len()))?
            }
            (None, None) => {
                anyhow::bail!("{model}: answers carry no cost_usd: give the models' prices with --prices")
            }
        };
        Ok(call + self.verifier_usd)
    }
}

/// The rows of a cascade.
#[derive(Debug, Clone)]
pub struct CascadeRows {
    /// The models, cheapest first.
    pub models: Vec<ModelName>,
    /// One entry a model.
    pub stages: Vec<StageRows>,
    /// Which example each row is.
    pub examples: Vec<usize>,
    /// The group of each row.
    pub groups: Vec<String>,
    /// Mean seconds of a call by model, where it is known.
    pub latency_s: Vec<Option<f64>>,
    /// Mean cost of a call by model, with that of judging its answer.
    pub cost_usd: Vec<f64>,
}

impl CascadeRows {
    /// Takes the queries that every model answered. `probabilities` are by row of `answers`.
    ///
    /// # Errors
    /// When a model never answered, no query was answered by all, or a cost is not known.
    pub fn new(
        examples: &[Example],
        answers: &Answers,
        probabilities: &[SuccessProbability],
        models: &[ModelName],
        costs: &Costs<'_>,
    ) -> Result<Self> {
        ensure!((1..=MOST_STAGES).contains(&models.len()), "expected 1 to {MOST_STAGES} models");
        let mut by_query: BTreeMap<usize, Vec<Option<usize>>> = BTreeMap::new();
        for (i, row) in answers.rows.iter().enumerate() {
            let Some(stage) = models.iter().position(|model| *model == answers.models[row.model]) else {
                continue;
            };
            by_query.entry(row.example).or_insert_with(|| vec![None; models.len()])[stage] = Some(i);
        }
        let whole = by_query.into_iter().filter_map(|(example, rows)| {
            let rows: Option<Vec<usize>> = rows.into_iter().collect();
            Some((example, rows?))
        });
        let empty = || StageRows { probability: Vec::new(), quality: Vec::new(), cost: Vec::new() };
        let mut found = Self {
            models: models.to_vec(),
            stages: models.iter().map(|_| empty()).collect(),
            examples: Vec::new(),
            groups: Vec::new(),
            latency_s: Vec::new(),
            cost_usd: Vec::new(),
        };
        let mut seconds = vec![(0.0, 0usize); models.len()];
        for (place, rows) in whole {
            let example = &examples[place];
            found.examples.push(place);
            found.groups.push(example.group.clone().unwrap_or_else(|| example.id.clone()));
            for ((stage, model), row) in found.stages.iter_mut().zip(models).zip(rows) {
                let answer = example.evidence.answers.get(model).context("an answer is gone")?;
                stage.probability.push(probabilities[row]);
                stage.quality.push(answers.rows[row].quality);
                stage.cost.push(costs.of(model, example, answer)?);
            }
            for (seconds, model) in seconds.iter_mut().zip(models) {
                let known = example.evidence.answers.get(model).and_then(|answer| answer.latency_s);
                *seconds = known.map_or(*seconds, |s| (seconds.0 + s, seconds.1 + 1));
            }
        }
        let n = found.groups.len();
        ensure!(n > 0, "no query was answered by every one of the models");
        found.latency_s = seconds.iter().map(|(sum, n)| (*n > 0).then(|| sum / *n as f64)).collect();
        for (latency, model) in found.latency_s.iter_mut().zip(models) {
            let priced = costs.prices.and_then(|prices| prices.latency_s(model).ok().flatten());
            *latency = latency.or(priced);
        }
        found.cost_usd = found.stages.iter().map(|stage| stage.cost.iter().sum::<f64>() / n as f64).collect();
        Ok(found.cheapest_first())
    }

    fn cheapest_first(self) -> Self {
        let mut order: Vec<usize> = (0..self.models.len()).collect();
        order.sort_by(|a, b| self.cost_usd[*a].total_cmp(&self.cost_usd[*b]));
        Self {
            models: order.iter().map(|i| self.models[*i].clone()).collect(),
            stages: order.iter().map(|i| self.stages[*i].clone()).collect(),
            latency_s: order.iter().map(|i| self.latency_s[*i]).collect(),
            cost_usd: order.iter().map(|i| self.cost_usd[*i]).collect(),
            examples: self.examples,
            groups: self.groups,
        }
    }

    /// Number of queries.
    #[expect(clippy::len_without_is_empty, reason = "rows are never empty")]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Mean cost of the dearest model's calls.
    pub fn dearest_usd(&self) -> f64 {
        self.cost_usd.last().copied().unwrap_or_default()
    }

    /// Some rows as a sample.
    ///
    /// # Errors
    /// When there are none.
    pub fn sample(&self, rows: &[usize]) -> Result<CascadeSample> {
        let part = |stage: &StageRows| StageRows {
            probability: rows.iter().map(|row| stage.probability[*row]).collect(),
            quality: rows.iter().map(|row| stage.quality[*row]).collect(),
            cost: rows.iter().map(|row| stage.cost[*row]).collect(),
        };
        Ok(CascadeSample::new(self.stages.iter().map(part).collect())?)
    }

    /// Rows by fold; groups never cross.
    pub fn folds(&self, folds: usize, seed: u64) -> Vec<Vec<usize>> {
        let mut found = vec![Vec::new(); folds.max(1)];
        for (row, group) in self.groups.iter().enumerate() {
            let at = corpus::place("cascade", seed, group) * found.len() as f64;
            let last = found.len() - 1;
            found[(at as usize).min(last)].push(row);
        }
        found.retain(|fold| !fold.is_empty());
        found
    }
}
