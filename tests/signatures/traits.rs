//! In a trait the wrapper is a provided method.

use super::later;
use co_wrapper::co_wrapper;
use std::future::Future;
use std::io;
use std::pin::Pin;

pub trait Base {
    /// Of the same name as a method of the trait below, for which this is no match.
    async fn co_default(&self) -> u8 {
        later(99).await
    }
}

impl Base for Mine {}

#[co_wrapper]
pub trait Probe<'a, T: Default + 'a, const N: usize>: Base {
    type Storage;

    // 7
    /// # Safety
    ///
    /// None.
    #[co_wrapper(name = probe_blocking)]
    async unsafe fn probe(s: &Self::Storage) -> io::Result<bool>
    where
        Self: Sized;

    #[co_wrapper]
    async fn co_default(&self) -> (T, usize) {
        later((T::default(), N)).await
    }

    #[co_wrapper]
    async fn co_by_value(self) -> Self
    where
        Self: 'a;

    #[co_wrapper]
    async fn co_takes_self(&self, other: Self) -> bool;
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Mine(u8);

impl Mine {
    /// Of the same name as the trait's: the wrapper must not take this one.
    async fn co_default(&self) -> (u8, usize) {
        later((99, 99)).await
    }
}

impl<'a> Probe<'a, u8, 4> for Mine {
    type Storage = u8;

    async unsafe fn probe(s: &u8) -> io::Result<bool> {
        later(Ok(*s == 1)).await
    }

    async fn co_by_value(self) -> Self
    where
        Self: 'a,
    {
        later(Mine(self.0 + 1)).await
    }

    async fn co_takes_self(&self, other: Self) -> bool {
        later(*self == other).await
    }
}

#[co_wrapper(suffix = "_blocking")]
trait Every {
    async fn read(&self) -> u8;

    #[co_wrapper(skip)]
    async fn skipped(&self) -> u8;

    fn plain(&self) -> u8 {
        1
    }
}

impl Every for Mine {
    async fn read(&self) -> u8 {
        later(self.0).await
    }

    async fn skipped(&self) -> u8 {
        later(self.0).await
    }
}

// A trait's impl may write a wrapper of its own where the trait declares one.
trait Declared {
    async fn co_get(&self) -> u8;
    fn get(&self) -> u8;
}

impl Mine {
    async fn co_get(&self) -> u8 {
        99
    }
}

#[co_wrapper]
impl Declared for Mine {
    #[co_wrapper]
    async fn co_get(&self) -> u8 {
        later(self.0 + 5).await
    }
}

// Marked one by one, a method needs nothing around it.
trait Alone {
    #[co_wrapper]
    async fn co_alone(&self) -> u8 {
        later(6).await
    }
}

impl Alone for Mine {}

// Wrappers of boxed futures can be called on a trait object.
trait Dyn {
    #[co_wrapper]
    fn co_boxed(&self) -> Pin<Box<dyn Future<Output = u8> + '_>>;
}

impl Dyn for Mine {
    fn co_boxed(&self) -> Pin<Box<dyn Future<Output = u8> + '_>> {
        Box::pin(later(self.0))
    }
}

#[test]
fn all() {
    assert!(unsafe { Mine::probe_blocking(&1) }.unwrap());
    let mine = Mine(1);
    assert_eq!(Probe::default(&mine), (0, 4));
    assert_eq!(Probe::by_value(mine), Mine(2));
    assert!(Probe::takes_self(&mine, Mine(1)));
    assert_eq!(mine.read_blocking(), 1);
    drop((mine.skipped(), mine.plain()));
    assert_eq!(Declared::get(&mine), 6);
    drop((mine.co_get(), mine.co_default(), Base::co_default(&mine)));
    assert_eq!(mine.alone(), 6);
    let object: &dyn Dyn = &mine;
    assert_eq!(object.boxed(), 1);
}
