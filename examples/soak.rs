//! Everything at once, for as long as one likes, with the books kept.
//!
//! `cargo run --release --example soak -- --seconds 60 [--seed 7]`
//!
//! Callers block in contexts that are opened and closed under them; what they call nests, moves, times out, is
//! cancelled and dropped. Coroutines wait for each other, nest, panic and are dropped. Each call is a [`Ticket`],
//! settled exactly once: answered, cancelled or refused (the documented panic of a closed context). At the end none may
//! be lost, and no stack, descriptor or memory may be left over. It never hangs: when no call is settled for ten
//! seconds it prints what waits and ends.

mod long_run;

use std::{
    any::Any,
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    panic::{self, AssertUnwindSafe, Location, catch_unwind},
    process::{self, ExitCode},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use co_wrapper::{
    __private::{Wrapper, poll_co_in, poll_co_in_timeout, poll_co_timeout},
    AioContext, Coroutine, Elapsed, IoThread, block_on, co_wrapper, hang, reschedule_self,
};
use fastrand::Rng;
use futures::channel::oneshot;
use long_run::{arguments, fds};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// How many threads call.
const CALLERS: usize = 4;
/// How many contexts stay open.
const FIXED: usize = 3;
/// How many are opened and closed all the time.
const CHURNED: usize = 2;
/// How much more memory may be in use after the last round than after the warm-up.
const RSS_BOUND_KIB: u64 = 8 * 1024;
/// How long no call may be settled, and how long descriptors may take to be closed: also on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

// The books.

static MADE: AtomicU64 = AtomicU64::new(0);
static ANSWERED: AtomicU64 = AtomicU64::new(0);
static CANCELLED: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);
/// Panics that no documentation announces, and wrong answers.
static WRONG: AtomicU64 = AtomicU64::new(0);

fn settled() -> u64 {
    [&ANSWERED, &CANCELLED, &REFUSED].iter().map(|count| count.load(Ordering::SeqCst)).sum()
}

/// The unsettled ones, by the line of this file that made them: where to look for those that are lost.
static OPEN: Mutex<BTreeMap<u32, i64>> = Mutex::new(BTreeMap::new());

fn count_open(line: u32, by: i64) {
    *OPEN.lock().unwrap().entry(line).or_default() += by;
}

/// One call, until it is settled.
struct Ticket {
    line: u32,
    /// What it counts as when it is dropped.
    outcome: &'static AtomicU64,
}

impl Ticket {
    /// One that nobody cancels: unanswered it was refused.
    #[track_caller]
    fn new() -> Self {
        let line = Location::caller().line();
        MADE.fetch_add(1, Ordering::SeqCst);
        count_open(line, 1);
        Self { line, outcome: &REFUSED }
    }

    /// One that may be cancelled.
    #[track_caller]
    fn fickle() -> Self {
        let mut ticket = Self::new();
        ticket.outcome = &CANCELLED;
        ticket
    }

    fn answer(mut self) {
        self.outcome = &ANSWERED;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.outcome.fetch_add(1, Ordering::SeqCst);
        count_open(self.line, -1);
    }
}

/// Whether a panic is the one that a closed context is documented to end in.
fn is_refusal(payload: &(dyn Any + Send)) -> bool {
    let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref().copied()).unwrap_or("");
    text.contains("was closed, or its home thread left it") || text.contains("the task was dropped before it finished")
}

/// Makes a call into a context that may be closed under it.
fn refusable<T>(call: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(answer) => Some(answer),
        Err(payload) => {
            if !is_refusal(&*payload) {
                WRONG.fetch_add(1, Ordering::SeqCst);
            }
            None
        }
    }
}

fn check(right: bool, what: &str) {
    if !right {
        eprintln!("soak: wrong: {what}");
        WRONG.fetch_add(1, Ordering::SeqCst);
    }
}

// What is called.

/// Less than so many.
fn micros(rng: &mut Rng, below: u64) -> Duration {
    Duration::from_micros(rng.u64(..below))
}

/// The contexts of one round.
struct World {
    fixed: Vec<AioContext>,
    /// Opened and closed under load, by [`churn`].
    churned: [Mutex<AioContext>; CHURNED],
    /// Whoever calls into it is its home for as long.
    homeless: Mutex<AioContext>,
    echo: SocketAddr,
    stop: AtomicBool,
}

