//! Beside other attribute macros, in both orders where both make sense.
//!
//! What `#[async_trait]` and `#[async_recursion]` name in a signature is not in the twin's: that is as free to be overridden,
//! and to be taken as a pointer, as one of an `async fn` is.

use async_recursion::async_recursion;
use async_trait::async_trait;
use co_wrapper::co_wrapper;
use std::fmt::Debug;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use tracing::instrument;

/// Pending once, so that each wrapper really waits.
async fn later<T>(value: T) -> T {
    let mut polled = false;
    poll_fn(|cx| {
        if polled {
            return Poll::Ready(());
        }
        polled = true;
        let waker = cx.waker().clone();
        std::thread::spawn(move || waker.wake());
        Poll::Pending
    })
    .await;
    value
}

struct Mem(u8);

// Each block is first expanded by the attribute that is written first.

#[async_trait]
#[co_wrapper(suffix = "_blocking")]
trait Outside {
    async fn read<'a>(&'a self, off: u64, mem: Arc<dyn Debug + Send + Sync>, r: &[&'a str]) -> (&'a str, String);

    async fn provided(&mut self, (a, _): (u8, u8)) -> u8
    where
        Self: Send,
    {
        later(a).await
    }

    #[co_wrapper(skip)]
    async fn skipped(&self) -> u8;
}

#[async_trait]
impl Outside for Mem {
    async fn read<'a>(&'a self, off: u64, mem: Arc<dyn Debug + Send + Sync>, r: &[&'a str]) -> (&'a str, String) {
        later((r[off as usize], format!("{mem:?}"))).await
    }

    async fn skipped(&self) -> u8 {
        later(self.0).await
    }
}

#[co_wrapper(suffix = "_blocking")]
#[async_trait(?Send)]
trait Inside {
    async fn write(&mut self, rc: std::rc::Rc<u8>) -> u8;

    #[co_wrapper(name = named)]
    async fn other(&self) -> u8 {
        later(3).await
    }

    async fn by_value(self) -> u8
    where
        Self: Sized;
}

#[async_trait(?Send)]
impl Inside for Mem {
    async fn write(&mut self, rc: std::rc::Rc<u8>) -> u8 {
        self.0 += *rc;
        later(self.0).await
    }

    async fn by_value(self) -> u8 {
        later(self.0).await
    }
}

struct Regions<'a>(&'a [&'a str]);

// A shape of real storage code, in both orders.
#[async_trait(?Send)]
#[co_wrapper(suffix = "_blocking")]
trait ToMem {
    async fn read_to_mem<'a>(
        &'a self,
        off: u64,
        mem: Arc<dyn Debug + Send + Sync>,
        r: Regions<'a>,
    ) -> (&'a u8, &'a str, String);
}

#[async_trait(?Send)]
impl ToMem for Mem {
    async fn read_to_mem<'a>(
        &'a self,
        off: u64,
        mem: Arc<dyn Debug + Send + Sync>,
        r: Regions<'a>,
    ) -> (&'a u8, &'a str, String) {
        later((&self.0, r.0[off as usize], format!("{mem:?}"))).await
    }
}

#[co_wrapper(suffix = "_blocking")]
#[async_trait(?Send)]
trait FromMem {
    async fn write_from_mem<'a>(&'a mut self, mem: Arc<dyn Debug + Send + Sync>, r: Regions<'a>)
    -> (&'a mut u8, usize);
}

#[async_trait(?Send)]
impl FromMem for Mem {
    async fn write_from_mem<'a>(
        &'a mut self,
        mem: Arc<dyn Debug + Send + Sync>,
        r: Regions<'a>,
    ) -> (&'a mut u8, usize) {
        let len = format!("{mem:?}").len() + r.0.len();
        later((&mut self.0, len)).await
    }
}

// Marked one by one, with nothing of ours around.
#[async_trait]
trait Marked {
    #[co_wrapper]
    async fn co_read(&self) -> u8;
}

#[async_trait]
impl Marked for Mem {
    async fn co_read(&self) -> u8 {
        later(self.0).await
    }
}

#[instrument(skip(secret))]
#[co_wrapper]
async fn co_traced_outside(x: u8, secret: u8) -> u8 {
    later(x + secret).await
}

#[co_wrapper]
#[instrument(level = "debug", ret)]
async fn co_traced_inside(mut x: u8) -> u8 {
    x += 1;
    later(x).await
}

