//! What a wrapper hands to the runtime: [`fake`] stands in its place and tells what it got.

use co_wrapper::co_wrapper;
use std::panic::Location;
use std::rc::Rc;

/// A runtime that never polls, and returns what it was given.
mod fake {
    pub use co_wrapper::co_wrapper;

    pub mod __private {
        pub use std::ops::FnOnce;
        use std::panic::Location;

        pub struct Wrapper {
            pub name: &'static str,
            pub target: &'static str,
            pub mixed: bool,
        }

        pub struct Seen {
            pub wrapper: &'static Wrapper,
            pub caller: &'static Location<'static>,
            pub entry: usize,
            pub args: usize,
            pub future: usize,
            pub args_name: &'static str,
            pub entry_name: &'static str,
        }

        /// The entry crosses threads whatever the arguments are.
        #[track_caller]
        pub fn poll_co<S, E, Fut>(wrapper: &'static Wrapper, _: S, _: E) -> Seen
        where
            E: FnOnce(S) -> Fut + Send + Sync + Copy,
        {
            Seen {
                wrapper,
                caller: Location::caller(),
                entry: size_of::<E>(),
                args: size_of::<S>(),
                future: size_of::<Fut>(),
                args_name: std::any::type_name::<S>(),
                entry_name: std::any::type_name::<E>(),
            }
        }
    }
}

use fake::__private::Seen;

#[co_wrapper(crate = fake)]
async fn co_free(_rc: Rc<u8>, #[cfg(any())] absent: [u8; 99]) -> Seen {
    unreachable!()
}

struct Disk;

#[co_wrapper(suffix = "_blocking", crate = fake, mixed)]
impl Disk {
    async fn read(&self, _rc: &Rc<u8>, _raw: *mut u8) -> Seen {
        unreachable!()
    }
}

#[co_wrapper(crate = fake)]
impl Disk {
    #[co_wrapper(mixed)]
    async fn co_one() -> Seen {
        unreachable!()
    }

    #[co_wrapper]
    async fn r#co_type() -> Seen {
        unreachable!()
    }
}

#[test]
fn names_and_mode() {
    let wrapper = free(Rc::new(1)).wrapper;
    assert_eq!((wrapper.name, wrapper.target, wrapper.mixed), ("free", "co_free", false));
    let wrapper = Disk.read_blocking(&Rc::new(1), &mut 1).wrapper;
    assert_eq!((wrapper.name, wrapper.target, wrapper.mixed), ("read_blocking", "read", true));
    assert!(Disk::one().wrapper.mixed);
    let wrapper = Disk::r#type().wrapper;
    assert_eq!((wrapper.name, wrapper.target, wrapper.mixed), ("type", "co_type", false));
}

#[test]
fn the_place_is_the_caller_s() {
    let here = Location::caller().line() + 1;
    let seen = free(Rc::new(1));
    assert_eq!((seen.caller.file(), seen.caller.line()), (file!(), here));
}

#[test]
fn nothing_is_captured_and_nothing_added() {
    let seen = free(Rc::new(1));
    assert_eq!((seen.entry, seen.args), (0, size_of::<usize>()));
    let seen = Disk.read_blocking(&Rc::new(1), &mut 1);
    assert_eq!((seen.entry, seen.args), (0, 3 * size_of::<usize>()));
    assert!(seen.args_name.contains("ReadBlockingArgs<&handoff::Disk,"), "{}", seen.args_name);
    assert!(seen.entry_name.contains("read_blocking"), "{}", seen.entry_name);
}

#[co_wrapper(crate = fake)]
async fn co_large(data: [u8; 1024], by: &mut u64) -> Seen {
    std::future::ready(()).await;
    *by += u64::from(data[7]);
    unreachable!()
}

/// The future is the async fn's own: nothing is kept beside it.
#[test]
fn the_future_is_the_bare_one() {
    let (mut a, mut b) = (1, 2);
    let seen = large([0; 1024], &mut a);
    assert_eq!(seen.future, size_of_val(&co_large([0; 1024], &mut b)));
    assert_eq!(seen.args, 1024 + size_of::<usize>());
}
