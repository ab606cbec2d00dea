//! What thresholds give on a chain of stages whose confidences follow the model: how many queries reach each stage,
//! and what they cost and get. Which thresholds are best belongs to `optimise`.

use super::{CopulaError, Gumbel, Marginal, kendall_tau};

/// A threshold below every confidence: all answers are accepted, or none abstained from.
pub const ACCEPT_ALL: f64 = -1.0;

/// An integral is accepted where two rules of different order differ by less than this share of the queries it is
/// about; the better of the two is then far closer.
const INTEGRAL_TOLERANCE: f64 = 1e-11;

/// Halvings of an interval at most.
const MOST_HALVINGS: u32 = 40;

/// A chain of stages, each asked about what the one before escalates (methods section 5.1).
///
/// The confidence of a stage depends on the query only through whether the stage before escalated it: what the stages
/// further back thought is forgotten. Two stages are exact under the fitted law; with more, that is an approximation.
#[derive(Debug, Clone, PartialEq)]
pub struct MarkovCascade {
    marginals: Vec<Marginal>,
    dependences: Vec<Gumbel>,
    costs: Vec<f64>,
}

/// Where each stage accepts and abstains.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    /// Of every stage but the last: an answer with more confidence is accepted.
    pub accept_above: Vec<f64>,
    /// Of every stage: with no more confidence than this, no answer is given. At most `accept_above`; what lies
    /// between is escalated. [`ACCEPT_ALL`] where a stage never abstains.
    pub abstain_upto: Vec<f64>,
}

/// What a chain gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Share of all queries that are answered correctly, in [0, 1].
    pub correct: f64,
    /// Share of all queries that get no answer, in [0, 1].
    pub abstained: f64,
    /// Mean cost of a query, in the unit of the stages' costs.
    pub cost: f64,
    /// The stages one by one.
    pub stages: Vec<StagePrediction>,
}

/// What happens at one stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StagePrediction {
    /// Share of all queries that reach it, in [0, 1].
    pub reach: f64,
    /// Share of those that it escalates, in [0, 1]; 0 at the last.
    pub escalation_rate: f64,
    /// Share of those that it abstains from, in [0, 1].
    pub abstained: f64,
    /// Share of those that it accepts and that are correct, in [0, 1].
    pub correct: f64,
}

impl Thresholds {
    /// Thresholds of a chain that answers everything, one for every stage but the last.
    pub fn answering_all(accept_above: &[f64]) -> Self {
        Self { accept_above: accept_above.to_vec(), abstain_upto: vec![ACCEPT_ALL; accept_above.len() + 1] }
    }

    fn check(&self, stages: usize) -> Result<(), CopulaError> {
        of_length("thresholds to accept", &self.accept_above, stages - 1)?;
        of_length("thresholds to abstain", &self.abstain_upto, stages)?;
        for (accept, abstain) in self.accept_above.iter().zip(&self.abstain_upto) {
            let ordered = abstain <= accept;
            if !ordered {
                let expected = "at most that of accepting";
                return Err(CopulaError::OutOfRange {
                    field: "threshold to abstain",
                    value: *abstain,
                    expected,
                });
            }
        }
        match self.abstain_upto.last() {
            Some(last) if last.is_nan() => {
                let expected = "a number";
                Err(CopulaError::OutOfRange { field: "threshold to abstain", value: *last, expected })
            }
            _ => Ok(()),
        }
    }
}

fn of_length<T>(what: &'static str, list: &[T], expected: usize) -> Result<(), CopulaError> {
    if list.len() == expected {
        return Ok(());
    }
    Err(CopulaError::LengthMismatch { what, found: list.len(), expected })
}

impl MarkovCascade {
    /// A chain of known laws: one of every stage, the dependence of each pair of neighbours, and what one call of each
    /// stage costs on average, in any one unit.
    ///
    /// # Errors
    /// When there is no stage, the lists do not fit each other, or a cost is negative or not finite.
    pub fn new(
        marginals: Vec<Marginal>,
        dependences: Vec<Gumbel>,
        costs: Vec<f64>,
    ) -> Result<Self, CopulaError> {
        let between = marginals.len().checked_sub(1).ok_or(CopulaError::NoStage)?;
        of_length("dependences", &dependences, between)?;
        of_length("costs", &costs, marginals.len())?;
        if let Some(value) = costs.iter().copied().find(|cost| !(cost.is_finite() && *cost >= 0.0)) {
            let expected = "a finite number of at least 0";
            return Err(CopulaError::OutOfRange { field: "cost", value, expected });
        }
        Ok(Self { marginals, dependences, costs })
    }

