//! Refusals: a call that would wait for something that only its own caller can do panics here. The message names both
//! places.

use std::{panic::Location, thread};

use super::{held, queue::Writing, shared::Shared};
use crate::{
    context::AioContext,
    scheduler::Home,
    sys::park::here,
    tasks::activation,
    thread::{
        stack::{Kept, Writing as Taken},
        state::Thread,
    },
};

type Place = &'static Location<'static>;

/// Records that this thread takes a write guard at `place`.
pub fn write_begins(place: Place) {
    // Without a block the thread makes no calls. (The models take the lock on such threads.)
    let Some(thread) = Thread::get() else { return };
    let calls = match thread.stack.kept() {
        Kept::Nothing(calls) => calls,
        // The call that takes the lock returns, so it does not count.
        Kept::UpTo(calls) | Kept::All(calls) => calls - usize::from(activation::is_coroutine()),
    };
    let coroutine = thread.stack.root.get().coroutine;
    thread.stack.writing.borrow_mut().push(Taken { place, calls, coroutine });
}

/// Records that a write guard taken at `place` by this thread is dropped.
pub fn write_ends(place: Place) {
    let Some(thread) = Thread::get() else { return };
    let mut writing = thread.stack.writing.borrow_mut();
    if let Some(index) = writing.iter().rposition(|taken| taken.place == place) {
        writing.remove(index);
    }
}

/// Refuses a drained section inside a write-locked one, because the requests that it waits for may need the lock.
#[track_caller]
pub fn drain_below_write(name: &str, place: Place) {
    let writer = Thread::get().and_then(|thread| {
        let writing = thread.stack.writing.borrow();
        writing.iter().rev().find(|taken| is_below(taken)).map(|taken| taken.place)
    });
    if let Some(writer) = writer {
        panic!("{name}: at {place}, within the section that is write-locked at {writer}; drain first, then lock");
    }
}

/// Whether the current code must return before a writer goes on that took the lock on this thread, inside `calls`
/// calls.
/// False in a task that is merely polled by a loop nested on the writer's stack, and in an outer call of the writer's.
fn stands_above(calls: usize) -> bool {
    match Thread::kept_here() {
        Kept::Nothing(_) => activation::task() == 0,
        Kept::UpTo(kept) => calls < kept,
        Kept::All(_) => true,
    }
}

/// Whether the current code must return before the one that took this guard goes on, which is on this stack.
fn is_below(taken: &Taken) -> bool {
    // A coroutine with a stack of its own that waits does so on its own account.
    let is_own = taken.coroutine != 0 && taken.coroutine == Thread::root_here().coroutine;
    is_own && Thread::is_at_root_here() || stands_above(taken.calls)
}

/// Like [`is_below`], for `writing`. `blocks`: the current code is about to keep its stack.
fn stands_above_writer(writing: Writing, blocks: bool) -> bool {
    let Some(thread) = Thread::get() else { return writing.thread == here() && stands_above(0) };
    // Not on this stack if a coroutine has it that is suspended.
    let all = thread.stack.writing.borrow();
    let Some(taken) = all.iter().rev().find(|taken| taken.place == writing.place) else { return false };
    writing.thread == here() && (blocks && matches!(Thread::kept_here(), Kept::Nothing(_)) || is_below(taken))
}

/// Refuses a read by `name` at `place` inside the section of `writing`.
#[track_caller]
pub fn read_below(name: &str, writing: Writing, place: Place) {
    if stands_above_writer(writing, false) {
        panic!(
            "{name}: at {place}, within the section that is write-locked at {}; drop the write guard first",
            writing.place
        );
    }
}

/// Refuses to wait, at `place`, for readers or for a writer that cannot go on before the caller does. `blocks`: the
/// wait keeps this stack.
#[track_caller]
pub fn wait_for_self(name: &str, shared: &Shared, other: Option<Writing>, place: Place, blocks: bool) {
    let blocks = blocks && !Thread::is_at_root_here();
    if let Some(writing) = other
        && (blocks || Thread::is_at_root_here() || !matches!(Thread::kept_here(), Kept::Nothing(_)))
        && stands_above_writer(writing, blocks)
    {
        panic!(
            "{name}: at {place}, within the section that is write-locked at {}; drop the write guard first",
            writing.place
        );
    }
    if let Some(reader) = held::by_waiter(std::ptr::from_ref(shared).addr(), blocks) {
        panic!("{name}: at {place}, while the same caller holds the read guard taken at {reader}; drop that first");
    }
}

/// Refuses to block in coroutine context, as a wrapper does. While the thread is panicking it only warns, and the call
/// nests, because a second panic would abort the process.
#[track_caller]
pub fn block_in_coroutine(name: &str, place: Place, cure: &str) {
    if !activation::forbids_blocking() {
        return;
    }
    let inside = Thread::get().map(|thread| thread.coroutine_below(thread.depth())).unwrap_or_default();
    let message = format!("{name}: blocking call in coroutine context, at {place}, {inside}; {cure}");
    if thread::panicking() {
        eprintln!("co_wrapper: {message} (nested, because the thread is panicking)");
    } else {
        panic!("{message}");
    }
}

/// Refuses the write lock on a wrong thread or in coroutine context.
#[track_caller]
pub fn write_here(name: &str, place: Place) {
    block_in_coroutine(name, place, "await a function marked #[no_co_wrapper(bdrv_wrlock)] there");
    const CURE: &str = "await a function marked #[no_co_wrapper(bdrv_wrlock)], or schedule a bottom half there";
    match AioContext::main().scheduler().home() {
        Some(home) if home.thread == here() => {}
        Some(home) => panic!(
            "{name}: at {place}, on thread {}; the graph is changed on the main loop's alone, {}: {CURE}",
            Home::name_of(&thread::current()),
            home.thread_name
        ),
        None => panic!(
            "{name}: at {place}, and no thread is home to AioContext `main`; enter AioContext::main() on the \
             thread of the main loop, which alone changes the graph"
        ),
    }
}

/// Refuses to share a lock that nobody holds.
#[track_caller]
pub fn nothing_to_share(name: &str, place: Place) -> ! {
    panic!("{name}: at {place}, and nobody holds the read lock; take `graph::read().await` first");
}
