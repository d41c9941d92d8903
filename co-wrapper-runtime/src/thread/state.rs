//! The state of one thread: the calls on its stack, what hang reports show of them, the contexts that it is home to.
//!
//! There is one block per thread, made on first use. It is reached through a thread-local that is never destroyed, so
//! blocking calls work in thread-local destructors too: there a *late* block is made for one outermost call and ends
//! with it.

use std::{
    cell::{Cell, OnceCell, RefCell},
    panic::Location,
    ptr::{self, NonNull},
    rc::Rc,
    sync::Arc,
};

#[cfg(feature = "graph")]
use super::stack::{Kept, Root};
use super::{
    homes::{self, Homes},
    stack::Stack,
};
use crate::{
    context::AioContext,
    scheduler::{self, Home},
    sys::{
        fork,
        interrupts::Interrupts,
        park::{Parker, here},
    },
    watch::{
        board::{Board, Runs},
        record::What,
        watchdog,
    },
};

pub use crate::watch::record::Slot;

/// The most blocking calls, or polls within callbacks, on one stack. So endless recursion ends in a message rather than
/// a stack overflow; 128 are promised on a 2 MiB stack.
pub const MOST_NESTED: usize = 256;

pub struct Thread {
    /// What is on the stack that runs now.
    pub stack: Stack,
    pub parker: Parker,
    pub homes: RefCell<Homes>,
    /// Spare slots for shown polls, which wait without being calls.
    spare: RefCell<Vec<Arc<Slot>>>,
    /// Whether the block was made in a thread-local destructor, after the thread left its homes.
    late: bool,
    /// Made when a handle names the thread, or an interruptible call waits on it.
    interrupts: OnceCell<Arc<Interrupts>>,
}

/// A blocking call's place on its thread's stack. Places are made and dropped in stack order. So the pointers are
/// valid: a thread's block is freed only when no call is on the stack, and the slots of calls on the stack stay in its
/// list.
pub struct Place {
    thread: NonNull<Thread>,
    slot: NonNull<Slot>,
}

impl Place {
    /// Puts a call of `name` at `site` on this thread's stack.
    ///
    /// # Panics
    ///
    /// In a forked child; if [`MOST_NESTED`] calls are on the stack.
    #[inline]
    #[track_caller]
    pub fn push(name: &'static &'static str, site: &'static Location<'static>) -> Self {
        // Not in a closure, which would lose the caller's location.
        let thread = match NonNull::new(THREAD.get().cast_mut()) {
            Some(thread) => thread,
            None => Thread::first_place(name),
        };
        // SAFETY: the thread-local's reference keeps the block, and nothing in this function ends that.
        let this = unsafe { thread.as_ref() };
        if this.stack.depth() >= MOST_NESTED {
            refuse_so_deep(name, site);
        }
        let slot = this.stack.next().unwrap_or_else(|| this.add_slot());
        // SAFETY: in the list of slots.
        unsafe { slot.as_ref() }.begin(name, site, this.stack.board.runs_callback());
        this.stack.push();
        Self { thread, slot }
    }

    /// The block of its thread.
    #[inline]
    pub fn thread(&self) -> &Thread {
        // SAFETY: there while the call is on the stack.
        unsafe { self.thread.as_ref() }
    }

    /// Its slot.
    #[inline]
    pub fn slot(&self) -> &Slot {
        // SAFETY: in the list while the call is on the stack.
        unsafe { self.slot.as_ref() }
    }

    /// Hides the call from hang reports, and ends a late block.
    #[cold]
    fn attend(&self) {
        let thread = self.thread();
        let below = thread.depth();
        if thread.stack.shown() > below {
            thread.set_shown(below);
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
        if thread.stack.pop(self.slot) {
            self.attend();
        }
    }
}

/// Ends this thread's block if it is late. Out of line, and with its own reference to the block.
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
    /// An `Rc`'s pointer, or null. A raw pointer, because a thread-local with a destructor cannot be reached in other
    /// destructors, and because a call needs no reference of its own.
    static THREAD: Cell<*const Thread> = const { Cell::new(ptr::null()) };
    /// Its destructor is the thread's end.
    static END: End = const { End };
}

struct End;

