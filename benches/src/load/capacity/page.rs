//! The page: what was measured, the lines through it, and fleets by rate, in words and tables.

use std::fmt::Write;

use anyhow::Result;

use super::fit::Line;
use super::measure::{BATCH, Measured, Point, Stored};
use super::model::{Assumptions, Fits, Fleet, RecordBytes};
use crate::load::say::Table;

/// Decisions a second of the fleets.
const RATES: [f64; 4] = [1e3, 1e4, 1e5, 1e6];
/// Shares of records that the last table compares.
const SAMPLES: [f64; 3] = [1.0, 0.1, 0.01];

/// The whole page.
pub(super) fn write(measured: &Measured, of: &Assumptions) -> Result<String> {
    let fits = Fits::of(measured)?;
    let mut page = String::new();
    // Writing to a string does not fail.
    let _ = write!(page, "{}", include_str!("opening.md"));
    let on = if measured.switched_on.is_empty() { "nothing".into() } else { measured.switched_on.join(", ") };
    let _ = write!(
        page,
        "\n## Measured\n\nOn {} shared with the client{}, switched on: {on}. At most {:.0} MB of memory.\n\n{}\n",
        measured.machine,
        measured.commit.as_ref().map_or_else(String::new, |commit| format!(", commit {commit}")),
        measured.peak_mb,
        measured_table(measured)
    );
    let _ = write!(page, "\n{}\n", stores(measured));
    let _ = write!(page, "\n## Fitted\n\n{}\n", fitted(&fits, of));
    let record = record_bytes(measured);
    let fleets: Vec<Fleet> = RATES.iter().map(|rate| Fleet::at(*rate, &fits, record, of)).collect();
    let _ = write!(page, "\n## Carried on\n\n{}\n\n{}\n", assumed(of), carried(&fleets));
    let _ = write!(page, "\n## What has to change on the way\n\n{}\n", changes(&fits, record, of));
    let _ = write!(page, "\n{}", include_str!("closing.md"));
    Ok(page)
}

fn measured_table(measured: &Measured) -> Table {
    let mut table = Table::new(&["queries", "tokens", "server, µs a decision", "bytes there", "bytes back"]);
    let batches = format!("fast tier, batches of {BATCH}");
    let groups = [
        ("fast tier, one to a call", &measured.unary),
        (batches.as_str(), &measured.batched),
        ("deep tier always, one to a call", &measured.deep),
    ];
    for (name, points) in groups {
        for Point { tokens, cpu_us, sent_bytes, received_bytes } in points {
            table.row(&[
                name.to_owned(),
                tokens.to_string(),
                format!("{cpu_us:.1}"),
                format!("{sent_bytes:.0}"),
                format!("{received_bytes:.0}"),
            ]);
        }
    }
    table
}

fn stores(measured: &Measured) -> Table {
    let mut table = Table::new(&["store", "records", "bytes a record", "records/s of one writer"]);
    let all =
        [("SQLite", &measured.sqlite), ("PostgreSQL", &measured.postgres), ("Parquet", &measured.parquet)];
    for (name, stored) in all {
        let cells = match stored {
            Some(stored) => [
                name.to_owned(),
                stored.records.to_string(),
                format!("{:.0}", stored.bytes_per_record()),
                match stored.records_per_s {
                    Some(rate) => format!("{rate:.0}"),
                    None if name == "Parquet" => "–".into(),
                    None => "it kept up".into(),
                },
            ],
            None => [name.to_owned(), "–".into(), "not measured".into(), "–".into()],
        };
        table.row(&cells);
    }
    table
}

fn fitted(fits: &Fits, of: &Assumptions) -> String {
    let mut table = Table::new(&["what", "fixed", "for each token", "R²"]);
    let mut row = |name: &str, line: Line, unit: &str| {
        let cells = [
            name.to_owned(),
            format!("{:.1} {unit}", line.fixed),
            format!("{:.3} {unit}", line.by_token),
            format!("{:.3}", line.r2),
        ];
        table.row(&cells);
    };
    row("fast tier, one to a call", fits.unary, "µs");
    row(&format!("fast tier, batches of {BATCH}"), fits.batched, "µs");
    row("deep tier always", fits.deep, "µs");
    row("bytes there", fits.sent, "B");
    row("bytes back", fits.received, "B");
    let per_core = |us: f64| format!("{:.0}", 1e6 / us);
    format!(
        "{table}\n\nA core that does nothing else decides, at {} tokens, {} a second one to a call, {} in batches, {} with \
         the encoder each time, and {} of the mix that is assumed below.",
        of.tokens,
        per_core(fits.unary.at(of.tokens)),
        per_core(fits.batched.at(of.tokens)),
        per_core(fits.deep.at(of.tokens)),
        per_core(fits.mean_us(of)),
    )
}

/// What a record takes: in PostgreSQL where that was measured, in SQLite otherwise.
fn record_bytes(measured: &Measured) -> RecordBytes {
    let bytes = |stored: &Option<Stored>| stored.as_ref().map(Stored::bytes_per_record);
    let database = bytes(&measured.postgres).or(bytes(&measured.sqlite)).unwrap_or_default();
    RecordBytes { database, warehouse: bytes(&measured.parquet).unwrap_or_default() }
}