impl Mem {
    #[instrument(skip_all)]
    #[co_wrapper]
    async fn co_method(&mut self, by: &u8) -> &mut u8 {
        self.0 += by;
        later(&mut self.0).await
    }
}

#[co_wrapper]
#[async_recursion]
async fn co_sum(n: u8) -> u32 {
    if n == 0 { later(0).await } else { u32::from(n) + co_sum(n - 1).await }
}

#[async_recursion(?Send)]
#[co_wrapper]
async fn co_longest<'a>(texts: &[&'a str]) -> &'a str {
    let [first, rest @ ..] = texts else {
        return later("").await;
    };
    let longest = co_longest(rest).await;
    if first.len() > longest.len() { first } else { longest }
}

/// Twins of boxed methods that an impl overrides, which must be of the same generics.
#[async_trait]
#[co_wrapper(suffix = "_blocking")]
trait OverriddenOutside {
    async fn plain(&self, x: &u8) -> u8;
    async fn provided(&mut self, x: &mut u8) -> u8 {
        later(*x).await
    }
    async fn named<'a, 'b: 'a>(&'a self, x: &'b str, y: &u8) -> &'a str;
    async fn elided(&self) -> &u8;
    async fn generic<T: Clone + Send + Sync, const N: usize>(&self, x: &[T; N], y: impl Debug + Send) -> T
    where
        Self: Sized;
    async fn iterator(&self, all: impl Iterator<Item = &u8> + Send) -> usize
    where
        Self: Sized;
    async fn function(&self, f: &(dyn Fn(&u8) -> u8 + Sync)) -> u8;
    async fn counted(self: Arc<Self>, x: Arc<u8>) -> u8;
}

#[co_wrapper(suffix = "_blocking")]
#[async_trait(?Send)]
trait OverriddenInside {
    async fn plain(&self, x: &u8) -> u8;
    async fn of_a_type(x: &u8) -> u8
    where
        Self: Sized;
}

struct Overriding;

#[async_trait]
impl OverriddenOutside for Overriding {
    async fn plain(&self, x: &u8) -> u8 {
        later(*x).await
    }

    async fn named<'a, 'b: 'a>(&'a self, x: &'b str, _: &u8) -> &'a str {
        later(x).await
    }

    async fn elided(&self) -> &u8 {
        later(&1).await
    }

    async fn generic<T: Clone + Send + Sync, const N: usize>(&self, x: &[T; N], _: impl Debug + Send) -> T {
        later(x[0].clone()).await
    }

    async fn iterator(&self, all: impl Iterator<Item = &u8> + Send) -> usize {
        let count = all.count();
        later(count).await
    }

    async fn function(&self, f: &(dyn Fn(&u8) -> u8 + Sync)) -> u8 {
        later(f(&1)).await
    }

    async fn counted(self: Arc<Self>, x: Arc<u8>) -> u8 {
        later(*x).await
    }

    fn plain_blocking(&self, _: &u8) -> u8 {
        11
    }

    fn provided_blocking(&mut self, _: &mut u8) -> u8 {
        12
    }

    fn named_blocking<'a, 'b: 'a>(&'a self, _: &'b str, _: &u8) -> &'a str {
        "named"
    }

    fn elided_blocking(&self) -> &u8 {
        &13
    }

    fn generic_blocking<T: Clone + Send + Sync, const N: usize>(&self, x: &[T; N], _: impl Debug + Send) -> T {
        x[1].clone()
    }

    fn function_blocking(&self, _: &(dyn Fn(&u8) -> u8 + Sync)) -> u8 {
        14
    }

    fn counted_blocking(self: Arc<Self>, _: Arc<u8>) -> u8 {
        15
    }
}

#[co_wrapper(suffix = "_blocking")]
#[async_trait(?Send)]
impl OverriddenInside for Overriding {
    async fn plain(&self, x: &u8) -> u8 {
        later(*x).await
    }

    async fn of_a_type(x: &u8) -> u8 {
        later(*x).await
    }
}

/// Not overridden.
struct Leaving;

#[async_trait(?Send)]
impl OverriddenInside for Leaving {
    async fn plain(&self, x: &u8) -> u8 {
        later(*x).await
    }

    async fn of_a_type(x: &u8) -> u8 {
        later(*x).await
    }

    fn of_a_type_blocking(_: &u8) -> u8 {
        16
    }
}

impl Mem {
    #[co_wrapper(suffix = "_blocking")]
    #[async_recursion]
    async fn down(&self, n: &u8) -> u8 {
        if *n == 0 { later(self.0).await } else { self.down(&(n - 1)).await }
    }
}

