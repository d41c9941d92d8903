//! Interrupts: which call they end, from where, and what they never cost. The lines i01 to i06 of the contract.

#![cfg(not(loom))]

mod common;
#[path = "common/waiting.rs"]
mod waiting;

use std::{
    future::{Future, pending, poll_fn, ready},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
    thread,
};

use co_wrapper_runtime::{
    __private::{Wrapper, poll_co_in, poll_co_in_interruptible, poll_co_interruptible, poll_co_timeout},
    AioContext, IoThread, block_on, block_on_interruptible, hang,
    interrupt::{self, Handle, Interrupted},
};
use common::{mixed, ms, panic_of, plain, sized, within_bounds};
use waiting::sleeps;

static CALL: Wrapper = Wrapper { name: "call_interruptible", target: "co_call", mixed: true };
static REMOTE: Wrapper = Wrapper { name: "remote", target: "co_remote", mixed: true };

/// What a stuck call borrows, and who interrupts it.
#[derive(Clone)]
struct Stuck {
    /// Counted while the future is there.
    held: Arc<()>,
    /// Called in the future's first poll.
    polled: Arc<dyn Fn() + Send + Sync>,
}

impl Stuck {
    /// A future that is never ready.
    async fn wait(self) {
        let Self { held: _held, polled } = self;
        polled();
        pending::<()>().await;
    }

    async fn wait_large(self) {
        let large = [1_u8; 64 << 10];
        self.wait().await;
        assert_eq!(large[large.len() - 1], 1);
    }
}

type Ended = Result<(), Interrupted>;

type Wait = (&'static str, fn(&IoThread, Stuck) -> Ended);

/// Every way to wait interruptibly.
const WAITS: &[Wait] = &[
    ("a twin", |_, stuck| poll_co_interruptible(&CALL, stuck, Stuck::wait)),
    ("a twin with a large future", |_, stuck| poll_co_interruptible(&CALL, stuck, Stuck::wait_large)),
    ("`block_on_interruptible`", |_, stuck| block_on_interruptible(stuck.wait())),
    ("`AioContext::block_on_interruptible`", |_, stuck| AioContext::current().block_on_interruptible(stuck.wait())),
    ("the same without a home", |_, stuck| AioContext::new().unwrap().block_on_interruptible(stuck.wait())),
    ("a twin in another context", |io, stuck| poll_co_in_interruptible(&CALL, io.context(), stuck, Stuck::wait)),
    ("a twin in another context with a large future", |io, stuck| {
        poll_co_in_interruptible(&CALL, io.context(), stuck, Stuck::wait_large)
    }),
    ("a twin in the thread's own context", |_, stuck| {
        poll_co_in_interruptible(&CALL, &AioContext::current(), stuck, Stuck::wait)
    }),
    ("a twin in a context without a home", |_, stuck| {
        poll_co_in_interruptible(&CALL, &AioContext::new().unwrap(), stuck, Stuck::wait)
    }),
    ("a twin inside a call's future", |_, stuck| mixed(async { poll_co_interruptible(&CALL, stuck, Stuck::wait) })),
    ("a twin in another context, inside a call's future", |io, stuck| {
        mixed(async { poll_co_in_interruptible(&CALL, io.context(), stuck, Stuck::wait) })
    }),
    ("a twin in a task that a call serves", |_, stuck| {
        let task = AioContext::current().spawn(async { poll_co_interruptible(&CALL, stuck, Stuck::wait) });
        block_on(task)
    }),
    ("a twin in a bottom half that a call serves", |_, stuck| {
        let (tx, rx) = async_channel::bounded(1);
        AioContext::current().schedule_bh(move || {
            tx.try_send(poll_co_interruptible(&CALL, stuck, Stuck::wait)).unwrap();
        });
        block_on(rx.recv()).unwrap()
    }),
    #[cfg(feature = "tokio")]
    ("a twin on a foreign runtime's worker", |_, stuck| {
        // The task is polled on this thread, so that the handle names it.
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { poll_co_interruptible(&CALL, stuck, Stuck::wait) })
    }),
];

