//! Which read guards there are: of which lock, taken by whom and where. Asked when somebody is about to wait for readers,
//! of whom he may be one himself.
//!
//! A guard fills in a record when it is made and blanks it when it is dropped, wherever that is: a few plain stores.
//! Records are never freed but used again; each thread keeps some at hand, the rest are in common.

use std::{
    cell::{Cell, RefCell},
    panic::Location,
    ptr,
    rc::Rc,
    sync::Mutex,
};

#[cfg(not(loom))]
use crate::watch::reasons::Threads;
use crate::{
    reactor,
    sys::{fork, park::here, sync::is_send_and_sync},
    tasks::activation,
    thread::state::{Kept, MOST_NESTED, Thread},
};

// Not `crate::sync`: records are beside the lock's protocol, and loom need not go through them.
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

/// How a reader came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Nobody waited to write.
    Free,
    /// At that time, as `watch::record::now` counts, past a writer that waits. `alone`: without those who read on its behalf.
    LetPast { since: u64, alone: bool },
    /// Within a section of its own, or of one on whose behalf it reads: past a writer that waits.
    Again,
}

/// Set beside the lock's address: it came in by [`Entry::LetPast`],
const LET_PAST: usize = 1;
/// nobody reads again on its behalf. By itself: [`Entry::Again`].
const ALONE: usize = 2;
pub const FLAGS: usize = LET_PAST | ALONE;

/// One guard's record.
#[repr(align(128))]
pub struct Record {
    /// The lock's address and how the reader came in, 0 for a record that is not in use.
    lock: AtomicUsize,
    /// When it came in; right if it was let past a writer.
    since: AtomicU64,
    /// Who took it, see `Holder`.
    holder: AtomicU64,
    place: AtomicPtr<Location<'static>>,
}

/// Who took a guard, in a number: a task of ours or of tokio's, or a thread outside of one, within a blocking call or
/// without. For other executors, of which we do not know, the thread says little.
pub struct Holder;

impl Holder {
    const NOBODY: u64 = 0;
    /// With a tokio task's number, which is not 0.
    const FOREIGN: u64 = 0;
    const TASK: u64 = 1;
    /// With the thread's number above how many calls are on its stack, up to the one whose future took the guard.
    const CALL: u64 = 2;
    /// The same with how many calls are on the stack below what took it.
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
        (here() << Self::CALLS | calls as u64) << 2 | kind
    }

    /// The holder without its place on the stack.
    pub fn who(holder: u64) -> u64 {
        if holder & 3 >= Self::CALL { holder & !(((1 << Self::CALLS) - 1) << 2) } else { holder }
    }

    /// Whether a guard of `holder`, a call's or plain code's, was taken on this thread; and with how many calls there.
    fn calls_here(holder: u64) -> Option<usize> {
        let (thread, calls) = (holder >> 2 >> Self::CALLS, holder >> 2 & ((1 << Self::CALLS) - 1));
        (thread == here()).then_some(calls as usize)
    }
}

const _: () = is_send_and_sync::<Location<'static>>();

static ALL: Mutex<Vec<&'static Record>> = Mutex::new(Vec::new());
static SPARE: Mutex<Vec<&'static Record>> = Mutex::new(Vec::new());

/// How many records a thread keeps at hand, at most, and how many it takes at once.
const AT_HAND: usize = 64;
const BATCH: usize = 16;

