//! Lists of what lives somewhere in the process, for reports.

use std::sync::{Arc, Mutex, Weak};

use super::{fork, sync::plain_lock};

/// What was registered by a name, as long as it lives.
pub struct Registry<T: ?Sized>(Mutex<Entries<T>>);

struct Entries<T: ?Sized> {
    all: Vec<(Arc<str>, Weak<T>)>,
    /// With so many, those that are gone are struck out.
    most: usize,
}

impl<T: ?Sized> Registry<T> {
    pub const fn new() -> Self {
        Self(Mutex::new(Entries { all: Vec::new(), most: 16 }))
    }

    pub fn register(&self, name: &Arc<str>, what: Weak<T>) {
        if fork::is_child() {
            // A thread that is not here may hold the lock, and there are no reports.
            return;
        }
        let mut entries = plain_lock(&self.0);
        if entries.all.len() >= entries.most {
            entries.all.retain(|entry| entry.1.strong_count() > 0);
            entries.most = (2 * entries.all.len()).max(16);
        }
        entries.all.push((Arc::clone(name), what));
    }

    /// What lives, by the order in which it came. What this gives may be the last reference, and is dropped outside the lock.
    pub fn all(&self) -> Vec<(Arc<str>, Arc<T>)> {
        let entries = plain_lock(&self.0).all.clone();
        entries.into_iter().filter_map(|(name, what)| Some((name, what.upgrade()?))).collect()
    }
}
