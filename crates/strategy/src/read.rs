//! From the text of a policy to a program: names are resolved while they are read, and reading goes on after a
//! fault, so that all of them are reported.

use toml::de::{DeTable, DeValue};
use types::{Ladder, ModelError, ModelName, ModelPair, Threshold, Tier};

use crate::program::{Body, Fixed, Goto, Intents, Override, Point, Rule, Run, Strategy};
use crate::report::Report;
use crate::section::{Entry, Section};
use crate::when::When;
use crate::whole::{self, Draft, Edge};
use crate::{Budget, Fault, Kind, Place, Problem, Program};

/// The version of the language that is read here.
const VERSION: u32 = 1;

impl Program {
    /// Reads and validates a policy; `file` is what its problems call it.
    ///
    /// # Errors
    /// Everything that is wrong with it, up to a hundred errors and as many warnings, in the order of the text. Warnings
    /// alone are no error: see [`Program::warnings`].
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let (table, syntax) = DeTable::parse_recoverable(text);
        let mut report = Report::new(file, text);
        for error in &syntax {
            let at = error.span().map_or(0, |span| span.start);
            report.add(report.place(String::new(), at), Fault::Syntax(error.message().to_owned()));
        }
        // What follows from a text that is no TOML would be guesses.
        if report.has_errors() {
            return Err(report.into_problems());
        }
        let root = Section::root(table.get_ref(), &report);
        let mut reader = Reader { report, names: names(table.get_ref()), edges: Vec::new() };
        let draft = reader.draft(&root);
        whole::check(&draft, &reader.edges, &mut reader.report);
        draft.finish(reader.report)
    }
}

/// Names and kinds of the strategies, before anything of them is read: what other keys may name.
fn names<'t>(table: &'t DeTable<'t>) -> Vec<(&'t str, Option<Kind>)> {
    let of = |table: &'t DeTable<'t>, name: &str| {
        table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value.get_ref())
    };
    let Some(DeValue::Table(strategies)) = of(table, "strategy") else { return Vec::new() };
    let kind = |strategy: &'t DeValue<'t>| {
        of(strategy.as_table()?, "kind").and_then(DeValue::as_str).and_then(Kind::parse)
    };
    strategies.iter().map(|(name, strategy)| (name.get_ref().as_ref(), kind(strategy.get_ref()))).collect()
}

struct Reader<'t> {
    report: Report<'t>,
    names: Vec<(&'t str, Option<Kind>)>,
    edges: Vec<Edge>,
}

