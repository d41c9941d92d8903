//! Hang reports and the watchdog that prints them.

#![cfg(all(unix, not(loom)))]

mod common;

use std::{
    fs::{self, File},
    future::poll_fn,
    io::{self, BufRead, BufReader, Write},
    os::fd::{AsFd, AsRawFd},
    panic::Location,
    pin::pin,
    sync::mpsc,
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use co_wrapper_runtime::{
    __private::{Wrapper, poll_co_in},
    AioContext, IoThread,
    hang::{self, Call, State, Suspect},
};
use common::{BOUND, in_child, mixed, ms, plain};
use futures::future::{Either, select};

/// This thread's calls that a report shows, once `enough` is true of them.
#[track_caller]
fn calls_of(thread: &str, enough: impl Fn(&[Call]) -> bool) -> Vec<Call> {
    let deadline = Instant::now() + BOUND;
    loop {
        let report = hang::report();
        let calls: Vec<_> = report.calls().iter().filter(|call| call.thread() == thread).cloned().collect();
        if enough(&calls) {
            return calls;
        }
        assert!(Instant::now() < deadline, "no such report: {report}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether the first of the two is ready first.
async fn first(one: impl Future, other: impl Future) -> bool {
    matches!(select(pin!(one), pin!(other)).await, Either::Left(_))
}

fn parked_at(depth: usize) -> impl Fn(&[Call]) -> bool {
    move |calls| calls.last().is_some_and(|call| call.depth() == depth && call.state() == State::Parked)
}

/// Runs `blocks` on a thread of that name, gives what a report shows of it, once `depth` calls wait there, to `check`,
/// and lets go of what `blocks` was given to wait for.
fn while_it_waits(
    name: &str,
    depth: usize,
    blocks: impl FnOnce(async_channel::Receiver<()>) + Send + 'static,
    check: impl FnOnce(&[Call]),
) {
    let (release, released) = async_channel::bounded(1);
    let thread = thread::Builder::new().name(name.into()).spawn(move || blocks(released)).unwrap();
    let calls = calls_of(&format!("`{name}`"), parked_at(depth));
    check(&calls);
    drop(release);
    thread.join().unwrap();
}

/// Catches: a call that is not shown, or shown with another's name, place, thread or context; one that is shown when it
/// has returned.
#[test]
fn hang_two_threads_that_wait_for_each_other_are_both_reported() {
    let (to_a, at_a) = async_channel::bounded(1);
    let (to_b, at_b) = async_channel::bounded(1);
    let release_a = to_a.clone();
    let ctx = AioContext::builder().name("left").build().unwrap();
    let a = thread::Builder::new().name("a".into()).spawn(move || {
        let _guard = ctx.enter();
        plain(async {
            at_a.recv().await.unwrap();
            to_b.send(()).await.unwrap();
        });
        assert!(hang::report().calls().iter().all(|call| call.thread() != "`a`"), "it has returned");
    });
    let b = thread::Builder::new().name("b".into()).spawn(move || {
        mixed(async {
            at_b.recv().await.unwrap();
            // The other, let go first, may be gone.
            let _ = to_a.send(()).await;
        });
    });
    for (thread, name, context) in [("`a`", "plain", Some("left")), ("`b`", "mixed", None)] {
        let calls = calls_of(thread, parked_at(1));
        let [call] = &calls[..] else { panic!("{calls:?}") };
        assert_eq!((call.name(), call.context(), call.polls()), (name, context, 1));
        assert_eq!(call.site().file(), file!());
        assert!(call.suspects().is_empty(), "nothing is below: {call}");
        // It is still the same wait, which a later report shows to be longer.
        let before = call.waited();
        calls_of(thread, |calls| parked_at(1)(calls) && calls[0].waited() > before);
        let text = hang::report().to_string();
        for part in ["hang report", thread, name, file!(), &call.site().line().to_string()] {
            assert!(text.contains(part), "{part} is missing: {text}");
        }
    }
    release_a.try_send(()).unwrap();
    a.unwrap().join().unwrap();
    b.unwrap().join().unwrap();
}

/// Catches: an outer call that is not named, or that is shown only while the nested one waits.
#[test]
fn hang_a_nested_call_may_wait_for_what_only_a_lower_one_can_do() {
    let blocks = |released: async_channel::Receiver<()>| {
        let (tx, rx) = async_channel::bounded::<()>(1);
        plain(async move {
            // Only this future could send.
            mixed(first(rx.recv(), released.recv()));
            drop(tx);
        });
    };
    while_it_waits("nested", 2, blocks, |calls| {
        let [lower, nested] = calls else { panic!("{calls:?}") };
        assert_eq!((lower.name(), lower.state(), lower.polls()), ("plain", State::Polling, 0));
        assert_eq!((nested.name(), nested.depth()), ("mixed", 2));
        assert!(!lower.suspects().contains(&Suspect::OuterFrame));
        assert!(nested.suspects().contains(&Suspect::OuterFrame));
        let named = format!("plain at {}", lower.site());
        assert!(nested.to_string().contains(&named), "{nested}");
    });
}

/// Calls into `ctx` from a thread of that name: does `begins` there, and waits there until it is let go.
fn calls_into(
    ctx: &AioContext,
    name: &str,
    released: async_channel::Receiver<()>,
    begins: impl FnOnce() + Send + 'static,
) -> thread::JoinHandle<()> {
    static REMOTE: Wrapper = Wrapper { name: "remote", target: "co_remote", mixed: false };
    let ctx = ctx.clone();
    let calls = move || {
        poll_co_in(&REMOTE, &ctx, (released, begins), |(released, begins)| async move {
            begins();
            assert!(released.recv().await.is_err());
        });
    };
    thread::Builder::new().name(name.into()).spawn(calls).unwrap()
}

/// Catches: one of several calls that is not said to wait for the end of another thread's; one that is said to though
/// its own thread is the home, or when it has begun.
#[test]
fn x05_hang_calls_that_a_temporary_home_does_not_start_are_reported() {
    let (release, released) = async_channel::bounded(1);
    let ctx = AioContext::new().unwrap();
    let waits = [&[Suspect::TemporaryHome][..]];
    let suspects = |calls: &[Call]| calls.iter().map(|call| call.suspects().to_vec()).collect::<Vec<_>>();
    let first = calls_into(&ctx, "home for its call", released, || ());
    assert_eq!(suspects(&calls_of("`home for its call`", parked_at(1))), [[]]);
    let (release_others, released) = async_channel::bounded(1);
    let others = ["waits for that call", "waits for it too"];
    let others = others.map(|name| (name, calls_into(&ctx, name, released.clone(), || ())));
    for (name, _) in &others {
        let calls = calls_of(&format!("`{name}`"), parked_at(1));
        assert_eq!(suspects(&calls), waits);
        assert!(calls[0].to_string().contains("has not begun: thread `home for its call` is home"), "{}", calls[0]);
    }
    drop(release);
    first.join().unwrap();
    // Now one of the two is the home.
    let is_home = |name: &str| calls_of(&format!("`{name}`"), parked_at(1))[0].suspects().is_empty();
    let deadline = Instant::now() + BOUND;
    while others.iter().filter(|(name, _)| is_home(name)).count() != 1 {
        assert!(Instant::now() < deadline, "{}", hang::report());
    }
    drop(release_others);
    others.into_iter().for_each(|(_, thread)| thread.join().unwrap());
}

/// Catches: a call that is said not to have begun, because its home, which has started it, stays for a call only by now.
#[test]
fn hang_a_call_that_has_begun_is_not_said_to_wait_for_its_temporary_home() {
    let (release, released) = async_channel::bounded(1);
    let ctx = AioContext::new().unwrap();
    let other = ctx.clone();
    let (begins, has_begun) = async_channel::bounded(1);
    let (sends, sent) = mpsc::channel();
    let (end, ends) = async_channel::bounded::<()>(1);
    let late_released = ends.clone();
    let home = thread::spawn(move || {
        other.block_on(async {
            let stays = other.enter();
            sends.send(()).unwrap();
            has_begun.recv().await.unwrap();
            drop(stays);
            sends.send(()).unwrap();
            assert!(ends.recv().await.is_err());
        });
    });
    sent.recv().unwrap();
    let begun = calls_into(&ctx, "begun there", released, move || begins.try_send(()).unwrap());
    sent.recv().unwrap();
    let late = calls_into(&ctx, "not begun there", late_released, || ());
    assert_eq!(calls_of("`not begun there`", parked_at(1))[0].suspects(), [Suspect::TemporaryHome]);
    assert!(calls_of("`begun there`", parked_at(1))[0].suspects().is_empty());
    drop(release);
    drop(end);
    [home, begun, late].into_iter().for_each(|thread| thread.join().unwrap());
}

/// Catches: a call in its first poll that is reported after what it called has ended, or as longer waiting than what it
/// calls now.
#[test]
fn hang_a_call_in_its_first_poll_waits_only_as_long_as_what_it_calls() {
    let (release_first, first_released) = async_channel::bounded::<()>(1);
    let (ended, has_ended) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel();
    let blocks = move |released: async_channel::Receiver<()>| {
        plain(async move {
            assert!(mixed(first_released.recv()).is_err());
            ended.send(()).unwrap();
            goes_on.recv().unwrap();
            assert!(mixed(released.recv()).is_err());
        });
    };
    while_it_waits("first poll", 2, blocks, |_| {
        drop(release_first);
        has_ended.recv().unwrap();
        // It may be seen to block, if another test's report looked before.
        let calls = hang::report().calls().to_vec();
        let mut calls = calls.iter().filter(|call| call.thread() == "`first poll`");
        assert!(calls.all(|call| (call.name(), call.suspects()) == ("plain", &[Suspect::Blocked][..])));
        let again = Instant::now();
        go_on.send(()).unwrap();
        let calls = calls_of("`first poll`", parked_at(2));
        assert!(calls[0].waited() <= again.elapsed(), "{calls:?}");
    });
}

/// Catches: a call that is reported as waiting while its future, ready, is being dropped.
#[test]
fn hang_a_call_whose_wait_is_over_does_not_wait() {
    struct Busy(mpsc::Sender<()>, mpsc::Receiver<()>);
    impl Drop for Busy {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
            self.1.recv().unwrap();
        }
    }

    let (drops, is_dropped) = mpsc::channel();
    let (looked, has_looked) = mpsc::channel();
    let busy = Busy(drops, has_looked);
    let waits = move || {
        let _busy = busy;
        let mut polls = 0;
        poll_fn(move |cx| {
            let _busy = &_busy;
            polls += 1;
            cx.waker().wake_by_ref();
            if polls < 3 { Poll::Pending } else { Poll::Ready(()) }
        })
    };
    let thread = thread::Builder::new().name("over".into()).spawn(|| plain(waits())).unwrap();
    is_dropped.recv().unwrap();
    let report = hang::report();
    looked.send(()).unwrap();
    thread.join().unwrap();
    // It may be seen to block, if another test's report looked before.
    let mut calls = report.calls().iter().filter(|call| call.thread() == "`over`");
    assert!(calls.all(|call| (call.polls(), call.suspects()) == (0, &[Suspect::Blocked][..])), "{report}");
}

/// Catches: the same if the outer frame is a bottom half instead of a call.
#[test]
fn hang_a_call_in_a_bottom_half_may_wait_for_what_only_that_can_do() {
    let blocks = |released: async_channel::Receiver<()>| {
        let ctx = AioContext::new().unwrap();
        ctx.schedule_bh(move || assert!(plain(released.recv()).is_err()));
        ctx.poll(true);
    };
    while_it_waits("bottom half", 1, blocks, |calls| {
        assert!(calls[0].suspects().contains(&Suspect::OuterFrame));
        assert!(calls[0].to_string().contains("a task or callback"), "{}", calls[0]);
    });
}

/// Catches: a report that does not think of locks.
#[test]
fn hang_a_nested_call_may_wait_for_a_lock_that_a_lower_one_holds() {
    let blocks = |released: async_channel::Receiver<()>| {
        let lock = futures::lock::Mutex::new(());
        plain(async {
            let held = lock.lock().await;
            mixed(async {
                assert!(!first(lock.lock(), released.recv()).await);
            });
            drop(held);
        });
    };
    while_it_waits("locked", 2, blocks, |calls| {
        assert!(calls[1].suspects().contains(&Suspect::OuterLock));
        assert!(calls[1].to_string().contains("a lock"), "{}", calls[1]);
    });
}

/// Catches: an outer runtime that is not recognised, or is reported as one of another kind.
#[cfg(feature = "tokio")]
#[test]
fn hang_a_call_may_wait_for_a_reactor_that_its_thread_drives() {
    use tokio::runtime::Builder;

    // A multi-thread runtime's worker is handed on, and nothing of it stands still.
    let mut single = Builder::new_multi_thread();
    let runtimes = [
        (
            "current",
            Builder::new_current_thread().enable_all().build().unwrap(),
            &[Suspect::DrivenReactor][..],
            "current_thread",
        ),
        ("multi", single.worker_threads(1).thread_name("multi").enable_all().build().unwrap(), &[], "waited"),
    ];
    for (name, runtime, suspects, says) in runtimes {
        let blocks = move |released: async_channel::Receiver<()>| {
            let task = async move {
                let its_own = tokio::time::sleep(BOUND);
                plain(first(its_own, released.recv()));
            };
            runtime.block_on(async { tokio::spawn(task).await.unwrap() });
        };
        let (release, released) = async_channel::bounded(1);
        let thread = thread::Builder::new().name(name.into()).spawn(move || blocks(released)).unwrap();
        // It sleeps a millisecond at most at a time, so it is not always parked.
        let calls = calls_of(&format!("`{name}`"), |calls| {
            calls.first().is_some_and(|call| call.suspects() == suspects && call.polls() > 0)
        });
        assert!(calls[0].to_string().contains(says), "{}", calls[0]);
        drop(release);
        thread.join().unwrap();
    }
}

/// Catches: a call into another context that names the caller's; `poll_while` left out, or `poll` not.
#[test]
fn hang_the_context_is_the_one_waited_for() {
    let blocks = |released: async_channel::Receiver<()>| {
        use co_wrapper_runtime::__private::{Wrapper, poll_co_in};
        let io = IoThread::spawn("target").unwrap();
        let wrapper = &Wrapper { name: "remote", target: "co_remote", mixed: false };
        let _ended = poll_co_in(wrapper, io.context(), released, |released| async move { released.recv().await });
    };
    while_it_waits("caller", 1, blocks, |calls| {
        assert_eq!((calls[0].name(), calls[0].context()), ("remote", Some("target")));
        assert!(hang::report().calls().iter().all(|call| call.thread() != "`target`"), "`poll` is idle");
    });
    let blocks = |released: async_channel::Receiver<()>| {
        let ctx = AioContext::builder().name("polled").build().unwrap();
        let notifier = ctx.clone();
        let waker = released.clone();
        let thread = thread::spawn(move || {
            let _closed = waker.recv_blocking();
            notifier.notify();
        });
        ctx.poll_while(|| !released.is_closed());
        thread.join().unwrap();
    };
    while_it_waits("poller", 1, blocks, |calls| {
        let call = &calls[0];
        assert_eq!((call.name(), call.context()), ("AioContext::poll_while", Some("polled")));
        assert_eq!(call.site().file(), Location::caller().file());
    });
}

/// What a child process prints to its stderr.
struct Printed {
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Printed {
    /// Reads this process's stderr from now on. What is read is printed where stderr went before.
    fn capture() -> Self {
        let mut before = File::from(io::stderr().as_fd().try_clone_to_owned().unwrap());
        let (reader, writer) = io::pipe().unwrap();
        // SAFETY: both descriptors are open, and nobody relies on where stderr goes.
        assert!(unsafe { libc::dup2(writer.as_raw_fd(), libc::STDERR_FILENO) } >= 0);
        let (sends, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(reader).lines() {
                let line = line.unwrap();
                writeln!(before, "{line}").unwrap();
                // The receiver is gone if the test has ended.
                let _ = sends.send(line);
            }
        });
        Self { lines, seen: Vec::new() }
    }

    /// Waits for a line with all these parts.
    #[track_caller]
    fn wait_for(&mut self, parts: &[&str]) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(BOUND) else {
                panic!("{parts:?} is not printed, but {:?}", self.seen)
            };
            self.seen.push(line.clone());
            if parts.iter().all(|part| line.contains(part)) {
                return line;
            }
        }
    }

    /// How many lines with this part have been printed so far.
    fn count(&self, part: &str) -> usize {
        self.seen.iter().filter(|line| line.contains(part)).count()
    }

    /// Waits until a call of `call` on a thread of that name has been reported, and lets it go on. Returns the line about
    /// the call, and the time that it says the call has waited.
    #[track_caller]
    fn report_of(&mut self, thread: &str, call: Blocks) -> (String, Duration) {
        let (release, released) = async_channel::bounded(1);
        let blocked = thread::Builder::new().name(thread.into()).spawn(move || call(released)).unwrap();
        let line = self.wait_for(&[&format!("thread `{thread}`: "), "called at "]);
        drop(release);
        blocked.join().unwrap();
        let waited = waited(&line);
        (line, waited)
    }
}

/// A call that waits until the sender is dropped.
type Blocks = fn(async_channel::Receiver<()>);

fn plain_call(released: async_channel::Receiver<()>) {
    assert!(plain(released.recv()).is_err());
}

/// The time in a line of a report: `has waited for 200.9ms` or `has waited for 1.2s`.
fn waited(line: &str) -> Duration {
    let time = line.split("has waited for ").nth(1).unwrap().split(' ').next().unwrap();
    let (number, unit) = time.split_at(time.find(|c: char| c.is_alphabetic()).unwrap());
    let seconds = match unit {
        "s" => 1.0,
        "ms" => 1e-3,
        _ => 1e-6,
    };
    Duration::from_secs_f64(number.parse::<f64>().unwrap() * seconds)
}

fn watchdog_runs() -> bool {
    fs::read_dir("/proc/self/task").unwrap().any(|task| {
        fs::read_to_string(task.unwrap().path().join("comm")).is_ok_and(|name| name.trim() == "co-wrapper-hang")
    })
}

#[test]
#[ignore = "a child's part"]
fn child_waits_long_twice() {
    let mut printed = Printed::capture();
    let (release, released) = async_channel::bounded(1);
    let (release_again, released_again) = async_channel::bounded(1);
    let twice = thread::Builder::new().name("twice".into()).spawn(move || {
        plain_call(released);
        plain_call(released_again);
    });
    let first = printed.wait_for(&["thread `twice`: plain, called at ", file!()]);
    assert!(waited(&first) >= ms(200), "{first}");
    // Until the second call is reported, the watchdog looks at the first one several times more.
    let (second, waited) = printed.report_of("meanwhile", |released| assert!(mixed(released.recv()).is_err()));
    assert!(second.contains("mixed, called at ") && waited >= ms(200), "{second}");
    assert_eq!(printed.count("thread `twice`: "), 1, "{:?}", printed.seen);
    drop(release);
    printed.wait_for(&["thread `twice`: plain, called at ", file!()]);
    assert_eq!(printed.count("hang report: 1 blocking call"), 3, "{:?}", printed.seen);
    drop(release_again);
    twice.unwrap().join().unwrap();
}

/// Catches: no watchdog; one that reports a call again and again, or a short one; one that outlives the program.
#[test]
fn hang_the_watchdog_reports_a_long_wait_once() {
    in_child("child_waits_long_twice", &[("CO_WRAPPER_HANG_SECS", "0.2")]);
}

#[test]
#[ignore = "a child's part"]
fn child_waits_unwatched() {
    let (release, released) = async_channel::bounded(1);
    let waits = thread::Builder::new().name("unwatched".into()).spawn(move || plain_call(released)).unwrap();
    calls_of("`unwatched`", parked_at(1));
    // By itself, a debug build begins to watch when a call has waited for five seconds.
    let runs = watchdog_runs();
    assert!(!runs || calls_of("`unwatched`", parked_at(1))[0].waited() > ms(4_000));
    drop(release);
    waits.join().unwrap();
}

/// Catches: a watch that nobody asked for; a variable that is no number taken for one, or passed over in silence.
#[test]
fn hang_nobody_watches_unasked() {
    assert_eq!(in_child("child_waits_unwatched", &[]), "");
    assert_eq!(in_child("child_waits_unwatched", &[("CO_WRAPPER_HANG_SECS", "0")]), "");
    let said = in_child("child_waits_unwatched", &[("CO_WRAPPER_HANG_SECS", "soon")]);
    assert!(said.contains("CO_WRAPPER_HANG_SECS=soon is no number of seconds"), "{said}");
}

#[test]
#[ignore = "a child's part"]
fn child_asks_for_a_watch() {
    let mut printed = Printed::capture();
    for limit in [ms(200), 2 * BOUND, ms(400)] {
        hang::watch(limit);
        if limit < BOUND {
            // The first one may be from a look that had begun before.
            let mut reports = (0..2).map(|_| printed.report_of("watched", plain_call));
            let (line, _) = reports.find(|(_, waited)| *waited >= limit).expect("a report that comes after the limit");
            assert!(line.contains("plain, called at "), "{line}");
        }
    }
    assert!(watchdog_runs());
}

/// Catches: `watch` without effect, also the second time; the environment put before it.
#[test]
fn hang_a_watch_can_be_asked_for() {
    in_child("child_asks_for_a_watch", &[("CO_WRAPPER_HANG_SECS", "0.001")]);
}

#[cfg(feature = "tokio")]
mod heartbeat {
    use super::*;

    /// Blocks one of the reactor's workers.
    fn on_the_reactor(blocks: impl FnOnce() + Send + 'static) {
        plain(async { tokio::spawn(async { blocks() }).await }).unwrap();
    }

    #[test]
    #[ignore = "a child's part"]
    fn child_blocks_the_reactor() {
        let mut printed = Printed::capture();
        // The first call starts the reactor.
        plain(async {});
        on_the_reactor(move || {
            printed.wait_for(&["thread `co-wrapper-io`", "does not answer", "outside our calls"]);
            // What was printed may be about a machine that had other things to do than to run it.
            let deadline = Instant::now() + BOUND;
            let late = loop {
                if let Some(late) = hang::report().stalled_reactor() {
                    break late;
                }
                assert!(Instant::now() < deadline, "it is blocked, and is not named");
                thread::sleep(ms(1));
            };
            assert!(late >= ms(200));
        });
        let deadline = Instant::now() + BOUND;
        while hang::report().stalled_reactor().is_some() {
            assert!(Instant::now() < deadline, "it goes on, and is named still");
            thread::sleep(ms(1));
        }
    }

    /// Catches: no heartbeat; one that is named late for good.
    #[test]
    fn hang_the_watchdog_names_a_reactor_that_is_blocked_outside_our_calls() {
        in_child("heartbeat::child_blocks_the_reactor", &[("CO_WRAPPER_HANG_SECS", "0.2")]);
    }

    #[test]
    #[ignore = "a child's part"]
    fn child_blocks_a_worker_for_good() {
        let mut printed = Printed::capture();
        thread::spawn(|| {
            // What it waits for lies where only the worker looks that it blocks.
            on_the_reactor(|| {
                let (tx, rx) = std::sync::mpsc::channel();
                tokio::spawn(async move { tx.send(()) });
                rx.recv().unwrap();
            });
            eprintln!("tokio has found a way");
        });
        printed.wait_for(&["thread `co-wrapper-io`: a worker of the tokio reactor"]);
        assert_eq!(printed.count("tokio has found a way"), 0);
        // The others go on.
        plain(async { tokio::time::sleep(ms(1)).await });
    }

    /// Catches: one blocked worker of several that is not named, for others answer.
    #[test]
    fn hang_the_watchdog_names_a_worker_that_waits_for_itself() {
        in_child("heartbeat::child_blocks_a_worker_for_good", &[("CO_WRAPPER_HANG_SECS", "0.2")]);
    }

    #[test]
    #[ignore = "a child's part"]
    fn child_blocks_the_reactor_in_a_call() {
        let mut printed = Printed::capture();
        let (release, released) = async_channel::bounded(1);
        let worker = thread::spawn(|| on_the_reactor(|| plain_call(released)));
        printed.wait_for(&["thread `co-wrapper-io`: plain, called at "]);
        // Until this call is reported, the watchdog looks at the worker several times more.
        printed.report_of("meanwhile", plain_call);
        // It may have been late because the machine had other things to do, but answers all the same.
        let deadline = Instant::now() + BOUND;
        while hang::report().stalled_reactor().is_some() {
            assert!(Instant::now() < deadline, "{:?}", printed.seen);
            thread::sleep(ms(1));
        }
        drop(release);
        worker.join().unwrap();
    }

    /// Catches: a call of ours on the worker taken for a blocked one.
    #[test]
    fn hang_a_call_on_the_worker_does_not_stop_the_reactor() {
        in_child("heartbeat::child_blocks_the_reactor_in_a_call", &[("CO_WRAPPER_HANG_SECS", "0.2")]);
    }
}
