//! Exact and near duplicates, so that no group crosses a split.
//!
//! Near duplicates are found by MinHash over word 3-shingles with banded locality-sensitive hashing
//! (Broder 1997; Leskovec, Rajaraman, Ullman, chapter 3) and verified by the true Jaccard similarity.

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use crate::Example;

/// Rows at least this similar (Jaccard over word 3-shingles) belong together.
const SIMILAR: f64 = 0.8;
/// 16 bands of 4 rows: a pair at 0.8 is a candidate with probability above 0.999.
const BANDS: usize = 16;
const BAND_ROWS: usize = 4;
const SHINGLE_WORDS: usize = 3;

/// What grouping found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grouping {
    /// Rows whose text, but for case and spacing, occurred before.
    pub exact: usize,
    /// Further rows that joined a group by similarity.
    pub near: usize,
    /// Groups in the end.
    pub groups: usize,
}

/// Puts every row into a group: given groups are kept and merged where their rows are duplicates.
pub fn group_duplicates(examples: &mut [Example]) -> Grouping {
    let mut sets = DisjointSets::new(examples.len());
    let mut first_of: HashMap<&str, usize> = HashMap::new();
    for (row, example) in examples.iter().enumerate() {
        if let Some(group) = &example.group {
            let first = *first_of.entry(group).or_insert(row);
            sets.join(first, row);
        }
    }
    let prints = on_every_core(examples, print);
    let (mut exact, mut distinct) = (0, Vec::new());
    let mut first_text: HashMap<u64, usize> = HashMap::new();
    for (row, print) in prints.iter().enumerate() {
        let first = *first_text.entry(print.text).or_insert(row);
        // The hash of a text may belong to another one: then the row is compared like any other.
        if first < row && normalised(&examples[first]) == normalised(&examples[row]) {
            exact += 1;
            sets.join(first, row);
        } else {
            distinct.push(row);
        }
    }
    let near = join_similar(examples, &prints, &distinct, &mut sets);
    let mut names: BTreeMap<usize, String> = BTreeMap::new();
    for row in 0..examples.len() {
        let root = sets.find(row);
        let name = names
            .entry(root)
            .or_insert_with(|| examples[root].group.clone().unwrap_or_else(|| examples[root].id.clone()));
        examples[row].group = Some(name.clone());
    }
    Grouping { exact, near, groups: names.len() }
}

/// What is kept of a row while it is compared: texts and shingles are made again where rows are verified, so that a
/// million rows fit in memory.
struct Print {
    /// Of the normalised text.
    text: u64,
    /// How many shingles it has.
    shingles: usize,
    /// Of each band of its signature.
    bands: [u64; BANDS],
}

fn print(example: &Example) -> Print {
    let text = normalised(example);
    let shingles = shingles(&text);
    let signature = signature(&shingles);
    let (bands, _) = signature.as_chunks::<BAND_ROWS>();
    let bands = std::array::from_fn(|band| hash(bands[band]));
    Print { text: hash(text.as_str()), shingles: shingles.len(), bands }
}

/// Joins rows that agree in at least one band of their signatures and are similar indeed; how many that were.
fn join_similar(
    examples: &[Example],
    prints: &[Print],
    distinct: &[usize],
    sets: &mut DisjointSets,
) -> usize {
    let mut near = 0;
    for band in 0..BANDS {
        let mut keys: Vec<(u64, usize)> =
            distinct.iter().map(|row| (prints[*row].bands[band], *row)).collect();
        keys.sort_unstable();
        let same: Vec<&[(u64, usize)]> =
            keys.chunk_by(|a, b| a.0 == b.0).filter(|bucket| bucket.len() > 1).collect();
        // What was joined in bands before need not be compared; the buckets of this one know nothing of each other.
        let roots: Vec<usize> = (0..examples.len()).map(|row| sets.find(row)).collect();
        let bucket = |bucket: &&[(u64, usize)]| similar_pairs(bucket, examples, prints, &roots);
        for (a, b) in on_every_core(&same, bucket).into_iter().flatten() {
            near += usize::from(sets.join(a, b));
        }
    }
    near
}

/// The pairs to join within a bucket. Each row is compared with a few representatives, which is enough to join them
/// all: the first may be a chance collision.
fn similar_pairs(
    bucket: &[(u64, usize)],
    examples: &[Example],
    prints: &[Print],
    roots: &[usize],
) -> Vec<(usize, usize)> {
    const REPRESENTATIVES: usize = 8;
    let mut pairs = Vec::new();
    // Each with the root that it is known to belong to.
    let mut representatives: Vec<(Row<'_>, usize)> = Vec::with_capacity(REPRESENTATIVES);
    for (_, row) in bucket {
        let (own, mut root) = (Row::new(*row, &examples[*row]), roots[*row]);
        for i in 0..representatives.len() {
            let (other, of_other) = &representatives[i];
            // Rows of very different length need no look: their similarity is at most the ratio.
            let (a, b) = (prints[*row].shingles, prints[other.row].shingles);
            let possible = a.min(b) as f64 >= SIMILAR * a.max(b) as f64;
            if possible && *of_other != root && similar(other.shingles(), own.shingles()) {
                pairs.push((other.row, *row));
                let (old, new) = (root, *of_other);
                representatives.iter_mut().filter(|r| r.1 == old).for_each(|r| r.1 = new);
                root = new;
            }
        }
        if representatives.len() < REPRESENTATIVES {
            representatives.push((own, root));
        }
    }
    pairs
}

/// The results for each item, in the order of the items, computed on every core.
fn on_every_core<T: Sync, R: Send>(items: &[T], of: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let size = items.len().div_ceil(cores).max(1);
    let compute = |part: &[T]| part.iter().map(&of).collect::<Vec<R>>();
    let compute = &compute;
    std::thread::scope(|scope| {
        let parts: Vec<_> = items.chunks(size).map(|part| scope.spawn(move || compute(part))).collect();
        let join = |part: std::thread::ScopedJoinHandle<'_, Vec<R>>| match part.join() {
            Ok(found) => found,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        parts.into_iter().flat_map(join).collect()
    })
}

/// A row whose shingles are made when they are first asked for.
struct Row<'a> {
    row: usize,
    example: &'a Example,
    shingles: OnceCell<Vec<u64>>,
}

