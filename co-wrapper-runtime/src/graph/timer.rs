//! What makes the lock look at its queue again at a certain time: a timer of the main context, fired by whatever loop its
//! thread runs; and the reactor's, for the main loop may not be polled just now.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Wake, Waker},
    time::Duration,
};

use crate::{
    context::{AioContext, Sleep},
    reactor,
};

/// Dropping it takes the main context's timer back. The reactor's then fires for nothing: it is not the one that the lock
/// knows of any more.
pub struct Timer {
    pub number: i64,
    /// When it fires.
    pub due: u64,
    #[expect(dead_code, reason = "held for its drop")]
    sleep: Sleep,
}

struct Look<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Look<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

impl Timer {
    /// One that calls `look` at `due`, which is after `now`.
    pub fn start(look: impl Fn() + Send + Sync + 'static, number: i64, now: u64, due: u64) -> Self {
        let wait = Duration::from_nanos(due.saturating_sub(now));
        let waker = Waker::from(Arc::new(Look(look)));
        let mut sleep = Sleep::internal(Arc::clone(AioContext::main().mailbox()), wait);
        let _ = Pin::new(&mut sleep).poll(&mut Context::from_waker(&waker));
        reactor::wake_after(wait, waker);
        Self { number, due, sleep }
    }
}
