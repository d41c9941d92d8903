//! Random schedules: tasks that sleep, wake each other, move, block and make calls in other contexts, some of which are
//! closed meanwhile.
//!
//! `CO_WRAPPER_SEED=7 CO_WRAPPER_ROUNDS=1000 cargo test -p co-wrapper-runtime --test stress`
//!
//! Without these variables, random seeds are tried for two seconds. Each round has its own seed, which a failure
//! prints. In each round: everything ends within a bound; no task is polled twice at once, or on a thread that is not
//! its context's home; what one thread schedules in one context begins in that order; and if nothing was closed or
//! cancelled, everything finishes.

#![cfg(not(loom))]

mod common;
#[path = "common/rounds.rs"]
mod rounds;

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread::{self, ThreadId},
    time::Duration,
};

use async_channel::{Receiver, Sender, unbounded};
use co_wrapper_runtime::{
    __private::{Wrapper, poll_co_in},
    AioContext, IoThread, reschedule_self,
};
use common::{message_of, mixed};
use fastrand::Rng;
use futures::channel::oneshot;
use rounds::rounds;

/// Less than so many.
fn micros(rng: &mut Rng, below: u64) -> Duration {
    Duration::from_micros(rng.u64(..below))
}

/// A context and the thread that is its home.
#[derive(Clone)]
struct Place {
    context: AioContext,
    thread: ThreadId,
    /// The numbers in which its tasks and bottom halves began.
    begun: Arc<Mutex<Vec<(usize, usize)>>>,
}

/// What the tasks of a round share.
struct Round {
    places: Vec<Place>,
    faults: Mutex<Vec<String>>,
    alive: AtomicUsize,
}

impl Round {
    fn fault(&self, text: String) {
        self.faults.lock().unwrap().push(text);
    }
}

/// A task that looks at how it is polled.
struct Watched<F> {
    round: Arc<Round>,
    number: usize,
    /// Which of the places it is in.
    place: Arc<AtomicUsize>,
    polled: AtomicBool,
    first: bool,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let place = self.round.places[self.place.load(Ordering::Relaxed)].clone();
        if std::mem::take(&mut self.first) {
            place.begun.lock().unwrap().push((TASKS, self.number));
        }
        if self.polled.swap(true, Ordering::AcqRel) {
            self.round.fault(format!("task {} is polled twice at once", self.number));
        }
        if thread::current().id() != place.thread {
            self.round.fault(format!("task {} of {} is polled by {:?}", self.number, place.context, thread::current()));
        }
        let polled = self.future.as_mut().poll(cx);
        if !self.polled.swap(false, Ordering::AcqRel) {
            self.round.fault(format!("task {} was polled twice at once", self.number));
        }
        polled
    }
}