    /// Fits a chain. `confidences[stage][row]` is the calibrated probability that the stage's answer to the query of
    /// that row is correct, of the same queries for every stage; `costs` what a call of each stage costs on average.
    ///
    /// # Errors
    /// When there is no stage, the stages differ in rows, a marginal cannot be fitted, or a cost is refused.
    pub fn fit(confidences: &[Vec<f64>], costs: &[f64]) -> Result<Self, CopulaError> {
        let first = confidences.first().ok_or(CopulaError::NoStage)?;
        for stage in confidences {
            of_length("confidences of a stage", stage, first.len())?;
        }
        let marginals = confidences.iter().map(|stage| Marginal::fit(stage));
        let pairs = confidences.iter().zip(confidences.iter().skip(1));
        let dependence = |(stage, next): (&Vec<f64>, &Vec<f64>)| {
            kendall_tau(stage, next).map_or(Gumbel::INDEPENDENT, Gumbel::from_tau)
        };
        Self::new(marginals.collect::<Result<_, _>>()?, pairs.map(dependence).collect(), costs.to_vec())
    }

    /// The laws of the confidences, stage by stage.
    pub fn marginals(&self) -> &[Marginal] {
        &self.marginals
    }

    /// The dependence of each stage but the last and the next.
    pub fn dependences(&self) -> &[Gumbel] {
        &self.dependences
    }

    /// Mean cost of a call of each stage.
    pub fn costs(&self) -> &[f64] {
        &self.costs
    }

    /// What these thresholds give.
    ///
    /// # Errors
    /// When they are not as many as the stages need, one is NaN, or a stage abstains from more than it would not accept.
    pub fn predict(&self, thresholds: &Thresholds) -> Result<Prediction, CopulaError> {
        thresholds.check(self.marginals.len())?;
        let mut prediction = Prediction { correct: 0.0, abstained: 0.0, cost: 0.0, stages: Vec::new() };
        // Of the stage before: the probabilities of not being above what it abstains from and what it escalates.
        let (mut reach, mut escalated) = (1.0, [0.0, 1.0]);
        for (i, marginal) in self.marginals.iter().enumerate() {
            let abstain = thresholds.abstain_upto[i];
            let accept = thresholds.accept_above.get(i).copied().unwrap_or(abstain);
            let here = self.stage(i, reach, escalated, [abstain, accept]);
            prediction.correct += reach * here.correct;
            prediction.abstained += reach * here.abstained;
            prediction.cost += reach * self.costs[i];
            prediction.stages.push(here);
            reach *= here.escalation_rate;
            escalated = [marginal.cdf(abstain), marginal.cdf(accept)];
        }
        Ok(prediction)
    }

    /// The confidences of a stage on the queries that the stage before ranked no higher than each of these ranks.
    pub(super) fn tails(&self, stage: usize, ranks: Vec<f64>) -> Tails<'_> {
        let dependence = stage.checked_sub(1).map_or(Gumbel::INDEPENDENT, |before| self.dependences[before]);
        Tails { marginal: &self.marginals[stage], dependence, ranks }
    }

    /// A stage that is reached by the queries which the stage before ranked above the first and up to the second rank.
    fn stage(
        &self,
        stage: usize,
        reach: f64,
        ranks: [f64; 2],
        [abstain, accept]: [f64; 2],
    ) -> StagePrediction {
        // Where nothing arrives, what would happen is told of any query.
        let [low, high] = if ranks[0] < ranks[1] { ranks } else { [0.0, 1.0] };
        let tails = self.tails(stage, vec![low, high]);
        let share = |of: &[f64]| ((of[1] - of[0]) / (high - low)).clamp(0.0, 1.0);
        let abstained = share(&tails.upto(abstain));
        StagePrediction {
            reach,
            escalation_rate: (share(&tails.upto(accept)) - abstained).max(0.0),
            abstained,
            correct: share(&tails.correct_above(&[accept])[0]),
        }
    }
}

