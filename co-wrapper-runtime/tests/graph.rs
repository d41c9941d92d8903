//! The graph lock: readers, writers, their order, and what is refused.

#![cfg(feature = "graph")]

mod common;

use std::{
    future::Future,
    pin::{Pin, pin},
    ptr,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, RawWaker, RawWakerVTable, Waker},
    thread,
    time::{Duration, Instant},
};

use co_wrapper_runtime::{
    __private::{Wrapper, arg, no_co_read, poll_co, poll_co_in, read_lock, read_lock_mixed},
    AioContext, IoThread,
    graph::{Drain, GraphLock, GraphRead},
};
use common::{
    main_loop::{NO_CO, at, change, on_main, poll_once},
    mixed, panic_of, plain, sized, sleeps, within_bounds,
};

#[test]
fn g01_readers_on_many_threads_and_a_writer_exclude_each_other() {
    on_main(|main| {
        let lock = GraphLock::new();
        let (readers, writes, stop) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let ios: Vec<_> = (0..sized(3, 1)).map(|n| IoThread::spawn(&format!("io{n}")).unwrap()).collect();
        let contexts = ios.iter().map(IoThread::context).chain([&main]);
        let tasks: Vec<_> = contexts
            .flat_map(|ctx| (0..sized(4, 2)).map(move |_| ctx))
            .map(|ctx| {
                let (lock, readers, stop, sleeper) =
                    (lock.clone(), Arc::clone(&readers), Arc::clone(&stop), ctx.clone());
                ctx.spawn(async move {
                    let mut sections = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let guard = lock.read().await;
                        let inside = readers.fetch_add(1, Ordering::SeqCst);
                        assert!(inside < 1000, "a writer is in");
                        sleeper.sleep(Duration::from_micros(200)).await;
                        readers.fetch_sub(1, Ordering::SeqCst);
                        drop(guard);
                        sections += 1;
                    }
                    sections
                })
            })
            .collect();
        for _ in 0..sized(100, 3) {
            // Readers never stop overlapping, so without being held back they would keep it out for ever.
            let guard = lock.write();
            assert_eq!(readers.fetch_add(1000, Ordering::SeqCst), 0, "a reader is in");
            thread::yield_now();
            readers.fetch_sub(1000, Ordering::SeqCst);
            writes.fetch_add(1, Ordering::Relaxed);
            drop(guard);
        }
        stop.store(true, Ordering::Relaxed);
        for task in tasks {
            main.block_on(task);
        }
    });
}

#[test]
fn g01_a_reader_that_the_writer_waits_for_may_wait_for_another() {
    on_main(|main| {
        let lock = GraphLock::new();
        let (outer, inner, here) = (lock.clone(), lock.clone(), main.clone());
        // Each waits for the next while it holds the lock, all of them begun while the writer waits.
        fn chain(lock: GraphLock, ctx: AioContext, depth: usize) -> Pin<Box<dyn Future<Output = usize> + Send>> {
            Box::pin(async move {
                let _guard = lock.read().await;
                ctx.sleep(Duration::from_millis(1)).await;
                if depth == 0 { 0 } else { 1 + ctx.spawn(chain(lock.clone(), ctx.clone(), depth - 1)).await }
            })
        }
        let task = main.spawn(chain(outer, here, 20));
        main.poll(false);
        drop(inner.write());
        // Whatever was still held back is let in by the writer's end.
        assert_eq!(main.block_on(task), 20);
    });
}

#[test]
fn g01_readers_come_through_although_a_writer_waits_and_the_main_loop_is_not_polled() {
    on_main(|main| {
        let lock = GraphLock::new();
        let guard = main.block_on(lock.read()).hand_over();
        // A writer that waits in a bottom half, without a loop.
        let mut writer = pin!(change(&lock, |_| ()));
        assert!(poll_once(writer.as_mut()).is_pending());
        main.poll(false);
        let other = lock.clone();
        // `join` polls nothing.
        thread::spawn(move || drop(AioContext::current().block_on(other.read()))).join().unwrap();
        drop(guard);
        main.block_on(writer);
    });
}

