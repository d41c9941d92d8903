//! The watchdog: a thread that prints a report when a call waits too long, and asks the reactor whether it is well.

use std::{
    env,
    sync::{
        Condvar, Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::{Report, record::now};
use crate::{reactor::Question, trace};

/// Seconds, a fraction if need be.
const VARIABLE: &str = "CO_WRAPPER_HANG_SECS";

struct Watch {
    /// How long a call may wait. Nothing while nobody watches.
    limit: Option<Duration>,
    running: bool,
}

static WATCH: Mutex<Watch> = Mutex::new(Watch { limit: None, running: false });
static CHANGED: Condvar = Condvar::new();

fn state() -> MutexGuard<'static, Watch> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints a [report](super::report) of each call that waits for longer than `limit` to stderr, once a call, from now on,
/// and names a reactor that is blocked for as long. As the environment variable `CO_WRAPPER_HANG_SECS` does, which this
/// overrules. A thread `co-wrapper-hang` does it; it does not keep the process alive.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// co_wrapper_runtime::hang::watch(Duration::from_secs(60));
/// ```
pub fn watch(limit: Duration) {
    let mut watch = state();
    watch.limit = Some(limit);
    CHANGED.notify_one();
    if watch.running {
        return;
    }
    match thread::Builder::new().name("co-wrapper-hang".into()).spawn(run) {
        Ok(_detached) => watch.running = true,
        Err(error) => eprintln!("co_wrapper: no hang reports: their thread cannot start: {error}"),
    }
}

/// Looks once, when a call of the process waits for the first time, whether the environment asks for a watch.
pub fn at_first_wait() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let Some(text) = env::var_os(VARIABLE) else { return };
        let seconds = text.to_str().and_then(|text| text.trim().parse().ok()).filter(|seconds| *seconds > 0.0);
        match seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
            Some(limit) if state().limit.is_none() => watch(limit),
            Some(_) => {}
            None => eprintln!("co_wrapper: no hang reports: {VARIABLE}={} is no number of seconds", text.display()),
        }
    });
}

/// When the reactor was asked and has not answered for too long, as `now` counts; else 0.
static STALLED_SINCE: AtomicU64 = AtomicU64::new(0);

/// For how long the reactor has not answered, if that is too long.
pub fn stalled_reactor() -> Option<Duration> {
    let since = Some(STALLED_SINCE.load(Ordering::Relaxed)).filter(|since| *since > 0)?;
    Some(Duration::from_nanos(now().saturating_sub(since)))
}

fn run() {
    let mut heartbeat = Heartbeat::default();
    let mut watch = state();
    loop {
        let limit = watch.limit.expect("set before this thread is started");
        let tick = (limit / 4).clamp(Duration::from_millis(5), Duration::from_secs(1));
        watch = CHANGED.wait_timeout(watch, tick).unwrap_or_else(PoisonError::into_inner).0;
        drop(watch);
        look(limit, &mut heartbeat);
        watch = state();
    }
}

fn look(limit: Duration, heartbeat: &mut Heartbeat) {
    let stalled = heartbeat.beat(limit);
    let report = Report::take(|record, seen| seen.waited >= limit && record.is_news(seen.version));
    for call in report.calls() {
        trace::stall(call.name(), call.site(), call.waited());
    }
    if stalled || !report.calls().is_empty() {
        eprintln!("{report}");
    }
}

/// A question to the reactor, one at a time.
#[derive(Default)]
struct Heartbeat {
    /// When it was asked, and what.
    asked: Option<(u64, Question)>,
}

impl Heartbeat {
    /// Whether a worker of the reactor is late now and none was before.
    fn beat(&mut self, limit: Duration) -> bool {
        if let Some((at, question)) = &self.asked {
            if !question.is_answered() {
                let late = Duration::from_nanos(now().saturating_sub(*at)) >= limit;
                return late && STALLED_SINCE.swap(*at, Ordering::Relaxed) == 0;
            }
            STALLED_SINCE.store(0, Ordering::Relaxed);
        }
        self.asked = Question::ask().map(|question| (now().max(1), question));
        false
    }
}
