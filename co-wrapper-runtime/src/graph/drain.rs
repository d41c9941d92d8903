//! Drained sections: a node's requests are counted, and who is about to change the node waits until none is in flight and
//! keeps new ones waiting. (QEMU's `bdrv_drained_begin` and `blk_inc_in_flight`.)
//!
//! In a forked child, where the mutex may have been another thread's, what waits or ends does not take it.

use std::{
    collections::BTreeMap,
    convert::identity,
    fmt,
    future::Future,
    mem,
    panic::Location,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use super::refuse;
use crate::{
    call::frame::{Frame, Kind},
    sys::{
        fork, panics,
        sync::{AtomicUsize, Mutex, Ordering, lock},
    },
};

/// A section is drained.
const DRAINED: usize = 1;
/// One request.
const ONE: usize = 2;

/// Counts a node's requests in flight, and drains it of them. To be embedded in the node.
///
/// A request [begins](Self::begin) before it does anything to the node, and before it takes the graph's read lock: one
/// that waited for the end of a drained section with the lock held would keep out the writer whom the section is for.
/// A drained section begins by waiting until nothing is in flight, and lasts until it is ended; requests that arrive
/// meanwhile wait for its end. Sections nest, and are counted: the last end lets the requests go on.
///
/// A section may begin in a callback above a request that waits in a blocking call: the request is polled meanwhile. What
/// cannot go on before the section has begun is a request in the middle of its poll, as one that drains itself is, or whose
/// end is up to its call's caller. The [hang report](crate::hang::report) names it then ("only something lower on its
/// stack"). So in a coroutine a request is best awaited.
///
/// # Examples
///
/// ```
/// use co_wrapper::{AioContext, graph::{self, Drain}};
///
/// #[derive(Default)]
/// struct Node { requests: Drain }
/// let node = std::sync::Arc::new(Node::default());
///
/// let main = AioContext::main();
/// let _home = main.enter();
/// let reader = std::sync::Arc::clone(&node);
/// let request = main.spawn(async move {
///     let _request = reader.requests.begin().await;
///     let _graph = graph::read().await;
///     AioContext::main().sleep(std::time::Duration::from_millis(1)).await;
/// });
/// main.poll(false);
/// {
///     let _drained = node.requests.drained(); // polls until the request is done
///     assert_eq!(node.requests.in_flight(), 0);
///     let _changing = graph::write();
/// }
/// main.block_on(request);
/// ```
pub struct Drain {
    /// Requests in flight, and the bit that sends new ones to the mutex. In one word, so that who changes the count sees
    /// the bit as of that change.
    word: AtomicUsize,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// How many sections there are, begun or about to.
    sections: usize,
    next: u64,
    /// Those whose sections are about to begin.
    drainers: BTreeMap<u64, Waker>,
    /// The requests that wait for the end, in the order in which they came.
    requests: BTreeMap<u64, Waker>,
}

impl Waiting {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Drain {
    /// Of a node with nothing in flight.
    ///
    /// # Examples
    ///
    /// See [`Drain`].
    pub fn new() -> Self {
        Self { word: AtomicUsize::new(0), waiting: Mutex::new(Waiting::default()) }
    }

    /// Begins a request, as soon as the node is not drained. It is in flight until what this gives is dropped. One atomic
    /// step where nobody drains.
    ///
    /// # Examples
    ///
    /// See [`Drain`].
    #[doc(alias = "bdrv_inc_in_flight")]
    #[doc(alias = "blk_wait_while_drained")]
    #[track_caller]
    pub fn begin(&self) -> impl Future<Output = Request<'_>> + Send {
        Begin { drain: self, place: Location::caller(), number: None }
    }

    /// How many requests are in flight.
    ///
    /// # Examples
    ///
    /// See [`Drain`].
    pub fn in_flight(&self) -> usize {
        self.word.load(Ordering::Acquire) / ONE
    }

    /// Begins a drained section: keeps new requests waiting from now on, and polls, serving the thread's contexts, until
    /// none is in flight.
    ///
    /// # Panics
    ///
    /// In coroutine context: await [`co_drained_begin`](Self::co_drained_begin) there. Within one's own write-locked
    /// section, for the requests that it waits for may need the lock. As a blocking call does, with the first panic of a
    /// bottom half that ran meanwhile; the section is ended then.
    ///
    /// # Examples
    ///
    /// ```
    /// let node = co_wrapper::graph::Drain::new();
    /// node.drained_begin();
    /// node.drained_begin(); // nested
    /// node.drained_end();
    /// node.drained_end();
    /// ```
    #[doc(alias = "bdrv_drained_begin")]
    #[track_caller]
    pub fn drained_begin(&self) {
        mem::forget(self.begin_section(&"Drain::drained_begin", Location::caller()));
    }

    /// The same until what this gives is dropped.
    ///
    /// # Panics
    ///
    /// As [`drained_begin`](Self::drained_begin); the section ends then.
    ///
    /// # Examples
    ///
    /// See [`Drain`].
    #[track_caller]
    pub fn drained(&self) -> Drained<'_> {
        self.begin_section(&"Drain::drained", Location::caller())
    }

    #[track_caller]
    fn begin_section(&self, name: &'static &'static str, place: &'static Location<'static>) -> Drained<'_> {
        fork::forbid_at(name, place);
        refuse::drain_below_write(name, place);
        refuse::block_in_coroutine(name, place, "await `co_drained_begin()` or `co_drained()` there");
        let begins = self.begin_drained(name, place, identity);
        Frame::enter(Kind::Own(name), place).block_on(move || begins)
    }

    /// Begins a drained section in a coroutine, which yields until nothing is in flight. Dropped before that, it takes the
    /// section back.
    ///
    /// # Panics
    ///
    /// In a blocking call within one's own write-locked section.
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper::{AioContext, graph::Drain};
    ///
    /// AioContext::current().block_on(async {
    ///     let node = Drain::new();
    ///     node.co_drained_begin().await;
    ///     node.drained_end();
    /// });
    /// ```
    #[track_caller]
    pub fn co_drained_begin(&self) -> impl Future<Output = ()> + Send {
        self.begin_drained("Drain::co_drained_begin", Location::caller(), mem::forget)
    }

    /// The same until what this gives is dropped.
    ///
    /// # Panics
    ///
    /// As [`co_drained_begin`](Self::co_drained_begin).
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper::{AioContext, graph::Drain};
    ///
    /// AioContext::current().block_on(async {
    ///     let node = Drain::new();
    ///     let section = node.co_drained().await;
    ///     assert_eq!(node.in_flight(), 0);
    ///     drop(section);
    /// });
    /// ```
    #[track_caller]
    pub fn co_drained(&self) -> impl Future<Output = Drained<'_>> + Send {
        self.begin_drained("Drain::co_drained", Location::caller(), identity)
    }

    fn begin_drained<'a, T>(
        &'a self,
        name: &'a str,
        place: &'static Location<'static>,
        give: fn(Drained<'a>) -> T,
    ) -> BeginDrained<'a, T> {
        BeginDrained { drain: self, caller: (name, place), section: None, number: None, give }
    }

    /// From now on new requests wait.
    fn open(&self) -> Drained<'_> {
        let mut waiting = lock(&self.waiting);
        waiting.sections += 1;
        self.word.fetch_or(DRAINED, Ordering::AcqRel);
        Drained { drain: self }
    }

    /// Ends a drained section. The end of the last one lets the requests go on that wait. Never polls.
    ///
    /// # Panics
    ///
    /// If there is none.
    ///
    /// # Examples
    ///
    /// See [`drained_begin`](Self::drained_begin).
    #[doc(alias = "bdrv_drained_end")]
    #[track_caller]
    pub fn drained_end(&self) {
        if fork::is_child() {
            return;
        }
        let mut waiting = lock(&self.waiting);
        let sections = waiting.sections.checked_sub(1);
        let Some(sections) = sections else {
            drop(waiting);
            panic!("Drain::drained_end: called at {}, and no section is drained; begin one first", Location::caller());
        };
        waiting.sections = sections;
        if sections > 0 {
            return;
        }
        self.word.fetch_and(!DRAINED, Ordering::AcqRel);
        let requests = mem::take(&mut waiting.requests);
        drop(waiting);
        panics::wake_all(requests.into_values());
    }

    /// Counts a request, unless a section is drained.
    fn try_begin(&self) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & DRAINED == 0 {
            match self.word.compare_exchange_weak(word, word + ONE, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// A request ended.
    fn end(&self) {
        if self.word.fetch_sub(ONE, Ordering::AcqRel) != ONE | DRAINED || fork::is_child() {
            return;
        }
        // The last one, and somebody drains.
        let drainers = mem::take(&mut lock(&self.waiting).drainers);
        panics::wake_all(drainers.into_values());
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.word.load(Ordering::Relaxed);
        let drained = word & DRAINED != 0;
        f.debug_struct("Drain").field("in_flight", &(word / ONE)).field("drained", &drained).finish()
    }
}

/// Waits until a request may begin.
struct Begin<'a> {
    drain: &'a Drain,
    place: &'static Location<'static>,
    number: Option<u64>,
}

