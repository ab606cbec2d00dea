//! The decision: which route a query takes, or none, and why. Immutable; a changed catalogue gives another matcher,
//! which the caller puts in this one's place.

use std::sync::Arc;

use crate::fit::{FitOptions, Fitted, cross_fitted, leave_one_out, off_topic};
use crate::{Ask, Catalogue, Embed, Ranking, Route, Scored, Scorer, Scratch, SemanticError, StaticEmbedder};

/// Why a query takes a route or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchReason {
    /// It takes the best route.
    Matched,
    /// It is no nearer to any exemplar than off-topic queries are.
    BelowFloor,
    /// The best route's score is below its threshold.
    BelowThreshold,
    /// No route has anything in common with it that its negatives do not have more of.
    NoRoute,
}

impl MatchReason {
    /// A stable snake-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::BelowFloor => "below_floor",
            Self::BelowThreshold => "below_threshold",
            Self::NoRoute => "no_route",
        }
    }
}

/// A route that was considered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate<'a> {
    /// The route.
    pub route: &'a Route,
    /// Its score, see [`Scored`].
    pub score: f64,
}

/// What came of a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match<'a> {
    /// The route it takes.
    pub route: Option<&'a Route>,
    /// The best route, taken or not.
    pub best: Option<Candidate<'a>>,
    /// The one after it.
    pub runner_up: Option<Candidate<'a>>,
    /// Score of the best route; 0 without one.
    pub score: f64,
    /// Calibrated P(the best route is the right one), in [0, 1]; 0 without one.
    pub probability: f64,
    /// P-value of "it is off topic", in (0, 1]; `None` where there is no floor.
    pub p_value: Option<f64>,
    /// Why.
    pub reason: MatchReason,
}

/// A catalogue ready to match queries.
#[derive(Clone)]
pub struct Matcher {
    scorer: Scorer,
    fitted: Fitted,
}

impl Matcher {
    /// A matcher of known parts.
    pub fn new(scorer: Scorer, fitted: Fitted) -> Self {
        Self { scorer, fitted }
    }

    /// A matcher without an encoder: vectors by [`StaticEmbedder`], odds and thresholds from exemplars that the
    /// embedding was not fitted on.
    ///
    /// # Errors
    /// When the off-topic queries are too few for the floor, the options are out of range, or no map can be fitted.
    pub fn without_encoder(catalogue: Arc<Catalogue>, options: &FitOptions) -> Result<Self, SemanticError> {
        let build = |catalogue: Arc<Catalogue>| {
            let embedder = Arc::new(StaticEmbedder::fit(&catalogue));
            Scorer::new(catalogue, embedder)
        };
        let held_out = cross_fitted(&catalogue, build)?;
        let scorer = build(catalogue)?;
        let fitted = Fitted::new(scorer.catalogue(), &held_out, &off_topic(&scorer)?, options)?;
        Ok(Self::new(scorer, fitted))
    }

    /// A matcher with an encoder that knows nothing of the catalogue; odds and thresholds from the exemplars, one
    /// left out at a time.
    ///
    /// # Errors
    /// As [`Self::without_encoder`], and when the encoder's vectors are of no use.
    pub fn with_encoder(
        catalogue: Arc<Catalogue>,
        encoder: Arc<dyn Embed>,
        options: &FitOptions,
    ) -> Result<Self, SemanticError> {
        let scorer = Scorer::new(catalogue, encoder)?;
        let left_out = leave_one_out(&scorer)?;
        let fitted = Fitted::new(scorer.catalogue(), &left_out, &off_topic(&scorer)?, options)?;
        Ok(Self::new(scorer, fitted))
    }

    /// What ranks.
    pub fn scorer(&self) -> &Scorer {
        &self.scorer
    }

    /// What decides.
    pub fn fitted(&self) -> &Fitted {
        &self.fitted
    }

    /// The catalogue.
    pub fn catalogue(&self) -> &Catalogue {
        self.scorer.catalogue()
    }

    /// The catalogue's version.
    pub fn version(&self) -> &str {
        self.catalogue().version()
    }

    /// Matches a query: the best route, unless the query is off topic or the score too low.
    ///
    /// # Errors
    /// When the query does not bring what the catalogue's mode compares, or its vector does not fit.
    pub fn match_query(&self, ask: Ask<'_>, scratch: &mut Scratch) -> Result<Match<'_>, SemanticError> {
        Ok(self.judge(self.scorer.rank(ask, scratch)?))
    }

    /// As [`Self::match_query`], with the best routes beside it, at most `most`, best first.
    ///
    /// # Errors
    /// As [`Self::match_query`].
    pub fn match_best(
        &self,
        ask: Ask<'_>,
        most: usize,
        scratch: &mut Scratch,
    ) -> Result<(Match<'_>, Vec<Candidate<'_>>), SemanticError> {
        let (ranking, best) = self.scorer.rank_best(ask, most, scratch)?;
        let candidates = best.into_iter().filter_map(|scored| self.candidate(scored));
        Ok((self.judge(ranking), candidates.collect()))
    }

    fn judge(&self, ranking: Ranking) -> Match<'_> {
        let p_value = self.fitted.floor.as_ref().map(|floor| floor.p_value(ranking.nearest));
        let reason = match (ranking.best, &self.fitted.floor) {
            (None, _) => MatchReason::NoRoute,
            (Some(_), Some(floor)) if !floor.passes(ranking.nearest) => MatchReason::BelowFloor,
            (Some(best), _) if best.score < self.threshold(best.route) => MatchReason::BelowThreshold,
            (Some(_), _) => MatchReason::Matched,
        };
        let best = ranking.best.and_then(|best| self.candidate(best));
        let score = best.map_or(0.0, |best| best.score);
        Match {
            route: best.filter(|_| reason == MatchReason::Matched).map(|best| best.route),
            best,
            runner_up: ranking.runner_up.and_then(|second| self.candidate(second)),
            score,
            probability: best.map_or(0.0, |best| self.fitted.odds.probability(best.score)),
            p_value,
            reason,
        }
    }

    /// The least score of a route; infinite where the fit does not know it.
    fn threshold(&self, route: usize) -> f64 {
        self.fitted.thresholds.get(route).copied().unwrap_or(f64::INFINITY)
    }

    fn candidate(&self, scored: Scored) -> Option<Candidate<'_>> {
        let route = self.catalogue().routes().get(scored.route)?;
        Some(Candidate { route, score: scored.score })
    }
}
