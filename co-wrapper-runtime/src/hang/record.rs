//! What a thread shows of its blocking calls that wait, so that any other thread may look at any time.
//!
//! One [`Record`] a call, taken from the thread's spare ones together with its wake slot, and one [`Board`] a thread, which
//! keeps them. A record is written by its thread alone, in the slow path, with relaxed stores under a sequence lock; what
//! is read during a write is thrown away. Nothing points into a stack.

use std::{
    hint,
    panic::Location,
    ptr,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence},
    },
    time::{Duration, Instant},
};

use crate::reactor::Below;

/// A reference that lives as long as the process, or nothing.
struct Static<T: Sync + 'static>(AtomicPtr<T>);

impl<T: Sync + 'static> Static<T> {
    const fn nothing() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    fn set(&self, value: &'static T) {
        self.0.store(ptr::from_ref(value).cast_mut(), Ordering::Relaxed);
    }

    fn get(&self) -> Option<&'static T> {
        // SAFETY: null, or a `&'static T` that `set` stored: shared, never ending, and to something that was there
        // before this process knew the thread. It is read only.
        unsafe { self.0.load(Ordering::Relaxed).as_ref() }
    }
}

/// One blocking call, as others see it.
pub struct Record {
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
    context: Mutex<Option<Arc<str>>>,
    /// What `context` holds, so that its thread need not lock to leave it as it is.
    context_at: AtomicPtr<u8>,
    /// The version that the watchdog has reported. The watchdog's own.
    reported: AtomicU64,
}

/// What a record shows.
#[derive(Clone, Copy)]
pub struct What {
    pub name: &'static &'static str,
    pub site: &'static Location<'static>,
    pub level: usize,
    pub dispatched: bool,
    /// Polls of its future that have ended.
    pub polls: u64,
}

/// What was read in a record.
pub struct Seen {
    pub what: What,
    pub version: u64,
    pub waited: Duration,
    pub polling: bool,
    pub below: Below,
    pub context: Option<Arc<str>>,
}

impl Record {
    fn new() -> Self {
        Self {
            version: AtomicU64::new(0),
            name: Static::nothing(),
            site: Static::nothing(),
            level: AtomicUsize::new(0),
            since: AtomicU64::new(0),
            dispatched: AtomicBool::new(false),
            polls: AtomicU64::new(0),
            polling: AtomicBool::new(false),
            below: AtomicU8::new(0),
            context: Mutex::new(None),
            context_at: AtomicPtr::new(ptr::null_mut()),
            reported: AtomicU64::new(0),
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
    pub fn show(&self, what: What, context: Option<&Arc<str>>) {
        self.write(|| {
            self.name.set(what.name);
            self.site.set(what.site);
            self.since.store(0, Ordering::Relaxed);
            self.dispatched.store(what.dispatched, Ordering::Relaxed);
            self.polls.store(what.polls, Ordering::Relaxed);
            self.polling.store(what.polls == 0, Ordering::Relaxed);
            self.below.store(Below::Nothing as u8, Ordering::Relaxed);
            let at = context.map_or(ptr::null(), |context| context.as_ptr()).cast_mut();
            // It is held here, so no other can have come to its place.
            if self.context_at.load(Ordering::Relaxed) != at {
                self.context_at.store(at, Ordering::Relaxed);
                *lock(&self.context) = context.cloned();
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
                let seen = self.fields(version);
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

    fn fields(&self, version: u64) -> Option<Seen> {
        let level = Some(self.level.load(Ordering::Relaxed)).filter(|level| *level > 0)?;
        // A call that takes the record over just now begins no sooner than this.
        self.stamp();
        let since = self.since.load(Ordering::Relaxed);
        Some(Seen {
            what: What {
                name: self.name.get()?,
                site: self.site.get()?,
                level,
                dispatched: self.dispatched.load(Ordering::Relaxed),
                polls: self.polls.load(Ordering::Relaxed),
            },
            version,
            waited: Duration::from_nanos(if since == 0 { 0 } else { now().saturating_sub(since) }),
            polling: self.polling.load(Ordering::Relaxed),
            below: Below::from_u8(self.below.load(Ordering::Relaxed)),
            context: lock(&self.context).clone(),
        })
    }

    /// Whether the call of that version is news to the watchdog; not any more, afterwards.
    pub fn is_news(&self, version: u64) -> bool {
        self.reported.swap(version, Ordering::Relaxed) != version
    }
}

/// The records of one thread.
pub struct Board {
    pub number: u64,
    /// The thread, as messages name it.
    pub name: String,
    parked: AtomicBool,
    records: Mutex<Vec<Arc<Record>>>,
}

static BOARDS: Mutex<Vec<Arc<Board>>> = Mutex::new(Vec::new());

/// A thread's board, to be seen while this lives.
pub struct Registered(Arc<Board>);

impl Registered {
    pub fn new(number: u64, name: String) -> Self {
        let board = Arc::new(Board { number, name, parked: AtomicBool::new(false), records: Mutex::default() });
        lock(&BOARDS).push(Arc::clone(&board));
        Self(board)
    }
}

impl std::ops::Deref for Registered {
    type Target = Board;

    fn deref(&self) -> &Board {
        &self.0
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        lock(&BOARDS).retain(|board| !Arc::ptr_eq(board, &self.0));
    }
}

impl Board {
    /// Makes one more record of this thread.
    pub fn record(&self) -> Arc<Record> {
        let record = Arc::new(Record::new());
        lock(&self.records).push(Arc::clone(&record));
        record
    }

    pub fn records(&self) -> Vec<Arc<Record>> {
        lock(&self.records).clone()
    }

    /// Runs `park`, which puts the thread to sleep.
    pub fn parked(&self, park: impl FnOnce()) {
        self.parked.store(true, Ordering::Relaxed);
        park();
        self.parked.store(false, Ordering::Relaxed);
    }

    pub fn is_parked(&self) -> bool {
        self.parked.load(Ordering::Relaxed)
    }
}

/// The boards of all threads.
pub fn boards() -> Vec<Arc<Board>> {
    lock(&BOARDS).clone()
}

/// Nanoseconds since something, never 0.
pub fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_nanos().try_into().unwrap_or(u64::MAX).max(1)
}

/// Nothing of ours panics while it holds one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Catches: a reader that takes what it read during a write, for either half of the sequence lock.
    #[test]
    fn a_record_is_read_whole_while_it_is_written() {
        static NAMES: [&str; 2] = ["even", "odd"];
        let record = Record::new();
        let done = AtomicBool::new(false);
        let site = Location::caller();
        thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..200_000_usize {
                    let what =
                        What { name: &NAMES[n % 2], site, level: n + 1, dispatched: n % 2 == 1, polls: n as u64 + 1 };
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
                    (*what.name, what.dispatched, what.polls),
                    (NAMES[n % 2], n % 2 == 1, n as u64 + 1),
                    "fields of one call"
                );
            }
        });
    }
}
