//! The activation stack: what is on one stack of machine frames, from the outermost blocking call to what runs now.
//!
//! Its entries are *calls*, one slot each, and what the loops of waiting calls run: *tasks*, *callbacks* and the
//! futures of *outer calls*. Invariant: entries end in reverse order. So an entry may live in the machine frame that
//! made it, and calls of the same depth may reuse a slot. Other files ask this one which code can go on before the
//! current code has returned.
//!
//! The mark and the task of the current code are in `tasks/activation.rs`, because modules below this one need them. An
//! entry keeps the mark and the task of the code that it interrupts.

use std::{
    cell::{Cell, RefCell},
    ptr::NonNull,
    sync::Arc,
};

#[cfg(feature = "coroutine")]
use std::cell::UnsafeCell;

use super::waiting;
use crate::{
    tasks::activation::{self, Activation, Interrupted, Mark},
    watch::{
        board::{Board, Run, Runs},
        record::Slot,
    },
};

/// How many calls on a stack can go on only when the current code has returned. Calls are counted from the outermost.
#[cfg(feature = "graph")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// None: a loop runs the current code, as a task or callback. The number says how many calls the loop is inside.
    Nothing(usize),
    /// The outermost ones, up to this number: the current code is an outer call that is polled. The frames nested
    /// inside that call can go on when it is pending.
    UpTo(usize),
    /// All of them, this number: the current code is the innermost call, or runs within it.
    All(usize),
}

pub struct Stack {
    /// What observers see of it, and of its thread.
    pub board: Arc<Board>,
    /// How many blocking calls there are.
    depth: Cell<usize>,
    /// The first `depth` slots belong to these calls, innermost last; the rest are for the next calls. So entering and
    /// leaving a call moves nothing.
    slots: RefCell<Vec<Arc<Slot>>>,
    /// The slot that the next call takes, if there is one. Kept at hand, so that the call's writes wait for no other
    /// pointer.
    next: Cell<Option<NonNull<Slot>>>,
    /// How many calls are shown to observers, counted from the outermost.
    shown: Cell<usize>,
    /// A call with fewer outer calls than this takes a slow path when it ends: a call that is shown must be hidden, and
    /// in a late block any call may be the one that ends the block.
    attended: Cell<usize>,
    /// How many functions are shown that wait without being calls.
    pub polls: Cell<usize>,
    /// What loops run while they interrupt a task, innermost first.
    dispatched: Cell<Link>,
    /// If the innermost loop polls an outer call: how many calls there are up to and including that one.
    polled_outer: Cell<usize>,
    /// The calls whose loops run, innermost first.
    pub waiting: waiting::List,
    /// How many of the items that loops run were held back and then taken by a nested wait; see `serve.rs`.
    pub taken: Cell<u32>,
    /// The write guards of the graph lock. (They may be dropped in any order.)
    #[cfg(feature = "graph")]
    pub writing: RefCell<Vec<Writing>>,
    /// How many read guards of the graph lock were taken in calls.
    #[cfg(feature = "graph")]
    reads: Cell<u64>,
    /// The innermost coroutine with a stack of its own; see `coroutine.rs`.
    pub root: Cell<Root>,
    /// Of the task that a loop polls: whether a coroutine in it was resumed because something had run in a context, and
    /// waits for that again. False again when a call has ended for which the task blocked.
    #[cfg(feature = "coroutine")]
    pub waited_again: Cell<bool>,
    /// In how many of the tasks that the innermost loop has polled coroutines only waited again; see `poll_loop/ran.rs`.
    #[cfg(feature = "coroutine")]
    pub waited_items: Cell<usize>,
    /// How many coroutines wait for what runs in a context.
    #[cfg(feature = "coroutine")]
    pub watching: Cell<usize>,
}

