//! The table as JSON: an array of rows.
//!
//! `ours`, `peers` (an object by name) and `floor` are medians in `unit`; `ratio` is ours to the best peer's, `goal` the
//! largest ratio allowed. `goal` and `met` are null where a row is only reported, `ratio` where there is nothing to
//! compare with. `sides` has all that was measured.

use std::fmt::Write;

use crate::{rows::Unit, table::Entry};
use co_wrapper_bench::measure::{Measured, Role};

pub fn of(entries: &[Entry]) -> String {
    let rows: Vec<_> = entries.iter().map(row).collect();
    format!("[\n{}\n]\n", rows.join(",\n"))
}

fn row(entry: &Entry) -> String {
    let unit = match entry.unit {
        Unit::Nanoseconds => "ns",
        Unit::Bytes => "bytes",
        Unit::Count => "count",
    };
    let peers: Vec<_> = entry.peers().map(|side| format!("{}: {}", string(&side.name), side.median)).collect();
    let sides: Vec<_> = entry.sides.iter().map(side).collect();
    let met = entry.met().map_or("null".to_owned(), |met| met.to_string());
    format!(
        "  {{\"name\": {}, \"ours\": {}, \"peers\": {{{}}}, \"unit\": \"{unit}\", \"ratio\": {}, \"goal\": {}, \"met\": \
         {met}, \"floor_ratio\": {},\n   \"sides\": [{}]}}",
        string(&entry.name),
        entry.ours().median,
        peers.join(", "),
        optional(entry.ratio()),
        optional(entry.allowed_ratio()),
        optional(entry.to_floor()),
        sides.join(", "),
    )
}

fn side(side: &Measured) -> String {
    let role = match side.role {
        Role::Ours => "ours",
        Role::Peer => "peer",
        Role::Floor => "floor",
        Role::Shown => "shown",
    };
    format!(
        "{{\"name\": {}, \"role\": \"{role}\", \"median\": {}, \"min\": {}, \"max\": {}, \"p99\": {}, \"cpu\": {}}}",
        string(&side.name),
        side.median,
        side.min,
        side.max,
        optional(side.p99),
        optional(side.cpu),
    )
}

fn optional(value: Option<f64>) -> String {
    value.map_or("null".to_owned(), |value| value.to_string())
}

fn string(text: &str) -> String {
    let mut string = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => string.extend(['\\', c]),
            c if c.is_control() => _ = write!(string, "\\u{:04x}", c as u32),
            c => string.push(c),
        }
    }
    string.push('"');
    string
}
