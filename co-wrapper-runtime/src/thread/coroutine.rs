//! The per-thread state that each stackful coroutine has for itself, and the one function that exchanges it for the
//! state of whoever resumes the coroutine: [`Thread::run_coroutine`].
//!
//! While a coroutine runs, it is nested inside whatever resumed it, like a task that a loop polls. So the calls on the
//! resumer's stack are outer calls of the coroutine's own calls, and a loop that the coroutine nests polls those outer
//! calls too. But a coroutine may be suspended in a blocking call, and resumed inside more or fewer calls. So at each
//! switch these are exchanged:
//!
//! - the activation: its mark, and the task id to which its graph guards belong;
//! - its call, if it is suspended in one, and that call's slot;
//! - the write guards of the graph lock that it holds;
//! - the contexts that it has entered and not left;
//! - whether its calls are meant to wait long;
//! - what interrupts the calls that suspend it;
//! - the spans that it has entered.
//!
//! The rest belongs to the thread and stays: the parker, the contexts that the thread is home to, its board, the spare
//! slots.
//!
//! Invariant: only the coroutine's outermost code ([`Mark::ROOT`](crate::tasks::activation::Mark)) suspends it. So when
//! it is suspended, its stack has at most one call of its own, no nested wait, and nothing that a loop runs.

use std::{
    cell::{Cell, RefCell, UnsafeCell},
    mem, ptr,
    rc::Rc,
    sync::Arc,
    task::{RawWaker, RawWakerVTable, Waker},
    thread,
};

use corosensei::Yielder;

#[cfg(feature = "graph")]
use super::stack::Writing;
use super::{
    homes::Taken,
    stack::Root,
    state::{Slot, Thread},
};
use crate::{
    sys::interrupts::Interrupts,
    tasks::{
        activation::{self, Mark},
        unit::Unit,
    },
    trace,
    watch::{board::Runs, record::Record},
};

/// What one coroutine has of its own. It lives at one address from before the coroutine begins until after it has
/// ended.
pub struct Own {
    thread: Rc<Thread>,
    number: Cell<u64>,
    mark: Cell<Mark>,
    task: Cell<Unit>,
    /// Whether its thread was unwinding when it was resumed last: then that is not the coroutine's own panic.
    unwinding: Cell<bool>,
    /// The slot of its outermost call. While it runs, the slot that is displaced.
    slot: UnsafeCell<Arc<Slot>>,
    /// Whether it is suspended in that call.
    in_call: Cell<bool>,
    /// Whether one of the following two has something.
    keeps: Cell<bool>,
    #[cfg(feature = "graph")]
    writing: RefCell<Vec<Writing>>,
    entered: RefCell<Vec<Taken>>,
    expects_long: Cell<bool>,
    /// Made when a handle names it, or an interruptible call suspends it.
    interrupts: RefCell<Option<Arc<Interrupts>>>,
    spans: trace::Left,
    /// What the futures of its outermost calls are woken through. Dangles while it does not run.
    waker: Box<Cell<*const Waker>>,
    /// The functions of all wakers that calls of ours lend to their futures, but for calls of coroutines.
    calls: &'static RawWakerVTable,
    /// Suspends it. Null before it begins.
    pub yielder: Cell<*const Yielder<(), ()>>,
    /// For ThreadSanitizer: the stack of whoever resumed it.
    #[cfg(co_wrapper_tsan)]
    resumed_by: Cell<*mut std::ffi::c_void>,
    /// Why it may not be suspended: 0 if it may; see [`Own::CANCELLED`]. The rest is how many guards of the reactor its own
    /// code has taken, and keeps. It took them because another tokio handle was current, and tokio requires that handles
    /// are left in reverse order.
    stays: Cell<u32>,
}

/// Counts a guard of the reactor that a coroutine has taken.
pub struct Stays(u64);

impl Stays {
    /// For the innermost coroutine, if there is one.
    #[cold]
    pub fn new(thread: &Thread) -> Option<Self> {
        let own = thread.coroutine()?;
        own.stays.set(own.stays.get() + 1);
        Some(Self(own.number()))
    }
}