/// Runs `wait` on this thread, with this thread as a home, and interrupts it with `interrupt` once its future was polled.
fn interrupted(wait: fn(&IoThread, Stuck) -> Ended, interrupt: impl Fn(&Handle) + Send + Sync + 'static) -> Ended {
    let io = IoThread::spawn("io").unwrap();
    let ctx = AioContext::new().unwrap();
    let _home = ctx.enter();
    let (handle, held) = (Handle::current(), Arc::new(()));
    let stuck = Stuck { held: held.clone(), polled: Arc::new(move || interrupt(&handle)) };
    let ended = wait(&io, stuck);
    assert_eq!(Arc::strong_count(&held), 1, "the future is there after the call has returned");
    assert!(!interrupt::take(), "one interrupt ends one call");
    ended
}

/// Whether a thread of this name sleeps in a call.
fn sleeps_in_a_call(thread: &str) -> bool {
    let thread = format!("`{thread}`");
    hang::report().calls().iter().any(|call| call.thread() == thread && call.state() == hang::State::Parked)
}

/// Catches: a way to wait that is not woken, or that does not look; a future that is dropped late; an interrupt that ends
/// two calls. Rows: who interrupts, and when.
#[test]
fn i01_an_interrupt_ends_the_call_that_waits() {
    for &(name, wait) in WAITS {
        within_bounds(move || {
            // In the middle of the first poll, on the thread that polls it.
            assert_eq!(interrupted(wait, Handle::interrupt), Err(Interrupted), "{name}, during its first poll");
            // At some time after the first poll, mostly in its sleep.
            let later = |handle: &Handle| {
                let handle = handle.clone();
                thread::spawn(move || {
                    thread::sleep(ms(sized(2, 1) as u64));
                    handle.interrupt();
                });
            };
            assert_eq!(interrupted(wait, later), Err(Interrupted), "{name}, from another thread");
            // Before the call.
            Handle::current().interrupt();
            assert_eq!(interrupted(wait, |_| ()), Err(Interrupted), "{name}, before the call");
        });
    }
}

/// Catches: a call that looks only before it falls asleep.
#[test]
fn i01_it_ends_a_call_that_sleeps() {
    for &(name, wait) in WAITS.iter().filter(|(name, _)| !name.contains("foreign")) {
        within_bounds(move || {
            let (tell, told) = std::sync::mpsc::channel();
            let sleeper = thread::Builder::new().name("sleeper".into()).spawn(move || {
                tell.send(Handle::current()).unwrap();
                let io = IoThread::spawn("io").unwrap();
                let ctx = AioContext::new().unwrap();
                let _home = ctx.enter();
                wait(&io, Stuck { held: Arc::new(()), polled: Arc::new(|| ()) })
            });
            let handle = told.recv().unwrap();
            while !sleeps_in_a_call("sleeper") {
                thread::sleep(ms(1));
            }
            handle.interrupt();
            assert_eq!(sleeper.unwrap().join().unwrap(), Err(Interrupted), "{name}");
        });
    }
}

/// Catches: a ready call that is interrupted, or that takes the interrupt; one that is lost, or counted twice.
#[test]
fn i02_a_result_wins_and_the_interrupt_stays_pending() {
    within_bounds(|| {
        let io = IoThread::spawn("io").unwrap();
        let handle = Handle::current();
        handle.interrupt();
        handle.interrupt();
        assert_eq!(poll_co_interruptible(&CALL, 7, ready), Ok(7));
        assert_eq!(block_on_interruptible(ready(8)), Ok(8));
        // Ready when it is polled the second time, for which it was woken before the call looks.
        let mut polls = 0;
        let second = poll_fn(|cx| {
            polls += 1;
            cx.waker().wake_by_ref();
            if polls == 2 { Poll::Ready(polls) } else { Poll::Pending }
        });
        assert_eq!(block_on_interruptible(second), Ok(2));
        assert!(handle.is_pending());
        // Calls that are not interruptible leave it alone.
        let wakes = || async {
            thread::yield_now();
            let (tx, rx) = async_channel::bounded(1);
            thread::spawn(move || tx.send_blocking(9));
            rx.recv().await.unwrap()
        };
        assert_eq!((plain(wakes()), mixed(wakes()), block_on(wakes())), (9, 9, 9));
        assert_eq!(poll_co_in(&REMOTE, io.context(), (), |()| wakes()), 9);
        assert_eq!(poll_co_timeout(&REMOTE, common::BOUND, (), |()| wakes()), Ok(9));
        assert!(handle.is_pending());
        assert_eq!(block_on_interruptible(pending::<()>()), Err(Interrupted));
        assert!(!handle.is_pending() && !interrupt::take());
        assert_eq!(block_on_interruptible(wakes()), Ok(9));
    });
}

