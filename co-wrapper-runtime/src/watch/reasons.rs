//! What is waited for and cannot come, as those know it who are waited for: contexts, graph locks. They are asked when a
//! report is made, so that nobody who waits pays for it.

use std::{
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use super::{
    board::{Board, Doing, Look},
    record::lock,
};
use crate::sys::fork;

/// Something that others wait for.
pub trait Awaited: Send + Sync {
    /// Why they wait in vain, if they do: a line a reason. `name` is the one that it was registered by. Runs nobody's code.
    fn reasons(&self, name: &str, threads: &Threads<'_>) -> Vec<String>;
}

/// What a report has seen of the process's threads.
pub struct Threads<'a>(pub &'a [(Arc<Board>, Look)]);

impl Threads<'_> {
    fn find(&self, number: u64) -> Option<&(Arc<Board>, Look)> {
        self.0.iter().find(|(board, _)| board.number == number)
    }

    /// How messages name the thread of that number.
    pub fn name(&self, number: u64) -> Option<&str> {
        self.find(number).map(|(board, _)| &*board.name)
    }

    /// For how long that thread has been outside our calls, if it has since the last look.
    pub fn elsewhere(&self, number: u64) -> Option<Duration> {
        let (_, look) = self.find(number)?;
        (look.doing == Doing::Elsewhere && look.again).then(|| look.lasted())
    }
}

#[derive(Clone)]
struct Entry {
    name: Arc<str>,
    awaited: Weak<dyn Awaited>,
}

struct Entries {
    all: Vec<Entry>,
    /// With so many, those that are gone are struck out.
    most: usize,
}

static ENTRIES: Mutex<Entries> = Mutex::new(Entries { all: Vec::new(), most: 16 });

/// Has reports ask `awaited` as long as it lives.
pub fn register(name: &Arc<str>, awaited: Weak<dyn Awaited>) {
    if fork::is_child() {
        // A thread that is not here may hold the lock, and there are no reports.
        return;
    }
    let mut entries = lock(&ENTRIES);
    if entries.all.len() >= entries.most {
        entries.all.retain(|entry| entry.awaited.strong_count() > 0);
        entries.most = (2 * entries.all.len()).max(16);
    }
    entries.all.push(Entry { name: Arc::clone(name), awaited });
}

/// All reasons but those of the one at `except`.
pub fn all(threads: &Threads<'_>, except: Option<*const ()>) -> Vec<String> {
    let entries = lock(&ENTRIES).all.clone();
    // What is upgraded may be dropped here, and so outside the lock.
    let awaited = entries.iter().filter(|entry| except != Some(entry.awaited.as_ptr().cast()));
    awaited.filter_map(|entry| Some(entry.awaited.upgrade()?.reasons(&entry.name, threads))).flatten().collect()
}
