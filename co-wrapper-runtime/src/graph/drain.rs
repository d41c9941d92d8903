//! Drained sections. A node counts its requests; code that is about to change the node waits until none is in flight,
//! and keeps new ones waiting. (QEMU's `bdrv_drained_begin` and `blk_inc_in_flight`.)
//!
//! In a forked child nothing here takes the mutex, because another of the parent's threads may hold it.

use std::{
    collections::BTreeMap,
    convert::identity,
    fmt,
    future::Future,
    mem,
    panic::Location,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::refuse;
use crate::{
    call::{block_on::done, callee::Callee, frame::Frame},
    sys::{
        elapsed::{Elapsed, deadline},
        fork, panics,
        sync::{AtomicUsize, Mutex, Ordering, lock},
    },
    thread::waiting::Ended,
};

/// Set while a section is drained.
const DRAINED: usize = 1;
/// The count of one request.
const ONE: usize = 2;

/// Counts a node's requests in flight, and drains the node of them. Embed it in the node.
///
/// A request [begins](Self::begin) before it does anything to the node, and before it takes the graph's read lock. If
/// it waited for the end of a drained section while it held the lock, it would keep out the writer that the section is
/// for. A drained section begins by waiting until no request is in flight; requests that arrive before it ends wait for
/// its end. Sections nest and are counted: when the last one ends, the requests go on.
///
/// A section may begin in a callback that is nested inside a request's blocking call: the request is polled meanwhile.
/// A request cannot go on if it is in the middle of its poll, such as one that drains itself, or if its end is up to
/// its call's caller. The [hang report](crate::hang::report) then names it ("only something lower on its stack"). So in
/// a coroutine, await requests rather than blocking on them.
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
    /// The number of requests in flight, and the bit that sends new ones to the mutex. They share a word, so that a
    /// change of the count reads the bit in the same atomic step.
    word: AtomicUsize,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// How many sections are open, including those that still wait to begin.
    sections: usize,
    next: u64,
    /// The wakers of sections that wait to begin.
    drainers: BTreeMap<u64, Waker>,
    /// The wakers of requests that wait for the sections' end, in order of arrival.
    requests: BTreeMap<u64, Waker>,
}

impl Waiting {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Drain {
    /// For a node with no requests in flight.
    ///
    /// # Examples
    ///
    /// See [`Drain`].
    pub fn new() -> Self {
        Self { word: AtomicUsize::new(0), waiting: Mutex::new(Waiting::default()) }
    }

    /// Begins a request, as soon as the node is not drained. The request is in flight until the returned value is
    /// dropped. One atomic step if no section is drained.
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

    /// Begins a drained section: new requests wait from now on, and this polls, serving the thread's contexts, until no
    /// request is in flight.
    ///
    /// # Panics
    ///
    /// In coroutine context: await [`co_drained_begin`](Self::co_drained_begin) there. Within one's own write-locked
    /// section, because the requests that it waits for may need the lock. Like every blocking call, with the first
    /// panic of a bottom half that ran meanwhile; the section is then ended.
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
        mem::forget(done(self.begin_section(&"Drain::drained_begin", Location::caller(), None)));
    }

    /// Like [`drained_begin`](Self::drained_begin), for `timeout` at most. Where nothing is in flight it is never too
    /// late.
    ///
    /// # Errors
    ///
    /// A request was still in flight when the time was up. Nothing remains of the section: the requests that arrived
    /// meanwhile and waited for its end go on, unless another section is drained, and so do those that it waited for.
    ///
    /// # Panics
    ///
    /// The same as [`drained_begin`](Self::drained_begin); the section is ended then.
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper::{block_on, graph::Drain};
    /// use std::time::Duration;
    ///
    /// let node = Drain::new();
    /// let request = block_on(node.begin());
    /// assert!(node.drained_begin_timeout(Duration::from_millis(1)).is_err());
    /// drop(block_on(node.begin())); // not drained
    /// drop(request);
    /// node.drained_begin_timeout(Duration::ZERO)?;
    /// node.drained_end();
    /// # Ok::<_, co_wrapper::Elapsed>(())
    /// ```
    #[track_caller]
    pub fn drained_begin_timeout(&self, timeout: Duration) -> Result<(), Elapsed> {
        self.begin_section(&"Drain::drained_begin_timeout", Location::caller(), deadline(timeout))
            .map(mem::forget)
            .map_err(|_| Elapsed::new(timeout))
    }

