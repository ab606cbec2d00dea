//! Tables and values of a TOML text with their places: typed reading that reports what it finds and goes on.

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::report::Report;
use crate::{Fault, Place};

/// A key is shown up to so many bytes: what is under it repeats it.
const LONGEST_SHOWN: usize = 100;

/// A table and where it stands.
pub(crate) struct Section<'t> {
    table: &'t DeTable<'t>,
    pub(crate) place: Place,
    /// Where the table begins, in bytes.
    at: usize,
}

/// A value and where it stands.
pub(crate) struct Entry<'t> {
    value: &'t DeValue<'t>,
    pub(crate) place: Place,
    at: usize,
}

impl<'t> Section<'t> {
    /// The whole text.
    pub(crate) fn root(table: &'t DeTable<'t>, report: &Report<'_>) -> Self {
        Self { table, place: report.place(String::new(), 0), at: 0 }
    }

    fn path(&self, key: &str) -> String {
        let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        let shown = &key[..key.floor_char_boundary(LONGEST_SHOWN)];
        let key = match (bare, shown.len() < key.len()) {
            (true, false) => key.to_owned(),
            (false, false) => format!("{key:?}"),
            (_, true) => format!("{shown:?}..."),
        };
        if self.place.key.is_empty() { key } else { format!("{}.{key}", self.place.key) }
    }

    /// The value of a key, where there is one.
    pub(crate) fn get(&self, report: &Report<'_>, key: &str) -> Option<Entry<'t>> {
        let (_, value) = self.table.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(self.entry(report, key, value))
    }

    fn entry(&self, report: &Report<'_>, key: &str, value: &'t Spanned<DeValue<'t>>) -> Entry<'t> {
        let at = value.span().start;
        Entry { value: value.get_ref(), place: report.place(self.path(key), at), at }
    }

    /// The value of a key without which the table says nothing.
    pub(crate) fn need(
        &self,
        report: &mut Report<'_>,
        key: &str,
        expected: &'static str,
    ) -> Option<Entry<'t>> {
        let entry = self.get(report, key);
        if entry.is_none() {
            self.missing(report, key, expected);
        }
        entry
    }

    /// Reports that a key is missing.
    pub(crate) fn missing(&self, report: &mut Report<'_>, key: &str, expected: &'static str) {
        report.add(report.place(self.path(key), self.at), Fault::Missing(expected));
    }

    /// Reports every key but those `expected`.
    pub(crate) fn only(&self, report: &mut Report<'_>, expected: &[&str]) {
        for key in self.table.keys().filter(|key| !expected.contains(&key.get_ref().as_ref())) {
            let place = report.place(self.path(key.get_ref()), key.span().start);
            report.add(place, Fault::unknown_key(key.get_ref(), expected));
        }
    }

    /// Reports a second key that says what a first one says already.
    pub(crate) fn not_both(&self, report: &mut Report<'_>, first: &'static str, second: &str) {
        if self.get(report, first).is_some()
            && let Some(entry) = self.get(report, second)
        {
            report.add(entry.place, Fault::Together(first));
        }
    }

    /// Every key with its value, in the order of the keys.
    pub(crate) fn entries(&self, report: &Report<'_>) -> Vec<(&'t str, Entry<'t>)> {
        let entry = |(key, value): (&'t Spanned<DeString<'t>>, &'t Spanned<DeValue<'t>>)| {
            let key = key.get_ref().as_ref();
            (key, self.entry(report, key, value))
        };
        self.table.iter().map(entry).collect()
    }
}

impl<'t> Entry<'t> {
    fn refuse(&self, report: &mut Report<'_>, expected: &'static str) {
        report.add(self.place.clone(), Fault::WrongType { expected, found: self.value.type_str() });
    }

    fn out_of_range(&self, report: &mut Report<'_>, expected: &'static str, found: String) {
        report.add(self.place.clone(), Fault::OutOfRange { expected, found });
    }

