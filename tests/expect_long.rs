//! `expect_long` on every place that takes it, and what a generated wrapper's messages know of its crate.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::{Duration, Instant},
};

use async_channel::{Receiver, bounded};
use co_wrapper::{AioContext, IoThread, co_wrapper, declare, hang};

#[co_wrapper(expect_long)]
async fn co_next(requests: &Receiver<u32>) -> Option<u32> {
    requests.recv().await.ok()
}

#[co_wrapper]
async fn co_short(requests: &Receiver<u32>) -> Option<u32> {
    requests.recv().await.ok()
}

/// Its parameter has the name of what the macro adds.
#[co_wrapper(expect_long, timeout, name = named)]
async fn co_named(__cw_long: &Receiver<u32>) -> Option<u32> {
    __cw_long.recv().await.ok()
}

struct Server(Receiver<u32>);

#[co_wrapper(suffix = "_blocking", expect_long)]
impl Server {
    async fn next(&self) -> Option<u32> {
        self.0.recv().await.ok()
    }
}

#[co_wrapper(ctx = ctx, expect_long)]
async fn co_elsewhere(ctx: &AioContext, requests: Receiver<u32>) -> Option<u32> {
    assert_eq!(AioContext::current(), *ctx);
    requests.recv().await.ok()
}

declare! {
    #[co_wrapper(expect_long)]
    fn declared(requests: &Receiver<u32>) -> Option<u32> = co_next;
}

/// A call that waits for a request.
type Call = fn(Receiver<u32>) -> Option<u32>;

/// Whether a report marks the calls of `name`, once there is one.
fn is_marked(name: &str) -> bool {
    let since = Instant::now();
    loop {
        if let Some(call) = hang::report().calls().iter().find(|call| call.name() == name) {
            return call.is_expected_long();
        }
        assert!(since.elapsed() < Duration::from_secs(60), "no call of {name} waits");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Catches: an option that is not heeded in one of the places where it may stand, or that outlasts the call.
#[test]
fn expect_long_marks_the_calls_of_the_function() {
    let calls: [(&str, bool, Call); 7] = [
        ("next", true, |requests| next(&requests)),
        ("named", true, |requests| named(&requests)),
        ("named_timeout", true, |requests| named_timeout(&requests, Duration::from_secs(60)).unwrap()),
        ("next_blocking", true, |requests| Server(requests).next_blocking()),
        ("elsewhere", true, |requests| elsewhere(IoThread::spawn("io").unwrap().context(), requests)),
        ("declared", true, |requests| declared(&requests)),
        ("short", false, |requests| short(&requests)),
    ];
    for (name, marked, call) in calls {
        let (sender, requests) = bounded(2);
        let caller = thread::spawn(move || {
            let answer = call(requests.clone());
            // A later call of another function is none of them.
            (answer, short(&requests))
        });
        assert_eq!(is_marked(name), marked, "{name}");
        sender.send_blocking(7).unwrap();
        if name != "short" {
            assert!(!is_marked("short"), "after {name}");
        }
        sender.send_blocking(8).unwrap();
        assert_eq!(caller.join().unwrap(), (Some(7), Some(8)), "{name}");
    }
    let (_sender, requests) = bounded(1);
    assert!(named_timeout(&requests, Duration::ZERO).is_err());
}

#[co_wrapper]
async fn co_bad() {
    // co-check: allow — the test is about the panic
    Server(bounded(1).1).next_blocking();
}

#[co_wrapper]
async fn co_outer() {
    // co-check: allow — the test is about the panic
    short(&bounded(1).1);
}

/// Catches: a message that does not say which function to mark and in which crate, or inside which call it went wrong.
#[test]
fn a_refused_call_names_the_function_to_mark_its_crate_and_the_outer_call() {
    for (call, parts) in [
        (
            bad as fn(),
            ["next_blocking: ", "mark `next` in crate `expect_long` #[co_wrapper(mixed)]", "`bad`, called at "],
        ),
        (outer, ["short: ", "mark `co_short` in crate `expect_long` #[co_wrapper(mixed)]", "`outer`, called at "]),
    ] {
        let payload = catch_unwind(AssertUnwindSafe(call)).unwrap_err();
        let message = payload.downcast_ref::<String>().unwrap();
        for part in parts {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert_eq!(message.matches(file!()).count(), 2, "{message}");
    }
}
