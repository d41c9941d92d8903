//! A `suffix` or `prefix` on a single fn, and on a module: every async fn in it, however deep, but those that go by a mark
//! of their own.

use super::later;
use co_wrapper::{AioContext, co_wrapper};
use std::time::Duration;

#[co_wrapper(suffix = "_blocking")]
async fn single<T>(x: T) -> T {
    later(x).await
}

#[co_wrapper(prefix = "sync_", suffix = "_now", timeout, ctx = AioContext::current())]
fn single_boxed(x: &u8) -> futures::future::BoxFuture<'_, &u8> {
    Box::pin(later(x))
}

struct Disk;

impl Disk {
    #[co_wrapper(suffix = "_blocking")]
    async fn method(&self) -> u8 {
        later(1).await
    }
}

#[co_wrapper(suffix = "_x")]
impl Disk {
    #[co_wrapper(suffix = "_y", mixed)]
    async fn of_its_own(&self) -> u8 {
        later(2).await
    }
}

#[test]
fn on_a_fn() {
    assert_eq!(single_blocking(3), 3);
    assert_eq!(sync_single_boxed_now(&4), &4);
    assert_eq!(sync_single_boxed_now_timeout(&4, Duration::from_secs(60)), Ok(&4));
    assert_eq!((Disk.method_blocking(), Disk.of_its_own_y()), (1, 2));
}

/// A module with about all that a module has.
#[co_wrapper(suffix = "_blocking", timeout)]
pub(crate) mod module {
    #![allow(clippy::module_inception)]

    use super::super::later;
    use std::{cmp, fmt};

    pub(crate) const WIDE: usize = if cfg!(debug_assertions) { 3 } else { 4 };
    pub(crate) static ALL: &[fn() -> u8] = &[|| 1, plain];

    pub(crate) async fn free(x: u8) -> u8 {
        later(cmp::max(x, 1)).await
    }

    pub(crate) fn boxed(x: &u8) -> std::pin::Pin<Box<dyn std::future::Future<Output = &u8> + '_>> {
        Box::pin(later(x))
    }

    pub(crate) async fn wide() -> Wide<{ WIDE }> {
        later(Wide(7)).await
    }

    #[co_wrapper::co_wrapper(skip)]
    pub(crate) async fn skipped() {}

    pub(crate) fn skipped_blocking() {}

    #[co_wrapper::co_wrapper(name = another)]
    pub(crate) async fn other() -> u8 {
        later(1).await
    }

    pub(crate) fn plain() -> u8 {
        2
    }

    pub(crate) struct Wide<const N: usize>(pub(crate) u8);

    impl Wide<{ WIDE }> {
        pub(crate) async fn method(&self) -> u8 {
            later(self.0).await
        }

        pub(crate) async fn made() -> u8 {
            later(8).await
        }
    }

    impl<const N: usize> fmt::Debug for Wide<N> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("wide")
        }
    }

    #[co_wrapper::co_wrapper(skip)]
    impl Wide<0> {
        pub(crate) async fn skipped(&self) {}
        pub(crate) fn skipped_blocking(&self) {}
    }

    #[co_wrapper::co_wrapper(suffix = "_own")]
    impl Wide<1> {
        pub(crate) async fn method(&self) -> u8 {
            later(4).await
        }
    }

    pub(crate) trait Driver {
        async fn size(&self) -> u8;
    }

    // Its twin is the trait's.
    impl Driver for Wide<{ WIDE }> {
        async fn size(&self) -> u8 {
            later(9).await
        }
    }

    /// Of another's trait, which has no twin.
    impl super::Foreign for Wide<{ WIDE }> {
        async fn foreign(&self) -> u8 {
            later(10).await
        }
    }

    macro_rules! made {
        ($name:ident) => {
            pub(crate) async fn $name() -> u8 {
                later(11).await
            }
        };
    }

    made!(by_a_macro);

    pub(crate) mod module {
        use super::later;

        pub(crate) async fn deep() -> u8 {
            later(12).await
        }
    }

    pub(crate) mod without {
        pub(crate) fn any() {}
    }
}

pub(crate) trait Foreign {
    async fn foreign(&self) -> u8;
}

#[test]
fn on_a_module() {
    use module::{Driver, Wide};
    let wide = module::wide_blocking();
    assert_eq!((module::free_blocking(0), module::boxed_blocking(&5), module::another()), (1, &5, 1));
    assert_eq!(module::free_blocking_timeout(0, Duration::from_secs(60)), Ok(1));
    assert_eq!((wide.method_blocking(), Wide::<{ module::WIDE }>::made_blocking(), wide.size_blocking()), (7, 8, 9));
    assert_eq!((Wide::<1>(0).method_own(), module::module::deep_blocking()), (4, 12));
    module::skipped_blocking();
    Wide::<0>(0).skipped_blocking();
    module::without::any();
    drop((module::skipped(), Wide::<0>(0).skipped(), module::by_a_macro(), wide.foreign(), module::ALL));
    assert_eq!(format!("{wide:?}"), "wide");
}
