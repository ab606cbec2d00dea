//! The rows a cascade is tuned and judged on: what every stage would have given for every query, whether it would
//! have been asked or not. How rows are measured lives elsewhere.

use evaluation::EvaluationError;
use types::SuccessProbability;

use crate::SelectError;
use crate::error::count;

/// The most stages of a chain.
pub const MOST_STAGES: usize = 8;

/// One stage's answers to all queries, one entry a query. A stage's probabilities do not depend on what was asked
/// before it, so every order of the stages is a chain of the same sample.
#[derive(Debug, Clone, PartialEq)]
pub struct StageRows {
    /// Calibrated success probability of the answer.
    pub probability: Vec<SuccessProbability>,
    /// How good the answer is, in [0, 1]: a label (0 or 1) or a graded score.
    pub quality: Vec<f64>,
    /// What the call and its verifier cost, at least 0; any unit, the same in all stages.
    pub cost: Vec<f64>,
}

/// A stage's rows and their order: sorted once, used by every chain and every sweep.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) rows: StageRows,
    /// Row numbers by rising probability.
    pub(super) rising: Vec<usize>,
    pub(super) mean_cost: f64,
}

/// Rows by stage: at least one row, 1 to [`MOST_STAGES`] stages.
#[derive(Debug, Clone)]
pub struct CascadeSample {
    rows: usize,
    stages: Vec<Column>,
}

/// Some stages of a sample in some order: a view that copies no row.
#[derive(Debug, Clone)]
pub struct Chain<'a> {
    rows: usize,
    pub(super) stages: Vec<&'a Column>,
}

impl CascadeSample {
    /// Checks the rows and sorts each stage, O(k n log n).
    ///
    /// # Errors
    /// Without stages or rows, with more than [`MOST_STAGES`] stages, with columns of different lengths, a quality
    /// outside [0, 1], or a cost that is negative or not finite.
    pub fn new(stages: Vec<StageRows>) -> Result<Self, SelectError> {
        check_stages(stages.len())?;
        let rows = stages[0].probability.len();
        if rows == 0 {
            return Err(EvaluationError::Empty.into());
        }
        let columns = stages.into_iter().enumerate().map(|(stage, column)| Column::new(stage, column, rows));
        Ok(Self { rows, stages: columns.collect::<Result<_, _>>()? })
    }

    /// How many queries.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many stages.
    pub fn stages(&self) -> usize {
        self.stages.len()
    }

    /// Mean cost of calling a stage for every query; `None`: there is no such stage.
    pub fn mean_cost(&self, stage: usize) -> Option<f64> {
        self.stages.get(stage).map(|column| column.mean_cost)
    }

    /// The success probabilities of a stage's answers; empty where there is no such stage.
    pub fn probabilities(&self, stage: usize) -> &[SuccessProbability] {
        self.stages.get(stage).map_or(&[], |column| &column.rows.probability)
    }

    /// The stages in this order, some of them left out.
    ///
    /// # Errors
    /// When a stage is not in the sample or named twice, or none is named.
    pub fn chain(&self, order: &[usize]) -> Result<Chain<'_>, SelectError> {
        let expected = "stages of the sample, each at most once";
        let refused =
            |stage: usize| SelectError::OutOfRange { field: "chain", value: stage as f64, expected };
        check_stages(order.len())?;
        let mut stages = Vec::with_capacity(order.len());
        for (position, stage) in order.iter().enumerate() {
            if order[..position].contains(stage) {
                return Err(refused(*stage));
            }
            stages.push(self.stages.get(*stage).ok_or_else(|| refused(*stage))?);
        }
        Ok(Chain { rows: self.rows, stages })
    }

    /// All stages in the order of the sample.
    pub fn whole(&self) -> Chain<'_> {
        Chain { rows: self.rows, stages: self.stages.iter().collect() }
    }
}

pub(super) fn check_stages(found: usize) -> Result<(), SelectError> {
    count("stages", found, 1..=MOST_STAGES, "1 to 8")
}

