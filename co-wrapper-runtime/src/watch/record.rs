//! What a thread shows of one blocking call, so that any other thread may look at any time.
//!
//! One [`Record`] a call, in the [`Slot`] that the call borrows from its thread. Who called and where is written by every
//! call, for it costs no more than to keep it elsewhere; the rest only once the call waits, by its thread alone, with
//! relaxed stores under a sequence lock: what is read during a write is thrown away. Nothing points into a stack.

use std::{
    hint, mem,
    panic::Location,
    ptr,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence},
    },
    task::Waker,
    time::{Duration, Instant},
};

use crate::{
    reactor::Below,
    scheduler::mailbox::Mailbox,
    sys::park::{Unparker, WakeSlot},
};

/// A reference that lives as long as the process, or nothing.
pub struct Static<T: Sync + 'static>(AtomicPtr<T>);

impl<T: Sync + 'static> Static<T> {
    pub const fn nothing() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    pub fn set(&self, value: &'static T) {
        self.0.store(ptr::from_ref(value).cast_mut(), Ordering::Relaxed);
    }

    pub fn get(&self) -> Option<&'static T> {
        // SAFETY: null, or a `&'static T` that `set` stored: it is shared, never ends and is only read. What it refers to was
        // there before the thread began, so that another thread may read it without more.
        unsafe { self.0.load(Ordering::Relaxed).as_ref() }
    }
}

/// What a call borrows from its thread. Others look at the record only.
pub struct Slot {
    pub wakes: Arc<WakeSlot>,
    pub waker: Waker,
    pub record: Record,
}

impl Slot {
    /// One of the calling thread, whose wakes end the sleep of `unparker`'s, which is the same.
    pub fn new(unparker: Unparker) -> Self {
        let wakes = Arc::new(WakeSlot::new(unparker));
        let waker = Waker::from(Arc::clone(&wakes));
        Self { wakes, waker, record: Record::new() }
    }

    /// The next call begins to use it.
    #[inline]
    pub fn begin(&self, name: &'static &'static str, site: &'static Location<'static>, callback_waits: bool) {
        let record = &self.record;
        record.name.set(name);
        record.site.set(site);
        self.wakes.reset();
        record.state.store(u8::from(callback_waits), Ordering::Relaxed);
    }

    /// The call has ended.
    #[inline]
    pub fn end(&self) {
        self.record.state.store(ENDED, Ordering::Relaxed);
    }

    /// Who called.
    pub fn name(&self) -> &'static str {
        self.record.name.get().map_or("", |name| *name)
    }

    /// Where.
    pub fn site(&self) -> Option<&'static Location<'static>> {
        self.record.site.get()
    }
}

/// In a record's state: a bottom half or handler waits in the call's frame, that is, runs further down its stack.
const CALLBACK_WAITS: u8 = 1;
// And two that those who look set, see `board.rs`: the next call clears them, for it writes the whole byte.
/// No call of that slot is on its thread's stack.
const ENDED: u8 = 1 << 7;

/// One blocking call, as others see it.
pub struct Record {
    state: AtomicU8,
    /// Odd while the record is being written. Together with the record's address it names one call.
    version: AtomicU64,
    name: Static<&'static str>,
    site: Static<Location<'static>>,
    /// Its place on the stack among the calls shown, from 1; 0 while there is nothing to see.
    level: AtomicUsize,
    /// Since when it waits, as `now` counts: since it first had to sleep or was first looked at, so that a call which is
    /// woken at once needs no clock. 0 until then.
    since: AtomicU64,
    /// Whether a task or callback that the thread runs is further down the stack.
    dispatched: AtomicBool,
    polls: AtomicU64,
    polling: AtomicBool,
    /// A `Below`.
    below: AtomicU8,
    /// Whether it is meant to wait for long.
    expected_long: AtomicBool,
    context: Mutex<Option<Waited>>,
    /// What `context` holds, so that its thread need not lock to leave it as it is.
    context_at: AtomicPtr<u8>,
}

/// The context in which a call waits.
#[derive(Clone)]
pub struct Waited {
    pub name: Arc<str>,
    pub mailbox: Arc<Mailbox>,
}

/// What a record shows, beside who called and where.
#[derive(Clone, Copy)]
pub struct What {
    pub level: usize,
    pub dispatched: bool,
    pub expected_long: bool,
    /// Polls of its future that have ended.
    pub polls: u64,
}

