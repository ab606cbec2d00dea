//! Slices of the traffic on which the pooled map is off: a correction on the logit each, shrunk towards
//! none (multicalibration-light, methods section 2.4).

use std::collections::BTreeMap;

use crate::numeric::{sigmoid, softplus};

/// Rounds of corrections per slice before giving up on the held-out loss ever rising.
const ROUNDS_PER_SLICE: usize = 10;

/// A gain in held-out log loss per unit of weight that is worth another round.
const WORTH_A_ROUND: f64 = 1e-6;

/// One row: what the pooled map says and what happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SliceRow<'a> {
    /// Calibrated logit of the pooled map.
    pub logit: f64,
    /// Whether strong was strictly better.
    pub label: bool,
    /// Sample weight, above 0.
    pub weight: f64,
    /// Tags of the row.
    pub slices: &'a [String],
    /// Whether the row judges the corrections first, before it takes part in them.
    pub held_out: bool,
}

/// Corrections by slice, in logits.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SliceOffsets(BTreeMap<String, f64>);

impl SliceOffsets {
    /// Known corrections; those that are not finite are a caller's error and left out.
    pub fn new(offsets: impl IntoIterator<Item = (String, f64)>) -> Self {
        Self(offsets.into_iter().filter(|(_, offset)| offset.is_finite()).collect())
    }

    /// By slice.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(slice, offset)| (slice.as_str(), *offset))
    }

    /// The correction of a row that carries `slices`: the sum over them.
    pub fn of<'a>(&self, slices: impl IntoIterator<Item = &'a str>) -> f64 {
        slices.into_iter().filter_map(|slice| self.0.get(slice)).sum()
    }

    /// Fits a correction d for every slice, each with a Gaussian prior of variance `tau_squared` around 0:
    /// `sum w (y - sigmoid(z + d)) = d / tau²`. Slices may overlap: the one with the largest gap times
    /// the root of its weight is corrected first, given the others, for as many rounds as the log loss of
    /// the held-out rows falls; then all rows are fitted for that many rounds.
    ///
    /// `tau_squared` above 0, by default 0.25 to 1. Without held-out rows every slice is fitted until
    /// nothing changes.
    pub fn fit(rows: &[SliceRow<'_>], tau_squared: f64) -> Self {
        let members = members(rows);
        let (judges, fitted): (Vec<usize>, Vec<usize>) = (0..rows.len()).partition(|i| rows[*i].held_out);
        let most = ROUNDS_PER_SLICE * members.len();
        if judges.is_empty() {
            return Self::in_rounds(rows, &members, &fitted, tau_squared, most, |_| true);
        }
        let loss = |offsets: &Self| {
            let of = |i: &usize| {
                let row = &rows[*i];
                let z = row.logit + offsets.of(row.slices.iter().map(String::as_str));
                row.weight * (softplus(z) - if row.label { z } else { 0.0 })
            };
            judges.iter().map(of).sum::<f64>()
        };
        let weight: f64 = judges.iter().map(|i| rows[*i].weight).sum();
        let (mut best, mut rounds, mut last) = (loss(&Self::default()), 0, 0);
        Self::in_rounds(rows, &members, &fitted, tau_squared, most, |offsets| {
            last += 1;
            let found = loss(offsets);
            if found < best - WORTH_A_ROUND * weight {
                (best, rounds) = (found, last);
            }
            // A round for every slice without a gain: over.
            last - rounds <= members.len()
        });
        let all: Vec<usize> = (0..rows.len()).collect();
        Self::in_rounds(rows, &members, &all, tau_squared, rounds, |_| true)
    }

    fn in_rounds(
        rows: &[SliceRow<'_>],
        members: &BTreeMap<&str, Vec<usize>>,
        fitted: &[usize],
        tau_squared: f64,
        most: usize,
        mut go_on: impl FnMut(&Self) -> bool,
    ) -> Self {
        let mut use_row = vec![false; rows.len()];
        for row in fitted {
            use_row[*row] = true;
        }
        let used: BTreeMap<&str, Vec<usize>> = members
            .iter()
            .map(|(slice, all)| (*slice, all.iter().copied().filter(|i| use_row[*i]).collect()))
            .collect();
        let mut logits: Vec<f64> = rows.iter().map(|row| row.logit).collect();
        let mut offsets = Self::default();
        for _ in 0..most {
            let current = |slice: &str| offsets.0.get(slice).copied().unwrap_or(0.0);
            // The pull towards 0 belongs to the gap: without it the largest slice would never be done.
            let pull = |slice: &str, all: &[usize]| -> f64 {
                let residual: f64 = all
                    .iter()
                    .map(|i| rows[*i].weight * (f64::from(u8::from(rows[*i].label)) - sigmoid(logits[*i])))
                    .sum();
                let weight: f64 = all.iter().map(|i| rows[*i].weight).sum();
                if weight > 0.0 {
                    (residual - current(slice) / tau_squared).abs() / weight.sqrt()
                } else {
                    0.0
                }
            };
            let pulls = used.iter().map(|(slice, all)| (*slice, pull(slice, all)));
            let Some((slice, largest)) = pulls.max_by(|a, b| a.1.total_cmp(&b.1)) else { break };
            if largest < 1e-10 {
                break;
            }
            let before = current(slice);
            let after = solve(rows, &logits, &used[slice], before, tau_squared);
            for i in &members[slice] {
                logits[*i] += after - before;
            }
            offsets.0.insert(slice.to_owned(), after);
            if !go_on(&offsets) {
                break;
            }
        }
        offsets
    }
}

fn members<'a>(rows: &[SliceRow<'a>]) -> BTreeMap<&'a str, Vec<usize>> {
    let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, row) in rows.iter().enumerate() {
        for slice in row.slices {
            members.entry(slice).or_default().push(i);
        }
    }
    members
}

