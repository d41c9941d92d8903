//! Checks periodically whether the reactor's workers make progress.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::record::now;
use crate::reactor::Question;

/// When the unanswered question was asked, on the clock of `now`, if the answer is late; else 0.
static STALLED_SINCE: AtomicU64 = AtomicU64::new(0);

/// How long the reactor has not answered, if its answer is late.
pub fn stalled_reactor() -> Option<Duration> {
    let since = Some(STALLED_SINCE.load(Ordering::Relaxed)).filter(|since| *since > 0)?;
    Some(Duration::from_nanos(now().saturating_sub(since)))
}

/// At most one question to the reactor at a time.
#[derive(Default)]
pub struct Heartbeat {
    /// The open question, and when it was asked.
    asked: Option<(u64, Question)>,
}

impl Heartbeat {
    /// Checks the answer and asks again. Returns whether a worker of the reactor has just become late.
    pub fn beat(&mut self, limit: Duration) -> bool {
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
