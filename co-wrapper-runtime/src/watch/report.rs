//! The hang report as data, which tests can query. `tell.rs` writes it out for people.

use std::{
    mem,
    panic::Location,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    board::{self, Board, Doing, Look, POLL_WHILE, Runs},
    heartbeat,
    reasons::{self, Threads},
    record::{Seen, Slot, What, lock, now},
};
use crate::{context::AioContext, reactor::Stopped, scheduler, sys::fork};

/// A function and where it was called.
pub(super) type Place = (&'static str, &'static Location<'static>);

/// An outer call of another one.
#[derive(Clone, Copy, Debug)]
pub(super) struct OuterCall {
    pub place: Place,
    /// Whether its future is in the middle of a poll. Otherwise the future goes on, and only the call's caller waits
    /// for the nested frames.
    pub in_poll: bool,
}

/// The blocking calls that waited when the report was made, and what blocked a thread. Returned by
/// [`report`](crate::hang::report); its `Display` is for people.
///
/// # Examples
///
/// See [`report`](crate::hang::report).
#[derive(Clone, Debug)]
pub struct Report {
    pub(super) calls: Vec<Call>,
    pub(super) blocked: Vec<Blocked>,
    pub(super) main_waits: Option<Home>,
    /// One line for each context and graph lock that may be waited for in vain.
    pub(super) reasons: Vec<String>,
    pub(super) stalled_reactor: Option<Duration>,
}

/// A blocking call that waits.
///
/// # Examples
///
/// ```
/// use co_wrapper::{block_on, hang::{self, State}};
///
/// let (sender, queue) = async_channel::bounded::<()>(1);
/// let waits = std::thread::spawn(move || block_on(queue.recv()));
/// let call = loop {
///     // Listed as soon as its future was pending; parked soon after.
///     let report = hang::report();
///     match report.calls() {
///         [call] if call.state() == State::Parked => break call.clone(),
///         _ => std::thread::yield_now(),
///     }
/// };
/// assert_eq!((call.name(), call.depth(), call.context()), ("block_on", 1, None));
/// assert!(call.polls() > 0 && !call.is_expected_long());
/// println!("{} at {} waits for {:?}", call.thread(), call.site(), call.waited());
/// assert!(call.suspects().is_empty()); // nothing on its thread stands in its way
/// drop(sender);
/// assert!(waits.join().unwrap().is_err());
/// ```
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
    expected_long: bool,
    pub(super) suspects: Vec<Suspect>,
    /// The outer calls on its stack, innermost first.
    pub(super) outer: Vec<OuterCall>,
    pub(super) dispatched: bool,
    pub(super) stopped: Stopped,
    /// What its thread has been doing, and for how long, if that has not returned since the last look.
    pub(super) blocks: Option<(Blocks, Duration)>,
    /// The thread that is home to its context, if that is another thread.
    pub(super) home: Option<Home>,
    /// That thread, if it is home only for the length of a call of its own, and this call has not begun there.
    pub(super) temporary: Option<Temporary>,
}

/// Something that a thread's loop runs and that has not returned since the last look, where no call inside it waits.
#[derive(Clone, Debug)]
pub(super) struct Blocked {
    pub(super) thread: String,
    pub(super) what: Blocking,
    pub(super) lasted: Duration,
    /// The call whose loop runs it, if it is a call.
    pub(super) call: Option<Place>,
}

/// What a blocked thread runs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Blocking {
    Runs(Runs),
    /// The condition of the `poll_while` that was called at this place.
    Condition(&'static Location<'static>),
}

/// What has not returned on the thread of a waiting call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Blocks {
    /// The call's own future.
    Future,
    /// The call's own condition, if it is a `poll_while`.
    Condition,
    /// Another call, nested in what its loop runs.
    Call,
    /// What its loop runs.
    Runs(Runs),
}

/// A context's home thread, which is doing something else.
#[derive(Clone, Debug)]
pub(super) struct Home {
    pub thread: String,
    pub doing: Doing,
    pub lasted: Duration,
    /// The innermost call on its stack.
    pub call: Option<Place>,
}

/// A thread that is home to a context for the length of a call.
#[derive(Clone, Debug)]
pub(super) struct Temporary {
    pub thread: String,
    pub call: Option<Place>,
}

