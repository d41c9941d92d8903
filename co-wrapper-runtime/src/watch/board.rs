//! What a thread shows of itself: its calls, what its loop runs, whether it sleeps; and what that says to who looks.
//!
//! One [`Board`] a thread. A call says that it is on the stack, in a byte of its own, and says nothing when its first poll
//! begins or ends. So whoever looks leaves a bit ([`LOOKED`]) in what the thread writes over with the next call,
//! dispatch or sleep. A bit that is still there at the next look says that nothing new has begun: the thread is where it was.
//!
//! What this cannot see: a loop of calls that are ready at once, inside one bottom half, counts as one bottom half that has
//! not returned, as it is; and what a loop runs that is neither a poll, a task, a bottom half nor a handler (a waker, the
//! destructor of something else) is not told apart from the loop.

use std::{
    panic::Location,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::record::{Record, Slot, Static, lock, now};

/// Set by who looks, cleared by what the thread begins next.
pub const LOOKED: u8 = 1 << 1;
/// The same, when the watchdog has printed it.
pub const REPORTED: u8 = 1 << 2;

/// What a loop runs, in [`Board::running`]: above the two bits stand the kind, whether a bottom half or handler is on the
/// stack, how many calls are below what runs, and how many of the like are on the stack.
const KIND: usize = 3;
const CALLBACK: usize = 1 << 5;
const BELOW: usize = 6;
const COUNT: usize = 18;

/// How reports name the function whose condition is [`Board::decide`]'s.
pub const POLL_WHILE: &str = "AioContext::poll_while";
/// The kind of a condition, in [`Board::condition`].
const CONDITION: usize = 1 << KIND;

/// What a thread's loop runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Runs {
    /// A task is polled or dropped.
    Task = 1,
    /// A bottom half or a descriptor's handler.
    Callback = 2,
    /// The future of a call that waits lower on its stack.
    LowerCall = 3,
}

/// One thread, as others see it.
pub struct Board {
    pub number: u64,
    /// The thread, as messages name it.
    pub name: String,
    /// What its innermost loop runs, nothing at first.
    running: AtomicUsize,
    /// What its innermost `poll_while` decides by, while that runs: in the form of `running`, with the count of that. And
    /// where that was called.
    condition: AtomicUsize,
    condition_site: Static<Location<'static>>,
    /// Whether it sleeps.
    parked: AtomicU8,
    /// From here on up, and no further than to the next dispatch, calls are meant to wait: see [`Board::expect_long`].
    expects_long: AtomicUsize,
    /// The calls that are on its stack, outermost first, and spare ones.
    calls: Mutex<Vec<Arc<Slot>>>,
    /// Those of functions that wait without being on the list of calls.
    polls: Mutex<Vec<Arc<Slot>>>,
    /// The others' own: what was seen at the last look.
    last: Mutex<Look>,
}

/// Where a thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It sleeps in our hands, or looks for something to run.
    Waiting,
    /// Nothing of ours is on its stack, or nothing but a poll of its own.
    Elsewhere,
    /// The call at that depth is the innermost, and its future is being polled after so many polls.
    Polling { depth: usize, polls: u64 },
    /// It runs the condition of a `poll_while`, above so many calls.
    Deciding { depth: usize },
    /// It runs that, above so many calls.
    Running { what: Runs, depth: usize },
}

/// What was seen at a look.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub doing: Doing,
    /// Since when, as `now` counts.
    since: u64,
    /// Whether it was so at the look before, and the thread has not moved in between.
    pub again: bool,
}

impl Look {
    /// For how long, at least.
    pub fn lasted(&self) -> Duration {
        Duration::from_nanos(now().saturating_sub(self.since))
    }
}

static BOARDS: Mutex<Vec<Arc<Board>>> = Mutex::new(Vec::new());

/// A thread's board, to be seen while this lives.
pub struct Registered(Arc<Board>);

impl Registered {
    pub fn new(number: u64, name: String) -> Self {
        let board = Arc::new(Board {
            number,
            name,
            running: AtomicUsize::new(0),
            condition: AtomicUsize::new(0),
            condition_site: Static::nothing(),
            parked: AtomicU8::new(0),
            expects_long: AtomicUsize::new(0),
            calls: Mutex::default(),
            polls: Mutex::default(),
            last: Mutex::new(Look { doing: Doing::Waiting, since: 0, again: false }),
        });
        lock(&BOARDS).push(Arc::clone(&board));
        Self(board)
    }
}

impl std::ops::Deref for Registered {
    type Target = Board;

    #[inline]
    fn deref(&self) -> &Board {
        &self.0
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        lock(&BOARDS).retain(|board| !Arc::ptr_eq(board, &self.0));
    }
}

/// The boards of all threads, those that came first in front.
pub fn all() -> Vec<Arc<Board>> {
    let mut boards = lock(&BOARDS).clone();
    boards.sort_by_key(|board| board.number);
    boards
}

/// How many calls are below what runs.
fn below(running: usize) -> usize {
    running >> BELOW & ((1 << (COUNT - BELOW)) - 1)
}