impl Drop for Stays {
    fn drop(&mut self) {
        // SAFETY: as in `Thread::coroutine`, until this returns.
        let own = unsafe { INNERMOST.get().as_ref() };
        if let Some(own) = own.filter(|own| own.number() == self.0) {
            own.stays.set(own.stays.get() - 1);
        }
    }
}

impl Own {
    /// For a coroutine of this thread.
    ///
    /// # Panics
    ///
    /// In a forked child.
    #[track_caller]
    pub fn new(caller: &str) -> Self {
        let thread = Thread::current(caller);
        let waker = Box::new(Cell::new(ptr::null()));
        let slot = Arc::new(Slot::of_coroutine(thread.parker.unparker(), resumes(&waker)));
        thread.stack.board.add_other(&slot);
        let calls = slot.wakes.waker().vtable();
        Self {
            thread,
            calls,
            number: Cell::new(0),
            mark: Cell::new(Mark::ROOT),
            task: Cell::new(Unit::NONE),
            unwinding: Cell::new(false),
            slot: UnsafeCell::new(slot),
            in_call: Cell::new(false),
            keeps: Cell::new(false),
            #[cfg(feature = "graph")]
            writing: RefCell::default(),
            entered: RefCell::default(),
            expects_long: Cell::new(false),
            interrupts: RefCell::default(),
            spans: trace::Left::new(),
            waker,
            yielder: Cell::new(ptr::null()),
            #[cfg(co_wrapper_tsan)]
            resumed_by: Cell::new(ptr::null_mut()),
            stays: Cell::new(0),
        }
    }

    /// Prepares it for another coroutine.
    #[inline]
    pub fn begin(&self) {
        thread_local! { static LAST: Cell<u64> = const { Cell::new(0) } }
        let number = LAST.get() + 1;
        LAST.set(number);
        self.number.set(number);
        self.mark.set(Mark::ROOT);
        self.task.set(Unit::new());
        self.expects_long.set(self.thread.stack.board.expects_long());
        self.yielder.set(ptr::null());
        self.stays.set(0);
        self.interrupts.replace(None);
    }

    /// Forgets what the coroutine, which has ended, has left behind: guards that it returned or forgot. Nobody puts their
    /// entries back any more. A guard of a context still keeps the thread home there until it is dropped.
    #[inline]
    pub fn end(&self) {
        if self.keeps.replace(false) {
            self.forget_kept();
        }
    }

    #[cold]
    fn forget_kept(&self) {
        #[cfg(feature = "graph")]
        self.writing.take();
        let entered = self.entered.take();
        // This may drop the last reference to a context.
        drop(entered);
    }

    /// What interrupts the calls that suspend it.
    pub fn interrupts(&self) -> Arc<Interrupts> {
        Arc::clone(self.interrupts.borrow_mut().get_or_insert_with(Interrupts::new))
    }

    /// In [`stays`](Self::stays): it was dropped before it ended, and is being unwound.
    const CANCELLED: u32 = 1 << 31;

    /// It is dropped before it has ended: it is to be unwound, and is suspended no more.
    pub fn cancel(&self) {
        self.stays.set(self.stays.get() | Self::CANCELLED);
    }

    #[inline(always)]
    pub fn is_cancelled(&self) -> bool {
        self.stays.get() & Self::CANCELLED != 0
    }

    #[inline(always)]
    pub fn may_be_suspended(&self) -> bool {
        self.stays.get() == 0
    }

    /// Whether a panic that unwinds the thread now was there already when the coroutine was resumed.
    #[cold]
    pub fn was_resumed_unwinding(&self) -> bool {
        self.unwinding.get()
    }

    /// Its number among the coroutines of its thread.
    pub fn number(&self) -> u64 {
        self.number.get()
    }

