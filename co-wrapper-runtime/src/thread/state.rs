//! What one thread knows: its frames, its marks, the contexts that it is home to.
//!
//! One block a thread, made on first use, reached through a thread-local that is never destroyed, so blocking calls work
//! in thread-local destructors too: there a late block serves one outermost call and goes with it.

use std::{
    cell::{Cell, RefCell},
    panic::Location,
    ptr::{self, NonNull},
    rc::Rc,
    sync::Arc,
};

use super::{homes, waiting};
use crate::{
    context::AioContext,
    scheduler::mailbox::Home,
    sys::{
        fork,
        park::{Parker, here},
    },
    tasks::unit::Suspended,
    watch::{
        board::{Registered, Runs},
        record::What,
        watchdog,
    },
};

pub use crate::watch::record::Slot;

/// Blocking calls, or polls within callbacks, on one stack, at most. So that endless recursion ends in a message rather
/// than the stack's end; 128 are promised on a 2 MiB stack.
pub const MOST_NESTED: usize = 256;

/// Which part of a stack goes on only when what runs there now has returned, in calls counted from the outermost.
#[cfg(feature = "graph")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// None: a task or callback that a loop above so many calls runs.
    Nothing(usize),
    /// So many: a lower call that is polled. What is above it goes on when it is pending.
    UpTo(usize),
    /// All, which are so many: the innermost call, or what runs within it.
    All(usize),
}

pub struct Thread {
    pub parker: Parker,
    /// How much of what loops run on this stack a nested wait took though it holds it back, see `serve.rs`.
    pub taken: Cell<u32>,
    /// How many blocking calls are on this stack.
    depth: Cell<usize>,
    /// So many slots are the calls' on this stack as it is deep, innermost last; the rest are for the next ones. One list
    /// that only grows, so that entering and leaving a call moves nothing.
    slots: RefCell<Vec<Arc<Slot>>>,
    /// The one that the next call takes, if there is one: what that call writes waits for no other pointer.
    next: Cell<Option<NonNull<Slot>>>,
    pub homes: RefCell<homes::Homes>,
    /// The tasks on this stack that wait for what runs now.
    pub suspended: Suspended,
    /// The calls on this stack whose loops run, innermost first.
    pub waiting: waiting::List,
    /// If the innermost loop runs one of them, which is lower on the stack: how many calls there are up to that one.
    pub lower: Cell<usize>,
    /// What hang reports see of this thread.
    pub board: Registered,
    /// So many calls at the bottom of the stack are shown there.
    shown: Cell<usize>,
    /// Whoever leaves with fewer calls than this below has more to do than to leave: those that are shown, and in a late
    /// block all.
    attended: Cell<usize>,
    /// Polls that are shown, which have no frame, and spare slots for more of them.
    polls: Cell<usize>,
    spare_polls: RefCell<Vec<Arc<Slot>>>,
    /// Made in a thread-local destructor, after the thread left its homes.
    late: bool,
}

/// A blocking call's place on its thread's stack. A scope: made and dropped in stack order. So what it points to is there:
/// a thread's block goes when no call is on its stack, and the slots of those that are stay in its list.
pub struct Place {
    thread: NonNull<Thread>,
    slot: NonNull<Slot>,
    /// How many calls are below it.
    below: usize,
}

impl Place {
    /// Puts a call of that name and place on this thread's stack.
    ///
    /// # Panics
    ///
    /// In a forked child; where [`MOST_NESTED`] are on it.
    #[inline]
    #[track_caller]
    pub fn push(name: &'static &'static str, site: &'static Location<'static>) -> Self {
        // No closure or function passed on: the caller's place would be lost there.
        let thread = match NonNull::new(THREAD.get().cast_mut()) {
            Some(thread) => thread,
            None => Thread::first_place(name),
        };
        // SAFETY: the thread-local's reference keeps it, and nothing below ends that.
        let this = unsafe { thread.as_ref() };
        let below = this.depth.get();
        if below >= MOST_NESTED {
            refuse_so_deep(name, site);
        }
        let slot = this.next.get().unwrap_or_else(|| this.add_slot());
        // SAFETY: in the list of slots.
        unsafe { slot.as_ref() }.begin(name, site, this.board.runs_callback());
        this.depth.set(below + 1);
        this.next.set(this.slot_at(below + 1));
        Self { thread, slot, below }
    }

