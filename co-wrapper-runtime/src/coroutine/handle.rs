//! `Coroutine`, the handle of a stackful coroutine and a future, and its builder. What suspends one is in `suspend.rs`,
//! what it has of its own on its thread in `thread/coroutine.rs`.
//!
//! Invariants: a coroutine is resumed and dropped on the thread that made it, as [`Coroutine`] is not `Send`. No panic
//! crosses a switch of stacks: the code runs within a `catch_unwind`, and its panic is raised in the poll. Its stack is
//! given back only when nothing is on it.

use std::{
    fmt,
    future::Future,
    io,
    mem::ManuallyDrop,
    panic::Location,
    pin::Pin,
    ptr,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use super::{
    outside::{self, Guest},
    stacks::{self, Room, Size, Stacks},
    switch::{Resumed, Switch},
};
use crate::{
    reactor::{self, Entered},
    suspend::Cancelled,
    sys::{
        fork,
        panics::{self, Payload},
    },
    tasks::activation,
    thread::state::Thread,
};

/// Blocking code as a future, for any executor: wherever a call of ours would block the thread, the code is suspended
/// and the future is pending. (QEMU's `Coroutine`.)
///
/// The code runs on a stack of its own, when the future is polled. Every blocking twin, whether plain or mixed,
/// suspends it instead of blocking, and so do [`block_on`](crate::block_on),
/// [`AioContext::poll_while`](crate::AioContext::poll_while), drained sections and the graph's write lock.
/// [`in_coroutine`](crate::in_coroutine) is true there, but plain twins do not panic, because they block nothing. What
/// blocks by other means, such as `std::thread::sleep`, still blocks the thread.
///
/// It needs the feature `coroutine`. Its stacks are mapped with a guard page below; see [`Builder`] for their size.
///
/// # Where it blocks after all
///
/// Only the coroutine's own code is suspended. A mixed call nests, as it does in a task, if it is made inside the
/// future of a call or by what a loop on the coroutine's stack runs. It also nests inside another tokio runtime's
/// `block_on`, where that runtime's handle is entered, and while the thread unwinds.
///
/// # When it is dropped
///
/// A suspended coroutine that is dropped is unwound where it is: the blocking call that it waits in panics with a
/// payload of ours, without a message, and destructors run. Calls that these make block the thread. Code that catches
/// that panic goes on, and its calls block too. If the panic would have to pass `extern "C"` functions, the process
/// aborts. A coroutine that is forgotten keeps its stack. In builds with `panic = "abort"` a suspended one that is
/// dropped keeps its stack too, and is counted ([`Stacks::kept`]).
///
/// It stays on its thread:
///
/// ```compile_fail,E0277
/// fn is_send<T: Send>(_: T) {}
/// // SAFETY: it makes no call.
/// is_send(unsafe { co_wrapper::Coroutine::new(|| ()) });
/// ```
///
/// # Examples
///
/// See [`Coroutine::new`].
#[doc(alias = "qemu_coroutine_create")]
#[must_use = "futures do nothing unless polled"]
pub struct Coroutine<R: 'static> {
    /// `None` when it has ended.
    running: Option<Running<R>>,
    /// Where it was made.
    site: &'static Location<'static>,
}

/// A coroutine that has not ended. Not dropped before it has: its stack would be freed with what is on it.
struct Running<R: 'static> {
    switch: ManuallyDrop<Switch<Option<R>>>,
    room: Box<Room>,
    started: bool,
    /// A task of ours is nothing but this coroutine: so our loop polls it, and our reactor's handle is current then.
    of_task: bool,
    /// While another executor than our loop has it suspended.
    guest: Option<Guest>,
}