/// A thread's spare records; at its end they go to the others.
struct AtHand(RefCell<Vec<&'static Record>>);

impl Drop for AtHand {
    fn drop(&mut self) {
        LOOKED_AFTER.set(false);
        self.0.get_mut().extend(FIRST.take());
        crate::sys::sync::plain_lock(&SPARE).append(self.0.get_mut());
    }
}

thread_local! {
    /// The first one at hand, apart, for this has no destructor to look after.
    static FIRST: Cell<Option<&'static Record>> = const { Cell::new(None) };
    /// Whether `RECORDS` is there, whose destructor gives back the first one too.
    static LOOKED_AFTER: Cell<bool> = const { Cell::new(false) };
    static RECORDS: AtHand = const { AtHand(RefCell::new(Vec::new())) };
}

impl Record {
    /// A record of a guard of `lock` that the caller takes at `place`, having come in so.
    #[inline]
    pub fn new(lock: usize, entry: Entry, place: &'static Location<'static>) -> &'static Self {
        let record = FIRST.take().unwrap_or_else(Self::fetch);
        record.place.store(ptr::from_ref(place).cast_mut(), Ordering::Relaxed);
        record.holder.store(Holder::current(), Ordering::Relaxed);
        let flags = match entry {
            Entry::Free => 0,
            Entry::LetPast { since, alone } => {
                record.since.store(since, Ordering::Relaxed);
                LET_PAST | if alone { ALONE } else { 0 }
            }
            Entry::Again => ALONE,
        };
        // Last: what is read of a record in use is of that use.
        record.lock.store(lock | flags, Ordering::Release);
        record
    }

    #[cold]
    fn fetch() -> &'static Self {
        if let Ok(Some(record)) = RECORDS.try_with(|records| records.0.borrow_mut().pop()) {
            return record;
        }
        let mut spare = crate::sys::sync::plain_lock(&SPARE);
        let from = spare.len().saturating_sub(BATCH);
        let mut batch = spare.split_off(from);
        drop(spare);
        let record = batch.pop().unwrap_or_else(|| {
            let new: &'static Self = Box::leak(Box::new(Self {
                lock: AtomicUsize::new(0),
                since: AtomicU64::new(0),
                holder: AtomicU64::new(0),
                place: AtomicPtr::new(ptr::null_mut()),
            }));
            crate::sys::sync::plain_lock(&ALL).push(new);
            new
        });
        Self::put_aside(&mut batch);
        record
    }

    fn put_aside(batch: &mut Vec<&'static Self>) {
        if RECORDS.try_with(|records| records.0.borrow_mut().append(batch)).is_err() {
            crate::sys::sync::plain_lock(&SPARE).append(batch);
        }
    }

    /// The guard is dropped. Says how its reader came in.
    #[inline]
    pub fn end(&'static self) -> Entry {
        // Before the record is another's.
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
        entry
    }

    #[cold]
    fn put_back(&'static self) {
        if fork::is_child() {
            // Nobody reads there any more, and `SPARE` may have been another thread's.
            return;
        }
        let kept = RECORDS.try_with(|records| {
            LOOKED_AFTER.set(true);
            let records = &mut *records.0.borrow_mut();
            records.push(self);
            if records.len() > AT_HAND {
                crate::sys::sync::plain_lock(&SPARE).append(&mut records.split_off(AT_HAND / 2));
            }
        });
        if kept.is_err() {
            crate::sys::sync::plain_lock(&SPARE).push(self);
        }
    }

    /// The caller holds the guard from now on.
    pub fn adopt(&self) {
        self.holder.store(Holder::current(), Ordering::Relaxed);
    }

    /// Nobody that could be named holds the guard from now on.
    pub fn disown(&self) {
        self.holder.store(Holder::NOBODY, Ordering::Relaxed);
    }

    fn place(&self) -> Option<&'static Location<'static>> {
        // SAFETY: null or from a `&'static Location`, which may be read on any thread.
        unsafe { self.place.load(Ordering::Relaxed).as_ref() }
    }
}

