//! What a hang report says of a lock that is waited for: who holds it. (Called through `watch/reasons.rs`.)

use std::{
    ptr,
    sync::{Arc, Weak},
};

use super::{
    held,
    shared::{Shared, Waits},
};
use crate::watch::reasons::{self, Awaited, Threads};

/// How many readers are named at most.
const MOST: usize = 8;

/// Has reports ask this lock.
pub fn register(shared: &Arc<Shared>) {
    let awaited: Weak<Shared> = Arc::downgrade(shared);
    reasons::register(&Arc::from("graph lock"), awaited);
}

impl Awaited for Shared {
    fn reasons(&self, name: &str, threads: &Threads<'_>) -> Vec<String> {
        match self.waits() {
            Waits::Nobody => Vec::new(),
            Waits::ForWriter(writing) => vec![format!(
                "{name}: a caller that wants it waits for the end of the section that is write-locked at {}, by thread \
                 {}: drop the write guard, and wait for nothing within the section",
                writing.place,
                threads.name(writing.thread).unwrap_or("that has ended")
            )],
            Waits::ForReaders => {
                let readers = held::readers(ptr::from_ref(self).addr(), threads);
                let more = readers.len().saturating_sub(MOST);
                let named = readers.into_iter().take(MOST).map(|(place, holder)| {
                    format!(
                        "{name}: its writer waits for the read guard taken at {place}, {holder}: drop the guard, and \
                         wait for nothing under it that comes after the writer"
                    )
                });
                let more = (more > 0).then(|| format!("{name}: its writer waits for {more} more read guard(s)"));
                named.chain(more).collect()
            }
        }
    }
}
