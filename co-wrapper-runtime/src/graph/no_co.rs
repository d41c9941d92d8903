//! How generated code takes the lock: the read lock around a coroutine, either lock around a bottom half.

use std::{future::Future, panic::Location};

use super::{
    guard::{GraphRead, GraphWrite},
    lock::{GraphLock, TakeRead, TakeWrite},
    refuse,
};
use crate::{
    call::{Sent, Wrapper, in_main},
    tasks::activation,
};

/// A read lock that is already taken or still to be taken.
pub struct ReadLock(Stage);

enum Stage {
    Had(GraphRead),
    Wanted(TakeRead),
}

impl ReadLock {
    /// Waits for the lock.
    pub async fn read(self) -> GraphRead {
        match self.0 {
            Stage::Had(guard) => guard.adopt(),
            Stage::Wanted(wanted) => wanted.await,
        }
    }
}

/// The read lock of `lock`, for the coroutine of the wrapper `name`. It is taken now if no writer waits or holds the
/// lock, which leaves the handle's reference count alone; that count is shared by all threads. Until it is awaited the
/// guard belongs to nobody, because it may travel to another context.
#[track_caller]
pub fn read_lock(name: &'static str, lock: &GraphLock) -> ReadLock {
    let place = Location::caller();
    ReadLock(match lock.try_read(name, place) {
        Some(guard) => Stage::Had(guard.hand_over()),
        None => Stage::Wanted(TakeRead::new(lock.clone(), name, place, true)),
    })
}

/// Like [`read_lock`], for a mixed wrapper: in coroutine context it shares the caller's lock.
///
/// # Panics
///
/// In coroutine context if nobody holds the read lock.
#[track_caller]
pub fn read_lock_mixed(name: &'static str, lock: &GraphLock) -> ReadLock {
    if activation::is_coroutine() {
        ReadLock(Stage::Had(lock.share_for(name, Location::caller()).hand_over()))
    } else {
        read_lock(name, lock)
    }
}

/// Like `no_co`, with the read lock held. Waiting for the lock does not block the bottom half.
///
/// # Panics
///
/// The same as `no_co`; awaited in a blocking call within one's own write-locked section.
#[track_caller]
pub fn no_co_read<S, R>(
    wrapper: &'static Wrapper,
    lock: GraphLock,
    args: S,
    body: impl FnOnce(S, &GraphRead) -> Sent<R> + Send + 'static,
) -> impl Future<Output = R> + Send + 'static
where
    S: Send + 'static,
    R: 'static,
{
    let place = Location::caller();
    let wanted = TakeRead::new(lock.clone(), wrapper.name, place, false);
    let check = move || {
        if let Some(writing) = lock.shared().writing() {
            refuse::read_below(wrapper.name, writing, place);
        }
    };
    in_main(wrapper, place, check, async move { body(args, &wanted.await) })
}

/// Like `no_co`, with the write lock held. Waiting for the lock does not block the bottom half.
///
/// # Panics
///
/// The same as `no_co`. If it is awaited where the caller holds a read guard, or in a blocking call within one's own
/// write-locked section; the message names both places.
#[track_caller]
pub fn no_co_write<S, R>(
    wrapper: &'static Wrapper,
    lock: GraphLock,
    args: S,
    body: impl FnOnce(S, &GraphWrite) -> Sent<R> + Send + 'static,
) -> impl Future<Output = R> + Send + 'static
where
    S: Send + 'static,
    R: 'static,
{
    let place = Location::caller();
    let wanted = TakeWrite::new(lock.clone(), place, None);
    let check = move || refuse::wait_for_self(wrapper.name, lock.shared(), lock.shared().writing(), place, false);
    in_main(wrapper, place, check, async move { body(args, &wanted.await) })
}