/// What the thread of a waiting call is doing.
///
/// # Examples
///
/// See [`Call`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It sleeps until something wakes it.
    Parked,
    /// It polls the call's future: for the first time, or again, or with a nested call inside the poll.
    Polling,
    /// It runs a task or a bottom half meanwhile, or looks for one.
    Serving,
    /// It does something else: the call was made in a [`Coroutine`](crate::Coroutine), which is suspended until the
    /// call's future is woken. With the feature `coroutine`.
    #[cfg(feature = "coroutine")]
    Suspended,
}

/// Something that a call may be waiting for although it cannot come, judging by the call's stack and the process's
/// threads.
///
/// # Examples
///
/// See [`Call`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Suspect {
    /// Something that only an outer call, task or callback on its stack can do, which goes on only when this call has
    /// returned. (The future of an outer call that waits does go on, unless it is in the middle of its poll; the call's
    /// caller does not.)
    OuterFrame,
    /// A lock that an outer call, task or callback on its stack holds.
    OuterLock,
    /// A foreign tokio runtime that this thread drives: its own sockets and timers stand still.
    DrivenReactor,
    /// A foreign tokio runtime whose handle is current here and which this thread does not drive; perhaps no thread
    /// does. Or a `LocalSet` that this thread is running, which stands still.
    UndrivenReactor,
    /// Its future, or what its thread runs while it waits, has not returned: that blocks the thread by means other than
    /// our calls, such as a `std` lock or blocking I/O.
    Blocked,
    /// The home thread of the context in which the call is to run, which is doing something else.
    BusyHome,
    /// A call of another thread, which is home to the context only for the length of its own call, and starts no other
    /// thread's call meanwhile. So this call has not begun. If the other thread's call waits for it, neither ends.
    TemporaryHome,
    /// Tokio's thread-locals, which are gone because the thread is ending.
    EndedThread,
}

/// Which of the findings go into a report.
#[derive(Clone, Copy)]
enum Wanted {
    All,
    /// Those that have lasted this long.
    Since(Duration),
    /// Those that have lasted this long, were not printed before, and are not meant to wait long.
    News(Duration),
}

impl Wanted {
    fn least(self) -> Duration {
        match self {
            Self::All => Duration::ZERO,
            Self::Since(least) | Self::News(least) => least,
        }
    }

    fn wants(self, lasted: Duration, expected_long: bool, is_news: impl FnOnce() -> bool) -> bool {
        lasted >= self.least() && (!matches!(self, Self::News(_)) || !expected_long && is_news())
    }
}

/// All threads with the result of the look at each.
type Looks = [(Arc<Board>, Look)];

impl Report {
    /// Everything that waits.
    pub(crate) fn all() -> Self {
        Self::take(Wanted::All)
    }

    /// What has waited at least `least`.
    pub(super) fn since(least: Duration) -> Self {
        Self::take(Wanted::Since(least))
    }

    /// What has waited at least `limit`, is not meant to wait long, and was not in such a report before.
    pub(super) fn news(limit: Duration) -> Self {
        Self::take(Wanted::News(limit))
    }

