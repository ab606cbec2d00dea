//! Messages of cascades to domain values and back; every refusal names the request field.

use std::collections::HashMap;

use api::v1;
use router::{
    Assessed, Cascade, CascadeError, CascadeStage, Cascades, FinishReason, Plan, Predicted, Signals, Skip,
    Verdict,
};
use types::{ModelName, Query, SuccessProbability};

use super::fault::Fault;
use super::token::{Fingerprint, TokenKey};
use crate::convert;
use crate::status::RequestError;

const DEFAULT_CASCADE: &str = "default";

/// Other answers of one request at most.
const MOST_OTHER_ANSWERS: usize = 64;

/// The name of a cascade, where none is given.
pub(crate) fn name(name: &str) -> &str {
    if name.is_empty() { DEFAULT_CASCADE } else { name }
}

/// The query of a plan.
pub(crate) fn planned_query(
    input: Option<v1::plan_cascade_request::Input>,
    system: Option<String>,
) -> Result<Query, RequestError> {
    use v1::plan_cascade_request::Input;
    use v1::route_request::Input as Common;
    let input = input.map(|input| match input {
        Input::Text(text) => Common::Text(text),
        Input::Chat(chat) => Common::Chat(chat),
    });
    convert::query(input, system)
}

fn assessed_query(
    input: Option<v1::assess_request::Input>,
    system: Option<String>,
) -> Result<Query, RequestError> {
    use v1::assess_request::Input;
    use v1::route_request::Input as Common;
    let input = input.map(|input| match input {
        Input::Text(text) => Common::Text(text),
        Input::Chat(chat) => Common::Chat(chat),
    });
    convert::query(input, system)
}

/// Predicted success by model; every model has to be a stage.
pub(crate) fn predicted(wire: &HashMap<String, f64>, of: &Cascade) -> Result<Predicted, RequestError> {
    let refused = |expected: String| RequestError::invalid("predicted_success", expected);
    let one = |(model, p): (&String, &f64)| {
        of.position(model).map_err(|e| refused(e.to_string()))?;
        let name = ModelName::new(model).map_err(|e| refused(e.to_string()))?;
        Ok((name, SuccessProbability::new(*p).map_err(|e| refused(format!("{model}: {e}")))?))
    };
    wire.iter().map(one).collect()
}

/// An answer understood.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) request_id: String,
    pub(crate) query: Query,
    pub(crate) text: String,
    pub(crate) token: String,
    /// As sent: empty where the request names none.
    pub(crate) cascade: String,
    pub(crate) signals: Signals,
    /// Ascending: which task is known first must not depend on the order of labels on the wire.
    pub(crate) slices: Vec<String>,
    pub(crate) remaining_ms: Option<u64>,
    pub(crate) cost_usd: Option<f64>,
    pub(crate) predicted_success: HashMap<String, f64>,
    at: Option<v1::assess_request::At>,
}

impl Answered {
    pub(crate) fn new(request: v1::AssessRequest) -> Result<Self, RequestError> {
        let expected = "expected a finite number of US dollars, at least 0";
        let cost = |usd: f64| usd.is_finite() && usd >= 0.0;
        if !request.cost_usd.is_none_or(cost) {
            return Err(RequestError::invalid("cost_usd", expected));
        }
        let labels = request.labels.iter();
        let mut slices: Vec<String> = labels.map(|(key, value)| convert::slice(key, value)).collect();
        slices.sort();
        Ok(Self {
            request_id: request.request_id,
            query: assessed_query(request.input, request.system)?,
            text: request.answer,
            token: request.token,
            cascade: request.cascade,
            signals: signals(request.signals.unwrap_or_default())?,
            slices,
            remaining_ms: request.remaining_ms,
            cost_usd: request.cost_usd,
            predicted_success: request.predicted_success,
            at: request.at,
        })
    }

    /// The stage that the request names, where it names one.
    pub(crate) fn stage_of(&self, cascade: &Cascade) -> Result<Option<usize>, CascadeError> {
        use v1::assess_request::At;
        match &self.at {
            None => Ok(None),
            Some(At::Model(model)) => cascade.position(model).map(Some),
            Some(At::Stage(stage)) => {
                let stage = usize::try_from(*stage).unwrap_or(usize::MAX);
                cascade.stage(stage).map(|_| Some(stage))
            }
        }
    }

    /// Whether the request is about this stage: it names none, its position, or its model.
    pub(crate) fn is_of(&self, cascade: &Cascade, stage: usize) -> Result<bool, CascadeError> {
        use v1::assess_request::At;
        let named = self.stage_of(cascade)?;
        // A model that is called twice is either of its stages.
        let same = |model: &String| cascade.stage(stage).map(|of| of.model.as_str() == model);
        match &self.at {
            Some(At::Model(model)) => same(model),
            _ => Ok(named.is_none_or(|named| named == stage)),
        }
    }