/// The joint law of a stage's confidence and of the rank of the stage before being at most some rank, for several ranks
/// at once: all of them look at the same distribution function, which is what takes the time. Everything is a share of
/// all queries. By Sklar's theorem the copula of the two distribution functions is that law, atoms or not.
pub(super) struct Tails<'a> {
    marginal: &'a Marginal,
    dependence: Gumbel,
    ranks: Vec<f64>,
}

impl Tails<'_> {
    /// For each rank, the share of the queries on which the confidence is at most `x`.
    pub(super) fn upto(&self, x: f64) -> Vec<f64> {
        let here = self.marginal.cdf(x);
        self.ranks.iter().map(|rank| self.dependence.cdf(*rank, here)).collect()
    }

    fn above(&self, x: f64) -> Vec<f64> {
        self.ranks.iter().zip(self.upto(x)).map(|(rank, upto)| rank - upto).collect()
    }

    /// For each of these ordered thresholds and each rank, the share of the queries on which the confidence is above
    /// the threshold and the answer correct: `E[X; X > t] = t P(X > t) + integral from t up of P(X > x)`, which needs
    /// no density (methods section 5.1).
    pub(super) fn correct_above(&self, thresholds: &[f64]) -> Vec<Vec<f64>> {
        let [low, high] = self.marginal.ends();
        let (mut area, mut from) = (vec![0.0; self.ranks.len()], high);
        let mut next = |threshold: f64| -> Vec<f64> {
            // From a threshold below the least confidence up to it, everything is above.
            let base = threshold.clamp(low, high);
            add(&mut area, 1.0, &integral(&|x| self.above(x), [base, from], &self.ranks, MOST_HALVINGS));
            from = base;
            let above = if threshold < low { self.ranks.clone() } else { self.above(base) };
            above.iter().zip(&area).map(|(above, area)| base * above + area).collect()
        };
        let mut correct: Vec<Vec<f64>> = thresholds.iter().rev().map(|threshold| next(*threshold)).collect();
        correct.reverse();
        correct
    }
}

/// Nodes of the rule of Gauss and Kronrod with 15 points on [-1, 1] that are not negative, its weights, and the weights
/// of the rule of Gauss with 7 points in it (QUADPACK, `dqk15`).
const RULE: [[f64; 3]; 8] = [
    [0.991_455_371_120_812_6, 0.022_935_322_010_529_224, 0.0],
    [0.949_107_912_342_758_5, 0.063_092_092_629_978_56, 0.129_484_966_168_869_7],
    [0.864_864_423_359_769_1, 0.104_790_010_322_250_18, 0.0],
    [0.741_531_185_599_394_4, 0.140_653_259_715_525_92, 0.279_705_391_489_276_64],
    [0.586_087_235_467_691_1, 0.169_004_726_639_267_9, 0.0],
    [0.405_845_151_377_397_2, 0.190_350_578_064_785_4, 0.381_830_050_505_118_93],
    [0.207_784_955_007_898_47, 0.204_432_940_075_298_9, 0.0],
    [0.0, 0.209_482_141_084_727_82, 0.417_959_183_673_469_4],
];

/// The integrals of several functions, by a rule, and by halves where one of them, of about this size, is not sure. The
/// ends are never looked at.
fn integral(f: &impl Fn(f64) -> Vec<f64>, [from, to]: [f64; 2], sizes: &[f64], halvings: u32) -> Vec<f64> {
    let (middle, half) = (0.5 * (from + to), 0.5 * (to - from));
    let (mut fine, mut coarse) = (vec![0.0; sizes.len()], vec![0.0; sizes.len()]);
    if half <= 0.0 {
        return fine;
    }
    for [node, weight, weight_of_gauss] in RULE {
        // The middle is one node and not two.
        let sides = if node == 0.0 { &[0.0][..] } else { &[-1.0, 1.0] };
        for side in sides {
            let values = f(middle + side * half * node);
            add(&mut fine, half * weight, &values);
            add(&mut coarse, half * weight_of_gauss, &values);
        }
    }
    let sure =
        |((fine, coarse), size): ((&f64, &f64), &f64)| (fine - coarse).abs() <= INTEGRAL_TOLERANCE * size;
    if halvings == 0 || fine.iter().zip(&coarse).zip(sizes).all(sure) {
        return fine;
    }
    let mut both = integral(f, [from, middle], sizes, halvings - 1);
    add(&mut both, 1.0, &integral(f, [middle, to], sizes, halvings - 1));
    both
}

