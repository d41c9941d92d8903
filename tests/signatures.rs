//! Wrappers of every shape of signature are made *and called*; each awaits [`pending_once`], so that each really waits.
//! Which shape is where: `shapes.rs`, which finds out whether it is so.

#![allow(async_fn_in_trait)]
// What is odd about these signatures is what they are here for.
#![allow(
    clippy::let_underscore_future,
    clippy::needless_arbitrary_self_type,
    clippy::non_minimal_cfg,
    clippy::too_many_arguments,
    clippy::undocumented_unsafe_blocks
)]

use co_wrapper::co_wrapper;
use std::cell::RefCell;
use std::fmt::{Debug, Display};
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

#[path = "signatures/elided.rs"]
mod elided;
#[path = "signatures/forms.rs"]
mod forms;
#[path = "signatures/hygiene.rs"]
mod hygiene;
#[path = "signatures/macros.rs"]
mod macros;
#[path = "signatures/modules.rs"]
mod modules;
#[path = "signatures/returning.rs"]
mod returning;
#[path = "signatures/storage.rs"]
mod storage;
#[path = "signatures/traits.rs"]
mod traits;

/// Pending at the first poll, and woken from another thread.
pub(crate) struct PendingOnce(bool);

pub(crate) fn pending_once() -> PendingOnce {
    PendingOnce(false)
}

impl Future for PendingOnce {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        let waker = cx.waker().clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(1));
            waker.wake();
        });
        Poll::Pending
    }
}

pub(crate) async fn later<T>(value: T) -> T {
    pending_once().await;
    value
}

mod receivers {
    use super::*;

    #[derive(Default)]
    struct Node {
        name: String,
        calls: u32,
    }

    impl Node {
        #[co_wrapper]
        async fn co_new(name: &str) -> Self {
            later(Node { name: name.to_owned(), calls: 0 }).await
        }

        #[co_wrapper]
        async fn co_by_value(self) -> String {
            later(self.name).await
        }

        #[co_wrapper]
        async fn co_by_mut_value(mut self) -> String {
            self.name.push('!');
            later(self.name).await
        }

        #[co_wrapper]
        async fn co_by_ref(&self) -> &str {
            later(&*self.name).await
        }

        #[co_wrapper]
        async fn co_by_mut(&mut self, by: u32) -> &mut u32 {
            self.calls += by;
            pending_once().await;
            &mut self.calls
        }

        #[co_wrapper]
        async fn co_named<'a>(&'a self, _other: &str) -> &'a str {
            later(&*self.name).await
        }

        #[co_wrapper]
        async fn co_arc(self: Arc<Self>) -> usize {
            later(Arc::strong_count(&self)).await
        }

        #[co_wrapper]
        async fn co_rc(self: Rc<Self>) -> Rc<Self> {
            later(self).await
        }

        #[co_wrapper]
        async fn co_boxed(self: Box<Self>) -> String {
            later(self.name).await
        }

        #[co_wrapper]
        async fn co_mut_boxed(mut self: Box<Self>) -> String {
            self.name.push('?');
            later(self.name).await
        }

        #[co_wrapper]
        async fn co_pinned(self: Pin<&mut Self>) -> u32 {
            let this = self.get_mut();
            this.calls += 1;
            later(this.calls).await
        }

        #[co_wrapper]
        async fn co_refs_rc(self: &Rc<Self>) -> usize {
            later(Rc::strong_count(self)).await
        }
    }

    #[test]
    fn all() {
        let node = |name: &str| Node::new(name);
        assert_eq!(node("a").by_value(), "a");
        assert_eq!(node("a").by_mut_value(), "a!");
        assert_eq!(node("a").by_ref(), "a");
        let mut n = node("a");
        *n.by_mut(2) += 10;
        assert_eq!(*n.by_mut(1), 13);
        assert_eq!(n.named("b"), "a");
        let arc = Arc::new(node("a"));
        assert_eq!(arc.clone().arc(), 2);
        let rc = Rc::new(node("a"));
        assert!(Rc::ptr_eq(&rc, &rc.clone().rc()));
        assert_eq!(rc.refs_rc(), 1);
        assert_eq!(Box::new(node("a")).boxed(), "a");
        assert_eq!(Box::new(node("a")).mut_boxed(), "a?");
        assert_eq!(Pin::new(&mut n).pinned(), 14);
    }
}