impl World {
    fn fixed(&self, rng: &mut Rng) -> AioContext {
        self.fixed[rng.usize(..FIXED)].clone()
    }

    /// Any context that has a home, or had.
    fn any(&self, rng: &mut Rng) -> AioContext {
        match rng.usize(..FIXED + CHURNED) {
            at if at < CHURNED => self.churned[at].lock().unwrap().clone(),
            at => self.fixed[at - CHURNED].clone(),
        }
    }
}

/// As with `#[co_wrapper(mixed, ctx = context)]`.
#[track_caller]
fn call_in<F: Future<Output: Send>>(context: &AioContext, co: impl FnOnce() -> F + Send) -> F::Output {
    poll_co_in(&Wrapper { name: "call_in", target: "co_call_in", mixed: true }, context, co, |co| co())
}

/// As with `#[co_wrapper(mixed, ctx = context, timeout)]`.
#[track_caller]
fn call_in_timeout<F: Future<Output: Send>>(
    context: &AioContext,
    timeout: Duration,
    co: impl FnOnce() -> F + Send,
) -> Result<F::Output, Elapsed> {
    let wrapper = &Wrapper { name: "call_in_timeout", target: "co_call_in_timeout", mixed: true };
    poll_co_in_timeout(wrapper, context, timeout, co, |co| co())
}

/// As with `#[co_wrapper(timeout)]`.
#[track_caller]
fn nap_timeout(timeout: Duration, rng: Rng, ticket: Ticket) -> Result<(), Elapsed> {
    let wrapper = &Wrapper { name: "nap_timeout", target: "co_nap", mixed: false };
    poll_co_timeout(wrapper, timeout, (rng, ticket), |(rng, ticket)| co_nap(rng, ticket))
}

/// Waits in one of the ways in which one can, or not at all.
async fn co_rest(rng: &mut Rng) {
    match rng.u64(..5) {
        0 => {}
        1 => {
            // Not in one expression: the handle would live across the await, and a task that holds its own context
            // keeps it, and so itself, when nobody polls it any more.
            let sleep = AioContext::current().sleep(micros(rng, 400));
            sleep.await
        }
        2 => tokio::time::sleep(micros(rng, 400)).await,
        3 => tokio::task::yield_now().await,
        _ => check(tokio::spawn(async { 7 }).await.is_ok_and(|seven| seven == 7), "a tokio task's answer"),
    }
}

#[co_wrapper]
async fn co_nap(mut rng: Rng, ticket: Ticket) {
    co_rest(&mut rng).await;
    ticket.answer();
}

/// Mixed wrappers nested in mixed wrappers, here and in other contexts.
#[co_wrapper(mixed)]
async fn co_nest(world: &World, mut rng: Rng, depth: u64) -> u64 {
    co_rest(&mut rng).await;
    if depth == 0 {
        return 0;
    }
    let below = rng.fork();
    let deeper = if rng.u64(..2) == 0 {
        nest(world, below, depth - 1)
    } else {
        let there = world.fixed(&mut rng);
        call_in(&there, move || async move { nest(world, below, depth - 1) })
    };
    co_rest(&mut rng).await;
    deeper + 1
}

#[co_wrapper(mixed)]
async fn co_echo(stream: &mut TcpStream, text: &[u8]) -> bool {
    let mut back = vec![0; text.len()];
    stream.write_all(text).await.is_ok() && stream.read_exact(&mut back).await.is_ok() && back == text
}

#[co_wrapper(mixed)]
async fn co_connect(echo: SocketAddr) -> TcpStream {
    TcpStream::connect(echo).await.expect("the echo server listens")
}

/// A coroutine that leaves nothing in a thread-local while it waits.
fn coroutine<R: 'static>(code: impl FnOnce() -> R + 'static) -> Coroutine<R> {
    // SAFETY: as above.
    unsafe { Coroutine::new(code) }
}

/// One caller: its random numbers, and a socket that every context uses in turn.
struct Caller {
    world: Arc<World>,
    rng: Rng,
    stream: Option<TcpStream>,
}