fn add(sums: &mut [f64], factor: f64, values: &[f64]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += factor * value;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cascade::copula::BetaComponent;

    /// methods/golden/05_cascade.json, `markov_copula_cascade`.
    pub(in super::super) fn golden() -> MarkovCascade {
        let marginal = |[low, high, at_low, at_high, weight, a1, b1, a2, b2]: [f64; 9]| {
            let between = vec![
                BetaComponent { weight, alpha: a1, beta: b1 },
                BetaComponent { weight: 1.0 - weight, alpha: a2, beta: b2 },
            ];
            Marginal::new([low, high], [at_low, at_high], between).unwrap()
        };
        let marginals = vec![
            marginal([0.2, 0.98, 0.05, 0.1, 0.5, 2.0, 5.0, 6.0, 2.0]),
            marginal([0.25, 0.99, 0.02, 0.15, 0.4, 2.0, 4.0, 7.0, 2.0]),
            marginal([0.3, 0.99, 0.01, 0.2, 0.3, 2.0, 3.0, 8.0, 2.0]),
        ];
        let dependences = [1.6, 1.9].map(|theta| Gumbel::new(theta).unwrap()).to_vec();
        MarkovCascade::new(marginals, dependences, vec![1.0, 4.0, 15.0]).unwrap()
    }

    #[test]
    fn thresholds_give_what_the_reference_says() {
        // Thresholds, correct, cost, and per stage: reach, escalation rate, correct.
        let rows: [([f64; 2], [f64; 2], [[f64; 3]; 3]); 4] = [
            (
                [0.5, 0.5],
                [0.7590877461939672, 4.469640550966938],
                [
                    [1.0, 0.3718172670120634, 0.49360006477466706],
                    [0.3718172670120634, 0.3554383042059146, 0.48174099779443225],
                    [0.13215809886124558, 0.0, 0.6535207524617075],
                ],
            ),
            (
                [0.7, 0.6],
                [0.8013326847807605, 6.718936394672957],
                [
                    [1.0, 0.5573464351544707, 0.38216543340613307],
                    [0.5573464351544707, 0.4174005530435698, 0.4695100442111248],
                    [0.2326367102703382, 0.0, 0.6769675421446986],
                ],
            ),
            (
                [0.9, 0.8],
                [0.8239535117884864, 11.753366749739572],
                [
                    [1.0, 0.8336356401603687, 0.15966374673899258],
                    [0.8336356401603687, 0.5932907081300665, 0.36664918255399115],
                    [0.4945882792732064, 0.0, 0.7251242175892989],
                ],
            ),
            (
                [0.3, 0.9],
                [0.6875660663280191, 3.2345299078194643],
                [
                    [1.0, 0.12379450152207971, 0.5918958752518144],
                    [0.12379450152207971, 0.9366877528729434, 0.060214831191613895],
                    [0.11595679344874302, 0.0, 0.7607654837713078],
                ],
            ),
        ];
        for (thresholds, [correct, cost], stages) in rows {
            let found = golden().predict(&Thresholds::answering_all(&thresholds)).unwrap();
            println!("{:e} {:e}", found.correct - correct, found.cost - cost);
            assert!((found.correct - correct).abs() < 1e-10 && (found.cost - cost).abs() < 1e-10);
            assert_eq!(found.abstained, 0.0);
            for (found, [reach, escalation_rate, correct]) in found.stages.iter().zip(stages) {
                println!(
                    "   {:e} {:e} {:e}",
                    found.reach - reach,
                    found.escalation_rate - escalation_rate,
                    found.correct - correct
                );
                assert!((found.reach - reach).abs() < 1e-12);
                assert!((found.escalation_rate - escalation_rate).abs() < 1e-12);
                assert!((found.correct - correct).abs() < 1e-10);
            }
        }
    }
}