mod parameters {
    use super::*;

    struct Point {
        x: u8,
        y: u8,
    }

    #[co_wrapper]
    async fn co_patterns(
        mut a: u8,
        _: u8,
        (b, c): (u8, u8),
        Point { x, y }: Point,
        whole @ (d, _): (u8, u8),
        [e, f]: [u8; 2],
        &g: &u8,
        _: u8,
    ) -> [u8; 10] {
        a += 1;
        later([a, b, c, x, y, whole.1, d, e, f, g]).await
    }

    // Names of our own, of the runtime's, and keywords.
    #[co_wrapper]
    async fn co_names(
        s: u8,
        co: u8,
        ret: u8,
        self_: u8,
        args: u8,
        r#type: u8,
        __self: u8,
        __cw_args: u8,
        __cw_0: u8,
        co_names_entry: u8,
        _x: u8,
    ) -> [u8; 11] {
        later([s, co, ret, self_, args, r#type, __self, __cw_args, __cw_0, co_names_entry, _x]).await
    }

    #[allow(non_camel_case_types)]
    struct Shadow<A0>(PhantomData<A0>);

    impl<A0: Default + Debug> Shadow<A0> {
        // The generic parameters are called as the struct, its own parameters and the entry's are.
        #[co_wrapper]
        async fn co_generic<GenericArgs: Default + Debug, Fut: Default + Debug, const N: usize>(
            &self,
            n: u8,
        ) -> String {
            let text = format!("{:?} {:?} {:?} {N} {n}", A0::default(), GenericArgs::default(), Fut::default());
            later(text).await
        }
    }

    #[co_wrapper]
    async fn co_conditional(
        a: u8,
        #[cfg(any())] absent: NoSuchType,
        #[cfg(all())] present: u8,
        #[cfg_attr(all(), cfg(any()))] absent_too: NoSuchType,
        #[cfg_attr(any(), cfg(any()))] present_too: u8,
        #[cfg(all())]
        #[cfg(any())]
        absent_by_one: NoSuchType,
        #[allow(unused_variables)] unused: u8,
    ) -> u8 {
        later(a + present + present_too).await
    }

    struct Unit;

    #[co_wrapper]
    async fn co_unit(Unit: Unit, marker @ PhantomData: PhantomData<Unit>) -> PhantomData<Unit> {
        later(marker).await
    }

    #[co_wrapper]
    async fn r#co_match(r#fn: u8) -> u8 {
        later(r#fn).await
    }

    #[co_wrapper]
    async fn co_nothing() {
        later(()).await
    }

    #[test]
    fn all() {
        let point = Point { x: 4, y: 5 };
        assert_eq!(patterns(0, 99, (2, 3), point, (7, 6), [8, 9], &10, 99), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(names(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        let shadow = Shadow(PhantomData::<bool>);
        assert_eq!(shadow.generic::<u8, String, 3>(4), "false 0 \"\" 3 4");
        assert_eq!(conditional(1, 2, 3, 4), 6);
        let PhantomData = unit(Unit, PhantomData);
        assert_eq!(r#match(3), 3);
        nothing();
    }
}

mod types {
    use super::*;

    type Callback = fn(u8) -> u8;

    #[co_wrapper]
    async fn co_call(f: impl Fn(u8) -> u8, g: &dyn Fn(u8) -> u8, h: Callback, i: unsafe fn(&u8) -> u8, x: u8) -> u8 {
        let x = f(g(h(unsafe { i(&x) })));
        later(x).await
    }

    #[co_wrapper]
    async fn co_higher_ranked<F>(f: F, g: Box<dyn for<'x> Fn(&'x str) -> &'x str + '_>) -> String
    where
        F: for<'x> Fn(&'x str) -> &'x str,
    {
        later(f(g("abc")).to_owned()).await
    }

    #[co_wrapper]
    async fn co_sum(numbers: &mut (impl Iterator<Item = u8> + ?Sized)) -> u8 {
        pending_once().await;
        numbers.sum()
    }

    #[co_wrapper]
    async fn co_longer<'a: 'b, 'b>(a: &'a str, b: &'b str) -> &'b str {
        later(if a.len() > b.len() { a } else { b }).await
    }

    // An early-bound lifetime beside type parameters.
    #[co_wrapper]
    async fn co_early<'a: 'a, T: ?Sized + 'a, U: Default>(text: &'a T) -> (&'a T, U) {
        later((text, U::default())).await
    }

    const LEN: usize = 2;
    type Wide<const N: usize> = [u8; N];

    #[co_wrapper]
    async fn co_array(a: [u8; LEN + 1], b: [u8; LEN * 2]) -> Wide<{ LEN - 1 }> {
        later([a[0] + b[3]]).await
    }

    #[co_wrapper]
    async fn co_not_send(rc: Rc<RefCell<Vec<u8>>>, raw: *const u8) -> bool {
        rc.borrow_mut().push(1);
        later(raw.is_null()).await
    }

    #[co_wrapper]
    async fn co_show(what: &(dyn Display + '_), mut out: impl FnMut(String)) {
        pending_once().await;
        out(what.to_string());
    }

    #[co_wrapper]
    async fn co_bytes<T: ?Sized + AsRef<[u8]>>(bytes: &T) -> usize {
        later(bytes.as_ref().len()).await
    }

    #[co_wrapper]
    async fn co_not_inferred<U: Default + Debug, const N: usize>(by: impl Into<u8>) -> String
    where
        [U; N]: Default + Debug,
    {
        let by: u8 = by.into();
        later(format!("{:?} {by}", <[U; N]>::default())).await
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Me(u8);

    impl Me {
        #[co_wrapper]
        async fn co_selves(me: Self, mes: [Self; 2], f: fn(Self) -> Self) -> Vec<Self>
        where
            Self: Copy,
        {
            later(vec![f(me), mes[0], mes[1]]).await
        }
    }

    trait Unit {
        type Of;
        const SIZE: usize;
    }

    impl Unit for Me {
        type Of = u16;
        const SIZE: usize = 2;
    }

    // In patterns, under references, in tuples, in the arguments of types and traits, as the start of a path, in bounds.
    impl Me {
        #[co_wrapper]
        async fn co_everywhere(
            &self,
            Self(x): Self,
            (by_ref, _): (&Self, Option<&mut Self>),
            of: <Self as Unit>::Of,
            array: [u8; <Self as Unit>::SIZE],
            from: impl Into<Self>,
            map: &dyn Fn(Self, &Self) -> Self,
            boxed: Box<dyn FnOnce(Box<Self>) -> Self + '_>,
        ) -> Option<(Self, <Self as Unit>::Of, &Self)>
        where
            Self: Unit<Of = u16>,
            for<'a> &'a Self: Sized,
        {
            let made = map(boxed(Box::new(from.into())), by_ref);
            later(Some((Self(made.0 + x + array[1]), of, self))).await
        }
    }

    impl From<u8> for Me {
        fn from(x: u8) -> Self {
            Me(x)
        }
    }

    #[test]
    fn self_in_every_position() {
        let map = |a: Me, b: &Me| Me(a.0 + b.0);
        let (a, b) = (Me(1), Me(2));
        let all = a.everywhere(Me(4), (&b, None), 512, [0, 8], 16, &map, Box::new(|me| Me(me.0 + 32)));
        assert_eq!(all, Some((Me(62), 512, &Me(1))));
    }

    #[test]
    fn all() {
        let one = 1;
        assert_eq!(call(|x| x + one, &|x| x * 2, |x| x + 3, |x| *x, 4), 15);
        let prefix = String::from("z");
        assert_eq!(higher_ranked(|s| &s[1..], Box::new(|s| if prefix.is_empty() { "" } else { &s[1..] })), "c");
        assert_eq!(sum(&mut vec![1, 2, 3].into_iter()), 6);
        let dynamic: &mut dyn Iterator<Item = u8> = &mut vec![1, 2].into_iter();
        assert_eq!(sum(dynamic), 3);
        assert_eq!(longer("aa", "b"), "aa");
        assert_eq!(early::<str, u8>("a"), ("a", 0));
        assert_eq!(array([1, 2, 3], [1, 2, 3, 4]), [5]);
        let rc = Rc::default();
        assert!(not_send(Rc::clone(&rc), std::ptr::null()));
        assert_eq!(*rc.borrow(), [1]);
        let mut shown = String::new();
        show(&1, |text| shown = text);
        assert_eq!(shown, "1");
        assert_eq!(bytes("abc"), 3);
        assert_eq!(not_inferred::<u16, 2>(7), "[0, 0] 7");
        assert_eq!(Me::selves(Me(1), [Me(2), Me(3)], |me| Me(me.0 + 9)), [Me(10), Me(2), Me(3)]);
    }
}

mod results {
    use super::*;

    // Edition 2018 knows no captured arguments in `panic!`.
    #[co_wrapper]
    async fn co_never(message: &str) -> ! {
        pending_once().await;
        panic!("{}", message)
    }

    struct Numbers(Vec<u8>);

    impl Numbers {
        #[co_wrapper]
        async fn co_iter(&self) -> impl Iterator<Item = &u8> {
            later(self.0.iter()).await
        }

        #[co_wrapper]
        async fn co_iter_mut(&mut self, by: u8) -> impl Iterator<Item = &mut u8> + '_ {
            later(self.0.iter_mut().filter(move |n| **n > by)).await
        }

        #[co_wrapper]
        fn co_future(&self, by: u8) -> impl Future<Output = u8> + '_ {
            let first = self.0[0];
            async move { later(first).await + by }
        }

        #[co_wrapper]
        fn co_boxed<'a>(&'a self, by: &'a u8) -> Pin<Box<dyn Future<Output = (&'a u8, u8)> + Send + 'a>> {
            Box::pin(async move { (later(&self.0[0]).await, *by) })
        }

        #[co_wrapper]
        fn co_elided(&mut self) -> std::pin::Pin<Box<dyn std::future::Future<Output = &mut u8> + '_>> {
            Box::pin(async move { later(&mut self.0[0]).await })
        }
    }

