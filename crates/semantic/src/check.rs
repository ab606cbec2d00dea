//! Whether a catalogue makes sense: exemplars said twice or against each other, routes that are too thin or cannot be
//! told apart, and queries that no route covers.

mod uncovered;

use std::collections::BTreeMap;
use std::fmt;

use crate::fit::Answered;
use crate::text::normalised;
use crate::{Catalogue, Scorer};

pub use uncovered::{Uncovered, uncovered};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth a look.
    Warning,
    /// The catalogue contradicts itself, or promises what it cannot keep.
    Error,
}

/// What a text of a catalogue is there for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// An exemplar of the route of this name.
    Exemplar(String),
    /// A negative of the route of this name.
    Negative(String),
    /// An off-topic query.
    OffTopic,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exemplar(route) => write!(f, "an exemplar of {route}"),
            Self::Negative(route) => write!(f, "a negative of {route}"),
            Self::OffTopic => f.write_str("off topic"),
        }
    }
}

/// Something about a catalogue that its author should know.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// A text stands more than once for the same thing; case and punctuation do not count.
    Duplicate {
        /// The text as it first stands.
        text: String,
        /// What for.
        stands_for: Use,
        /// How often.
        times: usize,
    },
    /// A text stands for two things that exclude each other.
    Contradiction {
        /// The text as it first stands.
        text: String,
        /// One of them.
        first: Use,
        /// The other.
        second: Use,
    },
    /// A route with fewer exemplars than are worth anything.
    FewExemplars {
        /// Its name.
        route: String,
        /// Exemplars it has.
        found: usize,
        /// Exemplars it should have.
        expected: usize,
    },
    /// Fewer off-topic queries than the floor needs.
    FewOffTopic {
        /// Queries there are.
        found: usize,
        /// Queries there should be.
        expected: usize,
    },
    /// Held-out exemplars of two routes go to the other one too often.
    Confused {
        /// One route.
        first: String,
        /// The other.
        second: String,
        /// The share of the exemplars of both that do, in [0, 1].
        share: f64,
    },
    /// The mean vectors of two routes point the same way.
    Alike {
        /// One route.
        first: String,
        /// The other.
        second: String,
        /// The cosine of the means.
        cosine: f64,
    },
}

impl Finding {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Contradiction { .. } | Self::FewOffTopic { .. } => Severity::Error,
            Self::Duplicate { .. }
            | Self::FewExemplars { .. }
            | Self::Confused { .. }
            | Self::Alike { .. } => Severity::Warning,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate { text, stands_for, times } => {
                write!(f, "{text:?} is {stands_for} {times} times")
            }
            Self::Contradiction { text, first, second } => write!(f, "{text:?} is {first} and {second}"),
            Self::FewExemplars { route, found, expected } => {
                write!(f, "{route} has {found} exemplars, fewer than {expected}")
            }
            Self::FewOffTopic { found, expected } => {
                write!(f, "there are {found} off-topic queries, the floor needs {expected}")
            }
            Self::Confused { first, second, share } => {
                write!(
                    f,
                    "{:.0} % of the exemplars of {first} and {second} go to the other one",
                    100.0 * share
                )
            }
            Self::Alike { first, second, cosine } => {
                write!(f, "{first} and {second} point the same way: the cosine of their means is {cosine:.3}")
            }
        }
    }
}

/// From where on something is worth a finding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Exemplars that a route should have.
    pub least_exemplars: usize,
    /// Share of the exemplars of two routes that may go to the other one, in [0, 1].
    pub most_confused: f64,
    /// Cosine of the means of two routes, in [-1, 1]; encoders differ in what is usual.
    pub most_alike: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { least_exemplars: 5, most_confused: 0.2, most_alike: 0.95 }
    }
}

/// Looks at the catalogue of a scorer. `held_out` are its exemplars ranked while held out
/// ([`crate::leave_one_out`], [`crate::cross_fitted`]). Findings come errors first, then in the order of the file.
pub fn check(scorer: &Scorer, held_out: &[Answered], limits: &Limits) -> Vec<Finding> {
    let catalogue = scorer.catalogue();
    let mut findings = texts(catalogue);
    findings.extend(thin(catalogue, limits));
    findings.extend(confused(catalogue, held_out, limits));
    findings.extend(alike(scorer, limits));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity()));
    findings
}

