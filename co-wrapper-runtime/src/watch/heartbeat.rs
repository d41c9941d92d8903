//! Whether the reactor goes on, by a question to it every now and then.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::record::now;
use crate::reactor::Question;

/// When the reactor was asked and has not answered for too long, as `now` counts; else 0.
static STALLED_SINCE: AtomicU64 = AtomicU64::new(0);

/// For how long the reactor has not answered, if that is too long.
pub fn stalled_reactor() -> Option<Duration> {
    let since = Some(STALLED_SINCE.load(Ordering::Relaxed)).filter(|since| *since > 0)?;
    Some(Duration::from_nanos(now().saturating_sub(since)))
}

/// A question to the reactor, one at a time.
#[derive(Default)]
pub struct Heartbeat {
    /// When it was asked, and what.
    asked: Option<(u64, Question)>,
}

impl Heartbeat {
    /// Whether a worker of the reactor is late now and none was before.
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
