//! The watchdog: a thread that prints a report when a call waits too long, and checks whether the reactor makes
//! progress.
//!
//! By default a debug build is *armed*: it has a limit but no thread. The thread is started when something has lasted
//! for a part of that limit. A call that sleeps for so long starts it; a timer on the reactor checks for what blocks
//! before it could sleep. So a program whose calls are short has no additional thread.

use std::{
    env,
    sync::{
        Condvar, Mutex, Once, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    record::{lock, now},
    report::{Report, STALLED_SINCE},
};
use crate::{
    reactor::{self, Question},
    sys::fork,
    trace,
};

/// The limit in seconds, possibly with a fraction; 0 switches the watchdog off.
const VARIABLE: &str = "CO_WRAPPER_HANG_SECS";

/// The limit if the program sets none.
const DEFAULT: Option<Duration> = if cfg!(debug_assertions) { Some(Duration::from_secs(30)) } else { None };

struct Watch {
    /// How long a call may wait; `None` while the watchdog is off.
    limit: Option<Duration>,
    running: bool,
}

static WATCH: Mutex<Watch> = Mutex::new(Watch { limit: None, running: false });
static CHANGED: Condvar = Condvar::new();

/// While armed: for how long something may last before the thread is started, in ns; else 0. Read before every sleep.
static FIRST_LOOK: AtomicU64 = AtomicU64::new(0);

/// Switches the watchdog on: it prints to stderr a [report](crate::hang::report) of each call that waits longer than
/// `limit`, once per call, and of what blocks a thread for as long; see [the module](crate::hang). Overrides the
/// environment variable `CO_WRAPPER_HANG_SECS`. The thread is named `co-wrapper-hang` and does not keep the process
/// alive.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// co_wrapper::hang::watch(Duration::from_secs(60));
/// ```
pub fn watch(limit: Duration) {
    // The environment is read first, so that this overrides it.
    at_first_use();
    begin(limit);
}

fn begin(limit: Duration) {
    lock(&WATCH).limit = Some(limit);
    start();
}

/// Starts the thread, if the watchdog has a limit and no thread.
#[cold]
pub fn start() {
    let mut watch = lock(&WATCH);
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

/// Reads the environment, once, when the process first uses this library.
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
            lock(&WATCH).limit = Some(limit);
            FIRST_LOOK.store(tick(limit).as_nanos().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
            look_now_and_then();
        }
    });
}

/// While armed, has the reactor check periodically whether something blocks that did not sleep first.
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

/// For how long something may last before the thread is started; `None` unless armed.
fn first_look() -> Option<Duration> {
    let nanos = FIRST_LOOK.load(Ordering::Relaxed);
    (nanos > 0).then(|| Duration::from_nanos(nanos))
}

/// When a call that goes to sleep now must call [`start`] if it still sleeps; `None` unless armed.
pub fn first_look_at() -> Option<Instant> {
    Some(Instant::now() + first_look()?)
}

fn tick(limit: Duration) -> Duration {
    (limit / 4).clamp(Duration::from_millis(5), Duration::from_secs(5))
}

fn run() {
    let mut asked = None;
    let mut watch = lock(&WATCH);
    let limit = |watch: &Watch| watch.limit.expect("set before this thread is started");
    loop {
        let tick = tick(limit(&watch));
        watch = CHANGED.wait_timeout(watch, tick).unwrap_or_else(PoisonError::into_inner).0;
        // It may have been changed meanwhile.
        let limit = limit(&watch);
        drop(watch);
        look(limit, &mut asked);
        watch = lock(&WATCH);
    }
}

/// Checks whether the reactor has answered what it was asked, and asks again. Returns whether a worker of it has just become
/// late. `asked` is the open question, and when it was asked.
fn beat(asked: &mut Option<(u64, Question)>, limit: Duration) -> bool {
    if let Some((at, question)) = asked {
        if !question.is_answered() {
            let late = Duration::from_nanos(now().saturating_sub(*at)) >= limit;
            return late && STALLED_SINCE.swap(*at, Ordering::Relaxed) == 0;
        }
        STALLED_SINCE.store(0, Ordering::Relaxed);
    }
    *asked = Question::ask().map(|question| (now(), question));
    false
}

fn look(limit: Duration, asked: &mut Option<(u64, Question)>) {
    let stalled = beat(asked, limit);
    let report = Report::news(limit);
    for call in report.calls() {
        trace::stall(call.name(), call.site(), call.waited());
    }
    if stalled || !report.is_empty() {
        eprintln!("{report}");
    }
}
