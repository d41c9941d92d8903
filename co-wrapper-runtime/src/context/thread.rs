//! What one thread knows: its frames, its marks, the contexts that it is home to.
//!
//! One block a thread, made on first use, reached through a thread-local that is never destroyed, so blocking calls work
//! in thread-local destructors too: there a late block serves one outermost call and goes with it.

use std::{
    cell::{Cell, RefCell},
    mem::ManuallyDrop,
    rc::Rc,
    sync::Arc,
    task::Waker,
};

use super::{AioContext, home};
use crate::park::{Parker, WakeSlot, here};

pub struct Thread {
    pub number: u64,
    pub parker: Parker,
    /// Whether what runs now is a coroutine: a task of ours or a blocking call's future. Bottom halves are not, nor is
    /// what a nested loop runs for them, so the mark is saved and set around each.
    pub in_coroutine: Cell<bool>,
    /// Whether what runs now is the body of a task that may move to another thread.
    pub in_send_task: Cell<bool>,
    /// How many tasks, bottom halves and handlers are running on this stack.
    pub dispatched: Cell<usize>,
    /// How many of them are bottom halves or handlers.
    pub callbacks: Cell<usize>,
    /// How many of them a nested wait took though it holds them back, see `serve.rs`.
    pub taken: Cell<u32>,
    /// The blocking calls on this stack, innermost last.
    frames: RefCell<Vec<Rc<Slot>>>,
    /// Slots between two calls. A list, so that a call gets any one: none belongs to a depth.
    spare: RefCell<Vec<Rc<Slot>>>,
    pub homes: RefCell<home::Homes>,
    /// Made in a thread-local destructor, after the thread left its homes.
    late: bool,
}

/// What a frame borrows from its thread for the length of a call.
pub struct Slot {
    pub wakes: Arc<WakeSlot>,
    pub waker: Waker,
    /// Whether a bottom half or handler waits in this frame, that is, runs further down this stack.
    pub callback_waits: Cell<bool>,
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
    pub fn current() -> Rc<Self> {
        Self::get().unwrap_or_else(Self::first_use)
    }

    /// This thread's block, if it has one.
    pub fn get() -> Option<Rc<Self>> {
        THREAD.with(|thread| thread.borrow().clone())
    }

    #[cold]
    fn first_use() -> Rc<Self> {
        let late = END.try_with(|_| ()).is_err();
        let thread = Rc::new(Self {
            number: here(),
            parker: Parker::new(),
            in_coroutine: Cell::new(false),
            dispatched: Cell::new(0),
            callbacks: Cell::new(0),
            in_send_task: Cell::new(false),
            taken: Cell::new(0),
            frames: RefCell::default(),
            spare: RefCell::default(),
            homes: RefCell::default(),
            late,
        });
        THREAD.with(|place| *place.borrow_mut() = Some(Rc::clone(&thread)));
        thread
    }

    /// How many blocking calls are on this stack.
    pub fn depth(&self) -> usize {
        self.frames.borrow().len()
    }

    /// Whether a bottom half or handler waits in the innermost frame.
    pub fn callback_waits(&self) -> bool {
        self.frames.borrow().last().is_some_and(|slot| slot.callback_waits.get())
    }

    /// Puts a frame on the stack.
    pub fn push_frame(&self) -> Rc<Slot> {
        let slot = self.spare.borrow_mut().pop().unwrap_or_else(|| {
            let wakes = Arc::new(WakeSlot::new(self.parker.unparker()));
            let waker = Waker::from(Arc::clone(&wakes));
            Rc::new(Slot { wakes, waker, callback_waits: Cell::new(false) })
        });
        slot.wakes.reset();
        slot.callback_waits.set(self.callbacks.get() > 0);
        self.frames.borrow_mut().push(Rc::clone(&slot));
        slot
    }

    /// Takes the innermost frame off the stack. Frames are scopes, so it is the caller's.
    pub fn pop_frame(self: &Rc<Self>) {
        let slot = self.frames.borrow_mut().pop();
        self.spare.borrow_mut().extend(slot);
        if self.late && self.depth() == 0 {
            home::leave_all(self);
            let last = THREAD.with(|thread| thread.take());
            drop(last);
        }
    }

    /// The innermost context entered here.
    pub fn entered(&self) -> Option<AioContext> {
        self.homes.borrow().entered()
    }
}
