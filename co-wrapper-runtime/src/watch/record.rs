//! What a thread publishes about one blocking call. Other threads may read it at any time.
//!
//! There is one [`Record`] per call, in the [`Slot`] that the call borrows from its thread. Every call writes its name
//! and its place in the code, because keeping them elsewhere would cost as much. It writes the rest only once it waits.
//! Only the record's own thread writes, with relaxed stores under a sequence lock: a reader discards what it read
//! during a write. A record never points into a stack.

use std::{
    hint, mem,
    panic::Location,
    ptr,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence},
    },
    task::Waker,
    time::{Duration, Instant},
};

use crate::{
    reactor::Stopped,
    scheduler::Scheduler,
    sys::park::{Unparker, WakeSlot},
};

pub(super) use crate::sys::sync::plain_lock as lock;

/// A reference to something `'static`, or nothing.
pub struct Static<T: Sync + 'static>(AtomicPtr<T>);

impl<T: Sync + 'static> Static<T> {
    pub const fn nothing() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    pub fn set(&self, value: &'static T) {
        self.0.store(ptr::from_ref(value).cast_mut(), Ordering::Relaxed);
    }

    pub fn get(&self) -> Option<&'static T> {
        // SAFETY: the pointer is null or comes from a `&'static T` that `set` stored, so it stays valid, and `T: Sync` may
        // be read from any thread. A relaxed load suffices: the values are constants, which exist before any thread runs.
        unsafe { self.0.load(Ordering::Relaxed).as_ref() }
    }
}

/// What a call borrows from its thread. Other threads use only the record and the wakes.
pub struct Slot {
    pub wakes: Arc<WakeSlot>,
    pub waker: Waker,
    pub record: Record,
}

impl Slot {
    /// A slot of the calling thread. `unparker` must be the calling thread's.
    pub fn new(unparker: Unparker) -> Self {
        let wakes = Arc::new(WakeSlot::new(unparker));
        let waker = wakes.waker();
        Self { wakes, waker, record: Record::new() }
    }

    /// The slot of a stackful coroutine on the calling thread, for the call that suspends it. `waker` is for the future
    /// of that call.
    #[cfg(feature = "coroutine")]
    pub fn of_coroutine(unparker: Unparker, waker: Waker) -> Self {
        Self { wakes: Arc::new(WakeSlot::of_coroutine(unparker)), waker, record: Record::new() }
    }

    /// Whether it is a stackful coroutine's.
    #[inline]
    pub fn is_of_coroutine(&self) -> bool {
        #[cfg(feature = "coroutine")]
        return self.wakes.is_coroutine();
        #[cfg(not(feature = "coroutine"))]
        false
    }

    /// Whether its call, if there is one, has suspended a coroutine.
    pub fn is_suspended(&self) -> bool {
        #[cfg(feature = "coroutine")]
        return self.is_of_coroutine() && self.record.is_nowhere();
        #[cfg(not(feature = "coroutine"))]
        false
    }

    /// Takes the slot for a new call.
    #[inline]
    pub fn begin(&self, name: &'static &'static str, site: &'static Location<'static>, callback_waits: bool) {
        let record = &self.record;
        record.name.set(name);
        record.site.set(site);
        self.wakes.reset();
        record.state.store(u8::from(callback_waits), Ordering::Relaxed);
    }

    /// The call has ended and the slot is spare.
    #[inline]
    pub fn end(&self) {
        self.record.state.store(ENDED, Ordering::Relaxed);
    }

    /// The name of the function that was called.
    pub fn name(&self) -> &'static str {
        self.record.name.get().map_or("", |name| *name)
    }

    /// Where it was called.
    pub fn site(&self) -> Option<&'static Location<'static>> {
        self.record.site.get()
    }
}

/// A bit of [`Record::state`]: a bottom half or handler is further out on the stack and waits in this call's frame.
const CALLBACK_WAITS: u8 = 1;
/// The call has taken a lock.
#[cfg(feature = "graph")]
const LOCKED: u8 = 1 << 3;
// Observers set two more bits (see `board.rs`). The next call clears them, because it writes the whole byte.
/// No call is using the slot.
const ENDED: u8 = 1 << 7;

/// One blocking call, as other threads see it.
pub struct Record {
    state: AtomicU8,
    /// Odd while the record is being written.
    version: AtomicU64,
    name: Static<&'static str>,
    site: Static<Location<'static>>,
    /// The call's position among those shown on its stack, from 1; 0 while it is not shown.
    level: AtomicUsize,
    /// Since when it waits, on the clock of `now`: since it first had to sleep or an observer first saw it; 0 until
    /// then. So a call that is woken at once reads no clock.
    since: AtomicU64,
    /// Whether a task or callback is further out on the stack.
    dispatched: AtomicBool,
    polls: AtomicU64,
    polling: AtomicBool,
    /// A `Stopped`, as a number.
    stopped: AtomicU8,
    /// Whether the call is meant to wait long.
    expected_long: AtomicBool,
    context: Mutex<Option<Waited>>,
    /// Of a coroutine that runs on a stack of its own: how many calls are outside it, plus one. Otherwise 0.
    position: AtomicUsize,
    /// The first lock that the call has taken, if it has.
    #[cfg(feature = "graph")]
    first_lock: AtomicU64,
    /// Identifies what `context` holds, so that the record's thread need not lock to find it unchanged.
    context_at: AtomicPtr<u8>,
}

