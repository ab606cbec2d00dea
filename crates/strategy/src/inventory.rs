//! A policy against what its caller has: every model, operating point, cascade and intent that it names and that is not
//! there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use types::{Ladder, ModelName, ModelPair};

use crate::program::{Body, Fixed, Point, Run, Strategy};
use crate::{Fault, Place, Problem, Program};

/// The operating point of what names none.
const DEFAULT_POINT: &str = "default";

/// What a caller has. What is absent is not known, and nothing is compared with it; whoever knows that there is
/// none gives an empty collection.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Inventory {
    /// Models that can be called.
    pub models: Option<BTreeSet<ModelName>>,
    /// Pairs with a calibrator, each with the names of its operating points.
    pub pairs: Option<BTreeMap<ModelPair, BTreeSet<String>>>,
    /// The pair of a predictive strategy that names none, and of tiers.
    pub default_pair: Option<ModelPair>,
    /// Tuned cascades by name, each with its models.
    pub cascades: Option<BTreeMap<String, Vec<ModelName>>>,
    /// Models whose calls have a price, which a limit of cost needs.
    pub priced: Option<BTreeSet<ModelName>>,
    /// Intents of the catalogue, each with its own model where it has one.
    pub intents: Option<BTreeMap<String, Option<ModelName>>>,
}

impl Program {
    /// Everything the policy names that is not there, in the order of the text, and a warning where the model for a
    /// spent budget is the dearest there is.
    pub fn check(&self, inventory: &Inventory) -> Vec<Problem> {
        let mut check = Check { program: self, inventory, problems: Vec::new() };
        for strategy in &self.strategies {
            check.strategy(strategy);
        }
        for forced in &self.overrides {
            check.fixed(&forced.target, &forced.target_place);
        }
        let forced = self.overrides.iter().flat_map(|forced| &forced.intents);
        for (intent, place) in forced.chain(self.rules.iter().flat_map(|rule| &rule.intents)) {
            check.intent(intent, place);
        }
        check.budget();
        check.prices();
        check.problems.sort_by(|a, b| a.place.cmp(&b.place));
        check.problems
    }

    /// A warning for each override whose time is over: it can be removed.
    pub fn expired(&self, now_us: u64) -> Vec<Problem> {
        let over = self.overrides.iter().filter_map(|forced| {
            let (until_us, written) = forced.until.as_ref()?;
            (now_us >= *until_us).then(|| self.problem(&forced.place, Fault::Expired(written.clone())))
        });
        over.collect()
    }

    fn problem(&self, place: &Place, fault: Fault) -> Problem {
        Problem { severity: fault.severity(), file: Arc::clone(&self.file), place: place.clone(), fault }
    }
}

