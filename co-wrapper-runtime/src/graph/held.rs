//! Records of all read guards: of which lock, who took them, and where. They are searched when somebody is about to
//! wait for readers and might be one of them.
//!
//! A guard fills in a record when it is made and clears it when it is dropped, on whichever thread, with a few plain
//! stores. Records are never freed but reused. Each thread keeps some spare ones; the rest are shared.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    panic::Location,
    rc::Rc,
    sync::Mutex,
};

#[cfg(not(loom))]
use crate::watch::reasons::Threads;
use crate::{
    reactor,
    sys::{fork, park::here, sync::plain_lock},
    tasks::activation,
    thread::{
        stack::Kept,
        state::{MOST_NESTED, Thread},
    },
    watch::record::Static,
};

// Not from `crate::sys::sync`: records are not part of the lock's protocol, so loom need not model them.
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How a reader came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// No writer waited.
    Free,
    /// Past a waiting writer, at this time of `watch::record::now`. `alone`: reads on its behalf do not count as
    /// reading again.
    LetPast { since: u64, alone: bool },
    /// On behalf of a section that was already open, its own or an outer one's: past a waiting writer.
    Again,
}

/// A flag in the low bits of [`Record::lock`]: the guard came in by [`Entry::LetPast`].
const LET_PAST: usize = 1;
/// Another one: reads on the guard's behalf do not count as reading again. Without [`LET_PAST`] it means
/// [`Entry::Again`].
const ALONE: usize = 2;
/// All flags. They fit beside the address of the lock, which is aligned to more than this.
pub const FLAGS: usize = LET_PAST | ALONE;

/// One guard's record.
#[repr(align(128))]
pub struct Record {
    /// The lock's address and the flags; 0 while the record is spare.
    lock: AtomicUsize,
    /// When it came in. Valid only if it was let past a writer.
    since: AtomicU64,
    /// Who took it, see [`Holder`].
    holder: AtomicU64,
    /// If a call's future did, the thread and the call as in [`Holder::CALL`]; otherwise 0. Valid as long as the call lasts,
    /// which the next field says.
    call: AtomicU64,
    /// The guard's number among those of that thread.
    number: AtomicU64,
    place: Static<Location<'static>>,
}

/// Who took a guard, as a number. Its two lowest bits say which kind of holder it is, and the bits above say which one:
/// a task of ours or of tokio's, or else a thread, inside or outside a blocking call. Tasks of other executors are
/// unknown to us. A guard of such a task counts as its thread's, although the task may move.
pub struct Holder;

impl Holder {
    /// Nobody that we know: the guard was handed over.
    const NOBODY: u64 = 0;
    /// A tokio task. The bits above are its number, which is not 0.
    const FOREIGN: u64 = 0;
    /// A task of a context. The bits above are its id.
    const TASK: u64 = 1;
    /// The future of a blocking call. The bits above are the thread's number and, in the lower ones of them, how many
    /// calls are on the thread's stack up to and including that call.
    const CALL: u64 = 2;
    /// Code of a thread that is in no task and no call's future. The bits above are the thread's number and how many
    /// calls that code is nested in.
    const PLAIN: u64 = 3;

    const CALLS: u32 = 10;
    const _ENOUGH: () = assert!(MOST_NESTED < 1 << Self::CALLS);

    #[inline]
    pub fn current() -> u64 {
        match activation::task() {
            0 if activation::is_coroutine() => Self::here(Self::CALL),
            0 => reactor::task_id().map_or_else(|| Self::here(Self::PLAIN), |task| task << 2 | Self::FOREIGN),
            task => task << 2 | Self::TASK,
        }
    }

    #[inline]
    fn here(kind: u64) -> u64 {
        let (Kept::Nothing(calls) | Kept::UpTo(calls) | Kept::All(calls)) = Thread::kept_here();
        Self::place(calls) << 2 | kind
    }

    /// The thread's number, and `calls` in the lower bits.
    #[inline]
    fn place(calls: usize) -> u64 {
        here() << Self::CALLS | calls as u64
    }