fn assumed(of: &Assumptions) -> String {
    format!(
        "Assumptions (benches/capacity.toml; no vendor's prices): {} tokens, {} of the decisions ask the encoder, {} come in \
         batches; {} processors a replica, {} busy; {} of the records kept, {} days in the database, {} in Parquet; a \
         processor at {} USD an hour, a GB in the database at {} USD a month, in Parquet at {}, over the network at {}.",
        of.tokens,
        of.deep_share,
        of.batched_share,
        of.processors_per_replica,
        of.utilisation,
        of.log_share,
        of.database_days,
        of.warehouse_days,
        of.usd_per_processor_hour,
        of.usd_per_database_gb_month,
        of.usd_per_warehouse_gb_month,
        of.usd_per_network_gb,
    )
}

fn carried(fleets: &[Fleet]) -> Table {
    let mut head = vec!["figure".to_owned()];
    head.extend(fleets.iter().map(|fleet| format!("{} decisions/s", thousands(fleet.per_second))));
    let mut table = Table::new(&head.iter().map(String::as_str).collect::<Vec<_>>());
    let mut row = |name: &str, of: &dyn Fn(&Fleet) -> String| {
        let mut cells = vec![name.to_owned()];
        cells.extend(fleets.iter().map(of));
        table.row(&cells);
    };
    row("processors busy", &|f| number(f.busy_processors));
    row("replicas, one of them spare", &|f| number(f.replicas));
    row("processors there", &|f| number(f.processors));
    row("network to the servers, Gbit/s", &|f| number(f.network_in_gbit));
    row("network back, Gbit/s", &|f| number(f.network_out_gbit));
    row("records a day, millions", &|f| number(f.records_per_day / 1e6));
    row("database, TB a day", &|f| number(f.database_tb_per_day));
    row("database, TB kept", &|f| number(f.database_tb));
    row("PostgreSQL primaries", &|f| number(f.databases));
    row("Parquet, TB a day", &|f| number(f.warehouse_tb_per_day));
    row("Parquet, TB kept", &|f| number(f.warehouse_tb));
    row("processors, USD a month", &|f| thousands(f.usd_per_month.processors));
    row("network, USD a month", &|f| thousands(f.usd_per_month.network));
    row("database, USD a month", &|f| thousands(f.usd_per_month.database));
    row("Parquet, USD a month", &|f| thousands(f.usd_per_month.warehouse));
    row("all of it, USD a month", &|f| thousands(f.usd_per_month.sum()));
    row("USD for a million decisions", &|f| {
        format!("{:.3}", f.usd_per_month.sum() / (f.per_second * 2.592e6) * 1e6)
    });
    table
}

/// What a smaller share of records does at the highest rate, and where each part ends.
fn changes(fits: &Fits, record: RecordBytes, of: &Assumptions) -> String {
    let rate = RATES[RATES.len() - 1];
    let mut table = Table::new(&[
        "records kept",
        "records/s",
        "primaries",
        "database, TB kept",
        "all of it, USD a month",
    ]);
    for log_share in SAMPLES {
        let fleet = Fleet::at(rate, fits, record, &Assumptions { log_share, ..*of });
        table.row(&[
            format!("{log_share}"),
            thousands(rate * log_share),
            number(fleet.databases),
            number(fleet.database_tb),
            thousands(fleet.usd_per_month.sum()),
        ]);
    }
    let replica = of.processors_per_replica * of.utilisation * 1e6 / fits.mean_us(of);
    format!(
        "A replica of {} processors makes {} decisions/s of this mix at {} busy, and hands its log as many records. One \
         database takes {} records/s: {} such replicas.\n\nAt {} decisions/s, by the share of records that is kept:\n\n{table}",
        of.processors_per_replica,
        thousands(replica),
        of.utilisation,
        thousands(of.database_records_per_s),
        number((of.database_records_per_s / replica).floor().max(1.0)),
        thousands(rate),
    )
}

/// Three digits that count.
fn number(x: f64) -> String {
    match x.abs() {
        y if y >= 100.0 => thousands(x),
        y if y >= 10.0 => format!("{x:.1}").trim_end_matches(".0").to_owned(),
        y if y >= 1.0 => format!("{x:.2}").trim_end_matches(".00").to_owned(),
        _ => format!("{x:.3}"),
    }
}

/// A whole number with commas.
fn thousands(x: f64) -> String {
    let digits = format!("{:.0}", x.abs());
    let mut out = String::new();
    for (i, digit) in digits.char_indices() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if x < 0.0 { format!("-{out}") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown = [0.0123, 1.5, 2.0, 14.0, 14.25, 1_234_567.4].map(number);
        assert_eq!(shown, ["0.012", "1.50", "2", "14", "14.2", "1,234,567"]);
    }

    #[test]
    fn a_page_is_made_of_measurements_alone() {
        let point =
            |tokens: usize, cpu_us| Point { tokens, cpu_us, sent_bytes: 500.0, received_bytes: 400.0 };
        let measured = Measured {
            machine: "a machine, 2 processors".into(),
            commit: Some("c0ffee1".into()),
            switched_on: vec!["TLS".into()],
            unary: vec![point(16, 40.0), point(64, 44.0)],
            batched: vec![point(16, 20.0), point(64, 24.0)],
            deep: vec![point(16, 700.0), point(64, 3_000.0)],
            sqlite: Some(Stored { records: 10, bytes: 10_000, records_per_s: None }),
            parquet: None,
            postgres: None,
            peak_mb: 100.0,
        };
        let page = write(&measured, &Assumptions::usual().unwrap()).unwrap();
        assert!(page.contains("| SQLite | 10 | 1000 | it kept up |"), "{page}");
        assert!(page.contains("1,000,000 decisions/s") && page.contains("not measured"));
        assert!(page.contains("with the client, commit c0ffee1, switched on: TLS."), "{page}");
    }
}
