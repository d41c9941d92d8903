//! Models of sleeping and waking, over the production code.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p co-wrapper-runtime --no-default-features --release --test loom`
//!
//! Each model runs through all orders in which its threads can take their steps. A lost wake shows as a deadlock.

#![cfg(loom)]

#[path = "common/model.rs"]
mod model;

use std::{
    panic::Location,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use co_wrapper_runtime::__model::{
    Allowed, Bell, EndSleep, Home, Interrupts, Outcome, Packed, Parker, Queued, Schedule, Scheduler, Span, WakeSlot,
    Wakes, Work, bottom_half, here, run, send, spawn,
};
use loom::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};
use model::model;

fn home(parker: &Parker) -> Home {
    Home { thread: here(), thread_name: String::new(), unparker: parker.unparker(), call: None }
}

/// What a waiting call does: looks at its slot, sleeps, and looks again.
///
/// Catches: the token given before the flag is set; the flag taken by a load and a store; `Relaxed` in `wake_by_ref`'s
/// or `take_woken`'s swap (the values are then not seen).
#[test]
fn p04_a_wake_is_never_lost() {
    model(|| {
        let parker = Parker::new();
        let slot = Arc::new(WakeSlot::new(parker.unparker()));
        let done = Arc::new(AtomicUsize::new(0));
        let threads = [0, 1].map(|_| {
            let (waker, done) = (Waker::from(Arc::clone(&slot)), Arc::clone(&done));
            thread::spawn(move || {
                // `Relaxed`: it is the wake that carries it over.
                done.fetch_add(1, Ordering::Relaxed);
                waker.wake_by_ref();
            })
        });
        let mut polls = 0;
        loop {
            if slot.take_woken() {
                polls += 1;
                if done.load(Ordering::Relaxed) == 2 {
                    break;
                }
            } else {
                parker.park(None);
            }
        }
        assert!(polls <= 2, "a wake is one poll at most");
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// A pipe that a thread polls in its sleep: what was written into it stays until it is read.
#[derive(Default)]
struct Pipe(loom::sync::Mutex<bool>, loom::sync::Condvar);

impl Pipe {
    fn sleep(&self) {
        let mut written = self.0.lock().unwrap();
        while !*written {
            written = self.1.wait(written).unwrap();
        }
        *written = false;
    }
}

impl EndSleep for Pipe {
    fn end_sleep(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_one();
    }
}

/// What a waiting call does whose thread watches descriptors, now and then: it sleeps in poll(2), and by its token.
///
/// Catches: the sleep's mark set by a store, or taken back before the sleep; a wake that is told to one of the two sleeps
/// only; one that is late and ends nothing, though it took what ends the next sleep.
#[test]
fn p08_a_wake_is_never_lost_by_a_thread_that_sleeps_in_poll() {
    for watches in [[true, true], [false, true], [true, false]] {
        model(move || {
            let parker = Parker::new();
            let slot = Arc::new(WakeSlot::new(parker.unparker()));
            let pipe = Arc::new(Pipe::default());
            let done = Arc::new(AtomicUsize::new(0));
            let threads = [0, 1].map(|_| {
                let (waker, done) = (Waker::from(Arc::clone(&slot)), Arc::clone(&done));
                thread::spawn(move || {
                    done.fetch_add(1, Ordering::Relaxed);
                    waker.wake_by_ref();
                })
            });
            let mut watches = watches.into_iter().cycle();
            loop {
                if slot.take_woken() {
                    if done.load(Ordering::Relaxed) == 2 {
                        break;
                    }
                } else if watches.next() == Some(true) {
                    parker.sleep_in(Arc::clone(&pipe) as _, || pipe.sleep());
                } else {
                    parker.park(None);
                }
            }
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
}

/// Two interrupts, which may be one if the first is still pending, the pipe that they ring, and the thread that reads it.
///
/// Catches: the bell rung before the flag is set; the flags looked at before the bell is stopped; a call that looks at its flag
/// before it leaves its waker; a bell or a flag that is set or cleared with `Relaxed`.
#[test]
fn i01_an_interrupt_is_never_lost() {
    model(|| {
        let parker = Parker::new();
        let slot = Arc::new(WakeSlot::new(parker.unparker()));
        let interrupts = Interrupts::new();
        let (bell, pipe) = (Arc::new(Bell::new()), Arc::new(Pipe::default()));
        let (done, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let threads = [0, 1].map(|_| {
            let (interrupts, bell, pipe, done) = (interrupts.clone(), bell.clone(), pipe.clone(), done.clone());
            thread::spawn(move || {
                // `Relaxed`: it is the interrupt that carries it over.
                done.fetch_add(1, Ordering::Relaxed);
                interrupts.raise(&bell, || pipe.end_sleep());
            })
        });
        let answers = {
            let (interrupts, bell, pipe, over) = (interrupts.clone(), bell.clone(), pipe.clone(), over.clone());
            thread::spawn(move || {
                loop {
                    pipe.sleep();
                    if over.load(Ordering::Relaxed) == 1 {
                        break;
                    }
                    bell.stop();
                    interrupts.wake_if_pending();
                }
            })
        };
        // A call.
        drop(interrupts.wake_with(Some(Wakes::Thread(Arc::clone(&slot)))));
        loop {
            if interrupts.take() {
                if done.load(Ordering::Relaxed) == 2 {
                    break;
                }
            } else if !slot.take_woken() {
                parker.park(None);
            }
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        over.store(1, Ordering::Relaxed);
        pipe.end_sleep();
        answers.join().unwrap();
    });
}

/// A slot serves two calls, one after the other, with a waker of the first still about.
///
/// Catches: a slot that forgets a wake of the second call because one of the first came late.
#[test]
fn t07_a_late_wake_of_an_earlier_call_hides_none() {
    model(|| {
        let parker = Parker::new();
        let slot = Arc::new(WakeSlot::new(parker.unparker()));
        let late = Arc::clone(&slot);
        let earlier = thread::spawn(move || late.wake());
        slot.reset();
        let done = Arc::new(AtomicUsize::new(0));
        let (waker, flag) = (Arc::clone(&slot), Arc::clone(&done));
        let completer = thread::spawn(move || {
            flag.store(1, Ordering::Relaxed);
            waker.wake();
        });
        // Ends only with a poll that follows a wake and sees what the completer did.
        loop {
            if slot.take_woken() {
                if done.load(Ordering::Relaxed) == 1 {
                    break;
                }
            } else {
                parker.park(None);
            }
        }
        earlier.join().unwrap();
        completer.join().unwrap();
    });
}

/// A call is woken by its own thread and, by another, when it is done.
///
/// Catches: a wake by the own thread that hides or clears another thread's; a sleep without a last check of its flag,
/// because such a wake gives no token.
#[test]
fn p04_a_wake_of_its_own_hides_none_and_is_not_lost() {
    model(|| {
        let parker = Parker::new();
        let slot = Arc::new(WakeSlot::new(parker.unparker()));
        let waker = Waker::from(Arc::clone(&slot));
        let done = Arc::new(AtomicUsize::new(0));
        let (completes, flag) = (waker.clone(), Arc::clone(&done));
        let completer = thread::spawn(move || {
            flag.store(1, Ordering::Relaxed);
            completes.wake();
        });
        waker.wake_by_ref();
        let mut own = 1;
        let mut polls = 0;
        loop {
            if slot.take_woken() {
                polls += 1;
                if own == 1 {
                    waker.wake_by_ref();
                    own += 1;
                } else if done.load(Ordering::Relaxed) == 1 {
                    break;
                }
            } else if !slot.is_woken() {
                parker.park(None);
            }
        }
        assert!(polls <= 3, "a wake is one poll at most");
        completer.join().unwrap();
    });
}

/// Runs the bottom halves in the scheduler, as the poll loop does, until they have brought `count` to `least`.
fn serve(scheduler: &Scheduler, parker: &Parker, count: &AtomicUsize, least: usize) {
    while count.load(Ordering::Relaxed) < least {
        let end = scheduler.batch_end();
        let mut moved = false;
        while let Some(Work::BottomHalf(bottom_half)) = scheduler.pop(end, Allowed::ALL) {
            bottom_half.run(|again| drop(scheduler.push_bottom_half(again)));
            moved = true;
        }
        if !moved && !scheduler.take_notified() {
            parker.park(None);
        }
    }
}

fn push(scheduler: &Scheduler, ran: &Arc<AtomicUsize>) {
    let ran = Arc::clone(ran);
    let pushed = scheduler.push_bottom_half(Queued::once(move || {
        ran.fetch_add(1, Ordering::Relaxed);
    }));
    assert!(pushed.is_ok());
}

/// Two threads schedule into a context whose home sleeps whenever it finds nothing.
///
/// Catches: sleeping without the last look at `notified`; ringing before queueing; a setter that finds `notified` set
/// and the home thread that clears it without a swap.
#[test]
fn p04_b01_what_is_scheduled_wakes_the_home_thread() {
    model(|| {
        let scheduler = Arc::new(Scheduler::new());
        let parker = Parker::new();
        assert!(scheduler.move_in(home(&parker)).is_ok());
        let ran = Arc::new(AtomicUsize::new(0));
        let threads = [0, 1].map(|_| {
            let (scheduler, ran) = (Arc::clone(&scheduler), Arc::clone(&ran));
            thread::spawn(move || push(&scheduler, &ran))
        });
        serve(&scheduler, &parker, &ran, 2);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Pushes a bottom half that says in `order` when it ran: in base eight, the last digit last.
fn push_ordered(scheduler: &Scheduler, order: &Arc<AtomicUsize>, digit: usize) {
    let order = Arc::clone(order);
    let noted = move || order.store(order.load(Ordering::Relaxed) * 8 + digit, Ordering::Relaxed);
    assert!(scheduler.push_bottom_half(Queued::once(noted)).is_ok());
}

/// The home thread and another both schedule, each with a look at whether the other has.
///
/// Catches: a home thread that queues its own before it has taken over what came in from elsewhere, or takes that
/// over when it has run the first of its own.
#[test]
fn b02_what_came_before_runs_before_wherever_it_came_from() {
    model(|| {
        let scheduler = Arc::new(Scheduler::new());
        let parker = Parker::new();
        assert!(scheduler.move_in(home(&parker)).is_ok());
        let order = Arc::new(AtomicUsize::new(0));
        let [ours, theirs] = [0, 1].map(|_| Arc::new(AtomicUsize::new(0)));
        let other = thread::spawn({
            let (scheduler, order, ours, theirs) = (scheduler.clone(), order.clone(), ours.clone(), theirs.clone());
            move || {
                let after = ours.load(Ordering::Acquire) == 1;
                push_ordered(&scheduler, &order, 2);
                theirs.store(1, Ordering::Release);
                after
            }
        });
        let after = theirs.load(Ordering::Acquire) == 1;
        push_ordered(&scheduler, &order, 1);
        ours.store(1, Ordering::Release);
        serve(&scheduler, &parker, &order, 8);
        let order = order.load(Ordering::Relaxed);
        if after {
            assert_eq!(order, 0o21, "theirs had come");
        }
        if other.join().unwrap() {
            assert_eq!(order, 0o12, "ours had");
        }
    });
}

/// A thread schedules for itself and leaves home, and the next home finds it; a third thread observes the context.
///
/// No model needs to show that other threads leave the queue alone: the home holds it by value, or it lies under the lock.
///
/// Catches: a home that leaves another queue behind than the one that it held; one that leaves in one critical section and
/// puts the queue back in a second one.
#[test]
fn x05_the_queue_goes_from_home_to_home() {
    model(|| {
        let scheduler = Arc::new(Scheduler::new());
        let parker = Parker::new();
        let ran = Arc::new(AtomicUsize::new(0));
        assert!(scheduler.move_in(home(&parker)).is_ok());
        let next = thread::spawn({
            let (scheduler, ran) = (scheduler.clone(), ran.clone());
            move || {
                let parker = Parker::new();
                push(&scheduler, &ran);
                let moved_in = scheduler.move_in(home(&parker)).is_ok();
                if moved_in {
                    push(&scheduler, &ran);
                    serve(&scheduler, &parker, &ran, 3);
                    scheduler.move_out();
                }
                moved_in
            }
        });
        push(&scheduler, &ran);
        assert!(scheduler.live() == 0);
        scheduler.move_out();
        if !next.join().unwrap() {
            assert!(scheduler.move_in(home(&parker)).is_ok());
            serve(&scheduler, &parker, &ran, 2);
            scheduler.move_out();
        }
    });
}

/// A thread becomes home while another schedules: either it finds the item, or it is rung.
///
/// Catches: a home that is set without the lock that the ringer takes.
#[test]
fn x05_what_is_scheduled_while_a_thread_moves_in_is_not_lost() {
    model(|| {
        let scheduler = Arc::new(Scheduler::new());
        let ran = Arc::new(AtomicUsize::new(0));
        let (scheduled, counter) = (Arc::clone(&scheduler), Arc::clone(&ran));
        let other = thread::spawn(move || push(&scheduled, &counter));
        let parker = Parker::new();
        assert!(scheduler.move_in(home(&parker)).is_ok());
        serve(&scheduler, &parker, &ran, 1);
        other.join().unwrap();
        scheduler.move_out();
    });
}

/// `notify` before, during and after the home thread goes to sleep.
///
/// Catches: a kick taken before the look that precedes the sleep; a `notify` that only kicks.
#[test]
fn p04_a_bare_notify_ends_the_poll() {
    model(|| {
        let scheduler = Arc::new(Scheduler::new());
        let parker = Parker::new();
        assert!(scheduler.move_in(home(&parker)).is_ok());
        let notified = Arc::clone(&scheduler);
        let notifier = thread::spawn(move || notified.notify());
        while !scheduler.take_kick() {
            if !scheduler.take_notified() {
                parker.park(None);
            }
        }
        notifier.join().unwrap();
    });
}

/// A bottom half that is scheduled already is scheduled again: a run follows that sees what was done before.
///
/// Catches: `schedule` that only looks, and finds it scheduled; a run that takes the mark up without the acquire half.
#[test]
fn b01_scheduled_again_a_run_sees_what_was_done_before() {
    model(|| {
        let scheduler = Arc::new(Scheduler::new());
        let parker = Parker::new();
        assert!(scheduler.move_in(home(&parker)).is_ok());
        let (done, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (doing, sees) = (Arc::clone(&done), Arc::clone(&seen));
        let bottom_half = bottom_half(&scheduler, move || sees.store(doing.load(Ordering::Relaxed), Ordering::Relaxed));
        bottom_half.schedule();
        let bottom_half = Arc::new(bottom_half);
        let again = Arc::clone(&bottom_half);
        let other = thread::spawn(move || {
            done.store(1, Ordering::Relaxed);
            again.schedule();
        });
        serve(&scheduler, &parker, &seen, 1);
        other.join().unwrap();
    });
}

/// Counts its drop, run or not.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// A bottom half is deleted by another thread while its turn comes.
///
/// Catches: a deletion and a run that each leave the callback to the other, so that neither drops it.
#[test]
fn b05_a_bottom_half_is_deleted_while_it_runs() {
    model(|| {
        let (scheduler, settled) = (Arc::new(Scheduler::new()), Arc::new(AtomicUsize::new(0)));
        let parker = Parker::new();
        assert!(scheduler.move_in(home(&parker)).is_ok());
        let (counted, mut runs) = (Counted(Arc::clone(&settled)), 0);
        let bottom_half = bottom_half(&scheduler, move || {
            runs += 1;
            assert_eq!((runs, counted.0.load(Ordering::Relaxed)), (1, 0));
        });
        bottom_half.schedule();
        let deleter = thread::spawn(move || drop(bottom_half));
        // Kept alive, so that it does not drop its callback because it is dropped itself.
        let mut kept = None;
        while let Some(Work::BottomHalf(scheduled)) = scheduler.pop(scheduler.batch_end(), Allowed::ALL) {
            if let Queued::Again(reusable) = &scheduled {
                kept = Some(Arc::clone(reusable));
            }
            scheduled.run(|again| drop(scheduler.push_bottom_half(again)));
        }
        deleter.join().unwrap();
        assert_eq!(settled.load(Ordering::Acquire), 1);
        drop(kept);
    });
}

/// Schedules one that a closed context drops at once.
fn push_counted(scheduler: &Scheduler, settled: &Arc<AtomicUsize>) {
    let counted = Counted(Arc::clone(settled));
    drop(scheduler.push_bottom_half(Queued::once(move || drop(counted))));
}

/// A task that was started is woken while another thread closes its context, which has no home.
///
/// Catches: a wake that comes after the closing thread's last check and is nevertheless left to that thread; a wake
/// that is taken for a new task, and lost.
#[test]
fn w06_a_wake_while_another_closes_leaves_nothing_behind() {
    model(|| {
        let (scheduler, settled) = (Arc::new(Scheduler::new()), Arc::new(AtomicUsize::new(0)));
        let parker = Parker::new();
        let waker = Arc::new(std::sync::Mutex::new(None));
        assert!(scheduler.move_in(home(&parker)).is_ok());
        let (counted, leaves) = (Counted(Arc::clone(&settled)), Arc::clone(&waker));
        let task = spawn(&scheduler, async move {
            let _counted = counted;
            std::future::poll_fn(|cx| {
                *leaves.lock().unwrap() = Some(cx.waker().clone());
                std::task::Poll::<()>::Pending
            })
            .await;
        });
        drop(task);
        run_tasks(&scheduler);
        waker.lock().unwrap().take().map(Waker::wake);
        // As far as a wake comes before it is the scheduler's turn: a model does not see what is between.
        let Some(Work::Task(woken)) = scheduler.pop(scheduler.batch_end(), Allowed::ALL) else {
            panic!("it was woken")
        };
        scheduler.move_out();
        let waking = Arc::clone(&scheduler);
        let wakes = thread::spawn(move || assert!(waking.push_task(woken).is_ok()));
        scheduler.close();
        wakes.join().unwrap();
        assert_eq!(settled.load(Ordering::Acquire), 1);
        assert_eq!(scheduler.live(), 0);
    });
}

/// A context without a home is closed while another thread schedules: nothing stays behind.
///
/// Catches: `closed` looked at before the lock is taken, or set after what waits was taken out.
#[test]
fn w06_a_close_leaves_nothing_behind() {
    model(|| {
        let (scheduler, settled) = (Arc::new(Scheduler::new()), Arc::new(AtomicUsize::new(0)));
        let (scheduled, counter) = (Arc::clone(&scheduler), Arc::clone(&settled));
        let other = thread::spawn(move || push_counted(&scheduled, &counter));
        scheduler.close();
        other.join().unwrap();
        assert_eq!(settled.load(Ordering::Acquire), 1);
    });
}

/// A context is closed elsewhere while its home thread sleeps: that drops what waits.
///
/// Catches: a close that does not ring, or rings before it can be seen.
#[test]
fn w06_a_close_wakes_the_home_thread_to_clear_out() {
    model(|| {
        let (scheduler, settled) = (Arc::new(Scheduler::new()), Arc::new(AtomicUsize::new(0)));
        let parker = Parker::new();
        assert!(scheduler.move_in(home(&parker)).is_ok());
        push_counted(&scheduler, &settled);
        // It slept before.
        scheduler.take_notified();
        let closed = Arc::clone(&scheduler);
        let closer = thread::spawn(move || closed.close());
        while settled.load(Ordering::Acquire) == 0 {
            if scheduler.has_to_close() {
                scheduler.clear_out();
            }
            if settled.load(Ordering::Acquire) == 0 && !scheduler.take_notified() {
                parker.park(None);
            }
        }
        closer.join().unwrap();
    });
}

/// A thread leaves home while another closes the context: one of them drops what is queued.
///
/// Catches: leaving without a check of `closing`, or with the check before the home is given up; a close that checks
/// for a home before it sets `closing`.
#[test]
fn w06_leaving_while_another_closes_leaves_nothing_behind() {
    model(|| {
        let (scheduler, settled) = (Arc::new(Scheduler::new()), Arc::new(AtomicUsize::new(0)));
        let parker = Parker::new();
        assert!(scheduler.move_in(home(&parker)).is_ok());
        push_counted(&scheduler, &settled);
        let closed = Arc::clone(&scheduler);
        let closer = thread::spawn(move || closed.close());
        scheduler.move_out();
        closer.join().unwrap();
        assert_eq!(settled.load(Ordering::Acquire), 1);
    });
}

/// Sends a call of a future that is ready at once, or never, and waits for it as `poll_co_in` does: a caller that finds
/// no home becomes the temporary home and starts its own call.
///
/// Returns whether it was answered.
fn call_in(scheduler: &Arc<Scheduler>, is_ready: bool) -> bool {
    let parker = Parker::new();
    let wakes = Arc::new(WakeSlot::new(parker.unparker()));
    let span = Span::call("call", std::panic::Location::caller());
    let packed = Packed::new((), |()| async move {
        if !is_ready {
            std::future::pending::<()>().await;
        }
        7
    });
    // SAFETY: it stays where it is until it is done.
    let mut sent = unsafe { send(scheduler, &packed, &wakes, span) };
    let waker = Waker::from(Arc::clone(&wakes));
    let mut at_home = false;
    let outcome = loop {
        if !at_home && scheduler.home_number().is_none() {
            at_home = scheduler.move_in(Home { call: Some(("call", Location::caller())), ..home(&parker) }).is_ok();
        }
        if let Poll::Ready(outcome) = sent.poll(&mut Context::from_waker(&waker)) {
            break outcome;
        }
        if at_home {
            if scheduler.has_to_close() {
                scheduler.clear_out();
            }
            run_tasks(scheduler);
        }
        if !(wakes.take_woken() || at_home && scheduler.take_notified()) {
            parker.park(None);
        }
    };
    if at_home {
        scheduler.move_out();
    }
    matches!(outcome, Some(Outcome::Done(7)))
}

fn run_tasks(scheduler: &Scheduler) {
    let end = scheduler.batch_end();
    while let Some(Work::Task(task)) = scheduler.pop(end, Allowed::ALL) {
        run(task);
    }
}

/// A call is done by another thread, which closes the context after it or before.
///
/// That the caller sees the output when it finds the task done is up to async-task, which no model here covers.
///
/// Catches: a context that closes and forgets a call that waits in it, or takes one in after.
#[test]
fn x02_w06_a_call_is_done_while_another_closes() {
    model(|| {
        let scheduler = Arc::new(Scheduler::new());
        let parker = Parker::new();
        assert!(scheduler.move_in(home(&parker)).is_ok());
        let there = Arc::clone(&scheduler);
        let caller = thread::spawn(move || {
            call_in(&there, true);
            there.notify();
        });
        let closed = Arc::clone(&scheduler);
        let closer = thread::spawn(move || closed.close());
        while !scheduler.take_kick() {
            if scheduler.has_to_close() {
                scheduler.clear_out();
            }
            run_tasks(&scheduler);
            if !scheduler.take_notified() {
                parker.park(None);
            }
        }
        caller.join().unwrap();
        closer.join().unwrap();
        scheduler.move_out();
    });
}

/// One temporary home leaves, the next starts the call that it waits for, another thread closes.
///
/// Catches: a home that, while leaving, drops what only the next home may touch (the call was lost and its caller
/// waited for ever); a close that does not notify the home; leaving without waking the waiting callers; a
/// thread that takes the queue in one critical section and becomes the home in a second one.
#[test]
fn w06_x05_leaving_while_the_next_moves_in_and_another_closes() {
    model(|| {
        let scheduler = Arc::new(Scheduler::new());
        let parker = Parker::new();
        assert!(scheduler.move_in(Home { call: Some(("call", Location::caller())), ..home(&parker) }).is_ok());
        let there = Arc::clone(&scheduler);
        let caller = thread::spawn(move || assert!(!call_in(&there, false)));
        let closed = Arc::clone(&scheduler);
        let closer = thread::spawn(move || closed.close());
        scheduler.move_out();
        caller.join().unwrap();
        closer.join().unwrap();
    });
}

/// Two callers of a context without a home: one serves itself, the other waits for it, or serves itself too.
///
/// Catches: a temporary home that leaves without waking the waiting callers; one that checks for them before it has
/// left.
#[test]
fn x05_callers_without_a_home_are_home_in_turn() {
    model(|| {
        let scheduler = Arc::new(Scheduler::new());
        let there = Arc::clone(&scheduler);
        let other = thread::spawn(move || assert!(call_in(&there, true)));
        assert!(call_in(&scheduler, true));
        other.join().unwrap();
    });
}