/// The call is done in its context, and its caller takes the interrupt before it sees that.
///
/// Catches: a result that is thrown away; an interrupt that is gone although no call has ended for it.
#[test]
fn i02_a_call_elsewhere_that_is_done_returns_its_result() {
    within_bounds(|| {
        let io = Arc::new(IoThread::spawn("io").unwrap());
        let (go, gone) = async_channel::bounded::<()>(1);
        let asks = io.clone();
        // The hook keeps the caller from looking until the call is done.
        hook::set(move || {
            go.close();
            let (tell, told) = std::sync::mpsc::channel();
            while !told.try_iter().any(|done| done) {
                // These tasks come after the call that was woken.
                let (tell, gone) = (tell.clone(), go.clone());
                asks.context().spawn(async move { tell.send(gone.receiver_count() == 0) });
                thread::yield_now();
            }
            true
        });
        let done = poll_co_in_interruptible(&CALL, io.context(), gone, |gone| async move {
            assert!(gone.recv().await.is_err());
            drop(gone);
            7
        });
        assert_eq!(done, Ok(7));
        assert!(interrupt::take(), "no call has ended for it");
    });
}

/// Catches: an interrupt that a call which is not interruptible takes, or that ends the outer of two; an outer call that
/// waits on.
#[test]
fn i03_it_ends_the_innermost_interruptible_call_that_waits() {
    // Two interruptible calls: the inner one runs in a task that the outer one serves.
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let handle = Handle::current();
        let both = block_on_interruptible(async {
            let interrupts = handle.clone();
            let inner = ctx.spawn(async move {
                thread::spawn(move || interrupts.interrupt());
                block_on_interruptible(pending::<()>())
            });
            inner.await
        });
        assert_eq!(both, Ok(Err(Interrupted)));
    });
    // The inner one is not: it waits on, and the outer one ends when it has returned.
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let handle = Handle::current();
        let inner_done = Arc::new(AtomicBool::new(false));
        let (done, interrupts) = (inner_done.clone(), handle.clone());
        let (tx, rx) = async_channel::bounded::<()>(1);
        let here = ctx.clone();
        let task = ctx.spawn(async move {
            let closes = thread::spawn(move || {
                let asleep = sleeps(&here);
                interrupts.interrupt();
                // When it sleeps again, an interrupt that ends the wrong call has done so.
                asleep();
                drop(tx);
            });
            assert!(block_on(rx.recv()).is_err());
            closes.join().unwrap();
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!(block_on_interruptible(pending::<()>()), Err(Interrupted));
        assert!(inner_done.load(Ordering::Relaxed) && !handle.is_pending());
        ctx.block_on(task);
    });
    // The outer one is in the middle of its poll, and is ready after it: its result wins.
    within_bounds(|| {
        let handle = Handle::current();
        let outer = block_on_interruptible(async {
            handle.interrupt();
            let (tx, rx) = async_channel::bounded(1);
            thread::spawn(move || tx.send_blocking(7));
            block_on(rx.recv()).unwrap()
        });
        assert_eq!(outer, Ok(7));
        assert!(interrupt::take());
    });
}

/// Catches: another thread's interrupt that ends a call, a handle that outlives its thread and is not harmless.
#[test]
fn i03_a_handle_names_one_thread() {
    within_bounds(|| {
        let ended = thread::spawn(Handle::current).join().unwrap();
        ended.interrupt();
        assert!(ended.is_pending() && !interrupt::take());
        let (tx, rx) = async_channel::bounded(1);
        let (tell, told) = std::sync::mpsc::channel();
        let other = thread::spawn(move || {
            tell.send(Handle::current()).unwrap();
            block_on_interruptible(rx.recv())
        });
        let theirs = told.recv().unwrap();
        Handle::current().interrupt();
        ended.interrupt();
        tx.send_blocking(7).unwrap();
        assert_eq!(other.join().unwrap(), Ok(Ok(7)));
        theirs.interrupt();
        assert!(interrupt::take());
    });
}

