//! The contexts that a thread is home to, that is, polls. Entering makes a thread the home; leaving ends that.
//!
//! A context has at most one home thread. Every wait of a thread serves all contexts that the thread is home to.
//! Leaving drops the `!Send` tasks that the thread spawned; other work in the context waits for its next home.
//!
//! Users' code never runs while the list is borrowed, because destructors that leaving runs may call back into this
//! file.

use std::{
    cell::RefCell,
    mem,
    panic::Location,
    thread,
    time::{Duration, Instant},
};

use crate::{
    context::AioContext,
    scheduler::mailbox::Home,
    sys::{
        panics::{self, Payload},
        park::{Parker, here},
    },
};

/// The contexts of one thread.
#[derive(Default)]
pub struct Homes {
    /// The contexts that this thread is home to. Each stores its index in this list.
    served: Vec<Served>,
    entered: Entered,
    /// The thread's own context.
    own: Option<AioContext>,
}

/// A context that a thread is home to.
struct Served {
    context: AioContext,
    /// How many calls and guards keep the thread here.
    stays: usize,
    /// How many of these are guards rather than calls. Without one, this is a temporary home.
    residences: usize,
    /// Set while the thread leaves; destructors that run then may enter again and stay.
    leaving: bool,
}

impl Served {
    /// Whether the thread stays home after a stay of that kind has ended. A self-call that the thread started here, in
    /// a stay nested inside the call's frame, also keeps it: that frame takes the stay over and leaves later.
    fn stays_on(&self, ended: Stay) -> bool {
        let stays = self.stays > 0 || self.context.mailbox().has_own_call();
        if stays && self.residences == 0 && ended == Stay::Resident {
            self.context.mailbox().set_passing(true);
        }
        stays
    }
}

/// Why a thread is home to a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stay {
    /// The thread entered it, until it leaves.
    Resident,
    /// A blocking call found no home; this lasts as long as the call.
    Passing,
}

/// The contexts that were entered, innermost last; `current()` is the last. Entering and leaving, in any order, take
/// constant time.
#[derive(Default)]
struct Entered {
    /// By stay number, which grows, so that stays in the same context differ. `None` where a stay was left out of
    /// order; the last entry is never `None`.
    stays: Vec<(u64, Option<AioContext>)>,
    next: u64,
    /// How many entries are `None`.
    empty: usize,
}

impl Entered {
    fn current(&self) -> Option<&AioContext> {
        self.stays.last()?.1.as_ref()
    }

    /// The context that was current when the stay of this number was the last one, if any stay up to it still lasts.
    fn at(&self, number: u64) -> Option<&AioContext> {
        let end = self.stays.partition_point(|stay| stay.0 <= number);
        self.stays[..end].iter().rev().find_map(|stay| stay.1.as_ref())
    }

    /// Adds a stay and returns its number.
    fn push(&mut self, context: &AioContext) -> u64 {
        self.next += 1;
        self.stays.push((self.next, Some(context.clone())));
        self.next
    }

    /// Removes a stay, if it is there.
    fn remove(&mut self, number: u64) -> Option<AioContext> {
        let at = self.stays.binary_search_by_key(&number, |stay| stay.0).ok()?;
        let left = self.stays[at].1.take()?;
        self.empty += 1;
        while self.stays.pop_if(|stay| stay.1.is_none()).is_some() {
            self.empty -= 1;
        }
        // Amortised: as many stays have been left since the last time as are moved now.
        if self.empty > self.stays.len() / 2 {
            self.stays.retain(|stay| stay.1.is_some());
            self.empty = 0;
        }
        Some(left)
    }

    fn is_empty(&self) -> bool {
        self.stays.is_empty()
    }
}

impl Homes {
    pub fn entered(&self) -> Option<AioContext> {
        self.current().cloned()
    }

    /// Makes `context` current, and returns the stay's number.
    pub fn enter(&mut self, context: &AioContext) -> u64 {
        self.entered.push(context)
    }

    /// Ends the stay of this number, if it has not ended.
    pub fn leave(&mut self, number: u64) -> Option<AioContext> {
        self.entered.remove(number)
    }

    /// The current context, which may be the thread's own, if one was made.
    pub fn running_in(&self) -> Option<&AioContext> {
        self.current().or(self.own.as_ref())
    }

