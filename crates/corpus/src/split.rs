//! Who is fitted on, stopped on, calibrated on, measured on: by group, decided by a hash of the
//! group, so that the same data and seed always split the same way and no group crosses.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::Example;

/// Shares of the splits; they are scaled to add up to one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fractions {
    /// Fitted on.
    pub fit: f64,
    /// Stopped on.
    pub dev: f64,
    /// Calibrated on.
    pub calibrate: f64,
    /// Measured on.
    pub test: f64,
}

/// Rows by split.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Split {
    /// Fitted on.
    pub fit: Vec<usize>,
    /// Stopped on.
    pub dev: Vec<usize>,
    /// Calibrated on.
    pub calibrate: Vec<usize>,
    /// Measured on.
    pub test: Vec<usize>,
}

/// The group of a row; a row without one is its own.
fn group(example: &Example) -> &str {
    example.group.as_deref().unwrap_or(&example.id)
}

/// A number in [0, 1) that depends on purpose, seed and group only.
pub fn place(purpose: &str, seed: u64, group: &str) -> f64 {
    let mut hasher = Sha256::new();
    hasher.update(purpose.as_bytes());
    hasher.update(seed.to_le_bytes());
    hasher.update(group.as_bytes());
    let digest = hasher.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    (u64::from_le_bytes(first) >> 11) as f64 / (1u64 << 53) as f64
}

/// Splits by group.
pub fn split_by_group(examples: &[Example], fractions: Fractions, seed: u64) -> Split {
    let Fractions { fit, dev, calibrate, test } = fractions;
    let total = fit + dev + calibrate + test;
    let mut split = Split::default();
    for (row, example) in examples.iter().enumerate() {
        let at = place("split", seed, group(example)) * total;
        let part = if at < fit {
            &mut split.fit
        } else if at < fit + dev {
            &mut split.dev
        } else if at < fit + dev + calibrate {
            &mut split.calibrate
        } else {
            &mut split.test
        };
        part.push(row);
    }
    split
}

/// Cuts `rows` into `k` folds by group; folds that stay empty are left out.
pub fn folds_by_group(rows: &[usize], examples: &[Example], k: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut folds = vec![Vec::new(); k.max(1)];
    for row in rows {
        let at = place("fold", seed, group(&examples[*row])) * folds.len() as f64;
        let last = folds.len() - 1;
        folds[(at as usize).min(last)].push(*row);
    }
    folds.retain(|fold| !fold.is_empty());
    folds
}

/// The folds that the data prescribes; `None` when any row lacks one.
pub fn given_folds(examples: &[Example]) -> Option<BTreeMap<u32, Vec<usize>>> {
    let mut folds: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (row, example) in examples.iter().enumerate() {
        folds.entry(example.fold?).or_default().push(row);
    }
    Some(folds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::starter;
    use std::collections::BTreeSet;

    #[test]
    fn no_group_crosses_and_shares_are_met() {
        let mut examples = starter::generate(4_000, 3);
        for (i, example) in examples.iter_mut().enumerate() {
            example.group = Some(format!("g{}", i / 3));
        }
        let fractions = Fractions { fit: 0.6, dev: 0.1, calibrate: 0.15, test: 0.15 };
        let split = split_by_group(&examples, fractions, 7);
        assert_eq!(split, split_by_group(&examples, fractions, 7));
        assert_ne!(split, split_by_group(&examples, fractions, 8));
        let groups = |rows: &[usize]| rows.iter().map(|r| r / 3).collect::<BTreeSet<_>>();
        let parts = [&split.fit, &split.dev, &split.calibrate, &split.test];
        let sizes: Vec<usize> = parts.iter().map(|p| p.len()).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 4_000);
        // Binomial over 1,334 groups of three: four standard errors are 160 rows at most.
        for (size, share) in sizes.iter().zip([0.6, 0.1, 0.15, 0.15]) {
            assert!((*size as f64 - 4_000.0 * share).abs() < 215.0, "{sizes:?}");
        }
        for (i, a) in parts.iter().enumerate() {
            for b in &parts[i + 1..] {
                assert!(groups(a).is_disjoint(&groups(b)));
            }
        }
        let folds = folds_by_group(&split.fit, &examples, 5, 7);
        assert_eq!(folds.iter().map(Vec::len).sum::<usize>(), split.fit.len());
        assert!(groups(&folds[0]).is_disjoint(&groups(&folds[1])));
    }
}