impl<R: 'static> Coroutine<R> {
    /// Makes a coroutine of `f`, with a stack of 256 KiB. Nothing runs before it is polled.
    ///
    /// # Safety
    ///
    /// While a call of `f` waits, other code of the thread runs, and it may end before or after `f` goes on. So `f`
    /// promises: *no frame on its stack at that time relies on what it has put into a thread-local until it returns.*
    /// Frames that break this are scopes that set a thread-local and restore it when they end: those of the crate
    /// `scoped-tls`, another runtime's `enter` guards, executors that mark their thread (`futures::executor::block_on`;
    /// those of tokio's runtimes are recognized, but for `block_on` and `enter` of `reactor`'s handle, which look like any
    /// code of ours: call [`block_on`](crate::block_on) instead). Such scopes would not be left in reverse order, and code
    /// that runs meanwhile would use what they point to. Your own code rarely has one; look at crates that call back into
    /// it.
    ///
    /// This keeps the promise: the thread-local is used, and no call is made meanwhile.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use co_wrapper::{AioContext, Coroutine, block_on};
    ///
    /// thread_local! { static CALLS: Cell<u32> = const { Cell::new(0) } }
    ///
    /// // SAFETY: `CALLS` is whole again before the call waits.
    /// let coroutine = unsafe {
    ///     Coroutine::new(|| {
    ///         CALLS.set(CALLS.get() + 1);
    ///         block_on(AioContext::current().sleep(std::time::Duration::from_millis(1)));
    ///     })
    /// };
    /// block_on(coroutine);
    /// ```
    ///
    /// This breaks it: `with` lends the list to `f`'s call, and another coroutine's `with` frees it meanwhile.
    ///
    /// ```no_run
    /// use std::cell::Cell;
    /// use co_wrapper::{AioContext, Coroutine, block_on};
    ///
    /// thread_local! { static LIST: Cell<*const Vec<u8>> = const { Cell::new(std::ptr::null()) } }
    ///
    /// fn with(list: Vec<u8>, f: impl FnOnce()) {
    ///     let outer = LIST.replace(&list);
    ///     f();
    ///     LIST.set(outer); // in another order, if `f` waits: a dangling pointer
    /// }
    ///
    /// // Wrong: `f` waits inside `with`.
    /// let coroutine = unsafe {
    ///     Coroutine::new(|| with(vec![1], ||
    /// block_on(AioContext::current().sleep(std::time::Duration::from_millis(1))))) };
    /// # drop(coroutine);
    /// ```
    ///
    /// # Panics
    ///
    /// If no stack can be mapped; in a forked child. Awaiting it raises a panic of `f`, and panics if it has ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper::{Coroutine, block_on};
    ///
    /// let (tx, rx) = async_channel::bounded(1);
    /// // SAFETY: the closure uses no thread-local.
    /// let blocking = unsafe { Coroutine::new(move || block_on(rx.recv())) };
    /// let both = async { futures::join!(blocking, async { tx.send(7).await.unwrap() }).0 };
    /// assert_eq!(block_on(both), Ok(7)); // on one thread
    /// ```
    #[inline]
    #[track_caller]
    pub unsafe fn new(f: impl FnOnce() -> R + 'static) -> Self {
        // SAFETY: as the caller promises.
        unsafe { Self::of_call("Coroutine::new", Location::caller(), f) }
    }

    /// Like [`new`](Self::new), for the function `name`, called at `site`.
    ///
    /// # Safety
    ///
    /// The same as for [`new`](Self::new).
    #[inline]
    pub(super) unsafe fn of_call(
        name: &str,
        site: &'static Location<'static>,
        f: impl FnOnce() -> R + 'static,
    ) -> Self {
        // SAFETY: as the caller promises.
        unsafe { Self::made(Size::default(), f, site) }.unwrap_or_else(|error| refuse(name, site, &error))
    }

    /// For a task of ours that is nothing but this coroutine.
    pub(super) fn into_task(mut self) -> Self {
        self.running.iter_mut().for_each(|running| running.of_task = true);
        self
    }

    /// A coroutine of `f` on a stack of that size.
    ///
    /// # Safety
    ///
    /// The same as for [`new`](Self::new).
    #[inline]
    unsafe fn made(size: Size, f: impl FnOnce() -> R + 'static, site: &'static Location<'static>) -> io::Result<Self> {
        fork::forbid("Coroutine::new");
        let room = Room::new(size)?;
        room.own.begin();
        let at = ptr::from_ref(&room.own);
        let code = move || {
            // SAFETY: the coroutine keeps its `Own` until this has returned.
            let cancelled = unsafe { &*at }.is_cancelled();
            // Here, so that a destructor of `f` runs where `f` would have run.
            if cancelled { None } else { Some(f()) }
        };
        let switch = Switch::new(room.take_stack(), at, move || Payload::of(code));
        let running = Running { switch: ManuallyDrop::new(switch), room, started: false, of_task: false, guest: None };
        Ok(Self { running: Some(running), site })
    }
}