/// Before and after our own destructor, which a thread has once it has used us.
///
/// Catches: a panic, or a call that an interrupt of a block that is gone ends.
#[test]
fn i03_handles_work_in_a_thread_locals_destructor() {
    struct AtEnd(std::sync::mpsc::Sender<u8>);
    impl Drop for AtEnd {
        fn drop(&mut self) {
            let handle = Handle::current();
            handle.interrupt();
            assert!(handle.is_pending());
            // Whether it was this one's depends on the order of the destructors.
            let _ = interrupt::take();
            self.0.send(block_on_interruptible(ready(7)).unwrap()).unwrap();
        }
    }
    thread_local! { static AT_END: std::cell::RefCell<Option<AtEnd>> = const { std::cell::RefCell::new(None) } }
    for uses_us_first in [None, Some(true), Some(false)] {
        within_bounds(move || {
            let (tell, told) = std::sync::mpsc::channel();
            let ends = thread::spawn(move || {
                let _first = (uses_us_first == Some(true)).then(Handle::current);
                AT_END.set(Some(AtEnd(tell)));
                let _second = (uses_us_first == Some(false)).then(Handle::current);
            });
            ends.join().unwrap();
            assert_eq!(told.recv(), Ok(7));
        });
    }
}

/// An inner call takes the interrupt of the outer one by hand, which then waits for the next.
///
/// Catches: a call that is woken for its first interrupt only.
#[test]
fn i01_a_call_that_was_woken_in_vain_is_woken_again() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let handle = Handle::current();
        let here = ctx.clone();
        let task = ctx.spawn(async move {
            for _ in 0..3 {
                // Woken, the outer call is polled by this loop, and finds nothing.
                handle.interrupt();
                let (tx, rx) = async_channel::bounded::<()>(1);
                let asleep = sleeps(&here);
                let later = thread::spawn(move || {
                    asleep();
                    drop(tx);
                });
                assert!(block_on(rx.recv()).is_err());
                later.join().unwrap();
                assert!(interrupt::take());
            }
            let asleep = sleeps(&here);
            thread::spawn(move || {
                asleep();
                handle.interrupt();
            });
        });
        assert_eq!(block_on_interruptible(pending::<()>()), Err(Interrupted));
        ctx.block_on(task);
    });
}

/// Catches: an interrupt, a result or a call that is lost when they meet at random.
#[test]
fn i02_calls_and_interrupts_at_random_all_end() {
    const EACH: usize = sized(2_000, 20);
    within_bounds(|| {
        let io = Arc::new(IoThread::spawn("io").unwrap());
        let (calls, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let threads = [1_u64, 2].map(|seed| {
            let (io, calls, over) = (io.clone(), calls.clone(), over.clone());
            let (tell, told) = std::sync::mpsc::channel();
            let caller = thread::spawn(move || {
                let handle = Handle::current();
                tell.send(handle.clone()).unwrap();
                let ctx = AioContext::new().unwrap();
                let _home = ctx.enter();
                let mut random = fastrand::Rng::with_seed(seed);
                let (mut results, mut interruptions) = (0, 0);
                for _ in 0..EACH {
                    let (tx, rx) = async_channel::bounded(1);
                    match random.u8(..4) {
                        0 => tx.try_send(()).unwrap(),
                        1 => drop(io.context().spawn(async move { tx.try_send(()) })),
                        2 => drop(ctx.spawn(async move { tx.try_send(()) })),
                        _ => {
                            thread::spawn(move || tx.send_blocking(()));
                        }
                    }
                    let receive = |rx: async_channel::Receiver<()>| async move { rx.recv().await.unwrap() };
                    let ended = match random.u8(..5) {
                        0 => poll_co_interruptible(&CALL, rx, receive),
                        1 => poll_co_in_interruptible(&CALL, io.context(), rx, receive),
                        2 => mixed(async { poll_co_interruptible(&CALL, rx, receive) }),
                        3 => ctx.block_on(ctx.spawn(async move { block_on_interruptible(receive(rx)) })),
                        _ => block_on_interruptible(async { plain_nested(rx, receive) }),
                    };
                    match ended {
                        Ok(()) => results += 1,
                        Err(Interrupted) => interruptions += 1,
                    }
                    calls.fetch_add(1, Ordering::Relaxed);
                }
                over.store(true, Ordering::Relaxed);
                (results, interruptions)
            });
            (told.recv().unwrap(), caller)
        });
        let mut made = [0; 2];
        let mut random = fastrand::Rng::with_seed(3);
        while !over.load(Ordering::Relaxed) {
            let at = random.usize(..2);
            if !threads[at].0.is_pending() {
                threads[at].0.interrupt();
                made[at] += 1;
            }
            for _ in 0..random.u32(..2_000) {
                std::hint::spin_loop();
            }
        }
        let mut interruptions = 0;
        for ((handle, caller), made) in threads.into_iter().zip(made) {
            let (results, interrupted) = caller.join().unwrap();
            assert_eq!(results + interrupted, EACH, "calls that have ended");
            // Each interrupt was made while none was pending, or ran into one that was put back meanwhile.
            assert!(interrupted + usize::from(handle.is_pending()) <= made, "an interrupt ended two calls");
            interruptions += interrupted;
        }
        assert_eq!(calls.load(Ordering::Relaxed), 2 * EACH);
        assert!(interruptions > 0 || cfg!(miri), "nothing was interrupted");
    });
}

/// Calls a mixed wrapper in coroutine context, which is not interruptible.
fn plain_nested<F: Future<Output = ()>>(
    rx: async_channel::Receiver<()>,
    receive: impl FnOnce(async_channel::Receiver<()>) -> F,
) {
    mixed(receive(rx));
}

/// What a hook says, for the thread that sets it.
mod hook {
    use std::cell::RefCell;

    type Hook = Box<dyn FnMut() -> bool>;

    thread_local! { static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) } }

    /// For calls on this thread.
    pub fn set(hook: impl FnMut() -> bool + 'static) {
        HOOK.set(Some(Box::new(hook)));
        super::interrupt::set_hook(Some(ask));
    }

    fn ask() -> bool {
        let Some(mut hook) = HOOK.take() else { return false };
        let answer = hook();
        HOOK.set(Some(hook));
        answer
    }
}