impl Column {
    fn new(stage: usize, rows: StageRows, expected: usize) -> Result<Self, SelectError> {
        let lengths = [
            ("probability", rows.probability.len()),
            ("quality", rows.quality.len()),
            ("cost", rows.cost.len()),
        ];
        for (what, found) in lengths {
            if found != expected {
                return Err(EvaluationError::LengthMismatch { what, expected, found }.into());
            }
        }
        let outside = |(row, quality): (usize, &f64)| {
            let value = *quality;
            (!(0.0..=1.0).contains(&value)).then_some(EvaluationError::OutOfRange {
                what: "quality",
                row,
                value,
            })
        };
        if let Some(error) = rows.quality.iter().enumerate().find_map(outside) {
            return Err(error.into());
        }
        let bad = |(row, cost): (usize, &f64)| {
            (!(cost.is_finite() && *cost >= 0.0)).then_some(SelectError::BadCost { stage, row, value: *cost })
        };
        if let Some(error) = rows.cost.iter().enumerate().find_map(bad) {
            return Err(error);
        }
        let mut rising: Vec<usize> = (0..expected).collect();
        rising.sort_by(|a, b| rows.probability[*a].get().total_cmp(&rows.probability[*b].get()));
        let mean_cost = rows.cost.iter().sum::<f64>() / expected as f64;
        Ok(Self { rows, rising, mean_cost })
    }
}

impl<'a> Chain<'a> {
    /// How many queries.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many stages.
    pub fn stages(&self) -> usize {
        self.stages.len()
    }

    /// Some of its stages; every number is below [`Self::stages`].
    pub(super) fn part(&self, stages: std::ops::Range<usize>) -> Chain<'a> {
        Chain { rows: self.rows, stages: self.stages[stages].to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(p: &[f64], quality: &[f64], cost: &[f64]) -> StageRows {
        let probability = p.iter().map(|p| SuccessProbability::new(*p).unwrap()).collect();
        StageRows { probability, quality: quality.to_vec(), cost: cost.to_vec() }
    }

    #[test]
    fn samples_that_are_none_are_refused() {
        let good = || rows(&[0.2, 0.1], &[0.5, 1.0], &[1.0, 2.0]);
        assert!(CascadeSample::new(vec![]).is_err());
        assert!(CascadeSample::new(vec![rows(&[], &[], &[])]).is_err());
        assert!(CascadeSample::new(vec![good(); 9]).is_err());
        for bad in [
            rows(&[0.2], &[0.5], &[1.0]),
            rows(&[0.2, 0.1], &[0.5], &[1.0, 2.0]),
            rows(&[0.2, 0.1], &[0.5, 1.1], &[1.0, 2.0]),
            rows(&[0.2, 0.1], &[0.5, f64::NAN], &[1.0, 2.0]),
        ] {
            assert!(CascadeSample::new(vec![good(), bad]).is_err());
        }
        for cost in [-1.0, f64::NAN, f64::INFINITY] {
            let found = CascadeSample::new(vec![good(), rows(&[0.2, 0.1], &[0.5, 1.0], &[1.0, cost])]);
            assert!(matches!(found, Err(SelectError::BadCost { stage: 1, row: 1, .. })));
        }
    }

    #[test]
    fn a_chain_is_some_stages_in_some_order() {
        let stage = |cost: f64| rows(&[0.2, 0.1], &[0.5, 1.0], &[cost, cost]);
        let sample = CascadeSample::new(vec![stage(1.0), stage(2.0), stage(3.0)]).unwrap();
        assert_eq!((sample.rows(), sample.stages(), sample.mean_cost(1)), (2, 3, Some(2.0)));
        let chain = sample.chain(&[2, 0]).unwrap();
        assert_eq!((chain.rows(), chain.stages()), (2, 2));
        assert_eq!(chain.stages.iter().map(|column| column.mean_cost).collect::<Vec<_>>(), [3.0, 1.0]);
        assert_eq!(chain.stages[0].rising, [1, 0]);
        for bad in [&[][..], &[0, 3], &[1, 1]] {
            assert!(sample.chain(bad).is_err(), "{bad:?}");
        }
    }
}
