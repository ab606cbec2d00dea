//! Every metric there is: its name as Prometheus sees it, its kind, its labels and what it means. Instruments are made from
//! here and nowhere else; the documentation, the dashboard and the alert rules are tested against it.

/// What kind of number a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the start.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution in buckets.
    Histogram,
}

impl Kind {
    /// As Prometheus calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spec {
    /// As Prometheus sees it: counters end in `_total`.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// Its labels; none takes a caller's free text.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

impl Spec {
    /// As OpenTelemetry calls it: its exporter for Prometheus puts `_total` behind counters.
    pub(super) fn instrument(&self) -> &'static str {
        self.name.strip_suffix("_total").unwrap_or(self.name)
    }
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Spec {
    Spec { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Spec {
    Spec { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Spec {
    Spec { name, kind: Kind::Histogram, labels, help }
}

macro_rules! catalogue {
    ($($constant:ident = $make:ident($name:literal, $labels:expr, $help:literal);)*) => {
        $(pub(super) const $constant: Spec = $make($name, &$labels, $help);)*

        /// All metrics of Rung's own, in the order of the documentation.
        pub const CATALOGUE: &[Spec] = &[$($constant),*];
    };
}

catalogue! {
    REQUESTS = counter("rung_requests_total", ["method", "code"], "RPCs that ended, by method and gRPC code");
    REQUEST_DURATION = histogram(
        "rung_request_duration_seconds",
        ["method"],
        "Time from the head of an RPC to its end; of a stream its whole life"
    );
    REQUESTS_IN_FLIGHT = gauge("rung_requests_in_flight", ["method"], "RPCs under way");
    REFUSED = counter(
        "rung_refused_total",
        ["reason"],
        "Requests and items of batches that got no decision, by reason"
    );

    DECISIONS = counter(
        "rung_decisions_total",
        ["tier", "reason", "operating_point", "model"],
        "Decisions that were answered, by what was served and why"
    );
    DECISIONS_SCORED = counter(
        "rung_decisions_scored_total",
        ["scored_by", "scored_by_reason"],
        "The same decisions by the tier that scored and why it did"
    );
    DECISIONS_BY_SLICE = counter(
        "rung_decisions_by_slice_total",
        ["slice", "tier"],
        "The same decisions by slice; a decision of several slices counts in each, slices that nobody \
         declared are `other`"
    );
    DECISIONS_BY_ROLLOUT = counter(
        "rung_decisions_by_rollout_total",
        ["rollout"],
        "The same decisions by which artifact answered"
    );
    FALLBACK = counter(
        "rung_fallback_decisions_total",
        ["cause"],
        "Decisions made by another way than the rule's"
    );
    DEGRADED = counter(
        "rung_degraded_decisions_total",
        ["cause"],
        "Decisions that are right and made on less than was configured"
    );
    WIN_PROBABILITY = histogram("rung_win_probability", ["scored_by"], "Win probability that decided");
    INTERVAL_WIDTH = histogram(
        "rung_interval_width",
        ["scored_by"],
        "Width of its interval: how little is known"
    );
    STAGE_DURATION = histogram("rung_stage_duration_seconds", ["stage"], "Time of a decision by stage");

    ADMISSION_SLOTS = gauge("rung_admission_slots", [], "Decisions that may compute at once");
    ADMISSION_QUEUE = gauge("rung_admission_queue", [], "Requests that may wait for a slot");
    ADMISSION_WAITING = gauge("rung_admission_waiting", ["priority"], "Requests that wait for a slot");
    ADMISSION_BUSY = gauge("rung_admission_busy", [], "Slots that are taken");
    ADMISSION_SERVICE_TIME = gauge("rung_admission_service_time_seconds", [], "How long a query is expected to hold a slot");
    ADMITTED = counter("rung_admitted_total", ["priority"], "Requests that were given a slot; a batch that let others go first counts each time");

    ENCODER_BATCHES = counter("rung_encoder_batches_total", [], "Batches the encoder ran");
    ENCODER_QUERIES = counter("rung_encoder_queries_total", [], "Queries in them");
    ENCODER_SKIPPED = counter(
        "rung_encoder_skipped_total",
        [],
        "Queries dropped before the encoder saw them: late, or their caller gone"
    );
    ENCODER_QUEUE_SECONDS = counter(
        "rung_encoder_queue_seconds_total",
        [],
        "Time that queries waited for the encoder, summed over queries"
    );
    ENCODER_COMPUTE_SECONDS = counter(
        "rung_encoder_compute_seconds_total",
        [],
        "Time that the encoder computed, summed over batches"
    );
    ENCODER_LOST = counter("rung_encoder_device_lost_total", [], "How often the encoder's device was lost");

    POLICY_DECISIONS = counter(
        "rung_policy_decisions_total",
        ["strategy"],
        "Decisions by the strategy of the policy that made them"
    );
    POLICY_DIVERTED = counter(
        "rung_policy_over_limit_total",
        ["limit"],
        "Decisions where a strong call would have exceeded a limit of the budget"
    );
    BUDGET_COST = gauge("rung_budget_cost_usd_today", [], "Cost counted against the budget of the day");
    BUDGET_COST_LIMIT = gauge("rung_budget_cost_usd_per_day", [], "What may be spent a day");
    BUDGET_CALLS = gauge("rung_budget_strong_calls_last_minute", [], "Strong calls of the last minute");
    BUDGET_CALLS_LIMIT = gauge(
        "rung_budget_strong_calls_per_minute",
        [],
        "Strong calls that are allowed a minute"
    );
    BUDGET_REFUSED = counter(
        "rung_budget_refused_total",
        ["limit"],
        "Calls that the budget refused; they went elsewhere or got no decision"
    );

    COST_SERVED = counter(
        "rung_expected_cost_served_usd_total",
        [],
        "Expected cost of the models served, where both are priced"
    );
    COST_STRONG = counter(
        "rung_expected_cost_strong_usd_total",
        [],
        "Expected cost of the same decisions if the dearest model had answered each"
    );
    UNPRICED = counter(
        "rung_unpriced_decisions_total",
        [],
        "Decisions left out of these two because a model has no price"
    );

    CASCADE_PLANS = counter("rung_cascade_plans_total", ["cascade"], "Cascades that were planned");
    CASCADE_VERDICTS = counter(
        "rung_cascade_verdicts_total",
        ["cascade", "stage", "verdict"],
        "Answers assessed, by stage and verdict"
    );

    OUTCOMES = counter("rung_outcomes_total", ["status"], "Reports of outcomes by what became of them");
    LOG_RECORDS = counter(
        "rung_log_records_total",
        ["fate"],
        "Records of the decision log by what became of them"
    );
    LOG_QUEUED = gauge("rung_log_queued", [], "Records in memory");
    LOG_SPOOL_BYTES = gauge("rung_log_spool_bytes", [], "Bytes that wait in the spool");
    LOG_STORE_UP = gauge("rung_log_store_up", [], "1 while the store of the decision log answers");

    ALARMS = counter(
        "rung_monitor_alarms_total",
        ["monitor", "pair"],
        "Alarms this replica has told since it started"
    );
    MONITOR_STATISTIC = gauge(
        "rung_monitor_statistic",
        ["monitor", "pair", "slice"],
        "Where a monitor stands"
    );
    MONITOR_LIMIT = gauge(
        "rung_monitor_limit",
        ["monitor", "pair", "slice"],
        "What its statistic has to exceed, of those that have a limit"
    );
    MONITOR_LEADS = gauge("rung_monitor_leads", [], "1 on the replica that watches the log");
    MONITOR_BEHIND = gauge(
        "rung_monitor_behind_seconds",
        [],
        "Age of what the monitors have read last, 0 once they have read all of the log"
    );
    MONITOR_STRONG_RATE = gauge(
        "rung_monitor_strong_call_rate",
        ["pair", "slice"],
        "Share that the policy sent to strong"
    );
    MONITOR_TARGET_RATE = gauge(
        "rung_monitor_target_strong_call_rate",
        ["pair", "slice"],
        "The share that its operating point aims at"
    );

    ROLLOUT_STAGE = gauge("rung_rollout_stage", ["stage"], "1 for the stage a rollout is in");
    ROLLOUT_SHARE = gauge("rung_rollout_share", [], "Share of the callers that the candidate answers");
    ROLLOUT_SHADOWED = gauge("rung_rollout_shadowed", [], "Decisions that the candidate made unseen");
    ROLLOUT_DIFFERS = gauge("rung_rollout_shadow_differs", [], "Those in which it chose another model");

    ARTIFACT = gauge(
        "rung_artifact_info",
        ["role", "name", "version", "calibrator_version"],
        "1 for each artifact that is loaded"
    );
    POLICY = gauge("rung_policy_info", ["version"], "1 for the policy in force");
    RELOADS = counter(
        "rung_reloads_total",
        ["thing", "result"],
        "Reloads, by what was read again and whether it was taken"
    );
    POLICY_REFUSED = gauge(
        "rung_policy_refused",
        [],
        "1 while the newest state of policy, catalogue or prices is refused and an older one is in force"
    );

    READY = gauge("rung_ready", [], "1 while this server says that it is ready");
    UNREADY = gauge("rung_unready", ["reason"], "1 for each reason it is not");
    FALLBACK_SHARE = gauge(
        "rung_fallback_share",
        [],
        "Share of fallback and degraded decisions in the window that readiness looks at"
    );

    CONNECTIONS = gauge("rung_connections", [], "Connections that are open, over all listeners");
    ACCESS = counter("rung_access_total", ["event"], "What the access layer did");
    CERTIFICATE_EXPIRY = gauge(
        "rung_certificate_expiry_timestamp_seconds",
        [],
        "When the server's certificate ends, seconds since 1970"
    );
    SPANS = counter(
        "rung_trace_spans_total",
        ["fate"],
        "Spans that were exported, failed to be, or were dropped"
    );
    BUILD = gauge("rung_build_info", ["version"], "1, with the version of the program");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_prometheus_wants_and_there_once() {
        let mut seen = std::collections::BTreeSet::new();
        for spec in CATALOGUE {
            assert!(seen.insert(spec.name), "{} is there twice", spec.name);
            assert!(spec.name.starts_with("rung_"), "{}", spec.name);
            let plain = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(spec.name.chars().chain(spec.labels.join("").chars()).all(plain), "{}", spec.name);
            assert_eq!(spec.name.ends_with("_total"), spec.kind == Kind::Counter, "{}", spec.name);
            assert!(!spec.help.is_empty() && !spec.help.contains(['"', '\n', '\\', '|']), "{}", spec.name);
        }
    }
}
