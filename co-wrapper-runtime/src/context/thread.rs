//! What one thread knows: its frames, its marks, the contexts that it is home to.
//!
//! One block a thread, made on first use, reached through a thread-local that is never destroyed, so blocking calls work
//! in thread-local destructors too: there a late block serves one outermost call and goes with it.

use std::{
    cell::{Cell, RefCell},
    mem::{self, ManuallyDrop},
    panic::Location,
    rc::Rc,
    sync::Arc,
    task::Waker,
};

use super::{AioContext, home};
use crate::{
    fork,
    hang::{
        record::{Record, Registered, What},
        watchdog,
    },
    park::{Parker, WakeSlot, here},
    reactor,
    tasks::{mailbox::Home, unit::Suspended},
};

/// Blocking calls, or polls within callbacks, on one stack, at most. So that endless recursion ends in a message rather
/// than the stack's end; 128 are promised on a 2 MiB stack.
pub const MOST_NESTED: usize = 256;

pub struct Thread {
    pub number: u64,
    pub parker: Parker,
    /// Whether what runs now is the body of a task that may move to another thread.
    pub in_send_task: Cell<bool>,
    /// How many tasks, bottom halves and handlers are running on this stack.
    pub dispatched: Cell<usize>,
    /// How many of them are bottom halves or handlers.
    pub callbacks: Cell<usize>,
    /// How many of them a nested wait took though it holds them back, see `serve.rs`.
    pub taken: Cell<u32>,
    /// How many blocking calls are on this stack.
    depth: Cell<usize>,
    /// So many slots are the calls' on this stack, innermost last; the rest are between two calls, any one for the next.
    /// One list, so that entering and leaving a call moves nothing.
    slots: RefCell<Vec<Rc<Slot>>>,
    pub homes: RefCell<home::Homes>,
    /// The tasks on this stack that wait for what runs now.
    pub suspended: Suspended,
    /// What hang reports see of this thread.
    pub board: Registered,
    /// How many records it shows.
    shown: Cell<usize>,
    /// Made in a thread-local destructor, after the thread left its homes.
    late: bool,
}

/// What a frame borrows from its thread for the length of a call.
pub struct Slot {
    pub wakes: Arc<WakeSlot>,
    pub waker: Waker,
    /// Whether a bottom half or handler waits in this frame, that is, runs further down this stack.
    pub callback_waits: Cell<bool>,
    /// Who called, and where, for the record.
    name: Cell<&'static &'static str>,
    site: Cell<&'static Location<'static>>,
    pub record: Arc<Record>,
}

impl Slot {
    /// Who called.
    pub fn name(&self) -> &'static str {
        self.name.get()
    }
}

thread_local! {
    /// `ManuallyDrop`, for a thread-local with a destructor cannot be reached in others' destructors.
    static THREAD: ManuallyDrop<RefCell<Option<Rc<Thread>>>> = const { ManuallyDrop::new(RefCell::new(None)) };
    /// Its destructor is the thread's end.
    static END: End = const { End };
}

struct End;

impl Drop for End {
    fn drop(&mut self) {
        // Still in place while the homes are left: destructors of local tasks are users' code.
        if let Some(thread) = Thread::get() {
            home::leave_all(&thread);
        }
        let last = THREAD.with(|thread| thread.take());
        drop(last);
    }
}

impl Thread {
    /// This thread's block.
    ///
    /// # Panics
    ///
    /// In a forked child.
    #[inline]
    #[track_caller]
    pub fn current() -> Rc<Self> {
        Self::get().unwrap_or_else(Self::first_use)
    }

    /// This thread's block, if it has one.
    #[inline]
    pub fn get() -> Option<Rc<Self>> {
        THREAD.with(|thread| thread.borrow().clone())
    }

    #[cold]
    #[track_caller]
    fn first_use() -> Rc<Self> {
        fork::forbid();
        fork::register();
        reactor::prepare_thread();
        let late = END.try_with(|_| ()).is_err();
        let thread = Rc::new(Self {
            number: here(),
            parker: Parker::new(),
            dispatched: Cell::new(0),
            callbacks: Cell::new(0),
            in_send_task: Cell::new(false),
            taken: Cell::new(0),
            depth: Cell::new(0),
            slots: RefCell::default(),
            homes: RefCell::default(),
            suspended: Suspended::default(),
            board: Registered::new(here(), Home::name_of(&std::thread::current())),
            shown: Cell::new(0),
            late,
        });
        THREAD.with(|place| *place.borrow_mut() = Some(Rc::clone(&thread)));
        thread
    }

    /// Forgets this thread's block, in a forked child.
    pub fn forget() {
        // Borrowed for moments that cannot fork; but a child that panics here would be no better off.
        let forgotten = THREAD.with(|thread| thread.try_borrow_mut().map(|mut thread| thread.take()));
        mem::forget(forgotten);
    }

    /// How many blocking calls are on this stack.
    #[inline]
    pub fn depth(&self) -> usize {
        self.depth.get()
    }

    /// Whether a bottom half or handler waits in a frame below the innermost.
    pub fn outer_callback_waits(&self) -> bool {
        let below = self.depth().checked_sub(2);
        below.is_some_and(|at| self.slots.borrow()[at].callback_waits.get())
    }

