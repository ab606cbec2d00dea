//! The maps under one roof: which there are, which may be fitted to how many rows, and a calibrator,
//! which is a map for the point and Venn-Abers for the interval around it.

use crate::numeric::{logit, sigmoid};
use crate::sample::Sample;
use crate::{
    Adjustment, BetaCalibration, Bounds, CalibrationError, PiecewiseLinear, PlattScaling, TemperatureScaling,
    VennAbers,
};
use types::{ProbabilityInterval, Score, WinProbability};

/// Up to this many rows Platt's two smoothed parameters beat every other map (methods section 2.2).
pub const PLATT_UP_TO: usize = 1_000;

/// Below this many rows isotonic maps follow noise.
pub const ISOTONIC_FROM: usize = 3_000;

/// A way to calibrate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// [`PlattScaling`].
    Platt,
    /// [`TemperatureScaling`].
    Temperature,
    /// [`BetaCalibration`].
    Beta,
    /// [`PiecewiseLinear::isotonic`].
    Isotonic,
    /// [`PiecewiseLinear::centred`].
    CentredIsotonic,
    /// [`Bounds::merged`].
    VennAbers,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 6] =
        [Self::Platt, Self::Temperature, Self::Beta, Self::Isotonic, Self::CentredIsotonic, Self::VennAbers];

    /// A stable kebab-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Platt => "platt",
            Self::Temperature => "temperature",
            Self::Beta => "beta",
            Self::Isotonic => "isotonic",
            Self::CentredIsotonic => "centred-isotonic",
            Self::VennAbers => "venn-abers",
        }
    }

    /// The method of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }

    /// The methods among which cross-validated log loss chooses for a number of rows, simplest first
    /// (methods section 2.2): Platt alone up to [`PLATT_UP_TO`]; beta and Venn-Abers above; isotonic maps
    /// from [`ISOTONIC_FROM`]. Temperature never: it cannot mend a base rate.
    pub fn candidates(rows: usize) -> &'static [Self] {
        const ALL: [Method; 5] =
            [Method::Platt, Method::Beta, Method::VennAbers, Method::CentredIsotonic, Method::Isotonic];
        match rows {
            0..=PLATT_UP_TO => &ALL[..1],
            _ if rows < ISOTONIC_FROM => &ALL[..3],
            _ => &ALL,
        }
    }
}

/// A fitted map from score to point probability.
#[derive(Debug, Clone, PartialEq)]
pub enum Map {
    /// A line through the logit.
    Platt(PlattScaling),
    /// A factor on the logit.
    Temperature(TemperatureScaling),
    /// Both tails bent.
    Beta(BetaCalibration),
    /// Level stretches from end to end.
    Isotonic(PiecewiseLinear),
    /// Level stretches as points.
    CentredIsotonic(PiecewiseLinear),
    /// The merged Venn-Abers probability.
    VennAbers,
}

/// A map for the point and Venn-Abers for the interval, both moved by what was seen since.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibrator {
    map: Map,
    venn_abers: VennAbers,
    adjustment: Adjustment,
}

/// A calibrator and what is to be known about its fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The calibrator.
    pub calibrator: Calibrator,
    /// Higher scores went with fewer wins of strong: the point is then the base rate for every query.
    pub inverted: bool,
}

/// What a calibrator says of a score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibrated {
    /// The score.
    pub score: Score,
    /// P(strong's answer is strictly better | query).
    pub win_probability: WinProbability,
    /// The Venn-Abers interval, widened where the point lies outside.
    pub interval: ProbabilityInterval,
}

impl Calibrator {
    /// A calibrator of known parts.
    pub fn new(map: Map, venn_abers: VennAbers) -> Self {
        Self { map, venn_abers, adjustment: Adjustment::NONE }
    }

    /// The same, moved by a further adjustment.
    ///
    /// # Errors
    /// When the adjustments have no common one, see [`Adjustment::after`].
    pub fn adjusted(self, adjustment: Adjustment) -> Result<Self, CalibrationError> {
        Ok(Self { adjustment: adjustment.after(self.adjustment)?, ..self })
    }

    /// How it was moved since it was fitted.
    pub fn adjustment(&self) -> Adjustment {
        self.adjustment
    }

