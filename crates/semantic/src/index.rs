//! The nearest exemplars, exactly. Rows are kept twice: as they are, and in eight bits, which are four times quicker
//! to read. A scan of the eight bits estimates every similarity and knows by how much it may err; only rows that
//! could still be among the nearest are compared in full. What comes out is what comparing every row in full gives,
//! bit for bit.

mod arithmetic;

use std::ops::Range;

use crate::SemanticError;
use arithmetic::{BLOCK, Codes, length, product, rounding};

pub(crate) use arithmetic::{dot, normalise};

/// A row and how similar it is to the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// The row.
    pub row: usize,
    /// The dot product with the query: the cosine, where both are normalised.
    pub similarity: f32,
}

/// Buffers of a search, used again by the next.
#[derive(Debug, Clone, Default)]
pub struct SearchScratch {
    query: Vec<f32>,
    codes: Vec<i16>,
    estimates: Vec<f32>,
    least: Vec<f32>,
}

/// Rows to be searched, in groups that lie next to each other.
#[derive(Debug, Clone)]
pub struct Index {
    dimension: usize,
    padded: usize,
    vectors: Vec<f32>,
    codes: Vec<i8>,
    /// What one step of a row's codes is worth.
    steps: Vec<f32>,
    /// Length of what the codes of a row leave out, rounded up.
    residuals: Vec<f32>,
    /// Length of the longest row, rounded up.
    longest: f32,
    groups: Vec<Range<usize>>,
}

/// How far estimates may be from what a full comparison gives: `row` times the row's residual, and `fixed`.
#[derive(Debug, Clone, Copy)]
struct Slack {
    row: f32,
    fixed: f32,
}

impl Index {
    /// Takes `sizes[g]` rows for each group g, of `dimension` numbers each.
    ///
    /// # Errors
    /// When the number of values is not what dimension and sizes ask for, or one is not finite.
    pub fn new(dimension: usize, values: &[f32], sizes: &[usize]) -> Result<Self, SemanticError> {
        let rows: usize = sizes.iter().sum();
        if dimension == 0 || values.len() != rows * dimension {
            let found = values.len() / dimension.max(1);
            return Err(SemanticError::VectorCount { expected: rows, found });
        }
        let padded = dimension.next_multiple_of(BLOCK);
        let mut index = Self {
            dimension,
            padded,
            vectors: Vec::with_capacity(rows * padded),
            codes: Vec::with_capacity(rows * padded),
            steps: Vec::with_capacity(rows),
            residuals: Vec::with_capacity(rows),
            longest: 0.0,
            groups: Vec::with_capacity(sizes.len()),
        };
        for (row, vector) in values.chunks_exact(dimension).enumerate() {
            let length = length(vector);
            if !length.is_finite() {
                return Err(SemanticError::NotFinite(row));
            }
            index.push(vector, length);
        }
        let mut start = 0;
        for size in sizes {
            index.groups.push(start..start + size);
            start += size;
        }
        Ok(index)
    }

    fn push(&mut self, vector: &[f32], length: f32) {
        let coded = Codes::of(vector, i16::from(i8::MAX));
        self.vectors.extend_from_slice(vector);
        self.vectors.resize(self.vectors.len().next_multiple_of(self.padded), 0.0);
        // Codes of a row are at most 127 in size.
        self.codes.extend(coded.codes.iter().map(|code| *code as i8));
        self.codes.resize(self.codes.len().next_multiple_of(self.padded), 0);
        self.steps.push(coded.step);
        self.residuals.push(coded.residual);
        self.longest = self.longest.max(length);
    }

