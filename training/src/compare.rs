//! Ways of routing on one labelled corpus: every strategy of a policy, the policy as a whole, and each model alone. What
//! would have been called is known, with what it costs and what came of it.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use artifact::{Artifact, CascadeRecord, Interval, PairCalibrator};
use corpus::Example;
use evaluation::bootstrap::shared_intervals;
use policy::cascade::{CascadeSample, StageThresholds, Stop};
use policy::{RandomisedThreshold, goes_strong, request_draw};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use semantic::{Ask, Matcher, Scratch};
use serde::Serialize;
use strategy::{At, Facts, Intent, Leaf, Plan, Program};
use types::{Ladder, ModelName, ModelPair, Threshold};

use crate::cascade::CascadeRows;
use crate::tiers::{TierScratch, Tiers};

/// What strategies are run with.
pub struct Bench<'a> {
    /// The policy whose strategies are compared.
    pub program: &'a Program,
    /// The predictive router.
    pub artifact: &'a Artifact,
    /// Tuned cascades by name.
    pub cascades: &'a BTreeMap<String, CascadeRecord>,
    /// The catalogue of intents, where there is one.
    pub matcher: Option<&'a Matcher>,
    /// The rows as read.
    pub examples: &'a [Example],
    /// The rows that every model answered.
    pub rows: &'a CascadeRows,
    /// Time to judge one answer on this machine.
    pub judge_us: f64,
}

/// What came of one row.
#[derive(Debug, Clone, Copy, Default)]
struct Served {
    quality_lost: f64,
    abstained: bool,
    cost: f64,
    strong: bool,
    calls: usize,
    judged: usize,
    latency_s: f64,
}

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// Name of the strategy, `policy`, or `only MODEL`.
    pub name: String,
    /// Share of queries answered wrongly: quality lost.
    pub error: Interval,
    /// Share of queries without an answer.
    pub abstention_rate: f64,
    /// Mean cost of a query.
    pub cost_usd: Interval,
    /// Share of queries that the dearest model was called for.
    pub strong_call_rate: f64,
    /// Calls of a query on average.
    pub calls: f64,
    /// Mean time of the decisions about a query on this machine: telling its intent, scoring it, judging answers.
    pub decision_us: f64,
    /// Mean time of the calls, where that of every model is known.
    pub calls_s: Option<f64>,
    /// Error less that of calling the dearest model alone, on the same resamples.
    pub error_over_dearest: Interval,
    /// Cost as a share of that of the dearest model alone, on the same resamples.
    pub cost_fraction: Interval,
}

