//! A chain with weights: what every row loses by every verdict at every stage, and the cyclic sweep that improves a
//! rule stage by stage. Starts, objectives and options are `sweep`'s.

use crate::cascade::split::{Freedom, Group, best_thresholds};
use crate::cascade::{Abstention, Chain, Labels, StageThresholds, Verdict};

/// Means that differ by less than this are equal: summing in another order changes more than that.
pub(super) const ROUNDING: f64 = 1e-12;

/// What counts how much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weights {
    /// Of quality lost.
    pub(super) error: f64,
    /// Of a row without an answer.
    pub(super) abstain: f64,
    /// Of a unit of cost.
    pub(super) cost: f64,
}

/// Losses of every row at every stage, stage by stage.
pub(super) struct Problem<'a> {
    chain: &'a Chain<'a>,
    abstention: Abstention,
    /// Loss when accepted at a stage: quality lost there, and all costs up to there.
    accept: Vec<Vec<f64>>,
    /// Loss when given up at a stage.
    abstain: Vec<Vec<f64>>,
}

impl<'a> Problem<'a> {
    pub(super) fn new(
        chain: &'a Chain<'a>,
        labels: Labels,
        abstention: Abstention,
        weights: Weights,
    ) -> Self {
        let mut spent = vec![0.0; chain.rows()];
        let (mut accept, mut abstain) = (Vec::new(), Vec::new());
        for column in &chain.stages {
            let rows = &column.rows;
            for (spent, cost) in spent.iter_mut().zip(&rows.cost) {
                *spent += weights.cost * cost;
            }
            let quality = rows.quality.iter().zip(&rows.probability).map(|(q, p)| labels.of(*q, *p));
            let lost = quality.map(|quality| weights.error * (1.0 - quality));
            accept.push(lost.zip(&spent).map(|(lost, spent)| lost + spent).collect());
            abstain.push(spent.iter().map(|spent| weights.abstain + spent).collect());
        }
        Self { chain, abstention, accept, abstain }
    }

    pub(super) fn stages(&self) -> usize {
        self.accept.len()
    }

    pub(super) fn rows(&self) -> usize {
        self.chain.rows()
    }

