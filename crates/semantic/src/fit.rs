//! From scores to odds and thresholds: what queries of known route say about a scorer's scores. Which queries those
//! are is the caller's to say; without any, the exemplars themselves are asked about, each while it is held out.

use std::sync::Arc;

use calibration::{CalibrationError, Calibrator, Method, Sample};
use types::{ProbabilityError, Score};

use crate::floor::ConformalFloor;
use crate::threshold::{Judged, by_accuracy, by_precision};
use crate::{Ask, Catalogue, Ranking, Scorer, Scratch, SemanticError};

/// Fewer rows than this say nothing of a single route: the threshold of all routes together stands for it.
const LEAST_ROWS: usize = 8;

/// Exemplars that are held out at most: more would only take longer.
const MOST_HELD_OUT: usize = 500;

/// Parts that exemplars are held out in, while there are few.
const FOLDS: usize = 10;

/// A query of known route, ranked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answered {
    /// Place of the route it belongs to; `None`: it belongs to none.
    pub label: Option<usize>,
    /// What the scorer says.
    pub ranking: Ranking,
}

impl Answered {
    /// The score of the best route and whether it is the right one; `None` where there is no best route.
    pub fn judged(&self) -> Option<Judged> {
        self.ranking.best.map(|best| Judged { score: best.score, correct: self.label == Some(best.route) })
    }
}

/// Ranks queries whose routes are known by name.
///
/// # Errors
/// When a label names no route, or a query does not fit the scorer.
pub fn answered<'a>(
    scorer: &Scorer,
    queries: impl IntoIterator<Item = (Ask<'a>, Option<&'a str>)>,
) -> Result<Vec<Answered>, SemanticError> {
    let mut scratch = Scratch::default();
    let one = |(row, (ask, route)): (usize, (Ask<'a>, Option<&'a str>))| {
        let label = route.map(|name| {
            let unknown = || SemanticError::UnknownRoute { row, route: name.to_owned() };
            scorer.catalogue().position(name).ok_or_else(unknown)
        });
        Ok(Answered { label: label.transpose()?, ranking: scorer.rank(ask, &mut scratch)? })
    };
    queries.into_iter().enumerate().map(one).collect()
}

/// Ranks the catalogue's off-topic queries. For a scorer that embeds queries itself.
///
/// # Errors
/// When the scorer does not.
pub fn off_topic(scorer: &Scorer) -> Result<Vec<Answered>, SemanticError> {
    answered(scorer, scorer.catalogue().off_topic().iter().map(|text| (Ask::Text(text), None)))
}

/// Ranks exemplars, each as if it were not in the catalogue; of more than five hundred, at most that many evenly
/// spread. Right for vectors that do not depend on the catalogue, such as an encoder's; for others see
/// [`cross_fitted`].
///
/// # Errors
/// When an exemplar does not fit the scorer, which then embeds otherwise than it did.
pub fn leave_one_out(scorer: &Scorer) -> Result<Vec<Answered>, SemanticError> {
    let mut scratch = Scratch::default();
    let every = scorer.catalogue().exemplar_count().div_ceil(MOST_HELD_OUT).max(1);
    let one = |(row, (route, text)): (usize, (usize, &str))| {
        // The exemplars are the first rows of the index, in this order.
        let ask = scorer.index().map_or(Ask::Text(text), |index| Ask::Both(text, index.row(row)));
        Ok(Answered { label: Some(route), ranking: scorer.rank_without(ask, Some(row), &mut scratch)? })
    };
    scorer.catalogue().exemplars().enumerate().step_by(every).map(one).collect()
}

/// Ranks exemplars with scorers that never saw them: `build` is called with the catalogue less a tenth of its
/// exemplars, ten times; where there are thousands, once, less five hundred evenly spread. For embeddings that are
/// fitted on the catalogue and would remember.
///
/// # Errors
/// Whatever `build` gives.
pub fn cross_fitted(
    catalogue: &Catalogue,
    build: impl Fn(Arc<Catalogue>) -> Result<Scorer, SemanticError>,
) -> Result<Vec<Answered>, SemanticError> {
    let count = catalogue.exemplar_count();
    let (folds, every) =
        if count <= FOLDS * MOST_HELD_OUT / 2 { (FOLDS, FOLDS) } else { (1, count.div_ceil(MOST_HELD_OUT)) };
    let mut rows = Vec::new();
    let mut scratch = Scratch::default();
    for fold in 0..folds {
        let scorer = build(Arc::new(catalogue.without(|place| place % every == fold)))?;
        for (route, text) in catalogue.exemplars().skip(fold).step_by(every) {
            rows.push(Answered { label: Some(route), ranking: scorer.rank(Ask::Text(text), &mut scratch)? });
        }
    }
    Ok(rows)
}

/// How thresholds are found for routes that the catalogue gives none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ThresholdRule {
    /// Not at all: every score is enough.
    Open,
    /// Where accuracy is greatest.
    Accuracy,
    /// The lowest above which matches are correct often enough; none matches where that cannot be shown.
    Precision {
        /// The share that must be correct, in (0, 1).
        precision: f64,
        /// The chance that it is not, in (0, 1).
        delta: f64,
    },
}

