//! The contexts that a thread is home to: which it polls. Entering makes a thread the home, leaving ends it.
//!
//! A context has at most one home thread. What a thread is home to, every wait of that thread serves. Leaving drops the
//! `!Send` tasks that the thread spawned; what else waits in the context waits for its next home.
//!
//! Users' code never runs while the list is borrowed: destructors of what is dropped in leaving come back here.

use std::{
    cell::RefCell,
    mem, thread,
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
    /// The contexts that this thread is home to. Each knows its place here.
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
    /// How many of them are no mere calls. A home without one is a passing home.
    residences: usize,
    /// While the thread leaves, and destructors of what it drops may come back and stay.
    leaving: bool,
}

impl Served {
    /// Whether the thread stays home after a stay of that kind has ended. A call of its own that it began here, in a stay
    /// above the call's frame, keeps it too: that frame takes the stay over and leaves.
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
    /// It entered it, until it leaves.
    Resident,
    /// It blocks on it and finds nobody at home, for the length of the call.
    Passing,
}

/// What `current()` answers, innermost last. Entering and leaving, in whichever order, take the same time however many are
/// entered.
#[derive(Default)]
struct Entered {
    /// By number, which grows and tells stays in the same context apart. Empty where one was left out of order; the last one
    /// is not.
    stays: Vec<(u64, Option<AioContext>)>,
    next: u64,
    /// How many are empty.
    empty: usize,
}

impl Entered {
    fn current(&self) -> Option<&AioContext> {
        self.stays.last()?.1.as_ref()
    }

    /// What was current when the stay of that number was the last one, if any of those up to it lasts.
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

    /// Takes a stay out, if it is there.
    fn remove(&mut self, number: u64) -> Option<AioContext> {
        let at = self.stays.binary_search_by_key(&number, |stay| stay.0).ok()?;
        let left = self.stays[at].1.take()?;
        self.empty += 1;
        while self.stays.pop_if(|stay| stay.1.is_none()).is_some() {
            self.empty -= 1;
        }
        // Each time as many have been left since the last time as are moved.
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

    /// `context` is current from now on; returns the stay's number.
    pub fn enter(&mut self, context: &AioContext) -> u64 {
        self.entered.push(context)
    }

    /// Ends that, if it has not ended.
    pub fn leave(&mut self, number: u64) -> Option<AioContext> {
        self.entered.remove(number)
    }

    /// The context that is current, if one was made: the thread's own too.
    pub fn running_in(&self) -> Option<&AioContext> {
        self.current().or(self.own.as_ref())
    }

    /// The number of the stay that is current, 0 for none.
    #[inline]
    pub fn stay(&self) -> u64 {
        self.entered.stays.last().map_or(0, |stay| stay.0)
    }

    /// The innermost that was entered, for a look.
    pub fn current(&self) -> Option<&AioContext> {
        self.entered.current()
    }

    /// What is known of `context`, if this thread is home to it.
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

    /// Whether this thread is home to something for the length of a call only.
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
        // Nobody would leave it: the thread has ended. Whoever blocks on it is its home for as long.
        return AioContext::builder().unstarted();
    }
    let own = AioContext::builder().unstarted();
    move_in(homes, parker, &own, Stay::Resident).unwrap_or_else(|_| unreachable!("a new context has no home"));
    homes.borrow_mut().own = Some(own.clone());
    own
}

/// Makes this thread a home of `context`, for one more stay. Fails with the present home, another thread's.
pub fn move_in(homes: &RefCell<Homes>, parker: &Parker, context: &AioContext, stay: Stay) -> Result<(), Home> {
    let resident = usize::from(stay == Stay::Resident);
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
        passing: stay == Stay::Passing,
    })?;
    homes.add(Served { context: context.clone(), stays: 1, residences: resident, leaving: false });
    Ok(())
}

/// Ends one stay, and with the last one leaves home. What panics in destructors of what is dropped with that is the panic
/// hook's alone: a guard may be kept in a thread-local, whose destructor may not panic.
pub fn move_out(homes: &RefCell<Homes>, context: &AioContext, stay: Stay) {
    let mut list = homes.borrow_mut();
    let Some(served) = list.find(context) else { return };
    served.stays -= 1;
    served.residences -= usize::from(stay == Stay::Resident);
    if served.stays_on(stay) || std::mem::replace(&mut served.leaving, true) {
        return;
    }
    drop(list);
    // Still at home while they are dropped, so that what their destructors wake is rung here.
    drop_local_tasks(context, stay == Stay::Resident);
    let mut list = homes.borrow_mut();
    let served = list.find(context).expect("only this removes it");
    served.leaving = false;
    // A destructor may have entered again, for longer, or begun a call.
    let left = if served.stays_on(stay) { None } else { Some(list.remove(context)) };
    drop(list);
    if left.is_some() {
        // It drops what waits in a context that was closed.
        drop(Payload::of(|| context.mailbox().move_out()));
    }
    panics::discard(left);
}

/// Drops the `!Send` tasks of this thread in `context` and the calls that it began, and with `calls` those not begun too.
fn drop_local_tasks(context: &AioContext, calls: bool) {
    // One round is enough but where another thread is between waking a task and queueing it, for some instructions,
    // or where destructors spawn on and on.
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

/// Leaves everything, at the thread's end, guards forgotten or not.
pub fn leave_all(homes: &RefCell<Homes>) {
    // What destructors enter or make meanwhile is left too, but not for ever.
    for _ in 0..64 {
        let served = homes.borrow_mut().served.last_mut().map(|served| {
            (served.stays, served.residences) = (1, 1);
            served.context.clone()
        });
        match served {
            Some(context) => move_out(homes, &context, Stay::Resident),
            None => {
                // Dropped when it is not borrowed any more: their destructors come back here too.
                let rest = mem::take(&mut *homes.borrow_mut());
                if rest.own.is_none() && rest.entered.is_empty() {
                    break;
                }
                panics::discard(rest);
            }
        }
    }
}

/// What a thread serves is current meanwhile, whichever context it entered last: what a task takes from `current()`, a
/// timer say, outlives the stay in that one.
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
    /// What was current when the stay `number` was the last one. A context that was left since is not: then what was
    /// current before, and the thread's own, `own`, in the end.
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

    /// Catches: stays that were left out of order and are kept, or looked through, as long as a later one lasts: the list is
    /// bounded by those that last, and each change moves a bounded number of stays on average.
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
