//! How well a matcher does on queries it was not fitted on: accuracy, who is taken for whom, and whether the floor
//! keeps its promise.

use evaluation::clopper_pearson;

use crate::{Ask, MatchReason, Matcher, Scratch, SemanticError};

/// Level of every interval.
const LEVEL: f64 = 0.95;

/// A share counted on a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// How often.
    pub count: usize,
    /// Of how many; at least 1.
    pub of: usize,
    /// Lower end of the exact (Clopper-Pearson) 95 % interval.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

impl Share {
    fn new(count: usize, of: usize) -> Result<Self, SemanticError> {
        let (lower, upper) = clopper_pearson(count, of, LEVEL)?;
        Ok(Self { count, of, lower, upper })
    }

    /// `None` of nothing.
    fn of_any(count: usize, of: usize) -> Result<Option<Self>, SemanticError> {
        if of == 0 { Ok(None) } else { Self::new(count, of).map(Some) }
    }

    /// The share, in [0, 1].
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.of as f64
    }
}

/// How one route does.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteFigures {
    /// Its name.
    pub name: String,
    /// Of the queries that took it, those that belong to it; `None`: none took it.
    pub precision: Option<Share>,
    /// Of the queries that belong to it, those that took it; `None`: none belongs to it.
    pub recall: Option<Share>,
}

/// What the floor lets through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FalseAccepts {
    /// Queries of no route that passed the floor.
    pub passed: Share,
    /// Queries of no route that took one in the end, thresholds counted too.
    pub matched: Share,
    /// The share that was promised to pass at most; `None`: there is no floor, and all pass.
    pub promised: Option<f64>,
}

impl FalseAccepts {
    /// Whether the sample contradicts the promise: more than promised passed, beyond chance.
    pub fn breaks_promise(&self) -> bool {
        self.promised.is_some_and(|promised| self.passed.lower > promised)
    }
}

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Queries that took their route, or none where they have none.
    pub accuracy: Share,
    /// Of the queries that have a route, those whose best route it is, taken or not.
    pub best_is_right: Option<Share>,
    /// `confusion[label][taken]` counts queries; the place after the last route stands for none.
    pub confusion: Vec<Vec<usize>>,
    /// Each route, in the order of the catalogue.
    pub routes: Vec<RouteFigures>,
    /// Of the queries that have no route; `None`: there are none.
    pub false_accepts: Option<FalseAccepts>,
}

/// Matches queries of known route and counts.
///
/// # Errors
/// Without queries, when a label names no route, or when a query does not fit the matcher.
pub fn evaluate<'a>(
    matcher: &Matcher,
    queries: impl IntoIterator<Item = (Ask<'a>, Option<&'a str>)>,
) -> Result<Evaluation, SemanticError> {
    let routes = matcher.catalogue().routes();
    let mut counts = Counts::new(routes.len());
    let mut scratch = Scratch::default();
    for (row, (ask, route)) in queries.into_iter().enumerate() {
        let place = |name: &str| {
            let unknown = || SemanticError::UnknownRoute { row, route: name.to_owned() };
            matcher.catalogue().position(name).ok_or_else(unknown)
        };
        let label = route.map(place).transpose()?.unwrap_or(routes.len());
        let found = matcher.match_query(ask, &mut scratch)?;
        let taken = found.route.map_or(Ok(routes.len()), |route| place(&route.name))?;
        counts.confusion[label][taken] += 1;
        counts.best_is_right += usize::from(found.best.is_some_and(|best| route == Some(&best.route.name)));
        // Without a route to go to, a query passes no floor.
        let stopped = matches!(found.reason, MatchReason::BelowFloor | MatchReason::NoRoute);
        counts.passed_of_none += usize::from(route.is_none() && !stopped);
    }
    counts.figures(matcher)
}

struct Counts {
    confusion: Vec<Vec<usize>>,
    best_is_right: usize,
    passed_of_none: usize,
}

impl Counts {
    fn new(routes: usize) -> Self {
        Self { confusion: vec![vec![0; routes + 1]; routes + 1], best_is_right: 0, passed_of_none: 0 }
    }

    fn labelled(&self, label: usize) -> usize {
        self.confusion[label].iter().sum()
    }

    fn figures(self, matcher: &Matcher) -> Result<Evaluation, SemanticError> {
        let none = self.confusion.len() - 1;
        let all: usize = (0..=none).map(|label| self.labelled(label)).sum();
        if all == 0 {
            return Err(SemanticError::NoLabels);
        }
        let right = (0..=none).map(|place| self.confusion[place][place]).sum();
        let of_none = self.labelled(none);
        let of_route = |(place, route): (usize, &crate::Route)| {
            let hits = self.confusion[place][place];
            let taken = self.confusion.iter().map(|row| row[place]).sum();
            Ok(RouteFigures {
                name: route.name.clone(),
                precision: Share::of_any(hits, taken)?,
                recall: Share::of_any(hits, self.labelled(place))?,
            })
        };
        let routes: Result<Vec<_>, SemanticError> =
            matcher.catalogue().routes().iter().enumerate().map(of_route).collect();
        let passed = Share::of_any(self.passed_of_none, of_none)?;
        let matched = Share::of_any(of_none - self.confusion[none][none], of_none)?;
        let promised = matcher.fitted().floor.as_ref().map(crate::ConformalFloor::alpha);
        Ok(Evaluation {
            accuracy: Share::new(right, all)?,
            best_is_right: Share::of_any(self.best_is_right, all - of_none)?,
            routes: routes?,
            false_accepts: passed.zip(matched).map(|(passed, matched)| FalseAccepts {
                passed,
                matched,
                promised,
            }),
            confusion: self.confusion,
        })
    }
}
