//! The directions along which a table of vectors varies most.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Rounds of the iteration; each multiplies what lies outside by the square of a ratio of singular values.
const ROUNDS: usize = 24;

/// The `k` leading eigenvectors of a symmetric matrix `[width, width]`, orthonormal, `[k][width]`; `k <= width`.
///
/// Of the Gram matrix of a table they are its leading right singular vectors: the projection on them keeps more of
/// the table, in squares, than any other on `k` dimensions. By subspace iteration from a drawn start (Halko,
/// Martinsson and Tropp 2011, algorithm 4.4).
pub(crate) fn leading_directions(matrix: &[f64], width: usize, k: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut basis: Vec<Vec<f64>> =
        (0..k).map(|_| (0..width).map(|_| rng.random::<f64>() - 0.5).collect()).collect();
    orthonormalise(&mut basis);
    for _ in 0..ROUNDS {
        for direction in &mut basis {
            *direction = matrix.chunks(width).map(|row| dot(row, direction)).collect();
        }
        orthonormalise(&mut basis);
    }
    basis
}

/// Gram and Schmidt, in order; a direction that vanishes becomes zero.
fn orthonormalise(basis: &mut [Vec<f64>]) {
    for i in 0..basis.len() {
        let (before, rest) = basis.split_at_mut(i);
        let direction = &mut rest[0];
        // Twice: once loses orthogonality where directions are nearly parallel.
        for other in before.iter().chain(before.iter()) {
            let along = dot(other, direction);
            direction.iter_mut().zip(other).for_each(|(d, o)| *d -= along * o);
        }
        let length = dot(direction, direction).sqrt();
        let scale = if length > f64::MIN_POSITIVE { length.recip() } else { 0.0 };
        direction.iter_mut().for_each(|d| *d *= scale);
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_axes_are_found() {
        // Eigenvalues 9, 4 and 1 on axes turned by 30 degrees in the first two dimensions.
        let (c, s) = (0.75f64.sqrt(), 0.5);
        let (a, b, d) = (9.0 * c * c + 4.0 * s * s, 5.0 * c * s, 9.0 * s * s + 4.0 * c * c);
        let found = leading_directions(&[a, b, 0.0, b, d, 0.0, 0.0, 0.0, 1.0], 3, 2, 5);
        for (direction, expected) in found.iter().zip([[c, s, 0.0], [-s, c, 0.0]]) {
            assert!((dot(direction, &expected).abs() - 1.0).abs() < 1e-9, "{found:?}");
        }
    }
}
