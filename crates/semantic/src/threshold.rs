//! The least score of a match, from scores of known correctness: where accuracy is greatest, or where enough of what
//! is above it is correct.

use evaluation::upper_bound;

use crate::SemanticError;

/// Thresholds at which [`by_precision`] looks: eighths of the sample, so that they are chosen before a label is seen.
const LOOKS: usize = 8;

/// A score and whether what it was the score of is correct.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// The score.
    pub score: f64,
    /// Whether the match is correct.
    pub correct: bool,
}

/// What lies at or above a threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Above {
    /// The threshold.
    pub threshold: f64,
    /// Rows at or above it.
    pub rows: usize,
    /// Those that are correct.
    pub correct: usize,
    /// Exact (Clopper-Pearson) lower bound of the share that is correct.
    pub lower_bound: f64,
}

/// The threshold that agrees with most labels: accept what is correct, refuse what is not. Every threshold that tells
/// rows apart is a candidate: 0, the midpoints between neighbouring scores, and 1. Of the longest run of equally good
/// neighbours it is the middle one, of equally long runs the lowest. 0 without rows (methods section 7).
pub fn by_accuracy(rows: &[Judged]) -> f64 {
    let mut sorted = rows.to_vec();
    sorted.sort_unstable_by(|a, b| a.score.total_cmp(&b.score));
    let mut candidates = vec![0.0];
    candidates.extend(midpoints(&sorted));
    candidates.push(1.0);
    // The sweep: rows below the candidate are refused.
    let (mut at, mut right) = (0, sorted.iter().filter(|row| row.correct).count());
    let agreements: Vec<usize> = candidates
        .iter()
        .map(|candidate| {
            while let Some(row) = sorted.get(at).filter(|row| row.score < *candidate) {
                right = if row.correct { right - 1 } else { right + 1 };
                at += 1;
            }
            right
        })
        .collect();
    let most = agreements.iter().copied().max().unwrap_or(0);
    let (mut start, mut longest) = (0, 0..0);
    for (i, agreement) in agreements.iter().enumerate() {
        if *agreement < most {
            start = i + 1;
        } else if i + 1 - start > longest.len() {
            longest = start..i + 1;
        }
    }
    candidates[(longest.start + longest.end.max(1) - 1) / 2]
}

/// What lies above each of some thresholds with confidence `1 - delta` each: 0, and the midpoints that leave seven,
/// six, ... eighths of the rows above, where there are such.
///
/// # Errors
/// When delta is not inside (0, 1).
pub fn precision_table(rows: &[Judged], delta: f64) -> Result<Vec<Above>, SemanticError> {
    let mut sorted = rows.to_vec();
    sorted.sort_unstable_by(|a, b| a.score.total_cmp(&b.score));
    let mut table: Vec<Above> = Vec::new();
    for look in 0..LOOKS {
        let first = look * sorted.len() / LOOKS;
        let Some(row) = sorted.get(first) else { continue };
        let below = first.checked_sub(1).map(|below| sorted[below].score);
        if below == Some(row.score) || (look > 0 && below.is_none()) {
            // A tie straddles the eighth, or there are fewer rows than looks.
            continue;
        }
        let above = &sorted[first..];
        let correct = above.iter().filter(|row| row.correct).count();
        // The lower bound of what is correct is the upper bound of what is not.
        let lower_bound = 1.0 - upper_bound(above.len() - correct, above.len(), delta)?;
        let threshold = below.map_or(0.0, |below| midpoint(below, row.score));
        table.push(Above { threshold, rows: above.len(), correct, lower_bound });
    }
    Ok(table)
}

/// The lowest of the thresholds of [`precision_table`] above which at least the share `precision` is correct, with
/// confidence `1 - delta` for all looks together (delta is split between them). `None`: the rows prove it for none.
///
/// # Errors
/// When precision or delta is not inside (0, 1).
pub fn by_precision(rows: &[Judged], precision: f64, delta: f64) -> Result<Option<f64>, SemanticError> {
    for (name, value) in [("precision", precision), ("delta", delta)] {
        if !(value > 0.0 && value < 1.0) {
            return Err(SemanticError::OutOfRange { name, value, expected: "a number between 0 and 1" });
        }
    }
    let table = precision_table(rows, delta / LOOKS as f64)?;
    Ok(table.iter().find(|above| above.lower_bound >= precision).map(|above| above.threshold))
}

fn midpoints(sorted: &[Judged]) -> impl Iterator<Item = f64> {
    let apart = sorted.windows(2).filter(|pair| pair[0].score < pair[1].score);
    apart.map(|pair| midpoint(pair[0].score, pair[1].score))
}

/// A number above `low` and not above `high`.
fn midpoint(low: f64, high: f64) -> f64 {
    let middle = low + 0.5 * (high - low);
    if middle > low { middle } else { high }
}

#[cfg(test)]
mod tests;
