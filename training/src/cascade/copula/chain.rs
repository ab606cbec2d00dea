//! What thresholds give on a chain of stages whose confidences follow the model: how many queries reach each stage,
//! and what they cost and get. Which thresholds are best belongs to `optimise`.

use super::{CopulaError, Gumbel, Marginal, kendall_tau, out_of_range};

/// A threshold below every confidence. A stage that accepts above it accepts everything; one that abstains up to it
/// never abstains.
pub const BELOW_ALL: f64 = -1.0;

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
    /// between is escalated. [`BELOW_ALL`] where a stage never abstains.
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
        Self { accept_above: accept_above.to_vec(), abstain_upto: vec![BELOW_ALL; accept_above.len() + 1] }
    }

    fn check(&self, stages: usize) -> Result<(), CopulaError> {
        of_length("thresholds to accept", &self.accept_above, stages - 1)?;
        of_length("thresholds to abstain", &self.abstain_upto, stages)?;
        let field = "threshold to abstain";
        if let Some(last) = self.abstain_upto.last().filter(|last| last.is_nan()) {
            return out_of_range(field, *last, "a number");
        }
        let ordered = |(abstain, accept): &(&f64, &f64)| abstain <= accept;
        match self.abstain_upto.iter().zip(&self.accept_above).find(|pair| !ordered(pair)) {
            Some((abstain, _)) => out_of_range(field, *abstain, "at most that of accepting"),
            None => Ok(()),
        }
    }
}