/// No stack can be mapped for the function `name`, called at `site`.
#[cold]
fn refuse(name: &str, site: &Location<'_>, error: &io::Error) -> ! {
    panic!(
        "{name}: called at {site}, and no stack of {} KiB can be mapped: {error}; let fewer coroutines wait at once, or \
         allow the process more mappings (vm.max_map_count)",
        Size::default().bytes() / 1024
    )
}

impl Coroutine<()> {
    /// Makes a coroutine with options: the size of its stack.
    ///
    /// # Examples
    ///
    /// See [`Builder`].
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// How many stacks the process's coroutines have and had.
    ///
    /// # Examples
    ///
    /// See [`Stacks`].
    pub fn stacks() -> Stacks {
        stacks::count()
    }
}

impl<R> Running<R> {
    /// Runs it until it is suspended or ends. What it waits for wakes `waker`.
    #[inline(always)]
    fn resume(&mut self, waker: &Waker) -> Resumed<Option<R>> {
        self.started = true;
        if self.guest.is_some() {
            self.guest = None;
        }
        let own = &self.room.own;
        if own.thread().is_current() && (self.of_task || own.is_polled_by_call(waker)) {
            self.run(waker)
        } else {
            self.run_elsewhere(waker)
        }
    }

    #[inline(always)]
    fn run(&mut self, waker: &Waker) -> Resumed<Option<R>> {
        let (own, switch) = (&self.room.own, &mut self.switch);
        own.thread().run_coroutine(own, waker, || switch.resume())
    }

    /// Runs it where another executor polls it, or in a thread-local destructor. Apart, because to look which handle is
    /// current takes as long as all else.
    #[cold]
    #[inline(never)]
    fn run_elsewhere(&mut self, waker: &Waker) -> Resumed<Option<R>> {
        let thread = Rc::clone(self.room.own.thread());
        let _guard;
        let entered = Entered::look("Coroutine");
        if entered.needs_guard() {
            _guard = Entered::guard();
        }
        let _block = (!thread.is_current()).then(|| Thread::make_current(&thread));
        // Where the coroutine's future is a task's, a call nested on the coroutine's stack blocks that task's scheduler, and
        // finds our handle current, so it takes the task for none of tokio's.
        reactor::unconstrained(|| self.run(waker))
    }

    /// Gives its stack back, when it has ended.
    #[inline]
    fn end(self) {
        let Self { switch, room, .. } = self;
        room.give_back(ManuallyDrop::into_inner(switch).into_stack());
    }

    /// Another executor than our loop has suspended it.
    #[cold]
    fn wait_outside(&mut self, waker: &Waker) {
        let own = &self.room.own;
        self.guest = outside::serve(own.thread(), own.number(), waker);
    }
}

impl<R> Future for Coroutine<R> {
    type Output = R;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        let Some(running) = &mut self.running else {
            panic!("Coroutine: made at {}, and awaited again after it gave its result; await it once", self.site);
        };
        match running.resume(cx.waker()) {
            Resumed::Suspended => {
                if !activation::is_coroutine() {
                    running.wait_outside(cx.waker());
                }
                Poll::Pending
            }
            Resumed::Ended(result) => {
                self.running.take().into_iter().for_each(Running::end);
                match result {
                    Ok(result) => Poll::Ready(result.expect("`None` only if it was cancelled")),
                    Err(payload) => payload.resume(),
                }
            }
        }
    }
}