    /// The number of the stay that is current, 0 for none.
    #[inline]
    pub fn stay(&self) -> u64 {
        self.entered.stays.last().map_or(0, |stay| stay.0)
    }

    /// The context that was entered last.
    pub fn current(&self) -> Option<&AioContext> {
        self.entered.current()
    }

    /// The entry of `context`, if this thread is home to it.
    fn find(&mut self, context: &AioContext) -> Option<&mut Served> {
        self.served.get_mut(context.served_at()).filter(|served| served.context == *context)
    }

    fn add(&mut self, served: Served) {
        served.context.set_served_at(self.served.len());
        self.served.push(served);
    }

    fn remove(&mut self, context: &AioContext) -> Served {
        let at = context.served_at();
        let removed = self.served.swap_remove(at);
        if let Some(moved) = self.served.get(at) {
            moved.context.set_served_at(at);
        }
        removed
    }

    /// Whether one call or guard alone keeps the thread home to `context`.
    pub fn is_last_stay(&mut self, context: &AioContext) -> bool {
        self.find(context).is_some_and(|served| served.stays == 1)
    }

    /// Whether this thread is a temporary home of any context.
    pub fn is_passing(&self) -> bool {
        self.served.iter().any(|served| served.residences == 0)
    }

    /// Whether a round of what this thread serves would find nothing to look at.
    pub fn are_quiet(&self) -> bool {
        self.served.iter().all(|served| served.context.mailbox().is_quiet() && served.context.handlers().is_empty())
    }

    /// The `index`-th context that this thread serves.
    fn served(&self, index: usize) -> Option<AioContext> {
        self.served.get(index).map(|served| served.context.clone())
    }
}

/// Calls `visit` with each context that the thread serves. It may enter and leave contexts.
pub fn served(homes: &RefCell<Homes>, mut visit: impl FnMut(&AioContext)) {
    let mut index = 0;
    while let Some(context) = { homes.borrow().served(index) } {
        visit(&context);
        index += 1;
    }
}

/// The thread's own context, made on first use and homed here until the thread ends.
pub fn own(homes: &RefCell<Homes>, parker: &Parker, late: bool) -> AioContext {
    if let Some(own) = &homes.borrow().own {
        return own.clone();
    }
    if late {
        // The thread has ended, so it would never leave. A call that blocks on the context is its temporary home
        // instead.
        return AioContext::builder().unstarted();
    }
    let own = AioContext::builder().unstarted();
    move_in(homes, parker, &own, None).unwrap_or_else(|_| unreachable!("a new context has no home"));
    homes.borrow_mut().own = Some(own.clone());
    own
}

/// Makes this thread a home of `context`, for one more stay: for the length of `call`, if given, which is a function's
/// name and where it was called. Fails with the present home, another thread's.
pub fn move_in(
    homes: &RefCell<Homes>,
    parker: &Parker,
    context: &AioContext,
    call: Option<(&'static str, &'static Location<'static>)>,
) -> Result<(), Home> {
    let resident = usize::from(call.is_none());
    let homes = &mut *homes.borrow_mut();
    if let Some(served) = homes.find(context) {
        served.stays += 1;
        served.residences += resident;
        if served.residences == resident && resident > 0 {
            context.mailbox().set_passing(false);
        }
        return Ok(());
    }
    context.mailbox().move_in(Home {
        thread: here(),
        thread_name: Home::name_of(&thread::current()),
        unparker: parker.unparker(),
        passing: call.is_some(),
        call,
    })?;
    homes.add(Served { context: context.clone(), stays: 1, residences: resident, leaving: false });
    Ok(())
}

/// Ends one stay, and leaves home with the last one. Panics of destructors that run then are left to the panic hook,
/// because a guard may be kept in a thread-local, whose destructor must not panic.
pub fn move_out(homes: &RefCell<Homes>, context: &AioContext, stay: Stay) {
    let mut list = homes.borrow_mut();
    let Some(served) = list.find(context) else { return };
    served.stays -= 1;
    served.residences -= usize::from(stay == Stay::Resident);
    if served.stays_on(stay) || std::mem::replace(&mut served.leaving, true) {
        return;
    }
    drop(list);
    // The thread is still the home while they are dropped, so that their destructors' wakes notify this thread.
    drop_local_tasks(context, stay == Stay::Resident);
    let mut list = homes.borrow_mut();
    let served = list.find(context).expect("only this removes it");
    served.leaving = false;
    // A destructor may have entered again and stayed, or started a call.
    let left = if served.stays_on(stay) { None } else { Some(list.remove(context)) };
    drop(list);
    if left.is_some() {
        // Drops what waits in a context that was closed.
        drop(Payload::of(|| context.mailbox().move_out()));
    }
    panics::discard(left);
}

/// Drops this thread's `!Send` tasks in `context` and the calls that it started; with `calls` also calls that were not
/// started.
fn drop_local_tasks(context: &AioContext, calls: bool) {
    // One round is enough, unless another thread is just between waking a task and queueing it, or destructors keep
    // spawning.
    const PATIENCE: Duration = Duration::from_secs(1);
    let mut deadline = None;
    loop {
        for task in context.mailbox().take_local(here(), calls) {
            panics::discard(task);
        }
        if !context.mailbox().has_local(here())
            || Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + PATIENCE)
        {
            return;
        }
        thread::yield_now();
    }
}