    /// What a retry has in common with the first try: the answer and what is known of it.
    pub(crate) fn fingerprint(&self, key: &TokenKey) -> Fingerprint {
        let Signals {
            finish_reason,
            mean_log_probability,
            least_log_probability,
            first_margin,
            other_answers: _,
            predicted_success,
            similarity,
        } = &self.signals;
        // No signal is NaN: here it stands for one that is missing.
        let numbers =
            [mean_log_probability, least_log_probability, first_margin, predicted_success, similarity]
                .map(|number| number.unwrap_or(f64::NAN).to_le_bytes());
        let reason = finish_reason.map_or("", FinishReason::as_str).as_bytes();
        let known = [self.text.as_bytes(), reason].into_iter().chain(numbers.iter().map(<[u8; 8]>::as_slice));
        let others = self.signals.other_answers.iter().map(String::as_bytes);
        key.fingerprint("answer", known.chain(others))
    }
}

fn signals(wire: v1::AnswerSignals) -> Result<Signals, RequestError> {
    let within = |field, value: Option<f64>, range: std::ops::RangeInclusive<f64>, expected: &str| match value
    {
        Some(value) if !range.contains(&value) => {
            Err(RequestError::invalid(field, format!("expected {expected}, found {value}")))
        }
        value => Ok(value),
    };
    let finish_reason = match wire.finish_reason.as_str() {
        "" => None,
        name => Some(FinishReason::parse(name).ok_or_else(|| {
            let expected = format!("expected stop, length, content_filter or tool_calls, found {name:?}");
            RequestError::invalid("signals.finish_reason", expected)
        })?),
    };
    let others = wire.other_answers.len();
    if others > MOST_OTHER_ANSWERS {
        let expected = format!("expected at most {MOST_OTHER_ANSWERS}, found {others}");
        return Err(RequestError::invalid("signals.other_answers", expected));
    }
    let (mean, least) = ("signals.mean_log_probability", "signals.least_log_probability");
    let logarithm = f64::MIN..=0.0;
    let expected = "a finite logarithm, at most 0";
    Ok(Signals {
        finish_reason,
        mean_log_probability: within(mean, wire.mean_log_probability, logarithm.clone(), expected)?,
        least_log_probability: within(least, wire.least_log_probability, logarithm, expected)?,
        first_margin: within("signals.first_margin", wire.first_margin, 0.0..=1.0, "a number in [0, 1]")?,
        other_answers: wire.other_answers,
        predicted_success: within(
            "signals.predicted_success",
            wire.predicted_success,
            0.0..=1.0,
            "a number in [0, 1]",
        )?,
        similarity: within("signals.similarity", wire.similarity, -1.0..=1.0, "a number in [-1, 1]")?,
    })
}

/// A position on the wire.
fn position(stage: usize) -> u32 {
    u32::try_from(stage).unwrap_or(u32::MAX)
}

