//! What a thread publishes about itself: its calls, what its loop runs, whether it sleeps; and what an observer (a
//! report or the watchdog) concludes from it.
//!
//! There is one [`Board`] per thread. A call marks itself as being on the stack in one byte, and records neither the
//! start nor the end of its first poll, so that a ready call pays nothing. To see whether a thread moves, an observer
//! sets the bit [`LOOKED`] in a value that the thread overwrites with its next call, dispatch or sleep. If the bit is
//! still set at the next look, the thread has begun nothing since.
//!
//! Limits: a loop of calls that are ready at once, inside one bottom half, counts as one bottom half that has not
//! returned (which is true). And if the loop runs something that is neither a poll, a task, a bottom half nor a handler
//! (a waker, the destructor of something else), observers cannot tell it from the loop itself.

use std::{
    panic::Location,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::record::{Record, Slot, Static, lock, now};
use crate::sys::registry::Registry;

/// Set by an observer, cleared when the thread begins something.
pub const LOOKED: u8 = 1 << 1;
/// Like [`LOOKED`], set by the watchdog when it has printed this.
pub const REPORTED: u8 = 1 << 2;

/// The layout of [`Board::running`]. Above the two bits come the kind of what the loop runs, whether a bottom half or
/// handler is on the stack, the number of calls on the stack outside it, and the number of things that loops run on the
/// stack.
const KIND: usize = 3;
const CALLBACK: usize = 1 << 5;
const BELOW: usize = 6;
const COUNT: usize = 18;

/// The name under which reports show the function whose condition [`Board::decide`] runs.
pub const POLL_WHILE: &str = "AioContext::poll_while";
/// The kind of [`Board::condition`].
const CONDITION: usize = 1 << KIND;

/// What a thread's loop runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Runs {
    /// A task is polled or dropped.
    Task = 1,
    /// A bottom half or a descriptor's handler.
    Callback = 2,
    /// The future of an outer call that waits.
    OuterCall = 3,
}

/// One thread, as observers see it.
pub struct Board {
    pub number: u64,
    /// The thread's name in messages.
    pub name: Arc<str>,
    /// What its innermost loop runs; 0 if nothing.
    running: AtomicUsize,
    /// The condition that its innermost `poll_while` is running: laid out like `running`, with the count that `running`
    /// had. The next field says where that `poll_while` was called.
    condition: AtomicUsize,
    condition_site: Static<Location<'static>>,
    /// Whether it sleeps (bit 0).
    parked: AtomicU8,
    /// The dispatch count, plus one, at which calls are meant to wait long; see [`Board::expect_long`].
    expects_long: AtomicUsize,
    /// The slots of the calls on its stack, outermost first, followed by spare ones.
    calls: Mutex<Vec<Arc<Slot>>>,
    /// The slots of functions that wait without being calls, such as `poll_while`; those of coroutines with stacks of
    /// their own; and spare ones.
    others: Mutex<Vec<Arc<Slot>>>,
    /// What observers saw at the last look. The thread itself does not use it.
    last: Mutex<Look>,
}

/// What a thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It sleeps in our code, or looks for something to run.
    Waiting,
    /// Nothing of ours is on its stack, except perhaps an `AioContext::poll`.
    Elsewhere,
    /// Its innermost call is at this depth, and the call's future is being polled after this many finished polls.
    Polling { depth: usize, polls: u64 },
    /// It runs the condition of a `poll_while`, inside this many calls.
    Deciding { depth: usize },
    /// It runs this, inside this many calls.
    Running { what: Runs, depth: usize },
}

/// The result of one look.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub doing: Doing,
    /// When this was first seen, on the clock of `now`.
    since: u64,
    /// Whether the look before saw the same and the thread has not moved since.
    pub again: bool,
}

impl Look {
    /// How long this has lasted, at least.
    pub fn lasted(&self) -> Duration {
        Duration::from_nanos(now().saturating_sub(self.since))
    }
}

/// The boards of all threads.
static ALL: Registry<Board> = Registry::new();

/// The boards of all threads, in the order of their numbers.
pub fn all() -> Vec<Arc<Board>> {
    let mut boards: Vec<_> = ALL.all().into_iter().map(|(_, board)| board).collect();
    boards.sort_by_key(|board| board.number);
    boards
}

/// A value of [`Board::running`] or [`Board::condition`].
#[derive(Clone, Copy, Debug)]
pub struct Run(usize);

impl Run {
    /// How many calls are on the stack outside what runs.
    pub fn calls(self) -> usize {
        self.0 >> BELOW & ((1 << (COUNT - BELOW)) - 1)
    }

