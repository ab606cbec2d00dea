//! Which labels a tuned encoder has seen, and what may still be done with rows that carry them.
//!
//! Vectors of rows that an encoder was tuned on are nearer to their labels than those of new rows. A classifier may
//! be fitted on them (as on any training row), but a score of such a row may calibrate nothing and measure nothing,
//! whichever classifier gave it: cross-fitting does not help, the encoder has seen all folds. So the rule is: the
//! rows an encoder was tuned on are exactly the fit and dev rows of the fit that uses it, or none of its rows at all.
//! The first is checked row by row, the second is for the caller to vouch.

use anyhow::{Result, bail};
use corpus::{Example, Split};
use encoder::TunedOn;

/// The record of an encoder tuned on the fit rows of a split and stopped on its dev rows.
pub fn tuned_on(examples: &[Example], split: &Split, seed: u64) -> TunedOn {
    TunedOn { data: corpus::fingerprint(examples), seed, rows: rows(examples, split) }
}

fn rows(examples: &[Example], split: &Split) -> String {
    corpus::fingerprint(split.fit.iter().chain(&split.dev).map(|r| &examples[*r]))
}

/// Whether an encoder has seen the labels of the fit and dev rows of a split: then no cross-fitted score may
/// calibrate. `elsewhere`: the caller vouches that it was tuned on none of these rows.
///
/// # Errors
/// When it was tuned on other rows than these and the caller does not vouch for them.
pub fn seen_rows(
    tuned: Option<&TunedOn>,
    examples: &[Example],
    split: &Split,
    elsewhere: bool,
) -> Result<bool> {
    let Some(tuned) = tuned.filter(|_| !elsewhere) else { return Ok(false) };
    if tuned.rows != rows(examples, split) {
        bail!(
            "the encoder was tuned on the labels of other rows than this fit would fit on (data {:.12}, seed {}): \
             rows it has seen could end up calibrating or measuring. Use the data and the --seed it was tuned with, \
             or give --encoder-tuned-elsewhere if no row of this data was among them",
            tuned.data,
            tuned.seed
        );
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::FRACTIONS;
    use corpus::{split_by_group, starter};

    #[test]
    fn the_rows_of_this_fit_or_rows_of_another_world() {
        let examples = starter::generate(400, 1);
        let split = split_by_group(&examples, FRACTIONS, 7);
        let tuned = tuned_on(&examples, &split, 7);
        assert!(!seen_rows(None, &examples, &split, false).unwrap());
        assert!(seen_rows(Some(&tuned), &examples, &split, false).unwrap());
        let other = split_by_group(&examples, FRACTIONS, 8);
        let refused = seen_rows(Some(&tuned), &examples, &other, false).unwrap_err().to_string();
        assert!(refused.contains("seed 7"), "{refused}");
        let fewer = &examples[..399];
        assert!(seen_rows(Some(&tuned), fewer, &split_by_group(fewer, FRACTIONS, 7), false).is_err());
        assert!(!seen_rows(Some(&tuned), &examples, &other, true).unwrap());
    }
}
