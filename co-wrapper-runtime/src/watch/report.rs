//! The hang report: it looks at all threads and says which calls wait (`call.rs`), what stands in their way, and what
//! else does not go on. For people it has the lines of `tell.rs`.
//!
//! Nothing here takes a lock that is held while users' code runs, so a report can be made whatever hangs.

use std::{
    fmt, mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    board::{self, Board, Doing, Look, POLL_WHILE},
    call::{Call, State, Suspect},
    reasons::{self, Threads},
    record::{Seen, Slot, What, lock, now},
    tell::{self, Place},
};
use crate::{context::AioContext, reactor::Stopped, sys::fork};

/// When the reactor was asked what it has not answered, on the clock of `now`, if the answer is late; else 0. For the
/// watchdog to set.
pub(super) static STALLED_SINCE: AtomicU64 = AtomicU64::new(0);

/// The blocking calls that waited when the report was made, and what blocked a thread. Returned by
/// [`report`](crate::hang::report); its `Display` is for people.
///
/// # Examples
///
/// See [`report`](crate::hang::report).
#[derive(Clone, Debug)]
pub struct Report {
    calls: Vec<Call>,
    /// One line for each thing that a thread's loop runs and that has not returned since the last look, where no call
    /// inside it waits; and after the calls for each context and graph lock whose waiters may never go on.
    others: Vec<String>,
    stalled_reactor: Option<Duration>,
}

/// Which of the findings go into a report.
#[derive(Clone, Copy)]
struct Wanted {
    /// Those that have lasted this long.
    least: Duration,
    /// Of these, those that were not printed before and are not meant to wait long.
    news: bool,
}

impl Wanted {
    fn wants(self, lasted: Duration, expected_long: bool, is_news: impl FnOnce() -> bool) -> bool {
        lasted >= self.least && (!self.news || !expected_long && is_news())
    }
}

/// All threads with the result of the look at each.
type Looks = [(Arc<Board>, Look)];

impl Report {
    /// What has waited at least `least`.
    pub(crate) fn since(least: Duration) -> Self {
        Self::take(Wanted { least, news: false })
    }

    /// What has waited at least `limit`, is not meant to wait long, and was not in such a report before.
    pub(super) fn news(limit: Duration) -> Self {
        Self::take(Wanted { least: limit, news: true })
    }

    fn take(wanted: Wanted) -> Self {
        let mut report = Self { calls: Vec::new(), others: Vec::new(), stalled_reactor: None };
        // A forked child has none of the parent's threads, and one of those may have held a lock.
        if fork::is_child() {
            return report;
        }
        let stalled = Some(STALLED_SINCE.load(Ordering::Relaxed)).filter(|since| *since > 0);
        report.stalled_reactor = stalled.map(|since| Duration::from_nanos(now().saturating_sub(since)));
        let looks: Vec<_> = board::all().into_iter().map(|board| (Arc::clone(&board), board.look())).collect();
        for (board, look) in &looks {
            report.add_waiting(board, look, &looks, wanted);
            #[cfg(feature = "coroutine")]
            report.add_suspended(board, &looks, wanted);
            report.add_blocked(board, look, wanted);
        }
        if wanted.news && !report.calls.is_empty() {
            // What these calls wait for may have blocked a little later than the calls began to wait. The lower limit
            // puts both into one report instead of two.
            let wanted = Wanted { least: wanted.least / 2, ..wanted };
            looks.iter().for_each(|(board, look)| report.add_blocked(board, look, wanted));
        }
        let main_waits = main_waits(&looks, wanted);
        if !report.calls.is_empty() {
            let told = main_waits.as_ref().and_then(|_| AioContext::main_if_made());
            report.others.extend(reasons::all(&Threads(&looks), told.map(AioContext::scheduler)));
        }
        report.others.extend(main_waits);
        report
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.others.is_empty()
    }