#[test]
fn g01_what_ended_an_earlier_wait_does_not_end_the_holding_back_of_a_later_one() {
    on_main(|main| {
        let lock = GraphLock::new();
        let guard = main.block_on(lock.read()).hand_over();
        let queue_writer = || {
            let mut writer = Box::pin(change(&lock, |_| ()));
            assert!(poll_once(writer.as_mut()).is_pending());
            main.poll(false);
            writer
        };
        for _ in 0..sized(60, 5) {
            let writer = queue_writer();
            let mut reader = Box::pin(lock.read());
            assert!(poll_once(reader.as_mut()).is_pending());
            drop(writer);
            assert!(poll_once(reader.as_mut()).is_ready());
            thread::sleep(Duration::from_micros(200));
        }
        // Before anything moved last.
        let mut start = Instant::now();
        let writer = queue_writer();
        for _ in 0..3 {
            let mut reader = Box::pin(lock.read());
            let read = loop {
                match poll_once(reader.as_mut()) {
                    Poll::Ready(read) => break read,
                    Poll::Pending => thread::yield_now(),
                }
            };
            // No sooner, on however slow a machine.
            assert!(start.elapsed() >= Duration::from_millis(10), "{:?}", start.elapsed());
            start = Instant::now();
            drop(read);
        }
        drop((writer, guard));
    });
}

/// Catches, under Miri only and with many seeds: a guard that, while it is dropped, still has a reference to the count
/// that the lock's end frees.
#[test]
fn g01_a_guard_is_dropped_while_another_thread_drops_the_lock() {
    within_bounds(|| {
        for _ in 0..20 {
            let lock = GraphLock::new();
            let guard = plain(lock.read());
            let dropper = thread::spawn(move || drop(guard));
            drop(lock);
            dropper.join().unwrap();
        }
    });
}

#[test]
fn g02_a_readers_unlock_on_another_thread_wakes_the_writer() {
    on_main(|main| {
        let lock = GraphLock::new();
        for _ in 0..sized(50, 3) {
            let guard = main.block_on(lock.read()).hand_over();
            let writer_sleeps = sleeps(&main);
            let unlocker = thread::spawn(move || {
                writer_sleeps();
                drop(guard);
            });
            drop(lock.write());
            unlocker.join().unwrap();
        }
    });
}

#[test]
fn g02_a_condition_made_true_on_another_thread_wakes_an_iothread() {
    within_bounds(|| {
        let io = IoThread::spawn("io").unwrap();
        let ctx = io.context().clone();
        let ((begins, begun), (done, told)) = (mpsc::channel(), mpsc::channel());
        let flag = Arc::new(AtomicBool::new(false));
        let (seen, here) = (Arc::clone(&flag), ctx.clone());
        ctx.schedule_bh(move || {
            begins.send(sleeps(&here)).unwrap();
            here.poll_while(|| !seen.load(Ordering::Acquire));
            done.send(()).unwrap();
        });
        begun.recv().unwrap()();
        flag.store(true, Ordering::Release);
        ctx.notify();
        told.recv().unwrap();
    });
}

#[test]
fn g03_writing_in_a_frame_that_reads_panics_with_both_places() {
    on_main(|main| {
        let lock = GraphLock::new();
        let reader = line!() + 1;
        let guard = main.block_on(lock.read());
        let writer = line!() + 1;
        let message = panic_of(|| lock.write());
        assert!(
            message.starts_with("GraphLock::write: ") && message.contains(&at(reader)) && message.contains(&at(writer)),
            "{message}"
        );
        let within = panic_of(|| {
            plain(async {
                // co-check: allow — the test is about the panic
                let _write = lock.write();
            })
        });
        assert!(within.contains(&at(reader)), "{within}");
        drop(guard);
        // It left no trace: neither bit nor place in the queue.
        drop(lock.write());
        drop(main.block_on(lock.read()));
    });
}

#[test]
fn g03_writing_above_a_task_on_the_stack_that_reads_panics() {
    on_main(|main| {
        let lock = GraphLock::new();
        let (in_task, in_bottom_half) = (lock.clone(), lock.clone());
        let here = main.clone();
        let refused = main.spawn(async move {
            let _guard = in_task.read().await;
            let (tx, rx) = async_channel::bounded(1);
            here.schedule_bh(move || {
                tx.try_send(panic_of(|| in_bottom_half.write())).unwrap();
            });
            // The bottom half runs in this call's loop, and the task cannot go on before it returns.
            mixed(async move { rx.recv().await.unwrap() })
        });
        let message = main.block_on(refused);
        assert!(message.contains("read guard taken at"), "{message}");
    });
}