impl Caller {
    fn run(mut self) {
        while !self.world.stop.load(Ordering::Relaxed) {
            match self.rng.u64(..18) {
                0 => self.ready(),
                1 => nap(self.rng.fork(), Ticket::new()),
                2 => self.nested(),
                3 => self.elsewhere(),
                4 => self.timed_out(),
                5 => self.timed_out_elsewhere(),
                6 => self.spawned(),
                7 => self.cancelled(),
                8 => self.dropped(),
                9 => self.bottom_half(),
                10 => self.moves(),
                11 => self.socket(),
                12 => self.homeless(),
                13 => self.coroutines_of_one_thread(),
                14 => self.coroutine_of_a_context(),
                15 => self.coroutines_that_are_dropped(),
                16 => self.coroutine_that_panics(),
                _ => self.own_context(),
            }
        }
    }

    fn ready(&mut self) {
        #[co_wrapper]
        async fn co_ready(ticket: Ticket, value: u64) -> u64 {
            ticket.answer();
            value
        }
        let value = self.rng.u64(..);
        check(ready(Ticket::new(), value) == value, "a ready call's answer");
    }

    fn nested(&mut self) {
        let ticket = Ticket::new();
        let depth = self.rng.u64(..4);
        check(nest(&self.world, self.rng.fork(), depth) == depth, "a nested call's answer");
        ticket.answer();
    }

    /// Arguments are borrowed from here, the future lives there, with a `!Send` task of its own.
    fn elsewhere(&mut self) {
        let (there, mut rng, ticket) = (self.world.any(&mut self.rng), self.rng.fork(), Ticket::new());
        let (value, borrowed) = (self.rng.u64(..), vec![self.rng.u64(..); 8]);
        let text = &borrowed;
        let sum = refusable(|| {
            call_in(&there, move || async move {
                let shared = std::rc::Rc::new(value);
                let local = AioContext::current().spawn_local({
                    let (shared, mut rng) = (shared.clone(), rng.fork());
                    async move {
                        co_rest(&mut rng).await;
                        *shared
                    }
                });
                co_rest(&mut rng).await;
                let sum = local.await.wrapping_add(text[7]);
                ticket.answer();
                sum
            })
        });
        check(sum.is_none_or(|sum| sum == value.wrapping_add(borrowed[7])), "a call's answer from elsewhere");
    }

    fn timed_out(&mut self) {
        let timeout = micros(&mut self.rng, 400);
        let _ = nap_timeout(timeout, self.rng.fork(), Ticket::fickle());
    }

    fn timed_out_elsewhere(&mut self) {
        let (there, timeout, rng) = (self.world.any(&mut self.rng), micros(&mut self.rng, 600), self.rng.fork());
        let ticket = Ticket::fickle();
        refusable(|| call_in_timeout(&there, timeout, move || co_nap(rng, ticket)).is_ok());
    }

    fn spawned(&mut self) {
        let (there, mut rng, ticket) = (self.world.any(&mut self.rng), self.rng.fork(), Ticket::new());
        let task = there.spawn(async move {
            co_rest(&mut rng).await;
            ticket.answer();
        });
        refusable(|| AioContext::current().block_on(task));
    }

    fn cancelled(&mut self) {
        let (there, mut rng, ticket) = (self.world.any(&mut self.rng), self.rng.fork(), Ticket::fickle());
        let task = there.spawn(async move {
            co_rest(&mut rng).await;
            ticket.answer();
        });
        if self.rng.u64(..2) == 0 {
            thread::sleep(micros(&mut self.rng, 200));
        }
        let cancel = task.cancel();
        // Dropped unpolled it cancels too.
        if self.rng.u64(..4) != 0 {
            refusable(|| AioContext::current().block_on(cancel));
        }
    }

    fn dropped(&mut self) {
        let (there, rng, ticket) = (self.world.any(&mut self.rng), self.rng.fork(), Ticket::new());
        drop(there.spawn(co_nap(rng, ticket)));
    }