/// How odds and thresholds are fitted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitOptions {
    /// The rule of thresholds.
    pub thresholds: ThresholdRule,
    /// The map from score to probability.
    pub method: Method,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self { thresholds: ThresholdRule::Accuracy, method: Method::Platt }
    }
}

/// From score to the probability that the best route is the right one.
#[derive(Debug, Clone, PartialEq)]
pub enum Odds {
    /// A fitted map.
    Map(Box<Calibrator>),
    /// The smoothed share of correct rows, whatever the score: there were too few rows for a map, or all of one
    /// outcome.
    BaseRate(f64),
}

impl Odds {
    /// Fits a map, where the rows allow for one.
    ///
    /// # Errors
    /// When a score is not finite or the fit finds no optimum.
    pub fn fit(rows: &[Judged], method: Method) -> Result<Self, SemanticError> {
        let scores: Result<Vec<Score>, ProbabilityError> =
            rows.iter().map(|row| Score::new(row.score)).collect();
        let scores = scores.map_err(|_| CalibrationError::NotConverged)?;
        let correct: Vec<bool> = rows.iter().map(|row| row.correct).collect();
        match Sample::new(&scores, &correct, None) {
            Ok(sample) => Ok(Self::Map(Box::new(Calibrator::fit(&sample, method)?.calibrator))),
            Err(CalibrationError::TooFewRows { .. } | CalibrationError::SingleClass { .. }) => {
                let right = correct.iter().filter(|correct| **correct).count();
                Ok(Self::BaseRate((right + 1) as f64 / (correct.len() + 2) as f64))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The probability that a best route of this score is the right one, in [0, 1].
    pub fn probability(&self, score: f64) -> f64 {
        match (self, Score::new(score)) {
            (Self::Map(map), Ok(score)) => map.apply(score, 0.0).win_probability.get(),
            (Self::Map(_), Err(_)) => 0.0,
            (Self::BaseRate(rate), _) => *rate,
        }
    }
}

/// What turns a ranking into a match.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// From score to probability.
    pub odds: Odds,
    /// The least score of each route, in the order of the catalogue; infinite for a route that nothing may match.
    pub thresholds: Vec<f64>,
    /// What tells off-topic queries, where the catalogue wants a floor.
    pub floor: Option<ConformalFloor>,
}

impl Fitted {
    /// Fits odds and thresholds to `labelled` and the off-topic queries together, and the floor to the off-topic
    /// queries. A route's own threshold from the catalogue stands.
    ///
    /// # Errors
    /// When there are too few off-topic queries for the floor that the catalogue wants, the options are out of range,
    /// or no map can be fitted.
    pub fn new(
        catalogue: &Catalogue,
        labelled: &[Answered],
        off_topic: &[Answered],
        options: &FitOptions,
    ) -> Result<Self, SemanticError> {
        let rows: Vec<Answered> = labelled.iter().chain(off_topic).copied().collect();
        let judged: Vec<Judged> = rows.iter().filter_map(Answered::judged).collect();
        let nearest = || off_topic.iter().map(|row| row.ranking.nearest).collect();
        let floor = catalogue.settings().floor_alpha.map(|alpha| ConformalFloor::new(nearest(), alpha));
        Ok(Self {
            odds: Odds::fit(&judged, options.method)?,
            thresholds: thresholds(catalogue, &rows, options.thresholds)?,
            floor: floor.transpose()?,
        })
    }
}

fn thresholds(
    catalogue: &Catalogue,
    rows: &[Answered],
    rule: ThresholdRule,
) -> Result<Vec<f64>, SemanticError> {
    let best_is = |row: &Answered, place: usize| row.ranking.best.is_some_and(|best| best.route == place);
    let pooled = rows.iter().filter_map(Answered::judged).collect::<Vec<_>>();
    let pooled = rule.threshold(&pooled)?;
    let of_route = |(place, route): (usize, &crate::Route)| {
        if let Some(threshold) = route.threshold {
            return Ok(threshold);
        }
        let own = rows.iter().filter(|row| best_is(row, place)).filter_map(Answered::judged);
        let own: Vec<Judged> = own.collect();
        let found = if own.len() < LEAST_ROWS { None } else { rule.threshold(&own)? };
        Ok(found.or(pooled).unwrap_or(f64::INFINITY))
    };
    catalogue.routes().iter().enumerate().map(of_route).collect()
}

impl ThresholdRule {
    fn threshold(self, rows: &[Judged]) -> Result<Option<f64>, SemanticError> {
        match self {
            Self::Open => Ok(Some(0.0)),
            Self::Accuracy => Ok(Some(by_accuracy(rows))),
            Self::Precision { precision, delta } => by_precision(rows, precision, delta),
        }
    }
}

#[cfg(test)]
mod tests;