#[test]
fn g03_awaiting_a_change_in_a_task_or_call_that_reads_panics_with_both_places() {
    on_main(|main| {
        let lock = GraphLock::new();
        let (one, other) = (lock.clone(), lock.clone());
        let io = IoThread::spawn("io").unwrap();
        let guarded = async move {
            let _guard = one.read().await;
            change(&one, |_| ()).await;
        };
        let line = line!() - 3;
        let message = panic_of(|| main.block_on(io.context().spawn(guarded)));
        assert!(
            message.starts_with("bdrv_co_change: ") && message.contains(&at(line)) && message.contains(&at(line + 1)),
            "{message}"
        );
        let message = panic_of(|| {
            plain(async {
                let _guard = other.read().await;
                change(&other, |_| ()).await;
            })
        });
        assert!(message.contains("read guard taken at"), "{message}");
        // Also if an outer frame of the same stack reads.
        let _guard = main.block_on(lock.read());
        let message = panic_of(|| plain(change(&lock, |_| ())));
        assert!(message.contains("read guard taken at"), "{message}");
    });
}

#[test]
fn g03_who_holds_a_guard_is_right_across_tasks_and_threads() {
    on_main(|main| {
        let lock = GraphLock::new();
        let io = IoThread::spawn("io").unwrap();
        // Another task's guard is no reason to refuse, on the same thread either.
        let (reading, leave, in_reader) = (async_channel::bounded(1), async_channel::bounded::<()>(1), lock.clone());
        let reader = main.spawn(async move {
            let _guard = in_reader.read().await;
            reading.0.send(()).await.unwrap();
            leave.1.recv().await.unwrap();
        });
        main.block_on(reading.1.recv()).unwrap();
        let changer = main.spawn(change(&lock, |_| 7));
        // The one is polled, and its bottom half waits for the reader.
        while main.poll(false) {}
        assert!(!changer.is_finished());
        leave.0.try_send(()).unwrap();
        assert_eq!(main.block_on(changer), 7);
        main.block_on(reader);
        // A guard taken here, dropped elsewhere: gone.
        let guard = main.block_on(lock.read());
        thread::spawn(move || drop(guard)).join().unwrap();
        drop(lock.write());
        // A task that takes its guard along is still the one that holds it.
        let (moving, there) = (lock.clone(), main.clone());
        let moved = io.context().spawn(async move {
            let _guard = moving.read().await;
            co_wrapper_runtime::reschedule_self(&there).await;
            change(&moving, |_| ()).await;
        });
        let message = panic_of(|| main.block_on(moved));
        assert!(message.contains("read guard taken at"), "{message}");
        drop(lock.write());
    });
}

#[cfg(feature = "tokio")]
#[test]
fn g03_a_tokio_tasks_guard_is_not_its_threads() {
    on_main(|main| {
        let lock = GraphLock::new();
        let host = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let ((reading, read), (leave, left)) = (async_channel::bounded(1), async_channel::bounded::<()>(1));
        let in_reader = lock.clone();
        host.spawn(async move {
            let _guard = in_reader.read().await;
            reading.send(thread::current().id()).await.unwrap();
            left.recv().await.unwrap();
        });
        let its_thread = main.block_on(read.recv()).unwrap();
        // Until one comes to that thread and blocks it. The reader goes on on the other.
        let (here, there) = async_channel::unbounded();
        let blocking = loop {
            let (lock, here) = (lock.clone(), here.clone());
            let task = host.spawn(async move {
                if thread::current().id() != its_thread {
                    return here.send(false).await.unwrap();
                }
                plain(async move {
                    let mut changed = pin!(change(&lock, |_| ()));
                    assert!(futures::poll!(changed.as_mut()).is_pending());
                    here.send(true).await.unwrap();
                    changed.await;
                });
            });
            match main.block_on(there.recv()).unwrap() {
                true => break task,
                false => drop(task),
            }
        };
        leave.try_send(()).unwrap();
        main.block_on(blocking).unwrap();
        host.shutdown_background();
    });
}

