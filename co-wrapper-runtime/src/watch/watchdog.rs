//! The watchdog: a thread that prints a report when a call waits too long, and asks the reactor whether it is well.
//!
//! A debug build that was told nothing is *armed*: it has a limit and no thread. The thread is started once something has
//! been under way for a part of that limit: a call that has slept for so long starts it itself, and for what has blocked
//! before it could sleep a timer on the reactor looks now and then. So a program whose calls are short has no thread more.

use std::{
    env,
    sync::{
        Condvar, Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{heartbeat::Heartbeat, report::Report};
use crate::{reactor, sys::fork, trace};

/// Seconds, a fraction if need be; 0 for no watch.
const VARIABLE: &str = "CO_WRAPPER_HANG_SECS";

/// The limit of a program that was told none.
const DEFAULT: Option<Duration> = if cfg!(debug_assertions) { Some(Duration::from_secs(30)) } else { None };

struct Watch {
    /// How long a call may wait. Nothing while nobody watches.
    limit: Option<Duration>,
    running: bool,
}

static WATCH: Mutex<Watch> = Mutex::new(Watch { limit: None, running: false });
static CHANGED: Condvar = Condvar::new();

/// While there is a limit and no thread: how long something may be under way before that is started, in ns. Else 0. Asked
/// before every sleep.
static FIRST_LOOK: AtomicU64 = AtomicU64::new(0);

fn state() -> MutexGuard<'static, Watch> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints a [report](crate::hang::report) of each call that waits for longer than `limit` to stderr, once a call, from now on,
/// and of what blocks a thread for as long: see [the module](crate::hang). Overrules the environment variable
/// `CO_WRAPPER_HANG_SECS`. A thread `co-wrapper-hang` does it; it does not keep the process alive.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// co_wrapper::hang::watch(Duration::from_secs(60));
/// ```
pub fn watch(limit: Duration) {
    // What the environment says comes first, if at all, and so is overruled.
    at_first_use();
    begin(limit);
}

fn begin(limit: Duration) {
    state().limit = Some(limit);
    start();
}

/// Starts the thread, if there is a limit and no thread.
#[cold]
pub fn start() {
    let mut watch = state();
    CHANGED.notify_one();
    if watch.running || watch.limit.is_none() || fork::is_child() {
        return;
    }
    FIRST_LOOK.store(0, Ordering::Relaxed);
    match thread::Builder::new().name("co-wrapper-hang".into()).spawn(run) {
        Ok(_detached) => watch.running = true,
        Err(error) => eprintln!(
            "co_wrapper: no hang reports: their thread cannot start: {error}; free a thread (ulimit -u), or set \
             {VARIABLE}=0"
        ),
    }
}

/// Looks once, when the process first uses this library, what the environment asks for.
pub fn at_first_use() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let limit = match env::var_os(VARIABLE) {
            None => DEFAULT,
            Some(text) => {
                let seconds = text.to_str().and_then(|text| text.trim().parse().ok()).filter(|seconds| *seconds >= 0.0);
                match seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
                    Some(Duration::ZERO) => None,
                    Some(limit) => return begin(limit),
                    None => {
                        eprintln!(
                            "co_wrapper: {VARIABLE}={} is no number of seconds; set one, such as 30, or 0 for no hang \
                             reports",
                            text.display()
                        );
                        DEFAULT
                    }
                }
            }
        };
        if let Some(limit) = limit {
            state().limit = Some(limit);
            FIRST_LOOK.store(tick(limit).as_nanos().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
            look_now_and_then();
        }
    });
}

/// Has the reactor look now and then, while there is a limit and no thread, whether something blocks before it could sleep.
fn look_now_and_then() {
    if let Some(interval) = first_look() {
        reactor::every(interval, move || {
            let armed = first_look().is_some();
            if armed && !Report::since(interval / 2).is_empty() {
                start();
            }
            armed
        });
    }
}

/// How long something may be under way before the thread is started; nothing if it is not to be started, or runs.
fn first_look() -> Option<Duration> {
    let nanos = FIRST_LOOK.load(Ordering::Relaxed);
    (nanos > 0).then(|| Duration::from_nanos(nanos))
}

/// When a call that goes to sleep now is to [`start`] the thread, if it sleeps for so long.
pub fn first_look_at() -> Option<Instant> {
    Some(Instant::now() + first_look()?)
}

fn tick(limit: Duration) -> Duration {
    (limit / 4).clamp(Duration::from_millis(5), Duration::from_secs(5))
}

fn run() {
    let mut heartbeat = Heartbeat::default();
    let mut watch = state();
    loop {
        let limit = watch.limit.expect("set before this thread is started");
        watch = CHANGED.wait_timeout(watch, tick(limit)).unwrap_or_else(PoisonError::into_inner).0;
        drop(watch);
        look(limit, &mut heartbeat);
        watch = state();
    }
}

fn look(limit: Duration, heartbeat: &mut Heartbeat) {
    let stalled = heartbeat.beat(limit);
    let report = Report::news(limit);
    for call in report.calls() {
        trace::stall(call.name(), call.site(), call.waited());
    }
    if stalled || !report.is_empty() {
        eprintln!("{report}");
    }
}
