//! How a loop that found nothing waits: it spins a while if that has paid lately, then sleeps; and where a scheduler above
//! keeps wakes back, it looks unasked from time to time. Descriptors that are watched for a handler which could run end
//! the sleep when they are ready.

use std::{
    hint,
    time::{Duration, Instant},
};

use crate::{
    context::{AioContext, handlers::Watch},
    reactor::Below,
    thread::{homes::served, state::Thread},
    trace,
    watch::watchdog,
};

/// How often a future is polled unasked under a scheduler that keeps wakes back: first and at most.
const REPOLL_FIRST: Duration = Duration::from_micros(50);
const REPOLL_MOST: Duration = Duration::from_millis(1);

pub struct Sleeper<'a> {
    thread: &'a Thread,
    /// Time until the next poll unasked, growing while none comes to anything; nothing if none is needed.
    every: Option<Duration>,
    /// When all tasks were last woken unasked, and the loop has not been back since.
    woke_all: Option<Instant>,
    /// No sooner than this again.
    tasks_due: Option<Instant>,
}

impl<'a> Sleeper<'a> {
    /// For a loop below which `below` stands still, and keeps wakes back until the loop has returned.
    pub fn new(thread: &'a Thread, below: Below) -> Self {
        Self { thread, every: (below != Below::Nothing).then_some(REPOLL_FIRST), woke_all: None, tasks_due: None }
    }

    /// Something moved. Tasks that were woken unasked are no sign of anything.
    pub fn moved(&mut self) {
        if self.woke_all.is_none()
            && let Some(every) = &mut self.every
        {
            *every = REPOLL_FIRST;
        }
    }

    /// Waits until something may have come in, at most until `until`; `woken` says whether the caller's future was
    /// woken. Returns whether the future is to be polled unasked.
    pub fn sleep(&mut self, until: Option<Instant>, woken: impl Fn() -> bool) -> bool {
        if let Some(woke_all) = self.woke_all.take() {
            // However many tasks there are, polling them unasked takes a tenth of the time at most.
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
        // The tasks' wakes may have been kept back too.
        if self.tasks_due.is_none_or(|due| now >= due) {
            self.woke_all = Some(now);
            served(&self.thread.homes, |context| context.mailbox().wake_all());
        }
        true
    }

    fn spin_or_park(&self, watch: &Watch, wake_up: Option<Instant>, woken: impl Fn() -> bool) {
        // The last look: from here on nothing of this thread's own wakes it but what a subscriber does, see `park`; and other
        // threads' wakes give a token.
        if woken() {
            return;
        }
        // The context that is current decides; a thread that entered none does not spin.
        let Some(context) = self.thread.entered() else {
            return self.park(watch, wake_up, woken);
        };
        let budget = context.spin().budget();
        let start = Instant::now();
        // Never past the next deadline: what is due then needs no luck.
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
        context.spin().adapt(start.elapsed());
    }

    fn park(&self, watch: &Watch, wake_up: Option<Instant>, woken: impl Fn() -> bool) {
        trace::park();
        // What a subscriber did on this thread gave no token.
        if woken() || self.is_notified() {
            return;
        }
        // A call, not what merely polls: that waits for anything at all.
        let first_look = if self.thread.waits() { watchdog::first_look_at() } else { None };
        let wake_up = [wake_up, first_look].into_iter().flatten().min();
        self.thread.board.parked(|| watch.sleep(&self.thread.parker, wake_up));
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

    /// Whether something came in for any context served since the last look.
    fn take_notified(&self) -> bool {
        self.any(|context| context.mailbox().take_notified())
    }

    fn is_notified(&self) -> bool {
        self.any(|context| context.mailbox().is_notified())
    }

    fn next_timer(&self) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        served(&self.thread.homes, |context| {
            next = [next, context.mailbox().timers().next()].into_iter().flatten().min()
        });
        next
    }

    /// Asks every context, for each answer may come with a change.
    fn any(&self, ask: impl Fn(&AioContext) -> bool) -> bool {
        let mut any = false;
        served(&self.thread.homes, |context| any |= ask(context));
        any
    }
}