#[test]
fn g03_a_guard_on_its_way_to_another_context_is_not_its_senders() {
    on_main(|main| {
        static THERE: Wrapper = Wrapper { name: "there", target: "co_there", mixed: false };
        let lock = GraphLock::new();
        let io = IoThread::spawn("io").unwrap();
        // The other context is busy for now, so the call is not begun when the writer comes.
        let (go_on, busy) = mpsc::channel();
        io.context().schedule_bh(move || busy.recv().unwrap());
        let in_bottom_half = lock.clone();
        let here = main.clone();
        main.schedule_bh(move || {
            let writer_sleeps = sleeps(&here);
            let later = thread::spawn(move || {
                writer_sleeps();
                go_on.send(()).unwrap();
            });
            drop(in_bottom_half.write());
            later.join().unwrap();
        });
        let answer = poll_co_in(&THERE, io.context(), read_lock(THERE.name, &lock), |lock| async move {
            let _guard = lock.read().await;
            8
        });
        assert_eq!(answer, 8);
    });
}

#[test]
fn g03_reading_below_ones_own_write_guard_panics_with_both_places() {
    on_main(|main| {
        let lock = GraphLock::new();
        let writer = line!() + 1;
        let guard = lock.write();
        let reader = line!() + 1;
        let message = panic_of(|| plain(lock.read()));
        assert!(
            message.starts_with("GraphLock::read: ") && message.contains(&at(reader)) && message.contains(&at(writer)),
            "{message}"
        );
        // As a read-locking wrapper does it.
        let wrapper = panic_of(|| {
            let taken = read_lock("there", &lock);
            plain(async move { taken.read().await })
        });
        assert!(wrapper.starts_with("there: ") && wrapper.contains(&at(writer)), "{wrapper}");
        let again = panic_of(|| lock.write());
        assert!(again.contains(&at(writer)), "{again}");
        let awaited = panic_of(|| plain(change(&lock, |_| ())));
        assert!(awaited.contains(&at(writer)), "{awaited}");
        // A task that a loop within the section polls just waits.
        let in_task = lock.clone();
        let task = main.spawn(async move { drop(in_task.read().await) });
        main.poll(false);
        assert!(!task.is_finished());
        drop(guard);
        main.block_on(task);
    });
}

#[test]
fn g03_a_reading_bottom_half_that_a_writers_loop_runs_waits_for_its_end() {
    on_main(|main| {
        let lock = GraphLock::new();
        let io = IoThread::spawn("io").unwrap();
        let guard = lock.write();
        let in_task = lock.clone();
        let (reached, reach) = async_channel::bounded(1);
        let task = io.context().spawn(async move {
            let mut call = Box::pin(no_co_read(&NO_CO, in_task, (), |(), _: &GraphRead| arg(6)));
            assert!(futures::poll!(call.as_mut()).is_pending());
            reached.send(()).await.unwrap();
            call.await
        });
        // Sent before this, so its bottom half has run when the queue is empty.
        main.block_on(reach.recv()).unwrap();
        while main.poll(false) {}
        assert!(!task.is_finished());
        drop(guard);
        assert_eq!(main.block_on(task), 6);
    });
}

#[test]
fn g03_the_write_lock_is_for_the_main_loop() {
    on_main(|main| {
        let lock = GraphLock::new();
        let elsewhere = lock.clone();
        let message = thread::spawn(move || panic_of(|| elsewhere.write())).join().unwrap();
        assert!(message.contains("main loop") && message.contains("no_co_wrapper(bdrv_wrlock)"), "{message}");
        let in_task = lock.clone();
        // co-check: allow — the test is about the panic
        let message = main.block_on(main.spawn(async move { panic_of(|| in_task.write()) }));
        assert!(message.contains("coroutine context"), "{message}");
    });
}

