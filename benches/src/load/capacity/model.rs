//! From what a decision takes to what a fleet takes: arithmetic, with every assumption an input.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::fit::Line;
use super::measure::{Measured, Point};

const SECONDS_PER_DAY: f64 = 86_400.0;
const DAYS_PER_MONTH: f64 = 30.0;

/// What is taken for granted.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Assumptions {
    pub(super) tokens: f64,
    pub(super) deep_share: f64,
    pub(super) batched_share: f64,
    pub(super) processors_per_replica: f64,
    pub(super) utilisation: f64,
    pub(super) log_share: f64,
    pub(super) database_days: f64,
    pub(super) warehouse_days: f64,
    pub(super) database_records_per_s: f64,
    pub(super) usd_per_processor_hour: f64,
    pub(super) usd_per_database_gb_month: f64,
    pub(super) usd_per_warehouse_gb_month: f64,
    pub(super) usd_per_network_gb: f64,
}

impl Assumptions {
    /// Reads a file and checks it.
    pub(super) fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        Self::parse(&text).with_context(|| file.display().to_string())
    }

    /// Those of `benches/capacity.toml`.
    pub(super) fn usual() -> Result<Self> {
        Self::parse(include_str!("../../../capacity.toml")).context("benches/capacity.toml")
    }

    fn parse(text: &str) -> Result<Self> {
        let read: Self = toml::from_str(text)?;
        let shares = [
            ("deep_share", read.deep_share),
            ("batched_share", read.batched_share),
            ("utilisation", read.utilisation),
            ("log_share", read.log_share),
        ];
        for (key, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                bail!("{key}: expected a share from 0 to 1, found {share}");
            }
        }
        let positive = [
            ("tokens", read.tokens),
            ("processors_per_replica", read.processors_per_replica),
            ("utilisation", read.utilisation),
            ("database_records_per_s", read.database_records_per_s),
        ];
        for (key, number) in positive {
            if number.is_nan() || number <= 0.0 {
                bail!("{key}: expected more than 0, found {number}");
            }
        }
        Ok(read)
    }
}

/// The lines through what was measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fits {
    /// Processor time of the server for a decision of the fast tier, one to a call, µs.
    pub(super) unary: Line,
    /// The same in batches.
    pub(super) batched: Line,
    /// Of a decision that asks the encoder.
    pub(super) deep: Line,
    /// Bytes there, and back.
    pub(super) sent: Line,
    pub(super) received: Line,
}

impl Fits {
    pub(super) fn of(measured: &Measured) -> Result<Self> {
        let line = |points: &[Point], what: fn(&Point) -> f64| {
            Line::through(&points.iter().map(|p| (p.tokens as f64, what(p))).collect::<Vec<_>>())
        };
        Ok(Self {
            unary: line(&measured.unary, |p| p.cpu_us)?,
            batched: line(&measured.batched, |p| p.cpu_us)?,
            deep: line(&measured.deep, |p| p.cpu_us)?,
            sent: line(&measured.unary, |p| p.sent_bytes)?,
            received: line(&measured.unary, |p| p.received_bytes)?,
        })
    }

    /// Processor time of the mean decision, µs.
    pub(super) fn mean_us(&self, of: &Assumptions) -> f64 {
        let alone = self.unary.at(of.tokens);
        let fast = (1.0 - of.batched_share) * alone + of.batched_share * self.batched.at(of.tokens);
        // A decision that asks the encoder has been through the fast tier as well; its line has both.
        let deep = (self.deep.at(of.tokens) - alone).max(0.0);
        fast + of.deep_share * deep
    }
}

/// What a fleet takes at one rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fleet {
    pub(super) per_second: f64,
    /// Processors that compute, and those that are there.
    pub(super) busy_processors: f64,
    pub(super) processors: f64,
    pub(super) replicas: f64,
    /// Gigabits a second to the servers and back.
    pub(super) network_in_gbit: f64,
    pub(super) network_out_gbit: f64,
    pub(super) records_per_day: f64,
    /// Terabytes: a day of records in the database and in Parquet, and all that is kept.
    pub(super) database_tb_per_day: f64,
    pub(super) warehouse_tb_per_day: f64,
    pub(super) database_tb: f64,
    pub(super) warehouse_tb: f64,
    /// PostgreSQL primaries that take the records.
    pub(super) databases: f64,
    pub(super) usd_per_month: Cost,
}