/// Catches: a hook that is not asked, by whatever waits; one that is asked once; one that runs elsewhere, in coroutine
/// context or under a lock; an answer that ends nothing.
#[test]
fn i05_a_hook_is_asked_while_a_call_waits() {
    for &(name, wait) in WAITS {
        within_bounds(move || {
            let (asked, here) = (Arc::new(AtomicUsize::new(0)), thread::current().id());
            let counts = asked.clone();
            hook::set(move || {
                assert_eq!(thread::current().id(), here);
                // It may block, and use what is ours.
                assert!(!co_wrapper_runtime::in_coroutine());
                let (tx, rx) = async_channel::bounded(1);
                thread::spawn(move || tx.send_blocking(()));
                plain(rx.recv()).unwrap();
                counts.fetch_add(1, Ordering::Relaxed) == 1
            });
            assert_eq!(interrupted(wait, |_| ()), Err(Interrupted), "{name}");
            assert_eq!(asked.load(Ordering::Relaxed), 2, "{name}");
        });
    }
    // Nobody asks for a call that is ready or not interruptible.
    within_bounds(|| {
        hook::set(|| panic!("asked"));
        assert_eq!(block_on_interruptible(ready(7)), Ok(7));
        let (tx, rx) = async_channel::bounded(1);
        thread::spawn(move || {
            thread::sleep(ms(120));
            tx.send_blocking(8)
        });
        assert_eq!(block_on(rx.recv()), Ok(8));
    });
}

/// Catches: a panic that is lost, that leaves the call waiting, or its future in place.
#[test]
fn i05_a_panic_of_the_hook_goes_to_the_caller() {
    for &(name, wait) in WAITS {
        within_bounds(move || {
            hook::set(|| panic!("on purpose"));
            let held = Arc::new(());
            let stuck = Stuck { held: held.clone(), polled: Arc::new(|| ()) };
            let message = panic_of(move || {
                let io = IoThread::spawn("io").unwrap();
                let ctx = AioContext::new().unwrap();
                let _home = ctx.enter();
                wait(&io, stuck).unwrap();
            });
            assert_eq!(message, "on purpose", "{name}");
            assert_eq!(Arc::strong_count(&held), 1, "{name}");
            assert!(!interrupt::take(), "{name}");
        });
    }
}