impl Drop for End {
    fn drop(&mut self) {
        // The block stays in place while the homes are left, because destructors of local tasks are users' code.
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
        // SAFETY: the pointer is an `Rc`'s, and its reference lasts as long as the pointer is in `THREAD`.
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
            stack: Stack::new(Board::new(here(), Home::name_of(&std::thread::current()))),
            parker: Parker::new(),
            homes: RefCell::default(),
            spare: RefCell::default(),
            late,
            interrupts: OnceCell::new(),
        });
        thread.set_shown(0);
        THREAD.set(Rc::into_raw(Rc::clone(&thread)));
        thread
    }

    /// Like [`first_use`](Self::first_use), for a call that borrows the block.
    #[cold]
    #[track_caller]
    fn first_place(name: &str) -> NonNull<Self> {
        NonNull::from(&*Self::first_use(name))
    }

    /// Takes the thread's block out of `THREAD`, and puts `other` there, an `Rc`'s pointer or null.
    fn replace(other: *const Self) {
        let last = THREAD.replace(other);
        if !last.is_null() {
            // SAFETY: the reference that `THREAD` had, which was taken out.
            drop(unsafe { Rc::from_raw(last) });
        }
    }

    /// Ends the thread's block.
    fn end() {
        Self::replace(ptr::null());
        scheduler::free_held();
    }

    /// Forgets this thread's block, in a forked child.
    fn forget() {
        THREAD.set(ptr::null());
        scheduler::forget_held();
    }

    /// What interrupts the calls that block this thread.
    pub fn interrupts(&self) -> &Arc<Interrupts> {
        self.interrupts.get_or_init(Interrupts::new)
    }

    /// How many blocking calls are on this stack.
    #[inline]
    pub fn depth(&self) -> usize {
        self.stack.depth()
    }

    /// The highest number that a context entry was given so far.
    #[cfg(feature = "coroutine")]
    #[inline(always)]
    pub(super) fn highest_entry(&self) -> u64 {
        // SAFETY: nothing in this function changes `homes` while the borrow lasts.
        unsafe { self.homes.try_borrow_unguarded() }.map_or(0, Homes::highest_entry)
    }

    /// Whether a loop runs something on this stack.
    pub fn is_dispatched(&self) -> bool {
        self.stack.board.runs() > 0
    }

    /// Asks the calling thread's stack, if it has one.
    #[cfg(feature = "graph")]
    #[inline]
    fn ask<R>(question: impl FnOnce(&Stack) -> R) -> Option<R> {
        // SAFETY: as in `get`; a question does not end it.
        unsafe { THREAD.get().as_ref() }.map(|thread| question(&thread.stack))
    }

    /// Like [`Stack::read_in_call`], for the calling thread.
    #[cfg(feature = "graph")]
    #[inline]
    pub fn read_in_call() -> Option<(usize, u64)> {
        Self::ask(Stack::read_in_call)?
    }

    /// Like [`Stack::kept`], for the calling thread.
    #[cfg(feature = "graph")]
    #[inline]
    pub fn kept_here() -> Kept {
        Self::ask(Stack::kept).unwrap_or(Kept::Nothing(0))
    }

    /// The innermost coroutine with a stack of its own on the calling thread.
    #[cfg(feature = "graph")]
    pub fn root_here() -> Root {
        Self::ask(|stack| stack.root.get()).unwrap_or_default()
    }

    /// Like [`Stack::is_at_root`], for the calling thread.
    #[cfg(feature = "graph")]
    pub fn is_at_root_here() -> bool {
        Self::ask(Stack::is_at_root).unwrap_or(false)
    }

    /// Whether this is the calling thread's block. In a thread-local destructor, a coroutine's may be another.
    #[cfg(feature = "coroutine")]
    #[inline]
    pub fn is_current(&self) -> bool {
        ptr::eq(THREAD.get(), self)
    }

    /// Makes `this` the calling thread's block while the returned value lives.
    #[cfg(feature = "coroutine")]
    pub fn make_current(this: &Rc<Self>) -> Current {
        Current { outer: THREAD.replace(Rc::into_raw(Rc::clone(this))) }
    }

    #[cold]
    pub(super) fn add_slot(&self) -> NonNull<Slot> {
        let slot = Arc::new(Slot::new(self.parker.unparker()));
        self.stack.board.add_call(&slot);
        self.stack.add(slot)
    }

    pub(super) fn set_shown(&self, shown: usize) {
        self.stack.set_shown(shown, self.late);
    }

    /// Whether the calling thread runs the destructors of its thread-locals, and has left its contexts or is about to.
    #[cfg(feature = "coroutine")]
    pub fn ends() -> bool {
        END.try_with(|_| ()).is_err()
    }

    /// Ends a late block together with the outermost call or guard.
    pub fn end_if_late(&self) {
        if self.late && self.depth() == 0 && !self.is_dispatched() && self.entered().is_none() {
            homes::leave_all(&self.homes);
            Self::end();
        }
    }

    /// Shows hang reports that the innermost call, whose slot this is, begins to wait, in `context` or else in the
    /// thread's current context. Also shows the outer calls that are not shown yet, because they are in their first
    /// poll. Each is shown until it ends, so that many calls made deep within one first poll show the outer calls only
    /// once.
    pub fn show_frames(&self, slot: &Slot, context: Option<&AioContext>) {
        let depth = self.depth();
        self.show_first_polls(depth - 1);
        self.set_shown(depth);
        self.show(slot, 1, context.or(self.homes.borrow().current()));
    }

    /// Shows hang reports that the innermost call suspends its coroutine. `context` is where the call was sent to.
    #[cfg(feature = "coroutine")]
    #[inline]
    pub fn show_suspended(&self, slot: &Slot, context: Option<&AioContext>) {
        let homes = self.homes.borrow();
        let context = context.or(homes.current()).map(|context| (context.shared_name(), context.scheduler()));
        let what = What { level: 1, dispatched: false, expected_long: self.stack.board.expects_long(), polls: 1 };
        slot.record.show(what, context);
    }

    /// Shows a blocking function that has no frame as the innermost call, until the guard is dropped.
    pub fn show_poll(
        &self,
        name: &'static &'static str,
        site: &'static Location<'static>,
        context: &AioContext,
    ) -> Shown<'_> {
        self.show_first_polls(self.depth());
        let slot = self.spare.borrow_mut().pop().unwrap_or_else(|| {
            let slot = Arc::new(Slot::new(self.parker.unparker()));
            self.stack.board.add_other(&slot);
            slot
        });
        slot.begin(name, site, false);
        self.stack.polls.update(|polls| polls + 1);
        self.show(&slot, 1, Some(context));
        slot.record.stamp();
        Shown { thread: self, slot }
    }

    /// Shows those of the outermost `count` calls that are not shown yet, as being in their first poll.
    #[inline]
    pub(super) fn show_first_polls(&self, count: usize) {
        if self.stack.shown() < count {
            self.show_more(count);
        }
    }

    #[cold]
    fn show_more(&self, count: usize) {
        while self.stack.shown() < count {
            let at = self.stack.shown();
            self.set_shown(at + 1);
            // The call of a coroutine is shown since it was first suspended.
            let call = self.stack.call(at);
            if call.record.level() == 0 {
                self.show(&call, 0, None);
            }
        }
    }

    /// Whether a call or `poll_while` is on this stack.
    pub fn waits(&self) -> bool {
        self.depth() + self.stack.polls.get() > 0
    }

    /// Shows a call; a new one as the innermost of those shown.
    fn show(&self, slot: &Slot, polls: u64, context: Option<&AioContext>) {
        let level = match slot.record.level() {
            0 => self.stack.shown() + self.stack.polls.get(),
            level => level,
        };
        let dispatched = self.is_dispatched();
        let what = What { level, dispatched, expected_long: self.stack.board.expects_long(), polls };
        slot.record.show(what, context.map(|context| (context.shared_name(), context.scheduler())));
    }

    /// The coroutine in which the `depth`-th call was made, for messages: a call's future, or a task.
    pub fn coroutine_below(&self, depth: usize) -> String {
        match self.stack.coroutine(depth).and_then(|call| Some((call.name(), call.site()?))) {
            Some((name, site)) => format!("inside the future of `{name}`, called at {site}"),
            None => format!("inside a task{}", self.of_context()),
        }
    }

    /// The context that is current, for messages.
    fn of_context(&self) -> String {
        self.homes.borrow().running_in().map(|context| format!(" of {context}")).unwrap_or_default()
    }

    /// What the innermost frame runs, for messages: a call's future, or what a loop runs and the call that waits in
    /// that loop.
    pub fn what_runs(&self) -> String {
        let what = match self.stack.runs_above(self.depth()) {
            None | Some(Runs::OuterCall) => return self.coroutine_below(self.depth()),
            Some(Runs::Task) => "task",
            Some(Runs::Callback) => "bottom half or handler",
        };
        format!("inside a {what}{}{}", self.of_context(), self.innermost_wait())
    }

    /// The innermost call or `poll_while` whose loop runs the current code, for messages. Empty for a plain `poll`.
    pub fn innermost_wait(&self) -> String {
        let call = self.stack.innermost();
        // A call that is not shown began inside all that are.
        let level = call.as_ref().map_or(0, |call| call.record.level());
        let poll = self.stack.board.innermost_poll();
        let poll = poll.filter(|poll| call.is_none() || level > 0 && poll.record.level() > level);
        match poll.as_deref().or(call.as_deref()).and_then(|slot| Some((slot.name(), slot.site()?))) {
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

/// Another block than the thread's current one is in its place while this lives.
#[cfg(feature = "coroutine")]
pub struct Current {
    outer: *const Thread,
}

#[cfg(feature = "coroutine")]
impl Drop for Current {
    fn drop(&mut self) {
        Thread::replace(self.outer);
    }
}

/// A poll is shown while this lives.
pub struct Shown<'a> {
    thread: &'a Thread,
    slot: Arc<Slot>,
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.slot.record.hide();
        self.thread.stack.polls.update(|polls| polls - 1);
        self.thread.spare.borrow_mut().push(Arc::clone(&self.slot));
    }
}