/// Leaves all contexts, at the thread's end, even if guards were forgotten.
pub fn leave_all(homes: &RefCell<Homes>) {
    // Contexts that destructors enter or make meanwhile are left too, but only so many times.
    for _ in 0..64 {
        let served = homes.borrow_mut().served.last_mut().map(|served| {
            (served.stays, served.residences) = (1, 1);
            served.context.clone()
        });
        match served {
            Some(context) => move_out(homes, &context, Stay::Resident),
            None => {
                // Dropped after the borrow ends, because their destructors may call back into this file.
                let rest = mem::take(&mut *homes.borrow_mut());
                if rest.own.is_none() && rest.entered.is_empty() {
                    break;
                }
                panics::discard(rest);
            }
        }
    }
}

/// Makes the context that the thread serves current meanwhile, whichever it entered last: a task's timer from
/// `current()` must belong to the task's context, because it may outlive the stay in another.
pub struct AsCurrent<'a> {
    homes: &'a RefCell<Homes>,
    number: Option<u64>,
}

impl<'a> AsCurrent<'a> {
    pub fn new(homes: &'a RefCell<Homes>, context: &AioContext) -> Self {
        let list = &mut *homes.borrow_mut();
        if list.running_in() == Some(context) {
            return Self { homes, number: None };
        }
        Self { homes, number: Some(list.entered.push(context)) }
    }
}

impl<'a> AsCurrent<'a> {
    /// Makes current what was current when the stay `number` was the last one. If that context was left since, takes
    /// the one that was current before it, and finally the thread's own, `own`.
    pub fn at(homes: &'a RefCell<Homes>, number: u64, own: impl FnOnce() -> AioContext) -> Self {
        let list = homes.borrow();
        if list.stay() == number {
            return Self { homes, number: None };
        }
        let context = list.entered.at(number).or(list.own.as_ref()).cloned();
        drop(list);
        Self::new(homes, &context.unwrap_or_else(own))
    }
}

impl Drop for AsCurrent<'_> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let left = self.homes.borrow_mut().entered.remove(number);
        drop(left);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Catches: stays that were left out of order and are kept, or searched, for as long as a later one lasts. The list
    /// is bounded by the stays that last, and each change moves a bounded number of entries on average.
    #[test]
    fn the_list_of_stays_has_room_for_those_that_last() {
        let context = AioContext::builder().unstarted();
        let (mut entered, mut lasting) = (Entered::default(), Vec::new());
        // Hand over hand: the next one is entered before the last one is left.
        for n in 0..1_000 {
            lasting.push(entered.push(&context));
            if lasting.len() > 3 {
                assert!(entered.remove(lasting.remove(n % 2)).is_some());
            }
            assert!(entered.stays.len() <= 2 * lasting.len() + 1, "{} for {}", entered.stays.len(), lasting.len());
        }
        assert!(entered.remove(0).is_none());
        lasting.into_iter().for_each(|number| assert!(entered.remove(number).is_some()));
        assert!(entered.is_empty() && entered.current().is_none());
    }
}
