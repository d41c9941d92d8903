//! Why a wait may never end, as reported by what is waited for: contexts and graph locks. They are asked only when a
//! report is made, so this costs nothing while a call waits.

use std::{sync::Arc, time::Duration};

use super::board::{Board, Doing, Look};
use crate::{context::builder, scheduler::Scheduler, sys::registry::Registry};

/// The advice for code that blocks its thread by means other than our calls.
pub const BY_OTHER_MEANS: &str = "a std lock or blocking I/O? Let go of std locks, the caller's too, before a blocking call, \
                              and block by other means than a wrapper only in spawn_blocking";

/// Something that others wait for.
pub trait Awaited: Send + Sync {
    /// Why a wait for this may never end, one line for each reason. Empty if there is none. `name` is the name under
    /// which it was registered. Must not run users' code.
    fn reasons(&self, name: &str, threads: &Threads<'_>) -> Vec<String>;
}

/// What a report has seen of the process's threads.
pub struct Threads<'a>(pub &'a [(Arc<Board>, Look)]);

impl Threads<'_> {
    fn find(&self, number: u64) -> Option<&(Arc<Board>, Look)> {
        self.0.iter().find(|(board, _)| board.number == number)
    }

    /// The name in messages of the thread with this number.
    pub fn name(&self, number: u64) -> Option<&str> {
        self.find(number).map(|(board, _)| &*board.name)
    }

    /// How long the thread has been outside our calls, if it was so at the last look too and has not moved since.
    pub fn elsewhere(&self, number: u64) -> Option<Duration> {
        let (_, look) = self.find(number)?;
        (look.doing == Doing::Elsewhere && look.again).then(|| look.lasted())
    }
}

static ALL: Registry<dyn Awaited> = Registry::new();

/// Has reports ask `awaited` for as long as it lives.
#[cfg(all(feature = "graph", not(loom)))]
pub fn register(name: &Arc<str>, awaited: std::sync::Weak<dyn Awaited>) {
    ALL.register(name, awaited);
}

/// All reasons, except those of the context `except`.
pub fn all(threads: &Threads<'_>, except: Option<&Arc<Scheduler>>) -> Vec<String> {
    let contexts = builder::ALL.all();
    let contexts = contexts.iter().filter(|(_, scheduler)| except.is_none_or(|except| !Arc::ptr_eq(scheduler, except)));
    let contexts = contexts.flat_map(|(name, scheduler)| of_context(name, scheduler, threads));
    let others = ALL.all();
    contexts.chain(others.iter().flat_map(|(name, awaited)| awaited.reasons(name, threads))).collect()
}

/// Reports a context that has work or timers which no thread handles.
fn of_context(name: &str, scheduler: &Scheduler, threads: &Threads<'_>) -> Vec<String> {
    if scheduler.is_closed() || scheduler.is_quiet() {
        return Vec::new();
    }
    let Some(home) = scheduler.home_number() else {
        return vec![format!(
            "AioContext `{name}` has work or timers that wait, and no thread is home to it: have a thread enter it and \
             poll, or block on it"
        )];
    };
    let (Some(thread), Some(lasted)) = (threads.name(home), threads.elsewhere(home)) else { return Vec::new() };
    vec![format!(
        "thread {thread}: AioContext `{name}` has work or timers that wait, and the thread, its home, has been outside \
         our calls for {lasted:.1?}: {BY_OTHER_MEANS}; or have the thread poll, or drop its EnterGuard"
    )]
}