    /// Adds the waiting calls of a thread.
    fn add_waiting(&mut self, board: &Board, look: &Look, looks: &Looks, wanted: Wanted) {
        let mut seen: Vec<_> = board.shown().into_iter().filter_map(|slot| Some((slot.record.read()?, slot))).collect();
        seen.sort_by_key(|(seen, _)| seen.what.level);
        // A call in its first poll has waited as long as the next nested call, and does not wait if no nested call
        // does.
        let waits = seen.iter().rposition(|(seen, _)| seen.what.polls > 0).map_or(0, |at| at + 1);
        seen.truncate(waits);
        for at in (1..waits).rev() {
            if seen[at - 1].0.what.polls == 0 {
                seen[at - 1].0.waited = seen[at].0.waited;
                seen[at - 1].0.what.expected_long |= seen[at].0.what.expected_long;
            }
        }
        for at in 0..seen.len() {
            let (outer, rest) = seen.split_at(at);
            let (call, slot) = &rest[0];
            if !wanted.wants(call.waited, call.what.expected_long, || slot.record.is_news()) {
                continue;
            }
            let innermost = rest.len() == 1;
            let outer: Vec<_> = outer.iter().rev().map(|(seen, _)| ((seen.name, seen.site), seen.polling)).collect();
            let mut call = Call::new(board, call, &outer, innermost && board.is_parked());
            if innermost {
                call.look_above(board, look, slot);
            }
            call.look_home(board, looks, &rest[0].0, slot);
            self.calls.push(call);
        }
    }

    /// Adds the calls that have suspended coroutines of a thread.
    #[cfg(feature = "coroutine")]
    fn add_suspended(&mut self, board: &Board, looks: &Looks, wanted: Wanted) {
        for slot in board.suspended() {
            let Some(seen) = slot.record.read() else { continue };
            if !wanted.wants(seen.waited, seen.what.expected_long, || slot.record.is_news()) {
                continue;
            }
            let mut call = Call::new(board, &seen, &[], false);
            call.set_suspended();
            call.look_home(board, looks, &seen, &slot);
            self.calls.push(call);
        }
    }

    /// Adds what blocks a thread outside our waits: a call in its first poll, or something that its loop runs.
    fn add_blocked(&mut self, board: &Board, look: &Look, wanted: Wanted) {
        if !look.again {
            return;
        }
        let lasted = look.lasted();
        match look.doing {
            Doing::Polling { depth, polls: 0 } => {
                let stack = board.on_stack(depth);
                let Some((slot, outer)) = stack.split_last() else { return };
                let expected_long = board.expects_long();
                if wanted.wants(lasted, expected_long, || slot.record.is_news())
                    && let Some(site) = slot.site()
                {
                    let outer = outer.iter().rev().filter_map(|slot| {
                        Some(((slot.name(), slot.site()?), slot.record.read().is_none_or(|seen| seen.polling)))
                    });
                    let outer: Vec<_> = outer.collect();
                    let what = What { level: depth, dispatched: board.runs() > 0, expected_long, polls: 0 };
                    let (stopped, context) = (Stopped::Nothing, None);
                    let seen = Seen { name: slot.name(), site, what, waited: lasted, polling: true, stopped, context };
                    let mut call = Call::new(board, &seen, &outer, false);
                    call.look_above(board, look, slot);
                    self.calls.push(call);
                }
            }
            Doing::Running { what, depth } if wanted.wants(lasted, board.expects_long(), || board.is_news()) => {
                self.others.push(tell::blocked(&board.name, &what, lasted, innermost(board, depth)));
            }
            Doing::Deciding { depth } if wanted.wants(lasted, board.expects_long(), || board.is_condition_news()) => {
                let Some(site) = board.condition_site() else { return };
                self.others.push(tell::blocked(&board.name, &tell::condition(site), lasted, innermost(board, depth)));
            }
            _ => {}
        }
    }

    /// The calls, grouped by thread, outermost first.
    ///
    /// # Examples
    ///
    /// See [`report`](crate::hang::report).
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// How long a worker of the process's tokio reactor has not answered the watchdog, if it is late: a task blocks it
    /// outside our calls. A task that this one woke may wait for it; once all workers are blocked, the sockets and
    /// timers of every call stand still. Known only while the watchdog runs.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(co_wrapper::hang::report().stalled_reactor(), None);
    /// ```
    pub fn stalled_reactor(&self) -> Option<Duration> {
        self.stalled_reactor
    }
}

