//! Conditions: when a rule or an override speaks of a query, and when one covers another.

use std::fmt;

use crate::Intent;

/// Conditions of which all must hold; a list that is empty asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct When {
    /// The query carries one of these.
    pub(crate) slice: Vec<Box<str>>,
    /// It carries none of these.
    pub(crate) slice_not: Vec<Box<str>>,
    /// Its intent is one of these.
    pub(crate) intent: Vec<Box<str>>,
    /// Its intent was looked for and is none of these.
    pub(crate) intent_not: Vec<Box<str>>,
}

/// What conditions say of a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Verdict<'a> {
    Holds(Grounds<'a>),
    Fails,
    /// It depends on the intent, which was not asked for yet.
    NeedsIntent,
    /// It depends on the intent, which cannot be told.
    Undecided(&'a str),
}

/// What made conditions hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grounds<'a> {
    pub(crate) slice: Option<&'a str>,
    pub(crate) intent: Option<(&'a str, f64)>,
    pub(crate) when: &'a When,
}

impl When {
    pub(crate) fn asks_intent(&self) -> bool {
        !self.intent.is_empty() || !self.intent_not.is_empty()
    }

    /// Asks for the intent last: it costs more than all else.
    pub(crate) fn judge<'a>(&'a self, slices: &'a [String], intent: Intent<'a>) -> Verdict<'a> {
        let carried = |among: &[Box<str>]| slices.iter().find(|slice| holds(among, slice));
        let slice = carried(&self.slice).map(String::as_str);
        if carried(&self.slice_not).is_some() || (slice.is_none() && !self.slice.is_empty()) {
            return Verdict::Fails;
        }
        let told = |intent| Verdict::Holds(Grounds { slice, intent, when: self });
        if !self.asks_intent() {
            return told(None);
        }
        match intent {
            Intent::Unasked => Verdict::NeedsIntent,
            Intent::Unavailable(why) => Verdict::Undecided(why),
            Intent::BelowFloor if self.intent.is_empty() => told(None),
            Intent::BelowFloor => Verdict::Fails,
            Intent::Matched { name, probability, .. } => {
                let wanted = self.intent.is_empty() || holds(&self.intent, name);
                let fits = wanted && !holds(&self.intent_not, name);
                if fits { told(Some((name, probability))) } else { Verdict::Fails }
            }
        }
    }

    /// Whether no query fulfils them.
    pub(crate) fn contradicts(&self) -> bool {
        let none_left = |some: &[Box<str>], not: &[Box<str>]| !some.is_empty() && within(some, not);
        none_left(&self.slice, &self.slice_not) || none_left(&self.intent, &self.intent_not)
    }

    /// Whether every query that fulfils `other`, which some query does, fulfils these as well: whatever slices and
    /// intents there are, also ones that no policy names.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        // Slices: any set of them may be carried, so a part that `other` does not exclude is not excluded.
        let some = self.slice.is_empty() || left(&other.slice, &other.slice_not, &self.slice);
        let not = within(&self.slice_not, &other.slice_not);
        // Of intents there is one at most, so to ask for some excludes all others.
        let intent = self.intent.is_empty() || left(&other.intent, &other.intent_not, &self.intent);
        let intent_not = if other.intent.is_empty() {
            within(&self.intent_not, &other.intent_not)
        } else {
            let mut possible = other.intent.iter().filter(|name| !holds(&other.intent_not, name));
            possible.all(|name| !holds(&self.intent_not, name))
        };
        some && not && intent && intent_not
    }
}

fn holds(among: &[Box<str>], name: &str) -> bool {
    among.iter().any(|one| **one == *name)
}

fn within(part: &[Box<str>], whole: &[Box<str>]) -> bool {
    part.iter().all(|name| holds(whole, name))
}

/// Whether one of `some` and none of `not` means one of `whole`.
fn left(some: &[Box<str>], not: &[Box<str>], whole: &[Box<str>]) -> bool {
    !some.is_empty() && some.iter().all(|name| holds(not, name) || holds(whole, name))
}

impl fmt::Display for Grounds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        if let Some(slice) = self.slice {
            write!(f, "slice {slice}")?;
            between = ", ";
        }
        if let Some((name, probability)) = self.intent {
            write!(f, "{between}intent {name} (p {probability:.2})")?;
            between = ", ";
        }
        for (what, absent) in [("slice", &self.when.slice_not), ("intent", &self.when.intent_not)] {
            if !absent.is_empty() {
                write!(f, "{between}no {what} {}", absent.join(" or "))?;
                between = ", ";
            }
        }
        if between.is_empty() { f.write_str("every query") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: [&str; 4] = ["a", "b", "c", "unnamed"];

    /// Subsets of the names but the last, which stands for all that no policy names.
    fn some_names() -> impl Strategy<Value = Vec<Box<str>>> {
        (0u8..8).prop_map(|bits| (0..3).filter(|i| bits >> i & 1 == 1).map(|i| NAMES[i].into()).collect())
    }

    fn any_when() -> impl Strategy<Value = When> {
        (some_names(), some_names(), some_names(), some_names())
            .prop_map(|(slice, slice_not, intent, intent_not)| When { slice, slice_not, intent, intent_not })
    }

    /// Every query that conditions over these names can tell apart fulfils them or not.
    fn fulfilled(when: &When) -> Vec<bool> {
        let matched = |name| Intent::Matched { name, probability: 0.9, model: None };
        let intents = NAMES.map(matched).into_iter().chain([Intent::BelowFloor, Intent::Unavailable("x")]);
        let mut all = Vec::new();
        for intent in intents {
            for bits in 0..16u8 {
                let slices: Vec<String> =
                    (0..4).filter(|i| bits >> i & 1 == 1).map(|i| NAMES[i].to_owned()).collect();
                all.push(matches!(when.judge(&slices, intent), Verdict::Holds(_)));
            }
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn one_covers_another_where_every_query_says_so(a in any_when(), b in any_when()) {
            let (by_a, by_b) = (fulfilled(&a), fulfilled(&b));
            prop_assert_eq!(b.contradicts(), !by_b.contains(&true), "{:?}", &b);
            if !b.contradicts() {
                let everywhere = by_a.iter().zip(&by_b).all(|(a, b)| *a || !*b);
                prop_assert_eq!(a.covers(&b), everywhere, "{:?} {:?}", &a, &b);
            }
        }
    }

    #[test]
    fn the_intent_is_asked_for_only_where_the_slices_hold() {
        let when = When { slice: vec!["vip".into()], intent: vec!["legal".into()], ..When::default() };
        assert_eq!(when.judge(&[], Intent::Unasked), Verdict::Fails);
        let slices = ["vip".to_owned()];
        assert_eq!(when.judge(&slices, Intent::Unasked), Verdict::NeedsIntent);
        assert_eq!(when.judge(&slices, Intent::Unavailable("no encoder")), Verdict::Undecided("no encoder"));
    }
}
