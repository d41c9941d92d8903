//! `#[no_co_wrapper(unsafe(coroutine))]`: blocking fns with async twins that run them as coroutines where they are awaited;
//! and coroutines in executors that this crate alone depends on.

#![cfg(all(feature = "coroutine", feature = "tokio"))]

use co_wrapper::{AioContext, Coroutine, block_on, co_wrapper, in_coroutine, no_co_wrapper};
use co_wrapper_test_support::{ms, panic_of, within_bounds};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::rc::Rc;

/// Not `Send`, as its clones are not.
#[derive(Clone, Default)]
struct Disk(Rc<RefCell<Vec<u8>>>);

#[co_wrapper(suffix = "_blocking")]
impl Disk {
    async fn read(&self, off: usize) -> io::Result<u8> {
        tokio::time::sleep(ms(1)).await;
        self.0.borrow().get(off).copied().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Disk {
    /// A parser, blocking throughout.
    #[no_co_wrapper(unsafe(coroutine))]
    fn sum(&self, name: &str, count: usize) -> io::Result<(String, u32)> {
        assert!(in_coroutine());
        let sum = (0..count).map(|off| self.read_blocking(off).map(u32::from)).sum::<io::Result<u32>>()?;
        Ok((name.to_owned(), sum))
    }

    #[no_co_wrapper(unsafe(coroutine), name = len_of, vis = pub(crate))]
    fn len(self) -> Rc<usize> {
        Rc::new(self.0.borrow().len())
    }
}

/// Waits through what it is given, which is called on its stack.
#[no_co_wrapper(unsafe(coroutine))]
fn bdrv_visit<F: FnMut(u8) -> bool + 'static>(disk: &Disk, mut visit: F) -> usize {
    (0..).take_while(|off| disk.read_blocking(*off).is_ok_and(&mut visit)).count()
}

/// # Safety
///
/// `byte` points to a byte.
#[no_co_wrapper(unsafe(coroutine))]
unsafe fn bdrv_peek(byte: *const u8) -> u8 {
    block_on(AioContext::current().sleep(ms(1)));
    // SAFETY: as the caller promises.
    unsafe { *byte }
}

#[co_wrapper]
trait Driver {
    #[no_co_wrapper(unsafe(coroutine))]
    fn probe(&self, score: u32) -> u32;
}

impl Driver for Disk {
    fn probe(&self, score: u32) -> u32 {
        score + self.read_blocking(0).map_or(0, u32::from)
    }
}

mod elsewhere {
    use super::*;

    pub fn check(disk: &Disk) -> bool {
        disk.read_blocking(1).is_ok()
    }
}

co_wrapper::declare! {
    #[no_co_wrapper(unsafe(coroutine))]
    async fn co_check(disk: &Disk) -> bool = elsewhere::check;
}

#[test]
fn c12_a_blocking_fns_twin_runs_it_as_a_coroutine_where_it_is_awaited() {
    within_bounds(|| {
        let disk = Disk(Rc::new(RefCell::new(vec![1, 2, 3])));
        let all = async {
            let byte = 9;
            let twins = futures::join!(
                disk.co_sum("first", 3),
                disk.co_sum("second", 2),
                disk.co_sum("too many", 4),
                bdrv_co_visit(&disk, |byte| byte < 3),
                // SAFETY: `byte` is there until the twin is done.
                unsafe { bdrv_co_peek(&byte) },
                disk.co_probe(7),
                co_check(&disk),
                disk.clone().len_of(),
            );
            let (first, second, too_many, visited, peeked, probed, checked, len) = twins;
            assert_eq!((first.unwrap(), second.unwrap()), (("first".into(), 6), ("second".into(), 3)));
            assert_eq!(too_many.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
            assert_eq!((visited, peeked, probed, checked, *len), (2, 9, 8, true, 3));
        };
        block_on(all);
        // Nothing runs before it is polled; what it owns outlives its caller's.
        let twin = {
            let name = String::from("owned");
            disk.co_sum(&name, 1)
        };
        assert_eq!(block_on(twin).unwrap(), ("owned".into(), 1));
        drop(disk.co_sum("never", 3));
        assert_eq!(Rc::strong_count(&disk.0), 1);
        let panics = panic_of(|| block_on(bdrv_co_visit(&disk, |_| panic!("out of the visitor"))));
        assert_eq!(panics, "out of the visitor");
    });
}

#[test]
fn c01_a_thousand_are_suspended_in_smols_local_executor() {
    within_bounds(|| {
        let executor = smol::LocalExecutor::new();
        let begun = Rc::new(Cell::new(0));
        let (tx, rx) = async_channel::bounded::<()>(1);
        let tasks: Vec<_> = (0..1_000)
            .map(|_| {
                let (begun, rx) = (begun.clone(), rx.clone());
                // SAFETY: it has no scope in a thread-local while it waits.
                let coroutine = unsafe {
                    Coroutine::new(move || {
                        begun.set(begun.get() + 1);
                        let disk = Disk(Rc::new(RefCell::new(vec![5])));
                        assert!(block_on(rx.recv()).is_err());
                        assert_eq!(disk.read_blocking(0).unwrap(), 5);
                        block_on(AioContext::current().sleep(ms(1)));
                    })
                };
                executor.spawn(coroutine)
            })
            .collect();
        let all = async {
            while begun.get() < 1_000 {
                smol::future::yield_now().await;
            }
            drop(tx);
            for task in tasks {
                task.await;
            }
        };
        smol::block_on(executor.run(all));
    });
}

fn is_future<R>(_: &impl Future<Output = R>) {}

#[test]
fn a_twin_is_a_future_of_the_fns_result() {
    let disk = Disk::default();
    is_future::<io::Result<(String, u32)>>(&disk.co_sum("", 0));
    let _pollster: u8 = pollster::block_on(async { 7 });
}
