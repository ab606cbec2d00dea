//! How many texts go to a device at once: texts of like length together, and never more tokens than its memory was
//! planned for.

/// Tokens of one call at most, padding counted: 32 texts of 256. More gain a GPU nothing and cost it memory.
pub(crate) const MOST_TOKENS: usize = 8_192;

/// Splits texts of these lengths into calls of at most `most` tokens once padded to the longest of each, shortest
/// texts first; a text longer than that is a call of its own. Indices into `lengths`, each once.
pub(crate) fn calls(lengths: &[usize], most: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|row| lengths[*row]);
    let mut calls: Vec<Vec<usize>> = Vec::new();
    for row in order {
        match calls.last_mut() {
            // The order makes this row the longest of its call.
            Some(call) if (call.len() + 1) * lengths[row] <= most => call.push(row),
            _ => calls.push(vec![row]),
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_call_and_no_call_is_too_large() {
        assert!(calls(&[], 100).is_empty());
        assert_eq!(calls(&[200, 1], 100), [[1], [0]], "what is too long goes alone");
        assert_eq!(calls(&[9, 3, 9, 3], 18), [vec![1, 3], vec![0, 2]], "like lengths go together");
        for most in [1, 64, 1_000, 100_000] {
            let lengths: Vec<usize> = (0..200).map(|i| 1 + (i * 37) % 254).collect();
            let calls = calls(&lengths, most);
            let mut rows: Vec<usize> = calls.iter().flatten().copied().collect();
            rows.sort_unstable();
            assert_eq!(rows, (0..200).collect::<Vec<_>>());
            for call in &calls {
                let longest = call.iter().map(|row| lengths[*row]).max().unwrap_or(0);
                assert!(call.len() == 1 || call.len() * longest <= most);
            }
        }
    }
}