    #[co_wrapper]
    async fn co_fails(fails: bool) -> Result<u8, Box<dyn std::error::Error>> {
        pending_once().await;
        if fails {
            Err("it fails")?;
        }
        Ok(1)
    }

    #[must_use = "for a test"]
    #[co_wrapper]
    async fn co_must_use(x: u8) -> Result<u8, ()> {
        later(Ok(x)).await
    }

    #[test]
    #[should_panic(expected = "never again")]
    fn never_returns() {
        never("never again");
    }

    #[test]
    fn all() {
        let mut numbers = Numbers(vec![1, 2, 3]);
        assert_eq!(numbers.iter().sum::<u8>(), 6);
        numbers.iter_mut(1).for_each(|n| *n += 10);
        assert_eq!(numbers.0, [1, 12, 13]);
        assert_eq!(numbers.future(1), 2);
        assert_eq!(numbers.boxed(&7), (&1, 7));
        *numbers.elided() = 9;
        assert_eq!(numbers.0[0], 9);
        assert_eq!(fails(true).unwrap_err().to_string(), "it fails");
        assert_eq!(fails(false).unwrap(), 1);
        assert_eq!(must_use(5), Ok(5));
    }
}

mod places {
    use super::*;

    #[test]
    fn inside_a_function() {
        struct Local;

        impl Local {
            #[co_wrapper]
            async fn co_get(&self) -> u8 {
                later(2).await
            }
        }

        #[co_wrapper]
        async fn co_inner(x: u8) -> u8 {
            later(x).await
        }

        assert_eq!(inner(1) + Local.get(), 3);
    }

