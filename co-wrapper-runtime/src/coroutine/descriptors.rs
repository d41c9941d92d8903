//! The descriptors of handlers, while another executor has a thread's coroutines suspended and may sleep: a thread that the
//! process has for this sleeps in poll(2), and wakes the coroutines when a descriptor is ready. The handlers run on their
//! home thread, as ever, when the executor polls a coroutine.
//!
//! A watch ends when it has woken its coroutines: a descriptor that stays ready wakes them again only when they have looked at
//! it. The thread owns descriptors alone; of users' code it runs wakers.

use std::{
    io::{self, PipeReader, PipeWriter, Read, Write},
    iter,
    sync::{Arc, Mutex, OnceLock},
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
};

use crate::{
    context::handlers::Descriptor,
    sys::{park::EndSleep, sync::plain_lock},
};

/// How often descriptors are looked at that cannot be watched, for a lack of descriptors, memory or threads.
pub const LOOKS_EVERY: Duration = Duration::from_millis(1);

/// What is watched for one thread's coroutines.
struct Watched {
    wakes: Arc<dyn EndSleep>,
    descriptors: Arc<Vec<Descriptor>>,
}

static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());
/// Ends the sleep of the thread that watches.
static BELL: OnceLock<PipeWriter> = OnceLock::new();

/// Watches `descriptors` until one of them is ready, which calls `wakes`, in place of what was watched for `wakes`.
///
/// # Errors
///
/// The pipe or the thread cannot be made.
pub fn watch(wakes: &Arc<dyn EndSleep>, descriptors: Vec<Descriptor>) -> io::Result<()> {
    let mut all = plain_lock(&WATCHED);
    if BELL.get().is_none() {
        let (reader, writer) = io::pipe()?;
        thread::Builder::new().name("co-wrapper-descriptors".into()).spawn(|| watches(reader))?;
        // Only the holder of the lock sets it.
        let _ = BELL.set(writer);
    }
    let at = all.iter().position(|watched| Arc::ptr_eq(&watched.wakes, wakes));
    if at.is_some_and(|at| *all[at].descriptors == descriptors) {
        return Ok(());
    }
    let replaced = at.map(|at| all.swap_remove(at));
    all.push(Watched { wakes: Arc::clone(wakes), descriptors: Arc::new(descriptors) });
    drop(all);
    drop(replaced);
    ring();
    Ok(())
}

/// Watches nothing more for `wakes`.
pub fn end(wakes: &Arc<dyn EndSleep>) {
    let mut all = plain_lock(&WATCHED);
    let at = all.iter().position(|watched| Arc::ptr_eq(&watched.wakes, wakes));
    let ended = at.map(|at| all.swap_remove(at));
    drop(all);
    if ended.is_some() {
        // So that it holds the descriptors no longer.
        ring();
    }
}

fn ring() {
    // It fails only if somebody has closed the descriptor.
    let _ = BELL.wait().write(&[0]);
}

/// The thread that watches.
fn watches(mut bell: PipeReader) {
    loop {
        let sets: Vec<_> = plain_lock(&WATCHED).iter().map(|watched| Arc::clone(&watched.descriptors)).collect();
        let mut fds: Vec<_> = iter::once(PollFd::new(&bell, PollFlags::IN))
            .chain(sets.iter().flat_map(|set| set.iter().map(Descriptor::poll_fd)))
            .collect();
        let failed = match rustix::event::poll(&mut fds, None) {
            Ok(_) => false,
            Err(Errno::INTR) => continue,
            // Their home threads look themselves, and find the same error or what is ready. Not at once, as it may last.
            Err(_) => {
                thread::sleep(LOOKS_EVERY);
                true
            }
        };
        let rings = !fds[0].revents().is_empty();
        let mut left = &fds[1..];
        let is_ready: Vec<_> = sets
            .iter()
            .map(|set| {
                let (own, rest) = left.split_at(set.len());
                left = rest;
                failed || own.iter().any(|fd| !fd.revents().is_empty())
            })
            .collect();
        drop(fds);
        if rings {
            let _ = bell.read(&mut [0; 64]);
        }
        let mut woken = Vec::new();
        {
            let mut all = plain_lock(&WATCHED);
            // Not what has replaced one of them meanwhile.
            let ready = |watched: &mut Watched| {
                iter::zip(&sets, &is_ready).any(|(set, ready)| *ready && Arc::ptr_eq(set, &watched.descriptors))
            };
            woken.extend(all.extract_if(.., ready));
        }
        drop(sets);
        for Watched { wakes, descriptors } in woken {
            drop(descriptors);
            wakes.end_sleep();
        }
    }
}