impl Reader<'_> {
    fn draft(&mut self, root: &Section<'_>) -> Draft {
        root.only(&mut self.report, &["version", "default", "strategy", "rule", "budget", "override"]);
        self.version(root);
        let default = root.need(&mut self.report, "default", "the name of a strategy");
        Draft {
            names: self.names.iter().map(|(name, _)| (*name).to_owned()).collect(),
            default: default.and_then(|entry| self.goto(&entry)),
            overrides: self.sections(root, "override").iter().map(|s| self.forced(s)).collect(),
            rules: self.sections(root, "rule").iter().map(|s| self.rule(s)).collect(),
            budget: root.get(&self.report, "budget").map(|entry| self.budget(entry)),
            strategies: self.strategies(root),
        }
    }

    fn version(&mut self, root: &Section<'_>) {
        const EXPECTED: &str = "version 1 of the language";
        if let Some(entry) = root.need(&mut self.report, "version", EXPECTED)
            && let Some(version) = entry.count(&mut self.report, EXPECTED, VERSION)
            && version != VERSION
        {
            let fault = Fault::OutOfRange { expected: EXPECTED, found: version.to_string() };
            self.report.add(entry.place, fault);
        }
    }

    fn sections<'t>(&mut self, root: &Section<'t>, key: &str) -> Vec<Section<'t>> {
        let entry = root.get(&self.report, key);
        entry.map(|entry| entry.sections(&mut self.report)).unwrap_or_default()
    }

    /// The strategy that a key names.
    fn goto(&mut self, entry: &Entry<'_>) -> Option<Goto> {
        let name = entry.text(&mut self.report)?;
        let to = self.names.iter().position(|(known, _)| *known == name);
        if to.is_none() && self.report.tells_errors() {
            let known = self.names.iter().map(|(name, _)| *name);
            self.report.add(entry.place.clone(), Fault::unknown_name("strategy", name, known));
        }
        Some(Goto { to: to?, place: entry.place.clone() })
    }

    /// The same from one strategy to another.
    fn onward(&mut self, from: usize, entry: &Entry<'_>) -> Option<Goto> {
        let goto = self.goto(entry)?;
        self.edges.push(Edge { from, to: goto.to, place: goto.place.clone() });
        Some(goto)
    }

    fn strategies(&mut self, root: &Section<'_>) -> Vec<Option<Strategy>> {
        let Some(entry) = root.get(&self.report, "strategy") else { return Vec::new() };
        let Some(section) = entry.section(&mut self.report) else { return Vec::new() };
        let entries = section.entries(&self.report);
        let numbered = entries.into_iter().enumerate();
        numbered.map(|(number, (name, entry))| self.strategy(number, name, entry)).collect()
    }

    fn strategy(&mut self, number: usize, name: &str, entry: Entry<'_>) -> Option<Strategy> {
        let section = entry.section(&mut self.report)?;
        if name.trim().is_empty() {
            let fault = Fault::OutOfRange { expected: "a name", found: format!("{name:?}") };
            self.report.add(section.place.clone(), fault);
        }
        let kind = self.kind(&section);
        // Read also where the kind is not known: it may lead astray.
        let fallback = section.get(&self.report, "fallback").and_then(|entry| self.fallback(number, &entry));
        let body = match kind? {
            Kind::Predictive => self.predictive(&section).map(Body::Run),
            Kind::Cascade => self.cascade(&section).map(Body::Run),
            Kind::Semantic => self.semantic(number, &section),
            Kind::Model => {
                section.only(&mut self.report, &["kind", "model", "tier", "fallback"]);
                self.fixed(&section).map(|(fixed, place)| Body::Run(Run::Model { fixed, place }))
            }
        };
        Some(Strategy { name: name.into(), place: section.place, body: body?, fallback })
    }

    fn kind(&mut self, section: &Section<'_>) -> Option<Kind> {
        let entry = section.need(&mut self.report, "kind", "predictive, cascade, semantic or model")?;
        let name = entry.text(&mut self.report)?;
        let kind = Kind::parse(name);
        if kind.is_none() {
            self.report.add(entry.place, Fault::unknown_name("kind", name, Kind::ALL));
        }
        kind
    }

    /// A strategy that can be run at once: one that has failed must not wait for an intent.
    fn fallback(&mut self, from: usize, entry: &Entry<'_>) -> Option<Goto> {
        let goto = self.onward(from, entry)?;
        if let Some((name, Some(Kind::Semantic))) = self.names.get(goto.to) {
            let fault = Fault::FallbackAsksIntent((*name).to_owned());
            self.report.add(entry.place.clone(), fault);
        }
        Some(goto)
    }

    fn predictive(&mut self, section: &Section<'_>) -> Option<Run> {
        let report = &mut self.report;
        section.only(report, &["kind", "pair", "ladder", "operating_point", "threshold", "fallback"]);
        section.not_both(report, "pair", "ladder");
        section.not_both(report, "operating_point", "threshold");
        let (pair, ladder) = (section.get(report, "pair"), section.get(report, "ladder"));
        let models = pair.as_ref().or(ladder.as_ref()).map_or(&section.place, |entry| &entry.place).clone();
        let given = pair.is_some() || ladder.is_some();
        let pair = pair.and_then(|entry| self.pair(entry)).map(Ladder::from);
        let ladder = ladder.and_then(|entry| self.ladder(&entry));
        let (at, point) = self.point(section)?;
        let ladder = pair.or(ladder);
        (ladder.is_some() || !given).then_some(Run::Predictive { ladder, models, at, point })
    }

    fn point(&mut self, section: &Section<'_>) -> Option<(Point, Place)> {
        let report = &mut self.report;
        if let Some(entry) = section.get(report, "threshold") {
            let in_range = |t: f64| (0.0..=1.0).contains(&t);
            let threshold = entry.number(report, "a threshold in [0, 1]", in_range)?;
            return Threshold::new(threshold).ok().map(|t| (Point::Threshold(t), entry.place));
        }
        let Some(entry) = section.get(report, "operating_point") else {
            return Some((Point::Named("default".into()), section.place.clone()));
        };
        entry.text(report).map(|name| (Point::Named(name.into()), entry.place))
    }

    fn pair(&mut self, entry: Entry<'_>) -> Option<ModelPair> {
        let section = entry.section(&mut self.report)?;
        section.only(&mut self.report, &["strong", "weak"]);
        let strong = section.need(&mut self.report, "strong", "a model").and_then(|e| self.model(&e));
        let weak = section.need(&mut self.report, "weak", "a model").and_then(|e| self.model(&e));
        self.accept(&section.place, ModelPair::new(strong?, weak?))
    }

    fn ladder(&mut self, entry: &Entry<'_>) -> Option<Ladder> {
        let names = entry.texts(&mut self.report);
        let models: Result<Vec<_>, _> = names.iter().map(|(name, _)| ModelName::new(name)).collect();
        if names.is_empty() {
            return None;
        }
        self.accept(&entry.place, models.and_then(Ladder::new))
    }

    fn model(&mut self, entry: &Entry<'_>) -> Option<ModelName> {
        let name = entry.text(&mut self.report)?;
        self.accept(&entry.place, ModelName::new(name))
    }

    fn accept<T>(&mut self, place: &Place, models: Result<T, ModelError>) -> Option<T> {
        models.map_err(|error| self.report.add(place.clone(), Fault::Models(error))).ok()
    }

    fn cascade(&mut self, section: &Section<'_>) -> Option<Run> {
        let report = &mut self.report;
        section.only(report, &["kind", "cascade", "predictive_shortcut", "fallback"]);
        let shortcut = section.get(report, "predictive_shortcut").map(|entry| entry.flag(report));
        let entry = section.need(report, "cascade", "the name of a tuned cascade")?;
        let name = entry.text(report)?.into();
        Some(Run::Cascade { name, predictive_shortcut: shortcut.unwrap_or(false), place: entry.place })
    }

    fn semantic(&mut self, number: usize, section: &Section<'_>) -> Option<Body> {
        section.only(&mut self.report, &["kind", "routes", "otherwise", "fallback"]);
        let entry = section.get(&self.report, "routes");
        let routes = entry.and_then(|entry| entry.section(&mut self.report));
        let entries = routes.map(|section| section.entries(&self.report)).unwrap_or_default();
        let mut routes = Vec::new();
        for (intent, entry) in entries {
            routes.extend(self.onward(number, &entry).map(|goto| (intent.into(), goto)));
        }
        routes.sort_by(|a: &(Box<str>, Goto), b| a.0.cmp(&b.0));
        let otherwise = section.need(&mut self.report, "otherwise", "the name of a strategy");
        let otherwise = otherwise.and_then(|entry| self.onward(number, &entry))?;
        Some(Body::Semantic { routes, otherwise })
    }

    /// A model or a tier of the default pair, with the place of the key.
    fn fixed(&mut self, section: &Section<'_>) -> Option<(Fixed, Place)> {
        section.not_both(&mut self.report, "model", "tier");
        if let Some(entry) = section.get(&self.report, "model") {
            return self.model(&entry).map(|model| (Fixed::Model(model), entry.place));
        }
        let Some(entry) = section.get(&self.report, "tier") else {
            section.missing(
                &mut self.report,
                "model",
                "the name of a model, or tier = \"strong\" or \"weak\"",
            );
            return None;
        };
        let name = entry.text(&mut self.report)?;
        let Some(tier) = [Tier::Weak, Tier::Strong].into_iter().find(|tier| tier.as_str() == name) else {
            self.report.add(entry.place, Fault::unknown_name("tier", name, ["weak", "strong"]));
            return None;
        };
        Some((Fixed::Tier(tier), entry.place))
    }

    fn rule(&mut self, section: &Section<'_>) -> Option<Rule> {
        section.only(&mut self.report, &["when", "use"]);
        let when = section.need(&mut self.report, "when", "conditions; without any, use default");
        let when = when.and_then(|entry| self.when(entry));
        let to = section.need(&mut self.report, "use", "the name of a strategy");
        let to = to.and_then(|entry| self.goto(&entry));
        let (when, intents) = when?;
        Some(Rule { when, intents, to: to?, place: section.place.clone() })
    }

    fn forced(&mut self, section: &Section<'_>) -> Option<Override> {
        section.only(&mut self.report, &["when", "model", "tier", "until"]);
        let when = match section.get(&self.report, "when") {
            Some(entry) => self.when(entry),
            None => Some((When::default(), Vec::new())),
        };
        let until = section.get(&self.report, "until").map(|entry| entry.moment(&mut self.report));
        let (target, target_place) = self.fixed(section)?;
        let (when, intents) = when?;
        let until = match until {
            Some(moment) => Some(moment?),
            None => None,
        };
        Some(Override { when, intents, until, target, target_place, place: section.place.clone() })
    }

    fn when(&mut self, entry: Entry<'_>) -> Option<(When, Intents)> {
        const KEYS: [&str; 4] = ["slice", "slice_not", "intent", "intent_not"];
        let section = entry.section(&mut self.report)?;
        section.only(&mut self.report, &KEYS);
        let mut given = false;
        let mut intents = Vec::new();
        let [slice, slice_not, intent, intent_not] = KEYS.map(|key| {
            let Some(entry) = section.get(&self.report, key) else { return Vec::new() };
            given = true;
            let texts = entry.texts(&mut self.report);
            if key.starts_with("intent") {
                intents.extend(texts.iter().map(|(name, place)| ((*name).into(), place.clone())));
            }
            texts.into_iter().map(|(text, _)| text.into()).collect()
        });
        if !given {
            let expected = "at least one of slice, slice_not, intent, intent_not";
            let fault = Fault::OutOfRange { expected, found: "no condition".to_owned() };
            self.report.add(section.place, fault);
            return None;
        }
        Some((When { slice, slice_not, intent, intent_not }, intents))
    }

    fn budget(&mut self, entry: Entry<'_>) -> Option<Budget> {
        const COST: &str = "US dollars, a finite number of at least 0";
        const CALLS: &str = "a whole number of calls, at most 1000000";
        let section = entry.section(&mut self.report)?;
        section.only(&mut self.report, &["cost_usd_per_day", "strong_calls_per_minute", "when_spent"]);
        let cost = section.get(&self.report, "cost_usd_per_day");
        let calls = section.get(&self.report, "strong_calls_per_minute");
        if cost.is_none() && calls.is_none() {
            section.missing(&mut self.report, "cost_usd_per_day", "it, strong_calls_per_minute or both");
        }
        let affordable = |cost: f64| cost.is_finite() && cost >= 0.0;
        let cost_place = cost.as_ref().map(|entry| entry.place.clone());
        let cost = cost.map(|entry| entry.number(&mut self.report, COST, affordable));
        let calls = calls.map(|entry| entry.count(&mut self.report, CALLS, Budget::MOST_STRONG_CALLS));
        let spent = section.need(&mut self.report, "when_spent", "the name of a strategy of kind model");
        let when_spent = spent.and_then(|entry| self.goto(&entry));
        Some(Budget {
            cost_usd_per_day: cost.flatten(),
            strong_calls_per_minute: calls.flatten(),
            when_spent: when_spent?,
            cost_place,
        })
    }
}
