//! BM25 over the words of exemplars, by an inverted index (Robertson & Zaragoza 2009; methods section 7).

use std::collections::HashMap;

use crate::text::terms;

/// How soon more of the same word stops to count.
const K1: f64 = 1.5;

/// How much a longer exemplar is held against it, in [0, 1].
const B: f64 = 0.75;

/// An exemplar that holds a term, and the term's score there without its rarity.
#[derive(Debug, Clone, Copy)]
struct Posting {
    row: u32,
    saturation: f64,
}

/// Words of exemplars, ready to be scored.
#[derive(Debug, Clone, Default)]
pub struct Bm25 {
    rows: usize,
    /// Which postings belong to a term.
    places: HashMap<u64, usize>,
    postings: Vec<Vec<Posting>>,
}

impl Bm25 {
    /// Takes texts as rows, in order.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut index, mut lengths, mut words) = (Self::default(), Vec::new(), Vec::new());
        for text in texts {
            terms(text, &mut words);
            lengths.push(words.len() as f64);
            words.sort_unstable();
            for run in words.chunk_by(|a, b| a == b) {
                let next = index.postings.len();
                let place = *index.places.entry(run[0]).or_insert(next);
                if place == next {
                    index.postings.push(Vec::new());
                }
                index.postings[place].push(Posting { row: index.rows as u32, saturation: run.len() as f64 });
            }
            index.rows += 1;
        }
        let mean = lengths.iter().sum::<f64>() / (index.rows.max(1) as f64);
        for posting in index.postings.iter_mut().flatten() {
            let frequency = posting.saturation;
            let length = lengths[posting.row as usize] / mean;
            posting.saturation = frequency * (K1 + 1.0) / (frequency + K1 * (1.0 - B + B * length));
        }
        index
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// `ln(1 + (N - df + 1/2) / (df + 1/2))`: how rare a term is; above 0.
    fn rarity(&self, rows_with_it: usize) -> f64 {
        let (all, with) = (self.rows as f64, rows_with_it as f64);
        ((all - with + 0.5) / (with + 0.5)).ln_1p()
    }

    /// Overwrites `scores` with the score of each row; a word that the query holds twice counts twice. Returns what
    /// no row can reach: the score if every word, the unknown ones too, were found over and over.
    pub fn score(&self, query: &str, scores: &mut Vec<f64>) -> f64 {
        scores.clear();
        scores.resize(self.rows, 0.0);
        let mut words = Vec::new();
        terms(query, &mut words);
        let mut most = 0.0;
        for word in words {
            let found = self.places.get(&word).map_or(&[][..], |place| &self.postings[*place]);
            let rarity = self.rarity(found.len());
            most += rarity * (K1 + 1.0);
            for posting in found {
                scores[posting.row as usize] += rarity * posting.saturation;
            }
        }
        most
    }

    /// As [`Self::score`], with every score as a share of what no row can reach: in [0, 1), comparable from query to
    /// query, low where much of the query is unknown.
    pub fn shares(&self, query: &str, scores: &mut Vec<f64>, shares: &mut Vec<f32>) {
        let most = self.score(query, scores);
        shares.clear();
        shares.extend(scores.iter().map(|score| if most > 0.0 { (score / most) as f32 } else { 0.0 }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Scores by the definition, word by word.
    fn slowly(texts: &[String], query: &str) -> Vec<f64> {
        let words = |text: &str| {
            let mut out = Vec::new();
            terms(text, &mut out);
            out
        };
        let rows: Vec<Vec<u64>> = texts.iter().map(|text| words(text)).collect();
        let n = rows.len() as f64;
        let mean = rows.iter().map(Vec::len).sum::<usize>() as f64 / n;
        let of_row = |row: &Vec<u64>| {
            let of_word = |word: &u64| {
                let df = rows.iter().filter(|row| row.contains(word)).count() as f64;
                let tf = row.iter().filter(|other| *other == word).count() as f64;
                if tf == 0.0 {
                    return 0.0;
                }
                let norm = 1.0 - 0.75 + 0.75 * row.len() as f64 / mean;
                (1.0 + (n - df + 0.5) / (df + 0.5)).ln() * tf * 2.5 / (tf + 1.5 * norm)
            };
            words(query).iter().map(of_word).sum()
        };
        rows.iter().map(of_row).collect()
    }

    #[test]
    fn scores_agree_with_the_reference() {
        // methods/golden/07_semantic.json, "bm25".
        let docs = ["solve the equation", "write a poem", "solve a system of equation", "fix the bug"];
        let index = Bm25::new(docs);
        let mut scores = Vec::new();
        let most = index.score("solve equation bug", &mut scores);
        let expected = [1.481535958448738, 0.0, 1.1621629374657765, 1.286688493172756];
        for (found, expected) in scores.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert!(most > 1.5);
    }

    proptest! {
        #[test]
        fn the_inverted_index_is_the_definition(
            texts in prop::collection::vec("[abc ]{0,12}", 1..8), query in "[abcd ]{0,10}",
        ) {
            let index = Bm25::new(texts.iter().map(String::as_str));
            let (mut scores, mut shares) = (Vec::new(), Vec::new());
            let most = index.score(&query, &mut scores);
            for (found, expected) in scores.iter().zip(slowly(&texts, &query)) {
                prop_assert!((found - expected).abs() < 1e-9, "{} {}", found, expected);
                prop_assert!(*found <= most);
            }
            index.shares(&query, &mut scores, &mut shares);
            prop_assert!(shares.iter().all(|share| (0.0..1.0).contains(share)), "{:?}", shares);
        }
    }
}