    /// A table.
    pub(crate) fn section(self, report: &mut Report<'_>) -> Option<Section<'t>> {
        let DeValue::Table(table) = self.value else {
            self.refuse(report, "a table");
            return None;
        };
        Some(Section { table, place: self.place, at: self.at })
    }

    /// Tables under double brackets, counted from 1.
    pub(crate) fn sections(self, report: &mut Report<'_>) -> Vec<Section<'t>> {
        let mut sections = Vec::new();
        for item in self.items(report, "a table under double brackets") {
            sections.extend(item.section(report));
        }
        sections
    }

    fn items(&self, report: &mut Report<'_>, expected: &'static str) -> Vec<Self> {
        let DeValue::Array(array) = self.value else {
            self.refuse(report, expected);
            return Vec::new();
        };
        let numbered = array.iter().enumerate().map(|(i, item)| {
            let (key, at) = (format!("{}[{}]", self.place.key, i + 1), item.span().start);
            Self { value: item.get_ref(), place: report.place(key, at), at }
        });
        numbered.collect()
    }

    /// Text with something visible in it.
    pub(crate) fn text(&self, report: &mut Report<'_>) -> Option<&'t str> {
        match self.value {
            DeValue::String(text) if text.trim().is_empty() => {
                self.out_of_range(report, "text", format!("{text:?}"));
                None
            }
            DeValue::String(text) => Some(text),
            _ => {
                self.refuse(report, "text");
                None
            }
        }
    }

    /// One text or a list of at least one.
    pub(crate) fn texts(&self, report: &mut Report<'_>) -> Vec<(&'t str, Place)> {
        if !self.value.is_array() {
            return self.text(report).map(|text| (text, self.place.clone())).into_iter().collect();
        }
        let items = self.items(report, "text or a list of texts");
        if items.is_empty() {
            self.out_of_range(report, "at least one text", "an empty list".to_owned());
        }
        let mut texts = Vec::new();
        for item in items {
            texts.extend(item.text(report).map(|text| (text, item.place)));
        }
        texts
    }

    /// A number that `fits`.
    pub(crate) fn number(
        &self,
        report: &mut Report<'_>,
        expected: &'static str,
        fits: impl Fn(f64) -> bool,
    ) -> Option<f64> {
        let (number, written) = match self.value {
            DeValue::Integer(i) => (self.integer().map(|n| n as f64), i.to_string()),
            DeValue::Float(f) => (f.as_str().parse().ok(), f.to_string()),
            _ => {
                self.refuse(report, expected);
                return None;
            }
        };
        let number = number.filter(|n| fits(*n));
        if number.is_none() {
            self.out_of_range(report, expected, written);
        }
        number
    }

    /// A whole number of at most `most`.
    pub(crate) fn count(&self, report: &mut Report<'_>, expected: &'static str, most: u32) -> Option<u32> {
        let DeValue::Integer(written) = self.value else {
            self.refuse(report, expected);
            return None;
        };
        let count = self.integer().and_then(|n| u32::try_from(n).ok()).filter(|n| *n <= most);
        if count.is_none() {
            self.out_of_range(report, expected, written.to_string());
        }
        count
    }

    fn integer(&self) -> Option<i64> {
        let written = self.value.as_integer()?;
        i64::from_str_radix(written.as_str(), written.radix()).ok()
    }

    /// Yes or no; no where it is of another type.
    pub(crate) fn flag(&self, report: &mut Report<'_>) -> bool {
        self.value.as_bool().unwrap_or_else(|| {
            self.refuse(report, "true or false");
            false
        })
    }

    /// A moment in microseconds since 1970, and how it is written: RFC 3339 text, or TOML's own way.
    pub(crate) fn moment(&self, report: &mut Report<'_>) -> Option<(u64, String)> {
        const EXPECTED: &str = "a moment such as \"2026-01-31T18:00:00Z\"";
        let written = match self.value {
            DeValue::String(text) => text.to_string(),
            DeValue::Datetime(moment) => moment.to_string(),
            _ => {
                self.refuse(report, EXPECTED);
                return None;
            }
        };
        let Ok(moment) = written.parse::<jiff::Timestamp>() else {
            self.out_of_range(report, EXPECTED, format!("{written:?}"));
            return None;
        };
        // One before 1970 is over whatever the clock says.
        Some((u64::try_from(moment.as_microsecond()).unwrap_or(0), written))
    }
}
