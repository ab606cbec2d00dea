//! Evidence for routes as a vector in which every route is a direction of its own, spread over all coordinates:
//! numbers of like size lose least in eight bits.

use features::hash::pair;

/// Coordinates: a power of two. As many routes are at right angles to each other.
pub(super) const DIRECTED: usize = 128;

/// Places that a route beyond those shares with others.
const SHARED: usize = 4;

/// Writes the sum of the routes' directions, each of length 1 and taken as often as `evidence` says, to `out`, which
/// has [`DIRECTED`] numbers: the Walsh-Hadamard transform of the evidence. Where there are more routes than
/// coordinates, each further one is spread over four others, with signs of its own.
pub(super) fn directions(evidence: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    for (route, evidence) in evidence.iter().enumerate() {
        if let Some(own) = out.get_mut(route) {
            *own += evidence;
            continue;
        }
        for share in 0..SHARED {
            let hash = pair(route as u64, share as u64);
            let part = evidence / (SHARED as f32).sqrt();
            out[(hash >> 32) as usize % DIRECTED] += if hash & 1 == 0 { part } else { -part };
        }
    }
    let mut half = 1;
    while half < out.len() {
        for block in out.chunks_exact_mut(2 * half) {
            let (left, right) = block.split_at_mut(half);
            for (a, b) in left.iter_mut().zip(right) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    let scale = 1.0 / (DIRECTED as f32).sqrt();
    out.iter_mut().for_each(|x| *x *= scale);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direction(route: usize) -> Vec<f32> {
        let mut evidence = vec![0.0; 1_001];
        evidence[route] = 1.0;
        let mut out = vec![0.0; DIRECTED];
        directions(&evidence, &mut out);
        out
    }

    #[test]
    fn routes_are_directions_of_their_own() {
        for a in [0, 1, 5, 127, 128] {
            for b in [0, 1, 5, 127, 128, 1_000] {
                let dot: f32 = direction(a).iter().zip(direction(b)).map(|(a, b)| a * b).sum();
                let expected = f32::from(u8::from(a == b));
                // Beyond the coordinates there is some overlap, and never the same direction.
                let slack = if a.max(b) < DIRECTED { 1e-5 } else { 0.8 };
                assert!((dot - expected).abs() < slack, "{a} {b}: {dot}");
            }
        }
        let spread = direction(3);
        assert!(spread.iter().all(|x| (x.abs() - spread[0].abs()).abs() < 1e-6));
    }
}
