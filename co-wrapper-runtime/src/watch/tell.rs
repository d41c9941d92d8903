//! What a report says of each thing that it finds, in a line each, with the cure.

use std::{fmt, panic::Location, time::Duration};

use super::{
    board::{Doing, POLL_WHILE, Runs},
    reasons::BY_OTHER_MEANS,
};
use crate::{reactor::Stopped, scheduler::Home};

/// A function and where it was called.
pub type Place = (&'static str, &'static Location<'static>);

const FOREVER: &str = "may be waiting forever for";

impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Task => "a task",
            Self::Callback => "a bottom half or handler",
            Self::OuterCall => "the future of a call lower on its stack",
        })
    }
}

pub fn stalled_reactor(late: Duration) -> String {
    format!(
        "thread `co-wrapper-io`: a worker of the tokio reactor that serves blocking calls does not answer, for {late:.1?} \
         now: a task on it blocks it outside our calls, tasks that this one woke wait, and once all workers are blocked all \
         sockets and timers stand still; block in spawn_blocking there, or through a wrapper"
    )
}

/// Of what a loop runs on `thread`, inside `call`.
pub fn blocked(thread: &str, what: &dyn fmt::Display, lasted: Duration, call: Option<Place>) -> String {
    let within = call.map(|(name, site)| format!(", run while {name}, called at {site}, waits")).unwrap_or_default();
    format!("thread {thread}: {what} has not returned for {lasted:.1?}{within}: {BY_OTHER_MEANS}")
}

/// Of the condition of the `poll_while` that was called at `site`.
pub fn condition(site: &Location<'_>) -> String {
    format!("the condition of {POLL_WHILE}, called at {site},")
}

/// Of the main context, whose home is `thread`.
pub fn main_waits(thread: &str, lasted: Duration) -> String {
    format!(
        "thread {thread}: AioContext `main` has work that waits for {lasted:.1?}, and its home thread is outside our calls: \
         {BY_OTHER_MEANS}; or have the thread poll, or drop its EnterGuard"
    )
}

/// Of a call inside `outer` calls, innermost first; for each, whether its future is in the middle of a poll. Otherwise the
/// future goes on, and only the call's caller waits for the nested frames.
pub fn outer_frame(outer: &[(Place, bool)], dispatched: bool) -> String {
    let mut text = format!("{FOREVER} what only something lower on its stack can do:");
    for ((name, site), in_poll) in outer {
        text += &format!(" {}{name} at {site},", if *in_poll { "" } else { "the caller of " });
    }
    if dispatched {
        text += " a task or callback that the thread runs,";
    }
    text + " which goes on when this call has returned"
}

pub fn outer_lock() -> String {
    format!("{FOREVER} a lock that one of these holds")
}

/// Of a call that stops this.
pub fn stopped(stopped: Stopped) -> String {
    let what = match stopped {
        Stopped::Nothing => "nothing",
        Stopped::CurrentThread => {
            "sockets, timers or tasks of the tokio current_thread runtime that this thread drives, which stands still until \
             this call has returned; await the async function there"
        }
        Stopped::Worker => {
            "sockets, timers or tasks of the tokio runtime whose worker this call blocks: a waker that the worker's driver \
             calls may not block, so spawn a task there, or call it in spawn_blocking"
        }
        Stopped::Undriven => {
            "sockets, timers or tasks of the tokio current_thread runtime whose handle is entered here: it works only while \
             a thread is in its block_on"
        }
        Stopped::LocalSet => {
            "tasks of a LocalSet, if this call is made inside one: they stand still until this call has returned; await the \
             async function there, or call it in spawn_blocking"
        }
        Stopped::Ended => {
            "tokio, a part of which is gone here, in a thread-local destructor or after main has returned; let a context on \
             another thread run the call: #[co_wrapper(ctx = …)]"
        }
    };
    format!("{FOREVER} {what}")
}

/// Of a call whose thread does not come back from `what`.
pub fn blocks(what: &str, lasted: Duration) -> String {
    format!("{what} has not returned for {lasted:.1?}: {BY_OTHER_MEANS}")
}

/// Of a call that has not begun in a context with this home.
pub fn temporary_home(home: &Home) -> String {
    let call = home.call.map(|(name, site)| format!(", {name}, called at {site},")).unwrap_or_default();
    format!(
        "has not begun: thread {} is home to that context only for the length of its own call{call} and starts no other \
         thread's call; if that call waits for this one, let a thread that stays be the home: IoThread::spawn, or \
         AioContext::enter on a thread that polls",
        home.thread_name
    )
}

/// Of a call whose context's home is `thread`, inside `call`.
pub fn busy_home(thread: &str, doing: Doing, lasted: Duration, call: Option<Place>) -> String {
    let what = match (doing, call) {
        (Doing::Running { what, .. }, _) => format!("has not returned from {what}"),
        (Doing::Polling { .. }, Some((name, site))) => {
            format!("has not returned from a poll of {name}, called at {site},")
        }
        (Doing::Deciding { .. }, Some((name, site))) => {
            format!("has not returned from the condition of {name}, called at {site},")
        }
        _ => "has been outside our calls".to_owned(),
    };
    format!("{FOREVER} thread {thread}, its home, which {what} for {lasted:.1?}: {BY_OTHER_MEANS}")
}

/// What a function of ours waits for, if its name alone explains why it may wait for ever.
pub fn waits_for(name: &str) -> Option<&'static str> {
    match name {
        "Drain::drained_begin" | "Drain::drained" => Some(
            "requests in flight, one of which this thread may hold: a request that drains itself waits for its own end; \
             end it first, or drain from outside of it",
        ),
        "IoThread::join" => Some("the thread's end, which comes when what it runs now has returned"),
        "IoThread::drop" => Some("the end of the thread spawned there, which comes when what it runs now has returned"),
        _ => None,
    }
}
