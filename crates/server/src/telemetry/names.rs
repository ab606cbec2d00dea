//! Names that may become labels: models, operating points and slices that an artifact or the operator declares. Whatever
//! else a caller sends counts as `other`, so that nobody makes time series by making up names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use arc_swap::ArcSwap;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, Counter};
use router::ArtifactInfo;
use types::{Reason, Tier};

/// What stands for every name that nobody declared.
pub(super) const OTHER: &str = "other";

/// Names of a kind at most, over all artifacts that were ever loaded.
const MOST: usize = 256;

/// Artifacts whose names need not be looked through again.
const MOST_VERSIONS: usize = 8;

/// Where the threshold of a decision came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point<'a> {
    /// An operating point of the artifact.
    Named(&'a str),
    /// A number of the request's own.
    Request,
    /// A number of the policy's own.
    Policy,
    /// Nothing was compared: the policy names a model.
    Given,
}

/// Where the fixed sources of a threshold stand among the names of points.
const FIXED_POINTS: [&str; 4] = [OTHER, "request", "policy", "given"];

/// Counts decisions by names that are known.
#[derive(Debug)]
pub(super) struct Decisions {
    by_cause: Counter<u64>,
    by_slice: Counter<u64>,
    known: ArcSwap<Known>,
    /// One change at a time.
    growing: Mutex<()>,
}

/// All names there are, with a handle for each combination that was met.
#[derive(Debug, Default)]
struct Known {
    /// Versions of the last artifacts whose names are among these.
    versions: Vec<String>,
    models: Vec<Arc<str>>,
    points: Vec<Arc<str>>,
    slices: HashMap<Arc<str>, OfSlice>,
    decisions: Vec<OnceLock<BoundCounter<u64>>>,
}

/// Decisions of a slice, for weak and strong.
type OfSlice = [BoundCounter<u64>; 2];

/// The names of a kind that are known, then more of them.
fn with(known: &[Arc<str>], fixed: &[&str], more: impl IntoIterator<Item = String>) -> Vec<Arc<str>> {
    let mut names = known.to_vec();
    for name in fixed.iter().map(|name| (*name).to_owned()).chain(more) {
        if names.len() < MOST && place(&names, &name).is_none() {
            names.push(Arc::from(name));
        }
    }
    names
}

fn place(names: &[Arc<str>], name: &str) -> Option<usize> {
    names.iter().position(|known| **known == *name)
}

impl Known {
    fn point(&self, point: Point<'_>) -> Option<usize> {
        match point {
            Point::Named(name) => place(&self.points, name),
            Point::Request => Some(1),
            Point::Policy => Some(2),
            Point::Given => Some(3),
        }
    }

    fn handle(
        &self,
        (model, point, reason, tier): (usize, usize, Reason, Tier),
    ) -> Option<&OnceLock<BoundCounter<u64>>> {
        let at = (model * self.points.len() + point) * Reason::ALL.len() + reason as usize;
        self.decisions.get(2 * at + usize::from(tier == Tier::Strong))
    }
}

impl Decisions {
    pub(super) fn new(
        (by_cause, by_slice): (Counter<u64>, Counter<u64>),
        models: impl IntoIterator<Item = String>,
        declared_slices: Vec<String>,
    ) -> Self {
        let decisions = Self { by_cause, by_slice, known: ArcSwap::default(), growing: Mutex::default() };
        decisions.grow(None, models, [], declared_slices);
        decisions
    }

    /// Counts one.
    pub(super) fn count(
        &self,
        info: &ArtifactInfo,
        (model, point): (&str, Point<'_>),
        (reason, tier): (Reason, Tier),
        slices: &[String],
    ) {
        let mut known = self.known.load();
        if !known.versions.contains(&info.version) {
            self.learn(info);
            known = self.known.load();
        }
        let (model, point) = (place(&known.models, model).unwrap_or(0), known.point(point).unwrap_or(0));
        if let Some(handle) = known.handle((model, point, reason, tier)) {
            handle
                .get_or_init(|| {
                    let (model, point) = (Arc::clone(&known.models[model]), Arc::clone(&known.points[point]));
                    self.by_cause.bind(&[
                        KeyValue::new("tier", tier.as_str()),
                        KeyValue::new("reason", reason.as_str()),
                        KeyValue::new("operating_point", point),
                        KeyValue::new("model", model),
                    ])
                })
                .add(1);
        }
        self.count_slices(&known, slices, tier);
    }

    fn count_slices(&self, known: &Known, slices: &[String], tier: Tier) {
        let tier = usize::from(tier == Tier::Strong);
        let mut undeclared = false;
        for slice in slices {
            match known.slices.get(slice.as_str()) {
                Some(of_slice) => of_slice[tier].add(1),
                None => undeclared = true,
            }
        }
        if let Some(other) = known.slices.get(OTHER).filter(|_| undeclared) {
            other[tier].add(1);
        }
    }

    /// Takes in the names of an artifact.
    fn learn(&self, info: &ArtifactInfo) {
        let models = info.models.iter().map(|model| model.as_str().to_owned());
        let points = info.operating_points.iter().map(|point| point.name.clone());
        let certified = info.operating_points.iter().flat_map(|point| &point.certified_slices);
        let slices = info.slices.iter().chain(&info.high_stakes).chain(certified).cloned();
        self.grow(Some(&info.version), models, points, slices);
    }

    fn grow(
        &self,
        version: Option<&str>,
        models: impl IntoIterator<Item = String>,
        points: impl IntoIterator<Item = String>,
        slices: impl IntoIterator<Item = String>,
    ) {
        let _one = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.known.load();
        let mut versions = before.versions.clone();
        versions.extend(version.map(str::to_owned));
        versions.drain(..versions.len().saturating_sub(MOST_VERSIONS));
        let names = with(&before.models, &[OTHER], models);
        let points = with(&before.points, &FIXED_POINTS, points);
        let mut by_slice = before.slices.clone();
        for slice in std::iter::once(OTHER.to_owned()).chain(slices) {
            if by_slice.len() < MOST && !by_slice.contains_key(slice.as_str()) {
                let slice: Arc<str> = Arc::from(slice);
                let of = |tier: Tier| {
                    let slice = KeyValue::new("slice", Arc::clone(&slice));
                    self.by_slice.bind(&[slice, KeyValue::new("tier", tier.as_str())])
                };
                by_slice.insert(Arc::clone(&slice), [of(Tier::Weak), of(Tier::Strong)]);
            }
        }
        let combinations = names.len() * points.len() * Reason::ALL.len() * 2;
        let decisions = std::iter::repeat_with(OnceLock::new).take(combinations).collect();
        self.known.store(Arc::new(Known { versions, models: names, points, slices: by_slice, decisions }));
    }
}

/// Counters by a name that is bounded by a file: strategies of a policy, cascades of a verifier.
#[derive(Debug)]
pub(super) struct ByName {
    counter: Counter<u64>,
    label: &'static str,
    met: RwLock<HashMap<String, BoundCounter<u64>>>,
}

impl ByName {
    pub(super) fn new(counter: Counter<u64>, label: &'static str) -> Self {
        Self { counter, label, met: RwLock::default() }
    }

    /// Counts one; beyond a number of names it is `other`.
    pub(super) fn count(&self, name: &str) {
        let read = self.met.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = read.get(name) {
            return handle.add(1);
        }
        let name = if read.len() < MOST { name } else { OTHER };
        drop(read);
        let handle = self.counter.bind(&[KeyValue::new(self.label, name.to_owned())]);
        handle.add(1);
        self.met.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), handle);
    }
}