    pub(super) fn chain(&self) -> &Chain<'a> {
        self.chain
    }

    /// Sums over all rows that differ by less than this are equal.
    pub(super) fn tolerance(&self) -> f64 {
        ROUNDING * self.rows() as f64
    }

    pub(super) fn is_last(&self, stage: usize) -> bool {
        stage + 1 == self.stages()
    }

    /// What there is to choose at a stage.
    pub(super) fn freedom(&self, stage: usize) -> Freedom {
        match (self.is_last(stage), self.abstention) {
            (true, Abstention::Never) => Freedom::Accept,
            (true, _) => Freedom::AcceptOrAbstain,
            (false, Abstention::Anywhere) => Freedom::All,
            (false, _) => Freedom::AcceptOrEscalate,
        }
    }

    pub(super) fn verdict(&self, stage: usize, row: usize, thresholds: StageThresholds) -> Verdict {
        let p = self.chain.stages[stage].rows.probability[row];
        if self.is_last(stage) { thresholds.judge_last(p) } else { thresholds.judge(p) }
    }

    /// What a row loses by a verdict, where it loses `beyond` when it is sent on.
    pub(super) fn loss_of(&self, verdict: Verdict, stage: usize, row: usize, beyond: f64) -> f64 {
        match verdict {
            Verdict::Accept => self.accept[stage][row],
            Verdict::Abstain => self.abstain[stage][row],
            Verdict::Escalate => beyond,
        }
    }

    /// The stage at which each row stops.
    pub(super) fn stops(&self, rule: &[StageThresholds]) -> Vec<usize> {
        let stop = |row| {
            let stays = |stage: &usize| self.verdict(*stage, row, rule[*stage]) != Verdict::Escalate;
            (0..self.stages()).find(stays).unwrap_or(self.stages() - 1)
        };
        (0..self.rows()).map(stop).collect()
    }

    /// What each row loses when it reaches a stage, from what it loses (`beyond`) when sent on from it.
    fn settle(&self, stage: usize, thresholds: StageThresholds, beyond: &mut [f64]) {
        for (row, loss) in beyond.iter_mut().enumerate() {
            *loss = self.loss_of(self.verdict(stage, row, thresholds), stage, row, *loss);
        }
    }

    /// What each row loses when it is sent on from `stage`; 0 for the last, from which none is.
    pub(super) fn beyond(&self, rule: &[StageThresholds], stage: usize) -> Vec<f64> {
        let mut losses = vec![0.0; self.rows()];
        for later in (stage + 1..self.stages()).rev() {
            self.settle(later, rule[later], &mut losses);
        }
        losses
    }

    /// The sum of what all rows lose.
    pub(super) fn loss(&self, rule: &[StageThresholds]) -> f64 {
        let mut losses = self.beyond(rule, 0);
        self.settle(0, rule[0], &mut losses);
        losses.iter().sum()
    }

    /// The rows that reach a stage, by probability; `place` is told the group of each.
    pub(super) fn groups(
        &self,
        stage: usize,
        stops: &[usize],
        beyond: &[f64],
        mut place: impl FnMut(usize, usize),
    ) -> Vec<Group> {
        let column = self.chain.stages[stage];
        let mut groups: Vec<Group> = Vec::with_capacity(self.rows());
        for row in column.rising.iter().copied().filter(|row| stops[*row] >= stage) {
            let p = column.rows.probability[row].get();
            let (abstain, escalate, accept) =
                (self.abstain[stage][row], beyond[row], self.accept[stage][row]);
            match groups.last_mut().filter(|group| group.p == p) {
                Some(group) => {
                    group.abstain += abstain;
                    group.escalate += escalate;
                    group.accept += accept;
                }
                None => groups.push(Group { p, abstain, escalate, accept }),
            }
            place(row, groups.len() - 1);
        }
        groups
    }

    /// One stage's thresholds, the others staying as they are. A stage that no row reaches keeps its own.
    pub(super) fn sweep(&self, rule: &mut [StageThresholds], stage: usize, stops: &[usize], beyond: &[f64]) {
        let groups = self.groups(stage, stops, beyond, |_, _| {});
        if !groups.is_empty() {
            rule[stage] = best_thresholds(&groups, self.freedom(stage), self.tolerance());
        }
    }

    /// Every stage in turn, the last first, O(k n): what a row loses further on is known by the time a stage is
    /// swept, and which rows reach it does not depend on the stages swept before.
    fn cycle(&self, rule: &mut [StageThresholds]) {
        let stops = self.stops(rule);
        let mut beyond = vec![0.0; self.rows()];
        for stage in (0..self.stages()).rev() {
            self.sweep(rule, stage, &stops, &beyond);
            self.settle(stage, rule[stage], &mut beyond);
        }
    }

    /// Cycles until the loss stops falling, and that loss. A last cycle that gains nothing may still move thresholds to
    /// the middle of flat minima; one that loses is undone, so that alternating with other moves comes to an end.
    pub(super) fn descend(&self, rule: &mut Vec<StageThresholds>) -> f64 {
        let mut loss = self.loss(rule);
        loop {
            let mut next = rule.clone();
            self.cycle(&mut next);
            let now = self.loss(&next);
            if now <= loss + self.tolerance() {
                *rule = next;
            }
            let improved = now < loss - self.tolerance();
            loss = now.min(loss);
            if !improved {
                return loss;
            }
        }
    }

    /// The least that any rule can lose: every row stops where it loses least.
    pub(super) fn bound(&self) -> f64 {
        let least = |row: usize| {
            let at = |stage: usize| match self.freedom(stage) {
                Freedom::Accept | Freedom::AcceptOrEscalate => self.accept[stage][row],
                Freedom::AcceptOrAbstain | Freedom::All => {
                    self.accept[stage][row].min(self.abstain[stage][row])
                }
            };
            (0..self.stages()).map(at).fold(f64::INFINITY, f64::min)
        };
        (0..self.rows()).map(least).sum()
    }
}