impl Bench<'_> {
    /// The models that the policy may call, the dearest pair's included.
    ///
    /// # Errors
    /// When it names a cascade that is not there.
    pub fn models(
        program: &Program,
        artifact: &Artifact,
        cascades: &BTreeMap<String, CascadeRecord>,
        matcher: Option<&Matcher>,
    ) -> Result<Vec<ModelName>> {
        let default: Ladder = artifact.default_pair().clone().into();
        let mut models: Vec<ModelName> = Vec::new();
        for (_, _, leaf) in program.strategies() {
            match leaf {
                None => {}
                Some(Leaf::Predictive { ladder, .. }) => {
                    models.extend_from_slice(ladder.unwrap_or(&default).rungs());
                }
                Some(Leaf::Cascade { name, .. }) => {
                    for stage in &cascade(cascades, name)?.stages {
                        models.push(ModelName::new(&stage.model)?);
                    }
                }
                Some(Leaf::Model(model)) => models.push(model.clone()),
                Some(Leaf::Tier(tier)) => models.push(artifact.default_pair().model(tier).clone()),
            }
        }
        for route in matcher.into_iter().flat_map(|matcher| matcher.catalogue().routes()) {
            if let Some(semantic::Target::Model(model)) = &route.target {
                models.push(ModelName::new(model)?);
            }
        }
        models.sort();
        models.dedup();
        Ok(models)
    }

    /// Runs every strategy, the policy, and each model alone.
    ///
    /// # Errors
    /// When a leaf cannot be run: a pair without a calibrator, an unknown operating point or cascade, a model that did
    /// not answer.
    pub fn run(&self, resamples: usize, seed: u64) -> Result<Vec<Line>> {
        let intents = self.intents()?;
        let mut served: Vec<(String, f64, Vec<Served>)> = Vec::new();
        for (name, _, _) in self.program.strategies() {
            let run = |intent: Intent<'_>, _: &Example, row: usize, scratch: &mut Runner<'_>| match self
                .program
                .plan_named(name, intent)
            {
                Some(Plan::Ready(path)) => scratch.serve(path.leaf(), row),
                _ => bail!("{name}: no plan"),
            };
            let asks = matches!(self.program.plan_named(name, Intent::Unasked), Some(Plan::NeedsIntent));
            let (us, rows) = self.over_rows(&intents, asks, run)?;
            served.push((name.to_owned(), us, rows));
        }
        let whole = |intent: Intent<'_>, example: &Example, row: usize, runner: &mut Runner<'_>| match self
            .program
            .plan(&Facts { slices: &example.slices, now_us: 0, intent })
        {
            Plan::Ready(path) => runner.serve(path.leaf(), row),
            Plan::NeedsIntent => bail!("the policy needs intents: give a catalogue"),
        };
        let (us, rows) = self.over_rows(&intents, self.program.may_need_intent(), whole)?;
        served.push(("policy".to_owned(), us, rows));
        let runner = Runner::new(self);
        for (i, model) in self.rows.models.iter().enumerate() {
            let rows = (0..self.rows.len()).map(|row| runner.called(i, row)).collect();
            served.push((format!("only {model}"), 0.0, rows));
        }
        self.table(&served, resamples, seed)
    }

    /// The intent of each row, and how long it took to tell on average.
    fn intents(&self) -> Result<Vec<(Intent<'_>, f64)>> {
        let Some(matcher) = self.matcher else {
            return Ok(vec![(Intent::Unavailable("there is no catalogue"), 0.0); self.rows.len()]);
        };
        let mut scratch = Scratch::default();
        let mut found = Vec::with_capacity(self.rows.len());
        for example in self.rows.examples.iter().map(|row| &self.examples[*row]) {
            let asked = example.query.parts().next_back().map_or("", |(_, text)| text);
            let start = Instant::now();
            let matched = matcher.match_query(Ask::Text(asked), &mut scratch)?;
            let us = start.elapsed().as_secs_f64() * 1e6;
            found.push((intent_of(&matched, &self.rows.models), us));
        }
        Ok(found)
    }

    fn over_rows<'s>(
        &'s self,
        intents: &[(Intent<'s>, f64)],
        asks: bool,
        run: impl Fn(Intent<'s>, &Example, usize, &mut Runner<'s>) -> Result<Served>,
    ) -> Result<(f64, Vec<Served>)> {
        let mut runner = Runner::new(self);
        let mut served = Vec::with_capacity(intents.len());
        let mut total_us = 0.0;
        for (row, (intent, intent_us)) in intents.iter().enumerate() {
            let start = Instant::now();
            let found = run(*intent, &self.examples[self.rows.examples[row]], row, &mut runner)?;
            total_us += start.elapsed().as_secs_f64() * 1e6;
            total_us += if asks { *intent_us } else { 0.0 } + found.judged as f64 * self.judge_us;
            served.push(found);
        }
        Ok((total_us / intents.len().max(1) as f64, served))
    }

    fn table(&self, served: &[(String, f64, Vec<Served>)], resamples: usize, seed: u64) -> Result<Vec<Line>> {
        let dearest = &served.last().context("no model")?.2;
        let mean = |rows: &[usize], of: &dyn Fn(usize) -> f64| {
            rows.iter().map(|r| of(*r)).sum::<f64>() / rows.len() as f64
        };
        let statistics = |rows: &[usize]| {
            let base = (mean(rows, &|r| dearest[r].quality_lost), mean(rows, &|r| dearest[r].cost));
            let of = |(_, _, all): &(String, f64, Vec<Served>)| {
                let (error, cost) = (mean(rows, &|r| all[r].quality_lost), mean(rows, &|r| all[r].cost));
                [error, cost, error - base.0, cost / base.1].map(Some)
            };
            served.iter().flat_map(of).collect::<Vec<_>>()
        };
        let all: Vec<usize> = (0..self.rows.len()).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let intervals = shared_intervals(&self.rows.groups, statistics, resamples, 0.95, &mut rng)?;
        let mut figures =
            statistics(&all).into_iter().zip(intervals).map(|(value, interval)| -> Result<Interval> {
                let interval = interval?;
                Ok(Interval {
                    value: value.context("no figure")?,
                    lower: interval.lower,
                    upper: interval.upper,
                })
            });
        let mut next = || figures.next().context("a figure is missing")?;
        let timed = self.rows.latency_s.iter().all(Option::is_some);
        let mut lines = Vec::new();
        for (name, decision_us, rows) in served {
            let share = |of: &dyn Fn(&Served) -> f64| rows.iter().map(of).sum::<f64>() / rows.len() as f64;
            lines.push(Line {
                name: name.clone(),
                error: next()?,
                cost_usd: next()?,
                error_over_dearest: next()?,
                cost_fraction: next()?,
                abstention_rate: share(&|row| f64::from(u8::from(row.abstained))),
                strong_call_rate: share(&|row| f64::from(u8::from(row.strong))),
                calls: share(&|row| row.calls as f64),
                decision_us: *decision_us,
                calls_s: timed.then(|| share(&|row| row.latency_s)),
            });
        }
        Ok(lines)
    }
}