/// US dollars a month.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    pub(super) processors: f64,
    pub(super) network: f64,
    pub(super) database: f64,
    pub(super) warehouse: f64,
}

impl Cost {
    pub(super) fn sum(&self) -> f64 {
        self.processors + self.network + self.database + self.warehouse
    }
}

/// Bytes of a record in the database and in Parquet.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordBytes {
    pub(super) database: f64,
    pub(super) warehouse: f64,
}

impl Fleet {
    pub(super) fn at(per_second: f64, fits: &Fits, record: RecordBytes, of: &Assumptions) -> Self {
        let busy = per_second * fits.mean_us(of) / 1e6;
        // One more than are needed, so that one may be gone.
        let replicas = (busy / of.utilisation / of.processors_per_replica).ceil().max(1.0) + 1.0;
        let processors = replicas * of.processors_per_replica;
        let (bytes_in, bytes_out) =
            (per_second * fits.sent.at(of.tokens), per_second * fits.received.at(of.tokens));
        let records_per_s = per_second * of.log_share;
        let records_per_day = records_per_s * SECONDS_PER_DAY;
        let tb = |bytes: f64| records_per_day * bytes / 1e12;
        let (database_tb_per_day, warehouse_tb_per_day) = (tb(record.database), tb(record.warehouse));
        let database_tb = database_tb_per_day * of.database_days;
        let warehouse_tb = warehouse_tb_per_day * of.warehouse_days;
        let seconds = SECONDS_PER_DAY * DAYS_PER_MONTH;
        Self {
            per_second,
            busy_processors: busy,
            processors,
            replicas,
            network_in_gbit: bytes_in * 8.0 / 1e9,
            network_out_gbit: bytes_out * 8.0 / 1e9,
            records_per_day,
            database_tb_per_day,
            warehouse_tb_per_day,
            database_tb,
            warehouse_tb,
            databases: (records_per_s / of.database_records_per_s).ceil(),
            usd_per_month: Cost {
                processors: processors * of.usd_per_processor_hour * 24.0 * DAYS_PER_MONTH,
                network: (bytes_in + bytes_out) * seconds / 1e9 * of.usd_per_network_gb,
                database: database_tb * 1e3 * of.usd_per_database_gb_month,
                warehouse: warehouse_tb * 1e3 * of.usd_per_warehouse_gb_month,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(fixed: f64, by_token: f64) -> Line {
        Line { fixed, by_token, r2: 1.0 }
    }

    #[test]
    fn a_million_decisions_a_second_are_counted_as_on_paper() {
        let fits = Fits {
            unary: line(40.0, 0.0),
            batched: line(20.0, 0.0),
            deep: line(2_040.0, 0.0),
            sent: line(500.0, 0.0),
            received: line(500.0, 0.0),
        };
        let usual = Assumptions::usual().unwrap();
        let of = Assumptions { deep_share: 0.01, batched_share: 0.5, log_share: 0.1, ..usual };
        assert!((fits.mean_us(&of) - (30.0 + 20.0)).abs() < 1e-9);
        let record = RecordBytes { database: 1_000.0, warehouse: 100.0 };
        let fleet = Fleet::at(1e6, &fits, record, &of);
        assert!((fleet.busy_processors - 50.0).abs() < 1e-9);
        // 100 processors at half, 12.5 replicas of eight, so 13 and one more.
        assert!((fleet.replicas - 14.0).abs() < 1e-9 && (fleet.network_in_gbit - 4.0).abs() < 1e-9);
        assert!((fleet.records_per_day - 8.64e9).abs() < 1.0 && (fleet.databases - 2.0).abs() < 1e-9);
        assert!((fleet.database_tb_per_day - 8.64).abs() < 1e-9);
    }

    #[test]
    fn a_bad_assumption_is_named() {
        let text = include_str!("../../../capacity.toml");
        let bad = text.replace("utilisation = 0.5", "utilisation = 5");
        assert!(Assumptions::parse(&bad).unwrap_err().to_string().contains("utilisation"));
        assert!(Assumptions::parse(&format!("{text}\nunknown = 1")).is_err());
    }
}