    #[co_wrapper]
    async fn co_countdown(n: u8) -> u32 {
        if n == 0 {
            return later(0).await;
        }
        u32::from(n) + Box::pin(co_countdown(n - 1)).await
    }

    #[cfg(all())]
    #[co_wrapper]
    async fn co_twin() -> u8 {
        later(1).await
    }

    #[cfg(any())]
    #[co_wrapper]
    async fn co_twin() -> u8 {
        later(2).await
    }

    #[co_wrapper]
    #[cfg(any())]
    async fn co_twin() -> u8 {
        later(3).await
    }

    #[deprecated(note = "for a test")]
    #[co_wrapper]
    async fn co_old() -> u8 {
        later(1).await
    }

    /// # Safety
    ///
    /// None.
    #[co_wrapper]
    async unsafe fn co_danger(at: *const u8) -> u8 {
        let value = unsafe { *at };
        later(value).await
    }

    #[test]
    fn all() {
        assert_eq!(countdown(4), 10);
        assert_eq!(twin(), 1);
        #[expect(deprecated)]
        let value = old();
        assert_eq!(value, 1);
        assert_eq!(unsafe { danger(&7) }, 7);
    }
}

mod blocks {
    use super::*;

    type Wide<const N: usize> = [u8; N];

    struct Every(u8);