fn intent_of<'a>(matched: &semantic::Match<'a>, models: &'a [ModelName]) -> Intent<'a> {
    let Some(route) = matched.route else { return Intent::BelowFloor };
    let model = match &route.target {
        Some(semantic::Target::Model(name)) => models.iter().find(|model| model.as_str() == name),
        _ => None,
    };
    Intent::Matched { name: &route.name, probability: matched.probability, model }
}

fn cascade<'a>(cascades: &'a BTreeMap<String, CascadeRecord>, name: &str) -> Result<&'a CascadeRecord> {
    let known = || cascades.keys().cloned().collect::<Vec<_>>().join(", ");
    cascades.get(name).with_context(|| format!("no cascade {name:?}: there are {}", known()))
}

/// Runs leaves on rows.
struct Runner<'a> {
    bench: &'a Bench<'a>,
    scratch: TierScratch,
    cascades: BTreeMap<String, Vec<Stop>>,
}

impl<'a> Runner<'a> {
    fn new(bench: &'a Bench<'a>) -> Self {
        let scratch = Tiers::of(bench.artifact).scratch();
        Self { bench, scratch, cascades: BTreeMap::new() }
    }

    fn serve(&mut self, leaf: Leaf<'_>, row: usize) -> Result<Served> {
        let bench = self.bench;
        match leaf {
            Leaf::Model(model) => Ok(self.called(self.stage(model)?, row)),
            Leaf::Tier(tier) => Ok(self.called(self.stage(bench.artifact.default_pair().model(tier))?, row)),
            Leaf::Predictive { ladder, at } => {
                let default: Ladder = bench.artifact.default_pair().clone().into();
                let model = self.predicted(ladder.unwrap_or(&default), at, row)?;
                Ok(self.called(self.stage(&model)?, row))
            }
            Leaf::Cascade { name, .. } => self.cascaded(name, row),
        }
    }

    fn stage(&self, model: &ModelName) -> Result<usize> {
        let at = self.bench.rows.models.iter().position(|known| known == model);
        at.with_context(|| format!("{model} did not answer these queries"))
    }

    /// One call.
    fn called(&self, stage: usize, row: usize) -> Served {
        let rows = self.bench.rows;
        Served {
            quality_lost: 1.0 - rows.stages[stage].quality[row],
            abstained: false,
            cost: rows.stages[stage].cost[row],
            strong: stage + 1 == rows.models.len(),
            calls: 1,
            judged: 0,
            latency_s: rows.latency_s[stage].unwrap_or_default(),
        }
    }