/// A handler that does nothing else, on the thread that waits and on another one, while the call sleeps and while it is
/// polled.
///
/// Catches: an interrupt that needs a lock, which the interrupted code may hold; one that is not seen where the handler runs on
/// the thread that it is for.
#[cfg(all(unix, not(miri)))]
#[test]
fn i04_a_signal_handler_may_interrupt() {
    use std::{
        mem,
        os::unix::thread::JoinHandleExt,
        ptr,
        sync::{OnceLock, mpsc},
    };

    static WAITING: OnceLock<Handle> = OnceLock::new();
    static HANDLED: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn handle(_: libc::c_int) {
        if let Some(waiting) = WAITING.get() {
            waiting.interrupt();
            HANDLED.fetch_add(usize::from(waiting.is_pending()), Ordering::Relaxed);
        }
    }

    const EACH: usize = 300;
    // SAFETY: the handler uses atomics and what may be called in a handler.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = handle as *const () as usize;
        // The waiting thread is in a system call when the signal comes: with and without `SA_RESTART` it must not matter.
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, ptr::null_mut()), 0);
        action.sa_flags = 0;
        assert_eq!(libc::sigaction(libc::SIGUSR2, &action, ptr::null_mut()), 0);
    }
    within_bounds(|| {
        let (tell, told) = mpsc::channel();
        let caller = thread::spawn(move || {
            WAITING.set(Handle::current()).unwrap();
            let io = IoThread::spawn("io").unwrap();
            for n in 0..EACH {
                let tell = tell.clone();
                let stuck = Stuck { held: Arc::new(()), polled: Arc::new(move || tell.send(n).unwrap()) };
                let ended = if n % 3 == 0 {
                    poll_co_in_interruptible(&CALL, io.context(), stuck, Stuck::wait)
                } else {
                    // Takes the allocator's lock now and then, and our own.
                    block_on_interruptible(async {
                        let wait = stuck.wait();
                        futures::future::join(wait, async {
                            for _ in 0..20 {
                                AioContext::current().sleep(ms(0)).await;
                                drop(vec![0_u8; 100]);
                            }
                        })
                        .await;
                    })
                };
                assert_eq!(ended, Err(Interrupted));
            }
        });
        let (others_end, ends) = mpsc::channel::<()>();
        let elsewhere = thread::spawn(move || {
            while ends.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
                thread::sleep(ms(1));
            }
        });
        let mut random = fastrand::Rng::with_seed(4);
        for n in 0..EACH {
            assert_eq!(told.recv().unwrap(), n);
            for _ in 0..random.u32(..100_000) {
                std::hint::spin_loop();
            }
            // ThreadSanitizer keeps a signal back while its thread sleeps in a futex, as the caller does.
            let to =
                if n % 2 == 0 && cfg!(not(co_wrapper_tsan)) { caller.as_pthread_t() } else { elsewhere.as_pthread_t() };
            let signal = if n % 5 == 0 { libc::SIGUSR2 } else { libc::SIGUSR1 };
            // SAFETY: neither thread has been joined.
            assert_eq!(unsafe { libc::pthread_kill(to, signal) }, 0);
        }
        caller.join().unwrap();
        drop(others_end);
        elsewhere.join().unwrap();
        assert!(HANDLED.load(Ordering::Relaxed) > 0);
    });
}

/// Catches: a wake that a coroutine does not get; a thread's interrupt that a coroutine takes, or the reverse; one of another
/// coroutine.
#[cfg(all(feature = "coroutine", feature = "tokio", not(miri)))]
mod coroutines {
    use co_wrapper_runtime::Coroutine;

    use super::*;

    /// A coroutine whose closure has no scope in a thread-local while a call waits.
    fn coroutine<R>(f: impl FnOnce() -> R + 'static) -> Coroutine<R> {
        // SAFETY: as above.
        unsafe { Coroutine::new(f) }
    }

