//! Which scorer spoke of a query, the fast one or the deep one, and why it was that one.

/// A tier of scorers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScoringTier {
    /// Features and a small network: microseconds.
    Fast,
    /// An encoder beside them: milliseconds.
    Deep,
}

impl ScoringTier {
    /// `fast` or `deep`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Deep => "deep",
        }
    }
}

/// Which tier a caller wishes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TierWish {
    /// The deep tier where the fast one's band straddles the threshold: what thresholds are selected for.
    #[default]
    Auto,
    /// The fast tier alone.
    FastOnly,
    /// The deep tier for every rung it knows.
    DeepAlways,
}

/// Why a tier scored a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TierReason {
    /// Fast: no deep tier is served, or none that knows a rung of this request.
    NoDeepTier,
    /// Fast: the deep tier could not change the decision.
    BandClear,
    /// Fast: high stakes go strong whatever the odds.
    HighStakes,
    /// Fast: the caller wished for the fast tier alone.
    NotWanted,
    /// Fast: the encoder would not have answered, or did not answer, before the deadline.
    DeadlineTooNear,
    /// Fast: too many queries wait for the encoder.
    QueueFull,
    /// Fast: the encoder's device was lost and nothing could take its place.
    DeviceLost,
    /// Fast: the encoder could not read this query.
    EncoderFailed,
    /// Deep: the band around the fast probability straddles the threshold.
    Straddles,
    /// Deep: the caller wished for it.
    Requested,
}

impl TierReason {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::NoDeepTier,
        Self::BandClear,
        Self::HighStakes,
        Self::NotWanted,
        Self::DeadlineTooNear,
        Self::QueueFull,
        Self::DeviceLost,
        Self::EncoderFailed,
        Self::Straddles,
        Self::Requested,
    ];

    /// A stable snake-case name for logs and wires.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoDeepTier => "no_deep_tier",
            Self::BandClear => "band_clear",
            Self::HighStakes => "high_stakes",
            Self::NotWanted => "not_wanted",
            Self::DeadlineTooNear => "deadline_too_near",
            Self::QueueFull => "queue_full",
            Self::DeviceLost => "device_lost",
            Self::EncoderFailed => "encoder_failed",
            Self::Straddles => "straddles",
            Self::Requested => "requested",
        }
    }

    /// The one of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }

    /// Whether the fast tier scored although the rule asks for the deep one.
    pub fn is_fallback(self) -> bool {
        matches!(self, Self::DeadlineTooNear | Self::QueueFull | Self::DeviceLost | Self::EncoderFailed)
    }

    /// The tier that scores for this reason.
    pub fn tier(self) -> ScoringTier {
        match self {
            Self::Straddles | Self::Requested => ScoringTier::Deep,
            _ => ScoringTier::Fast,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_name_and_a_place_of_its_own() {
        let names: std::collections::BTreeSet<_> = TierReason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(names.len(), TierReason::ALL.len());
        for (place, reason) in TierReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
        let deep = TierReason::ALL.into_iter().filter(|r| r.tier() == ScoringTier::Deep).count();
        assert_eq!(deep, 2);
    }
}