    /// Like [`drained_begin`](Self::drained_begin); the section lasts until the returned value is dropped.
    ///
    /// # Panics
    ///
    /// The same as [`drained_begin`](Self::drained_begin); the section ends then.
    ///
    /// # Examples
    ///
    /// See [`Drain`].
    #[track_caller]
    pub fn drained(&self) -> Drained<'_> {
        done(self.begin_section(&"Drain::drained", Location::caller(), None))
    }

    /// Like [`drained`](Self::drained), for `timeout` at most. Where nothing is in flight it is never too late.
    ///
    /// # Errors
    ///
    /// The same as [`drained_begin_timeout`](Self::drained_begin_timeout): nothing remains of the section.
    ///
    /// # Panics
    ///
    /// The same as [`drained_begin`](Self::drained_begin); the section ends then.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let node = co_wrapper::graph::Drain::new();
    /// match node.drained_timeout(Duration::from_secs(30)) {
    ///     Ok(section) => drop(section), // after the change that it is for
    ///     Err(elapsed) => println!("the node is busy, so it stays as it is: {elapsed}"),
    /// }
    /// ```
    #[track_caller]
    pub fn drained_timeout(&self, timeout: Duration) -> Result<Drained<'_>, Elapsed> {
        self.begin_section(&"Drain::drained_timeout", Location::caller(), deadline(timeout))
            .map_err(|_| Elapsed::new(timeout))
    }

    #[track_caller]
    fn begin_section(
        &self,
        name: &'static &'static str,
        place: &'static Location<'static>,
        deadline: Option<Instant>,
    ) -> Result<Drained<'_>, Ended> {
        fork::forbid_at(name, place);
        refuse::drain_below_write(name, place);
        refuse::block_in_coroutine(name, place, "await `co_drained_begin()` or `co_drained()` there");
        let begins = self.begin_drained(name, place, identity);
        // If the future is dropped at the deadline, it ends the section that it has opened.
        Frame::enter(Callee::Own(name), place).block_on_until(deadline, None, move || begins)
    }

    /// Begins a drained section in a coroutine, which yields until no request is in flight. If the future is dropped
    /// before that, the section ends.
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

    /// Like [`co_drained_begin`](Self::co_drained_begin); the section lasts until the output is dropped.
    ///
    /// # Panics
    ///
    /// The same as [`co_drained_begin`](Self::co_drained_begin).
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

    /// Opens a section: new requests wait from now on.
    fn open(&self) -> Drained<'_> {
        let mut waiting = lock(&self.waiting);
        waiting.sections += 1;
        self.word.fetch_or(DRAINED, Ordering::AcqRel);
        Drained { drain: self }
    }

    /// Ends a drained section. When the last one ends, the waiting requests go on. Never polls.
    ///
    /// # Panics
    ///
    /// If no section is drained.
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

    /// Counts a request and returns true, unless a section is drained.
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

    /// Ends a request.
    fn end(&self) {
        if self.word.fetch_sub(ONE, Ordering::AcqRel) != ONE | DRAINED || fork::is_child() {
            return;
        }
        // That was the last request, and a section waits for it.
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
            // Cloned outside the mutex, because that runs users' code.
            let waker = cx.waker().clone();
            let mut waiting = lock(&drain.waiting);
            // Only under the mutex is it certain that the section's end will wake this request.
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

/// Opens a section when it is first polled, then waits until no request is in flight. If it is dropped before that, the
/// section ends.
struct BeginDrained<'a, T> {
    drain: &'a Drain,
    /// The function that was called, and where.
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
        // Checked after the waker is stored: a request that ends after this check finds the waker.
        if drain.in_flight() > 0 {
            drop(waiting);
            drop(old);
            return Poll::Pending;
        }
        let unused = waiting.drainers.remove(&number);
        drop(waiting);
        self.number = None;
        // The section has begun, so the caller must get it even if a waker's destructor panics; otherwise it would
        // never end.
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
