//! What is said of the findings: text for people, or a line of JSON for each.

use crate::{
    arguments::Deny,
    graph::Sure,
    names,
    program::{Id, Origin, Place, Program},
    search::{Finding, Kind},
};
use serde_json::json;
use std::{env, io::IsTerminal};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Note,
    Warning,
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// Whether it makes the check fail.
    pub fn is_denied(self, deny: Deny) -> bool {
        match deny {
            Deny::Errors => self == Self::Error,
            Deny::Warnings => self >= Self::Warning,
            Deny::Notes => true,
        }
    }
}

/// Of a finding. What only other executors run may block there, if it must.
pub fn level(finding: &Finding) -> Level {
    match finding.sure {
        // Which of several locks it is is not known.
        _ if finding.kind == Kind::WriteBelowRead => Level::Warning,
        _ if finding.kind == Kind::GuardAcrossCall => Level::Note,
        _ if finding.is_elsewhere => Level::Note,
        Sure::Called => Level::Error,
        Sure::IfThere | Sure::Unreadable | Sure::HandedOn => Level::Warning,
        Sure::Possible => Level::Note,
    }
}

pub struct Report<'a> {
    program: &'a Program,
    has_color: bool,
    here: String,
}

impl<'a> Report<'a> {
    /// `color` is what `--color` says.
    pub fn new(program: &'a Program, color: Option<&str>) -> Self {
        let asked = color.map(str::to_owned).or_else(|| env::var("CARGO_TERM_COLOR").ok());
        let has_color = match asked.as_deref() {
            Some("always") => true,
            Some("never") => false,
            _ => std::io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none(),
        };
        let here = env::current_dir().map(|folder| format!("{}/", folder.display())).unwrap_or_default();
        Self { program, has_color, here }
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.has_color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn file(&self, file: usize) -> &str {
        let file = self.program.files[file].as_str();
        file.strip_prefix(&self.here).unwrap_or(file)
    }

    fn at(&self, place: Option<Place>) -> String {
        place.map_or_else(
            || "an unknown place".into(),
            |place| format!("{}:{}:{}", self.file(place.file), place.line, place.column),
        )
    }

    /// What a function is to those who wrote it.
    fn what(&self, id: Id) -> String {
        let item = &self.program.items[id];
        if let Some(of) = names::dropped(&item.name) {
            return format!("the destructor of `{}`", names::plain(of));
        }
        let name = names::plain(&item.name);
        let outer = without_closures(&name);
        let kind = item.label.trim_start_matches('{').split(['#', '}']).next().unwrap_or("");
        match kind {
            "async_fn" => format!("async fn `{outer}`"),
            "async_block" => format!("an async block in `{outer}`"),
            "async_closure" => format!("an async closure in `{outer}`"),
            "closure" if item.is_root => format!("the closure that makes the future of `{outer}`"),
            "closure" => format!("a closure in `{outer}`"),
            _ => format!("`{name}`"),
        }
    }

    /// The steps that are shown, with what is between them left out: functions of std and of dependencies.
    fn chain(&self, finding: &Finding) -> Vec<(Id, Option<Place>, Sure, usize)> {
        let mut chain = Vec::new();
        let mut hidden = 0;
        let mut sure = Sure::Called;
        for (step, next) in finding.path.iter().zip(&finding.path[1..]) {
            sure = sure.max(step.sure);
            if self.program.items[step.to].origin != Origin::Own {
                hidden += 1;
                continue;
            }
            chain.push((step.to, next.place, sure, std::mem::take(&mut hidden)));
            sure = Sure::Called;
        }
        chain
    }

    fn cure(&self, finding: &Finding) -> (String, String) {
        let twin = finding.path.last().and_then(|step| self.program.items[step.to].twin.as_ref());
        let (name, target) = twin.map_or(("?", "?"), |twin| (&twin.name, &twin.target));
        (name.to_owned(), target.to_owned())
    }

    pub fn text(&self, finding: &Finding) -> String {
        let level = level(finding);
        let (twin, target) = self.cure(finding);
        let how = match finding.sure {
            Sure::Called => "is called",
            Sure::IfThere => "is called by a destructor, if the value has it or is the last owner,",
            Sure::Unreadable => "is called (it may be mixed: its `Wrapper` is no constant)",
            Sure::HandedOn => "is handed on in a pointer or `dyn`, and may be called,",
            Sure::Possible => "may be what a pointer or `dyn` calls",
        };
        let context = if finding.is_elsewhere { "in a task of another executor" } else { "in coroutine context" };
        let color = match level {
            Level::Error => "1;31",
            Level::Warning => "1;33",
            Level::Note => "1;32",
        };
        let subject = self.subject(finding, &twin, &format!("{how} {context}"));
        let mut text = format!("{}{}\n", self.painted(color, level.name()), self.painted("1", &format!(": {subject}")));
        let arrow = self.painted("1;34", "-->");
        text += &format!("  {arrow} {}  in {}\n", self.at(finding.path[0].place), self.what(finding.root));
        for (to, place, sure, hidden) in self.chain(finding) {
            let word = match sure {
                Sure::Called | Sure::Unreadable => "calls",
                Sure::IfThere => "may drop, with",
                Sure::HandedOn => "hands on",
                Sure::Possible => "may call",
            };
            let through = if hidden > 0 { ", through std or a dependency," } else { "" };
            text += &format!("      {word}{through} {}, which goes on at {}\n", self.what(to), self.at(place));
        }
        let help = self.painted("1;34", "=");
        text += &format!(
            "      {help} help: {}; if it is meant, `// co-check: allow — reason`\n",
            self.help(finding, &target)
        );
        text
    }

    fn subject(&self, finding: &Finding, twin: &str, how: &str) -> String {
        match finding.kind {
            Kind::Twin if self.is_of_runtime(finding) => format!("`{twin}`, which blocks, {how}"),
            Kind::Twin => format!("plain blocking twin `{twin}` {how}"),
            Kind::WriteBelowRead => {
                "the graph's write lock is taken while a read guard is held, and waits for it".into()
            }
            Kind::GuardAcrossCall => {
                format!("a guard of a std lock is held across the blocking call `{twin}` in coroutine context")
            }
        }
    }

    fn is_of_runtime(&self, finding: &Finding) -> bool {
        let twin = finding.path.last().and_then(|step| self.program.items[step.to].twin.as_ref());
        twin.is_some_and(|twin| twin.is_runtime)
    }

    fn help(&self, finding: &Finding, target: &str) -> String {
        match finding.kind {
            Kind::Twin if self.is_of_runtime(finding) => format!("there `{target}`"),
            Kind::Twin => format!("there `{target}(…).await`, or mark `{target}` #[co_wrapper(mixed)]"),
            Kind::WriteBelowRead => "drop the read guard first".into(),
            Kind::GuardAcrossCall => {
                "drop the guard first, or take an async lock: a task that needs it would stop this thread".into()
            }
        }
    }

    pub fn json(&self, finding: &Finding) -> String {
        let (twin, target) = self.cure(finding);
        let place = |place: Option<Place>| {
            place.map(|place| json!({ "file": self.file(place.file), "line": place.line, "column": place.column }))
        };
        let chain: Vec<_> = self
            .chain(finding)
            .into_iter()
            .map(|(to, at, sure, _)| json!({ "function": names::plain(&self.program.items[to].name), "sure": sure_name(sure), "goes_on_at": place(at) }))
            .collect();
        json!({
            "level": level(finding).name(),
            "twin": twin,
            "async_fn": target,
            "sure": sure_name(finding.sure),
            "other_executor": finding.is_elsewhere,
            "root": names::plain(&self.program.items[finding.root].name),
            "place": place(finding.path[0].place),
            "chain": chain,
            "message": self.subject(finding, &twin, "in coroutine context"),
            "help": self.help(finding, &target),
        })
        .to_string()
    }
}

fn sure_name(sure: Sure) -> &'static str {
    match sure {
        Sure::Called => "called",
        Sure::IfThere => "if there",
        Sure::Unreadable => "unreadable",
        Sure::HandedOn => "handed on",
        Sure::Possible => "possible",
    }
}

/// The function in which a closure or an async body stands.
fn without_closures(name: &str) -> &str {
    let mut name = name;
    while let Some(outer) = name.rfind("::{").filter(|at| name[*at..].ends_with('}')) {
        name = &name[..outer];
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a level that fails the check unasked, or does not when asked.
    #[test]
    fn errors_fail_and_the_others_when_they_are_denied() {
        let denied = |deny| [Level::Error, Level::Warning, Level::Note].map(|level| level.is_denied(deny));
        assert_eq!(denied(Deny::Errors), [true, false, false]);
        assert_eq!(denied(Deny::Warnings), [true, true, false]);
        assert_eq!(denied(Deny::Notes), [true, true, true]);
        assert_eq!(without_closures("a::b::{closure#0}::{closure#1}"), "a::b");
    }
}
