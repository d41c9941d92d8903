//! What hangs in QEMU 10.2, with the same marks, or would hang here with loops that poll one call each: here each finishes,
//! or is a panic that names both places.

#![cfg(all(feature = "graph", feature = "tokio"))]

#[allow(dead_code, reason = "what the driver's tests alone use")]
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use co_wrapper::graph::{self, GraphRead};
use co_wrapper::{AioContext, IoThread, co_wrapper};
use co_wrapper_test_support::within_bounds;

/// The main context has one home, so each test takes its turn there.
fn on_main(test: impl FnOnce(AioContext) + Send + 'static) {
    static MAIN: Mutex<()> = Mutex::new(());
    let _turn: MutexGuard<'_, ()> = MAIN.lock().unwrap_or_else(PoisonError::into_inner);
    within_bounds(|| {
        let main = AioContext::main();
        let _home = main.enter();
        test(main);
    });
}

/// `bdrv_graph_co_rdunlock` does not kick the writer if it looks a moment before that sleeps. Nothing else wakes it here:
/// the reader sits in another thread's context, and the main loop has no timer and no descriptor.
///
/// Catches: an unlock that wakes nobody (`Shared::left` without its wakers).
#[test]
fn a_readers_unlock_wakes_the_writer() {
    #[co_wrapper(bdrv_rdlock)]
    async fn bdrv_co_read(_graph: &GraphRead, inside: mpsc::Sender<()>, go_on: async_channel::Receiver<()>) {
        inside.send(()).unwrap();
        go_on.recv().await.unwrap();
    }

    on_main(|_| {
        for round in 0..200 {
            let (inside, is_inside) = mpsc::channel();
            let (go_on, goes_on) = async_channel::bounded(1);
            let reader = thread::spawn(|| bdrv_read(inside, goes_on));
            is_inside.recv().unwrap();
            // At about the time at which the writer goes to sleep, before and after it.
            let waker = thread::spawn(move || {
                thread::sleep(Duration::from_micros(round));
                go_on.try_send(()).unwrap();
            });
            drop(graph::write());
            reader.join().unwrap();
            waker.join().unwrap();
        }
    });
}

/// A wrapper that takes the read lock polls until the writer is gone, who is the caller.
///
/// Catches: a wait where `refuse::read_below` should be asked.
#[test]
fn a_read_locking_wrapper_below_the_callers_write_lock_panics() {
    #[co_wrapper(bdrv_rdlock)]
    async fn bdrv_co_getlength(_graph: &GraphRead) -> u64 {
        512
    }

    #[co_wrapper(mixed, bdrv_rdlock)]
    async fn bdrv_co_flush(_graph: &GraphRead) {}

    on_main(|_| {
        let (locked_at, guard) = (line!(), graph::write());
        let plain = (line!(), catch_unwind(|| assert_eq!(bdrv_getlength(), 512)));
        let mixed = (line!(), catch_unwind(|| bdrv_flush()));
        for (name, (line, result)) in [("bdrv_getlength", plain), ("bdrv_flush", mixed)] {
            let panic = result.unwrap_err();
            let text = panic.downcast_ref::<String>().unwrap();
            assert!(text.starts_with(&format!("{name}: at ")), "the call: {text}");
            assert!(text.contains(&format!("{}:{line}:", file!())), "the call's place: {text}");
            assert!(text.contains(&format!("write-locked at {}:{locked_at}:", file!())), "the lock's place: {text}");
        }
        drop(guard);
        assert_eq!(bdrv_getlength(), 512);
    });
}

/// `AIO_WAIT_WHILE` in an IOThread is kicked by way of the main context alone, so it sleeps on. Here the wait is a
/// `poll_while` whose condition another thread makes true, and a call that another thread completes.
///
/// Catches: a notify that reaches the main loop only; a waker bound to it.
#[test]
fn an_iothread_that_waits_for_another_threads_doing_wakes() {
    #[co_wrapper]
    async fn bdrv_co_wait(done: async_channel::Receiver<()>) {
        done.recv().await.unwrap();
    }

    on_main(|_| {
        let iothread = IoThread::spawn("waits").unwrap();
        for round in 0..200 {
            let context = iothread.context().clone();
            let (is_true, finished) = (Arc::new(AtomicBool::new(false)), mpsc::channel());
            let (done, is_done) = async_channel::bounded(1);
            let (seen, there) = (Arc::clone(&is_true), context.clone());
            context.schedule_bh(move || {
                there.poll_while(|| !seen.load(Ordering::SeqCst));
                bdrv_wait(is_done);
                finished.0.send(()).unwrap();
            });
            let other = thread::spawn(move || {
                thread::sleep(Duration::from_micros(round));
                is_true.store(true, Ordering::SeqCst);
                context.notify();
                thread::sleep(Duration::from_micros(round));
                done.try_send(()).unwrap();
            });
            // The main loop is not polled meanwhile.
            finished.1.recv().unwrap();
            other.join().unwrap();
        }
        assert!(catch_unwind(AssertUnwindSafe(|| iothread.join())).is_ok());
    });
}

/// A stackless coroutine cannot be entered where it waits. But what waits nested inside its call may poll it, as in
/// QEMU a nested `aio_poll` enters the coroutine of a request. (QEMU does not hang here. Loops that poll only their own
/// call do.)
///
/// Catches: a nested wait that polls no outer call.
#[test]
fn w12_a_callback_waits_for_the_request_of_the_frame_below_it() {
    /// Waits until the callback is there, so that the call is never over before the loop has run.
    #[co_wrapper]
    async fn blk_co_write(called_back: async_channel::Receiver<()>, done: async_channel::Sender<()>) {
        called_back.recv().await.unwrap();
        AioContext::current().sleep(Duration::from_millis(1)).await;
        done.send(()).await.unwrap();
    }

    #[co_wrapper]
    async fn blk_co_drain(done: async_channel::Receiver<()>) {
        done.recv().await.unwrap();
    }

    on_main(|main| {
        let (done, is_done) = async_channel::bounded(1);
        let (calls_back, called_back) = async_channel::bounded(1);
        let (drained, has_drained) = mpsc::channel();
        main.schedule_bh(move || {
            calls_back.try_send(()).unwrap();
            blk_drain(is_done);
            drained.send(()).unwrap();
        });
        blk_write(called_back, done);
        has_drained.try_recv().unwrap();
    });
}

/// The same with a drained section, which waits until the request of the outer frame has ended.
///
/// Catches: a section that waits for a request which nobody polls.
#[test]
fn w12_a_callback_drains_the_node_of_the_request_below_it() {
    #[co_wrapper(bdrv_rdlock)]
    async fn bdrv_co_pread(_graph: &GraphRead, node: &graph::Drain, called_back: async_channel::Receiver<()>) -> usize {
        let _request = node.begin().await;
        called_back.recv().await.unwrap();
        AioContext::current().sleep(Duration::from_millis(1)).await;
        512
    }

    on_main(|main| {
        let node = Arc::new(graph::Drain::new());
        let drained = Arc::clone(&node);
        let (calls_back, called_back) = async_channel::bounded(1);
        let (was_drained, has_drained) = mpsc::channel();
        main.schedule_bh(move || {
            calls_back.try_send(()).unwrap();
            let section = drained.drained();
            assert_eq!(drained.in_flight(), 0);
            // The outer reader has released the lock by now, though its call has not returned.
            drop(graph::write());
            drop(section);
            was_drained.send(()).unwrap();
        });
        assert_eq!(bdrv_pread(&node, called_back), 512);
        has_drained.try_recv().unwrap();
    });
}
