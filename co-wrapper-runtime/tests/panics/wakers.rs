//! Wakers: woken, cloned and dropped, wherever the runtime keeps them.

use super::*;

type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Futures that wait for one event.
struct Place {
    ctx: AioContext,
    waits: Arc<Mutex<Vec<Option<Wait>>>>,
    /// They are polled on another thread.
    elsewhere: bool,
    /// Makes the event happen, and all that follows from it. Says what it heard of.
    event: Box<dyn FnOnce() -> Vec<String>>,
    /// Whether the panic of a waker is raised there, or printed by the panic hook alone.
    raised: bool,
}

impl Place {
    fn new(ctx: &AioContext, waits: [Wait; 3], event: impl FnOnce() -> Vec<String> + 'static) -> Self {
        let waits = Arc::new(Mutex::new(waits.into_iter().map(Some).collect()));
        Self { ctx: ctx.clone(), waits, elsewhere: false, event: Box::new(event), raised: true }
    }

    fn poll(&self, at: usize, waker: &Waker) -> Poll<()> {
        let waits = &self.waits;
        let poll = || {
            let mut wait = waits.lock().unwrap()[at].take().unwrap();
            let polled = catch_unwind(AssertUnwindSafe(|| wait.as_mut().poll(&mut Context::from_waker(waker))));
            waits.lock().unwrap()[at] = Some(wait);
            polled
        };
        let polled = if self.elsewhere { thread::scope(|scope| scope.spawn(poll).join().unwrap()) } else { poll() };
        polled.unwrap_or_else(|payload| std::panic::resume_unwind(payload))
    }

    /// Polls what has not come yet.
    fn pends(&self, at: usize, waker: &Waker) {
        if self.poll(at, waker).is_ready() {
            came_too_late();
        }
    }
}

/// Three of `make`.
fn three<F: Future<Output = ()> + Send + 'static>(mut make: impl FnMut() -> F) -> [Wait; 3] {
    [(); 3].map(|()| Box::pin(make()) as Wait)
}

fn timers_in_poll() -> Place {
    let ctx = entered();
    let waits = three(|| ctx.sleep(later()));
    Place::new(&ctx.clone(), waits, move || {
        thread::sleep(later());
        polls(&ctx)
    })
}

fn timers_in_a_call() -> Place {
    let ctx = entered();
    let waits = three(|| ctx.sleep(later()));
    Place::new(&ctx.clone(), waits, move || heard_of(|| plain(ctx.sleep(later() + 5 * MS))))
}

fn timers_in_a_nested_call() -> Place {
    let ctx = entered();
    let waits = three(|| ctx.sleep(later()));
    Place::new(&ctx.clone(), waits, move || heard_of(|| plain(async { mixed(ctx.sleep(later() + 5 * MS)) })))
}

fn timers_in_an_io_thread() -> Place {
    let (ctx, io) = (entered(), IoThread::spawn("io").unwrap());
    let waits = three(|| io.context().sleep(later()));
    let mut place = Place::new(&ctx, waits, move || {
        thread::sleep(later());
        // Whose answer says that it is still there.
        (0..3).for_each(|_| assert_eq!(plain(io.context().spawn(async { 1 })), 1));
        Vec::new()
    });
    place.raised = false;
    place
}

fn joined(end: impl FnOnce(&AioContext, Vec<co_wrapper_runtime::AbortHandle>) -> Vec<String> + 'static) -> Place {
    let ctx = entered();
    let go = Arc::new(Mutex::new(Vec::new()));
    let mut aborts = Vec::new();
    let waits = three(|| {
        let (tx, rx) = futures::channel::oneshot::channel::<()>();
        go.lock().unwrap().push(tx);
        let task = ctx.spawn(async { _ = rx.await });
        aborts.push(task.abort_handle());
        async { _ = catch_unwinding(task).await }
    });
    ctx.poll(false);
    let mut place = Place::new(&ctx.clone(), waits, move || {
        let heard = end(&ctx, aborts);
        drop(go);
        heard
    });
    place.raised = false;
    place
}