/// Texts that stand for more than one thing, or more than once for one.
fn texts(catalogue: &Catalogue) -> Vec<Finding> {
    let mut seen: BTreeMap<String, (String, BTreeMap<Use, usize>)> = BTreeMap::new();
    let mut add = |text: &String, stands_for: Use| {
        let (_, uses) = seen.entry(normalised(text)).or_insert_with(|| (text.clone(), BTreeMap::new()));
        *uses.entry(stands_for).or_default() += 1;
    };
    for route in catalogue.routes() {
        route.utterances.iter().for_each(|text| add(text, Use::Exemplar(route.name.clone())));
        route.negatives.iter().for_each(|text| add(text, Use::Negative(route.name.clone())));
    }
    catalogue.off_topic().iter().for_each(|text| add(text, Use::OffTopic));
    let mut findings = Vec::new();
    for (text, uses) in seen.into_values() {
        for (stands_for, times) in uses.iter().filter(|(_, times)| **times > 1) {
            findings.push(Finding::Duplicate {
                text: text.clone(),
                stands_for: stands_for.clone(),
                times: *times,
            });
        }
        let uses: Vec<&Use> = uses.keys().collect();
        for (i, first) in uses.iter().enumerate() {
            for second in uses[i + 1..].iter().filter(|second| contradict(first, second)) {
                let (first, second) = ((*first).clone(), (**second).clone());
                findings.push(Finding::Contradiction { text: text.clone(), first, second });
            }
        }
    }
    findings
}

/// An exemplar of one route may be a negative of another, and a negative may be off topic.
fn contradict(a: &Use, b: &Use) -> bool {
    match (a, b) {
        (Use::Exemplar(a), Use::Exemplar(b)) => a != b,
        (Use::Exemplar(a), Use::Negative(b)) | (Use::Negative(a), Use::Exemplar(b)) => a == b,
        (Use::Exemplar(_), Use::OffTopic) | (Use::OffTopic, Use::Exemplar(_)) => true,
        (Use::Negative(_), Use::Negative(_) | Use::OffTopic)
        | (Use::OffTopic, Use::Negative(_) | Use::OffTopic) => false,
    }
}

fn thin(catalogue: &Catalogue, limits: &Limits) -> Vec<Finding> {
    let mut findings = Vec::new();
    for route in catalogue.routes().iter().filter(|route| route.utterances.len() < limits.least_exemplars) {
        let (found, expected) = (route.utterances.len(), limits.least_exemplars);
        findings.push(Finding::FewExemplars { route: route.name.clone(), found, expected });
    }
    if let Some(alpha) = catalogue.settings().floor_alpha {
        let (found, expected) = (catalogue.off_topic().len(), (1.0 / alpha - 1.0).ceil() as usize);
        if found < expected {
            findings.push(Finding::FewOffTopic { found, expected });
        }
    }
    findings
}

fn confused(catalogue: &Catalogue, held_out: &[Answered], limits: &Limits) -> Vec<Finding> {
    let routes = catalogue.routes();
    let mut taken = vec![vec![0usize; routes.len()]; routes.len()];
    let mut counts = vec![0usize; routes.len()];
    for (label, row) in held_out.iter().filter_map(|row| Some((row.label?, row))) {
        counts[label] += 1;
        if let Some(best) = row.ranking.best {
            taken[label][best.route] += 1;
        }
    }
    let pair = |(a, b): (usize, usize)| {
        let (swapped, of) = (taken[a][b] + taken[b][a], counts[a] + counts[b]);
        let share = swapped as f64 / of.max(1) as f64;
        let (first, second) = (routes[a].name.clone(), routes[b].name.clone());
        (share > limits.most_confused).then_some(Finding::Confused { first, second, share })
    };
    pairs(routes.len()).filter_map(pair).collect()
}

fn alike(scorer: &Scorer, limits: &Limits) -> Vec<Finding> {
    let Some(index) = scorer.index() else { return Vec::new() };
    let routes = scorer.catalogue().routes();
    let means: Vec<Vec<f64>> = index.groups()[..routes.len()]
        .iter()
        .map(|rows| uncovered::mean(rows.clone().map(|row| index.row(row)), index.dimension()))
        .collect();
    let pair = |(a, b): (usize, usize)| {
        let cosine = uncovered::cosine(&means[a], &means[b]);
        let (first, second) = (routes[a].name.clone(), routes[b].name.clone());
        (cosine > limits.most_alike).then_some(Finding::Alike { first, second, cosine })
    };
    pairs(routes.len()).filter_map(pair).collect()
}

fn pairs(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).flat_map(move |a| (a + 1..n).map(move |b| (a, b)))
}

#[cfg(test)]
mod tests;
