//! Lifetimes that an `async fn` may elide and another fn may not, and those that both may.

use super::later;
use co_wrapper::co_wrapper;
use std::fmt::Debug;

struct View<'a>(&'a [u8]);

trait Lend<'a> {
    fn lend(&self) -> &'a u8;
}

impl<'a> Lend<'a> for View<'a> {
    fn lend(&self) -> &'a u8 {
        &self.0[0]
    }
}

#[co_wrapper]
async fn co_item(all: impl Iterator<Item = &u64>) -> u64 {
    later(all.sum()).await
}

#[co_wrapper]
async fn co_path(all: impl Iterator<Item = View<'_>>, lent: impl Lend<'_>) -> usize {
    let lent = usize::from(*lent.lend());
    later(all.map(|view| view.0.len()).sum::<usize>() + lent).await
}

#[co_wrapper]
async fn co_bound(x: impl Debug + '_) -> String {
    later(format!("{x:?}")).await
}

#[co_wrapper]
async fn co_object(all: impl Iterator<Item = &dyn Debug>, into: impl Into<Box<dyn Debug + '_>>) -> String {
    let all: Vec<_> = all.collect();
    later(format!("{all:?} {:?}", into.into())).await
}

#[co_wrapper]
async fn co_nested(
    all: &mut (impl Iterator<Item = impl IntoIterator<Item = &u8>> + ?Sized),
    more: [impl AsRef<str>; 2],
) -> usize {
    later(all.map(|all| all.into_iter().count()).sum::<usize>() + more[0].as_ref().len()).await
}

#[co_wrapper]
async fn co_own_scope(with: impl Fn(&u8) -> &u8, also: impl for<'x> Fn(&'x u8, &u8) -> &'x u8, x: &u8) -> u8 {
    later(*also(with(x), &1)).await
}

#[co_wrapper]
async fn co_constrained(
    x: impl Iterator<Item: PartialEq<&u8>>,
    y: (impl Iterator<Item = (&u8, [&u8; 2])>, &u8),
) -> usize {
    later(x.count() + y.0.count()).await
}

/// Lifetimes that are in a bound and in no argument's type: nothing tells rustc which one the hidden type has.
mod of_no_argument {
    use super::later;
    use co_wrapper::co_wrapper;
    use std::fmt::Debug;

    #[co_wrapper]
    pub async fn co_bound<'a, T: Debug + 'a>(x: &u8, y: T) -> impl Debug {
        later(format!("{x} {y:?}")).await
    }

    #[co_wrapper]
    pub async fn co_two<'a, 'b, T: Debug + 'a + 'b>(x: &'a u8, y: T) -> impl Debug {
        later(format!("{x} {y:?}")).await
    }

    #[co_wrapper]
    pub async fn co_late<'a, 'b, T>(x: &u8, y: &'b T) -> (u8, impl Debug)
    where
        T: Debug + 'a,
    {
        later((*x, format!("{y:?}"))).await
    }

    #[co_wrapper]
    pub async fn co_outlives<'a, 'b: 'a, T: Debug + 'a>(x: &'b u8, y: T) -> impl Debug {
        later(format!("{x} {y:?}")).await
    }

    #[co_wrapper]
    pub async fn co_argument<'a>(x: &u8, y: impl Debug + 'a) -> impl Debug {
        later(format!("{x} {y:?}")).await
    }

    #[co_wrapper(name = pair, timeout)]
    pub async fn co_pair<'a, T: Debug + 'a, const N: usize>(x: &u8, y: [T; N], z: impl Debug + 'a) -> impl Debug {
        later(format!("{x} {y:?} {z:?}")).await
    }

    pub struct Disk<'d>(pub &'d u8);

    #[co_wrapper(suffix = "_blocking")]
    impl<'d> Disk<'d> {
        pub async fn bound<'a, T: Debug + 'a>(&self, y: T) -> impl Debug {
            later(format!("{} {y:?}", self.0)).await
        }

        #[allow(clippy::manual_async_fn)]
        pub fn future<'a, T: Debug + 'a>(&self, y: T) -> impl std::future::Future<Output = impl Debug> {
            let text = format!("{} {y:?}", self.0);
            async move { later(text).await }
        }
    }

    #[co_wrapper(suffix = "_blocking")]
    pub trait Store {
        async fn bound<'a, T: Debug + 'a>(&self, x: &u8, y: T) -> Option<impl Debug> {
            Some(later(format!("{x} {y:?}")).await)
        }
    }

    impl Store for u8 {}
}