    /// Whether a call of ours polls it, and nobody in between: then our reactor's handle is current, unless somebody
    /// has entered another. `waker` is what it is polled with.
    #[inline]
    pub fn is_polled_by_call(&self, waker: &Waker) -> bool {
        let functions = waker.vtable();
        activation::is_coroutine() && (ptr::eq(functions, self.calls) || ptr::eq(functions, &RESUMES))
    }

    /// The thread whose coroutine it is.
    #[inline]
    pub fn thread(&self) -> &Rc<Thread> {
        &self.thread
    }

    /// What other threads see of its call. To be used while it does not run.
    fn record(&self) -> &Record {
        // SAFETY: only `Stack::exchange` writes it, which `run_coroutine` calls, and that does not keep what this returns.
        &unsafe { &*self.slot.get() }.record
    }

    /// Lends another waker to the futures of its outermost call. Returns the one that was lent before. The caller lends
    /// that again before the waker's borrow ends.
    pub fn exchange_waker(&self, waker: *const Waker) -> *const Waker {
        self.waker.replace(waker)
    }

    /// What resumes the coroutine. To be used while it runs.
    pub fn waker(&self) -> &Waker {
        // SAFETY: set by `run_coroutine`, which borrows the waker for as long as the coroutine runs.
        unsafe { &*self.waker.get() }
    }
}

/// ThreadSanitizer is told right before each switch of stacks.
#[cfg(co_wrapper_tsan)]
impl Own {
    /// The next call switches from the fiber `from` to `to`, the coroutine's.
    ///
    /// # Safety
    ///
    /// `from` is the current fiber, and `to` exists.
    #[inline(always)]
    pub unsafe fn enter_fiber(&self, from: *mut std::ffi::c_void, to: *mut std::ffi::c_void) {
        self.resumed_by.set(from);
        // SAFETY: it exists.
        unsafe { __tsan_switch_to_fiber(to, 0) };
    }

    /// The next call switches back.
    #[inline(always)]
    pub fn leave_fiber(&self) {
        // SAFETY: the fiber of whoever resumed the coroutine, and waits for it.
        unsafe { __tsan_switch_to_fiber(self.resumed_by.get(), 0) };
    }
}

#[cfg(co_wrapper_tsan)]
unsafe extern "C" {
    fn __tsan_switch_to_fiber(fiber: *mut std::ffi::c_void, flags: std::ffi::c_uint);
}

impl Drop for Own {
    fn drop(&mut self) {
        self.thread.stack.board.remove_other(self.slot.get_mut());
    }
}

thread_local! {
    /// The innermost coroutine on this thread's stack.
    static INNERMOST: Cell<*const Own> = const { Cell::new(ptr::null()) };
}

impl Thread {
    /// The innermost coroutine on this thread's stack.
    #[inline]
    pub fn coroutine(&self) -> Option<&Own> {
        // SAFETY: set by `run_coroutine`, which borrows it for as long as the coroutine is on the stack, and the caller
        // is nested inside that.
        unsafe { INNERMOST.get().as_ref() }
    }