/// Where a guard of `lock` was taken that cannot be dropped as long as the caller waits: by the caller, or, if that is
/// the thread's stack and not merely one task, by something further down the stack. A call there whose future can go on
/// meanwhile, for what the caller waits in polls it, is no reason; nor is, for such a future, what is above it.
pub fn by_waiter(lock: usize, blocks: bool) -> Option<&'static Location<'static>> {
    let (thread, task) = (Thread::get(), activation::task());
    let kept = match Thread::kept_here() {
        Kept::UpTo(calls) => Some(calls),
        Kept::Nothing(_) if !blocks => None,
        Kept::Nothing(_) | Kept::All(_) => Some(usize::MAX),
    };
    let goes_on = |calls| thread.as_ref().is_some_and(|thread| thread.waiting.all().can_go_on(calls));
    let holds = |holder: u64| match holder & 3 {
        Holder::TASK => {
            let number = holder >> 2;
            let suspended = |kept| thread.as_ref().is_some_and(|thread| thread.suspended.contains(number, kept));
            number == task || kept.is_some_and(suspended)
        }
        Holder::CALL => kept.zip(Holder::calls_here(holder)).is_some_and(|(kept, at)| at <= kept && !goes_on(at)),
        Holder::PLAIN => kept.zip(Holder::calls_here(holder)).is_some_and(|(kept, at)| at < kept),
        _ => false,
    };
    let all = crate::sys::sync::plain_lock(&ALL);
    let held = all.iter().find(|record| {
        record.lock.load(Ordering::Acquire) & !FLAGS == lock && holds(record.holder.load(Ordering::Relaxed))
    });
    held.and_then(|record| record.place())
}

/// Where the guards of `lock` were taken that there are, and who holds each, for reports.
#[cfg(not(loom))]
pub fn readers(lock: usize, threads: &Threads<'_>) -> Vec<(&'static Location<'static>, String)> {
    let all = crate::sys::sync::plain_lock(&ALL).clone();
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
        Some((record.place()?, holder))
    })
    .collect()
}

/// Whether the caller is about to read `lock` again: it holds a guard, or something on its own stack does that cannot go on
/// before the caller has. Of guards that were themselves taken in this way none counts: else the branches of one task,
/// which read by turns and without end, would vouch for each other.
pub fn reads_again(lock: usize) -> bool {
    let (current, task) = (Holder::current(), activation::task());
    let on_stack = waits_on_stack();
    let foreign = if task == 0 || on_stack { reactor::task_id() } else { None };
    let thread = Thread::get();
    let holds = |holder: u64| match (holder & 3, holder >> 2) {
        _ if holder == Holder::NOBODY => false,
        (Holder::FOREIGN, number) => foreign == Some(number),
        (Holder::TASK, number) => {
            let suspended = |thread: &Rc<Thread>| thread.suspended.contains(number, usize::MAX);
            number == task || on_stack && thread.as_ref().is_some_and(suspended)
        }
        _ => (on_stack || matches!(current & 3, Holder::CALL | Holder::PLAIN)) && Holder::calls_here(holder).is_some(),
    };
    let all = crate::sys::sync::plain_lock(&ALL);
    all.iter().any(|record| {
        let value = record.lock.load(Ordering::Acquire);
        value & !LET_PAST == lock && holds(record.holder.load(Ordering::Relaxed))
    })
}

/// A reader that waited for `lock` is let past: the sections of the same holder that are in count as begun at `now`, for they
/// may have waited for it. Says whether there are any.
pub fn waited(lock: usize, holder: u64, now: u64) -> bool {
    let mut any = false;
    for record in &*crate::sys::sync::plain_lock(&ALL) {
        let value = record.lock.load(Ordering::Acquire);
        if value & !FLAGS == lock && Holder::who(record.holder.load(Ordering::Relaxed)) == holder {
            any = true;
            record.since.store(now, Ordering::Relaxed);
            // It may end meanwhile, on another thread: then its time is of no use.
            if value & FLAGS == 0 {
                let _ = record.lock.compare_exchange(value, value | LET_PAST, Ordering::Release, Ordering::Relaxed);
            }
        }
    }
    any
}

/// Whether what runs now keeps the stack: it is, or is within, a blocking call that was made since the last loop dispatched
/// something, or a lower call that is polled. Else it is a task that will return to its loop, or no code of ours.
fn waits_on_stack() -> bool {
    !matches!(Thread::kept_here(), Kept::Nothing(_))
}