    fn bottom_half(&mut self) {
        let (there, ticket) = (self.world.any(&mut self.rng), Ticket::fickle());
        if self.rng.u64(..2) == 0 {
            let (done, ran) = oneshot::channel();
            there.schedule_bh(move || {
                ticket.answer();
                // Whoever waits may have been refused.
                let _ = done.send(());
            });
            let _ = AioContext::current().block_on(ran);
        } else {
            let mut ticket = Some(ticket);
            let bottom_half = there.bh(move || ticket.take().into_iter().for_each(Ticket::answer));
            bottom_half.schedule();
            if self.rng.u64(..2) == 0 {
                thread::sleep(micros(&mut self.rng, 100));
            }
            bottom_half.cancel();
        }
    }

    /// A task that goes from thread to thread.
    fn moves(&mut self) {
        let ticket = Ticket::new();
        let stops: Vec<_> = (0..self.rng.u64(..6)).map(|_| self.world.any(&mut self.rng)).collect();
        let (there, mut rng) = (self.world.fixed(&mut self.rng), self.rng.fork());
        let task = there.spawn(async move {
            for stop in stops {
                reschedule_self(&stop).await;
                let here = thread::current();
                check(here.name().is_some_and(|name| stop.to_string().contains(name)), "the thread moved to");
                co_rest(&mut rng).await;
            }
            ticket.answer();
        });
        refusable(|| AioContext::current().block_on(task));
    }

    /// One socket, used in every context.
    fn socket(&mut self) {
        let ticket = Ticket::new();
        let mut stream = self.stream.take().unwrap_or_else(|| connect(self.world.echo));
        let text = vec![self.rng.u8(..); 1 + self.rng.usize(..64)];
        let there = self.world.any(&mut self.rng);
        let answer = if self.rng.u64(..2) == 0 {
            Some(echo(&mut stream, &text))
        } else {
            let (stream, text) = (&mut stream, &text);
            refusable(|| call_in(&there, move || co_echo(stream, text)))
        };
        check(answer != Some(false), "an echo");
        if answer.is_some() {
            ticket.answer();
            // What a refused call left half read is no use any more.
            self.stream = (self.rng.u64(..64) != 0).then_some(stream);
        }
    }

    fn homeless(&mut self) {
        let (there, rng, ticket) = (self.world.homeless.lock().unwrap().clone(), self.rng.fork(), Ticket::new());
        refusable(|| call_in(&there, move || co_nap(rng, ticket)));
    }

    /// Coroutines that wait for each other, nest and make others, on this thread.
    fn coroutines_of_one_thread(&mut self) {
        let (first, last) = async_channel::bounded(1);
        let mut all = Vec::new();
        let mut before = last;
        for _ in 0..self.rng.usize(1..8) {
            let (after, next) = async_channel::bounded(1);
            let (mut rng, ticket, world) = (self.rng.fork(), Ticket::new(), Arc::clone(&self.world));
            all.push(coroutine(move || {
                let value: u64 = block_on(before.recv()).expect("sent below");
                let depth = rng.u64(..3);
                check(nest(&world, rng.fork(), depth) == depth, "a nested call's answer in a coroutine");
                let (inner, mut inner_rng) = (Ticket::new(), rng.fork());
                block_on(coroutine(move || {
                    block_on(co_rest(&mut inner_rng));
                    inner.answer();
                }));
                let _ = after.try_send(value + 1);
                ticket.answer();
            }));
            before = next;
        }
        let many = all.len() as u64;
        first.try_send(0).expect("it is empty");
        block_on(futures::future::join_all(all));
        check(before.try_recv() == Ok(many), "what coroutines passed on");
    }

    /// A coroutine as a task of any context, which may be closed under it.
    fn coroutine_of_a_context(&mut self) {
        let (here, there) = (self.world.any(&mut self.rng), self.world.any(&mut self.rng));
        let (mut rng, ticket, inner) = (self.rng.fork(), Ticket::new(), Ticket::new());
        // SAFETY: it leaves nothing in a thread-local while it waits.
        let task = unsafe {
            here.spawn_coroutine(move || {
                block_on(co_rest(&mut rng));
                let rest = rng.fork();
                if let Err(payload) = catch_unwind(AssertUnwindSafe(|| call_in(&there, move || co_nap(rest, inner))))
                    && !is_refusal(&*payload)
                {
                    // The coroutine is dropped.
                    panic::resume_unwind(payload);
                }
                nap(rng.fork(), ticket);
            })
        };
        match self.rng.u64(..3) {
            0 => drop(task),
            1 => _ = refusable(|| block_on(task)),
            _ => _ = refusable(|| block_on(task.cancel())),
        }
    }