struct Check<'a> {
    program: &'a Program,
    inventory: &'a Inventory,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn add(&mut self, place: &Place, fault: Fault) {
        self.problems.push(self.program.problem(place, fault));
    }

    fn strategy(&mut self, strategy: &Strategy) {
        match &strategy.body {
            Body::Run(Run::Predictive { ladder, models, at, point }) => {
                self.predictive(ladder.as_ref(), models, at, point);
            }
            Body::Run(Run::Cascade { name, predictive_shortcut, place }) => {
                self.cascade(name, place);
                if *predictive_shortcut {
                    self.shortcut(name, place);
                }
            }
            Body::Run(Run::Model { fixed, place }) => self.fixed(fixed, place),
            Body::Semantic { routes, .. } => {
                for (intent, goto) in routes {
                    self.intent(intent, &goto.place);
                }
                let routed = |intent: &str| routes.iter().any(|(name, _)| **name == *intent);
                for (name, model) in self.inventory.intents.iter().flatten() {
                    if let Some(model) = model.as_ref().filter(|_| !routed(name)) {
                        self.callable("intent", name, model, &strategy.place);
                    }
                }
            }
        }
    }

    fn predictive(&mut self, ladder: Option<&Ladder>, models: &Place, at: &Point, point: &Place) {
        let ladder = ladder.cloned().or_else(|| self.inventory.default_pair.clone().map(Ladder::from));
        let Some(ladder) = ladder else { return };
        let known = self.problems.len();
        for model in ladder.rungs() {
            self.model(model, models);
        }
        // A pair of models that are not there is not there either: said once is enough.
        let Some(pairs) = self.inventory.pairs.as_ref().filter(|_| self.problems.len() == known) else {
            return;
        };
        let under = ladder.rungs().iter().filter(|rung| *rung != ladder.top());
        let over = under.filter_map(|rung| ModelPair::new(ladder.top().clone(), rung.clone()).ok());
        for (i, pair) in over.enumerate() {
            let points = pairs.get(&pair);
            if points.is_none() {
                self.add(models, Fault::unknown_name("calibrated pair", &pair.to_string(), pairs.keys()));
            }
            // Points are selected for the top over the cheapest rung, which is the first.
            if let (0, Point::Named(name), Some(points)) = (i, at, points)
                && !points.contains(&**name)
            {
                self.add(point, Fault::unknown_name("operating point", name, points));
            }
        }
    }

    fn cascade(&mut self, name: &str, place: &Place) {
        let Some(cascades) = &self.inventory.cascades else { return };
        match cascades.get(name) {
            None => self.add(place, Fault::unknown_name("tuned cascade", name, cascades.keys())),
            Some(models) => models.iter().for_each(|model| self.callable("cascade", name, model, place)),
        }
    }

    /// A shortcut compares the last model with the first, at their default operating point.
    fn shortcut(&mut self, name: &str, place: &Place) {
        let Some([first, .., last]) =
            self.inventory.cascades.as_ref().and_then(|all| all.get(name)).map(Vec::as_slice)
        else {
            return;
        };
        let (Some(pairs), Ok(pair)) = (&self.inventory.pairs, ModelPair::new(last.clone(), first.clone()))
        else {
            return;
        };
        match pairs.get(&pair) {
            None => self.add(place, Fault::unknown_name("calibrated pair", &pair.to_string(), pairs.keys())),
            Some(points) if !points.contains(DEFAULT_POINT) => {
                self.add(place, Fault::unknown_name("operating point", DEFAULT_POINT, points));
            }
            Some(_) => {}
        }
    }

    fn fixed(&mut self, fixed: &Fixed, place: &Place) {
        if let Fixed::Model(model) = fixed {
            self.model(model, place);
        }
    }

    fn model(&mut self, model: &ModelName, place: &Place) {
        if let Some(models) = &self.inventory.models
            && !models.contains(model)
        {
            self.add(place, Fault::unknown_name("model", model.as_str(), models));
        }
    }

    /// A model that something the policy names calls.
    fn callable(&mut self, what: &'static str, name: &str, model: &ModelName, place: &Place) {
        if self.inventory.models.as_ref().is_some_and(|models| !models.contains(model)) {
            let (name, model) = (name.to_owned(), model.to_string());
            self.add(place, Fault::CallsUnknown { what, name, model });
        }
    }

    fn intent(&mut self, name: &str, place: &Place) {
        if let Some(intents) = &self.inventory.intents
            && !intents.contains_key(name)
        {
            self.add(place, Fault::unknown_name("intent", name, intents.keys()));
        }
    }

    fn budget(&mut self) {
        let Some(goto) = self.program.budget.as_ref().map(|budget| &budget.when_spent) else { return };
        let strategy = self.program.strategy(goto.to);
        let strong = self.inventory.default_pair.as_ref().map(ModelPair::strong);
        if let Body::Run(Run::Model { fixed: Fixed::Model(model), .. }) = &strategy.body
            && Some(model) == strong
        {
            self.add(&goto.place, Fault::StrongWhenSpent(strategy.name.to_string()));
        }
    }

    /// A limit of cost bounds nothing where a model that may be called costs nobody knows what.
    fn prices(&mut self) {
        let (Some(priced), Some(budget)) = (&self.inventory.priced, &self.program.budget) else { return };
        let Some(place) = &budget.cost_place else { return };
        // One that is not there has been named already.
        let there = |model: &ModelName| self.inventory.models.as_ref().is_none_or(|all| all.contains(model));
        let targets = self.program.targets(self.inventory).into_iter();
        let unpriced = targets.filter(|model| there(model) && !priced.contains(model));
        let models: Vec<String> = unpriced.map(|model| model.to_string()).collect();
        if !models.is_empty() {
            self.add(
                place,
                Fault::Unpriced { models, priced: priced.iter().map(ToString::to_string).collect() },
            );
        }
    }
}

impl Program {
    /// Every model that a query may be sent to, as far as the inventory says what tiers, pairs, cascades and intents
    /// are.
    fn targets(&self, inventory: &Inventory) -> BTreeSet<ModelName> {
        let mut models = BTreeSet::new();
        let of_tier = |fixed: &Fixed| match fixed {
            Fixed::Model(model) => Some(model.clone()),
            Fixed::Tier(tier) => inventory.default_pair.as_ref().map(|pair| pair.model(*tier).clone()),
        };
        models.extend(self.overrides.iter().filter_map(|forced| of_tier(&forced.target)));
        for strategy in &self.strategies {
            match &strategy.body {
                Body::Run(Run::Predictive { ladder: Some(ladder), .. }) => {
                    models.extend(ladder.rungs().iter().cloned());
                }
                Body::Run(Run::Predictive { ladder: None, .. }) => {
                    let pair = inventory.default_pair.iter();
                    models.extend(pair.flat_map(|pair| [pair.strong().clone(), pair.weak().clone()]));
                }
                Body::Run(Run::Cascade { name, .. }) => {
                    let stages = inventory.cascades.as_ref().and_then(|cascades| cascades.get(&**name));
                    models.extend(stages.into_iter().flatten().cloned());
                }
                Body::Run(Run::Model { fixed, .. }) => models.extend(of_tier(fixed)),
                Body::Semantic { routes, .. } => {
                    let routed = |intent: &str| routes.iter().any(|(name, _)| **name == *intent);
                    let own = inventory.intents.iter().flatten().filter(|(intent, _)| !routed(intent));
                    models.extend(own.filter_map(|(_, model)| model.clone()));
                }
            }
        }
        models
    }
}