/// The innermost of a thread's `depth` calls.
fn innermost(board: &Board, depth: usize) -> Option<Place> {
    let stack = board.on_stack(depth);
    let slot = stack.last()?;
    Some((slot.name(), slot.site()?))
}

/// A line for the main context, if it was notified, its home thread has not looked at it since, and nothing of ours is on
/// the thread's stack. (Otherwise what is on its stack is reported.)
fn main_waits(looks: &Looks, wanted: Wanted) -> Option<String> {
    /// Since when this has been so, on the clock of `now`, and whether it was printed.
    static WAITS: Mutex<Option<(u64, bool)>> = Mutex::new(None);

    let mut waits = lock(&WAITS);
    let home =
        AioContext::main_if_made().map(|main| main.scheduler()).filter(|main| main.is_notified()).and_then(|main| {
            let home = main.home_number()?;
            looks.iter().find(|(board, look)| board.number == home && look.doing == Doing::Elsewhere && look.again)
        });
    let Some((board, _)) = home else {
        *waits = None;
        return None;
    };
    let (since, printed) = waits.get_or_insert((now(), false));
    let lasted = Duration::from_nanos(now().saturating_sub(*since));
    let wants = wanted.wants(lasted, board.expects_long(), || !mem::replace(printed, true));
    wants.then(|| tell::main_waits(&board.name, lasted))
}

/// What is found by looking at threads rather than at the call's record.
impl Call {
    /// Records what its thread runs inside this call, if that has not returned since the last look.
    fn look_above(&mut self, board: &Board, look: &Look, slot: &Arc<Slot>) {
        const NESTED: &str = "a call in what its thread runs meanwhile";
        let is_own = |call: Option<Arc<Slot>>| call.is_some_and(|call| Arc::ptr_eq(&call, slot));
        let what = match look.doing {
            Doing::Polling { depth, .. } if is_own(board.on_stack(depth).pop()) => "its future".to_owned(),
            Doing::Deciding { .. } if slot.name() == POLL_WHILE && slot.site() == board.condition_site() => {
                "its condition".to_owned()
            }
            Doing::Polling { .. } | Doing::Deciding { .. } => NESTED.to_owned(),
            Doing::Running { what, .. } => format!("{what} that its thread runs meanwhile"),
            Doing::Waiting | Doing::Elsewhere => return,
        };
        // A thread that sleeps by now has moved since the look.
        if look.again && self.state() != State::Parked {
            self.suspect(Suspect::Blocked, tell::blocks(&what, look.lasted()));
        }
    }

    /// Records what the home of the call's context, if that is another thread, does, if it does something else; and if this
    /// call has not begun there, that a temporary home does not start it.
    fn look_home(&mut self, board: &Board, looks: &Looks, seen: &Seen, slot: &Slot) {
        let Some(scheduler) = seen.context.as_ref().map(|context| &context.scheduler) else { return };
        let Some(home) = scheduler.home().filter(|home| home.thread != board.number) else { return };
        if scheduler.is_temporary() && slot.wakes.is_unstarted() {
            self.suspect(Suspect::TemporaryHome, tell::temporary_home(&home));
        }
        let Some((board, look)) = looks.iter().find(|(board, _)| board.number == home.thread) else { return };
        if !look.again || look.doing == Doing::Waiting {
            return;
        }
        let call = match look.doing {
            Doing::Polling { depth, .. } | Doing::Running { depth, .. } => innermost(board, depth),
            Doing::Deciding { .. } => board.condition_site().map(|site| (POLL_WHILE, site)),
            Doing::Waiting | Doing::Elsewhere => None,
        };
        self.suspect(Suspect::BusyHome, tell::busy_home(&board.name, look.doing, look.lasted(), call));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "co_wrapper: hang report: {} blocking call(s) waiting", self.calls.len())?;
        if let Some(late) = self.stalled_reactor {
            write!(f, "\n  {}", tell::stalled_reactor(late))?;
        }
        self.calls.iter().try_for_each(|call| write!(f, "\n  {call}"))?;
        self.others.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}
