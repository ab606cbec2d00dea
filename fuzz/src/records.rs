//! Records of the decision log: a segment of the spool, or one record as JSON. What is read is written as it was, and
//! a report that was checked says nothing out of its range.

use decision_log::{DecisionRecord, Outcome, OutcomeRecord, fuzzing, labels, time_of};

/// Reads the bytes as a segment and as one record of each kind.
pub fn decode(bytes: &[u8]) {
    let (batch, unreadable) = fuzzing::read_segment(bytes);
    let lines = bytes.split(|byte| *byte == b'\n').count() as u64;
    assert!(unreadable + (batch.decisions.len() + batch.outcomes.len()) as u64 <= lines);
    let segment = fuzzing::segment(&batch).unwrap_or_default();
    assert_eq!(fuzzing::read_segment(&segment), (batch.clone(), 0));
    for decision in &batch.decisions {
        let found = labels(decision, &batch.outcomes);
        assert!(found.len() <= decision.evidence.len());
    }
    if let Ok(decision) = serde_json::from_slice::<DecisionRecord>(bytes) {
        let text = serde_json::to_string(&decision).unwrap_or_default();
        assert_eq!(serde_json::from_str::<DecisionRecord>(&text).ok(), Some(decision));
    }
    if let Ok(outcome) = serde_json::from_slice::<OutcomeRecord>(bytes) {
        reported(outcome);
    }
}

fn reported(record: OutcomeRecord) {
    let _ = time_of(record.decision_id);
    match record.checked() {
        Err(error) => assert!(!error.field.is_empty() && !error.expected.is_empty()),
        Ok(checked) => {
            assert_eq!(checked.clone().checked().as_ref(), Ok(&checked));
            let models: Vec<&str> = match &checked.outcome {
                Outcome::Graded { scores } => scores.keys().map(String::as_str).collect(),
                _ => vec!["any"],
            };
            for model in models {
                let share = checked.outcome.acceptable(model);
                assert!(share.is_none_or(|share| (0.0..=1.0).contains(&share)), "{checked:?}");
            }
        }
    }
}
