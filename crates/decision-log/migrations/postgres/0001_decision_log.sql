-- Records are JSON: their version says how to read them. What people ask for has columns in the view.
-- A day's partition is made when its first record comes and dropped when it is older than is kept.
CREATE SEQUENCE decision_log_row;

CREATE TABLE decisions (
    day date NOT NULL,
    decision_id uuid NOT NULL,
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    row bigint NOT NULL DEFAULT nextval('decision_log_row'),
    record jsonb NOT NULL,
    PRIMARY KEY (day, decision_id)
) PARTITION BY RANGE (day);
CREATE INDEX decisions_order ON decisions (transaction, row);
CREATE INDEX decisions_id ON decisions (decision_id);

CREATE TABLE outcomes (
    day date NOT NULL,
    decision_id uuid NOT NULL,
    source text NOT NULL,
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    row bigint NOT NULL DEFAULT nextval('decision_log_row'),
    record jsonb NOT NULL,
    PRIMARY KEY (day, decision_id, source)
) PARTITION BY RANGE (day);
CREATE INDEX outcomes_order ON outcomes (transaction, row);
CREATE INDEX outcomes_id ON outcomes (decision_id);

CREATE TABLE prompts (
    day date NOT NULL,
    decision_id uuid NOT NULL,
    prompt text NOT NULL,
    PRIMARY KEY (day, decision_id)
) PARTITION BY RANGE (day);

CREATE TABLE state (key text PRIMARY KEY, value text NOT NULL);

CREATE VIEW decision_log AS
SELECT
    day,
    decision_id,
    to_timestamp((record ->> 'time_us')::numeric / 1e6) AS time,
    record ->> 'rollout' AS rollout,
    record ->> 'artifact_version' AS artifact_version,
    record ->> 'threshold_source' AS threshold_source,
    record ->> 'fingerprint' AS fingerprint,
    record ->> 'action' AS action,
    record ->> 'tier' AS tier,
    record ->> 'reason' AS reason,
    (record ->> 'win_probability')::double precision AS win_probability,
    (record ->> 'threshold')::double precision AS threshold,
    (record ->> 'propensity')::double precision AS propensity,
    record ->> 'scored_by' AS scored_by,
    (record ->> 'decision_time_us')::double precision AS decision_time_us
FROM decisions;