    /// Its thread's block.
    #[inline]
    pub fn thread(&self) -> &Thread {
        // SAFETY: there while the call is on the stack.
        unsafe { self.thread.as_ref() }
    }

    /// How many calls are below it.
    pub fn depth(&self) -> usize {
        self.below
    }

    /// What it has of its thread.
    #[inline]
    pub fn slot(&self) -> &Slot {
        // SAFETY: in the list while the call is on the stack.
        unsafe { self.slot.as_ref() }
    }

    /// Hang reports see it no more; and a late block may end.
    #[cold]
    fn attend(&self) {
        let thread = self.thread();
        if thread.shown.get() > self.below {
            thread.set_shown(self.below);
            self.slot().record.hide();
        }
        if thread.late {
            end_if_late();
        }
    }
}

impl Drop for Place {
    #[inline]
    fn drop(&mut self) {
        let thread = self.thread();
        self.slot().end();
        thread.depth.set(self.below);
        thread.next.set(Some(self.slot));
        if thread.attended.get() > self.below {
            self.attend();
        }
    }
}

/// Ends this thread's block if it is late: out of line, and with a reference of its own.
#[cold]
fn end_if_late() {
    if let Some(thread) = Thread::get() {
        thread.end_if_late();
    }
}

#[cold]
#[track_caller]
fn refuse_so_deep(name: &str, site: &'static Location<'static>) -> ! {
    panic!(
        "{name}: called at {site} with {MOST_NESTED} blocking calls below it on this stack; recurse through the async \
         function instead"
    );
}

thread_local! {
    /// An `Rc`'s pointer, or null. For a thread-local with a destructor cannot be reached in others' destructors, and a call
    /// needs no reference of its own.
    static THREAD: Cell<*const Thread> = const { Cell::new(ptr::null()) };
    /// Its destructor is the thread's end.
    static END: End = const { End };
}

struct End;

impl Drop for End {
    fn drop(&mut self) {
        // Still in place while the homes are left: destructors of local tasks are users' code.
        if let Some(thread) = Thread::get() {
            homes::leave_all(&thread.homes);
        }
        Thread::end();
    }
}

impl Thread {
    /// This thread's block, for the function `name`.
    ///
    /// # Panics
    ///
    /// In a forked child.
    #[inline]
    #[track_caller]
    pub fn current(name: &str) -> Rc<Self> {
        match Self::get() {
            Some(thread) => thread,
            None => Self::first_use(name),
        }
    }

    /// This thread's block, if it has one.
    #[inline]
    pub fn get() -> Option<Rc<Self>> {
        let thread = THREAD.get();
        // SAFETY: an `Rc`'s, which is there as long as the pointer is.
        (!thread.is_null()).then(|| unsafe {
            Rc::increment_strong_count(thread);
            Rc::from_raw(thread)
        })
    }

    #[cold]
    #[track_caller]
    fn first_use(name: &str) -> Rc<Self> {
        fork::forbid(name);
        fork::on_child(Self::forget);
        fork::register();
        watchdog::at_first_use();
        let late = END.try_with(|_| ()).is_err();
        let thread = Rc::new(Self {
            parker: Parker::new(),
            taken: Cell::new(0),
            depth: Cell::new(0),
            slots: RefCell::default(),
            next: Cell::new(None),
            homes: RefCell::default(),
            suspended: Suspended::default(),
            waiting: waiting::List::default(),
            lower: Cell::new(0),
            board: Registered::new(here(), Home::name_of(&std::thread::current())),
            shown: Cell::new(0),
            attended: Cell::new(if late { usize::MAX } else { 0 }),
            polls: Cell::new(0),
            spare_polls: RefCell::default(),
            late,
        });
        THREAD.set(Rc::into_raw(Rc::clone(&thread)));
        thread
    }