    /// The holder without its place on the stack.
    pub fn who(holder: u64) -> u64 {
        if holder & 3 >= Self::CALL { holder & !(((1 << Self::CALLS) - 1) << 2) } else { holder }
    }

    /// Whether a guard of `holder`, a call's or plain code's, was taken on this thread; and with how many calls there.
    fn calls_here(holder: u64) -> Option<usize> {
        Self::calls_at(holder >> 2)
    }

    /// The calls of a [`place`](Self::place) on this thread.
    fn calls_at(place: u64) -> Option<usize> {
        (place >> Self::CALLS == here()).then_some((place & ((1 << Self::CALLS) - 1)) as usize)
    }
}

static ALL: Mutex<Vec<&'static Record>> = Mutex::new(Vec::new());
static SPARE: Mutex<Vec<&'static Record>> = Mutex::new(Vec::new());

/// How many spare records a thread keeps at most, and how many it takes at once.
const AT_HAND: usize = 64;
const BATCH: usize = 16;

/// A thread's spare records. When the thread ends they become shared.
struct AtHand(RefCell<Vec<&'static Record>>);

impl Drop for AtHand {
    fn drop(&mut self) {
        LOOKED_AFTER.set(false);
        self.0.get_mut().extend(FIRST.take());
        plain_lock(&SPARE).append(self.0.get_mut());
    }
}

thread_local! {
    /// The first spare record, kept apart because this thread-local has no destructor to check for.
    static FIRST: Cell<Option<&'static Record>> = const { Cell::new(None) };
    /// Whether `RECORDS` is alive, whose destructor also gives back `FIRST`.
    static LOOKED_AFTER: Cell<bool> = const { Cell::new(false) };
    static RECORDS: AtHand = const { AtHand(RefCell::new(Vec::new())) };
}

impl Record {
    /// The record of a guard of `lock` that the caller takes at `place`, having come in by `entry`.
    #[inline]
    pub fn new(lock: usize, entry: Entry, place: &'static Location<'static>) -> &'static Self {
        let record = FIRST.take().unwrap_or_else(Self::fetch);
        record.place.set(place);
        record.adopt();
        let flags = match entry {
            Entry::Free => 0,
            Entry::LetPast { since, alone } => {
                record.since.store(since, Ordering::Relaxed);
                LET_PAST | if alone { ALONE } else { 0 }
            }
            Entry::Again => ALONE,
        };
        // Last, so that whoever sees the record in use reads the other fields of the same use.
        record.lock.store(lock | flags, Ordering::Release);
        record
    }

    #[cold]
    fn fetch() -> &'static Self {
        if let Ok(Some(record)) = RECORDS.try_with(|records| records.0.borrow_mut().pop()) {
            return record;
        }
        let mut spare = plain_lock(&SPARE);
        let from = spare.len().saturating_sub(BATCH);
        let mut batch = spare.split_off(from);
        drop(spare);
        let record = batch.pop().unwrap_or_else(|| {
            let new: &'static Self = Box::leak(Box::new(Self {
                lock: AtomicUsize::new(0),
                since: AtomicU64::new(0),
                holder: AtomicU64::new(0),
                call: AtomicU64::new(0),
                number: AtomicU64::new(0),
                place: Static::nothing(),
            }));
            plain_lock(&ALL).push(new);
            new
        });
        Self::put_aside(&mut batch);
        record
    }

    fn put_aside(batch: &mut Vec<&'static Self>) {
        if RECORDS.try_with(|records| records.0.borrow_mut().append(batch)).is_err() {
            plain_lock(&SPARE).append(batch);
        }
    }

    /// Clears the record, because its guard is dropped. Returns how the reader came in, and who it is.
    #[inline]
    pub fn end(&'static self) -> (Entry, u64) {
        // Read before the record may be reused.
        let holder = self.holder.load(Ordering::Relaxed);
        let entry = match self.lock.load(Ordering::Relaxed) & FLAGS {
            0 => Entry::Free,
            ALONE => Entry::Again,
            flags => Entry::LetPast { since: self.since.load(Ordering::Relaxed), alone: flags & ALONE != 0 },
        };
        self.lock.store(0, Ordering::Release);
        if !LOOKED_AFTER.get() {
            self.put_back();
        } else if let Some(another) = FIRST.replace(Some(self)) {
            another.put_back();
        }
        (entry, holder)
    }

    #[cold]
    fn put_back(&'static self) {
        if fork::is_child() {
            // A forked child has no use for it, and another of the parent's threads may hold `SPARE`.
            return;
        }
        let kept = RECORDS.try_with(|records| {
            LOOKED_AFTER.set(true);
            let records = &mut *records.0.borrow_mut();
            records.push(self);
            if records.len() > AT_HAND {
                plain_lock(&SPARE).append(&mut records.split_off(AT_HAND / 2));
            }
        });
        if kept.is_err() {
            plain_lock(&SPARE).push(self);
        }
    }

    /// Makes the caller the guard's holder.
    #[inline]
    pub fn adopt(&self) {
        self.holder.store(Holder::current(), Ordering::Relaxed);
        let call = if activation::forbids_blocking() { Thread::read_in_call() } else { None };
        self.call.store(call.map_or(0, |(calls, _)| Holder::place(calls)), Ordering::Relaxed);
        if let Some((_, number)) = call {
            self.number.store(number, Ordering::Relaxed);
        }
    }

    /// Whether a call of this thread holds the guard that waits and can go on.
    fn is_of_call_that_goes_on(&self, thread: &Thread) -> bool {
        let call = Some(self.call.load(Ordering::Relaxed)).filter(|call| *call != 0);
        let calls = call.and_then(Holder::calls_at);
        calls.is_some_and(|calls| thread.stack.reader_can_go_on(calls, self.number.load(Ordering::Relaxed)))
    }

    /// The guard belongs to nobody known from now on.
    pub fn disown(&self) {
        self.holder.store(Holder::NOBODY, Ordering::Relaxed);
    }
}