/// The correction of one slice given the others: the root of a falling function, by bisection.
fn solve(rows: &[SliceRow<'_>], logits: &[f64], slice: &[usize], current: f64, tau_squared: f64) -> f64 {
    let gradient = |d: f64| -> f64 {
        let residual = |i: &usize| {
            let row = &rows[*i];
            row.weight * (f64::from(u8::from(row.label)) - sigmoid(logits[*i] - current + d))
        };
        slice.iter().map(residual).sum::<f64>() - d / tau_squared
    };
    // |gradient without the prior| is at most the weight of the slice, so the root lies within.
    let weight: f64 = slice.iter().map(|i| rows[*i].weight).sum();
    let (mut low, mut high) = (-weight * tau_squared - 1.0, weight * tau_squared + 1.0);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if gradient(middle) > 0.0 { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::logit;
    use crate::sample::tests::assert_close;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn disjoint_slices_agree_with_the_reference() {
        let phi = (5f64.sqrt() - 1.0) / 2.0;
        let y = [0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0];
        let tags: Vec<Vec<String>> = (0..30).map(|i| vec![format!("s{}", i % 3)]).collect();
        let rows: Vec<SliceRow<'_>> = (0..30)
            .map(|i| SliceRow {
                logit: logit(((f64::from(i as u32 + 1) * phi).fract() * 1e6).round() / 1e6),
                label: y[i] == 1,
                weight: 1.0,
                slices: &tags[i],
                held_out: false,
            })
            .collect();
        let expected = [
            (0.25, [0.06551262795397857, 0.21915462469867197, -0.5143771453615926]),
            (1.0, [0.13378169348338254, 0.48081783600465666, -1.07082939414008]),
            (100.0, [0.20394991878962668, 0.7926390690152338, -1.7229859669921446]),
        ];
        for (tau_squared, expected) in expected {
            let offsets = SliceOffsets::fit(&rows, tau_squared);
            for (i, expected) in expected.into_iter().enumerate() {
                assert_close(offsets.of([format!("s{i}").as_str()]), expected, 1e-9);
            }
        }
    }

    /// Rows of two overlapping slices, `a` shifted by `shift`, every third row held out.
    fn simulate(rows: usize, shift: f64, seed: u64) -> Vec<(f64, bool, Vec<String>)> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..rows)
            .map(|_| {
                let z: f64 = rng.random_range(-2.0..2.0);
                let (a, b) = (rng.random_bool(0.3), rng.random_bool(0.5));
                let p = sigmoid(z + if a { shift } else { 0.0 });
                let tags = [(a, "a"), (b, "b")].into_iter().filter(|t| t.0).map(|t| t.1.to_owned());
                (z, rng.random::<f64>() < p, tags.collect())
            })
            .collect()
    }

    fn fit(rows: &[(f64, bool, Vec<String>)]) -> SliceOffsets {
        let mut fitted = Vec::with_capacity(rows.len());
        for (i, (logit, label, slices)) in rows.iter().enumerate() {
            let (logit, label, held_out) = (*logit, *label, i % 3 == 0);
            fitted.push(SliceRow { logit, label, weight: 1.0, slices, held_out });
        }
        SliceOffsets::fit(&fitted, 1.0)
    }

    #[test]
    fn a_shifted_slice_is_found_and_its_neighbour_left_alone() {
        let offsets = fit(&simulate(6_000, 1.0, 5));
        assert_close(offsets.of(["a"]), 1.0, 0.2);
        assert_close(offsets.of(["b"]), 0.0, 0.15);
        assert_close(offsets.of(["a", "b", "unknown"]), offsets.of(["a"]) + offsets.of(["b"]), 1e-12);
    }

    #[test]
    fn where_the_pooled_map_is_right_hardly_anything_is_corrected() {
        let mut total = 0.0;
        for seed in 0..20 {
            total += fit(&simulate(3_000, 0.0, seed)).iter().map(|(_, d)| d.abs()).sum::<f64>() / 20.0;
        }
        assert!(total < 0.08, "{total}");
    }
}