    /// The same, for a call that borrows it.
    #[cold]
    #[track_caller]
    fn first_place(name: &str) -> NonNull<Self> {
        NonNull::from(&*Self::first_use(name))
    }

    /// Takes the thread's block out of its place.
    fn end() {
        let last = THREAD.replace(ptr::null());
        if !last.is_null() {
            // SAFETY: the place's reference, which was taken out.
            drop(unsafe { Rc::from_raw(last) });
        }
    }

    /// Forgets this thread's block, in a forked child.
    fn forget() {
        THREAD.set(ptr::null());
    }

    /// How many blocking calls are on this stack.
    #[inline]
    pub fn depth(&self) -> usize {
        self.depth.get()
    }

    /// Whether a loop runs something on this stack.
    pub fn is_dispatched(&self) -> bool {
        self.board.runs() > 0
    }

    /// What of this stack goes on only when what runs now has returned.
    #[cfg(feature = "graph")]
    pub fn kept(&self) -> Kept {
        let depth = self.depth();
        match self.board.runs_above(depth) {
            Some(Runs::LowerCall) => Kept::UpTo(self.lower.get()),
            None if depth > 0 => Kept::All(depth),
            _ => Kept::Nothing(depth),
        }
    }

    /// What of the stack of the calling thread goes on only when what runs now has returned.
    #[cfg(feature = "graph")]
    #[inline]
    pub fn kept_here() -> Kept {
        // SAFETY: as in `get`; nothing below ends it.
        unsafe { THREAD.get().as_ref() }.map_or(Kept::Nothing(0), Self::kept)
    }

    /// Whether a bottom half or handler waits in a frame below the innermost.
    pub fn outer_callback_waits(&self) -> bool {
        let below = self.depth().checked_sub(2);
        below.is_some_and(|at| self.slots.borrow()[at].record.callback_waits())
    }

    /// The slot at `depth`, if there is one.
    #[inline]
    fn slot_at(&self, depth: usize) -> Option<NonNull<Slot>> {
        // SAFETY: nothing below changes `slots` while this is looked at.
        let slots = unsafe { self.slots.try_borrow_unguarded() };
        slots.ok()?.get(depth).map(|slot| NonNull::from(&**slot))
    }

    #[cold]
    fn add_slot(&self) -> NonNull<Slot> {
        let slot = Arc::new(Slot::new(self.parker.unparker()));
        let added = NonNull::from(&*slot);
        self.board.add_call(&slot);
        self.slots.borrow_mut().push(slot);
        added
    }

    fn set_shown(&self, shown: usize) {
        self.shown.set(shown);
        self.attended.set(if self.late { usize::MAX } else { shown });
    }

    /// A late block goes with the outermost call or guard.
    pub fn end_if_late(&self) {
        if self.late && self.depth() == 0 && !self.is_dispatched() && self.entered().is_none() {
            homes::leave_all(&self.homes);
            Self::end();
        }
    }

    /// Shows hang reports that the innermost call begins to wait, in `context` or else where the thread is, and the calls
    /// below it that are not shown yet, for they are in their first poll. Each until it is left, so that what calls from
    /// deep within one first poll shows those below once.
    pub fn show_frames(&self, context: Option<&AioContext>) {
        let Some(below) = self.depth().checked_sub(1) else { return };
        self.show_first_polls(below);
        self.set_shown(below + 1);
        self.show(&self.slots.borrow()[below], 1, context.or(self.homes.borrow().current()));
    }