/// Looks for a guard of `lock` that cannot be dropped while the caller waits. Returns where it was taken.
///
/// That is a guard of the caller. If the wait keeps the thread's whole stack (`blocks`), and not just one task, it may
/// also be a guard of an outer frame. Outer calls whose futures the caller's wait polls do not count. If the caller is
/// itself such a future, the frames nested inside its call do not count either.
pub fn by_waiter(lock: usize, blocks: bool) -> Option<&'static Location<'static>> {
    let (thread, task) = (Thread::get(), activation::task());
    let kept = match Thread::kept_here() {
        Kept::UpTo(calls) => Some(calls),
        Kept::Nothing(_) if !blocks => None,
        Kept::Nothing(_) | Kept::All(_) => Some(usize::MAX),
    };
    let goes_on = |record: &Record| thread.as_ref().is_some_and(|thread| record.is_of_call_that_goes_on(thread));
    let holds = |record: &Record, holder: u64| match holder & 3 {
        Holder::TASK => {
            let number = holder >> 2;
            let suspended = |kept| thread.as_ref().is_some_and(|thread| thread.stack.is_suspended(number, kept));
            number == task || kept.is_some_and(suspended) && !goes_on(record)
        }
        Holder::CALL => kept.zip(Holder::calls_here(holder)).is_some_and(|(kept, at)| at <= kept && !goes_on(record)),
        Holder::PLAIN => kept.zip(Holder::calls_here(holder)).is_some_and(|(kept, at)| at < kept),
        _ => false,
    };
    let all = plain_lock(&ALL);
    let held = all.iter().find(|record| {
        record.lock.load(Ordering::Acquire) & !FLAGS == lock && holds(record, record.holder.load(Ordering::Relaxed))
    });
    held.and_then(|record| record.place.get())
}

