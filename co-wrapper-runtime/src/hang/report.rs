//! The report: what was seen, for tests to ask and for people to read.

use std::{fmt, panic::Location, time::Duration};

use super::{
    record::{self, Record, Seen},
    watchdog,
};
use crate::{fork, reactor::Below};

/// The blocking calls that waited when it was made. Returned by [`report`](super::report); its `Display` is for people.
#[derive(Clone, Debug)]
pub struct Report {
    calls: Vec<Call>,
    stalled_reactor: Option<Duration>,
}

/// A blocking call that waits.
#[derive(Clone, Debug)]
pub struct Call {
    name: &'static str,
    site: &'static Location<'static>,
    thread: String,
    context: Option<String>,
    waited: Duration,
    polls: u64,
    depth: usize,
    state: State,
    suspects: Vec<Suspect>,
    /// The calls lower on its stack, innermost first.
    lower: Vec<(&'static str, &'static Location<'static>)>,
    dispatched: bool,
    below: Below,
}

/// What a thread does in a call that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It sleeps until something wakes it.
    Parked,
    /// It polls the call's future: now, or for the first time, or below another call.
    Polling,
    /// It runs something else meanwhile, a task or a bottom half, or looks for it.
    Serving,
}

/// What a call may wait for in vain, as far as its place on the stack tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Suspect {
    /// Something that only a call, task or callback lower on its stack can do, which goes on when this one has returned.
    LowerFrame,
    /// A lock that one of those holds.
    LowerLock,
    /// A foreign tokio runtime that this thread drives: its own sockets and timers stand still.
    DrivenReactor,
}

impl Report {
    /// What waits and is `wanted`.
    pub(super) fn take(wanted: impl Fn(&Record, &Seen) -> bool) -> Self {
        let mut report = Self { calls: Vec::new(), stalled_reactor: None };
        // The parent's threads are not here, and one of them may have held a lock.
        if fork::is_child() {
            return report;
        }
        report.stalled_reactor = watchdog::stalled_reactor();
        let mut boards = record::boards();
        boards.sort_by_key(|board| board.number);
        for board in boards {
            let parked = board.is_parked();
            let mut seen: Vec<_> =
                board.records().into_iter().filter_map(|record| Some((record.read()?, record))).collect();
            seen.sort_by_key(|(seen, _)| seen.what.level);
            // A call in its first poll waits as long as what it calls, and does not wait where nothing does that it calls.
            let waits = seen.iter().rposition(|(seen, _)| seen.what.polls > 0).map_or(0, |at| at + 1);
            seen.truncate(waits);
            for at in (1..waits).rev() {
                if seen[at - 1].0.what.polls == 0 {
                    seen[at - 1].0.waited = seen[at].0.waited;
                }
            }
            for at in 0..seen.len() {
                let (lower, rest) = seen.split_at(at);
                let (call, record) = &rest[0];
                if wanted(record, call) {
                    let lower = lower.iter().rev().map(|(seen, _)| (*seen.what.name, seen.what.site)).collect();
                    report.calls.push(Call::new(&board.name, call, lower, parked && rest.len() == 1));
                }
            }
        }
        report
    }

    /// The calls, those of one thread together, outermost first.
    ///
    /// # Examples
    ///
    /// See [`report`](super::report).
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// For how long a worker of the process's tokio reactor has not answered the watchdog, if it is late. Then a task on it
    /// blocks it outside our calls. What that task woke may wait for it; once all workers are blocked, the sockets and
    /// timers of every call stand still. Known while the watchdog runs.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(co_wrapper_runtime::hang::report().stalled_reactor(), None);
    /// ```
    pub fn stalled_reactor(&self) -> Option<Duration> {
        self.stalled_reactor
    }
}

impl Call {
    fn new(thread: &str, seen: &Seen, lower: Vec<(&'static str, &'static Location<'static>)>, parked: bool) -> Self {
        let what = seen.what;
        let mut suspects = Vec::new();
        if !lower.is_empty() || what.dispatched {
            suspects.extend([Suspect::LowerFrame, Suspect::LowerLock]);
        }
        if seen.below != Below::Nothing {
            suspects.push(Suspect::DrivenReactor);
        }
        Self {
            name: what.name,
            site: what.site,
            thread: thread.to_owned(),
            context: seen.context.as_deref().map(str::to_owned),
            waited: seen.waited,
            polls: what.polls,
            depth: what.level,
            state: match (seen.polling, parked) {
                (true, _) => State::Polling,
                (false, true) => State::Parked,
                (false, false) => State::Serving,
            },
            suspects,
            lower,
            dispatched: what.dispatched,
            below: seen.below,
        }
    }

    /// The blocking function's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where it was called.
    pub fn site(&self) -> &'static Location<'static> {
        self.site
    }

    /// The thread that it blocks, by its name in backquotes or else its id.
    pub fn thread(&self) -> &str {
        &self.thread
    }

    /// The name of the context that it waits in: the one that was sent the call, else the one current where it was made.
    pub fn context(&self) -> Option<&str> {
        self.context.as_deref()
    }

    /// For how long it has waited: since it first had nothing to do but sleep, or a report first saw it pending. A call
    /// that has not returned from its first poll counts with the next one above it that waits.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// How often its future was polled, this poll not counted.
    pub fn polls(&self) -> u64 {
        self.polls
    }

    /// Its place among the blocking calls on its stack: 1 for the outermost.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// What its thread does in it.
    pub fn state(&self) -> State {
        self.state
    }

    /// What it may wait for in vain.
    pub fn suspects(&self) -> &[Suspect] {
        &self.suspects
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "co_wrapper: hang report: {} blocking call(s) waiting", self.calls.len())?;
        if let Some(late) = self.stalled_reactor {
            write!(
                f,
                "\n  thread `co-wrapper-io`: a worker of the tokio reactor that serves blocking calls does not answer, for \
                 {late:.1?} now: a task on it blocks it outside our calls, what it woke waits, and with all workers \
                 blocked so do all sockets and timers; block in spawn_blocking there, or through a wrapper"
            )?;
        }
        for call in &self.calls {
            write!(f, "\n  {call}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, site, thread, waited, polls, depth, .. } = self;
        write!(f, "thread {thread}: {name}, called at {site}, has waited for {waited:.1?}")?;
        if let Some(context) = &self.context {
            write!(f, " in AioContext `{context}`")?;
        }
        let state = match self.state {
            State::Parked => "parked",
            State::Polling => "polling",
            State::Serving => "serving its contexts",
        };
        write!(f, " ({state}, {polls} polls, depth {depth})")?;
        for suspect in &self.suspects {
            f.write_str("\n    may wait in vain for ")?;
            match suspect {
                Suspect::LowerFrame => {
                    f.write_str("what only something lower on its stack can do:")?;
                    for (name, site) in &self.lower {
                        write!(f, " {name} at {site},")?;
                    }
                    if self.dispatched {
                        f.write_str(" a task or callback that the thread runs,")?;
                    }
                    f.write_str(" which goes on when this call has returned")?;
                }
                Suspect::LowerLock => f.write_str("a lock that is held there")?,
                Suspect::DrivenReactor if self.below == Below::CurrentThread => f.write_str(
                    "sockets, timers or tasks of the tokio current_thread runtime below, which stands still until this \
                     call has returned; await the async function there",
                )?,
                Suspect::DrivenReactor => f.write_str(
                    "sockets, timers or tasks of the tokio runtime below, a worker of which this call blocks; await the \
                     async function there, or call it in spawn_blocking",
                )?,
            }
        }
        Ok(())
    }
}