/// The context in which a call waits.
#[derive(Clone)]
pub struct Waited {
    pub name: Arc<str>,
    pub scheduler: Arc<Scheduler>,
}

/// What a record shows beside the call's name and place.
#[derive(Clone, Copy)]
pub struct What {
    pub level: usize,
    pub dispatched: bool,
    pub expected_long: bool,
    /// How many polls of its future have returned.
    pub polls: u64,
}

/// What was read from a record.
pub struct Seen {
    pub name: &'static str,
    pub site: &'static Location<'static>,
    pub what: What,
    pub waited: Duration,
    pub polling: bool,
    pub stopped: Stopped,
    pub context: Option<Waited>,
}

impl Record {
    fn new() -> Self {
        Self {
            state: AtomicU8::new(ENDED),
            version: AtomicU64::new(0),
            name: Static::nothing(),
            site: Static::nothing(),
            level: AtomicUsize::new(0),
            since: AtomicU64::new(0),
            dispatched: AtomicBool::new(false),
            polls: AtomicU64::new(0),
            polling: AtomicBool::new(false),
            stopped: AtomicU8::new(0),
            expected_long: AtomicBool::new(false),
            context: Mutex::new(None),
            position: AtomicUsize::new(0),
            #[cfg(feature = "graph")]
            first_lock: AtomicU64::new(0),
            context_at: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Writes `fields`. Only for the record's own thread.
    fn write(&self, fields: impl FnOnce()) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Relaxed);
        // A reader that sees a store of `fields` then also sees the odd version.
        fence(Ordering::Release);
        fields();
        self.version.store(version + 2, Ordering::Release);
    }

    /// Shows the call from now on.
    #[inline]
    pub fn show(&self, what: What, context: Option<(&Arc<str>, &Arc<Scheduler>)>) {
        self.write(|| {
            self.since.store(0, Ordering::Relaxed);
            self.dispatched.store(what.dispatched, Ordering::Relaxed);
            self.polls.store(what.polls, Ordering::Relaxed);
            self.polling.store(what.polls == 0, Ordering::Relaxed);
            self.stopped.store(Stopped::Nothing as u8, Ordering::Relaxed);
            self.expected_long.store(what.expected_long, Ordering::Relaxed);
            let at = context.map_or(ptr::null(), |(name, _)| name.as_ptr()).cast_mut();
            // `context` keeps this context alive, so no other can have the same address.
            if self.context_at.load(Ordering::Relaxed) != at {
                self.context_at.store(at, Ordering::Relaxed);
                self.set_context(context);
            }
            self.level.store(what.level, Ordering::Relaxed);
        });
    }

    #[cold]
    #[inline(never)]
    fn set_context(&self, context: Option<(&Arc<str>, &Arc<Scheduler>)>) {
        let context =
            context.map(|(name, scheduler)| Waited { name: Arc::clone(name), scheduler: Arc::clone(scheduler) });
        let old = mem::replace(&mut *lock(&self.context), context);
        // This may drop the last reference to a context, and its tasks with it, which may make calls and reports: so
        // outside `context`'s lock.
        drop(old);
    }