/// A write guard of the graph lock.
#[cfg(feature = "graph")]
#[derive(Clone, Copy, Debug)]
pub struct Writing {
    /// Where it was taken.
    pub place: &'static std::panic::Location<'static>,
    /// How many calls there were then.
    pub calls: usize,
    /// The number of the coroutine with a stack of its own that took it; 0 if none did.
    pub coroutine: u64,
}

/// Where on the stack a coroutine with a stack of its own was resumed.
#[derive(Clone, Copy, Default)]
pub struct Root {
    /// Its number among the coroutines of its thread; 0 if there is none.
    pub coroutine: u64,
    /// How many calls are outside it.
    pub calls: usize,
    /// How many things loops run, itself included.
    pub runs: usize,
}

/// Something that a loop runs, in the frame of that loop.
pub struct Entry {
    /// How many calls are outside it.
    #[cfg_attr(not(feature = "graph"), expect(dead_code, reason = "only the graph lock asks for interrupted tasks"))]
    calls: usize,
    /// What ran before, as observers saw it.
    outer: Run,
    /// The mark and the task of the code that it interrupts, which waits until this has returned.
    interrupts: Interrupted,
    below: Link,
}

type Link = Option<NonNull<Entry>>;

/// An entry is on the stack while this lives.
struct Entered<'a> {
    stack: &'a Stack,
    entry: &'a Entry,
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        let Self { stack, entry } = self;
        if entry.interrupts.is_task() {
            stack.dispatched.set(entry.below);
        }
        stack.board.end_run(entry.outer);
        activation::restore(entry.interrupts);
    }
}

/// Entering and leaving.
impl Stack {
    pub fn new(board: Arc<Board>) -> Self {
        Self {
            board,
            depth: Cell::new(0),
            slots: RefCell::default(),
            next: Cell::new(None),
            shown: Cell::new(0),
            attended: Cell::new(0),
            polls: Cell::new(0),
            dispatched: Cell::new(None),
            polled_outer: Cell::new(0),
            waiting: waiting::List::default(),
            taken: Cell::new(0),
            #[cfg(feature = "graph")]
            writing: RefCell::default(),
            #[cfg(feature = "graph")]
            reads: Cell::new(0),
            root: Cell::default(),
            #[cfg(feature = "coroutine")]
            waited_again: Cell::new(false),
            #[cfg(feature = "coroutine")]
            watching: Cell::new(0),
            #[cfg(feature = "coroutine")]
            waited_items: Cell::new(0),
        }
    }

    /// How many blocking calls there are.
    #[inline]
    pub fn depth(&self) -> usize {
        self.depth.get()
    }

    /// The slot that the next call takes.
    #[inline]
    pub fn next(&self) -> Option<NonNull<Slot>> {
        self.next.get()
    }

    /// A call has taken that slot.
    #[inline]
    pub fn push(&self) {
        let depth = self.depth.get() + 1;
        self.depth.set(depth);
        self.next.set(self.slot_at(depth));
    }

    /// The innermost call, whose slot this is, has ended. Returns whether it must be attended to.
    #[inline]
    pub fn pop(&self, slot: NonNull<Slot>) -> bool {
        let depth = self.depth.get() - 1;
        self.depth.set(depth);
        self.next.set(Some(slot));
        self.attended.get() > depth
    }

    /// Adds a slot for calls that are one deeper than those before.
    pub fn add(&self, slot: Arc<Slot>) -> NonNull<Slot> {
        let added = NonNull::from(&*slot);
        self.slots.borrow_mut().push(slot);
        added
    }

    /// The slot at `depth`, if there is one.
    #[inline]
    fn slot_at(&self, depth: usize) -> Option<NonNull<Slot>> {
        // SAFETY: nothing in this function changes `slots` while the borrow lasts.
        let slots = unsafe { self.slots.try_borrow_unguarded() };
        slots.ok()?.get(depth).map(|slot| NonNull::from(&**slot))
    }