    /// What runs, if anything does.
    pub fn what(self) -> Option<Runs> {
        [Runs::Task, Runs::Callback, Runs::OuterCall].into_iter().find(|what| self.0 >> KIND & 3 == *what as usize)
    }
}

/// Methods for the board's own thread.
impl Board {
    /// A thread's board; observers see it while this lives.
    pub fn new(number: u64, name: String) -> Arc<Self> {
        let board = Arc::new(Self {
            number,
            name: name.into(),
            running: AtomicUsize::new(0),
            condition: AtomicUsize::new(0),
            condition_site: Static::nothing(),
            parked: AtomicU8::new(0),
            expects_long: AtomicUsize::new(0),
            calls: Mutex::default(),
            others: Mutex::default(),
            last: Mutex::new(Look { doing: Doing::Waiting, since: 0, again: false }),
        });
        ALL.register(&board.name, Arc::downgrade(&board));
        board
    }

    /// Adds the slot for calls that are one deeper than those before.
    pub fn add_call(&self, slot: &Arc<Slot>) {
        lock(&self.calls).push(Arc::clone(slot));
    }

    pub fn add_other(&self, slot: &Arc<Slot>) {
        lock(&self.others).push(Arc::clone(slot));
    }

    /// Removes a coroutine's slot.
    #[cfg(feature = "coroutine")]
    pub fn remove_other(&self, slot: &Arc<Slot>) {
        let mut others = lock(&self.others);
        if let Some(at) = others.iter().rposition(|other| Arc::ptr_eq(other, slot)) {
            others.swap_remove(at);
        }
    }

    /// Records that a loop runs `what`, inside `depth` calls. Returns what ran before, to end it
    /// with.
    #[inline]
    pub fn run(&self, what: Runs, depth: usize) -> Run {
        let outer = self.running.load(Ordering::Relaxed);
        let callback = if what == Runs::Callback { CALLBACK } else { outer & CALLBACK };
        let count = (outer >> COUNT << COUNT) + (1 << COUNT);
        self.running.store(count | depth << BELOW | callback | (what as usize) << KIND, Ordering::Relaxed);
        Run(outer)
    }

    /// What the innermost loop runs.
    pub fn running(&self) -> Run {
        Run(self.running.load(Ordering::Relaxed))
    }

    /// Ends [`run`](Self::run); `outer` is what ran before.
    #[inline]
    pub fn end_run(&self, outer: Run) {
        self.running.store(outer.0 & !usize::from(LOOKED | REPORTED), Ordering::Relaxed);
    }

    /// How many tasks, bottom halves, handlers and outer calls are being run by loops on the stack.
    #[inline]
    pub fn runs(&self) -> usize {
        self.running.load(Ordering::Relaxed) >> COUNT
    }

    /// Runs the condition of a `poll_while` that was called at `site`, inside `depth` calls.
    pub fn decide(&self, site: &'static Location<'static>, depth: usize, condition: &mut dyn FnMut() -> bool) -> bool {
        struct Decided<'a>(&'a Board, usize, Option<&'static Location<'static>>);
        impl Drop for Decided<'_> {
            fn drop(&mut self) {
                let Self(board, outer, site) = self;
                site.iter().for_each(|site| board.condition_site.set(site));
                board.condition.store(*outer & !usize::from(LOOKED | REPORTED), Ordering::Relaxed);
            }
        }

        let count = self.running.load(Ordering::Relaxed) >> COUNT;
        let _decided = Decided(self, self.condition.load(Ordering::Relaxed), self.condition_site.get());
        self.condition_site.set(site);
        self.condition.store(count << COUNT | depth << BELOW | CONDITION, Ordering::Relaxed);
        condition()
    }

    /// The innermost of the functions that wait without being calls.
    pub fn innermost_poll(&self) -> Option<Arc<Slot>> {
        let others = lock(&self.others);
        others
            .iter()
            .filter(|poll| poll.record.level() > 0 && !poll.is_of_coroutine())
            .max_by_key(|poll| poll.record.level())
            .cloned()
    }

    /// Whether a bottom half or handler is on the stack.
    #[inline]
    pub fn runs_callback(&self) -> bool {
        self.running.load(Ordering::Relaxed) & CALLBACK != 0
    }

    /// Calls `park`, which puts the thread to sleep, and shows it as sleeping meanwhile.
    pub fn parked(&self, park: impl FnOnce()) {
        struct Awake<'a>(&'a Board);
        impl Drop for Awake<'_> {
            fn drop(&mut self) {
                self.0.parked.store(0, Ordering::Relaxed);
            }
        }

        self.parked.store(1, Ordering::Relaxed);
        let _awake = Awake(self);
        park();
    }

    /// Marks the calls that begin until [`end_expect_long`](Self::end_expect_long) as meant to wait long, or with
    /// `long` false as not meant to, except those made in what a loop runs meanwhile. Returns the value to end it with.
    #[inline]
    pub fn expect_long(&self, long: bool) -> usize {
        let outer = self.expects_long.load(Ordering::Relaxed);
        self.expects_long.store(if long { self.runs() + 1 } else { 0 }, Ordering::Relaxed);
        outer
    }

    /// Ends [`expect_long`](Self::expect_long); `outer` is the value it returned.
    #[inline]
    pub fn end_expect_long(&self, outer: usize) {
        self.expects_long.store(outer, Ordering::Relaxed);
    }

    /// Whether a call that begins now is meant to wait long. From other threads: whether the innermost call is.
    #[inline]
    pub fn expects_long(&self) -> bool {
        self.expects_long.load(Ordering::Relaxed) == self.runs() + 1
    }
}