impl<'a> Future for Begin<'a> {
    type Output = Request<'a>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Request<'a>> {
        let drain = self.drain;
        loop {
            if drain.try_begin() {
                return Poll::Ready(Request { drain });
            }
            fork::forbid_at("Drain::begin", self.place);
            // Cloned outside the mutex, for that is the user's code.
            let waker = cx.waker().clone();
            let mut waiting = lock(&drain.waiting);
            // Only under the mutex does it say for sure that somebody will wake us.
            if waiting.sections > 0 {
                let number = *self.number.get_or_insert_with(|| waiting.number());
                let old = waiting.requests.insert(number, waker);
                drop(waiting);
                drop(old);
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Begin<'_> {
    fn drop(&mut self) {
        let Some(number) = self.number.filter(|_| !fork::is_child()) else { return };
        let waker = lock(&self.drain.waiting).requests.remove(&number);
        panics::drop_one(waker);
    }
}

/// Opens a section when it is first polled, and waits until nothing is in flight. Dropped before that, it ends the section.
struct BeginDrained<'a, T> {
    drain: &'a Drain,
    /// What waits, and where it was called.
    caller: (&'a str, &'static Location<'static>),
    section: Option<Drained<'a>>,
    number: Option<u64>,
    give: fn(Drained<'a>) -> T,
}

impl<T> Future for BeginDrained<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let (drain, (name, place)) = (self.drain, self.caller);
        fork::forbid_at(name, place);
        if self.section.is_none() {
            refuse::drain_below_write(name, place);
            self.section = Some(drain.open());
        }
        let waker = cx.waker().clone();
        let mut waiting = lock(&drain.waiting);
        let number = *self.number.get_or_insert_with(|| waiting.number());
        let old = waiting.drainers.insert(number, waker);
        // Asked after the waker is there: who ends the last request after this takes it.
        if drain.in_flight() > 0 {
            drop(waiting);
            drop(old);
            return Poll::Pending;
        }
        let unused = waiting.drainers.remove(&number);
        drop(waiting);
        self.number = None;
        // The section has begun, and who polls must hear of it: whatever the wakers' destructors do.
        panics::discard(old);
        panics::discard(unused);
        let section = self.section.take().expect("opened above");
        Poll::Ready((self.give)(section))
    }
}

impl<T> Drop for BeginDrained<'_, T> {
    fn drop(&mut self) {
        let Some(number) = self.number.filter(|_| !fork::is_child()) else { return };
        let waker = lock(&self.drain.waiting).drainers.remove(&number);
        panics::drop_one(waker);
    }
}

/// A request is in flight while this lives. Made by [`Drain::begin`].
///
/// # Examples
///
/// See [`Drain`].
#[must_use = "dropping it ends the request"]
#[derive(Debug)]
pub struct Request<'a> {
    drain: &'a Drain,
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.drain.end();
    }
}

/// A section is drained while this lives. Made by [`Drain::drained`] and [`Drain::co_drained`].
///
/// # Examples
///
/// See [`Drain`].
#[must_use = "dropping it ends the section"]
#[derive(Debug)]
pub struct Drained<'a> {
    drain: &'a Drain,
}

impl Drop for Drained<'_> {
    fn drop(&mut self) {
        self.drain.drained_end();
    }
}
