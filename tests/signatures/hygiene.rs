//! Names of the user's that stand in the way of careless expansions.

#![allow(non_upper_case_globals, dead_code, unused_macros)]

use super::later;

// A closure's or a function's parameter of one of these names would be a pattern.
const co: u8 = 1;
const args: u8 = 1;
const a0: u8 = 1;
static s: u8 = 1;
static entry: u8 = 1;

struct Result;
struct Option;
struct Box;
struct Future;
trait FnOnce {}
trait Fn {}
trait Send {}
trait Sized {}
struct A0;
struct A1;
struct Fut;
struct Wrapper;
struct ReadArgs(u8);
struct Elapsed;
struct Duration;
struct AioContext;
struct Sent;
struct Clone;

mod core {}
mod std {}
mod alloc {}
mod __private {}

fn poll_co() {}
fn co_read_entry() {}

macro_rules! panic {
    () => {};
}
macro_rules! pack {
    () => {};
}
macro_rules! poll_co {
    () => {};
}

#[::co_wrapper::co_wrapper]
async fn co_read(a: A0, b: A1, c: ReadArgs) -> (A0, A1, u8, Fut) {
    later((a, b, c.0, Fut)).await
}

fn arg() {}

#[::co_wrapper::co_wrapper(ctx = ::co_wrapper::AioContext::current(), timeout, interrupt)]
async fn co_sent(x: u8, y: ReadArgs, timeout: u8) -> u8 {
    later(x + y.0 + timeout).await
}

::co_wrapper::declare! {
    #[co_wrapper(timeout, interrupt)]
    fn declared(a: A0, b: A1, c: ReadArgs) -> (A0, A1, u8, Fut) = co_read;

    impl Extension for Wrapper {
        fn poll_now(&self) -> u8 = poll_async;
    }
}

#[::co_wrapper::co_wrapper]
async fn co_turbofish<ReadArgs: Default, A0: Default, Fut: Default>() -> (ReadArgs, A0, Fut) {
    later(::core::default::Default::default()).await
}

impl Wrapper {
    #[::co_wrapper::co_wrapper(name = poll_co)]
    async fn poll_async(&self) -> u8 {
        later(s + co).await
    }
}

#[test]
fn all() {
    let (A0, A1, c, Fut) = read(A0, A1, ReadArgs(3));
    assert_eq!(c, 3);
    assert_eq!(turbofish::<u8, bool, i8>(), (0, false, 0));
    assert_eq!(Wrapper.poll_co(), 2);
    assert_eq!(Wrapper.poll_now(), 2);
    assert_eq!(sent(1, ReadArgs(2), 3), 6);
    let long = ::core::time::Duration::from_secs(60);
    assert_eq!(sent_timeout(1, ReadArgs(2), 3, long).unwrap(), 6);
    assert_eq!(sent_interruptible(1, ReadArgs(2), 3).unwrap(), 6);
    assert_eq!(declared(A0, A1, ReadArgs(4)).2, 4);
    assert_eq!(declared_timeout(A0, A1, ReadArgs(4), long).unwrap().2, 4);
}