impl<'a> Row<'a> {
    fn new(row: usize, example: &'a Example) -> Self {
        Self { row, example, shingles: OnceCell::new() }
    }

    fn shingles(&self) -> &[u64] {
        self.shingles.get_or_init(|| shingles(&normalised(self.example)))
    }
}

fn normalised(example: &Example) -> String {
    let words = example.query.parts().flat_map(|(_, text)| text.split_whitespace());
    let mut text = String::new();
    for word in words {
        if !text.is_empty() {
            text.push(' ');
        }
        // Lower case of the word, not of the text: a final sigma ends a word.
        if word.is_ascii() {
            text.extend(word.bytes().map(|b| char::from(b.to_ascii_lowercase())));
        } else {
            text.push_str(&word.to_lowercase());
        }
    }
    text
}

/// Fixed keys: the same text gives the same shingles in every run.
fn hash<T: std::hash::Hash>(value: T) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(value)
}

/// Hashes of the word shingles, ascending, each once.
fn shingles(text: &str) -> Vec<u64> {
    let words: Vec<&str> = text.split(' ').collect();
    if words.len() <= SHINGLE_WORDS {
        return vec![hash(text)];
    }
    let mut shingles: Vec<u64> = words.windows(SHINGLE_WORDS).map(hash).collect();
    shingles.sort_unstable();
    shingles.dedup();
    shingles
}

fn signature(shingles: &[u64]) -> [u64; BANDS * BAND_ROWS] {
    let mut least = [u64::MAX; BANDS * BAND_ROWS];
    for shingle in shingles {
        for (i, least) in least.iter_mut().enumerate() {
            // A family of multiply-shift permutations with odd multipliers.
            let multiplier = 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(2 * i as u64 + 1) | 1;
            let mixed = shingle.wrapping_mul(multiplier);
            *least = (*least).min(mixed ^ (mixed >> 31));
        }
    }
    least
}

/// Whether the true Jaccard similarity of two ascending sets says that they belong together.
fn similar(a: &[u64], b: &[u64]) -> bool {
    let (mut i, mut j, mut shared) = (0, 0, 0u32);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            Ordering::Less => i += 1,
            Ordering::Greater => j += 1,
            Ordering::Equal => (i, j, shared) = (i + 1, j + 1, shared + 1),
        }
    }
    f64::from(shared) / (a.len() + b.len()).saturating_sub(shared as usize) as f64 >= SIMILAR
}

/// Union-find with path halving; the smallest row is the root.
struct DisjointSets(Vec<usize>);

impl DisjointSets {
    fn new(rows: usize) -> Self {
        Self((0..rows).collect())
    }

    fn find(&mut self, mut row: usize) -> usize {
        while self.0[row] != row {
            self.0[row] = self.0[self.0[row]];
            row = self.0[row];
        }
        row
    }

    /// Whether they were apart.
    fn join(&mut self, a: usize, b: usize) -> bool {
        let (a, b) = (self.find(a), self.find(b));
        self.0[a.max(b)] = a.min(b);
        a != b
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::starter;
    use types::Query;

    #[test]
    fn duplicates_share_a_group_and_strangers_do_not() {
        let long = "the quick brown fox jumps over the lazy dog while seven wise owls watch from an old oak \
                    tree near the river and nobody says a word about the weather";
        let mut examples = starter::generate(5, 1);
        let texts = [
            long.to_owned(),
            long.to_uppercase(),
            long.replace("seven", "eight"),
            "something else entirely, on another subject".to_owned(),
            "what is the capital of the country next door".to_owned(),
        ];
        for (i, (example, text)) in examples.iter_mut().zip(texts).enumerate() {
            (example.query, example.group) = (Query::text(text), None);
            example.id = format!("r{i}");
        }
        examples[4].group = Some("given".into());
        let grouping = group_duplicates(&mut examples);
        assert_eq!(grouping, Grouping { exact: 1, near: 1, groups: 3 });
        let groups: Vec<&str> = examples.iter().filter_map(|e| e.group.as_deref()).collect();
        assert_eq!(groups, ["r0", "r0", "r0", "r3", "given"]);
    }

    #[test]
    fn given_groups_merge_when_their_rows_are_duplicates() {
        let mut examples = starter::generate(4, 1);
        for (i, example) in examples.iter_mut().enumerate() {
            example.group = Some(if i < 2 { "a" } else { "b" }.to_owned());
        }
        examples[3].query = examples[0].query.clone();
        assert_eq!(group_duplicates(&mut examples).groups, 1);
    }
}