    /// Some are polled before they are dropped, and their destructors make calls.
    fn coroutines_that_are_dropped(&mut self) {
        struct Naps(Rng);
        impl Drop for Naps {
            fn drop(&mut self) {
                let ticket = Ticket::new();
                nap(self.0.fork(), ticket);
            }
        }
        for _ in 0..self.rng.usize(1..8) {
            let (mut rng, ticket) = (self.rng.fork(), Ticket::fickle());
            let there = self.world.fixed(&mut self.rng);
            let mut waits = coroutine(move || {
                let _naps = Naps(rng.fork());
                block_on(co_rest(&mut rng));
                let rest = rng.fork();
                call_in(&there, move || co_nap(rest, ticket));
            });
            let polls = self.rng.u64(..3);
            block_on(async {
                for _ in 0..polls {
                    if futures::poll!(&mut waits).is_ready() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                drop(waits);
            });
        }
    }

    fn coroutine_that_panics(&mut self) {
        let (mut rng, ticket) = (self.rng.fork(), Ticket::new());
        let panics = coroutine(move || {
            block_on(co_rest(&mut rng));
            ticket.answer();
            panic::resume_unwind(Box::new(7_u8));
        });
        let panicked = catch_unwind(AssertUnwindSafe(|| block_on(panics)));
        check(panicked.is_err_and(|payload| payload.is::<u8>()), "a coroutine's panic");
    }

    /// A context of one's own, left with work in it.
    fn own_context(&mut self) {
        let context = AioContext::new().expect("a context");
        let guard = context.enter();
        let (mut rng, ticket) = (self.rng.fork(), Ticket::fickle());
        let local = context.spawn_local({
            let rc = std::rc::Rc::new(3);
            async move {
                co_rest(&mut rng).await;
                ticket.answer();
                *rc
            }
        });
        drop(context.spawn(co_nap(self.rng.fork(), Ticket::fickle())));
        context.poll(false);
        if self.rng.u64(..2) == 0 {
            check(context.block_on(local) == 3, "a local task's answer");
        }
        if self.rng.u64(..2) == 0 {
            context.close();
        }
        drop(guard);
    }
}

/// Opens and closes contexts under those who call into them.
fn churn(world: &World, mut rng: Rng) {
    let mut threads: Vec<_> = (0..CHURNED).map(|_| None::<IoThread>).collect();
    while !world.stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(1 + rng.u64(..10)));
        let at = rng.usize(..CHURNED);
        let new = IoThread::spawn("churned").expect("a thread");
        *world.churned[at].lock().unwrap() = new.context().clone();
        let Some(old) = threads[at].replace(new) else { continue };
        if rng.u64(..2) == 0 {
            old.context().close();
        }
        if rng.u64(..2) == 0 {
            old.join();
        }
        drop(old);
        if rng.u64(..4) == 0 {
            let new = AioContext::new().expect("a context");
            std::mem::replace(&mut *world.homeless.lock().unwrap(), new).close();
        }
    }
}

