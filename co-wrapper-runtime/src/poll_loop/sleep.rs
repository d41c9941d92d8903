//! How an idle loop waits: it spins for a while if that has paid lately, then sleeps. If the loop stops an outer
//! scheduler that keeps wakes back, it polls *unasked* from time to time, that is, without a wake. Watched descriptors
//! end the sleep when they are ready.
//!
//! Invariant: all flags are checked a last time after the parker's last token was taken and before the thread sleeps,
//! so no wake is lost (`sys/park.rs`). Nothing is run here.

use std::{
    hint,
    time::{Duration, Instant},
};

use crate::{
    context::{AioContext, handlers::Watch},
    reactor::Stopped,
    thread::{homes::served, state::Thread},
    trace,
    watch::watchdog,
};

/// How often a future is polled unasked if an outer scheduler keeps wakes back: the first interval and the longest.
const REPOLL_FIRST: Duration = Duration::from_micros(50);
const REPOLL_MOST: Duration = Duration::from_millis(1);

pub struct Sleeper<'a> {
    thread: &'a Thread,
    /// The interval to the next unasked poll. It grows while they have no effect; `None` if none are needed.
    every: Option<Duration>,
    /// When all tasks were last woken unasked, if the loop has not come back since.
    woke_all: Option<Instant>,
    /// The earliest time to do so again.
    tasks_due: Option<Instant>,
}

impl<'a> Sleeper<'a> {
    /// For a loop that stops `stopped`. An outer scheduler that is stopped may keep wakes back until the loop returns.
    pub fn new(thread: &'a Thread, stopped: Stopped) -> Self {
        Self { thread, every: (stopped != Stopped::Nothing).then_some(REPOLL_FIRST), woke_all: None, tasks_due: None }
    }

    /// Something moved, which shortens the interval again, unless it was tasks that were woken unasked.
    pub fn moved(&mut self) {
        if self.woke_all.is_none()
            && let Some(every) = &mut self.every
        {
            *every = REPOLL_FIRST;
        }
    }

    /// Waits until something may have come in, at most until `until`. `woken` says whether the caller's future was
    /// woken. Returns whether to poll the future unasked.
    pub fn sleep(&mut self, until: Option<Instant>, woken: impl Fn() -> bool) -> bool {
        if let Some(woke_all) = self.woke_all.take() {
            // However many tasks there are, polling them unasked takes at most a tenth of the time.
            self.tasks_due = Some(Instant::now() + woke_all.elapsed() * 9);
        }
        if self.take_notified() {
            return false;
        }
        let mut watch = Watch::default();
        served(&self.thread.homes, |context| watch.add(context.handlers()));
        let repoll = self.every.map(|every| Instant::now() + every);
        let timer = self.next_timer();
        let wake_up = [until, repoll, timer].into_iter().flatten().min();
        self.spin_or_park(&watch, wake_up, woken);
        let (Some(every), Some(due)) = (&mut self.every, repoll) else { return false };
        let now = Instant::now();
        if now < due {
            return false;
        }
        *every = (*every * 2).min(REPOLL_MOST);
        // The tasks' wakes may be kept back too.
        if self.tasks_due.is_none_or(|due| now >= due) {
            self.woke_all = Some(now);
            served(&self.thread.homes, |context| context.scheduler().wake_all());
        }
        true
    }

    fn spin_or_park(&self, watch: &Watch, wake_up: Option<Instant>, woken: impl Fn() -> bool) {
        // This is the last check. After it only other threads, whose wakes give a token, or a tracing subscriber (see
        // `park`) can wake us.
        if woken() {
            return;
        }
        // The current context decides; a thread that entered none does not spin.
        let Some(context) = self.thread.entered() else {
            return self.park(watch, wake_up, woken);
        };
        if !context.spin().learns() {
            context.counters().parks.count();
            return self.park(watch, wake_up, woken);
        }
        let budget = context.spin().budget();
        let start = Instant::now();
        // Never past the next deadline, which ends the wait anyway.
        let spins = !budget.is_zero() && wake_up.is_none_or(|wake_up| start + budget < wake_up);
        if spins {
            context.counters().spins.count();
        }
        let paid = spins && self.spin(watch, start + budget, &woken);
        if paid {
            context.counters().spins_paid.count();
        } else {
            context.counters().parks.count();
            self.park(watch, wake_up, woken);
        }
        context.spin().adapt(start.elapsed(), spins.then_some(paid));
    }

    fn park(&self, watch: &Watch, wake_up: Option<Instant>, woken: impl Fn() -> bool) {
        trace::park();
        // A wake that a subscriber makes on this thread gives no token.
        if woken() || self.is_notified() {
            return;
        }
        // For a call only: a `poll` may wait for anything at all, so it is not reported.
        let first_look = if self.thread.waits() { watchdog::first_look_at() } else { None };
        let wake_up = [wake_up, first_look].into_iter().flatten().min();
        self.thread.stack.board.parked(|| watch.sleep(&self.thread.parker, wake_up));
        if first_look.is_some_and(|look| Instant::now() >= look) {
            watchdog::start();
        }
    }

    /// Spins until `end`; true if something came in.
    fn spin(&self, watch: &Watch, end: Instant, woken: impl Fn() -> bool) -> bool {
        loop {
            for _ in 0..64 {
                if woken() || self.is_notified() {
                    return true;
                }
                hint::spin_loop();
            }
            if watch.is_ready() {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
        }
    }

    /// Whether any context served was notified since this was last called.
    fn take_notified(&self) -> bool {
        self.any(|context| context.scheduler().take_notified())
    }

    fn is_notified(&self) -> bool {
        self.any(|context| context.scheduler().is_notified())
    }

    fn next_timer(&self) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        served(&self.thread.homes, |context| {
            next = [next, context.scheduler().timers().next()].into_iter().flatten().min()
        });
        next
    }

    /// Calls `ask` for every context, even after the first true, because asking may change its state.
    fn any(&self, ask: impl Fn(&AioContext) -> bool) -> bool {
        let mut any = false;
        served(&self.thread.homes, |context| any |= ask(context));
        any
    }
}
