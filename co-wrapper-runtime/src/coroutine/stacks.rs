//! The stacks of coroutines: mapped with a guard page below, and kept by each thread for the next coroutine, up to a
//! bound.

use std::{
    cell::{Cell, RefCell},
    io,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use corosensei::stack::DefaultStack;

use crate::{sys::sync::plain_lock, thread::coroutine::Own};

/// How many stacks of the default size a thread keeps. A kept stack keeps the memory that was touched on it.
const KEPT: usize = 64;

/// The size of a stack, without the guard page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(usize);

impl Size {
    pub fn new(bytes: usize) -> Self {
        Self(bytes)
    }

    pub fn bytes(self) -> usize {
        self.0
    }
}

impl Default for Size {
    fn default() -> Self {
        Self(256 << 10)
    }
}

/// How many stacks the coroutines of the process have and had: `made` = `freed` + `pooled` + `kept` + those of
/// coroutines that have not ended. Returned by [`Coroutine::stacks`](super::Coroutine::stacks).
///
/// # Examples
///
/// ```
/// use co_wrapper::{Coroutine, block_on};
///
/// // SAFETY: it makes no call.
/// block_on(unsafe { Coroutine::new(|| ()) });
/// let stacks = Coroutine::stacks();
/// assert_eq!((stacks.made, stacks.freed, stacks.pooled, stacks.kept), (1, 0, 1, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stacks {
    /// How many were mapped.
    pub made: usize,
    /// How many were unmapped again.
    pub freed: usize,
    /// How many are kept by threads for their next coroutines.
    pub pooled: usize,
    /// How many suspended coroutines were dropped in a build with `panic = "abort"`, and keep theirs.
    pub kept: usize,
}

static MADE: AtomicUsize = AtomicUsize::new(0);
static FREED: AtomicUsize = AtomicUsize::new(0);
static LOST: AtomicUsize = AtomicUsize::new(0);
/// How many each thread keeps.
static POOLED: Mutex<Vec<Weak<AtomicUsize>>> = Mutex::new(Vec::new());

/// Counts a suspended coroutine that is dropped without being unwound, and so keeps its stack for ever.
pub fn kept() {
    LOST.fetch_add(1, Ordering::Relaxed);
}

/// Counts the process's stacks.
pub fn count() -> Stacks {
    let pooled = plain_lock(&POOLED).iter().filter_map(Weak::upgrade).map(|len| len.load(Ordering::Relaxed)).sum();
    Stacks {
        made: MADE.load(Ordering::Relaxed),
        freed: FREED.load(Ordering::Relaxed),
        pooled,
        kept: LOST.load(Ordering::Relaxed),
    }
}

/// What a coroutine needs to run: its stack, and its own per-thread state (`thread/coroutine.rs`). Boxed, as its
/// address is what the coroutine knows.
pub struct Room {
    /// While no coroutine is on it.
    stack: Cell<Option<DefaultStack>>,
    size: Size,
    pub own: Own,
}

impl Room {
    /// Takes one that the thread keeps, or makes it. Its stack is to be taken.
    ///
    /// # Errors
    ///
    /// No stack can be mapped.
    #[inline]
    #[track_caller]
    pub fn new(size: Size) -> io::Result<Box<Self>> {
        let kept = if size == Size::default() { POOL.try_with(Pool::take).ok().flatten() } else { None };
        match kept {
            Some(room) => Ok(room),
            None => Self::map(size),
        }
    }

    #[cold]
    #[track_caller]
    fn map(size: Size) -> io::Result<Box<Self>> {
        let stack = DefaultStack::new(size.bytes())?;
        MADE.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Self { stack: Cell::new(Some(stack)), size, own: Own::new("Coroutine::new") }))
    }

    /// Takes the stack, for a coroutine.
    #[inline]
    pub fn take_stack(&self) -> DefaultStack {
        self.stack.take().expect("one coroutine at a time")
    }

    /// Keeps it for the thread's next coroutine, or unmaps it. Nothing is on `stack`, which is its own.
    #[inline]
    pub fn give_back(self: Box<Self>, stack: DefaultStack) {
        self.own.end();
        self.stack.set(Some(stack));
        let rest = if self.size == Size::default() { POOL.try_with(|pool| pool.keep(self)) } else { Ok(Some(self)) };
        match rest {
            Ok(None) => {}
            rest => Self::free_rest(rest.ok().flatten()),
        }
    }

    #[cold]
    fn free_rest(rest: Option<Box<Self>>) {
        match rest {
            Some(room) => room.free(),
            // In a thread-local destructor the pool may be gone, and the room with the closure.
            None => _ = FREED.fetch_add(1, Ordering::Relaxed),
        }
    }

    fn free(self: Box<Self>) {
        drop(self);
        FREED.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a thread keeps.
struct Pool {
    #[expect(clippy::vec_box, reason = "a coroutine has its room in a box: so the box is kept too")]
    rooms: RefCell<Vec<Box<Room>>>,
    /// How many, for others to read.
    len: Arc<AtomicUsize>,
}

thread_local! {
    static POOL: Pool = Pool::new();
}

impl Pool {
    fn new() -> Self {
        let len = Arc::new(AtomicUsize::new(0));
        let mut all = plain_lock(&POOLED);
        all.retain(|len| len.strong_count() > 0);
        all.push(Arc::downgrade(&len));
        Self { rooms: RefCell::default(), len }
    }

    #[inline]
    fn take(&self) -> Option<Box<Room>> {
        let mut rooms = self.rooms.borrow_mut();
        let room = rooms.pop();
        self.len.store(rooms.len(), Ordering::Relaxed);
        room
    }

    /// Returns the room if there are enough.
    #[inline]
    fn keep(&self, room: Box<Room>) -> Option<Box<Room>> {
        let mut rooms = self.rooms.borrow_mut();
        if rooms.len() == KEPT {
            return Some(room);
        }
        rooms.push(room);
        self.len.store(rooms.len(), Ordering::Relaxed);
        None
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.len.store(0, Ordering::Relaxed);
        self.rooms.take().into_iter().for_each(Room::free);
    }
}