/// The future, of which a panic is an end too.
async fn catch_unwinding<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut future).poll(cx))) {
        Ok(polled) => polled.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

fn joiners() -> Place {
    let ctx = entered();
    let (tx, rx) = async_channel::bounded::<()>(1);
    let waits = three(|| {
        let rx = rx.clone();
        ctx.spawn(async move { _ = rx.recv().await })
    });
    ctx.poll(false);
    let mut place = Place::new(&ctx.clone(), waits, move || {
        drop(tx);
        polls(&ctx)
    });
    place.raised = false;
    place
}

fn joiners_of_local_tasks() -> Place {
    let ctx = entered();
    let (tx, rx) = async_channel::bounded::<()>(1);
    let waits = three(|| {
        let rx = rx.clone();
        ctx.spawn_local(async move { _ = rx.recv().await })
    });
    ctx.poll(false);
    let mut place = Place::new(&ctx.clone(), waits, move || {
        drop(tx);
        polls(&ctx)
    });
    place.raised = false;
    place
}

fn joiners_of_aborted_tasks() -> Place {
    joined(|ctx, aborts| {
        aborts.iter().for_each(|task| task.abort());
        polls(ctx)
    })
}

fn joiners_of_a_closed_context() -> Place {
    let mut place = joined(|_, _| Vec::new());
    let (closed, ctx) = (place.ctx.clone(), entered());
    place.event = Box::new(move || heard_of(|| closed.close()));
    place.ctx = ctx;
    place
}

fn requests_at_a_drains_end() -> Place {
    let node: &'static Drain = Box::leak(Box::default());
    node.drained_begin();
    Place::new(&entered(), three(|| async { drop(node.begin().await) }), || heard_of(|| node.drained_end()))
}

fn requests_at_a_drained_guards_drop() -> Place {
    let node: &'static Drain = Box::leak(Box::default());
    let section = node.drained();
    Place::new(&entered(), three(|| async { drop(node.begin().await) }), || heard_of(|| drop(section)))
}

fn drainers_at_a_requests_end() -> Place {
    let node: &'static Drain = Box::leak(Box::default());
    let request = plain(node.begin());
    let waits = three(|| async { drop(node.co_drained().await) });
    Place::new(&entered(), waits, || heard_of(|| drop(request)))
}

fn readers_at_the_write_guards_drop() -> Place {
    let main = AioContext::main();
    mem::forget(main.enter());
    let lock: &'static GraphLock = Box::leak(Box::default());
    let writing = lock.write();
    let waits = three(|| async { drop(lock.read().await) });
    let mut place = Place::new(&main, waits, || heard_of(|| drop(writing)));
    place.elsewhere = true;
    place
}

fn no_co_calls() -> Place {
    let main = AioContext::main();
    mem::forget(main.enter());
    let waits = three(|| no_co(WRAPPER, (), |()| arg(())));
    Place::new(&main.clone(), waits, move || polls(&main))
}

fn no_co_calls_of_a_closed_context() -> Place {
    let (main, ctx) = (AioContext::main(), entered());
    let waits = three(|| {
        let call = no_co(WRAPPER, (), |()| arg(()));
        async { _ = catch_unwinding(Box::pin(call)).await }
    });
    mem::forget(main.enter());
    Place::new(&ctx, waits, move || heard_of(|| main.close()))
}

/// A place by its name.
type Named = (&'static str, fn() -> Place);

const PLACES: &[Named] = &[
    ("timers, polled", timers_in_poll),
    ("timers, in a call", timers_in_a_call),
    ("timers, in a nested call", timers_in_a_nested_call),
    ("timers, in an IoThread", timers_in_an_io_thread),
    ("joiners", joiners),
    ("joiners of local tasks", joiners_of_local_tasks),
    ("joiners of aborted tasks", joiners_of_aborted_tasks),
    ("joiners, context closed", joiners_of_a_closed_context),
    ("requests at drained_end", requests_at_a_drains_end),
    ("requests at a guard's drop", requests_at_a_drained_guards_drop),
    ("drainers at a request's end", drainers_at_a_requests_end),
    ("readers at the write guard's drop", readers_at_the_write_guards_drop),
    ("no_co calls", no_co_calls),
    ("no_co calls, context closed", no_co_calls_of_a_closed_context),
];

/// Waits of the graph as futures that a panic of a waker does not end, unlike the async blocks above.
fn just<T>(future: impl Future<Output = T> + Send + 'static) -> impl Future<Output = ()> + Send {
    futures::FutureExt::map(future, |_done| ())
}

/// Of requests that wait for the end of a drained section: stage `Begin`.
fn requests_that_begin() -> Place {
    let node: &'static Drain = Box::leak(Box::default());
    node.drained_begin();
    Place::new(&entered(), three(|| just(node.begin())), || heard_of(|| node.drained_end()))
}

/// Of those that wait until nothing is in flight: stage `Emptied`.
fn drainers_until_it_is_empty() -> Place {
    let node: &'static Drain = Box::leak(Box::default());
    let request = plain(node.begin());
    let mut sections = 0;
    let waits = three(|| {
        sections += 1;
        // Either way of waiting for it.
        if sections == 2 { Box::pin(just(node.co_drained_begin())) as Wait } else { Box::pin(just(node.co_drained())) }
    });
    Place::new(&entered(), waits, || heard_of(|| drop(request)))
}

/// Of readers that wait for a writer that is in.
fn readers_of_a_writers_lock() -> Place {
    let main = AioContext::main();
    mem::forget(main.enter());
    let lock: &'static GraphLock = Box::leak(Box::default());
    let writing = lock.write();
    let mut place = Place::new(&main, three(|| just(lock.read())), || heard_of(|| drop(writing)));
    place.elsewhere = true;
    place
}

/// Of blocking functions that wait for either lock.
fn no_co_calls_for_the_lock(write: bool) -> Place {
    let main = AioContext::main();
    mem::forget(main.enter());
    let lock: &'static GraphLock = Box::leak(Box::default());
    let waits = three(|| {
        if write {
            Box::pin(common::main_loop::change(lock, |_| ())) as Wait
        } else {
            Box::pin(no_co_read(WRAPPER, lock.clone(), (), |(), _| arg(())))
        }
    });
    Place::new(&main.clone(), waits, move || polls(&main))
}

const GRAPH_PLACES: &[Named] = &[
    ("requests that begin", requests_that_begin),
    ("drainers until it is empty", drainers_until_it_is_empty),
    ("readers of a writer's lock", readers_of_a_writers_lock),
    ("no_co calls with the read lock", || no_co_calls_for_the_lock(false)),
    ("no_co calls with the write lock", || no_co_calls_for_the_lock(true)),
];

/// What a waker does when it is woken, and what is heard of it where it is raised.
type Act = (&'static str, fn(&Place, Waker) -> Box<dyn FnOnce() + Send>, Option<&'static str>);

const ACTS: &[Act] = &[
    ("panics", |_, _| Box::new(|| panic!("of the waker")), Some("of the waker")),
    ("panics with a payload that panics", |_, _| Box::new(|| panic_any(Bomb)), Some("a payload")),
    ("blocks", |_, _| Box::new(|| plain(AioContext::current().sleep(MS))), None),
    (
        "blocks on its context",
        |place, _| {
            let ctx = place.ctx.clone();
            // From another thread that is the home's to do.
            Box::new(move || _ = catch_unwind(AssertUnwindSafe(|| ctx.block_on(ctx.sleep(MS)))))
        },
        None,
    ),
    ("polls", |_, _| Box::new(|| _ = AioContext::current().poll(false)), None),
    (
        "spawns, and joins",
        |_, _| {
            Box::new(|| {
                let ctx = AioContext::new().unwrap();
                assert_eq!(ctx.block_on(ctx.spawn(async { 7 })), 7);
            })
        },
        None,
    ),
    ("wakes another", |_, other| Box::new(move || other.wake()), None),
    (
        "drops what it waits for",
        |place, _| {
            let waits = Arc::clone(&place.waits);
            Box::new(move || {
                let own = waits.lock().unwrap()[1].take();
                drop(own);
            })
        },
        None,
    ),
];

/// The one in the middle acts; the others are woken all the same.
fn middle_acts(place: Place, act: &Act, unwinding: bool) {
    let others = [Arc::new(Counts::default()), Arc::new(Counts::default())];
    let [first, last] = others.clone().map(Waker::from);
    let acts = (act.1)(&place, last.clone());
    for (at, waker) in [first, waker(On::Wake, acts), last].iter().enumerate() {
        place.pends(at, waker);
    }
    let Place { ctx, waits, elsewhere, event, raised } = place;
    let mut heard = Vec::new();
    if unwinding {
        while_unwinding(|| heard = event());
        // `AioContext::poll` alone raises what it runs, there as elsewhere.
        assert!(heard.len() <= 1, "{heard:?}");
    } else {
        heard = event();
        assert_eq!(heard, act.2.filter(|_| raised).into_iter().collect::<Vec<_>>());
    }
    // Some are woken by another thread.
    until(|| others.iter().all(|other| other.0.load(Ordering::Relaxed) > 0));
    let place = Place { ctx, waits, elsewhere, event: Box::new(Vec::new), raised };
    for at in [0, 2] {
        assert!(place.poll(at, Waker::noop()).is_ready(), "{at} was woken for nothing");
    }
    is_well(&place.ctx);
}

pub fn wakers_woken() -> Vec<Row> {
    let rows = PLACES.iter().flat_map(|place| ACTS.iter().map(move |act| (place, act)));
    rows.map(|(place, act)| row(format!("{}: a waker {}", place.0, act.0), || middle_acts(place.1(), act, false)))
        .collect()
}

pub fn wakers_woken_while_unwinding() -> Vec<Row> {
    let rows = PLACES.iter().flat_map(|place| ACTS[..2].iter().map(move |act| (place, act)));
    rows.map(|(place, act)| {
        row(format!("{}, while unwinding: a waker {}", place.0, act.0), || middle_acts(place.1(), act, true))
    })
    .collect()
}

/// A waker whose clone panics is its poller's; the wait goes on with another.
fn clone_panics(place: Place) {
    let bad = waker(On::Clone, || panic!("of the clone"));
    assert_eq!(heard_of(|| place.pends(1, &bad)), ["of the clone"]);
    _ = goes_on(place);
}

/// One that was replaced, and panics when it is dropped, likewise.
fn drop_when_replaced_panics(place: Place) {
    let bad = waker(On::Drop, || panic!("of the drop"));
    place.pends(1, &bad);
    mem::forget(bad);
    let good = Waker::from(Arc::new(Counts::default()));
    assert_eq!(heard_of(|| place.pends(1, &good)), ["of the drop"]);
    _ = goes_on(place);
}

/// And one that is dropped with its wait is its dropper's.
fn drop_with_the_wait_panics(place: Place, unwinding: bool) {
    let bad = waker(On::Drop, || panic!("of the drop"));
    place.pends(0, &bad);
    mem::forget(bad);
    let wait = place.waits.lock().unwrap()[0].take();
    if unwinding {
        while_unwinding(|| drop(wait));
    } else {
        assert_eq!(heard_of(|| drop(wait)), ["of the drop"]);
    }
    _ = goes_on(place);
}

/// One that is dropped when the wait has ended is the hook's: the end is not lost for it.
fn last_wakers_drop_panics(place: Place) {
    let bad = waker(On::Drop, || panic!("of the drop"));
    // Not woken, which would be its end.
    place.pends(0, &bad);
    let wait = place.waits.lock().unwrap()[0].take();
    let place = goes_on(place);
    place.waits.lock().unwrap()[0] = wait;
    assert_eq!(heard_of(|| assert!(place.poll(0, &bad).is_ready())), NOTHING);
    mem::forget(bad);
    is_well(&place.ctx);
}

/// A wait that is refused panics with what it is refused for, and that alone: its waker is dropped by that panic.
fn refused() -> Vec<Row> {
    type Refused = (&'static str, &'static str, fn(&'static GraphLock) -> Wait);
    const REFUSED: &[Refused] = &[
        ("a reader", "GraphLock::read: at ", |lock| Box::pin(just(lock.read()))),
        ("a no_co call with the read lock", "there: at ", |lock| {
            Box::pin(no_co_read(WRAPPER, lock.clone(), (), |(), _| arg(())))
        }),
        ("a no_co call with the write lock", "bdrv_co_change: at ", |lock| {
            Box::pin(common::main_loop::change(lock, |_| ()))
        }),
        ("a drainer", "Drain::co_drained: at ", |_| Box::pin(just(Box::leak(Box::<Drain>::default()).co_drained()))),
    ];
    let rows = REFUSED.iter().map(|(name, says, wait)| {
        row(format!("{name} that is refused: a waker's drop panics"), move || {
            let main = AioContext::main();
            mem::forget(main.enter());
            let lock: &'static GraphLock = Box::leak(Box::default());
            let writing = lock.write();
            let mut wait = wait(lock);
            let bad = waker(On::Drop, || panic!("of the drop"));
            let heard =
                heard_of(|| mixed(std::future::poll_fn(|_| wait.as_mut().poll(&mut Context::from_waker(&bad)))));
            assert!(heard.len() == 1 && heard[0].starts_with(says), "{heard:?}");
            mem::forget(bad);
            drop(writing);
            is_well(&main);
        })
    });
    rows.collect()
}

/// The waits that are left are woken and end. Gives back what is left then.
fn goes_on(place: Place) -> Place {
    let counts = [Arc::new(Counts::default()), Arc::new(Counts::default())];
    for (at, counts) in [1, 2].into_iter().zip(&counts) {
        place.pends(at, &Waker::from(Arc::clone(counts)));
    }
    let Place { ctx, waits, elsewhere, event, raised } = place;
    assert!(event().is_empty());
    until(|| counts.iter().all(|counts| counts.0.load(Ordering::Relaxed) > 0));
    let place = Place { ctx, waits, elsewhere, event: Box::new(Vec::new), raised };
    [1, 2].into_iter().for_each(|at| assert!(place.poll(at, Waker::noop()).is_ready()));
    is_well(&place.ctx);
    place
}

pub fn wakers_cloned_and_dropped() -> Vec<Row> {
    // An async block that panicked is over, so the waits here are none.
    let places = PLACES.iter().filter(|place| {
        ["timers", "joiners", "joiners of local tasks", "no_co calls"].contains(&place.0)
            || place.0.starts_with("timers, ") && !place.0.contains("IoThread")
    });
    let mut rows = Vec::new();
    for place in places.chain(GRAPH_PLACES) {
        rows.push(row(format!("{}: a waker's clone panics", place.0), || clone_panics(place.1())));
        rows.push(row(format!("{}: a replaced waker's drop panics", place.0), || drop_when_replaced_panics(place.1())));
        rows.push(row(format!("{}: a dropped wait's waker's drop panics", place.0), || {
            drop_with_the_wait_panics(place.1(), false)
        }));
        rows.push(row(format!("{}: the same, while unwinding", place.0), || {
            drop_with_the_wait_panics(place.1(), true)
        }));
        rows.push(row(format!("{}: the last waker's drop panics", place.0), || last_wakers_drop_panics(place.1())));
    }
    rows.extend(refused());
    rows
}

/// Catches: a waker whose panic loses the wakes of the others, or that is woken under a lock, in coroutine context or with
/// the others taken out already; a panic that ends a call in flight, a thread, the process.
#[test]
fn w13_wakers_woken() {
    check(wakers_woken);
}

/// Catches: a second panic, which aborts.
#[test]
fn w13_wakers_woken_while_unwinding() {
    check(wakers_woken_while_unwinding);
}

/// Catches: a waker cloned or dropped where it may not panic, or half way through a change.
#[test]
fn w13_wakers_cloned_and_dropped() {
    check(wakers_cloned_and_dropped);
}

/// Catches: a timer's waker that waits for ever for one that was taken out together with it.
#[test]
fn w13_a_timers_waker_may_block_on_another_timer_of_its_batch() {
    common::within_bounds(|| {
        let ctx = entered();
        let (mut first, second) = (Box::pin(ctx.sleep(later())), ctx.sleep(later() + MS));
        let task = ctx.spawn(second);
        let done = Arc::new(AtomicBool::new(false));
        let sets = Arc::clone(&done);
        let wakes = waker(On::Wake, move || {
            plain(task);
            sets.store(true, Ordering::Relaxed);
        });
        assert!(first.as_mut().poll(&mut Context::from_waker(&wakes)).is_pending());
        // The task sleeps from now on.
        ctx.poll(false);
        thread::sleep(later() + 2 * MS);
        ctx.poll(false);
        assert!(done.load(Ordering::Relaxed));
    });
}