    #[co_wrapper(suffix = "_blocking")]
    impl Every {
        const ARRAY: [u8; 2] = [1, 2];

        async fn open(x: u8) -> Self {
            later(Every(x)).await
        }

        async fn wide(&self) -> Wide<{ Self::ARRAY.len() }> {
            later([self.0; 2]).await
        }

        #[co_wrapper(name = other)]
        async fn named(&self) -> u8 {
            later(self.0 + 1).await
        }

        #[co_wrapper(skip)]
        async fn skipped(&self) -> u8 {
            later(self.0).await
        }

        // Free for a use of its own.
        fn skipped_blocking(&self) -> u8 {
            self.skipped_inner()
        }

        fn skipped_inner(&self) -> u8 {
            77
        }

        #[cfg_attr(all(), co_wrapper(name = conditionally))]
        async fn conditional(&self) -> u8 {
            later(3).await
        }

        #[cfg_attr(any(), co_wrapper(name = never))]
        async fn unconditional(&self) -> u8 {
            later(4).await
        }
    }

    #[co_wrapper(prefix = "sync_", crate = ::co_wrapper)]
    impl Every {
        #![allow(non_snake_case)]
        #![allow(unused_variables)]

        async fn r#move(self, X: u8) -> u8 {
            later(self.0).await
        }
    }

    struct Marked;

    #[co_wrapper]
    impl Marked {
        #[co_wrapper]
        async fn co_no_receiver(x: u8) -> u8 {
            later(x).await
        }

        #[co_wrapper(vis = pub(crate), name = shown)]
        async fn hidden(x: u8) -> u8 {
            later(x).await
        }

        async fn read(&self) -> u8 {
            later(2).await
        }

        // Would clash if every fn were wrapped.
        #[cfg_attr(all(), co_wrapper)]
        async fn co_conditional(x: u8) -> u8 {
            later(x).await
        }

        fn read_blocking(&self) -> u8 {
            co_wrapper::__private::poll_co(
                &co_wrapper::__private::Wrapper { name: "", target: "", mixed: false },
                self,
                |this| this.read(),
            )
        }
    }

    use co_wrapper::co_wrapper as cw;

    struct Renamed;

    #[cw]
    impl Renamed {
        #[cw]
        async fn co_no_receiver() -> u8 {
            later(1).await
        }
    }

    #[cw(suffix = "_blocking")]
    impl Renamed {
        async fn every(&self) -> u8 {
            later(2).await
        }

        #[cw(skip)]
        async fn skipped(&self) -> u8 {
            later(3).await
        }

        fn skipped_blocking(&self) -> u8 {
            3
        }
    }

    #[test]
    fn all() {
        let every = Every::open_blocking(4);
        assert_eq!(every.wide_blocking(), [4, 4]);
        assert_eq!(every.other(), 5);
        assert_eq!(every.skipped_blocking(), 77);
        let _ = every.skipped();
        assert_eq!(every.conditionally(), 3);
        assert_eq!(every.unconditional_blocking(), 4);
        assert_eq!(every.sync_move(1), 4);
        assert_eq!(Marked::no_receiver(1), 1);
        assert_eq!(Marked::shown(1), 1);
        assert_eq!(Marked::conditional(1), 1);
        assert_eq!(Marked.read_blocking(), 2);
        assert_eq!(Renamed::no_receiver(), 1);
        assert_eq!(Renamed.every_blocking(), 2);
        let _ = Renamed.skipped();
        assert_eq!(Renamed.skipped_blocking(), 3);
    }
}