    /// Every way to wait that suspends a coroutine.
    fn suspending() -> impl Iterator<Item = &'static Wait> {
        WAITS
            .iter()
            .filter(|(name, _)| !["inside", "foreign", "bottom half", "task"].iter().any(|word| name.contains(word)))
    }

    #[test]
    fn i06_a_suspended_call_is_ended_through_its_coroutines_handle() {
        for &(name, wait) in suspending() {
            within_bounds(move || {
                for after in [0, 2] {
                    let ctx = AioContext::new().unwrap();
                    let _home = ctx.enter();
                    let thread = Handle::current();
                    let stuck = |polled: Arc<dyn Fn() + Send + Sync>| Stuck { held: Arc::new(()), polled };
                    let other = coroutine(move || {
                        let io = IoThread::spawn("other").unwrap();
                        let handle = Handle::current();
                        wait(&io, stuck(Arc::new(move || assert!(!handle.is_pending()))))
                    });
                    let mut other = Box::pin(other);
                    let one = coroutine(move || {
                        let io = IoThread::spawn("one").unwrap();
                        let handle = Handle::current();
                        let interrupts = handle.clone();
                        let later = move || {
                            let interrupts = interrupts.clone();
                            thread::spawn(move || {
                                thread::sleep(ms(after));
                                interrupts.interrupt();
                            });
                        };
                        let ended = wait(&io, stuck(Arc::new(later)));
                        (ended, interrupt::take() || handle.is_pending())
                    });
                    thread.interrupt();
                    // Both are suspended in their calls; only the first one was interrupted.
                    let ended = block_on(async {
                        match futures::future::select(one, other.as_mut()).await {
                            futures::future::Either::Left((ended, _)) => ended,
                            futures::future::Either::Right(_) => panic!("{name}: the other one's call ended"),
                        }
                    });
                    assert_eq!(ended, (Err(Interrupted), false), "{name}");
                    assert!(interrupt::take(), "{name}: a coroutine's call took the thread's interrupt");
                }
            });
        }
    }

    /// Catches: a panic that ends the thread which wakes for interrupts.
    #[test]
    fn i06_a_waker_that_panics_costs_no_other_interrupt() {
        struct Panics(AtomicBool);
        impl std::task::Wake for Panics {
            fn wake(self: Arc<Self>) {
                if !self.0.swap(true, Ordering::Relaxed) {
                    panic!("on purpose, in a waker");
                }
            }
        }
        within_bounds(|| {
            let panics = Arc::new(Panics(AtomicBool::new(false)));
            let waker = std::task::Waker::from(panics.clone());
            let (tell, told) = std::sync::mpsc::channel();
            let mut suspended = Box::pin(coroutine(move || {
                tell.send(Handle::current()).unwrap();
                block_on_interruptible(pending::<()>())
            }));
            let mut poll = || suspended.as_mut().poll(&mut std::task::Context::from_waker(&waker));
            assert!(poll().is_pending());
            told.recv().unwrap().interrupt();
            while !panics.0.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            // Its wake was lost; another poll finds the interrupt.
            assert_eq!(poll(), Poll::Ready(Err(Interrupted)));
            let main = Handle::current();
            thread::spawn(move || {
                thread::sleep(ms(2));
                main.interrupt();
            });
            assert_eq!(block_on_interruptible(pending::<()>()), Err(Interrupted));
        });
    }

    /// Catches: a coroutine in whose place another one is named that had the same memory.
    #[test]
    fn i06_a_coroutine_that_has_ended_is_named_no_more() {
        within_bounds(|| {
            let named = |interrupted: bool| {
                let named = block_on(coroutine(move || (Handle::current(), interrupt::take())));
                assert_eq!(named.1, interrupted);
                named.0
            };
            let first = named(false);
            first.interrupt();
            for _ in 0..4 {
                named(false);
            }
            assert!(first.is_pending());
        });
    }

    /// Catches: a call that blocks in a coroutine and looks at the coroutine's interrupts, of which the thread knows nothing.
    #[test]
    fn i06_a_call_that_blocks_in_a_coroutine_is_its_threads() {
        within_bounds(|| {
            let thread = Handle::current();
            let both = block_on(coroutine(move || {
                let own = Handle::current();
                let ended = mixed(async {
                    // In the middle of a future's poll.
                    thread.interrupt();
                    block_on_interruptible(pending::<()>())
                });
                (ended, own.is_pending())
            }));
            assert_eq!(both, (Err(Interrupted), false));
        });
    }

    #[test]
    fn i06_the_hook_is_asked_for_suspended_calls_and_may_panic() {
        for &(name, wait) in suspending() {
            within_bounds(move || {
                for panics in [false, true] {
                    let mut asked = 0;
                    hook::set(move || {
                        assert!(!co_wrapper_runtime::in_coroutine());
                        plain(async { AioContext::current().sleep(ms(1)).await });
                        asked += 1;
                        assert!(!panics, "on purpose");
                        asked == 2
                    });
                    let held = Arc::new(());
                    let stuck = Stuck { held: held.clone(), polled: Arc::new(|| ()) };
                    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        let ctx = AioContext::new().unwrap();
                        let _home = ctx.enter();
                        block_on(coroutine(move || wait(&IoThread::spawn("io").unwrap(), stuck)))
                    }));
                    assert_eq!(ended.ok(), (!panics).then_some(Err(Interrupted)), "{name}");
                    assert_eq!(Arc::strong_count(&held), 1, "{name}");
                }
            });
        }
    }
}
