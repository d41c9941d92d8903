//! What would wait for itself, and is refused instead, with both places.

use std::{cell::RefCell, panic::Location, thread};

use super::{
    held,
    queue::{Shared, Writing},
};
use crate::{
    context::AioContext,
    scheduler::mailbox::Home,
    sys::park::here,
    tasks::activation,
    thread::state::{Kept, Thread},
};

type Place = &'static Location<'static>;

thread_local! {
    /// The write guards that this thread holds: where each was taken, and with how many calls on the stack. (They are dropped
    /// in any order.)
    static WRITING: RefCell<Vec<(Place, usize)>> = const { RefCell::new(Vec::new()) };
}

/// This thread takes a write guard at `place`.
pub fn write_begins(place: Place) {
    let calls = match Thread::kept_here() {
        Kept::Nothing(calls) => calls,
        // The call that takes it returns.
        Kept::UpTo(calls) | Kept::All(calls) => calls - usize::from(activation::is_coroutine()),
    };
    // In a thread-local destructor nobody drains.
    let _ = WRITING.try_with(|writing| writing.borrow_mut().push((place, calls)));
}

/// A write guard that this thread took at `place` goes.
pub fn write_ends(place: Place) {
    let _ = WRITING.try_with(|writing| {
        let mut writing = writing.borrow_mut();
        if let Some(index) = writing.iter().rposition(|(taken, _)| *taken == place) {
            writing.remove(index);
        }
    });
}

/// Refuses a drained section within a write-locked one: the requests that it waits for may need the lock.
#[track_caller]
pub fn drain_below_write(name: &str, place: Place) {
    let writer = WRITING.try_with(|writing| {
        let writing = writing.borrow();
        writing.iter().rev().find(|(_, calls)| stands_above(*calls)).map(|(writer, _)| *writer)
    });
    if let Ok(Some(writer)) = writer {
        panic!("{name}: at {place}, within the section that is write-locked at {writer}; drain first, then lock");
    }
}

/// Whether what runs now must return before a writer on its thread goes on that is above so many calls: all but a task that
/// merely is polled by a loop further up its stack, or a call lower than the writer.
fn stands_above(calls: usize) -> bool {
    match Thread::kept_here() {
        Kept::Nothing(_) => activation::task() == 0,
        Kept::UpTo(kept) => calls < kept,
        Kept::All(_) => true,
    }
}

/// Whether the same goes for `writing`. `blocks`: what runs now is about to keep its stack.
fn stands_above_writer(writing: Writing, blocks: bool) -> bool {
    let calls = WRITING.try_with(|all| all.borrow().iter().rev().find(|(place, _)| *place == writing.place).copied());
    let calls = calls.ok().flatten().map_or(0, |(_, calls)| calls);
    writing.thread == here() && (blocks && matches!(Thread::kept_here(), Kept::Nothing(_)) || stands_above(calls))
}

/// Refuses a read by `name` at `place` within the section of the writer `writing`.
#[track_caller]
pub fn read_below(name: &str, writing: Writing, place: Place) {
    if stands_above_writer(writing, false) {
        panic!(
            "{name}: at {place}, within the section that is write-locked at {}; drop the write guard first",
            writing.place
        );
    }
}

/// Refuses to wait, at `place`, for readers that wait for the waiting one in turn, or for a writer that does. `blocks`:
/// the wait keeps this stack.
#[track_caller]
pub fn wait_for_self(name: &str, shared: &Shared, other: Option<Writing>, place: Place, blocks: bool) {
    if let Some(writing) = other
        && (blocks || !matches!(Thread::kept_here(), Kept::Nothing(_)))
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

/// Refuses to block in coroutine context. As a wrapper does it: while the thread is panicking the call nests, for a second
/// panic would abort the process.
#[track_caller]
pub fn block_in_coroutine(name: &str, place: Place, cure: &str) {
    if !activation::is_coroutine() {
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

/// Refuses to take the write lock where it may not be taken.
#[track_caller]
pub fn write_here(place: Place) {
    block_in_coroutine("GraphLock::write", place, "await a function marked #[no_co_wrapper(bdrv_wrlock)] there");
    const CURE: &str = "await a function marked #[no_co_wrapper(bdrv_wrlock)], or schedule a bottom half there";
    match AioContext::main().mailbox().home() {
        Some(home) if home.thread == here() => {}
        Some(home) => panic!(
            "GraphLock::write: at {place}, on thread {}; the graph is changed on the main loop's alone, {}: {CURE}",
            Home::name_of(&thread::current()),
            home.thread_name
        ),
        None => panic!(
            "GraphLock::write: at {place}, and no thread is home to AioContext `main`; enter AioContext::main() on the \
             thread of the main loop, which alone changes the graph"
        ),
    }
}

/// There is nobody to share with.
#[track_caller]
pub fn nothing_to_share(name: &str, place: Place) -> ! {
    panic!("{name}: at {place}, and nobody holds the read lock; take `graph::read().await` first");
}