    /// Runs the coroutine `own` of this thread, whose block is current, with `run`, until it is suspended or ends, with its
    /// own marks in place of the current ones. What it waits for wakes `waker`. `run` does not unwind.
    ///
    /// Inlined, as is all that it calls on the way to the switch of stacks: the processor expects each function to
    /// return to the last call that it has seen, so each that returns right after a switch stalls it.
    #[inline(always)]
    pub fn run_coroutine<R>(&self, own: &Own, waker: &Waker, run: impl FnOnce() -> R) -> R {
        debug_assert!(self.is_current(), "the caller makes it so");
        let (stack, calls) = (&self.stack, self.depth());
        own.unwinding.set(thread::panicking());
        stack.dispatch(Runs::Task, own.mark.get(), || {
            activation::set_task(own.task.get());
            let outer_coroutine = INNERMOST.replace(own);
            let root = Root { coroutine: own.number.get(), calls, runs: stack.board.runs() };
            let outer_root = stack.root.replace(root);
            own.waker.set(waker);
            let outer_long = stack.board.expect_long(own.expects_long.get());
            let entry = self.highest_entry();
            #[cfg(feature = "graph")]
            let others = stack.writing.borrow().len();
            if own.keeps.get() {
                self.put_back(own, calls);
            }
            if stack.next().is_none() {
                self.add_slot();
            }
            own.record().set_position(Some(calls));
            stack.exchange(&own.slot, calls, own.in_call.get());
            let outer_span = own.spans.enter_again();

            let result = run();

            own.spans.leave(outer_span);
            own.mark.set(activation::current_mark());
            debug_assert!(self.depth() <= calls + 1 && stack.board.runs() == root.runs, "suspended in a nested call");
            own.in_call.set(self.depth() > calls);
            stack.exchange(&own.slot, calls, false);
            own.record().set_position(None);
            if stack.shown() > calls {
                self.set_shown(calls);
            }
            #[cfg(feature = "graph")]
            if stack.writing.borrow().len() > others {
                own.keeps.set(true);
                stack.take_from(others, &mut own.writing.borrow_mut(), calls);
            }
            if self.highest_entry() > entry {
                self.take_along(own, outer_root);
            }
            own.expects_long.set(stack.board.expects_long());
            stack.board.end_expect_long(outer_long);
            stack.root.set(outer_root);
            INNERMOST.set(outer_coroutine);
            result
        })
    }

    /// Puts back what a coroutine that runs inside `calls` calls has left.
    #[cold]
    fn put_back(&self, own: &Own, calls: usize) {
        own.keeps.set(false);
        let left = self.homes.borrow_mut().enter_again(own.entered.take());
        // This may drop the last reference to a context.
        drop(left);
        #[cfg(feature = "graph")]
        self.stack.put_back(&mut own.writing.borrow_mut(), calls);
        #[cfg(not(feature = "graph"))]
        let _ = calls;
    }

    /// Leaves the contexts that a coroutine has entered. `outer` is the root of whoever resumed it.
    #[cold]
    fn take_along(&self, own: &Own, outer: Root) {
        let root = self.stack.root.get();
        // Without the coroutine itself.
        let from = Root { calls: root.calls - outer.calls, runs: root.runs - 1 - outer.runs, ..outer };
        let entered = self.homes.borrow_mut().take_along(own.number(), from);
        if !entered.is_empty() {
            own.keeps.set(true);
            *own.entered.borrow_mut() = entered;
        }
    }
}

/// The waker of a coroutine's slot: clones of it are clones of what is to be woken now, which `waker` points to.
fn resumes(waker: &Cell<*const Waker>) -> Waker {
    // SAFETY: the functions are those of the waker that the cell points to, and may be called from any thread while the
    // slot's waker is lent.
    unsafe { Waker::new(ptr::from_ref(waker).cast(), &RESUMES) }
}

static RESUMES: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: by the contract of `current`.
        let waker = mem::ManuallyDrop::new(unsafe { current(data) }.clone());
        RawWaker::new(waker.data(), waker.vtable())
    },
    // SAFETY: by the contract of `current`.
    |data| unsafe { current(data) }.wake_by_ref(),
    // SAFETY: by the contract of `current`.
    |data| unsafe { current(data) }.wake_by_ref(),
    |_| {},
);

