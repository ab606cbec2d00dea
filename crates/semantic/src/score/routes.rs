//! Similarities of the nearest exemplars, by route, into scores and an order of the routes.

use super::{Ranking, Scored};
use crate::hybrid::{convex, reciprocal_rank};
use crate::index::{Hit, Tops};
use crate::{Aggregation, Fusion, Mode};

/// What there is to say of each route.
pub(super) struct RouteScores {
    /// What the order goes by.
    order: Vec<f64>,
    /// What a match reports: comparable from query to query, as ranks and scaled values are not.
    scores: Vec<f64>,
    /// Similarity of the nearest exemplar; `None` for a route that has none in common with the query.
    nearest: Vec<Option<f64>>,
    /// Whether a negative is nearer than that.
    vetoed: Vec<bool>,
}

impl RouteScores {
    pub(super) fn new(
        routes: usize,
        mode: Mode,
        aggregation: Aggregation,
        dense: &Tops,
        sparse: &Tops,
    ) -> Self {
        let (of_dense, of_sparse) =
            (Side::new(routes, aggregation, dense), Side::new(routes, aggregation, sparse));
        let Mode::Hybrid(fusion) = mode else {
            let side = if mode == Mode::Dense { of_dense } else { of_sparse };
            return Self::of_one(side);
        };
        let (order, alpha) = match fusion {
            Fusion::Convex { alpha } => (convex(&of_dense.scores, &of_sparse.scores, alpha), alpha),
            Fusion::ReciprocalRank => (reciprocal_rank(&of_dense.scores, &of_sparse.scores), 0.5),
        };
        Self { order, ..Self::of_one(of_dense.mixed(&of_sparse, alpha)) }
    }

    fn of_one(side: Side) -> Self {
        let farther = |(exemplar, negative): (&Option<f64>, &Option<f64>)| match (exemplar, negative) {
            (Some(exemplar), Some(negative)) => negative > exemplar,
            (None, _) | (_, None) => false,
        };
        let vetoed = side.nearest.iter().zip(&side.nearest_negative).map(farther).collect();
        Self { order: side.scores.clone(), scores: side.scores, nearest: side.nearest, vetoed }
    }

    /// The two best routes; equal ones in the order of the catalogue.
    pub(super) fn ranking(&self) -> Ranking {
        let (mut best, mut second) = (None::<usize>, None::<usize>);
        for route in (0..self.scores.len()).filter(|route| self.stands(*route)) {
            let above =
                |other: Option<usize>| other.is_none_or(|other| self.order[route] > self.order[other]);
            if above(best) {
                (best, second) = (Some(route), best);
            } else if above(second) {
                second = Some(route);
            }
        }
        let scored = |route| self.scored(route);
        let nearest = self.nearest.iter().flatten().copied().reduce(f64::max).unwrap_or(0.0);
        Ranking { best: best.map(scored), runner_up: second.map(scored), nearest }
    }

    /// The best routes, at most this many; equal ones in the order of the catalogue.
    pub(super) fn best(&self, most: usize) -> Vec<Scored> {
        let mut routes: Vec<usize> = (0..self.scores.len()).filter(|route| self.stands(*route)).collect();
        routes.sort_by(|a, b| self.order[*b].total_cmp(&self.order[*a]));
        routes.truncate(most);
        routes.into_iter().map(|route| self.scored(route)).collect()
    }

    /// Whether a route has anything in common with the query that its negatives do not have more of.
    fn stands(&self, route: usize) -> bool {
        !self.vetoed[route] && self.nearest[route].is_some() && self.scores[route] > 0.0
    }

    fn scored(&self, route: usize) -> Scored {
        Scored { route, score: self.scores[route] }
    }
}

/// What one way of comparing says of each route.
struct Side {
    scores: Vec<f64>,
    nearest: Vec<Option<f64>>,
    nearest_negative: Vec<Option<f64>>,
}

impl Side {
    fn new(routes: usize, aggregation: Aggregation, tops: &Tops) -> Self {
        let first = |group: usize| tops.group(group).first().map(|hit| f64::from(hit.similarity));
        Self {
            scores: (0..routes).map(|route| aggregate(tops.group(route), aggregation)).collect(),
            nearest: (0..routes).map(first).collect(),
            nearest_negative: (routes..2 * routes).map(first).collect(),
        }
    }

    /// `alpha` of this and the rest of the other; what one of them does not have counts as 0.
    fn mixed(&self, other: &Self, alpha: f64) -> Self {
        let mix = |a: f64, b: f64| alpha * a + (1.0 - alpha) * b;
        let either = |(a, b): (&Option<f64>, &Option<f64>)| match (a, b) {
            (None, None) => None,
            (a, b) => Some(mix(a.unwrap_or(0.0), b.unwrap_or(0.0))),
        };
        Self {
            scores: self.scores.iter().zip(&other.scores).map(|(a, b)| mix(*a, *b)).collect(),
            nearest: self.nearest.iter().zip(&other.nearest).map(either).collect(),
            nearest_negative: self.nearest_negative.iter().zip(&other.nearest_negative).map(either).collect(),
        }
    }
}

/// The score of a route from its nearest exemplars, best first; 0 without any.
fn aggregate(hits: &[Hit], aggregation: Aggregation) -> f64 {
    let counted = &hits[..hits.len().min(aggregation.depth())];
    let sum: f64 = counted.iter().map(|hit| f64::from(hit.similarity)).sum();
    sum / (counted.len().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_counts_its_own_nearest() {
        let hits = [0.9, 0.6, 0.3].map(|similarity| Hit { row: 0, similarity });
        let close = |found: f64, expected: f64| (found - expected).abs() < 1e-7;
        assert!(close(aggregate(&hits, Aggregation::Max), 0.9));
        assert!(close(aggregate(&hits, Aggregation::TopMean(2)), 0.75));
        assert!(close(aggregate(&hits, Aggregation::TopMean(9)), 0.6));
        assert!(close(aggregate(&[], Aggregation::Max), 0.0));
    }
}
