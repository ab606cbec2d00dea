//! Moments in which the machine ran nobody: a thread of the client wakes every two milliseconds and looks how late it is.
//! What the hypervisor took meanwhile (`steal` of `/proc/stat`) tells a machine that was taken away from one that was busy.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::process::TICKS_PER_S;

/// How often it wakes.
const STEP: Duration = Duration::from_millis(2);
/// How often it reads what was stolen, which is counted in steps of 10 ms.
const READ: Duration = Duration::from_millis(10);
/// A wait that is longer is a stall: on a loaded machine a thread that slept has its turn within a few milliseconds.
const LATE: Duration = Duration::from_millis(20);

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Stall {
    /// When it began, seconds after the watch did.
    pub(crate) at_s: f64,
    /// How long it was, milliseconds.
    pub(crate) ms: f64,
    /// Processor time that the hypervisor kept from this machine then and in the 10 ms before, of all processors,
    /// milliseconds.
    pub(crate) stolen_ms: f64,
}

/// What was seen.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Stalls {
    /// Each, in time's order.
    pub(crate) all: Vec<Stall>,
    /// Processor time that was kept from this machine, stalls or not, seconds.
    pub(crate) stolen_s: f64,
}

impl Stalls {
    /// Looks until it is told to stop.
    pub(crate) fn watch(stop: &AtomicBool) -> Self {
        let begin = Instant::now();
        let stolen_before = stolen_s();
        let (mut last, mut read, mut stolen) = (begin, begin, stolen_before);
        let mut all = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(STEP);
            let now = Instant::now();
            if now - read >= READ {
                let before = std::mem::replace(&mut stolen, stolen_s());
                read = now;
                if now - last > LATE {
                    let (at_s, ms) = ((last - begin).as_secs_f64(), 1e3 * (now - last).as_secs_f64());
                    all.push(Stall { at_s, ms, stolen_ms: 1e3 * (stolen - before) });
                }
            }
            last = now;
        }
        Self { all, stolen_s: stolen - stolen_before }
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let longest = self.all.iter().max_by(|a, b| a.ms.total_cmp(&b.ms));
        let longest = longest.map_or_else(String::new, |stall| {
            let Stall { at_s, ms, stolen_ms } = stall;
            format!(", the longest of {ms:.0} ms after {at_s:.1} s ({stolen_ms:.0} ms stolen)")
        });
        format!("{}{longest}; {:.1} s stolen in all", self.all.len(), self.stolen_s)
    }
}

/// Seconds of processor time that the hypervisor gave to others while somebody here wanted them; 0 where there is none.
fn stolen_s() -> f64 {
    std::fs::read_to_string("/proc/stat").ok().and_then(|stat| steal(&stat)).unwrap_or_default()
}

/// The eighth figure of the first line of `/proc/stat`.
fn steal(stat: &str) -> Option<f64> {
    let ticks: f64 = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().nth(7)?.parse().ok()?;
    Some(ticks / TICKS_PER_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time_is_the_eighth_figure() {
        let stat = "cpu  1 2 3 4 5 6 7 850 9 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n";
        assert_eq!(steal(stat), Some(8.5));
        assert_eq!(steal("cpu 1 2"), None);
    }

    #[test]
    fn the_longest_is_told() {
        let stall = |at_s, ms, stolen_ms| Stall { at_s, ms, stolen_ms };
        let stalls = Stalls { all: vec![stall(1.0, 21.0, 0.0), stall(2.5, 77.0, 140.0)], stolen_s: 1.25 };
        assert_eq!(stalls.text(), "2, the longest of 77 ms after 2.5 s (140 ms stolen); 1.2 s stolen in all");
        assert_eq!(Stalls::default().text(), "0; 0.0 s stolen in all");
    }
}