impl<F> Drop for Watched<F> {
    fn drop(&mut self) {
        self.round.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The series that begin in order, each for itself.
const TASKS: usize = 0;
const BOTTOM_HALVES: usize = 1;

#[track_caller]
fn call_in<F: Future<Output: Send>>(context: &AioContext, co: impl FnOnce() -> F + Send) -> F::Output {
    poll_co_in(&Wrapper { name: "call_in", target: "co_call_in", mixed: true }, context, co, |co| co())
}

/// Makes a call into a context that may be closed; false if it was.
fn not_refused(round: &Round, call: impl FnOnce()) -> bool {
    let Err(payload) = catch_unwind(AssertUnwindSafe(call)) else { return true };
    let message = message_of(&*payload);
    if !message.contains("was closed, or its home thread left it")
        && !message.contains("the task was dropped before it finished")
    {
        round.fault(format!("a panic: {message}"));
    }
    false
}

async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

async fn sleep(duration: Duration) {
    let sleep = AioContext::current().sleep(duration);
    sleep.await;
}

/// Blocking calls nested in blocking calls, here and in other contexts, `depth` deep.
fn nest(round: &Round, mut rng: Rng, depth: usize) {
    let duration = micros(&mut rng, 300);
    if depth == 0 {
        return mixed(sleep(duration));
    }
    let there = round.places[rng.usize(..round.places.len())].context.clone();
    let below = rng.fork();
    if rng.usize(..2) == 0 {
        mixed(async {
            sleep(duration).await;
            nest(round, below, depth - 1);
        });
    } else {
        call_in(&there, move || async move {
            sleep(duration).await;
            nest(round, below, depth - 1);
        });
    }
}

/// What a task does; false if a context that it needed was closed.
async fn act(round: Arc<Round>, mut rng: Rng, place: Arc<AtomicUsize>, to: Sender<()>, from: Receiver<()>) -> bool {
    for _ in 0..rng.usize(..8) {
        let other = rng.usize(..round.places.len());
        let there = round.places[other].context.clone();
        match rng.usize(..9) {
            0 => sleep(micros(&mut rng, 500)).await,
            1 => yield_now().await,
            2 | 3 => {
                // Its partner has as many, or ends, or is cancelled, which closes the channel.
                let _ = to.send(()).await;
                let _ = from.recv().await;
            }
            4 => {
                place.store(other, Ordering::Relaxed);
                reschedule_self(&there).await;
            }
            5 => mixed(sleep(micros(&mut rng, 500))),
            6 => {
                let duration = micros(&mut rng, 300);
                let child = there.spawn(async move { sleep(duration).await });
                if !not_refused(&round, || mixed(child)) {
                    return false;
                }
            }
            7 => {
                let (below, depth) = (rng.fork(), rng.usize(..3));
                if !not_refused(&round, || nest(&round, below, depth)) {
                    return false;
                }
            }
            _ => {
                let (done, ran) = oneshot::channel();
                there.schedule_bh(move || {
                    let _ = done.send(());
                });
                let _ = ran.await;
            }
        }
    }
    true
}

fn run(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let mut threads: Vec<_> = (0..1 + rng.usize(..3)).map(|at| IoThread::spawn(&format!("io-{at}")).unwrap()).collect();
    let home = AioContext::new().unwrap();
    let guard = home.enter();
    let thread_of = |context: &AioContext| call_in(context, || async { thread::current().id() });
    let contexts = threads.iter().map(|thread| thread.context().clone()).chain([home.clone()]);
    let places = contexts
        .map(|context| Place { thread: thread_of(&context), context, begun: Arc::default() })
        .collect::<Vec<_>>();
    let round = Arc::new(Round { places, faults: Mutex::default(), alive: AtomicUsize::new(0) });
    let closes = rng.usize(..4) == 0;

    let mut handles = Vec::new();
    for pair in 0..2 + rng.usize(..10) {
        let ((to_a, from_b), (to_b, from_a)) = (unbounded(), unbounded());
        for (half, (to, from)) in [(to_a, from_a), (to_b, from_b)].into_iter().enumerate() {
            let number = pair * 2 + half;
            let at = rng.usize(..round.places.len());
            let place = Arc::new(AtomicUsize::new(at));
            round.alive.fetch_add(1, Ordering::Relaxed);
            let task = Watched {
                round: Arc::clone(&round),
                number,
                place: Arc::clone(&place),
                polled: AtomicBool::new(false),
                first: true,
                future: Box::pin(act(Arc::clone(&round), rng.fork(), place, to, from)),
            };
            handles.push(round.places[at].context.spawn(task));
            let Place { context, begun, .. } = round.places[rng.usize(..round.places.len())].clone();
            context.schedule_bh(move || begun.lock().unwrap().push((BOTTOM_HALVES, number)));
        }
    }
    if rng.usize(..2) == 0 {
        mixed(sleep(micros(&mut rng, 1000)));
    }
    if closes {
        let gone = threads.swap_remove(rng.usize(..threads.len()));
        if rng.usize(..2) == 0 {
            gone.context().close();
        }
        drop(gone);
    }
    for (number, handle) in handles.into_iter().enumerate() {
        match rng.usize(..6) {
            0 => drop(handle),
            1 => _ = not_refused(&round, || _ = mixed(handle.cancel())),
            _ => {
                let mut finished = false;
                let joined = not_refused(&round, || finished = mixed(handle));
                if !(closes || joined && finished) {
                    round.fault(format!("task {number} did not finish: {joined} {finished}"));
                }
            }
        }
    }
    // What was let go ends by itself.
    while round.alive.load(Ordering::Relaxed) > 0 {
        mixed(sleep(Duration::from_micros(200)));
    }
    drop(threads);
    for Place { context, begun, .. } in &round.places {
        // Cancelled before its first poll a task does not begin; those that do keep the order.
        for series in [TASKS, BOTTOM_HALVES] {
            let begun: Vec<_> = begun.lock().unwrap().iter().filter(|(of, _)| *of == series).map(|at| at.1).collect();
            if !begun.is_sorted() {
                round.fault(format!("{context} began {begun:?} of series {series}"));
            }
        }
    }
    drop(guard);
    let faults = round.faults.lock().unwrap();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn random_schedules_end_in_order_and_on_their_threads() {
    rounds(run);
}
