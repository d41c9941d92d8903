//! A waiting call, as a report shows it: for tests as data, for people as lines. It is made from the call's record; what
//! is found by looking at threads, `report.rs` adds. The words of each suspect are in `tell.rs`.
//!
//! Invariant: there is a line for each suspect.

use std::{fmt, panic::Location, time::Duration};

use super::{
    board::Board,
    record::Seen,
    tell::{self, Place},
};
use crate::reactor::Stopped;

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
    suspects: Vec<Suspect>,
    /// A line for each of them.
    told: Vec<String>,
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

impl Call {
    /// The call that `board` shows as `seen`, with what its record says of it. `outer` are the outer calls on its stack, as
    /// `tell::outer_frame` has them. `parked`: its thread sleeps.
    pub(super) fn new(board: &Board, seen: &Seen, outer: &[(Place, bool)], parked: bool) -> Self {
        let what = seen.what;
        let mut call = Self {
            name: seen.name,
            site: seen.site,
            thread: board.name.to_string(),
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
            suspects: Vec::new(),
            told: Vec::new(),
        };
        if !outer.is_empty() || what.dispatched {
            call.suspect(Suspect::OuterFrame, tell::outer_frame(outer, what.dispatched));
            call.suspect(Suspect::OuterLock, tell::outer_lock());
        }
        let stopped = match seen.stopped {
            Stopped::Nothing => return call,
            Stopped::CurrentThread | Stopped::Worker => Suspect::DrivenReactor,
            Stopped::Undriven | Stopped::LocalSet => Suspect::UndrivenReactor,
            Stopped::Ended => Suspect::EndedThread,
        };
        call.suspect(stopped, tell::stopped(seen.stopped));
        call
    }

    /// Its coroutine is suspended.
    #[cfg(feature = "coroutine")]
    pub(super) fn set_suspended(&mut self) {
        self.state = State::Suspended;
    }

    /// Adds a suspect, with its line.
    pub(super) fn suspect(&mut self, suspect: Suspect, why: String) {
        self.suspects.push(suspect);
        self.told.push(why);
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
            #[cfg(feature = "coroutine")]
            State::Suspended => "its coroutine is suspended",
        };
        write!(f, " ({state}, {polls} polls, depth {depth})")?;
        if self.expected_long {
            f.write_str(", as it is expected to")?;
        }
        self.told.iter().try_for_each(|line| write!(f, "\n    {line}"))?;
        match tell::waits_for(name) {
            Some(what) => write!(f, "\n    waits for {what}"),
            None if self.suspects.is_empty() && self.state == State::Parked => {
                f.write_str("\n    nothing on its thread stands in its way: what it awaits has not come")?;
                if cfg!(feature = "tokio") {
                    f.write_str(
                        ". If that is a socket or timer of another tokio runtime, a thread must drive that: a current_thread \
                         runtime works only while one is in its block_on",
                    )?;
                }
                Ok(())
            }
            None => Ok(()),
        }
    }
}