    /// Numbers in a row.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// A row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.full_row(row)[..self.dimension]
    }

    /// The groups, in order.
    pub fn groups(&self) -> &[Range<usize>] {
        &self.groups
    }

    /// A row with its padding.
    pub(crate) fn full_row(&self, row: usize) -> &[f32] {
        &self.vectors[row * self.padded..][..self.padded]
    }

    /// The `depth` rows most similar to `query`, most similar first, equal ones by row.
    ///
    /// # Errors
    /// When the query has another dimension, or is not finite.
    pub fn nearest(
        &self,
        query: &[f32],
        depth: usize,
        scratch: &mut SearchScratch,
    ) -> Result<Vec<Hit>, SemanticError> {
        let slack = self.estimate(query, scratch)?;
        let mut hits = Vec::new();
        self.pick(0..self.len(), depth, slack, scratch, &mut hits);
        Ok(hits)
    }

    /// The `depth` most similar rows of each group, group after group. `excluded` is left out.
    ///
    /// # Errors
    /// When the query has another dimension, or is not finite.
    pub fn nearest_by_group(
        &self,
        query: &[f32],
        depth: usize,
        excluded: Option<usize>,
        scratch: &mut SearchScratch,
        out: &mut Tops,
    ) -> Result<(), SemanticError> {
        let slack = self.estimate(query, scratch)?;
        if let Some(estimate) = excluded.and_then(|row| scratch.estimates.get_mut(row)) {
            *estimate = f32::NEG_INFINITY;
        }
        out.clear();
        for group in &self.groups {
            self.pick(group.clone(), depth, slack, scratch, &mut out.hits);
            out.ends.push(out.hits.len());
        }
        Ok(())
    }

    /// The length of a query that can be compared.
    fn checked(&self, query: &[f32]) -> Result<f32, SemanticError> {
        if query.len() != self.dimension {
            return Err(SemanticError::Dimension { expected: self.dimension, found: query.len() });
        }
        Some(length(query)).filter(|length| length.is_finite()).ok_or(SemanticError::NotFinite(0))
    }

    /// A query with padding.
    #[cfg(feature = "ann")]
    pub(crate) fn padded_query(&self, query: &[f32]) -> Result<Vec<f32>, SemanticError> {
        self.checked(query)?;
        let mut padded = query.to_vec();
        padded.resize(self.padded, 0.0);
        Ok(padded)
    }

    /// Fills the estimates of all rows.
    fn estimate(&self, query: &[f32], scratch: &mut SearchScratch) -> Result<Slack, SemanticError> {
        let length = self.checked(query)?;
        let coded = Codes::of(query, self.finest());
        scratch.query.clear();
        scratch.query.extend_from_slice(query);
        scratch.query.resize(self.padded, 0.0);
        scratch.codes.clear();
        scratch.codes.extend_from_slice(&coded.codes);
        scratch.codes.resize(self.padded, 0);
        scratch.estimates.clear();
        let rows = self.codes.chunks_exact(self.padded).zip(&self.steps);
        scratch
            .estimates
            .extend(rows.map(|(row, step)| product(row, &scratch.codes) as f32 * (step * coded.step)));
        Ok(self.slack(length, coded.residual))
    }

    /// The greatest code of a query with which no sum of products leaves an `i32`.
    fn finest(&self) -> i16 {
        let most = i32::MAX as usize / (self.padded * i8::MAX as usize);
        i16::try_from(most).unwrap_or(i16::MAX)
    }

    /// With x a row, q the query, x' and q' what their codes stand for: x·q - x'·q' = (x - x')·q + x'·(q - q'), by
    /// Cauchy-Schwarz at most |x - x'| |q| + (|x| + |x - x'|) |q - q'|. Rounding comes on top: of the full
    /// comparison, of the estimate, and of these bounds themselves.
    fn slack(&self, length: f32, residual: f32) -> Slack {
        let rounded = rounding(self.padded);
        Slack {
            row: (length + residual) * (1.0 + rounded),
            fixed: (residual + (length + residual) * rounded) * self.longest * (1.0 + rounded)
                + f32::MIN_POSITIVE,
        }
    }

    /// Appends the `depth` most similar of some rows.
    fn pick(
        &self,
        rows: Range<usize>,
        depth: usize,
        slack: Slack,
        scratch: &mut SearchScratch,
        hits: &mut Vec<Hit>,
    ) {
        let SearchScratch { query, estimates, least, .. } = scratch;
        let (estimates, residuals) = (&estimates[rows.clone()], &self.residuals[rows.clone()]);
        let bound = |residual: f32| slack.row * residual + slack.fixed;
        // The `depth` greatest of what rows reach at least, greatest first.
        least.clear();
        for (estimate, residual) in estimates.iter().zip(residuals) {
            let reached = estimate - bound(*residual);
            if least.len() < depth || least.last().is_some_and(|last| reached > *last) {
                least.truncate(depth.saturating_sub(1));
                least.insert(least.partition_point(|other| *other >= reached), reached);
            }
        }
        let Some(bar) = least.last().copied().filter(|_| depth > 0) else { return };
        let first = hits.len();
        for (row, (estimate, residual)) in rows.zip(estimates.iter().zip(residuals)) {
            let possible = estimate + bound(*residual);
            if possible >= bar && possible > f32::NEG_INFINITY {
                hits.push(Hit { row, similarity: dot(query, self.full_row(row)) });
            }
        }
        sort(&mut hits[first..]);
        hits.truncate(hits.len().min(first + depth));
    }
}

/// Most similar first, equal ones by row.
pub(crate) fn sort(hits: &mut [Hit]) {
    hits.sort_unstable_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.row.cmp(&b.row)));
}

/// The best rows of each group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tops {
    pub(crate) hits: Vec<Hit>,
    /// Where in `hits` each group ends.
    pub(crate) ends: Vec<usize>,
}

impl Tops {
    pub(crate) fn clear(&mut self) {
        self.hits.clear();
        self.ends.clear();
    }

    /// The best rows of a group, best first; none for a group that does not exist.
    pub fn group(&self, group: usize) -> &[Hit] {
        let Some(end) = self.ends.get(group) else { return &[] };
        let start = group.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.hits[start..*end]
    }

    /// The best of rows whose scores are known exactly. Rows without a score of above 0 are none.
    pub(crate) fn of_scores(
        &mut self,
        scores: &[f32],
        groups: &[Range<usize>],
        depth: usize,
        excluded: Option<usize>,
    ) {
        self.clear();
        for group in groups {
            let first = self.hits.len();
            let scored = group.clone().filter(|row| scores[*row] > 0.0 && excluded != Some(*row));
            self.hits.extend(scored.map(|row| Hit { row, similarity: scores[row] }));
            sort(&mut self.hits[first..]);
            self.hits.truncate(self.hits.len().min(first + depth));
            self.ends.push(self.hits.len());
        }
    }
}

#[cfg(test)]
mod tests;