/// What runs, if anything does.
fn kind(running: usize) -> Option<Runs> {
    [Runs::Task, Runs::Callback, Runs::LowerCall].into_iter().find(|what| running >> KIND & 3 == *what as usize)
}

/// A loop runs something while this lives.
pub struct Running<'a> {
    board: &'a Board,
    outer: usize,
}

impl Drop for Running<'_> {
    #[inline]
    fn drop(&mut self) {
        self.board.running.store(self.outer & !usize::from(LOOKED | REPORTED), Ordering::Relaxed);
    }
}

/// For the board's own thread.
impl Board {
    /// One more call's, which is that much deeper than the last one made.
    pub fn add_call(&self, slot: &Arc<Slot>) {
        lock(&self.calls).push(Arc::clone(slot));
    }

    pub fn add_poll(&self, slot: &Arc<Slot>) {
        lock(&self.polls).push(Arc::clone(slot));
    }

    /// A loop runs `what`, above `depth` calls, until the guard is dropped.
    #[inline]
    pub fn run(&self, what: Runs, depth: usize) -> Running<'_> {
        let outer = self.running.load(Ordering::Relaxed);
        let callback = if what == Runs::Callback { CALLBACK } else { outer & CALLBACK };
        let count = (outer >> COUNT) + 1;
        self.running.store(count << COUNT | depth << BELOW | callback | (what as usize) << KIND, Ordering::Relaxed);
        Running { board: self, outer }
    }

    /// How many tasks, bottom halves, handlers and lower calls loops run on the stack.
    #[inline]
    pub fn runs(&self) -> usize {
        self.running.load(Ordering::Relaxed) >> COUNT
    }

    /// Runs the condition of a `poll_while` that was called at `site`, above `depth` calls.
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

    /// What a loop runs above so many calls, and no more.
    pub fn runs_above(&self, depth: usize) -> Option<Runs> {
        let running = self.running.load(Ordering::Relaxed);
        kind(running).filter(|_| below(running) == depth)
    }

    /// The innermost of the functions that wait without being on the list of calls.
    pub fn innermost_poll(&self) -> Option<Arc<Slot>> {
        let polls = lock(&self.polls);
        polls.iter().filter(|poll| poll.record.level() > 0).max_by_key(|poll| poll.record.level()).cloned()
    }

    /// Whether a bottom half or handler is on the stack.
    #[inline]
    pub fn runs_callback(&self) -> bool {
        self.running.load(Ordering::Relaxed) & CALLBACK != 0
    }

    /// Runs `park`, which puts the thread to sleep.
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

    /// Calls that begin from now on are meant to wait for long, until the guard is dropped, but not those of what a loop
    /// runs meanwhile.
    pub fn expect_long(&self) -> usize {
        self.expects_long.swap(self.runs() + 1, Ordering::Relaxed)
    }

    /// Ends that; `outer` is what it gave.
    pub fn end_expect_long(&self, outer: usize) {
        self.expects_long.store(outer, Ordering::Relaxed);
    }

    /// Whether a call that begins now is meant to wait for long. (From any thread: whether the innermost is.)
    pub fn expects_long(&self) -> bool {
        self.expects_long.load(Ordering::Relaxed) == self.runs() + 1
    }
}

/// For who looks.
impl Board {
    /// The calls that show themselves, in no order.
    pub fn shown(&self) -> Vec<Arc<Slot>> {
        let calls = lock(&self.calls).clone();
        let polls = lock(&self.polls).clone();
        calls.into_iter().chain(polls).collect()
    }

    /// The calls on the stack, outermost first, `most` of them at most.
    pub fn on_stack(&self, most: usize) -> Vec<Arc<Slot>> {
        let calls = lock(&self.calls);
        calls.iter().take(most).take_while(|call| call.record.is_on_stack()).cloned().collect()
    }

    pub fn is_parked(&self) -> bool {
        self.parked.load(Ordering::Relaxed) & 1 != 0
    }

    /// Looks where the thread is, and whether it has moved since the last look.
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
        match kind(running) {
            _ if decides && below(condition) == depth => (Doing::Deciding { depth }, condition & looked != 0),
            Some(what) if below(running) == depth => (Doing::Running { what, depth }, running & looked != 0),
            _ => match stack.pop() {
                // Neither slept nor ran anything for its contexts.
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

    /// Where the `poll_while` was called that decides.
    pub fn condition_site(&self) -> Option<&'static Location<'static>> {
        self.condition_site.get()
    }

    /// Whether that condition is news to the watchdog; not any more, afterwards.
    pub fn is_condition_news(&self) -> bool {
        let reported = usize::from(REPORTED);
        self.condition.fetch_or(reported, Ordering::Relaxed) & reported == 0
    }

    /// Whether what the thread runs now is news to the watchdog; not any more, afterwards.
    pub fn is_news(&self) -> bool {
        let reported = usize::from(REPORTED);
        self.running.fetch_or(reported, Ordering::Relaxed) & reported == 0
    }
}

impl Record {
    /// Whether the call is news to the watchdog; not any more, afterwards.
    pub fn is_news(&self) -> bool {
        !self.mark(REPORTED)
    }
}