/// The lifetimes of the parameters are apart, and the block's own name is nobody's else.
struct Holder<'a>(&'a u8);

#[co_wrapper(suffix = "_blocking")]
impl<'a> Holder<'a> {
    async fn method(&self, all: impl Iterator<Item = &u64>, last: &mut Vec<u64>) -> &'a u8 {
        last.extend(all);
        later(self.0).await
    }

    async fn kept<'b, T>(&self, _x: T, all: impl Iterator<Item = &'b u64>, other: impl Debug + '_) -> Option<&'b u64> {
        let _ = format!("{other:?}");
        let mut all = all;
        later(all.next()).await
    }
}

#[co_wrapper(suffix = "_blocking")]
trait Store {
    async fn append(&mut self, all: impl Iterator<Item = &u64>) -> u64;

    async fn provided(&self, all: impl Iterator<Item = &u64>) -> usize {
        later(all.count()).await
    }
}

impl Store for u64 {
    async fn append(&mut self, all: impl Iterator<Item = &u64>) -> u64 {
        *self += later(all.sum::<u64>()).await;
        *self
    }
}

struct Overriding;

impl Store for Overriding {
    async fn append(&mut self, _: impl Iterator<Item = &u64>) -> u64 {
        later(1).await
    }

    fn append_blocking<'x>(&mut self, _: impl Iterator<Item = &'x u64>) -> u64 {
        2
    }
}

#[co_wrapper(suffix = "_blocking")]
impl Store for u8 {
    async fn append(&mut self, all: impl Iterator<Item = &u64>) -> u64 {
        later(all.sum()).await
    }
}

#[test]
fn all() {
    assert_eq!(item([1, 2].iter()), 3);
    assert_eq!(path(vec![View(&[1, 2]), View(&[3])].into_iter(), View(&[4])), 7);
    assert_eq!(bound(&[1][..]), "[1]");
    assert_eq!(object(vec![&1 as &dyn Debug].into_iter(), Box::new(2) as Box<dyn Debug>), "[1] 2");
    let (x, y) = ([1, 2], [3]);
    assert_eq!(nested(&mut vec![x.iter(), y.iter()].into_iter(), ["ab", "c"]), 5);
    assert_eq!(own_scope(|x| x, |x, _| x, &5), 5);
    assert_eq!(constrained(vec![&1].into_iter(), (vec![(&1, [&2, &3])].into_iter(), &4)), 2);

    let of_one_scope = 1;
    let mut last = Vec::new();
    assert_eq!(Holder(&of_one_scope).method_blocking([5].iter(), &mut last), &1);
    assert_eq!(last, [5]);
    assert_eq!(Holder(&1).kept_blocking(0, [6].iter(), "x"), Some(&6));

    {
        use of_no_argument::{Disk, Store as _, argument, bound, late, outlives, pair, pair_timeout, two};
        let local = String::from("y");
        let y = &local;
        let (text, all) = (|x: &dyn Debug| format!("{x:?}"), "\"1 \\\"y\\\"\"");
        assert_eq!(text(&bound(&1, y)), all);
        assert_eq!(text(&two(&1, y)), all);
        assert_eq!(text(&late(&1, y)), "(1, \"\\\"y\\\"\")");
        assert_eq!(text(&outlives(&1, y)), all);
        assert_eq!(text(&argument(&1, y)), all);
        assert_eq!(text(&pair(&1, [2], 3)), "\"1 [2] 3\"");
        assert_eq!(text(&pair_timeout(&1, [2], 3, std::time::Duration::MAX)), "Ok(\"1 [2] 3\")");
        assert_eq!(text(&Disk(&1).bound_blocking(y)), all);
        assert_eq!(text(&Disk(&1).future_blocking(y)), all);
        assert_eq!(text(&1.bound_blocking(&1, y)), format!("Some({all})"));
    }

    assert_eq!(1u64.append_blocking([2, 3].iter()), 6);
    assert_eq!(1u64.provided_blocking([2, 3].iter()), 2);
    assert_eq!(Overriding.append_blocking([2].iter()), 2);
    assert_eq!(1u8.append_blocking([2].iter()), 2);
}
