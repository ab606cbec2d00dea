//! Two stages at once, exactly: both thresholds of one and one threshold of a later one, O(n log n). A coordinate
//! sweep can be stuck where two thresholds have to move together; this is the move it lacks.
//!
//! The later threshold passes its rows one by one. Each of them changes what the row loses when the earlier stage
//! sends it on; a segment tree over the earlier stage's rows, by rising probability, keeps the best split into
//! abstained, escalated and accepted under such changes.

use types::Threshold;

use crate::cascade::problem::Problem;
use crate::cascade::split::{Freedom, Group, flat_middle, threshold_at};
use crate::cascade::{StageThresholds, Verdict};

/// One of the thresholds of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    /// Between escalated and accepted.
    Accept,
    /// Between abstained and escalated.
    Abstain,
    /// Between abstained and accepted, at the last stage.
    Last,
}

impl Edge {
    /// The thresholds of a stage that may move.
    pub(super) fn of(freedom: Freedom) -> &'static [Self] {
        match freedom {
            Freedom::Accept => &[],
            Freedom::AcceptOrAbstain => &[Self::Last],
            Freedom::AcceptOrEscalate => &[Self::Accept],
            Freedom::All => &[Self::Accept, Self::Abstain],
        }
    }

    /// The verdicts just below and just above the threshold.
    pub(super) fn sides(self) -> (Verdict, Verdict) {
        match self {
            Self::Accept => (Verdict::Escalate, Verdict::Accept),
            Self::Abstain => (Verdict::Abstain, Verdict::Escalate),
            Self::Last => (Verdict::Abstain, Verdict::Accept),
        }
    }

    /// Between which numbers the threshold may move.
    pub(super) fn range(self, thresholds: StageThresholds) -> (f64, f64) {
        match self {
            Self::Accept => (thresholds.abstain_below(), Threshold::NEVER.get()),
            Self::Abstain => (0.0, thresholds.accept_above()),
            Self::Last => (0.0, Threshold::NEVER.get()),
        }
    }

    /// The thresholds with this one moved.
    pub(super) fn moved(self, thresholds: StageThresholds, to: f64) -> StageThresholds {
        match self {
            Self::Accept => StageThresholds::saturating(thresholds.abstain_below(), to),
            Self::Abstain => StageThresholds::saturating(to, thresholds.accept_above()),
            Self::Last => StageThresholds::saturating(to, to),
        }
    }
}

/// The rows of `stage` that a move of one of its thresholds can pass, by rising probability, tied rows together:
/// those that `reaches` admits and that lie within the threshold's range.
pub(super) struct Passed {
    rows: Vec<Vec<usize>>,
    values: Vec<f64>,
    range: (f64, f64),
}

impl Passed {
    pub(super) fn new(
        problem: &Problem<'_>,
        thresholds: StageThresholds,
        (stage, edge): (usize, Edge),
        reaches: impl Fn(usize) -> bool,
    ) -> Self {
        let column = problem.chain().stages[stage];
        // Beyond the other threshold the verdict is the same wherever this one stands.
        let fixed = match edge {
            Edge::Accept => Some(Verdict::Abstain),
            Edge::Abstain => Some(Verdict::Accept),
            Edge::Last => None,
        };
        let p = |row: usize| column.rows.probability[row];
        let movable = |row: &usize| reaches(*row) && Some(problem.verdict(stage, *row, thresholds)) != fixed;
        let movable: Vec<usize> = column.rising.iter().copied().filter(movable).collect();
        let rows: Vec<Vec<usize>> = movable.chunk_by(|a, b| p(*a) == p(*b)).map(<[usize]>::to_vec).collect();
        let values = rows.iter().map(|tied| p(tied[0]).get()).collect();
        Self { rows, values, range: edge.range(thresholds) }
    }

    /// Tied rows, the least probable first.
    pub(super) fn rows(&self) -> &[Vec<usize>] {
        &self.rows
    }

    /// The threshold that has passed so many of them.
    pub(super) fn threshold_at(&self, place: usize) -> f64 {
        threshold_at(place, |i| self.values.get(i).copied(), self.range)
    }
}

