//! Recall against the exact search on seeded rows, and the same graph from the same rows.

use super::*;
use crate::index::{SearchScratch, normalise};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const DIMENSION: usize = 32;

/// A unit vector near one of a hundred centres, as exemplars of routes are.
fn near_a_centre(rng: &mut impl Rng) -> Vec<f32> {
    let mut centre = ChaCha8Rng::seed_from_u64(rng.random_range(0..100u64));
    let mut vector: Vec<f32> = (0..DIMENSION)
        .map(|_| centre.random_range(-1.0..1.0f32) + 0.7 * rng.random_range(-1.0..1.0f32))
        .collect();
    normalise(&mut vector);
    vector
}

fn index(rows: usize) -> Index {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let values: Vec<f32> = (0..rows).flat_map(|_| near_a_centre(&mut rng)).collect();
    Index::new(DIMENSION, &values, &[rows / 2, rows - rows / 2]).unwrap()
}

#[test]
fn nearly_all_of_the_nearest_are_found() {
    let graph = Approximate::new(index(3_000));
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut scratch = SearchScratch::default();
    let (mut found, mut sought) = (0, 0);
    for _ in 0..100 {
        let query = near_a_centre(&mut rng);
        let exact = graph.index().nearest(&query, 10, &mut scratch).unwrap();
        let hits = graph.nearest(&query, 10).unwrap();
        sought += exact.len();
        // A hit has the very similarity that the exact search gives it.
        found += exact.iter().filter(|hit| hits.contains(hit)).count();
    }
    assert!(found * 100 >= 98 * sought, "{found} of {sought}");
}

#[test]
fn the_same_rows_give_the_same_graph() {
    let (one, two) = (Approximate::new(index(1_000)), Approximate::new(index(1_000)));
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    for _ in 0..20 {
        let query = near_a_centre(&mut rng);
        assert_eq!(one.nearest(&query, 10).unwrap(), two.nearest(&query, 10).unwrap());
    }
    let wrong = one.nearest(&[1.0], 1).unwrap_err();
    assert_eq!(wrong, SemanticError::Dimension { expected: DIMENSION, found: 1 });
}

#[test]
fn groups_hold_their_own_rows_and_not_the_excluded_one() {
    let graph = Approximate::new(index(1_000));
    let query = graph.index().row(7).to_vec();
    let mut tops = Tops::default();
    graph.nearest_by_group(&query, 2, None, &mut tops).unwrap();
    assert_eq!((tops.group(0)[0].row, tops.group(0).len()), (7, 2));
    assert!(tops.group(1).iter().all(|hit| hit.row >= 500));
    graph.nearest_by_group(&query, 2, Some(7), &mut tops).unwrap();
    assert!(tops.group(0).iter().all(|hit| hit.row != 7));
}