/// Milliseconds since 1970 on the wire.
pub(crate) fn wire_ms(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn verdict(verdict: Verdict) -> i32 {
    match verdict {
        Verdict::Accept => v1::CascadeVerdict::Accept,
        Verdict::Escalate => v1::CascadeVerdict::Escalate,
        Verdict::Abstain => v1::CascadeVerdict::Abstain,
    }
    .into()
}

fn model(of: &Cascade, stage: Option<usize>) -> String {
    stage.and_then(|stage| of.stages().get(stage)).map(|s| s.model.to_string()).unwrap_or_default()
}

fn skipped(skipped: &[Skip], of: &Cascade) -> Vec<v1::SkippedStage> {
    let one = |skip: &Skip| v1::SkippedStage {
        stage: position(skip.stage),
        model: model(of, Some(skip.stage)),
        reason: skip.reason.as_str().to_owned(),
    };
    skipped.iter().map(one).collect()
}

fn stage(stage: &CascadeStage, reach: f64, predicted: Option<SuccessProbability>) -> v1::CascadeStage {
    let thresholds = stage.rule.thresholds();
    v1::CascadeStage {
        model: stage.model.to_string(),
        abstain_below: thresholds.abstain_below(),
        accept_above: thresholds.accept_above(),
        skip_below: stage.rule.skip_below(),
        cost_usd: stage.cost_usd,
        latency_s: stage.latency_s,
        reach,
        escalation_rate: stage.escalation_rate,
        break_even_escalation: stage.break_even_escalation,
        predicted_success: predicted.map(SuccessProbability::get),
        calibrated_for_model: stage.calibrated,
    }
}

/// A plan, without request and token.
pub(crate) fn plan(plan: &Plan, of: &Cascade, version: &str) -> v1::PlanCascadeResponse {
    let stages = of.stages().iter().zip(&plan.stages);
    v1::PlanCascadeResponse {
        cascade: of.name().to_owned(),
        verifier_version: version.to_owned(),
        stages: stages.map(|(of, planned)| stage(of, planned.reach, planned.predicted)).collect(),
        verdict: verdict(plan.step.verdict),
        reason: plan.step.reason.as_str().to_owned(),
        next_stage: plan.step.next.map(position),
        next_model: model(of, plan.step.next),
        skipped: skipped(&plan.step.skipped, of),
        expected_cost_usd: plan.expected_cost_usd,
        expected_latency_s: plan.expected_latency_s,
        last_only_cost_usd: plan.last_only_cost_usd,
        warnings: plan.warnings.clone(),
        ..Default::default()
    }
}

/// A verdict, without request, token and what was spent.
pub(crate) fn assessed(
    assessed: Assessed,
    of: &Cascade,
    stage: usize,
    version: &str,
) -> Result<v1::AssessResponse, Fault> {
    let Assessed { judged, thresholds, last_abstain_below, step, further_cost_usd, warnings } = assessed;
    Ok(v1::AssessResponse {
        cascade: of.name().to_owned(),
        verifier_version: version.to_owned(),
        stage: position(stage),
        model: of.stage(stage)?.model.to_string(),
        verdict: verdict(step.verdict),
        reason: step.reason.as_str().to_owned(),
        success_probability: judged.probability.get(),
        interval_lower: judged.interval.lower().get(),
        interval_upper: judged.interval.upper().get(),
        calibrated_for_model: judged.of_its_model,
        abstain_below: thresholds.abstain_below(),
        accept_above: thresholds.accept_above(),
        last_abstain_below,
        next_stage: step.next.map(position),
        next_model: model(of, step.next),
        skipped: skipped(&step.skipped, of),
        expected_further_cost_usd: further_cost_usd,
        warnings,
        ..Default::default()
    })
}

/// What is loaded, without what tokens are like.
pub(crate) fn cascades(cascades: &Cascades) -> Result<v1::GetCascadesResponse, Fault> {
    let manifest = cascades.manifest();
    let infos: Result<Vec<_>, Fault> = cascades.all().map(info).collect();
    Ok(v1::GetCascadesResponse {
        verifier: manifest.name.clone(),
        verifier_version: manifest.version.clone(),
        created: manifest.created.clone(),
        models: manifest.models.clone(),
        tasks: manifest.tasks.clone(),
        signals: manifest.signals.clone(),
        cascades: infos?,
        ..Default::default()
    })
}

fn info(cascade: &Cascade) -> Result<v1::CascadeInfo, Fault> {
    let (record, plan) = (cascade.record(), cascade.plan(f64::INFINITY, &Predicted::new())?);
    let reaches = record.stages.iter().map(|stage| stage.reach);
    let measured = record.measured.iter().map(|(name, figure)| {
        let (value, lower, upper) = (figure.value, figure.lower, figure.upper);
        (name.clone(), v1::MeasuredFigure { value, lower, upper })
    });
    Ok(v1::CascadeInfo {
        name: cascade.name().to_owned(),
        stages: cascade.stages().iter().zip(reaches).map(|(of, reach)| stage(of, reach, None)).collect(),
        objective: record.objective.clone(),
        rows: record.rows as u64,
        created: record.created.clone(),
        measured: measured.collect(),
        certificate: record.certificate.as_ref().map(|proved| v1::CascadeProof {
            risk: proved.risk.clone(),
            alpha: proved.alpha,
            delta: proved.delta,
            upper_bound: proved.upper_bound,
        }),
        expected_cost_usd: plan.expected_cost_usd,
        last_only_cost_usd: plan.last_only_cost_usd,
        warnings: plan.warnings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> v1::AssessRequest {
        let signals = v1::AnswerSignals {
            finish_reason: "stop".into(),
            mean_log_probability: Some(-0.5),
            ..Default::default()
        };
        let input = Some(v1::assess_request::Input::Text("q".into()));
        v1::AssessRequest { input, answer: "a".into(), signals: Some(signals), ..Default::default() }
    }

    #[test]
    fn a_retry_is_told_by_answer_and_signals() {
        let key = TokenKey::of_this_process();
        let of = |edit: fn(&mut v1::AssessRequest)| {
            let mut request = request();
            edit(&mut request);
            Answered::new(request).unwrap().fingerprint(&key)
        };
        let first = of(|_| {});
        assert_eq!(of(|r| r.remaining_ms = Some(7)), first, "time goes on between two tries");
        assert_ne!(of(|r| r.answer = "b".into()), first);
        assert_ne!(of(|r| r.signals.as_mut().unwrap().finish_reason.clear()), first);
        let moved = |r: &mut v1::AssessRequest| {
            let signals = r.signals.as_mut().unwrap();
            signals.least_log_probability = signals.mean_log_probability.take();
        };
        assert_ne!(of(moved), first);
        assert_ne!(of(|r| r.signals.as_mut().unwrap().other_answers = vec![String::new()]), first);
    }

    #[test]
    fn labels_become_slices_in_one_order() {
        let mut labelled = request();
        labelled.labels = [("task", "gsm"), ("high_stakes", "true"), ("category", "law")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let answered = Answered::new(labelled).unwrap();
        assert_eq!(answered.slices, ["category:law", "high_stakes", "task:gsm"]);
    }
}