    /// Fits a method, and Venn-Abers for the interval, to the same rows.
    ///
    /// # Errors
    /// When the method finds no optimum.
    pub fn fit(sample: &Sample, method: Method) -> Result<Fit, CalibrationError> {
        let venn_abers = VennAbers::fit(sample);
        let mut inverted = false;
        let map = match method {
            Method::Platt => {
                let fit = PlattScaling::fit(sample)?;
                inverted = fit.inverted;
                Map::Platt(fit.map)
            }
            Method::Temperature => Map::Temperature(TemperatureScaling::fit(sample)),
            Method::Beta => {
                let map = BetaCalibration::fit(sample)?;
                inverted = map.parameters()[..2] == [0.0, 0.0];
                Map::Beta(map)
            }
            Method::Isotonic => Map::Isotonic(PiecewiseLinear::isotonic(sample)),
            Method::CentredIsotonic => Map::CentredIsotonic(PiecewiseLinear::centred(sample)),
            Method::VennAbers => Map::VennAbers,
        };
        Ok(Fit { calibrator: Self::new(map, venn_abers), inverted })
    }

    /// The map of the point.
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// The interval's step functions.
    pub fn venn_abers(&self) -> &VennAbers {
        &self.venn_abers
    }

    /// Which method gives the point.
    pub fn method(&self) -> Method {
        match self.map {
            Map::Platt(_) => Method::Platt,
            Map::Temperature(_) => Method::Temperature,
            Map::Beta(_) => Method::Beta,
            Map::Isotonic(_) => Method::Isotonic,
            Map::CentredIsotonic(_) => Method::CentredIsotonic,
            Map::VennAbers => Method::VennAbers,
        }
    }

    /// The calibrated probability of a score and the interval around it, both moved by `offset` on the
    /// logit scale (see [`crate::SliceOffsets`]; 0: not moved), then adjusted.
    pub fn apply(&self, score: Score, offset: f64) -> Calibrated {
        let z = score.logit();
        let bounds = self.venn_abers.bounds(z);
        let point = match &self.map {
            Map::Platt(map) => map.apply(score).get(),
            Map::Temperature(map) => map.probability(z),
            Map::Beta(map) => map.probability(z),
            Map::Isotonic(map) | Map::CentredIsotonic(map) => map.probability(z),
            Map::VennAbers => bounds.merged(),
        };
        let moved = |p: f64| {
            let p = if offset == 0.0 { p } else { sigmoid(logit(p) + offset) };
            WinProbability::saturating(self.adjustment.moved(p))
        };
        let Bounds { lower, upper } = bounds;
        let (lower, upper) = (moved(lower.min(point)), moved(upper.max(point)));
        let interval = ProbabilityInterval::ordered(lower, upper);
        Calibrated { score, win_probability: moved(point), interval }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::tests::scores;
    use proptest::prelude::*;

    #[test]
    fn the_sample_size_decides_what_is_tried() {
        assert_eq!(Method::candidates(1_000), [Method::Platt]);
        assert_eq!(Method::candidates(1_001), [Method::Platt, Method::Beta, Method::VennAbers]);
        assert_eq!(Method::candidates(3_000).len(), 5);
        assert!(!Method::candidates(usize::MAX).contains(&Method::Temperature));
        for method in Method::ALL {
            assert_eq!(Method::parse(method.as_str()), Some(method));
        }
        assert_eq!(Method::parse("plat"), None);
    }

    proptest! {
        #[test]
        fn every_calibrator_is_monotone_with_the_point_in_its_interval(
            rows in prop::collection::vec((-4.0..4.0f64, any::<bool>()), 30..80),
            x in -6.0..6.0f64, step in 0.0..3.0f64, offset in -2.0..2.0f64,
        ) {
            let y: Vec<bool> = rows.iter().map(|r| r.1).collect();
            let Ok(sample) = Sample::new(&scores(rows.iter().map(|r| r.0)), &y, None) else { return Ok(()) };
            for method in Method::ALL {
                let Ok(fit) = Calibrator::fit(&sample, method) else { continue };
                prop_assert_eq!(fit.calibrator.method(), method);
                let at = |z: f64| fit.calibrator.apply(Score::new(z).unwrap(), offset);
                let (low, high) = (at(x), at(x + step));
                prop_assert!(low.win_probability <= high.win_probability, "{:?}", method);
                for found in [low, high] {
                    let p = found.win_probability;
                    prop_assert!(found.interval.lower() <= p && p <= found.interval.upper());
                }
            }
        }
    }
}
