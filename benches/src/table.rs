//! What is made of a row's numbers: ratios, goals, and how a terminal shows them.

use std::fmt::Write;

use crate::rows::{Limit, Row, Unit};
use co_wrapper_bench::measure::{Measured, Role};

/// A measured row.
pub struct Entry {
    pub name: String,
    pub unit: Unit,
    pub goal: Vec<Limit>,
    pub sides: Vec<Measured>,
}

impl Entry {
    pub fn new(row: Row, sides: Vec<Measured>) -> Self {
        Self { name: row.name, unit: row.unit, goal: row.goal, sides }
    }

    pub fn ours(&self) -> &Measured {
        self.sides.iter().find(|side| side.role == Role::Ours).expect("every row has ours")
    }

    pub fn peers(&self) -> impl Iterator<Item = &Measured> {
        self.sides.iter().filter(|side| side.role == Role::Peer)
    }

    pub fn best_peer(&self) -> Option<&Measured> {
        self.peers().min_by(|a, b| a.median.total_cmp(&b.median))
    }

    fn floor(&self) -> Option<&Measured> {
        self.sides.iter().find(|side| side.role == Role::Floor)
    }

    /// The least of the row's limits, in its unit.
    pub fn limit(&self) -> Option<f64> {
        self.goal.iter().filter_map(|limit| limit.value(&self.sides)).min_by(f64::total_cmp)
    }

    /// Ours to the best peer's; nothing if there is none.
    pub fn ratio(&self) -> Option<f64> {
        ratio(self.ours().median, self.best_peer()?.median)
    }

    /// The largest allowed ratio to the best peer's.
    pub fn allowed_ratio(&self) -> Option<f64> {
        ratio(self.limit()?, self.best_peer()?.median)
    }

    pub fn to_floor(&self) -> Option<f64> {
        ratio(self.ours().median, self.floor()?.median)
    }

    /// Whether the goal is met; nothing if there is none.
    pub fn met(&self) -> Option<bool> {
        self.limit().map(|limit| self.ours().median <= limit)
    }

    /// The row's lines.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.name);
        for side in &self.sides {
            let number = |value| number(value, self.unit);
            let _ = write!(text, "  {:26} {:>11}", side.name, number(side.median));
            let _ = write!(text, "  {:>11} – {:<11}", number(side.min), number(side.max));
            let _ = write!(text, " {:>14}", side.p99.map_or(String::new(), |p99| format!("p99 {}", number(p99))));
            let _ = write!(text, " {:>14}", side.cpu.map_or(String::new(), |cpu| format!("cpu {}", number(cpu))));
            if let (Role::Floor, _) | (_, true) = (side.role, Some(side.name.as_str()) == self.best_peer_name()) {
                let what = if side.role == Role::Floor { "floor" } else { "best" };
                let _ = write!(text, "  {what}");
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        let ratios = [(self.ratio(), "the best peer"), (self.to_floor(), "the floor")];
        let ratios: Vec<_> =
            ratios.iter().filter_map(|(ratio, of)| ratio.map(|ratio| format!("{ratio:.2} × {of}"))).collect();
        let verdict = match (self.met(), self.limit()) {
            (Some(met), Some(limit)) => {
                let goal: Vec<_> = self.goal.iter().map(|limit| limit_text(*limit, self.unit)).collect();
                let verdict = if met { "met" } else { "MISSED" };
                format!("goal {}, here {}: {verdict}", goal.join(" and "), number(limit, self.unit))
            }
            _ => "reported".to_owned(),
        };
        let _ = writeln!(text, "  → {}", [ratios.join(", "), verdict].join("; ").trim_start_matches("; "));
        text
    }

    fn best_peer_name(&self) -> Option<&str> {
        self.best_peer().map(|side| side.name.as_str())
    }
}

/// Of nothing to nothing it is one.
fn ratio(value: f64, of: f64) -> Option<f64> {
    if value == of {
        return Some(1.0);
    }
    Some(value / of).filter(|ratio| ratio.is_finite())
}

fn limit_text(limit: Limit, unit: Unit) -> String {
    match limit {
        Limit::Value(value) => format!("≤ {}", number(value, unit)),
        Limit::OfBest(factor) => format!("≤ {factor} × the best peer"),
        Limit::Of(factor, name) => format!("≤ {factor} × {name}"),
    }
}

/// A number with its unit, three digits or so.
pub fn number(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Nanoseconds if value >= 1e6 => format!("{:.2} ms", value / 1e6),
        Unit::Nanoseconds if value >= 1e4 => format!("{:.1} µs", value / 1e3),
        Unit::Nanoseconds if value >= 100.0 => format!("{value:.0} ns"),
        Unit::Nanoseconds => format!("{value:.1} ns"),
        Unit::Bytes => format!("{value:.0} B"),
        Unit::Count => format!("{value:.2}"),
    }
}
