//! What a hang report says of a context in which something waits: that nobody polls it. (The reports' `reasons.rs` asks.)

use super::mailbox::Mailbox;
use crate::watch::{
    BY_OTHER_MEANS,
    reasons::{Awaited, Threads},
};

impl Awaited for Mailbox {
    fn reasons(&self, name: &str, threads: &Threads<'_>) -> Vec<String> {
        if self.is_closed() || self.is_quiet() {
            return Vec::new();
        }
        let Some(home) = self.home_number() else {
            return vec![format!(
                "AioContext `{name}` has work or timers that wait, and no thread is home to it: have a thread enter it and \
                 poll, or block on it"
            )];
        };
        let (Some(thread), Some(lasted)) = (threads.name(home), threads.elsewhere(home)) else { return Vec::new() };
        vec![format!(
            "thread {thread}: AioContext `{name}` has work or timers that wait, and the thread, its home, has been outside \
             our calls for {lasted:.1?}: {BY_OTHER_MEANS}; or have the thread poll, or drop its EnterGuard"
        )]
    }
}
