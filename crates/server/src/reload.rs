//! What is read from files and can be read again while the server runs: one loop that looks at the files, and one place
//! that has a thing read again, whoever asks: the loop, SIGHUP or `AdminService/Reload`. What is new is read and checked
//! beside what is in force and put in its place at once, or refused and told, and what was in force stays.

mod artifact;
mod stamp;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::v1;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::behind;
use crate::record::now_us;
use crate::systemd;
use crate::telemetry::Metrics;

pub(crate) use artifact::{ArtifactFolder, artifact_stamp};
pub(crate) use stamp::Stamp;

/// Something that is read from files and can be read again. What it hands out is exchanged at once: a request keeps what
/// it began with.
pub(crate) trait Reloadable: Send + Sync {
    /// What it is called by operators: `artifact`, `policy`, `certificates`.
    fn name(&self) -> &'static str;

    /// The version in force, in one word.
    fn version(&self) -> String;

    /// Everything that is exchanged together with it, each with its version: itself alone unless it says otherwise.
    fn parts(&self) -> Vec<Part> {
        vec![Part { name: self.name(), version: self.version() }]
    }

    /// The files as they are now: two stamps that are equal say that nothing has changed. Blocks.
    fn stamp(&self) -> Stamp;

    /// Reads the files beside what is in force, checks them, and puts them in its place. Blocks.
    ///
    /// # Errors
    /// With everything that is wrong with them; what was in force stays.
    fn reload(&self) -> Result<String, Vec<String>>;
}

/// One of the things that are exchanged together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// What it is called by operators.
    pub(crate) name: &'static str,
    /// The version in force.
    pub(crate) version: String,
}

/// Who had it read again, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Its files were seen to have changed.
    Files,
    /// SIGHUP.
    Signal,
    /// `AdminService/Reload`.
    Call,
}

/// A name that this server has nothing for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected some of {}, found {found}", known.join(", "))]
pub(crate) struct UnknownThing {
    found: String,
    known: Vec<&'static str>,
}

/// Everything that can be read again.
#[derive(Debug)]
pub(crate) struct Reloads {
    /// In the order in which they are read: what others are held against comes first.
    units: Vec<Arc<Unit>>,
    /// How often the files are looked at.
    every: Duration,
    metrics: Arc<Metrics>,
    /// One at a time.
    one: tokio::sync::Mutex<()>,
}

/// A thing with what is known of its files.
struct Unit {
    what: Arc<dyn Reloadable>,
    known: Mutex<Known>,
}

#[derive(Debug, Clone)]
struct Known {
    /// The files that were read last, be it in force or refused.
    read: Stamp,
    /// The files as they were looked at last.
    seen: Stamp,
    /// What was in force when that was told last.
    parts: Vec<Part>,
    since_us: i64,
    reloads: u64,
    refusals: u64,
    /// What is wrong with the newest state of the files; empty where it is in force.
    refused: Vec<String>,
    refused_us: i64,
}

/// What a look at some files found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// They are as they were read.
    Same,
    /// They have changed since the look before.
    Moving,
    /// They have changed since they were read, and not since the look before.
    Changed,
}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unit").field("name", &self.what.name()).finish_non_exhaustive()
    }
}

impl Reloads {
    /// Nothing yet; files are looked at so often.
    pub(crate) fn new(every: Duration, metrics: Arc<Metrics>) -> Self {
        Self { units: Vec::new(), every, metrics, one: tokio::sync::Mutex::default() }
    }

    /// Adds a thing that was read from files of this stamp; what others are held against is added before them.
    pub(crate) fn add(&mut self, what: Arc<dyn Reloadable>, read: Stamp) {
        let known = Known {
            seen: read.clone(),
            read,
            parts: what.parts(),
            since_us: now_us(),
            reloads: 0,
            refusals: 0,
            refused: Vec::new(),
            refused_us: 0,
        };
        self.units.push(Arc::new(Unit { what, known: Mutex::new(known) }));
    }

