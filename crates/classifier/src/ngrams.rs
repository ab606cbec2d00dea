//! The n-grams a classifier knows: hash → row of the wide table, with inverse document frequency.
//!
//! A table of known hashes rather than plain feature hashing: most n-grams of a corpus occur once,
//! and hashed into the same rows they drown the ones that say something (measured on the
//! in-domain protocol: one point of APGR). What was not seen while fitting is left out.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use features::Features;

/// Known n-grams, the most frequent of the fitting rows.
#[derive(Debug, Clone)]
pub struct NgramTable {
    /// Ascending; the position is the row.
    hashes: Vec<u64>,
    /// `ln((1 + n) / (1 + df)) + 1` by row: the smoothed form of Salton's idf.
    idf: Vec<f32>,
    rows: HashMap<u64, u32, BuildHasherDefault<Mixed>>,
}

/// The keys are hashes already.
#[derive(Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl NgramTable {
    /// A table from its columns: `hashes` ascending without duplicates, one positive finite `idf` each.
    /// `None` when they are not.
    pub fn new(hashes: Vec<u64>, idf: Vec<f32>) -> Option<Self> {
        let sound = hashes.len() == idf.len()
            && hashes.is_sorted_by(|a, b| a < b)
            && idf.iter().all(|v| v.is_finite() && *v > 0.0);
        let rows = hashes.iter().zip(0..).map(|(hash, row)| (*hash, row)).collect();
        sound.then_some(Self { hashes, idf, rows })
    }

    /// Keeps the n-grams that occur in at least `minimum_rows` of the fitting rows, the most frequent
    /// `most` of them; equal frequencies fall to the smaller hash.
    pub fn fit<'a>(rows: impl Iterator<Item = &'a [u64]>, minimum_rows: u32, most: usize) -> Self {
        let mut frequency: HashMap<u64, u32, BuildHasherDefault<Mixed>> = HashMap::default();
        let mut count = 0u32;
        for ngrams in rows {
            count += 1;
            for ngram in ngrams {
                *frequency.entry(*ngram).or_default() += 1;
            }
        }
        let mut known: Vec<(u64, u32)> =
            frequency.into_iter().filter(|(_, df)| *df >= minimum_rows).collect();
        known.sort_unstable_by_key(|(hash, df)| (std::cmp::Reverse(*df), *hash));
        known.truncate(most);
        known.sort_unstable();
        let idf = |df: u32| (((1.0 + f64::from(count)) / (1.0 + f64::from(df))).ln() + 1.0) as f32;
        let rows = known.iter().zip(0..).map(|((hash, _), row)| (*hash, row)).collect();
        let idf = known.iter().map(|(_, df)| idf(*df)).collect();
        Self { hashes: known.into_iter().map(|(hash, _)| hash).collect(), idf, rows }
    }

    /// This table with the n-grams of another one; those of both keep the idf of the other.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let mut idf: BTreeMap<u64, f32> = self.hashes.iter().copied().zip(self.idf.iter().copied()).collect();
        idf.extend(other.hashes.iter().copied().zip(other.idf.iter().copied()));
        let rows = idf.keys().zip(0..).map(|(hash, row)| (*hash, row)).collect();
        let (hashes, idf) = idf.into_iter().unzip();
        Self { hashes, idf, rows }
    }

    /// The row of an n-gram; `None` when it is not known.
    pub(crate) fn row(&self, hash: u64) -> Option<usize> {
        self.rows.get(&hash).map(|row| *row as usize)
    }

    /// Number of known n-grams.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether no n-gram is known.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    pub(crate) fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    pub(crate) fn idf(&self) -> &[f32] {
        &self.idf
    }

    /// Appends the known n-grams of one query and their weights `count x idf`, scaled to unit length.
    pub fn weigh(&self, features: &Features, ids: &mut Vec<i32>, weights: &mut Vec<f32>) {
        let first = weights.len();
        let mut squares = 0.0f32;
        for (ngram, count) in features.ngrams.iter().zip(&features.ngram_counts) {
            if let Some(row) = self.rows.get(ngram) {
                let weight = count * self.idf[*row as usize];
                ids.push(*row as i32);
                weights.push(weight);
                squares += weight * weight;
            }
        }
        let scale = squares.sqrt().recip();
        for weight in &mut weights[first..] {
            *weight *= scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_ngrams_are_left_out_and_weights_have_unit_length() {
        let rows: [&[u64]; 4] = [&[1, 5, 9], &[1, 5], &[1, 7], &[1, 5, 8]];
        let table = NgramTable::fit(rows.into_iter(), 2, 10);
        assert_eq!(table.hashes(), [1, 5]);
        assert!((table.idf()[0] - 1.0).abs() < 1e-6, "in every row: idf is 1");
        let query =
            Features { ngrams: vec![1, 5, 7], ngram_counts: vec![1.0, 2.0, 1.0], ..Features::default() };
        let (mut ids, mut weights) = (vec![], vec![]);
        table.weigh(&query, &mut ids, &mut weights);
        assert_eq!(ids, [0, 1]);
        assert!((weights.iter().map(|w| w * w).sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(NgramTable::fit(rows.into_iter(), 2, 1).hashes(), [1], "the most frequent first");
    }

    #[test]
    fn a_joined_table_knows_both_and_keeps_the_other_idf() {
        let table = |hashes: &[u64], idf: &[f32]| NgramTable::new(hashes.to_vec(), idf.to_vec()).unwrap();
        let joined = table(&[1, 5], &[1.0, 2.0]).with(&table(&[2, 5], &[3.0, 4.0]));
        assert_eq!((joined.hashes(), joined.idf()), (&[1, 2, 5][..], &[1.0, 3.0, 4.0][..]));
        assert_eq!([1, 2, 5, 9].map(|h| joined.row(h)), [Some(0), Some(1), Some(2), None]);
    }

    #[test]
    fn unsound_columns_are_refused() {
        assert!(NgramTable::new(vec![2, 1], vec![1.0, 1.0]).is_none());
        assert!(NgramTable::new(vec![1, 1], vec![1.0, 1.0]).is_none());
        assert!(NgramTable::new(vec![1], vec![f32::NAN]).is_none());
        assert!(NgramTable::new(vec![1], vec![]).is_none());
        assert!(NgramTable::new(vec![1, 2], vec![1.0, 2.0]).is_some());
    }
}