#[test]
fn w03_a_destructor_that_drains_and_writes_while_its_task_panics_nests() {
    on_main(|main| {
        struct Changes(GraphLock, Arc<Drain>, Arc<AtomicUsize>);
        impl Drop for Changes {
            fn drop(&mut self) {
                let _section = self.1.drained();
                let _guard = self.0.write();
                self.2.fetch_add(1, Ordering::Relaxed);
            }
        }

        let (lock, node, changed) = (GraphLock::new(), Arc::new(Drain::new()), Arc::new(AtomicUsize::new(0)));
        // What is waited for does come.
        let (reading, in_flight, sleeper) = (lock.clone(), Arc::clone(&node), main.clone());
        let request = main.spawn(async move {
            let _request = in_flight.begin().await;
            let _guard = reading.read().await;
            sleeper.sleep(Duration::from_millis(2)).await;
        });
        main.poll(false);
        let changes = Changes(lock, node, Arc::clone(&changed));
        let panics = main.spawn(async move {
            let _changes = changes;
            panic!("the first");
        });
        assert_eq!(panic_of(|| main.block_on(panics)), "the first");
        assert_eq!(changed.load(Ordering::Relaxed), 1);
        main.block_on(request);
    });
}

#[test]
fn g04_cancelled_readers_and_writers_leave_the_queue_intact() {
    on_main(|main| {
        let lock = GraphLock::new();
        let guard = main.block_on(lock.read()).hand_over();
        let mut cancelled = Box::pin(change(&lock, |_| unreachable!("cancelled before it began")));
        let mut kept = Box::pin(change(&lock, |_| "changed"));
        assert!(poll_once(cancelled.as_mut()).is_pending() && poll_once(kept.as_mut()).is_pending());
        main.poll(false);
        // Both wait now, and so do readers.
        let (mut gone, mut stays) = (Box::pin(lock.read()), Box::pin(lock.read()));
        assert!(poll_once(gone.as_mut()).is_pending() && poll_once(stays.as_mut()).is_pending());
        drop((cancelled, gone));
        drop(guard);
        assert_eq!(main.block_on(kept), "changed");
        drop(main.block_on(stays));
        // With the last writer cancelled, readers are free again.
        let guard = main.block_on(lock.read()).hand_over();
        let mut last = Box::pin(change(&lock, |_| ()));
        assert!(poll_once(last.as_mut()).is_pending());
        main.poll(false);
        let mut reader = Box::pin(lock.read());
        assert!(poll_once(reader.as_mut()).is_pending());
        drop(last);
        let Poll::Ready(second) = poll_once(reader.as_mut()) else { panic!("held back by nobody") };
        drop((guard, second));
        drop(lock.write());
    });
}

#[test]
fn g04_a_reader_let_in_and_dropped_unpolled_lets_the_writer_go_on() {
    on_main(|main| {
        let lock = GraphLock::new();
        let guard = lock.write();
        let in_task = lock.clone();
        let (hold, held) = (Arc::new(Mutex::new(None)), lock.clone());
        let keep = Arc::clone(&hold);
        // A task, for here it would be refused.
        let task = main.spawn(async move {
            let mut reader = Box::pin(async move { held.read().await });
            assert!(futures::poll!(reader.as_mut()).is_pending());
            *keep.lock().unwrap() = Some(reader);
        });
        main.poll(false);
        assert!(task.is_finished());
        drop(guard);
        // It is let in now, and the writer waits for it, for a while.
        let mut writer = Box::pin(change(&in_task, |_| ()));
        assert!(poll_once(writer.as_mut()).is_pending());
        main.poll(false);
        drop(hold.lock().unwrap().take());
        main.block_on(writer);
    });
}

#[test]
fn g05_many_read_locking_calls_joined_in_one_task() {
    on_main(|main| {
        let lock = GraphLock::new();
        let (joined, sleeper) = (lock.clone(), main.clone());
        let many = sized(100, 8) as u64;
        let task = main.spawn(async move {
            let calls = (0..many).map(|n| {
                let (lock, ctx) = (&joined, &sleeper);
                async move {
                    let _guard = lock.read().await;
                    ctx.sleep(Duration::from_millis(n % 7)).await;
                    let _again = lock.read().await;
                    n
                }
            });
            futures::future::join_all(calls).await.into_iter().sum::<u64>()
        });
        main.poll(false);
        drop(lock.write());
        assert_eq!(main.block_on(task), many * (many - 1) / 2);
    });
}