/// What is to be woken now.
///
/// # Safety
///
/// `data` is the address of an [`Own::waker`], whose coroutine runs.
unsafe fn current<'a>(data: *const ()) -> &'a Waker {
    // SAFETY: the slot's waker is lent to futures only while its coroutine runs and polls them. Meanwhile the `Own` is
    // there, the cell points to a waker that `run_coroutine` borrows, and nothing writes the cell: so another thread
    // to which the future lends the waker may read both.
    unsafe { &*(*data.cast::<Cell<*const Waker>>()).get() }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{panic::Location, task::Waker};

    use super::*;
    use crate::thread::state::Place;

    static NAME: &str = "call";

    fn coroutine() -> Box<Own> {
        let own = Box::new(Own::new("test"));
        own.begin();
        own
    }

    fn call() -> Place {
        Place::push(&NAME, Location::caller())
    }

    fn thread() -> Rc<Thread> {
        Thread::current("test")
    }

    /// What observers see: where each call on the stack was made, outermost first.
    fn seen() -> Vec<u32> {
        thread().stack.board.on_stack(usize::MAX).iter().map(|slot| slot.site().unwrap().line()).collect()
    }

    fn at(place: &Place) -> u32 {
        place.slot().site().unwrap().line()
    }

    /// Coroutines A and B suspend in their calls, inside different numbers of calls, and are resumed inside others, in
    /// any order.
    ///
    /// Catches: a slot that two calls have; a call that is counted, or seen, where its coroutine does not run; a slot
    /// that is lost.
    #[test]
    fn coroutines_take_their_calls_with_them() {
        let thread = thread();
        let (a, b) = (coroutine(), coroutine());
        let call_a = thread.run_coroutine(&a, Waker::noop(), call);
        assert_eq!((thread.depth(), seen()), (0, vec![]));
        let outer = call();
        let call_b = thread.run_coroutine(&b, Waker::noop(), || {
            let call_b = call();
            assert_eq!((thread.depth(), seen()), (2, vec![at(&outer), at(&call_b)]));
            call_b
        });
        assert_eq!((thread.depth(), seen()), (1, vec![at(&outer)]));
        // B is resumed in A's code, in a call of A's.
        thread.run_coroutine(&a, Waker::noop(), || {
            let nested = call();
            thread.run_coroutine(&b, Waker::noop(), || {
                let calls = vec![at(&outer), at(&call_a), at(&nested), at(&call_b)];
                assert_eq!((thread.depth(), seen()), (4, calls));
            });
            assert_eq!(seen(), [at(&outer), at(&call_a), at(&nested)]);
            drop(nested);
            drop(call_a);
            // Now another one, in the same slot.
            let again = call();
            drop(again);
        });
        drop(outer);
        assert_eq!((thread.depth(), seen()), (0, vec![]));
        thread.run_coroutine(&b, Waker::noop(), || {
            assert_eq!(seen(), [at(&call_b)]);
            drop(call_b);
        });
        let suspended = thread.stack.board.suspended().len();
        drop((a, b));
        assert_eq!(thread.stack.board.suspended().len(), suspended - 2, "slots of coroutines that are gone");
    }

    /// Catches: marks of a coroutine that its thread's other code has, or the reverse; one that it loses.
    #[test]
    fn what_a_coroutine_is_goes_with_it() {
        let thread = thread();
        let a = coroutine();
        let expects = || thread.stack.board.expects_long();
        let outer_long = thread.stack.board.expect_long(true);
        let (call_a, long) = thread.run_coroutine(&a, Waker::noop(), || {
            assert!(activation::is_coroutine() && !activation::may_move() && !expects());
            let long = thread.stack.board.expect_long(true);
            #[cfg(feature = "graph")]
            thread.stack.writing.borrow_mut().push(Writing {
                place: Location::caller(),
                calls: thread.depth(),
                coroutine: 1,
            });
            (call(), long)
        });
        assert!(!activation::is_coroutine() && expects());
        thread.stack.board.end_expect_long(outer_long);
        #[cfg(feature = "graph")]
        assert!(thread.stack.writing.borrow().is_empty() && activation::task() == 0);
        let outer = call();
        thread.run_coroutine(&a, Waker::noop(), || {
            assert!(expects());
            #[cfg(feature = "graph")]
            {
                let number = activation::task();
                assert_eq!(thread.stack.writing.borrow()[0].calls, 1, "where it is resumed");
                // As every other task, it waits while a loop of its own runs something.
                assert!(!thread.stack.is_suspended(number, 9));
                thread.stack.dispatch(Runs::Callback, Mark::NONE, || {
                    assert!(thread.stack.is_suspended(number, 9) && activation::task() == 0);
                });
            }
            thread.stack.board.end_expect_long(long);
            drop(call_a);
        });
        assert!(!expects());
        drop(outer);
    }
}
