//! The nearest exemplars, approximately: a graph (HNSW, Malkov & Yashunin 2016) for more exemplars than are worth a
//! full scan. It is built on one thread from a fixed seed, so that the same rows give the same graph.

use std::ops::Range;

use instant_distance::{Builder, HnswMap, Point, Search};
use rayon::ThreadPoolBuilder;

use crate::SemanticError;
use crate::index::{Hit, Index, Tops};

/// Up to this many rows everything is searched exactly (methods section 7, for eight bits). For 30,000 rows of 256
/// numbers a scan takes half a millisecond and a graph a fifth, but the graph takes 52 seconds to build, and a catalogue
/// is to be replaced while it serves; for 100,000 rows a scan takes 1.7 milliseconds.
pub const EXACT_UP_TO: usize = 80_000;

/// Rows that a search keeps in sight, and the most it finds: the more, the better its recall and the longer it takes.
const IN_SIGHT: usize = 64;

/// Rows in sight while the graph is built.
const IN_SIGHT_BUILDING: usize = 64;

const SEED: u64 = 7;

/// A unit vector; its distance is one less the cosine.
#[derive(Clone)]
struct Direction(Box<[f32]>);

impl Point for Direction {
    fn distance(&self, other: &Self) -> f32 {
        1.0 - crate::index::dot(&self.0, &other.0)
    }
}

/// Rows in a graph. A route none of whose rows is among those found has no score: it is nowhere near.
pub struct Approximate {
    index: Index,
    graph: HnswMap<Direction, usize>,
}

impl Approximate {
    /// Builds the graph: nearly a minute for 30,000 rows of 256 numbers, and more for each row where there are more.
    pub fn new(index: Index) -> Self {
        let points: Vec<Direction> =
            (0..index.len()).map(|row| Direction(index.full_row(row).into())).collect();
        let rows = (0..points.len()).collect();
        let builder = Builder::default().seed(SEED).ef_construction(IN_SIGHT_BUILDING).ef_search(IN_SIGHT);
        let build = || builder.build(points, rows);
        let graph = match ThreadPoolBuilder::new().num_threads(1).build() {
            Ok(one_thread) => one_thread.install(build),
            // Where not even one thread is to be had, the graph is built by whichever there are.
            Err(_) => build(),
        };
        Self { index, graph }
    }

    /// The rows as they are.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// About the `depth` rows most similar to `query`, most similar first.
    ///
    /// # Errors
    /// When the query has another dimension, or is not finite.
    pub fn nearest(&self, query: &[f32], depth: usize) -> Result<Vec<Hit>, SemanticError> {
        let query = Direction(self.index.padded_query(query)?.into());
        let mut search = Search::default();
        let found = self.graph.search(&query, &mut search).take(depth);
        let mut hits: Vec<Hit> =
            found.map(|item| Hit { row: *item.value, similarity: 1.0 - item.distance }).collect();
        for hit in &mut hits {
            hit.similarity = crate::index::dot(&query.0, self.index.full_row(hit.row));
        }
        crate::index::sort(&mut hits);
        Ok(hits)
    }

    /// The `depth` most similar rows of each group among those found. `excluded` is left out.
    ///
    /// # Errors
    /// As [`Self::nearest`].
    pub fn nearest_by_group(
        &self,
        query: &[f32],
        depth: usize,
        excluded: Option<usize>,
        out: &mut Tops,
    ) -> Result<(), SemanticError> {
        let hits = self.nearest(query, IN_SIGHT)?;
        out.clear();
        let inside = |rows: &Range<usize>, hit: &Hit| rows.contains(&hit.row) && excluded != Some(hit.row);
        for rows in self.index.groups() {
            out.hits.extend(hits.iter().filter(|hit| inside(rows, hit)).take(depth));
            out.ends.push(out.hits.len());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
