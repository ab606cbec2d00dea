//! What the monitors see of a log: one decision for the pair of its ladder's ends, one label for a decision and a rung.

use monitoring::{DecisionSeen, LabelSeen, MonitoringError, Raised, Watch};
use types::{TierReason, WinProbability};

use crate::follow::Event;
use crate::join::labels;
use crate::record::{DecisionRecord, Rollout};

/// Gives an event to the monitors; alarms it raises. `target`: the strong-call rate that a decision's operating point aims
/// at, given the decision and its pair, `strong/weak`.
///
/// A shadow served nobody and is passed by. Of several reports that say which answer was better, the first counts.
///
/// # Errors
/// When a window cannot be compared.
pub fn see(
    watch: &mut Watch,
    event: &Event<'_>,
    target: &dyn Fn(&DecisionRecord, &str) -> Option<f64>,
) -> Result<Vec<Raised>, MonitoringError> {
    match event {
        Event::Decision(decision) if decision.rollout != Rollout::Shadow => {
            let (Some(top), Some(rung)) = (decision.action_set.last(), decision.evidence.first()) else {
                return Ok(Vec::new());
            };
            let Ok(win_probability) = WinProbability::new(rung.win_probability) else {
                return Ok(Vec::new());
            };
            let pair = format!("{top}/{}", rung.model);
            watch.decision(&DecisionSeen {
                time_us: decision.time_us,
                pair: &pair,
                slices: &decision.slices,
                high_stakes: decision.high_stakes,
                win_probability,
                strong: *top == decision.policy_action,
                target: target(decision, &pair),
                fallback: TierReason::parse(&decision.scored_by_reason).is_some_and(TierReason::is_fallback),
                tokens: f64::from(decision.features.tokens),
                script: &decision.features.script,
                decision_time_us: decision.decision_time_us,
            })
        }
        Event::Outcome { decision, before, outcome } if decision.rollout != Rollout::Shadow => {
            let known = labels(decision, before);
            let all: Vec<_> = before.iter().chain([*outcome]).cloned().collect();
            let new =
                labels(decision, &all).into_iter().filter(|label| known.iter().all(|k| k.weak != label.weak));
            let mut raised = Vec::new();
            for label in new {
                let Ok(win_probability) = WinProbability::new(label.win_probability) else { continue };
                raised.extend(watch.label(&LabelSeen {
                    time_us: decision.time_us,
                    pair: &format!("{}/{}", label.strong, label.weak),
                    slices: &decision.slices,
                    high_stakes: decision.high_stakes,
                    win_probability,
                    strong_better: label.strong_better,
                }));
            }
            Ok(raised)
        }
        Event::Decision(_) | Event::Outcome { .. } => Ok(Vec::new()),
    }
}