/// Where the current guards of `lock` were taken, and who holds each, for reports.
#[cfg(not(loom))]
pub fn readers(lock: usize, threads: &Threads<'_>) -> Vec<(&'static Location<'static>, String)> {
    let all = plain_lock(&ALL).clone();
    let held = all.into_iter().filter(|record| record.lock.load(Ordering::Acquire) & !FLAGS == lock);
    held.filter_map(|record| {
        let holder = record.holder.load(Ordering::Relaxed);
        let holder = match (holder & 3, holder >> 2) {
            _ if holder == Holder::NOBODY => "handed over".to_owned(),
            (Holder::FOREIGN, task) => format!("held by tokio's task {task}"),
            (Holder::TASK, _) => "held by a task".to_owned(),
            (_, number) => match threads.name(number >> Holder::CALLS) {
                Some(name) => format!("held by thread {name}"),
                None => "held by a thread that has ended or makes no calls of ours".to_owned(),
            },
        };
        Some((record.place.get()?, holder))
    })
    .collect()
}

/// Whether the caller, if it reads `lock`, reads again: it holds a guard, or an outer frame of its stack does that
/// cannot go on before the caller has. Guards that were themselves taken this way do not count: otherwise the branches
/// of one task, reading alternately and without end, would justify each other.
pub fn reads_again(lock: usize) -> bool {
    let (current, task) = (Holder::current(), activation::task());
    let on_stack = waits_on_stack();
    let foreign = if task == 0 || on_stack { reactor::task_id() } else { None };
    let thread = Thread::get();
    let holds = |holder: u64| match (holder & 3, holder >> 2) {
        _ if holder == Holder::NOBODY => false,
        (Holder::FOREIGN, number) => foreign == Some(number),
        (Holder::TASK, number) => {
            let suspended = |thread: &Rc<Thread>| thread.stack.is_suspended(number, usize::MAX);
            number == task || on_stack && thread.as_ref().is_some_and(suspended)
        }
        _ => (on_stack || matches!(current & 3, Holder::CALL | Holder::PLAIN)) && Holder::calls_here(holder).is_some(),
    };
    let all = plain_lock(&ALL);
    all.iter().any(|record| {
        let value = record.lock.load(Ordering::Acquire);
        value & !LET_PAST == lock && holds(record.holder.load(Ordering::Relaxed))
    })
}

/// A reader that waited for `lock` is let past. The open sections of the same holder count from `now` on, because they
/// may have waited for it. Returns how many there are.
pub fn waited(lock: usize, holder: u64, now: u64) -> usize {
    let mut inside = 0;
    for record in &*plain_lock(&ALL) {
        let value = record.lock.load(Ordering::Acquire);
        if value & !FLAGS == lock && Holder::who(record.holder.load(Ordering::Relaxed)) == holder {
            inside += 1;
            record.since.store(now, Ordering::Relaxed);
            // The guard may be dropped meanwhile on another thread; then its time does not matter.
            if value & FLAGS == 0 {
                let _ = record.lock.compare_exchange(value, value | LET_PAST, Ordering::Release, Ordering::Relaxed);
            }
        }
    }
    inside
}

/// How many guards of `lock` the holder has.
pub fn inside(lock: usize, holder: u64) -> usize {
    holders(lock).get(&holder).copied().unwrap_or(0)
}

/// How many guards of `lock` each holder has.
pub fn holders(lock: usize) -> BTreeMap<u64, usize> {
    let mut holders = BTreeMap::new();
    for record in &*plain_lock(&ALL) {
        if record.lock.load(Ordering::Acquire) & !FLAGS == lock {
            *holders.entry(Holder::who(record.holder.load(Ordering::Relaxed))).or_default() += 1;
        }
    }
    holders
}

/// Whether the current code keeps the stack: it is a blocking call, or inside one, that was made after a loop last
/// dispatched something, or an outer call that a nested loop polls. Otherwise it is in a task that will return to its
/// loop, or in no code of ours.
fn waits_on_stack() -> bool {
    !matches!(Thread::kept_here(), Kept::Nothing(_))
}