    /// Starts counting the wait, unless it has started. From any thread.
    pub fn stamp(&self) {
        if self.since.load(Ordering::Relaxed) == 0 {
            // The time that another thread stored first is as good.
            let _ = self.since.compare_exchange(0, now(), Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    pub fn hide(&self) {
        self.write(|| self.level.store(0, Ordering::Relaxed));
    }

    /// Whether the call is meant to wait long. For the record's own thread.
    pub fn is_expected_long(&self) -> bool {
        self.expected_long.load(Ordering::Relaxed)
    }

    /// The call's position among those shown; 0 if hidden. For the record's own thread.
    pub fn level(&self) -> usize {
        self.level.load(Ordering::Relaxed)
    }

    /// Records which scheduler the wait stops.
    pub fn set_stopped(&self, stopped: Stopped) {
        self.stopped.store(stopped as u8, Ordering::Relaxed);
    }

    /// The wait is over, but the call has not returned: a call made from now on, in a destructor say, is shown as in
    /// its first poll.
    pub fn end_wait(&self) {
        self.polls.store(0, Ordering::Relaxed);
        self.polling.store(true, Ordering::Relaxed);
    }

    /// Polls the call's future with `poll`.
    pub fn poll(&self, poll: impl FnOnce() -> bool) -> bool {
        self.polling.store(true, Ordering::Relaxed);
        let ready = poll();
        self.polling.store(false, Ordering::Relaxed);
        self.polls.store(self.polls.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        ready
    }

    /// What the record shows, or `None` if it is hidden. From any thread.
    pub fn read(&self) -> Option<Seen> {
        for _ in 0..100 {
            let version = self.version.load(Ordering::Acquire);
            if version.is_multiple_of(2) {
                let seen = self.fields();
                // Pairs with the fence in `write`: if a field came from a later write, the version read next does too.
                fence(Ordering::Acquire);
                if self.version.load(Ordering::Relaxed) == version {
                    return seen;
                }
            }
            hint::spin_loop();
        }
        // It is being rewritten all the time, so its call does not hang.
        None
    }

    fn fields(&self) -> Option<Seen> {
        let level = Some(self.level.load(Ordering::Relaxed)).filter(|level| *level > 0)?;
        // A coroutine's call stands where the coroutine runs now.
        #[cfg(feature = "coroutine")]
        let level = match self.position.load(Ordering::Relaxed) {
            0 => level,
            position => position,
        };
        // Before `since` is read: a call that takes the record over meanwhile cannot have begun earlier.
        self.stamp();
        let since = self.since.load(Ordering::Relaxed);
        Some(Seen {
            name: self.name.get()?,
            site: self.site.get()?,
            what: What {
                level,
                dispatched: self.dispatched.load(Ordering::Relaxed),
                expected_long: self.expected_long.load(Ordering::Relaxed),
                polls: self.polls.load(Ordering::Relaxed),
            },
            waited: Duration::from_nanos(if since == 0 { 0 } else { now().saturating_sub(since) }),
            polling: self.polling.load(Ordering::Relaxed),
            stopped: Stopped::from_u8(self.stopped.load(Ordering::Relaxed)),
            context: lock(&self.context).clone(),
        })
    }

    /// Sets `bit`, which the next call clears. Returns whether it was set before.
    pub fn mark(&self, bit: u8) -> bool {
        self.state.fetch_or(bit, Ordering::Relaxed) & bit != 0
    }

    /// Whether a call is using the slot.
    pub fn is_on_stack(&self) -> bool {
        self.state.load(Ordering::Relaxed) & ENDED == 0
    }

    /// Records that the coroutine whose slot this is runs inside `calls` calls, or, if `None`, that it does not run.
    #[cfg(feature = "coroutine")]
    #[inline]
    pub fn set_position(&self, calls: Option<usize>) {
        self.position.store(calls.map_or(0, |calls| calls + 1), Ordering::Relaxed);
    }

    /// Whether this is the slot of a coroutine that runs inside `calls` calls.
    pub fn is_at(&self, calls: usize) -> bool {
        self.position.load(Ordering::Relaxed) == calls + 1
    }

    /// The call takes a lock, the one of this number on its stack. For the record's own thread.
    #[cfg(feature = "graph")]
    pub fn take_lock(&self, number: u64) {
        let state = self.state.load(Ordering::Relaxed);
        if state & LOCKED == 0 {
            self.first_lock.store(number, Ordering::Relaxed);
            // An observer's bit that is lost here only makes it look, or report, again.
            self.state.store(state | LOCKED, Ordering::Relaxed);
        }
    }

    /// Whether the call that uses the slot now has taken the lock of this number; otherwise an earlier one has. For the
    /// record's own thread.
    #[cfg(feature = "graph")]
    pub fn has_taken_lock(&self, number: u64) -> bool {
        self.state.load(Ordering::Relaxed) & LOCKED != 0 && self.first_lock.load(Ordering::Relaxed) <= number
    }

    /// Whether this is the slot of a coroutine that does not run.
    #[cfg(feature = "coroutine")]
    pub fn is_nowhere(&self) -> bool {
        self.position.load(Ordering::Relaxed) == 0
    }

    /// Whether a bottom half or handler waits in this call's frame.
    pub fn callback_waits(&self) -> bool {
        self.state.load(Ordering::Relaxed) & CALLBACK_WAITS != 0
    }

    /// How often its future was polled, if it is being polled now. For the innermost call of a stack.
    pub fn poll_in_progress(&self) -> Option<u64> {
        if self.level() == 0 {
            // A call is not shown before its first poll has returned.
            return Some(0);
        }
        self.polling.load(Ordering::Relaxed).then(|| self.polls.load(Ordering::Relaxed))
    }
}

/// Nanoseconds since this was first called; never 0.
pub fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_nanos().try_into().unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Catches: a reader that accepts what it read during a write, with either half of the sequence lock broken.
    #[test]
    fn a_record_is_read_whole_while_it_is_written() {
        let record = Record::new();
        let done = AtomicBool::new(false);
        record.name.set(&"name");
        record.site.set(Location::caller());
        thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..200_000_usize {
                    let odd = n % 2 == 1;
                    let what = What { level: n + 1, dispatched: odd, expected_long: odd, polls: n as u64 + 1 };
                    record.show(what, None);
                    if n % 64 == 0 {
                        thread::yield_now();
                    }
                }
                done.store(true, Ordering::Relaxed);
            });
            while !done.load(Ordering::Relaxed) {
                let Some(Seen { what, .. }) = record.read() else { continue };
                let n = what.level - 1;
                assert_eq!(
                    (what.expected_long, what.dispatched, what.polls),
                    (n % 2 == 1, n % 2 == 1, n as u64 + 1),
                    "fields of one call"
                );
            }
        });
    }
}
