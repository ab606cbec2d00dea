//! The scan against comparing every row in full.

use super::*;
use proptest::prelude::*;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn unit(dimension: usize, spread: i32, rng: &mut impl Rng) -> Vec<f32> {
    // Few distinct values make ties; many make none.
    let mut vector: Vec<f32> =
        (0..dimension).map(|_| rng.random_range(-spread..=spread) as f32 / spread as f32).collect();
    normalise(&mut vector);
    vector
}

fn brute_force(
    index: &Index,
    rows: Range<usize>,
    query: &[f32],
    depth: usize,
    excluded: Option<usize>,
) -> Vec<Hit> {
    let mut padded = query.to_vec();
    padded.resize(index.padded, 0.0);
    let rows = rows.filter(|row| excluded != Some(*row));
    let mut hits: Vec<Hit> =
        rows.map(|row| Hit { row, similarity: dot(&padded, index.full_row(row)) }).collect();
    sort(&mut hits);
    hits.truncate(depth);
    hits
}

fn index(dimension: usize, spread: i32, sizes: &[usize], rng: &mut impl Rng) -> Index {
    let rows = sizes.iter().sum::<usize>();
    let values: Vec<f32> = (0..rows).flat_map(|_| unit(dimension, spread, rng)).collect();
    Index::new(dimension, &values, sizes).unwrap()
}

proptest! {
    #[test]
    fn the_scan_is_brute_force_bit_for_bit(
        seed in any::<u64>(), dimension in 1usize..70, spread in prop::sample::select(vec![1, 2, 1_000]),
        sizes in prop::collection::vec(0usize..40, 1..5), depth in 0usize..6, excluded in prop::option::of(0usize..60),
        stretch in prop::sample::select(vec![1e-20f32, 1.0, 1e10]),
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let index = index(dimension, spread, &sizes, &mut rng);
        let query: Vec<f32> = unit(dimension, spread, &mut rng).iter().map(|x| x * stretch).collect();
        let mut scratch = SearchScratch::default();
        let found = index.nearest(&query, depth, &mut scratch).unwrap();
        prop_assert_eq!(found, brute_force(&index, 0..index.len(), &query, depth, None));
        let mut tops = Tops::default();
        index.nearest_by_group(&query, depth, excluded, &mut scratch, &mut tops).unwrap();
        for (group, rows) in index.groups().iter().enumerate() {
            let expected = brute_force(&index, rows.clone(), &query, depth, excluded);
            prop_assert_eq!(tops.group(group), &expected[..]);
        }
        prop_assert_eq!(tops.group(sizes.len()), &[][..]);
    }
}

#[test]
fn few_rows_are_compared_in_full() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let index = index(256, 1_000, &[5_000], &mut rng);
    let query = unit(256, 1_000, &mut rng);
    let mut scratch = SearchScratch::default();
    let slack = index.estimate(&query, &mut scratch).unwrap();
    let best = brute_force(&index, 0..5_000, &query, 5, None);
    let bar = best[4].similarity;
    let open = (0..5_000).filter(|row| {
        let bound = slack.row * index.residuals[*row] + slack.fixed;
        scratch.estimates[*row] + bound >= bar - bound
    });
    assert!(open.count() < 100);
}

#[test]
fn what_does_not_fit_is_refused() {
    let few = Index::new(3, &[0.0; 5], &[2]).unwrap_err();
    assert_eq!(few, SemanticError::VectorCount { expected: 2, found: 1 });
    assert_eq!(Index::new(2, &[0.0, f32::NAN], &[1]).unwrap_err(), SemanticError::NotFinite(0));
    let index = Index::new(2, &[1.0, 0.0], &[1]).unwrap();
    let mut scratch = SearchScratch::default();
    let wrong = index.nearest(&[1.0], 1, &mut scratch).unwrap_err();
    assert_eq!(wrong, SemanticError::Dimension { expected: 2, found: 1 });
    let wrong = index.nearest(&[1.0, f32::INFINITY], 1, &mut scratch).unwrap_err();
    assert_eq!(wrong, SemanticError::NotFinite(0));
    let empty = Index::new(2, &[], &[0, 0]).unwrap();
    assert!(empty.is_empty() && empty.nearest(&[1.0, 0.0], 3, &mut scratch).unwrap().is_empty());
}
