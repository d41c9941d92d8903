//! The text of a report: one line per call, followed by one for each thing that it may wait for in vain, with the cure.

use std::{fmt, time::Duration};

use super::{
    board::{Doing, POLL_WHILE, Runs},
    reasons::BY_OTHER_MEANS,
    report::{Blocked, Blocking, Blocks, Call, Home, OuterCall, Report, State, Suspect, Temporary},
};
use crate::reactor::Stopped;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "co_wrapper: hang report: {} blocking call(s) waiting", self.calls.len())?;
        if let Some(late) = self.stalled_reactor {
            write!(
                f,
                "\n  thread `co-wrapper-io`: a worker of the tokio reactor that serves blocking calls does not answer, for \
                 {late:.1?} now: a task on it blocks it outside our calls, tasks that this one woke wait, and once all \
                 workers are blocked all sockets and timers stand still; block in spawn_blocking there, or through a wrapper"
            )?;
        }
        for call in &self.calls {
            write!(f, "\n  {call}")?;
        }
        for blocked in &self.blocked {
            write!(f, "\n  {blocked}")?;
        }
        for reason in &self.reasons {
            write!(f, "\n  {reason}")?;
        }
        if let Some(Home { thread, lasted, .. }) = &self.main_waits {
            write!(
                f,
                "\n  thread {thread}: AioContext `main` has work that waits for {lasted:.1?}, and its home thread is \
                 outside our calls: {BY_OTHER_MEANS}; or have the thread poll, or drop its EnterGuard"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { thread, what, lasted, call } = self;
        write!(f, "thread {thread}: {what} has not returned for {lasted:.1?}")?;
        if let Some((name, site)) = call {
            write!(f, ", run while {name}, called at {site}, waits")?;
        }
        write!(f, ": {BY_OTHER_MEANS}")
    }
}

impl fmt::Display for Blocking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runs(what) => what.fmt(f),
            Self::Condition(site) => write!(f, "the condition of {POLL_WHILE}, called at {site},"),
        }
    }
}

impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Task => "a task",
            Self::Callback => "a bottom half or handler",
            Self::OuterCall => "the future of a call lower on its stack",
        })
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { thread, doing, lasted, call } = self;
        write!(f, "thread {thread}, its home, which ")?;
        match (doing, call) {
            (Doing::Running { what, .. }, _) => write!(f, "has not returned from {what} for {lasted:.1?}")?,
            (Doing::Polling { .. }, Some((name, site))) => {
                write!(f, "has not returned from a poll of {name}, called at {site}, for {lasted:.1?}")?;
            }
            (Doing::Deciding { .. }, Some((name, site))) => {
                write!(f, "has not returned from the condition of {name}, called at {site}, for {lasted:.1?}")?;
            }
            _ => write!(f, "has been outside our calls for {lasted:.1?}")?,
        }
        write!(f, ": {BY_OTHER_MEANS}")
    }
}

impl fmt::Display for Temporary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { thread, call } = self;
        write!(f, "has not begun: thread {thread} is home to that context only for the length of its own call")?;
        if let Some((name, site)) = call {
            write!(f, ", {name}, called at {site},")?;
        }
        f.write_str(
            " and starts no other thread's call; if that call waits for this one, let a thread that stays be the home: \
             IoThread::spawn, or AioContext::enter on a thread that polls",
        )
    }
}

/// What a function of ours waits for, if its name alone explains how it may wait in vain.
fn waits_for(name: &str) -> Option<&'static str> {
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

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, site, thread, waited) = (self.name(), self.site(), self.thread(), self.waited());
        write!(f, "thread {thread}: {name}, called at {site}, has waited for {waited:.1?}")?;
        if let Some(context) = self.context() {
            write!(f, " in AioContext `{context}`")?;
        }
        let state = match self.state() {
            State::Parked => "parked",
            State::Polling => "polling",
            State::Serving => "serving its contexts",
            #[cfg(feature = "coroutine")]
            State::Suspended => "its coroutine is suspended",
        };
        write!(f, " ({state}, {} polls, depth {})", self.polls(), self.depth())?;
        if self.is_expected_long() {
            f.write_str(", as it is expected to")?;
        }
        for suspect in &self.suspects {
            f.write_str("\n    ")?;
            self.tell(*suspect, f)?;
        }
        match waits_for(name) {
            Some(what) => write!(f, "\n    waits for {what}"),
            None if self.suspects.is_empty() && self.state() == State::Parked => {
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

impl Call {
    fn tell(&self, suspect: Suspect, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const IN_VAIN: &str = "may wait in vain for";
        match suspect {
            Suspect::OuterFrame => {
                write!(f, "{IN_VAIN} what only something lower on its stack can do:")?;
                for OuterCall { place: (name, site), in_poll } in &self.outer {
                    write!(f, " {}{name} at {site},", if *in_poll { "" } else { "the caller of " })?;
                }
                if self.dispatched {
                    f.write_str(" a task or callback that the thread runs,")?;
                }
                f.write_str(" which goes on when this call has returned")
            }
            Suspect::OuterLock => write!(f, "{IN_VAIN} a lock that one of these holds"),
            Suspect::DrivenReactor if self.stopped == Stopped::CurrentThread => write!(
                f,
                "{IN_VAIN} sockets, timers or tasks of the tokio current_thread runtime that this thread drives, which \
                 stands still until this call has returned; await the async function there"
            ),
            Suspect::DrivenReactor => write!(
                f,
                "{IN_VAIN} sockets, timers or tasks of the tokio runtime whose worker this call blocks: a waker that the \
                 worker's driver calls may not block, so spawn a task there, or call it in spawn_blocking"
            ),
            Suspect::UndrivenReactor if self.stopped == Stopped::Undriven => write!(
                f,
                "{IN_VAIN} sockets, timers or tasks of the tokio current_thread runtime whose handle is entered here: it \
                 works only while a thread is in its block_on"
            ),
            Suspect::UndrivenReactor => write!(
                f,
                "{IN_VAIN} tasks of a LocalSet, if this call is made inside one: they stand still until this call has \
                 returned; await the async function there, or call it in spawn_blocking"
            ),
            Suspect::Blocked => match self.blocks {
                Some((blocks, lasted)) => self.tell_blocked(blocks, lasted, f),
                None => Ok(()),
            },
            Suspect::BusyHome => match &self.home {
                Some(home) => write!(f, "{IN_VAIN} {home}"),
                None => Ok(()),
            },
            Suspect::TemporaryHome => match &self.temporary {
                Some(temporary) => write!(f, "{temporary}"),
                None => Ok(()),
            },
            Suspect::EndedThread => write!(
                f,
                "{IN_VAIN} tokio, a part of which is gone here, in a thread-local destructor or after main has returned; \
                 let a context on another thread run the call: #[co_wrapper(ctx = …)]"
            ),
        }
    }

    fn tell_blocked(&self, blocks: Blocks, lasted: Duration, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match blocks {
            Blocks::Future => f.write_str("its future")?,
            Blocks::Condition => f.write_str("its condition")?,
            Blocks::Call => f.write_str("a call in what its thread runs meanwhile")?,
            Blocks::Runs(what) => write!(f, "{what} that its thread runs meanwhile")?,
        }
        write!(f, " has not returned for {lasted:.1?}: {BY_OTHER_MEANS}")
    }
}