    /// Runs `what` as the kind `runs`, with the mark `mark`, nested inside everything that is on the stack.
    #[inline(always)]
    pub fn dispatch<R>(&self, runs: Runs, mark: Mark, what: impl FnOnce() -> R) -> R {
        let interrupts = activation::interrupt(mark);
        let calls = self.depth();
        let outer = self.board.run(runs, calls);
        let entry = Entry { calls, outer, interrupts, below: self.dispatched.get() };
        // Only interrupted tasks are searched for, so most dispatches need no link.
        if interrupts.is_task() {
            self.dispatched.set(Some(NonNull::from(&entry)));
        }
        let _entered = Entered { stack: self, entry: &entry };
        what()
    }

    /// Calls `go_on`, which polls or gives up the `depth`-th call, an outer one. Meanwhile the activation is `polled`.
    pub fn dispatch_outer(&self, depth: usize, polled: Activation, go_on: impl FnOnce()) {
        let outer = Activation::current();
        let outer_call = self.polled_outer.replace(depth);
        self.dispatch(Runs::OuterCall, Mark::NONE, || {
            polled.set();
            go_on();
            outer.set();
        });
        self.polled_outer.set(outer_call);
    }

    /// How many calls are shown to observers, counted from the outermost.
    pub fn shown(&self) -> usize {
        self.shown.get()
    }

    /// `all`: every call must be attended to when it ends.
    pub fn set_shown(&self, shown: usize, all: bool) {
        self.shown.set(shown);
        self.attended.set(if all { usize::MAX } else { shown });
    }
}

#[cfg(feature = "coroutine")]
impl Stack {
    /// A task was polled in which a coroutine waits again.
    #[cold]
    pub fn count_waited(&self) {
        self.waited_again.set(false);
        self.waited_items.update(|n| n + 1);
    }
}

/// For coroutines with stacks of their own, which take their calls and guards off and put them back.
#[cfg(feature = "coroutine")]
impl Stack {
    /// Exchanges the slot of the calls inside `calls` others for `slot`. `in_call`: such a call is on the stack now, as
    /// the innermost one; otherwise none is.
    #[inline(always)]
    pub fn exchange(&self, slot: &UnsafeCell<Arc<Slot>>, calls: usize, in_call: bool) {
        // SAFETY: borrows of either end in the function that makes them, in this file or in `coroutine.rs`. None of these
        // calls this function, and this one calls nothing that uses either.
        let (slots, slot) = unsafe { (&mut *self.slots.as_ptr(), &mut *slot.get()) };
        let next = if in_call { slots.get(calls + 1) } else { Some(&*slot) };
        let next = next.map(|next| NonNull::from(&**next));
        std::mem::swap(&mut slots[calls], slot);
        self.depth.set(calls + usize::from(in_call));
        self.next.set(next);
    }

    /// Puts back the write guards of a coroutine that runs inside `calls` calls.
    #[cfg(feature = "graph")]
    #[cold]
    pub fn put_back(&self, guards: &mut Vec<Writing>, calls: usize) {
        let back = guards.drain(..).map(|guard| Writing { calls: guard.calls + calls, ..guard });
        self.writing.borrow_mut().extend(back);
    }

    /// Takes off the write guards after the first `others`, of a coroutine that ran inside `calls` calls.
    #[cfg(feature = "graph")]
    #[cold]
    pub fn take_from(&self, others: usize, guards: &mut Vec<Writing>, calls: usize) {
        let mut writing = self.writing.borrow_mut();
        guards.extend(writing.drain(others..).map(|guard| Writing { calls: guard.calls - calls, ..guard }));
    }
}

/// Questions.
impl Stack {
    /// What loops run in the middle of tasks, innermost first.
    #[cfg(feature = "graph")]
    fn interruptions(&self) -> impl Iterator<Item = &Entry> {
        let mut next = self.dispatched.get();
        std::iter::from_fn(move || {
            // SAFETY: an entry is on the stack only while its `Entered` borrows it, and those of the frames outside the
            // caller's live as long as the caller does.
            let entry = unsafe { next?.as_ref() };
            next = entry.below;
            Some(entry)
        })
    }

