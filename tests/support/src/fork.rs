//! Forks of a process that has threads.

use std::{fs, io, path::Path, thread, time::Instant};

use crate::BOUND;

/// Waits until all other threads of this process sleep, which they must before a fork whose child starts threads. While a
/// thread starts or ends, it holds a lock of std's. A fork at that moment leaves the lock taken in the child, where the next
/// thread that starts waits for it for ever. Linux only; elsewhere this does nothing.
#[track_caller]
pub fn until_other_threads_sleep() {
    let deadline = Instant::now() + BOUND;
    while cfg!(target_os = "linux") && !other_threads_sleep().unwrap() {
        assert!(Instant::now() < deadline, "the other threads do not go to sleep");
        thread::yield_now();
    }
}

fn other_threads_sleep() -> io::Result<bool> {
    let this = fs::read_link("/proc/thread-self")?;
    for thread in fs::read_dir("/proc/self/task")? {
        let thread = thread?.path();
        if thread.file_name() != this.file_name() && !sleeps(&thread) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a thread sleeps or has ended.
fn sleeps(thread: &Path) -> bool {
    let Ok(stat) = fs::read_to_string(thread.join("stat")) else { return true };
    // The state follows the name, which is in parentheses.
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'))
}