#[test]
fn g06_mixed_takes_a_share_of_what_its_caller_holds() {
    on_main(|main| {
        static MIXED: Wrapper = Wrapper { name: "bdrv_read", target: "bdrv_co_read", mixed: true };
        #[track_caller]
        fn bdrv_read(lock: &GraphLock) -> u32 {
            poll_co(&MIXED, read_lock_mixed(MIXED.name, lock), |lock| async move {
                let _guard: GraphRead = lock.read().await;
                AioContext::current().sleep(Duration::from_millis(1)).await;
                5
            })
        }

        let lock = GraphLock::new();
        assert_eq!(bdrv_read(&lock), 5, "outside of a coroutine it waits for the lock");
        let in_task = lock.clone();
        let refused = main.spawn(async move { panic_of(|| bdrv_read(&in_task)) });
        let message = main.block_on(refused);
        assert!(message.contains("take `graph::read().await` first"), "{message}");
        // A writer that waits does not keep a share out.
        let in_task = lock.clone();
        let (waiting, wait) = async_channel::bounded::<()>(1);
        let shared = main.spawn(async move {
            let _guard = in_task.read().await;
            wait.recv().await.unwrap();
            bdrv_read(&in_task)
        });
        main.poll(false);
        main.schedule_bh(move || waiting.try_send(()).unwrap());
        drop(lock.write());
        assert_eq!(main.block_on(shared), 5);
    });
}

#[test]
fn p02_the_end_of_holding_back_is_internal_work() {
    on_main(|main| {
        let lock = GraphLock::new();
        let guard = main.block_on(lock.read()).hand_over();
        let mut writer = Box::pin(change(&lock, |_| ()));
        assert!(poll_once(writer.as_mut()).is_pending() && main.poll(false));
        let mut reader = Box::pin(lock.read());
        assert!(poll_once(reader.as_mut()).is_pending());
        let start = Instant::now();
        // Until the timer was due for long.
        while start.elapsed() < Duration::from_millis(50) {
            assert!(!main.poll(false), "nothing of anybody's ran");
        }
        assert!(!main.poll(false));
        assert!(poll_once(reader.as_mut()).is_ready());
        drop((writer, guard));
    });
}

#[test]
fn wakers_are_cloned_and_dropped_where_they_may_use_the_lock() {
    struct Used {
        lock: GraphLock,
        node: Drain,
        clones: AtomicUsize,
    }
    static USED: LazyLock<Used> =
        LazyLock::new(|| Used { lock: GraphLock::new(), node: Drain::new(), clones: AtomicUsize::new(0) });
    fn use_both() {
        assert!(!format!("{:?}", USED.lock).is_empty());
        assert!(poll_once(pin!(USED.node.begin())).is_pending());
    }
    fn clone(_: *const ()) -> RawWaker {
        USED.clones.fetch_add(1, Ordering::Relaxed);
        use_both();
        RawWaker::new(ptr::null(), &VTABLE)
    }
    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, |_| use_both(), |_| use_both(), |_| use_both());
    on_main(|main| {
        let Used { lock, node, clones } = &*USED;
        let request = main.block_on(node.begin());
        let mut drainer = Box::pin(node.co_drained());
        assert!(poll_once(drainer.as_mut()).is_pending());
        let guard = main.block_on(lock.read()).hand_over();
        let mut writer = Box::pin(change(lock, |_| ()));
        assert!(poll_once(writer.as_mut()).is_pending());
        main.poll(false);
        // SAFETY: the functions of the table take no data.
        let waker = unsafe { Waker::from_raw(RawWaker::new(ptr::null(), &VTABLE)) };
        let mut cx = Context::from_waker(&waker);
        let (mut reader, mut begin) = (Box::pin(lock.read()), Box::pin(node.begin()));
        for _ in 0..2 {
            // It is let past the writer if this thread does not run for so long. Then another waits.
            if reader.as_mut().poll(&mut cx).is_ready() {
                reader = Box::pin(lock.read());
            }
            assert!(begin.as_mut().poll(&mut cx).is_pending());
            assert!(drainer.as_mut().poll(&mut cx).is_pending() && writer.as_mut().poll(&mut cx).is_pending());
        }
        assert!(clones.load(Ordering::Relaxed) >= 4);
        // While a section is drained, for the wakers ask.
        let section = main.block_on(async {
            drop(request);
            drainer.await
        });
        drop((begin, reader, writer, guard, waker));
        drop(section);
    });
}