    /// Looks at the files for as long as it is polled, and at once whenever `signal` says so.
    pub(crate) async fn watch(self: Arc<Self>, mut signal: mpsc::Receiver<()>) {
        let mut signals = true;
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.every) => self.look().await,
                asked = signal.recv(), if signals => match asked {
                    Some(()) => {
                        systemd::reloading();
                        // Without a name there is none that is unknown.
                        let _ = self.reload(&[], Cause::Signal).await;
                        systemd::ready(&self.status());
                    }
                    None => signals = false,
                },
            }
        }
    }

    /// Reads again what is named, changed or not; without a name, what has changed.
    ///
    /// # Errors
    /// When a name is unknown; nothing is read then.
    pub(crate) async fn reload(
        &self,
        names: &[String],
        cause: Cause,
    ) -> Result<Vec<v1::ReloadedThing>, UnknownThing> {
        for name in names {
            if !self.units.iter().any(|unit| unit.is(name)) {
                let known = self.units.iter().flat_map(|unit| unit.what.parts()).map(|part| part.name);
                return Err(UnknownThing { found: name.clone(), known: known.collect() });
            }
        }
        let wanted = |unit: &Unit| names.is_empty() || names.iter().any(|name| unit.is(name));
        let units = self.units.iter().filter(|unit| wanted(unit));
        let force = !names.is_empty();
        let jobs = units.map(|unit| (Arc::clone(unit), force)).collect();
        Ok(self.run(jobs, cause).await)
    }

    /// Where everything stands.
    pub(crate) fn standing(&self) -> Vec<v1::ReloadStanding> {
        self.units.iter().flat_map(|unit| unit.standing()).collect()
    }

    /// Versions in force and what is refused, in a line.
    pub(crate) fn status(&self) -> String {
        let said = self.standing().into_iter().map(|thing| {
            let refused = if thing.refused.is_empty() { "" } else { " (newest refused)" };
            format!("{} {}{refused}", thing.thing, thing.version)
        });
        said.collect::<Vec<_>>().join(", ")
    }

    /// Looks at the files, and reads those again that have changed, once all of them stay as they are: what is still being
    /// written changes from look to look, and what was exchanged together is read together.
    async fn look(&self) {
        let mut changed = Vec::new();
        let mut moving = false;
        for unit in &self.units {
            let looking = Arc::clone(unit);
            match tokio::task::spawn_blocking(move || looking.look()).await {
                Ok(Look::Changed) => changed.push((Arc::clone(unit), false)),
                Ok(Look::Moving) => moving = true,
                Ok(Look::Same) => {}
                Err(error) => tracing::error!(%error, thing = unit.what.name(), "a look was interrupted"),
            }
        }
        if !changed.is_empty() && !moving {
            self.run(changed, Cause::Files).await;
        }
    }

    /// Has units read again, one after the other. What was refused is tried once more where another has changed: it may
    /// have been refused because of that one.
    async fn run(&self, jobs: Vec<(Arc<Unit>, bool)>, cause: Cause) -> Vec<v1::ReloadedThing> {
        let _one = self.one.lock().await;
        let mut answers = Vec::new();
        for (unit, force) in jobs {
            answers.extend(behind::callers(move || unit.reload(force, cause)).await.unwrap_or_default());
        }
        let moved = |thing: &v1::ReloadedThing| thing.result() == v1::ReloadResult::Reloaded;
        if answers.iter().any(moved) {
            for unit in self.units.iter().filter(|unit| unit.is_refused()) {
                let unit = Arc::clone(unit);
                for thing in behind::callers(move || unit.reload(true, cause)).await.unwrap_or_default() {
                    answers.retain(|answer| answer.thing != thing.thing);
                    answers.push(thing);
                }
            }
        }
        for thing in answers.iter().filter(|thing| thing.result() != v1::ReloadResult::Unchanged) {
            self.metrics.reloaded(&thing.thing, moved(thing));
        }
        answers
    }
}

impl Unit {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, name: &str) -> bool {
        self.what.parts().iter().any(|part| part.name == name)
    }

    fn is_refused(&self) -> bool {
        !self.known().refused.is_empty()
    }

    fn look(&self) -> Look {
        let now = self.what.stamp();
        let mut known = self.known();
        let before = std::mem::replace(&mut known.seen, now.clone());
        match (now == before, now == known.read) {
            (false, _) => Look::Moving,
            (true, false) => Look::Changed,
            (true, true) => Look::Same,
        }
    }

    /// Reads the files again where they have changed or it is forced.
    fn reload(&self, force: bool, cause: Cause) -> Vec<v1::ReloadedThing> {
        let stamp = self.what.stamp();
        if !force && stamp == self.known().read {
            let problems = self.known().refused.clone();
            return self.answers(|_| v1::ReloadResult::Unchanged, &problems);
        }
        // A panic is a fault of a reader, and no reason to try again at every look.
        let read = catch_unwind(AssertUnwindSafe(|| self.what.reload()));
        let read = read.unwrap_or_else(|_| Err(vec!["reading it was broken off by a panic".to_owned()]));
        self.known().read = stamp;
        match read {
            Ok(_) => self.accepted(cause),
            Err(problems) => self.refused(problems, cause),
        }
    }

    fn accepted(&self, cause: Cause) -> Vec<v1::ReloadedThing> {
        let parts = self.what.parts();
        let before = {
            let mut known = self.known();
            known.refused = Vec::new();
            if parts != known.parts {
                (known.reloads, known.since_us) = (known.reloads + 1, now_us());
            }
            std::mem::replace(&mut known.parts, parts.clone())
        };
        let changed = |part: &&Part| !before.contains(part);
        for Part { name, version } in parts.iter().filter(changed) {
            tracing::info!(thing = name, version, ?cause, "read again and in force");
        }
        let result = |part: &Part| {
            if changed(&part) { v1::ReloadResult::Reloaded } else { v1::ReloadResult::Unchanged }
        };
        self.answers(result, &[])
    }

    fn refused(&self, problems: Vec<String>, cause: Cause) -> Vec<v1::ReloadedThing> {
        for problem in &problems {
            tracing::error!(thing = self.what.name(), problem, ?cause, "refused: what was in force stays");
        }
        let answers = self.answers(|_| v1::ReloadResult::Refused, &problems);
        let mut known = self.known();
        known.refusals += 1;
        known.refused_us = now_us();
        known.refused = problems;
        answers
    }

    fn answers(
        &self,
        result: impl Fn(&Part) -> v1::ReloadResult,
        problems: &[String],
    ) -> Vec<v1::ReloadedThing> {
        let refused = !problems.is_empty();
        let answer = |part: Part| v1::ReloadedThing {
            thing: part.name.to_owned(),
            result: if refused { v1::ReloadResult::Refused } else { result(&part) }.into(),
            version: part.version,
            problems: problems.to_vec(),
        };
        self.what.parts().into_iter().map(answer).collect()
    }

    fn standing(&self) -> Vec<v1::ReloadStanding> {
        let known = self.known().clone();
        let standing = |part: Part| v1::ReloadStanding {
            thing: part.name.to_owned(),
            version: part.version,
            since_us: known.since_us,
            reloads: known.reloads,
            refusals: known.refusals,
            refused: known.refused.clone(),
            refused_us: known.refused_us,
        };
        self.what.parts().into_iter().map(standing).collect()
    }
}

#[cfg(test)]
mod tests;