#[test]
fn a_twin_of_a_boxed_method_is_overridden_and_taken_as_a_pointer() {
    let plain: for<'a, 'b> fn(&'a Overriding, &'b u8) -> u8 = <Overriding as OverriddenOutside>::plain_blocking;
    assert_eq!(plain(&Overriding, &1), 11);
    let elided: for<'a> fn(&'a Overriding) -> &'a u8 = OverriddenOutside::elided_blocking;
    assert_eq!(elided(&Overriding), &13);
    assert_eq!(Overriding.provided_blocking(&mut 1), 12);
    assert_eq!(Overriding.named_blocking("x", &1), "named");
    assert_eq!(Overriding.generic_blocking(&[1, 2], ()), 2);
    assert_eq!(Overriding.iterator_blocking([1, 2].iter()), 2);
    assert_eq!(Overriding.function_blocking(&|x| *x), 14);
    assert_eq!(Arc::new(Overriding).counted_blocking(Arc::new(1)), 15);
    let object: &dyn OverriddenOutside = &Overriding;
    assert_eq!(object.plain_blocking(&1), 11);

    let inside: for<'a, 'b> fn(&'a Overriding, &'b u8) -> u8 = <Overriding as OverriddenInside>::plain_blocking;
    assert_eq!((inside(&Overriding, &2), Overriding::of_a_type_blocking(&3)), (2, 3));
    let leaving: for<'a, 'b> fn(&'a Leaving, &'b u8) -> u8 = OverriddenInside::plain_blocking;
    assert_eq!((leaving(&Leaving, &2), Leaving::of_a_type_blocking(&3)), (2, 16));

    let down: for<'a, 'b> fn(&'a Mem, &'b u8) -> u8 = Mem::down_blocking;
    assert_eq!(down(&Mem(4), &3), 4);
    let sum: for<'a, 'b, 'c> fn(&'a [&'b str]) -> &'b str = longest;
    assert_eq!(sum(&["a", "bb"]), "bb");
}

/// `trait_variant` copies a trait's fns to one of another name, or of the same, whose futures are `Send`.
mod variants {
    use super::{co_wrapper, later};
    use std::rc::Rc;

    #[trait_variant::make(Above: Send)]
    #[co_wrapper(suffix = "_blocking")]
    pub trait LocalAbove {
        async fn read(&self, by: &u8) -> u8;

        fn make() -> impl std::future::Future<Output = Self>
        where
            Self: Sized;

        async fn own(&self) -> u8;

        #[co_wrapper(skip)]
        async fn skipped(&self) -> u8;
    }

    #[co_wrapper(suffix = "_blocking", mixed)]
    #[trait_variant::make(Below: Send)]
    pub trait LocalBelow<T> {
        async fn read(&self, by: T) -> T;

        #[co_wrapper(name = first)]
        async fn co_first(&self) -> &u8;

        #[co_wrapper(skip)]
        async fn skipped(&self) -> u8;
    }

    #[trait_variant::make(Send)]
    #[co_wrapper(suffix = "_blocking")]
    pub trait InPlaceAbove {
        async fn read(&self, by: &u8) -> u8;
    }

    #[co_wrapper(suffix = "_blocking")]
    #[trait_variant::make(Send)]
    pub trait InPlaceBelow {
        async fn read(&self, by: &u8) -> u8;
    }

    // Marked one by one, with nothing of ours on the trait.
    #[trait_variant::make(Marked: Send)]
    pub trait LocalMarked {
        #[co_wrapper]
        async fn co_read(&self, by: &u8) -> u8;
    }

    /// `Send`, with a mark on the impls.
    struct Both(u8);

    #[co_wrapper(suffix = "_blocking")]
    impl Above for Both {
        async fn read(&self, by: &u8) -> u8 {
            later(self.0 + by).await
        }

        async fn make() -> Self {
            later(Both(3)).await
        }

        #[co_wrapper(skip)]
        async fn own(&self) -> u8 {
            later(4).await
        }

        fn own_blocking(&self) -> u8 {
            5
        }

        #[co_wrapper(skip)]
        async fn skipped(&self) -> u8 {
            later(1).await
        }
    }

    #[co_wrapper(suffix = "_blocking")]
    impl<T: Send> Below<T> for Both {
        async fn read(&self, by: T) -> T {
            later(by).await
        }

        #[co_wrapper(name = first)]
        async fn co_first(&self) -> &u8 {
            later(&self.0).await
        }