impl Prediction {
    /// Share of the queries answered wrongly, plus the weighted cost, plus the weighted share of those not answered.
    pub fn loss(&self, cost_weight: f64, abstention_weight: f64) -> f64 {
        1.0 - self.correct - self.abstained + cost_weight * self.cost + abstention_weight * self.abstained
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
            return out_of_range("cost", value, "a finite number of at least 0");
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
    /// When they are not as many as the stages need, one is NaN, or a stage would abstain from what it accepts.
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
    [0.405_845_151_377_397_2, 0.190_350_578_064_785_4, 0.381_830_050_505_118_9],
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
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use statrs::function::beta::beta_reg;

    /// methods/golden/05_cascade.json, `markov_copula_cascade.rows`: two thresholds, correct, cost, and of every stage
    /// its reach, escalation rate and correct share.
    #[rustfmt::skip]
    const GOLDEN: [[f64; 13]; 4] = [
        [
            0.5, 0.5, 0.7590877461939672, 4.469640550966938,
            1.0, 0.3718172670120634, 0.49360006477466706,
            0.3718172670120634, 0.3554383042059146, 0.48174099779443225,
            0.13215809886124558, 0.0, 0.6535207524617075,
        ],
        [
            0.7, 0.6, 0.8013326847807605, 6.718936394672957,
            1.0, 0.5573464351544707, 0.38216543340613307,
            0.5573464351544707, 0.4174005530435698, 0.4695100442111248,
            0.2326367102703382, 0.0, 0.6769675421446986,
        ],
        [
            0.9, 0.8, 0.8239535117884864, 11.753366749739572,
            1.0, 0.8336356401603687, 0.15966374673899258,
            0.8336356401603687, 0.5932907081300665, 0.36664918255399115,
            0.4945882792732064, 0.0, 0.7251242175892989,
        ],
        [
            0.3, 0.9, 0.6875660663280191, 3.2345299078194643,
            1.0, 0.12379450152207971, 0.5918958752518144,
            0.12379450152207971, 0.9366877528729434, 0.060214831191613895,
            0.11595679344874302, 0.0, 0.7607654837713078,
        ],
    ];

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

    /// Any law with atoms, steep and flat.
    fn any_marginal() -> impl Strategy<Value = Marginal> {
        let shape = || 0.3..12.0f64;
        let parts = (
            0.0..0.5f64,
            0.55..1.0f64,
            0.0..0.3f64,
            0.0..0.3f64,
            0.0..1.0f64,
            (shape(), shape(), shape(), shape()),
        );
        parts.prop_map(|(low, high, at_low, at_high, weight, (a1, b1, a2, b2))| {
            let between = vec![
                BetaComponent { weight, alpha: a1, beta: b1 },
                BetaComponent { weight: 1.0 - weight, alpha: a2, beta: b2 },
            ];
            Marginal::new([low, high], [at_low, at_high], between).unwrap()
        })
    }

    /// Any chain of three stages.
    pub(in super::super) fn any_cascade() -> impl Strategy<Value = MarkovCascade> {
        let parts = (
            prop::array::uniform3(any_marginal()),
            prop::array::uniform2(0.0..0.8f64),
            prop::array::uniform3(0.0..2.0f64),
        );
        parts.prop_map(|(marginals, taus, costs)| {
            MarkovCascade::new(marginals.to_vec(), taus.map(Gumbel::from_tau).to_vec(), costs.to_vec())
                .unwrap()
        })
    }

    /// Two ranks of a Gumbel copula, by its frailty (Marshall and Olkin 1988): nothing of the formula under test. The
    /// frailty is positive stable (Chambers, Mallows and Stuck 1976).
    fn ranks(copula: Gumbel, rng: &mut ChaCha8Rng) -> [f64; 2] {
        let exponential = |rng: &mut ChaCha8Rng| -(1.0 - rng.random::<f64>()).ln();
        let index = 1.0 / copula.theta();
        let angle = std::f64::consts::PI * rng.random::<f64>();
        let tail = (((1.0 - index) * angle).sin() / exponential(rng)).powf((1.0 - index) / index);
        let frailty = (index * angle).sin() / angle.sin().powf(1.0 / index) * tail;
        [(); 2].map(|()| (-(exponential(rng) / frailty).powf(index)).exp())
    }

    /// Runs queries through a chain that forgets: a stage is told of the one before only that it escalated. The correct
    /// share, the share abstained from and the mean cost, each with its standard error.
    fn simulate(
        cascade: &MarkovCascade,
        thresholds: &Thresholds,
        queries: usize,
        seed: u64,
    ) -> [[f64; 2]; 3] {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let band = |(i, marginal): (usize, &Marginal)| {
            let abstain = thresholds.abstain_upto[i];
            [abstain, *thresholds.accept_above.get(i).unwrap_or(&abstain)].map(|t| marginal.cdf(t))
        };
        let bands: Vec<[f64; 2]> = cascade.marginals.iter().enumerate().map(band).collect();
        let escalates = |stage: usize, rank: f64| bands[stage][0] < rank && rank <= bands[stage][1];
        let mut sums = [[0.0; 2]; 3];
        for _ in 0..queries {
            let (mut stage, mut rank, mut cost) = (0, rng.random::<f64>(), cascade.costs[0]);
            while escalates(stage, rank) {
                let again = || ranks(cascade.dependences[stage], &mut rng);
                let next = std::iter::repeat_with(again).find(|[here, _]| escalates(stage, *here));
                rank = next.unwrap()[1];
                stage += 1;
                cost += cascade.costs[stage];
            }
            let abstains = rank <= bands[stage][0];
            let correct = if abstains { 0.0 } else { cascade.marginals[stage].quantile(rank) };
            for (sums, value) in sums.iter_mut().zip([correct, f64::from(u8::from(abstains)), cost]) {
                *sums = [sums[0] + value, sums[1] + value * value];
            }
        }
        let n = queries as f64;
        sums.map(|[sum, squares]| [sum / n, ((squares / n - (sum / n).powi(2)) / n).sqrt()])
    }

    fn assert_simulated(cascade: &MarkovCascade, thresholds: &Thresholds, seed: u64) {
        let found = cascade.predict(thresholds).unwrap();
        let seen = simulate(cascade, thresholds, 20_000, seed);
        for (predicted, [mean, error]) in [found.correct, found.abstained, found.cost].into_iter().zip(seen) {
            assert!(
                (predicted - mean).abs() <= 4.0 * error,
                "{predicted} predicted, {mean} +- {error} seen: {found:?}"
            );
        }
    }

    #[test]
    fn thresholds_give_what_the_reference_says() {
        for [t1, t2, correct, cost, stages @ ..] in GOLDEN {
            let found = golden().predict(&Thresholds::answering_all(&[t1, t2])).unwrap();
            assert!((found.correct - correct).abs() < 1e-12 && (found.cost - cost).abs() < 1e-12);
            assert_eq!(found.abstained, 0.0);
            for (found, expected) in found.stages.iter().zip(stages.chunks(3)) {
                assert!((found.reach - expected[0]).abs() < 1e-12);
                assert!((found.escalation_rate - expected[1]).abs() < 1e-12);
                assert!((found.correct - expected[2]).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn a_stage_that_accepts_everything_is_as_good_as_its_mean() {
        // methods/golden/05_cascade.json, `unconditional_means`.
        let expected = [0.6213392857142856, 0.72952, 0.8086679999999999];
        for (marginal, expected) in golden().marginals.iter().zip(expected) {
            let alone = MarkovCascade::new(vec![marginal.clone()], Vec::new(), vec![2.0]).unwrap();
            let found = alone.predict(&Thresholds::answering_all(&[])).unwrap();
            assert!((found.correct - expected).abs() < 1e-12 && (marginal.mean() - expected).abs() < 1e-15);
            assert_eq!((found.cost, found.abstained), (2.0, 0.0));
        }
    }

    #[test]
    fn two_stages_give_what_is_simulated() {
        let all = golden();
        let marginals = all.marginals[1..].to_vec();
        for (seed, theta) in [(1, 1.0), (2, 1.9), (3, 6.0)] {
            let dependences = vec![Gumbel::new(theta).unwrap()];
            let cascade = MarkovCascade::new(marginals.clone(), dependences, vec![1.0, 5.0]).unwrap();
            assert_simulated(&cascade, &Thresholds::answering_all(&[0.7]), seed);
            let abstaining = Thresholds { accept_above: vec![0.8], abstain_upto: vec![0.4, 0.5] };
            assert_simulated(&cascade, &abstaining, seed + 10);
        }
    }

    #[test]
    fn three_stages_give_what_is_simulated_when_each_forgets() {
        assert_simulated(&golden(), &Thresholds::answering_all(&[0.7, 0.6]), 4);
        let abstaining = Thresholds { accept_above: vec![0.9, 0.8], abstain_upto: vec![0.3, 0.4, 0.6] };
        assert_simulated(&golden(), &abstaining, 5);
    }

    #[test]
    fn stages_that_agree_on_every_query_learn_from_each_other() {
        let marginal = golden().marginals[0].clone();
        let same = vec![marginal.clone(), marginal.clone()];
        let cascade = MarkovCascade::new(same, vec![Gumbel::from_tau(1.0)], vec![1.0, 1.0]).unwrap();
        // What the first escalates is what is at most its threshold, so the second accepts nothing above that.
        let (t, rank) = (0.6, marginal.cdf(0.6));
        let found = cascade.predict(&Thresholds::answering_all(&[t])).unwrap();
        assert!((found.correct - marginal.mean()).abs() < 1e-9, "{found:?}");
        assert!((found.cost - (1.0 + rank)).abs() < 1e-12);
        let above = Thresholds { accept_above: vec![t], abstain_upto: vec![BELOW_ALL, t] };
        assert!((cascade.predict(&above).unwrap().abstained - rank).abs() < 1e-9);
    }

    #[test]
    fn what_is_not_reached_counts_for_nothing() {
        let found = golden().predict(&Thresholds::answering_all(&[BELOW_ALL, 0.5])).unwrap();
        assert_eq!(found.stages.iter().map(|s| s.reach).collect::<Vec<_>>(), [1.0, 0.0, 0.0]);
        assert!((found.correct - golden().marginals[0].mean()).abs() < 1e-12);
        assert_eq!(found.cost, 1.0);
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let all = golden();
        let new = |stages: usize, dependences: usize, costs: &[f64]| {
            let (marginals, between) =
                (all.marginals[..stages].to_vec(), all.dependences[..dependences].to_vec());
            MarkovCascade::new(marginals, between, costs.to_vec())
        };
        assert_eq!(new(0, 0, &[]), Err(CopulaError::NoStage));
        assert!(new(2, 2, &[1.0, 1.0]).is_err() && new(2, 1, &[1.0]).is_err());
        assert!(new(2, 1, &[1.0, -1.0]).is_err() && new(2, 1, &[f64::NAN, 1.0]).is_err());
        assert_eq!(MarkovCascade::fit(&[], &[]), Err(CopulaError::NoStage));
        assert!(MarkovCascade::fit(&[vec![0.5; 20], vec![0.5; 21]], &[1.0, 2.0]).is_err());
        let refused = |accept: &[f64], abstain: &[f64]| {
            let thresholds = Thresholds { accept_above: accept.to_vec(), abstain_upto: abstain.to_vec() };
            all.predict(&thresholds).is_err()
        };
        assert!(refused(&[0.5], &[0.0; 3]) && refused(&[0.5; 2], &[0.0; 2]));
        assert!(refused(&[0.5, 0.5], &[0.0, 0.6, 0.0]) && refused(&[0.5, f64::NAN], &[0.0; 3]));
        assert!(refused(&[0.5, 0.5], &[0.0, 0.0, f64::NAN]));
    }

    #[test]
    fn a_fit_finds_the_model_that_made_the_rows() {
        let all = golden();
        let (marginals, dependences) = (all.marginals[..2].to_vec(), all.dependences[..1].to_vec());
        let truth = MarkovCascade::new(marginals, dependences, vec![1.0, 5.0]).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let rows: Vec<[f64; 2]> = (0..10_000).map(|_| ranks(truth.dependences[0], &mut rng)).collect();
        let stage = |i: usize| rows.iter().map(|row| truth.marginals[i].quantile(row[i])).collect();
        let fitted = MarkovCascade::fit(&[stage(0), stage(1)], truth.costs()).unwrap();
        // Ties at the atoms are where the rank correlation of the rows falls short of the copula's.
        assert!((fitted.dependences[0].theta() - 1.6).abs() < 0.05, "{:?}", fitted.dependences);
        for accept in [0.3, 0.5, 0.7, 0.9] {
            let thresholds = Thresholds::answering_all(&[accept]);
            let (found, expected) =
                (fitted.predict(&thresholds).unwrap(), truth.predict(&thresholds).unwrap());
            assert!((found.correct - expected.correct).abs() < 0.01, "{found:?} {expected:?}");
            assert!((found.cost - expected.cost).abs() < 0.05, "{found:?} {expected:?}");
        }
    }

    #[test]
    fn confidences_that_never_change_can_be_chained() {
        let rising: Vec<f64> = (0..50).map(|i| f64::from(i) / 49.0).collect();
        let cascade = MarkovCascade::fit(&[vec![0.7; 50], rising], &[1.0, 2.0]).unwrap();
        assert_eq!(cascade.dependences(), [Gumbel::INDEPENDENT]);
        let at = |accept: f64| cascade.predict(&Thresholds::answering_all(&[accept])).unwrap();
        assert_eq!((at(0.69).correct, at(0.69).cost), (0.7, 1.0));
        assert_eq!(at(0.7).cost, 3.0);
        assert!((at(0.7).correct - cascade.marginals()[1].mean()).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn the_integral_agrees_with_the_moments_of_the_betas(marginal in any_marginal(), x in 0.0..1.0f64) {
            let ([low, high], [at_low, at_high]) = (marginal.ends(), marginal.at_ends());
            let z = ((x - low) / (high - low)).clamp(0.0, 1.0);
            let above = |c: &BetaComponent| {
                let mean = c.alpha / (c.alpha + c.beta);
                let tail = |alpha: f64| 1.0 - beta_reg(alpha, c.beta, z);
                c.weight * (low * tail(c.alpha) + (high - low) * mean * tail(c.alpha + 1.0))
            };
            let between: f64 = marginal.between().iter().map(above).sum();
            let at_ends = if x < low { at_low * low } else { 0.0 } + if x < high { at_high * high } else { 0.0 };
            let expected = at_ends + (1.0 - at_low - at_high) * between;
            let alone = MarkovCascade::new(vec![marginal], Vec::new(), vec![1.0]).unwrap();
            let thresholds = Thresholds { accept_above: Vec::new(), abstain_upto: vec![x] };
            let found = alone.predict(&thresholds).unwrap();
            prop_assert!((found.correct - expected).abs() < 1e-9, "{} not {}", found.correct, expected);
        }

        #[test]
        fn shares_are_shares(
            cascade in any_cascade(), t in prop::array::uniform5(0.0..1.0f64),
        ) {
            let [a, b, c, d, e] = t;
            let thresholds = Thresholds { accept_above: vec![a, b], abstain_upto: vec![a * c, b * d, e] };
            let found = cascade.predict(&thresholds).unwrap();
            prop_assert!(found.correct >= 0.0 && found.abstained >= 0.0);
            prop_assert!(found.correct + found.abstained <= 1.0 + 1e-12);
            for pair in found.stages.windows(2) {
                let stage = pair[0];
                prop_assert!((stage.reach * stage.escalation_rate - pair[1].reach).abs() < 1e-15);
                prop_assert!(stage.correct + stage.abstained + stage.escalation_rate <= 1.0 + 1e-9);
            }
            prop_assert!(found.cost <= cascade.costs().iter().sum::<f64>() + 1e-12);
        }
    }
}
