//! Process-wide lists of live objects, which hang reports read. A list holds weak references, so it keeps nothing
//! alive.

use std::sync::{Arc, Mutex, Weak};

use super::{fork, sync::plain_lock};

/// Objects registered under a name, for as long as they live.
pub struct Registry<T: ?Sized>(Mutex<Entries<T>>);

struct Entries<T: ?Sized> {
    all: Vec<(Arc<str>, Weak<T>)>,
    /// At this length, entries of dropped objects are removed.
    most: usize,
}

impl<T: ?Sized> Registry<T> {
    pub const fn new() -> Self {
        Self(Mutex::new(Entries { all: Vec::new(), most: 16 }))
    }

    pub fn register(&self, name: &Arc<str>, what: Weak<T>) {
        if fork::is_child() {
            // One of the parent's threads may hold the lock, and a forked child makes no reports.
            return;
        }
        let mut entries = plain_lock(&self.0);
        if entries.all.len() >= entries.most {
            entries.all.retain(|entry| entry.1.strong_count() > 0);
            entries.most = (2 * entries.all.len()).max(16);
        }
        entries.all.push((Arc::clone(name), what));
    }

    /// The live objects, in order of registration. The caller may hold the last reference to one; it drops that outside
    /// the lock.
    pub fn all(&self) -> Vec<(Arc<str>, Arc<T>)> {
        let entries = plain_lock(&self.0).all.clone();
        entries.into_iter().filter_map(|(name, what)| Some((name, what.upgrade()?))).collect()
    }
}
