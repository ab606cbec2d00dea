//! Groups of queries that no route covers: what a catalogue may be missing.

use crate::{Ask, Scorer, Scratch, SemanticError};

/// Queries that are near each other and far from every exemplar.
#[derive(Debug, Clone, PartialEq)]
pub struct Uncovered {
    /// Place of the query that stands for them best, among the queries given.
    pub representative: usize,
    /// Places of all of them, ascending.
    pub members: Vec<usize>,
}

/// Gathers the queries whose nearest exemplar is less similar than `floor` into groups, greatest first. A query joins
/// the group whose first member is most similar to it, if that is at least `together`, and opens a group otherwise
/// (leader clustering, Hartigan 1975): the same queries in the same order give the same groups.
///
/// # Errors
/// When vectors are not what the catalogue compares, or a query brings none that fits.
pub fn uncovered(
    scorer: &Scorer,
    queries: &[Ask<'_>],
    floor: f64,
    together: f64,
) -> Result<Vec<Uncovered>, SemanticError> {
    let mut scratch = Scratch::default();
    let mut groups: Vec<Group> = Vec::new();
    for (place, ask) in queries.iter().enumerate() {
        if scorer.rank(*ask, &mut scratch)?.nearest >= floor {
            continue;
        }
        let vector: Vec<f64> = scorer.vector(*ask)?.iter().map(|x| f64::from(*x)).collect();
        let near = groups.iter_mut().map(|group| (cosine(&group.vectors[0], &vector), group));
        // The first of equals.
        let best = near.reduce(|best, next| if next.0 > best.0 { next } else { best });
        match best {
            Some((similarity, group)) if similarity >= together => {
                group.members.push(place);
                group.vectors.push(vector);
            }
            _ => groups.push(Group { members: vec![place], vectors: vec![vector] }),
        }
    }
    // Stable: of equally great groups the one that opened first.
    groups.sort_by_key(|group| std::cmp::Reverse(group.members.len()));
    Ok(groups.into_iter().map(Group::told).collect())
}

struct Group {
    members: Vec<usize>,
    /// Beside `members`; at least one.
    vectors: Vec<Vec<f64>>,
}

impl Group {
    fn told(self) -> Uncovered {
        let dimension = self.vectors[0].len();
        let mut middle = vec![0.0; dimension];
        for vector in &self.vectors {
            middle.iter_mut().zip(vector).for_each(|(sum, x)| *sum += x);
        }
        let similarity = |at: &usize| cosine(&self.vectors[*at], &middle);
        let first_best = |best: usize, at: usize| if similarity(&at) > similarity(&best) { at } else { best };
        let best = (0..self.members.len()).reduce(first_best).unwrap_or(0);
        Uncovered { representative: self.members[best], members: self.members }
    }
}

/// The mean of some vectors; zeros of none.
pub(super) fn mean<'a>(vectors: impl Iterator<Item = &'a [f32]>, dimension: usize) -> Vec<f64> {
    let mut sums = vec![0.0; dimension];
    let mut count = 0usize;
    for vector in vectors {
        sums.iter_mut().zip(vector).for_each(|(sum, x)| *sum += f64::from(*x));
        count += 1;
    }
    sums.iter().map(|sum| sum / count.max(1) as f64).collect()
}

/// The cosine of the angle between two vectors; 0 where one has no direction.
pub(super) fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}