        #[co_wrapper(skip)]
        async fn skipped(&self) -> u8 {
            later(1).await
        }
    }

    #[co_wrapper(suffix = "_blocking")]
    impl InPlaceAbove for Both {
        async fn read(&self, by: &u8) -> u8 {
            later(self.0 + by).await
        }
    }

    impl InPlaceBelow for Both {
        async fn read(&self, by: &u8) -> u8 {
            later(self.0 + by).await
        }
    }

    impl Marked for Both {
        async fn co_read(&self, by: &u8) -> u8 {
            later(self.0 + by).await
        }
    }

    /// Not `Send`, with and without a mark.
    struct Local(Rc<u8>);

    #[co_wrapper(suffix = "_blocking")]
    impl LocalAbove for Local {
        async fn read(&self, by: &u8) -> u8 {
            later(*self.0 + by).await
        }

        async fn make() -> Self {
            later(Local(Rc::new(3))).await
        }

        async fn own(&self) -> u8 {
            later(4).await
        }

        #[co_wrapper(skip)]
        async fn skipped(&self) -> u8 {
            later(1).await
        }
    }

    impl LocalBelow<u8> for Local {
        async fn read(&self, by: u8) -> u8 {
            later(*self.0 + by).await
        }

        async fn co_first(&self) -> &u8 {
            later(&*self.0).await
        }

        async fn skipped(&self) -> u8 {
            later(1).await
        }
    }

    fn is_send<T: Send>(value: T) -> T {
        value
    }

    #[test]
    fn each_placement() {
        let both: Both = Above::make_blocking();
        assert_eq!((Above::read_blocking(&both, &1), LocalAbove::read_blocking(&both, &2)), (4, 5));
        // What the variant's impl overrides is not what the other trait's twin calls: that calls the async fn.
        assert_eq!((Above::own_blocking(&both), LocalAbove::own_blocking(&both)), (5, 4));
        assert_eq!((Below::read_blocking(&both, "x"), LocalBelow::read_blocking(&both, "y")), ("x", "y"));
        assert_eq!((Below::<u8>::first(&both), LocalBelow::<u8>::first(&both)), (&3, &3));
        assert_eq!((InPlaceAbove::read_blocking(&both, &1), InPlaceBelow::read_blocking(&both, &2)), (4, 5));
        assert_eq!((Marked::read(&both, &1), LocalMarked::read(&both, &2)), (4, 5));
        drop(is_send((Above::skipped(&both), Below::<u8>::skipped(&both))));

        let local: Local = LocalAbove::make_blocking();
        assert_eq!((LocalAbove::read_blocking(&local, &1), local.own_blocking()), (4, 4));
        assert_eq!((LocalBelow::read_blocking(&local, 1), LocalBelow::first(&local)), (4, &3));
        drop((LocalAbove::skipped(&local), LocalBelow::skipped(&local)));
    }
}

#[test]
fn async_trait_both_orders() {
    let mut mem = Mem(7);
    let read = mem.read_blocking(1, Arc::new(5), &["a", "b"]);
    assert_eq!(read, ("b", "5".to_owned()));
    assert_eq!(mem.provided_blocking((4, 5)), 4);
    drop(mem.skipped());
    assert_eq!(mem.write_blocking(std::rc::Rc::new(2)), 9);
    assert_eq!(mem.named(), 3);
    assert_eq!(mem.read_to_mem_blocking(1, Arc::new(5), Regions(&["a", "b"])), (&9, "b", "5".to_owned()));
    assert_eq!(mem.write_from_mem_blocking(Arc::new(5), Regions(&["a"])), (&mut 9, 2));
    assert_eq!(Marked::read(&mem), 9);

    let object: &mut (dyn Outside + Send) = &mut mem;
    assert_eq!(object.read_blocking(0, Arc::new(5), &["a"]).0, "a");
    let object: &dyn Marked = &mem;
    assert_eq!(object.read(), 9);

    assert_eq!(mem.by_value_blocking(), 9);
}

#[test]
fn instrument_both_orders() {
    assert_eq!(traced_outside(1, 2), 3);
    assert_eq!(traced_inside(1), 2);
    let mut mem = Mem(1);
    *mem.method(&2) += 1;
    assert_eq!(mem.0, 4);
}

#[test]
fn async_recursion_both_orders() {
    assert_eq!(sum(4), 10);
    assert_eq!(longest(&["a", "ccc", "bb"]), "ccc");
}
