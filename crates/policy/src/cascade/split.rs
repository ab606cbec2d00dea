//! The best thresholds of one stage, exactly, in one pass over its rows by rising probability. What a row loses by
//! each verdict is worked out in `problem`.

use types::Threshold;

use crate::cascade::StageThresholds;

/// Rows of one stage with the same probability: what they lose in sum by each verdict.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) p: f64,
    pub(super) abstain: f64,
    pub(super) escalate: f64,
    pub(super) accept: f64,
}

/// What a stage may do with an answer, which decides what there is to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freedom {
    /// Accept only: a last stage where nothing is given up.
    Accept,
    /// Accept or abstain: a last stage.
    AcceptOrAbstain,
    /// Accept or escalate.
    AcceptOrEscalate,
    /// All three.
    All,
}

impl Freedom {
    /// The same, where nothing can be sent on.
    pub(super) fn without_escalation(self) -> Self {
        match self {
            Self::Accept | Self::AcceptOrEscalate => Self::Accept,
            Self::AcceptOrAbstain | Self::All => Self::AcceptOrAbstain,
        }
    }
}

/// The thresholds with the least sum over `groups`, which rise in p. Where several are equally good, those in the
/// middle of the flat minimum: new rows fall on either side of it. O(groups).
pub(super) fn best_thresholds(groups: &[Group], freedom: Freedom, tolerance: f64) -> StageThresholds {
    let cut = |below: fn(&Group) -> f64| {
        group_edge(groups, flat_middle(&cut_sums(groups, below, |group| group.accept), tolerance))
    };
    match freedom {
        Freedom::Accept => StageThresholds::ACCEPT_ALL,
        Freedom::AcceptOrAbstain => {
            let at = cut(|group| group.abstain);
            StageThresholds::saturating(at, at)
        }
        Freedom::AcceptOrEscalate => StageThresholds::saturating(0.0, cut(|group| group.escalate)),
        Freedom::All => two_thresholds(groups, tolerance),
    }
}

/// Sums of all groups for each place of one threshold: the first entry has every group above it.
fn cut_sums(groups: &[Group], below: impl Fn(&Group) -> f64, above: impl Fn(&Group) -> f64) -> Vec<f64> {
    let mut sum = groups.iter().map(&above).sum::<f64>();
    let mut sums = Vec::with_capacity(groups.len() + 1);
    sums.push(sum);
    for group in groups {
        sum += below(group) - above(group);
        sums.push(sum);
    }
    sums
}

/// For each place of the upper threshold the best place of the lower one at or below it is a running minimum.
fn two_thresholds(groups: &[Group], tolerance: f64) -> StageThresholds {
    let upper = cut_sums(groups, |group| group.escalate, |group| group.accept);
    // What abstaining below the lower threshold changes, were everything below the upper one escalated.
    let lower: Vec<f64> = cut_sums(groups, |group| group.abstain - group.escalate, |_| 0.0);
    let mut least = f64::INFINITY;
    let best = |(upper, lower): (&f64, &f64)| {
        least = least.min(*lower);
        upper + least
    };
    let sums: Vec<f64> = upper.iter().zip(&lower).map(best).collect();
    let accept = flat_middle(&sums, tolerance);
    let abstain = flat_middle(&lower[..=accept], tolerance);
    StageThresholds::saturating(group_edge(groups, abstain), group_edge(groups, accept))
}

/// The middle of the longest run of places that are as good as the best.
pub(super) fn flat_middle(sums: &[f64], tolerance: f64) -> usize {
    let least = sums.iter().copied().fold(f64::INFINITY, f64::min);
    let (mut at, mut longest, mut start) = (0, 0, None);
    for place in 0..=sums.len() {
        let flat = sums.get(place).is_some_and(|sum| *sum <= least + tolerance);
        match (flat, start) {
            (true, None) => start = Some(place),
            (false, Some(from)) => {
                if place - from > longest {
                    (at, longest) = (from + (place - 1 - from) / 2, place - from);
                }
                start = None;
            }
            _ => {}
        }
    }
    at
}

fn group_edge(groups: &[Group], place: usize) -> f64 {
    threshold_at(place, |i| groups.get(i).map(|group| group.p), (0.0, Threshold::NEVER.get()))
}

/// The threshold that has `place` of the rising `values` below it: half way between its neighbours, at the ends the
/// ends of its range.
pub(super) fn threshold_at(
    place: usize,
    value: impl Fn(usize) -> Option<f64>,
    (lowest, highest): (f64, f64),
) -> f64 {
    match (place.checked_sub(1).and_then(&value), value(place)) {
        (None, _) => lowest,
        (_, None) => highest,
        (Some(below), Some(above)) => between(below, above),
    }
}

/// Half way between two numbers, above the lower one even where no number lies between.
fn between(below: f64, above: f64) -> f64 {
    let middle = below + 0.5 * (above - below);
    if middle > below { middle } else { above }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(p: f64, abstain: f64, escalate: f64, accept: f64) -> Group {
        Group { p, abstain, escalate, accept }
    }

    #[test]
    fn the_middle_of_the_longest_flat_minimum() {
        assert_eq!(flat_middle(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0], 1e-12), 2);
        assert_eq!(flat_middle(&[0.0, 1.0, 0.0, 1e-13], 1e-12), 2);
        assert_eq!(flat_middle(&[3.0], 1e-12), 0);
        assert_eq!(flat_middle(&[3.0, 2.0], 1e-12), 1);
    }

    #[test]
    fn a_threshold_parts_even_neighbouring_numbers() {
        let next = 0.5_f64.next_up();
        assert_eq!(between(0.5, next), next);
        assert_eq!(between(0.2, 0.4), 0.30000000000000004);
    }

    #[test]
    fn three_verdicts_are_split_exactly() {
        let groups = [
            group(0.1, 0.2, 1.0, 1.0),
            group(0.3, 0.2, 0.5, 1.0),
            group(0.5, 1.0, 0.3, 0.9),
            group(0.9, 1.0, 0.5, 0.1),
        ];
        let found = best_thresholds(&groups, Freedom::All, 1e-12);
        assert!((found.abstain_below() - 0.4).abs() < 1e-12 && (found.accept_above() - 0.7).abs() < 1e-12);
        let found = best_thresholds(&groups, Freedom::AcceptOrEscalate, 1e-12);
        assert_eq!(found.abstain_below(), 0.0);
        let found = best_thresholds(&groups[..2], Freedom::AcceptOrAbstain, 1e-12);
        assert_eq!(
            (found.abstain_below(), found.accept_above()),
            (Threshold::NEVER.get(), Threshold::NEVER.get())
        );
        assert_eq!(best_thresholds(&groups, Freedom::Accept, 1e-12), StageThresholds::ACCEPT_ALL);
    }
}
