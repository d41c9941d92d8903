//! Callers that are home, in passing, to the contexts into which they call each other.
//!
//! Who is home for the length of a call begins no other caller's call, for it leaves when its own is done. But its own may
//! wait, deeper in, for a call in another context, whose home waits likewise for one in this thread's: then nobody would go
//! on. So each thread that may be in such a circle says where it waits; and who finds after a while that it is in one
//! begins the call that closes it. (Homes that stay need none of this: a nested wait of theirs begins what it has held back
//! for long enough.)

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    scheduler::mailbox::Mailbox,
    sys::{fork, park::here, sync::plain_lock},
    thread::state::Thread,
};

/// Where each such thread waits for calls, innermost last.
static WAITING: std::sync::Mutex<BTreeMap<u64, Vec<Arc<Mailbox>>>> = std::sync::Mutex::new(BTreeMap::new());

/// This thread waits for a call in another context while this lives.
pub struct Waits {
    target: Arc<Mailbox>,
}

impl Waits {
    /// A wait for a call in `target`, if this thread is a passing home to something.
    pub fn new(thread: &Thread, target: &Arc<Mailbox>) -> Option<Self> {
        if !thread.homes.borrow().is_passing() {
            return None;
        }
        plain_lock(&WAITING).entry(here()).or_default().push(Arc::clone(target));
        Some(Self { target: Arc::clone(target) })
    }

    /// If this wait is in a circle: the caller that waits for this thread, and in which of its contexts.
    pub fn closed_by(&self) -> Option<(u64, Arc<Mailbox>)> {
        let waiting = plain_lock(&WAITING);
        let (mut caller, mut target) = (here(), &self.target);
        // A circle that this thread is not in may be closed further on.
        for _ in 0..=waiting.len() {
            let home = target.home_number()?;
            if home == here() {
                return Some((caller, Arc::clone(target)));
            }
            caller = home;
            target = waiting.get(&home)?.last()?;
        }
        None
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        // The lock may be a thread's of the parent.
        if fork::is_child() {
            return;
        }
        let mut waiting = plain_lock(&WAITING);
        if let Some(targets) = waiting.get_mut(&here()) {
            targets.pop();
            if targets.is_empty() {
                waiting.remove(&here());
            }
        }
    }
}