/// What was read in a record.
pub struct Seen {
    pub name: &'static str,
    pub site: &'static Location<'static>,
    pub what: What,
    pub waited: Duration,
    pub polling: bool,
    pub below: Below,
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
            below: AtomicU8::new(0),
            expected_long: AtomicBool::new(false),
            context: Mutex::new(None),
            context_at: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// By the record's thread alone.
    fn write(&self, fields: impl FnOnce()) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Relaxed);
        // Whoever sees one of the fields' stores sees the odd version too.
        fence(Ordering::Release);
        fields();
        self.version.store(version + 2, Ordering::Release);
    }

    /// Shows a call, from now on.
    pub fn show(&self, what: What, context: Option<(&Arc<str>, &Arc<Mailbox>)>) {
        self.write(|| {
            self.since.store(0, Ordering::Relaxed);
            self.dispatched.store(what.dispatched, Ordering::Relaxed);
            self.polls.store(what.polls, Ordering::Relaxed);
            self.polling.store(what.polls == 0, Ordering::Relaxed);
            self.below.store(Below::Nothing as u8, Ordering::Relaxed);
            self.expected_long.store(what.expected_long, Ordering::Relaxed);
            let at = context.map_or(ptr::null(), |(name, _)| name.as_ptr()).cast_mut();
            // It is held here, so no other can have come to its place.
            if self.context_at.load(Ordering::Relaxed) != at {
                self.context_at.store(at, Ordering::Relaxed);
                let context =
                    context.map(|(name, mailbox)| Waited { name: Arc::clone(name), mailbox: Arc::clone(mailbox) });
                let old = mem::replace(&mut *lock(&self.context), context);
                // The last of a context may go here, and its tasks with it, which may look at reports.
                drop(old);
            }
            self.level.store(what.level, Ordering::Relaxed);
        });
    }

    /// Counts the time from now on, if nobody has begun to. From any thread.
    pub fn stamp(&self) {
        if self.since.load(Ordering::Relaxed) == 0 {
            // Whoever loses finds a time as good.
            let _ = self.since.compare_exchange(0, now(), Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    pub fn hide(&self) {
        self.write(|| self.level.store(0, Ordering::Relaxed));
    }

    /// Whether it is meant to wait for long. For its own thread.
    pub fn is_expected_long(&self) -> bool {
        self.expected_long.load(Ordering::Relaxed)
    }

    /// Its place among the calls shown; 0 if it is hidden. For its own thread.
    pub fn level(&self) -> usize {
        self.level.load(Ordering::Relaxed)
    }

    /// Says what the wait keeps from going on.
    pub fn set_below(&self, below: Below) {
        self.below.store(below as u8, Ordering::Relaxed);
    }

    /// Its wait is over, and it has not been left: what it calls from now on, a destructor say, waits for itself, as in its
    /// first poll.
    pub fn end_wait(&self) {
        self.polls.store(0, Ordering::Relaxed);
        self.polling.store(true, Ordering::Relaxed);
    }

    /// Polls the call's future.
    pub fn poll(&self, poll: impl FnOnce() -> bool) -> bool {
        self.polling.store(true, Ordering::Relaxed);
        let ready = poll();
        self.polling.store(false, Ordering::Relaxed);
        self.polls.store(self.polls.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        ready
    }

    /// What the record shows, if anything. From any thread.
    pub fn read(&self) -> Option<Seen> {
        for _ in 0..100 {
            let version = self.version.load(Ordering::Acquire);
            if version.is_multiple_of(2) {
                let seen = self.fields();
                // Pairs with `write`'s: if a field came from a later write, so does the version that is read next.
                fence(Ordering::Acquire);
                if self.version.load(Ordering::Relaxed) == version {
                    return seen;
                }
            }
            hint::spin_loop();
        }
        // Written whenever it is looked at, so it does not hang.
        None
    }

    fn fields(&self) -> Option<Seen> {
        let level = Some(self.level.load(Ordering::Relaxed)).filter(|level| *level > 0)?;
        // A call that takes the record over just now begins no sooner than this.
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
            below: Below::from_u8(self.below.load(Ordering::Relaxed)),
            context: lock(&self.context).clone(),
        })
    }

    /// Sets `bit`, of those that the next call clears. Returns whether it was set.
    pub fn mark(&self, bit: u8) -> bool {
        self.state.fetch_or(bit, Ordering::Relaxed) & bit != 0
    }

    /// Whether a call of that slot is on the stack.
    pub fn is_on_stack(&self) -> bool {
        self.state.load(Ordering::Relaxed) & ENDED == 0
    }

    /// Whether a bottom half or handler waits in this call's frame.
    pub fn callback_waits(&self) -> bool {
        self.state.load(Ordering::Relaxed) & CALLBACK_WAITS != 0
    }

    /// How often its future was polled, if a poll of it is running. For a call that is the innermost of its thread's stack.
    pub fn poll_in_progress(&self) -> Option<u64> {
        if self.level() == 0 {
            // Nothing is shown before the first poll has returned.
            return Some(0);
        }
        self.polling.load(Ordering::Relaxed).then(|| self.polls.load(Ordering::Relaxed))
    }
}

/// Nanoseconds since something, never 0.
pub fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_nanos().try_into().unwrap_or(u64::MAX).max(1)
}

/// Nothing of ours panics while it holds one.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Catches: a reader that takes what it read during a write, for either half of the sequence lock.
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