/// Methods for observers.
impl Board {
    /// The calls and polls that publish themselves, in no order.
    pub fn shown(&self) -> Vec<Arc<Slot>> {
        let calls = lock(&self.calls).clone();
        let others = lock(&self.others).clone();
        calls.into_iter().chain(others.into_iter().filter(|other| !other.is_suspended())).collect()
    }

    /// The calls that have suspended their coroutines.
    #[cfg(feature = "coroutine")]
    pub fn suspended(&self) -> Vec<Arc<Slot>> {
        lock(&self.others).iter().filter(|other| other.is_suspended()).cloned().collect()
    }

    /// The outermost `most` calls on the stack, outermost first.
    pub fn on_stack(&self, most: usize) -> Vec<Arc<Slot>> {
        let (calls, others) = (lock(&self.calls), lock(&self.others));
        let is_on_stack = |call: &&Arc<Slot>| call.record.is_on_stack();
        // One that is made in a coroutine has the coroutine's slot instead of the list's.
        let of_coroutine = |at| others.iter().find(|call| call.record.is_at(at)).filter(is_on_stack);
        let call = |at| of_coroutine(at).or_else(|| calls.get(at).filter(is_on_stack)).cloned();
        (0..most).map_while(call).collect()
    }

    pub fn is_parked(&self) -> bool {
        self.parked.load(Ordering::Relaxed) & 1 != 0
    }

    /// Determines what the thread does, and whether it has moved since the last look.
    pub fn look(&self) -> Look {
        let mut last = lock(&self.last);
        let (doing, unmoved) = self.doing();
        *last = if unmoved && last.doing == doing {
            Look { again: true, ..*last }
        } else {
            Look { doing, since: now(), again: false }
        };
        *last
    }

    fn doing(&self) -> (Doing, bool) {
        let looked = usize::from(LOOKED);
        let running = self.running.fetch_or(looked, Ordering::Relaxed);
        let parked = self.parked.fetch_or(LOOKED, Ordering::Relaxed);
        let condition = self.condition.fetch_or(looked, Ordering::Relaxed);
        let mut stack = self.on_stack(usize::MAX);
        let depth = stack.len();
        if parked & 1 != 0 {
            return (Doing::Waiting, false);
        }
        let decides = condition & CONDITION != 0 && condition >> COUNT == running >> COUNT;
        match Run(running).what() {
            _ if decides && Run(condition).calls() == depth => (Doing::Deciding { depth }, condition & looked != 0),
            Some(what) if Run(running).calls() == depth => (Doing::Running { what, depth }, running & looked != 0),
            _ => match stack.pop() {
                // Unmoved if it has neither slept nor run anything for its contexts.
                None => (Doing::Elsewhere, running & looked != 0 && parked & LOOKED != 0),
                Some(call) => {
                    let unmoved = call.record.mark(LOOKED);
                    match call.record.poll_in_progress() {
                        Some(polls) => (Doing::Polling { depth, polls }, unmoved),
                        None => (Doing::Waiting, false),
                    }
                }
            },
        }
    }

    /// Where the `poll_while` that is running its condition was called.
    pub fn condition_site(&self) -> Option<&'static Location<'static>> {
        self.condition_site.get()
    }

    /// Whether the watchdog has not reported this condition yet. Marks it as reported.
    pub fn is_condition_news(&self) -> bool {
        let reported = usize::from(REPORTED);
        self.condition.fetch_or(reported, Ordering::Relaxed) & reported == 0
    }

    /// Whether the watchdog has not reported what the thread runs now. Marks it as reported.
    pub fn is_news(&self) -> bool {
        let reported = usize::from(REPORTED);
        self.running.fetch_or(reported, Ordering::Relaxed) & reported == 0
    }
}

impl Record {
    /// Whether the watchdog has not reported this call yet. Marks it as reported.
    pub fn is_news(&self) -> bool {
        !self.mark(REPORTED)
    }
}