/// A server that sends back what it gets, in a context of its own.
fn serve_echo(context: &AioContext) -> SocketAddr {
    call_in(context, || async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("its address");
        AioContext::current().spawn_local(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                AioContext::current().spawn_local(async move {
                    let mut buf = [0; 64];
                    while let Ok(n @ 1..) = stream.read(&mut buf).await {
                        if stream.write_all(&buf[..n]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        address
    })
}

/// Everything from nothing to nothing.
fn round(time: Duration, rng: &mut Rng) {
    let threads: Vec<_> = (0..FIXED).map(|at| IoThread::spawn(&format!("fixed-{at}")).expect("a thread")).collect();
    let server = IoThread::spawn("echo").expect("a thread");
    let closed = || {
        let context = AioContext::new().expect("a context");
        context.close();
        Mutex::new(context)
    };
    let world = Arc::new(World {
        fixed: threads.iter().map(|thread| thread.context().clone()).collect(),
        churned: std::array::from_fn(|_| closed()),
        homeless: closed(),
        echo: serve_echo(server.context()),
        stop: AtomicBool::new(false),
    });
    let mut all: Vec<_> = (0..CALLERS)
        .map(|at| {
            let caller = Caller { world: Arc::clone(&world), rng: rng.fork(), stream: None };
            thread::Builder::new().name(format!("caller-{at}")).spawn(|| caller.run()).expect("a thread")
        })
        .collect();
    let (churned, churner) = (Arc::clone(&world), rng.fork());
    all.push(thread::spawn(move || churn(&churned, churner)));
    thread::sleep(time);
    world.stop.store(true, Ordering::Relaxed);
    for thread in all {
        if thread.join().is_err() {
            WRONG.fetch_add(1, Ordering::SeqCst);
        }
    }
    world.homeless.lock().unwrap().close();
    drop(threads);
}

// What is in use.

fn rss_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

/// What is in use once what closes by itself has closed: the reactor's worker takes a while, for which is waited until there
/// are no more descriptors than `expected`.
fn in_use(expected: Option<usize>) -> (u64, usize) {
    let (mut least, begun) = (fds(), Instant::now());
    for round in 0.. {
        let is_expected = expected.is_none_or(|expected| least <= expected);
        if round >= 20 && is_expected || begun.elapsed() > PATIENCE {
            break;
        }
        thread::sleep(Duration::from_millis(10));
        least = least.min(fds());
    }
    (rss_kib(), least)
}

fn watch() {
    let (mut seen, mut since) = (settled(), Instant::now());
    loop {
        thread::sleep(Duration::from_millis(250));
        let now = settled();
        if now != seen {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() > PATIENCE {
            eprintln!(
                "soak: no call was settled for {PATIENCE:?}; {} made, {now} settled",
                MADE.load(Ordering::SeqCst)
            );
            eprintln!("{}", hang::report());
            process::exit(3);
        }
    }
}

fn main() -> ExitCode {
    let (seconds, seed) = match arguments("soak") {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    println!("seed {seed}");
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !is_refusal(info.payload()) {
            WRONG.fetch_add(1, Ordering::SeqCst);
            hook(info);
        }
    }));
    thread::spawn(watch);

    let mut rng = Rng::with_seed(seed);
    let (warm_up, most) = (Duration::from_secs((seconds / 5).clamp(1, 30)), Duration::from_secs(60));
    round(warm_up, &mut rng);
    let (rss_before, fds_before) = in_use(None);
    let mut left = Duration::from_secs(seconds).saturating_sub(warm_up);
    while !left.is_zero() {
        let time = left.min(most);
        round(time, &mut rng);
        left -= time;
    }
    let (rss, fds) = in_use(Some(fds_before));

    let [made, answered, cancelled, refused, wrong] =
        [&MADE, &ANSWERED, &CANCELLED, &REFUSED, &WRONG].map(|count| count.load(Ordering::SeqCst));
    let lost = made.wrapping_sub(answered + cancelled + refused) as i64;
    println!("made {made}\nanswered {answered}\ncancelled {cancelled}\nrefused {refused}\nlost {lost}\nwrong {wrong}");
    for (line, count) in OPEN.lock().unwrap().iter().filter(|(_, count)| **count != 0) {
        println!("lost of line {line}: {count}");
    }
    println!("rss {rss_before} KiB after the warm-up, {rss} KiB at the end, {RSS_BOUND_KIB} KiB more allowed");
    println!("fds {fds_before} after the warm-up, {fds} at the end");
    let leaked = AioContext::current().stats().tasks_leaked;
    println!("leaked {leaked}");
    let stacks = Coroutine::stacks();
    println!("stacks {} made, {} freed, {} pooled, {} kept", stacks.made, stacks.freed, stacks.pooled, stacks.kept);
    let lost_stacks = stacks.made - stacks.freed - stacks.pooled - stacks.kept;
    println!("stacks lost {lost_stacks}");
    let sound = lost == 0
        && lost_stacks == 0
        && stacks.kept == 0
        && wrong == 0
        && leaked == 0
        && fds <= fds_before
        && rss <= rss_before + RSS_BOUND_KIB;
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