/// Moves the thresholds of stage `first` and one of the later stage `second` to where they are best together, all
/// others staying as they are.
pub(super) fn joint_sweep(
    problem: &Problem<'_>,
    rule: &mut [StageThresholds],
    first: usize,
    second: usize,
    edge: Edge,
) {
    let stops = problem.stops(rule);
    let after_second = problem.beyond(rule, second);
    let mut lowest = rule.to_vec();
    lowest[second] = edge.moved(rule[second], edge.range(rule[second]).0);
    let mut group_of = vec![0; problem.rows()];
    let groups =
        problem.groups(first, &stops, &problem.beyond(&lowest, first), |row, group| group_of[row] = group);
    let sent_on = |stage: usize, row| problem.verdict(stage, row, rule[stage]) == Verdict::Escalate;
    let reaches = |row: usize| stops[row] >= first && (first + 1..second).all(|stage| sent_on(stage, row));
    let passed = Passed::new(problem, rule[second], (second, edge), reaches);
    if passed.rows().is_empty() {
        return;
    }
    let (below, above) = edge.sides();
    let mut tree = Tree::new(&groups, problem.freedom(first) == Freedom::All);
    let mut sums = vec![tree.best()];
    for tied in passed.rows() {
        for row in tied {
            let at = |verdict| problem.loss_of(verdict, second, *row, after_second[*row]);
            tree.escalating_changes(group_of[*row], at(below) - at(above));
        }
        sums.push(tree.best());
    }
    let at = flat_middle(&sums, problem.tolerance());
    rule[second] = edge.moved(rule[second], passed.threshold_at(at));
    let beyond = problem.beyond(rule, first);
    problem.sweep(rule, first, &stops, &beyond);
}

/// Sums over a run of groups, and the least sums where the verdict may change along it, always upwards.
#[derive(Debug, Clone, Copy, Default)]
struct Node {
    abstain: f64,
    escalate: f64,
    accept: f64,
    abstain_then_escalate: f64,
    escalate_then_accept: f64,
    best: f64,
}

impl Node {
    fn leaf(abstain: f64, escalate: f64, accept: f64) -> Self {
        let abstain_then_escalate = abstain.min(escalate);
        let escalate_then_accept = escalate.min(accept);
        let best = abstain_then_escalate.min(accept);
        Self { abstain, escalate, accept, abstain_then_escalate, escalate_then_accept, best }
    }

    fn join(low: Self, high: Self) -> Self {
        let abstain_then_escalate =
            (low.abstain + high.abstain_then_escalate).min(low.abstain_then_escalate + high.escalate);
        let escalate_then_accept =
            (low.escalate + high.escalate_then_accept).min(low.escalate_then_accept + high.accept);
        let changes_in_low = low.best + high.accept;
        let changes_between = low.abstain_then_escalate + high.escalate_then_accept;
        let changes_in_high = low.abstain + high.best;
        Self {
            abstain: low.abstain + high.abstain,
            escalate: low.escalate + high.escalate,
            accept: low.accept + high.accept,
            abstain_then_escalate,
            escalate_then_accept,
            best: changes_in_low.min(changes_between).min(changes_in_high),
        }
    }
}

/// A complete binary tree: the root at 1, the children of i at 2i and 2i + 1, leaves in the last half.
struct Tree {
    leaves: usize,
    nodes: Vec<Node>,
}

impl Tree {
    /// Without `abstains`, nothing may be given up.
    fn new(groups: &[Group], abstains: bool) -> Self {
        let leaves = groups.len().next_power_of_two();
        // Nodes that stand for no group add nothing, whatever the verdict.
        let mut nodes = vec![Node::default(); 2 * leaves];
        for (node, group) in nodes[leaves..].iter_mut().zip(groups) {
            let abstain = if abstains { group.abstain } else { f64::INFINITY };
            *node = Node::leaf(abstain, group.escalate, group.accept);
        }
        for i in (1..leaves).rev() {
            nodes[i] = Node::join(nodes[2 * i], nodes[2 * i + 1]);
        }
        Self { leaves, nodes }
    }

    /// The least sum of any split.
    fn best(&self) -> f64 {
        self.nodes[1].best
    }

    fn escalating_changes(&mut self, group: usize, by: f64) {
        let mut i = self.leaves + group;
        let Node { abstain, escalate, accept, .. } = self.nodes[i];
        self.nodes[i] = Node::leaf(abstain, escalate + by, accept);
        while i > 1 {
            i /= 2;
            self.nodes[i] = Node::join(self.nodes[2 * i], self.nodes[2 * i + 1]);
        }
    }
}