    /// What the loop of the innermost of `depth` calls runs, if anything.
    pub fn runs_above(&self, depth: usize) -> Option<Runs> {
        let run = self.board.running();
        run.what().filter(|_| run.calls() == depth)
    }

    /// The call with `at` calls outside it.
    pub fn call(&self, at: usize) -> Arc<Slot> {
        Arc::clone(&self.slots.borrow()[at])
    }

    /// The innermost call.
    pub fn innermost(&self) -> Option<Arc<Slot>> {
        self.depth().checked_sub(1).map(|at| self.call(at))
    }

    /// The call whose future is the coroutine in which the code inside `depth` calls runs; `None` if that is a task.
    pub fn coroutine(&self, depth: usize) -> Option<Arc<Slot>> {
        let calls = match self.runs_above(depth) {
            Some(Runs::OuterCall) => self.polled_outer.get(),
            Some(Runs::Task | Runs::Callback) => 0,
            None => depth,
        };
        calls.checked_sub(1).map(|at| self.call(at))
    }

    /// Whether a bottom half or handler waits in a frame outside the innermost call.
    pub fn outer_callback_waits(&self) -> bool {
        let below = self.depth().checked_sub(2);
        below.is_some_and(|at| self.slots.borrow()[at].record.callback_waits())
    }

    /// Whether a wait of the current code suspends a coroutine with a stack of its own, and keeps no stack: it is the
    /// coroutine's code, or the future of a call that this has made.
    #[cfg(feature = "graph")]
    pub fn is_at_root(&self) -> bool {
        let Root { coroutine, calls, runs } = self.root.get();
        coroutine != 0
            && self.board.runs() == runs
            && (self.depth() == calls || self.depth() == calls + 1 && activation::forbids_blocking())
    }

    /// How much is on the stack, counted from where the innermost coroutine was resumed.
    pub fn above_root(&self) -> Root {
        let Root { coroutine, calls, runs } = self.root.get();
        Root { coroutine, calls: self.depth() - calls, runs: self.board.runs() - runs }
    }

    /// Which part of the stack goes on only when the current code has returned.
    #[cfg(feature = "graph")]
    pub fn kept(&self) -> Kept {
        let depth = self.depth();
        match self.runs_above(depth) {
            Some(Runs::OuterCall) => Kept::UpTo(self.polled_outer.get()),
            // A call that suspends keeps nothing.
            None if depth > 0 && !self.is_at_root() => Kept::All(depth),
            _ => Kept::Nothing(depth),
        }
    }

    /// The current code takes a read guard of the graph lock. If it is the future of a call, returns how many calls
    /// there are up to and including that one, and a number that tells the guard from those that earlier calls have
    /// taken.
    #[cfg(feature = "graph")]
    #[inline]
    pub fn read_in_call(&self) -> Option<(usize, u64)> {
        let (Kept::UpTo(calls) | Kept::All(calls)) = self.kept() else { return None };
        let number = self.reads.get() + 1;
        self.reads.set(number);
        self.slots.borrow()[calls - 1].record.take_lock(number);
        Some((calls, number))
    }

    /// Whether the call that took the guard `number`, the `calls`-th then, can go on now.
    #[cfg(feature = "graph")]
    pub fn reader_can_go_on(&self, calls: usize, number: u64) -> bool {
        self.waiting.all().can_go_on(calls) && self.call(calls - 1).record.has_taken_lock(number)
    }

    /// Whether `task` began to wait with at most `calls` calls on the stack, and waits until the current code has
    /// returned.
    #[cfg(feature = "graph")]
    pub fn is_suspended(&self, task: u64, calls: usize) -> bool {
        self.interruptions().any(|entry| entry.interrupts.task() == task && entry.calls <= calls)
    }
}