    fn take(wanted: Wanted) -> Self {
        let mut report = Self {
            calls: Vec::new(),
            blocked: Vec::new(),
            main_waits: None,
            reasons: Vec::new(),
            stalled_reactor: None,
        };
        // A forked child has none of the parent's threads, and one of those may have held a lock.
        if fork::is_child() {
            return report;
        }
        report.stalled_reactor = heartbeat::stalled_reactor();
        let looks: Vec<_> = board::all().into_iter().map(|board| (Arc::clone(&board), board.look())).collect();
        for (board, look) in &looks {
            report.add_waiting(board, look, &looks, wanted);
            #[cfg(feature = "coroutine")]
            report.add_suspended(board, &looks, wanted);
            report.add_blocked(board, look, wanted);
        }
        if let Wanted::News(limit) = wanted
            && !report.calls.is_empty()
        {
            // What these calls wait for may have blocked a little later than the calls began to wait. The lower limit
            // puts both into one report instead of two.
            looks.iter().for_each(|(board, look)| report.add_blocked(board, look, Wanted::News(limit / 2)));
        }
        report.main_waits = main_waits(&looks, wanted);
        if !report.calls.is_empty() {
            let told = report.main_waits.as_ref().and_then(|_| AioContext::main_if_made());
            report.reasons = reasons::all(&Threads(&looks), told.map(AioContext::scheduler));
        }
        report
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.blocked.is_empty() && self.main_waits.is_none()
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
            let outer = outer.iter().rev();
            let outer =
                outer.map(|(seen, _)| OuterCall { place: (seen.name, seen.site), in_poll: seen.polling }).collect();
            let mut call = Call::new(board, call, outer, innermost && board.is_parked());
            if innermost {
                call.look_above(board, look, slot);
            }
            let home = rest[0].0.context.as_ref().and_then(|context| context.scheduler.home());
            if let Some(home) = home.filter(|home| home.thread != board.number) {
                call.look_home(looks, &home, slot.wakes.is_unstarted());
            }
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
            let mut call = Call::new(board, &seen, Vec::new(), false);
            call.state = State::Suspended;
            let home = seen.context.as_ref().and_then(|context| context.scheduler.home());
            if let Some(home) = home.filter(|home| home.thread != board.number) {
                call.look_home(looks, &home, slot.wakes.is_unstarted());
            }
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
                        let in_poll = slot.record.read().is_none_or(|seen| seen.polling);
                        Some(OuterCall { place: (slot.name(), slot.site()?), in_poll })
                    });
                    let outer = outer.collect();
                    let what = What { level: depth, dispatched: board.runs() > 0, expected_long, polls: 0 };
                    let (stopped, context) = (Stopped::Nothing, None);
                    let seen = Seen { name: slot.name(), site, what, waited: lasted, polling: true, stopped, context };
                    let mut call = Call::new(board, &seen, outer, false);
                    call.look_above(board, look, slot);
                    self.calls.push(call);
                }
            }
            Doing::Running { what, depth } if wanted.wants(lasted, board.expects_long(), || board.is_news()) => {
                let call = innermost(board, depth);
                self.blocked.push(Blocked { thread: board.name.clone(), what: Blocking::Runs(what), lasted, call });
            }
            Doing::Deciding { depth } if wanted.wants(lasted, board.expects_long(), || board.is_condition_news()) => {
                let Some(site) = board.condition_site() else { return };
                let (what, call) = (Blocking::Condition(site), innermost(board, depth));
                self.blocked.push(Blocked { thread: board.name.clone(), what, lasted, call });
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

/// The main context's home thread, if the context was notified, the thread has not looked at it since, and nothing of
/// ours is on the thread's stack. (Otherwise what is on its stack is reported.)
fn main_waits(looks: &Looks, wanted: Wanted) -> Option<Home> {
    /// Since when this has been so, on the clock of `now`, and whether it was printed.
    static WAITS: Mutex<Option<(u64, bool)>> = Mutex::new(None);

    let mut waits = lock(&WAITS);
    let home =
        AioContext::main_if_made().map(|main| main.scheduler()).filter(|main| main.is_notified()).and_then(|main| {
            let home = main.home_number()?;
            looks.iter().find(|(board, look)| board.number == home && look.doing == Doing::Elsewhere && look.again)
        });
    let Some((board, look)) = home else {
        *waits = None;
        return None;
    };
    let (since, printed) = waits.get_or_insert((now(), false));
    let lasted = Duration::from_nanos(now().saturating_sub(*since));
    let wants = wanted.wants(lasted, board.expects_long(), || !mem::replace(printed, true));
    wants.then(|| Home { thread: board.name.clone(), doing: look.doing, lasted, call: None })
}

impl Call {
    fn new(board: &Board, seen: &Seen, outer: Vec<OuterCall>, parked: bool) -> Self {
        let what = seen.what;
        let mut suspects = Vec::new();
        if !outer.is_empty() || what.dispatched {
            suspects.extend([Suspect::OuterFrame, Suspect::OuterLock]);
        }
        match seen.stopped {
            Stopped::Nothing => {}
            Stopped::CurrentThread | Stopped::Worker => suspects.push(Suspect::DrivenReactor),
            Stopped::Undriven | Stopped::LocalSet => suspects.push(Suspect::UndrivenReactor),
            Stopped::Ended => suspects.push(Suspect::EndedThread),
        }
        Self {
            name: seen.name,
            site: seen.site,
            thread: board.name.clone(),
            context: seen.context.as_ref().map(|context| (*context.name).to_owned()),
            waited: seen.waited,
            polls: what.polls,
            depth: what.level,
            state: match (seen.polling, parked) {
                (true, _) => State::Polling,
                (false, true) => State::Parked,
                (false, false) => State::Serving,
            },
            expected_long: what.expected_long,
            suspects,
            outer,
            dispatched: what.dispatched,
            stopped: seen.stopped,
            blocks: None,
            home: None,
            temporary: None,
        }
    }

    /// Records what its thread runs inside this call, if that has not returned since the last look.
    fn look_above(&mut self, board: &Board, look: &Look, slot: &Arc<Slot>) {
        let blocks = match look.doing {
            Doing::Polling { depth, .. } => {
                let innermost = board.on_stack(depth).pop();
                if innermost.is_some_and(|innermost| Arc::ptr_eq(&innermost, slot)) {
                    Blocks::Future
                } else {
                    Blocks::Call
                }
            }
            Doing::Deciding { .. } if slot.name() == POLL_WHILE && slot.site() == board.condition_site() => {
                Blocks::Condition
            }
            Doing::Deciding { .. } => Blocks::Call,
            Doing::Running { what, .. } => Blocks::Runs(what),
            Doing::Waiting | Doing::Elsewhere => return,
        };
        if look.again {
            self.suspects.push(Suspect::Blocked);
            self.blocks = Some((blocks, look.lasted()));
        }
    }

    /// Records what the home of the call's context, which is another thread, does, if it does something else; and if this
    /// call is `unstarted`, that a temporary home does not start it.
    fn look_home(&mut self, looks: &Looks, home: &scheduler::Home, unstarted: bool) {
        if home.temporary && unstarted {
            self.suspects.push(Suspect::TemporaryHome);
            self.temporary = Some(Temporary { thread: home.thread_name.clone(), call: home.call });
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
        self.suspects.push(Suspect::BusyHome);
        self.home = Some(Home { thread: board.name.clone(), doing: look.doing, lasted: look.lasted(), call });
    }

    /// The blocking function's name.
    ///
    /// # Examples
    ///
    /// See [`Call`].
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where it was called.
    ///
    /// # Examples
    ///
    /// See [`Call`].
    pub fn site(&self) -> &'static Location<'static> {
        self.site
    }

    /// The thread that it blocks: its name in backquotes, or its id if it has no name.
    ///
    /// # Examples
    ///
    /// See [`Call`].
    pub fn thread(&self) -> &str {
        &self.thread
    }

    /// The name of the context that it waits in: the one that the call was sent to, or else the one that was current
    /// for the caller.
    ///
    /// # Examples
    ///
    /// See [`Call`].
    pub fn context(&self) -> Option<&str> {
        self.context.as_deref()
    }

    /// How long it has waited: since its thread first had nothing to do but sleep, or since a report first saw it
    /// pending. A call in its first poll has waited as long as the nested call that waits; if there is none, since a
    /// report first saw it there.
    ///
    /// # Examples
    ///
    /// See [`Call`].
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// How many polls of its future have returned. For a call in another context: how often its caller checked for the
    /// result.
    ///
    /// # Examples
    ///
    /// See [`Call`].
    pub fn polls(&self) -> u64 {
        self.polls
    }

    /// Its position among the blocking calls on its stack: 1 for the outermost.
    ///
    /// # Examples
    ///
    /// See [`Call`].
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// What its thread is doing.
    ///
    /// # Examples
    ///
    /// See [`Call`].
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether it is meant to wait long; see [`expect_long`](crate::hang::expect_long).
    ///
    /// # Examples
    ///
    /// See [`Call`].
    pub fn is_expected_long(&self) -> bool {
        self.expected_long
    }

    /// What it may be waiting for although it cannot come.
    ///
    /// # Examples
    ///
    /// See [`Call`].
    pub fn suspects(&self) -> &[Suspect] {
        &self.suspects
    }
}