    /// Shows a blocking function that has no frame, above the frames, until the guard is dropped.
    pub fn show_poll(
        &self,
        name: &'static &'static str,
        site: &'static Location<'static>,
        context: &AioContext,
    ) -> Shown<'_> {
        self.show_first_polls(self.depth());
        let slot = self.spare_polls.borrow_mut().pop().unwrap_or_else(|| {
            let slot = Arc::new(Slot::new(self.parker.unparker()));
            self.board.add_poll(&slot);
            slot
        });
        slot.begin(name, site, false);
        self.polls.set(self.polls.get() + 1);
        self.show(&slot, 1, Some(context));
        slot.record.stamp();
        Shown { thread: self, slot: Some(slot) }
    }

    /// The innermost call begins to wait in earnest: from now on its time counts.
    pub fn stamp_shown(&self) {
        self.slots.borrow()[..self.depth()].last().into_iter().for_each(|slot| slot.record.stamp());
    }

    /// Shows those of the lowest `count` calls that are not shown yet, as in their first poll.
    fn show_first_polls(&self, count: usize) {
        while self.shown.get() < count {
            let at = self.shown.get();
            self.set_shown(at + 1);
            self.show(&self.slots.borrow()[at], 0, None);
        }
    }

    /// Whether a call or `poll_while` is on this stack.
    pub fn waits(&self) -> bool {
        self.depth() + self.polls.get() > 0
    }

    /// Shows a call, above all that is shown if it is new.
    fn show(&self, slot: &Slot, polls: u64, context: Option<&AioContext>) {
        let level = match slot.record.level() {
            0 => self.shown.get() + self.polls.get(),
            level => level,
        };
        let dispatched = self.is_dispatched();
        let what = What { level, dispatched, expected_long: self.board.expects_long(), polls };
        slot.record.show(what, context.map(|context| (context.shared_name(), context.mailbox())));
    }

    /// What is in the midst of a poll below the calls from the `depth`-th on, for messages: a call's future, or a task.
    pub fn coroutine_below(&self, depth: usize) -> String {
        let slots = self.slots.borrow();
        let innermost = match self.board.runs_above(depth) {
            Some(Runs::LowerCall) => self.lower.get(),
            Some(Runs::Task | Runs::Callback) => 0,
            None => depth,
        };
        let call = innermost.checked_sub(1).and_then(|at| slots.get(at));
        match call.and_then(|slot| Some((slot.name(), slot.site()?))) {
            Some((name, site)) => format!("inside the future of `{name}`, called at {site}"),
            None => format!("inside a task{}", self.of_context()),
        }
    }

    /// The context that is current, for messages.
    fn of_context(&self) -> String {
        self.homes.borrow().running_in().map(|context| format!(" of {context}")).unwrap_or_default()
    }

    /// What runs at the top of the stack, for messages: a call's future, or what a loop runs and the call that waits in it.
    pub fn what_runs(&self) -> String {
        let what = match self.board.runs_above(self.depth()) {
            None | Some(Runs::LowerCall) => return self.coroutine_below(self.depth()),
            Some(Runs::Task) => "task",
            Some(Runs::Callback) => "bottom half or handler",
        };
        format!("inside a {what}{}{}", self.of_context(), self.innermost_wait())
    }

    /// The innermost call, or `poll_while`, in which what a loop runs is run, for messages. Nothing below a mere `poll`.
    pub fn innermost_wait(&self) -> String {
        let call = self.depth().checked_sub(1).map(|at| Arc::clone(&self.slots.borrow()[at]));
        // A call that is not shown began above whatever is.
        let level = call.as_ref().map_or(0, |call| call.record.level());
        let poll = self.board.innermost_poll();
        let poll = poll.filter(|poll| call.is_none() || level > 0 && poll.record.level() > level);
        match poll.or(call).and_then(|slot| Some((slot.name(), slot.site()?))) {
            Some((name, site)) => format!(", within `{name}`, called at {site}"),
            None => String::new(),
        }
    }

    /// The thread's own context.
    pub fn own(&self) -> AioContext {
        homes::own(&self.homes, &self.parker, self.late)
    }

    /// The innermost context entered here.
    pub fn entered(&self) -> Option<AioContext> {
        self.homes.borrow().entered()
    }
}

/// A poll is shown while this lives.
pub struct Shown<'a> {
    thread: &'a Thread,
    slot: Option<Arc<Slot>>,
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            slot.record.hide();
            self.thread.polls.set(self.thread.polls.get() - 1);
            self.thread.spare_polls.borrow_mut().push(slot);
        }
    }
}