    /// The rung that the artifact picks, both tiers asked.
    fn predicted(&mut self, ladder: &Ladder, at: At<'_>, row: usize) -> Result<ModelName> {
        let bench = self.bench;
        let example = &bench.examples[bench.rows.examples[row]];
        let threshold = threshold(bench.artifact, ladder, at, &example.id)?;
        for weak in std::iter::once(ladder.cheapest()).chain(ladder.between()) {
            let calibrator = calibrator(bench.artifact, ladder.top(), weak)?;
            let tiered = Tiers::of(bench.artifact).read(example, calibrator, &mut self.scratch);
            let tiered = tiered.with_context(|| format!("{weak} is unknown to the artifact"))?;
            if !goes_strong(tiered.held, threshold) {
                return Ok(weak.clone());
            }
        }
        Ok(ladder.top().clone())
    }

    /// Where a cascade stops, computed for all rows when the first asks.
    fn cascaded(&mut self, name: &str, row: usize) -> Result<Served> {
        let bench = self.bench;
        let record = cascade(bench.cascades, name)?;
        let models = record.stages.iter().map(|stage| ModelName::new(&stage.model));
        let order = models.map(|model| self.stage(&model?)).collect::<Result<Vec<_>>>()?;
        if !self.cascades.contains_key(name) {
            let pair =
                |stage: &artifact::StageRecord| StageThresholds::new(stage.abstain_below, stage.accept_above);
            let thresholds = record.stages.iter().map(pair).collect::<Result<Vec<_>, _>>()?;
            let sample: CascadeSample = bench.rows.sample(&(0..bench.rows.len()).collect::<Vec<_>>())?;
            self.cascades.insert(name.to_owned(), Stop::of_rows(&sample.chain(&order)?, &thresholds)?);
        }
        let stop = self.cascades.get(name).and_then(|stops| stops.get(row)).context("a row is missing")?;
        let called = &order[..=stop.stage];
        Ok(Served {
            quality_lost: stop.quality_lost,
            abstained: !stop.accepted,
            cost: stop.cost,
            strong: called.contains(&(bench.rows.models.len() - 1)),
            calls: called.len(),
            judged: called.len(),
            latency_s: called.iter().filter_map(|stage| bench.rows.latency_s[*stage]).sum(),
        })
    }
}

fn calibrator<'a>(
    artifact: &'a Artifact,
    strong: &ModelName,
    weak: &ModelName,
) -> Result<&'a PairCalibrator> {
    let pair = ModelPair::new(strong.clone(), weak.clone())?;
    let found = artifact.calibrators().iter().find(|calibrator| calibrator.pair == pair);
    found.with_context(|| format!("{pair} has no calibrator in this artifact"))
}

fn threshold(artifact: &Artifact, ladder: &Ladder, at: At<'_>, key: &str) -> Result<Threshold> {
    let name = match at {
        At::Threshold(threshold) => return Ok(threshold),
        At::OperatingPoint(name) => name,
    };
    let pair = ModelPair::new(ladder.top().clone(), ladder.cheapest().clone())?;
    let points = &artifact.manifest().operating_points;
    let point = points.get(name).and_then(|by_pair| by_pair.get(&pair.to_string()));
    let point = point.with_context(|| format!("no operating point {name:?} of {pair}"))?;
    let (low, high) = (Threshold::new(point.low)?, Threshold::new(point.high)?);
    let point = RandomisedThreshold::new(low, high, point.probability_of_low)?;
    Ok(point.at(request_draw([key.as_bytes()])))
}

/// The table, for people.
pub fn lines(table: &[Line]) -> Vec<String> {
    let mut lines = vec![format!(
        "{:<36} {:<24} {:>9} {:<30} {:>7} {:>7} {:>9} {}",
        "strategy",
        "error",
        "abstained",
        "cost, USD a query",
        "strong",
        "calls",
        "decision",
        "error over dearest"
    )];
    for line in table {
        lines.push(format!(
            "{:<36} {:.4} [{:.4}, {:.4}]  {:>9.4} {:.6} [{:.6}, {:.6}] {:>7.3} {:>7.3} {:>6.1} us {:+.4} [{:+.4}, {:+.4}]",
            line.name,
            line.error.value,
            line.error.lower,
            line.error.upper,
            line.abstention_rate,
            line.cost_usd.value,
            line.cost_usd.lower,
            line.cost_usd.upper,
            line.strong_call_rate,
            line.calls,
            line.decision_us,
            line.error_over_dearest.value,
            line.error_over_dearest.lower,
            line.error_over_dearest.upper,
        ));
    }
    lines
}