impl<R> Unpin for Coroutine<R> {}

impl<R> Drop for Coroutine<R> {
    #[inline]
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.cancel();
        }
    }
}

impl<R> Running<R> {
    /// It is dropped before it has ended.
    #[cold]
    fn cancel(mut self) {
        // In a forked child, what its destructors would end is the parent's.
        if fork::is_child() || cfg!(panic = "abort") && self.started {
            if !fork::is_child() {
                stacks::kept();
            }
            return std::mem::forget(self);
        }
        self.room.own.cancel();
        let Resumed::Ended(result) = self.resume(Waker::noop()) else {
            unreachable!("a cancelled coroutine is not suspended")
        };
        self.end();
        match result {
            Ok(result) => panics::drop_one(result),
            Err(payload) if payload.is::<Cancelled>() => {}
            Err(payload) => payload.raise(),
        }
    }
}

impl<R> fmt::Debug for Coroutine<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coroutine")
            .field("made", &self.site.to_string())
            .field("ended", &self.running.is_none())
            .finish()
    }
}

/// Makes a [`Coroutine`](crate::Coroutine) with options.
///
/// # The size of a stack
///
/// 256 KiB by default. A stack takes address space of its size and a page more, and memory only for the pages that were
/// touched; so a size too large costs little, and one too small ends the process: code that runs off its stack touches
/// the guard page, and the process gets SIGSEGV. (Rust's message about a stack overflow is for its own threads alone.)
/// Code that runs well on a thread of a given [`stack_size`](std::thread::Builder::stack_size) does so on a coroutine's
/// stack of that size. Take what the thread had, 2 MiB by default, where recursion is deep or the code is not known;
/// measure with a few sizes where there are many coroutines.
///
/// A coroutine whose code waits in a call and uses little of the stack itself takes one page of it in an optimized build
/// and two in a debug build, and less than 1 KiB beside the stack (measured on x86-64 Linux, whose pages have 4 KiB).
///
/// Stacks of the default size are kept by the thread for its next coroutines, 64 at most; others are mapped and
/// unmapped for each. A kept stack keeps the memory of the pages that were touched on it, until the thread ends: 16 MiB
/// a thread at most, if 64 coroutines at once have used theirs up. Returning it to the system each time would cost a
/// system call, several times what a coroutine costs, because nobody knows how deep the stack was used. Code that goes
/// deep only sometimes may ask for another size.
///
/// # Examples
///
/// ```
/// use co_wrapper::{Coroutine, block_on};
///
/// // SAFETY: it makes no call.
/// let deep = unsafe { Coroutine::builder().stack_size(8 << 20).build(|| [0_u8; 4 << 20].len()) }?;
/// assert_eq!(block_on(deep), 4 << 20);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "build() makes the coroutine"]
pub struct Builder {
    size: Size,
}

impl Builder {
    /// The size of the stack in bytes, rounded up to whole pages.
    ///
    /// # Examples
    ///
    /// See [`Builder`].
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.size = Size::new(bytes);
        self
    }

    /// Makes a coroutine of `f`.
    ///
    /// # Errors
    ///
    /// No stack can be mapped.
    ///
    /// # Panics
    ///
    /// In a forked child.
    ///
    /// # Safety
    ///
    /// The same as for [`Coroutine::new`], where both a closure that keeps the promise and one that breaks it are
    /// shown.
    ///
    /// # Examples
    ///
    /// See [`Builder`].
    #[track_caller]
    pub unsafe fn build<R: 'static>(self, f: impl FnOnce() -> R + 'static) -> io::Result<Coroutine<R>> {
        // SAFETY: as the caller promises.
        unsafe { Coroutine::made(self.size, f, Location::caller()) }
    }
}
