//! The timer that makes the lock look at its queue again. It is armed twice: in the main context, so that whichever
//! loop the main thread runs fires it, and on the reactor, in case the main loop is not polled.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Wake, Waker},
    time::{Duration, Instant},
};

use crate::{
    context::{AioContext, Sleep},
    reactor::Alarm,
};

/// Dropping it cancels both. One that fires at that moment has no effect, because the lock then expects another number.
pub struct Timer {
    pub number: i64,
    /// When it fires.
    pub due: u64,
    #[expect(dead_code, reason = "held for its drop")]
    sleep: Sleep,
    #[expect(dead_code, reason = "held for its drop")]
    alarm: Alarm,
}

struct Look<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Look<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

impl Timer {
    /// Calls `look` at `due`, which is after `now`.
    pub fn start(look: impl Fn() + Send + Sync + 'static, number: i64, now: u64, due: u64) -> Self {
        let wait = Duration::from_nanos(due.saturating_sub(now));
        let waker = Waker::from(Arc::new(Look(look)));
        let mut sleep = Sleep::until(Arc::clone(AioContext::main().scheduler()), Instant::now() + wait);
        let _ = Pin::new(&mut sleep).poll(&mut Context::from_waker(&waker));
        Self { number, due, sleep, alarm: Alarm::new(wait, waker) }
    }
}
