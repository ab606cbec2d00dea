-- Records are JSON: their version says how to read them. What people ask for has columns in the view.
CREATE TABLE decisions (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    decision_id BLOB NOT NULL UNIQUE,
    day INTEGER NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX decisions_day ON decisions (day);

CREATE TABLE outcomes (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    decision_id BLOB NOT NULL,
    source TEXT NOT NULL,
    day INTEGER NOT NULL,
    record TEXT NOT NULL,
    UNIQUE (decision_id, source)
);
CREATE INDEX outcomes_day ON outcomes (day);

CREATE TABLE prompts (
    decision_id BLOB PRIMARY KEY,
    day INTEGER NOT NULL,
    prompt TEXT NOT NULL
);
CREATE INDEX prompts_day ON prompts (day);

CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE VIEW decision_log AS
SELECT
    row,
    record ->> '$.decision_id' AS decision_id,
    strftime('%Y-%m-%dT%H:%M:%fZ', (record ->> '$.time_us') / 1e6, 'unixepoch') AS time,
    record ->> '$.rollout' AS rollout,
    record ->> '$.artifact_version' AS artifact_version,
    record ->> '$.threshold_source' AS threshold_source,
    record ->> '$.fingerprint' AS fingerprint,
    record ->> '$.action' AS action,
    record ->> '$.tier' AS tier,
    record ->> '$.reason' AS reason,
    record ->> '$.win_probability' AS win_probability,
    record ->> '$.threshold' AS threshold,
    record ->> '$.propensity' AS propensity,
    record ->> '$.scored_by' AS scored_by,
    record ->> '$.decision_time_us' AS decision_time_us
FROM decisions;