    #[cold]
    fn new_slot(&self, name: &'static &'static str, site: &'static Location<'static>) -> Rc<Slot> {
        let wakes = Arc::new(WakeSlot::new(self.parker.unparker()));
        let waker = Waker::from(Arc::clone(&wakes));
        Rc::new(Slot {
            wakes,
            waker,
            callback_waits: Cell::new(false),
            name: Cell::new(name),
            site: Cell::new(site),
            record: self.board.record(),
        })
    }

    /// Puts a frame of that name and place on the stack.
    #[inline]
    pub fn push_frame(&self, name: &'static &'static str, site: &'static Location<'static>) -> Rc<Slot> {
        let depth = self.depth.get();
        let mut slots = self.slots.borrow_mut();
        if depth == slots.len() {
            slots.push(self.new_slot(name, site));
        }
        let slot = Rc::clone(&slots[depth]);
        drop(slots);
        slot.name.set(name);
        slot.site.set(site);
        slot.wakes.reset();
        slot.callback_waits.set(self.callbacks.get() > 0);
        self.depth.set(depth + 1);
        slot
    }

    /// Takes the innermost frame off the stack. Frames are scopes, so it is the caller's.
    #[inline]
    pub fn pop_frame(&self) {
        self.depth.update(|depth| depth - 1);
        if self.late {
            self.end_if_late();
        }
    }

    /// Whether this block was made after the thread's end.
    pub fn is_late(&self) -> bool {
        self.late
    }

    /// A late block goes with the outermost call or guard.
    pub fn end_if_late(&self) {
        if self.late && self.depth() == 0 && self.dispatched.get() == 0 && self.entered().is_none() {
            home::leave_all(self);
            let last = THREAD.with(|thread| thread.take());
            drop(last);
        }
    }

    /// Shows hang reports the innermost frame, which begins to wait in `context` or else where the thread is, and those
    /// below it that are not shown yet, for they are in their first poll. Until the guard is dropped.
    pub fn show_frames(&self, context: Option<&AioContext>) -> Shown<'_> {
        let guard = self.shown_from_here();
        self.show_frames_as(1, context);
        guard
    }

    /// Shows a blocking function that has no frame, above the frames.
    pub fn show_poll(
        &self,
        name: &'static &'static str,
        site: &'static Location<'static>,
        context: &AioContext,
    ) -> Shown<'_> {
        let mut guard = self.shown_from_here();
        self.show_frames_as(0, None);
        let mut slots = self.slots.borrow_mut();
        let spare = if slots.len() > self.depth() { slots.pop() } else { None };
        drop(slots);
        let slot = spare.unwrap_or_else(|| self.new_slot(name, site));
        slot.name.set(name);
        slot.site.set(site);
        self.show(&slot, 1, Some(context));
        slot.record.stamp();
        guard.poll = Some(slot);
        guard
    }

    /// The calls that are shown begin to wait in earnest: from now on their time counts.
    pub fn stamp_shown(&self) {
        let slots = self.slots.borrow();
        let shown = slots[..self.depth()].iter().rev().take_while(|slot| slot.record.level() > 0);
        shown.for_each(|slot| slot.record.stamp());
    }

    fn shown_from_here(&self) -> Shown<'_> {
        watchdog::at_first_wait();
        Shown { thread: self, from: self.shown.get(), poll: None }
    }

    /// The innermost frame's future was polled so often.
    fn show_frames_as(&self, polls: u64, context: Option<&AioContext>) {
        let slots = self.slots.borrow();
        let frames = &slots[..self.depth()];
        // What is shown is at the bottom.
        let shown = frames.iter().rposition(|slot| slot.record.level() > 0).map_or(0, |at| at + 1);
        let Some((last, lower)) = frames[shown..].split_last() else { return };
        lower.iter().for_each(|slot| self.show(slot, 0, None));
        self.show(last, polls, context);
    }

    fn show(&self, slot: &Slot, polls: u64, context: Option<&AioContext>) {
        let homes = self.homes.borrow();
        let context = context.or_else(|| if polls > 0 { homes.current() } else { None });
        let context = context.map(AioContext::shared_name);
        let level = self.shown.get() + 1;
        self.shown.set(level);
        let dispatched = self.dispatched.get() > 0;
        let what = What { name: slot.name.get(), site: slot.site.get(), level, dispatched, polls };
        slot.record.show(what, context);
    }

    /// The innermost context entered here.
    pub fn entered(&self) -> Option<AioContext> {
        self.homes.borrow().entered()
    }
}

/// What is shown while this lives.
pub struct Shown<'a> {
    thread: &'a Thread,
    /// How many were shown before.
    from: usize,
    poll: Option<Rc<Slot>>,
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.poll.take() {
            slot.record.hide();
            self.thread.slots.borrow_mut().push(slot);
        }
        let slots = self.thread.slots.borrow();
        slots[..self.thread.depth()]
            .iter()
            .rev()
            .take_while(|slot| slot.record.level() > self.from)
            .for_each(|slot| slot.record.hide());
        self.thread.shown.set(self.from);
    }
}
