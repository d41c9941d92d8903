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

#[cfg(feature = "coroutine")]
use std::collections::BTreeMap;

use super::stack::Root;
#[cfg(feature = "coroutine")]
use crate::tasks::task;
use crate::{
    context::AioContext,
    scheduler::Home,
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
    /// Which stay of the thread this is. It may leave and enter again before a call or guard of this stay has ended.
    stay: Stay,
    /// How many calls and guards keep the thread here.
    holders: usize,
    /// How many of these are guards rather than calls. Without one, this is a temporary home.
    guards: usize,
    /// How many of the calls belong to suspended coroutines that a local task of this context polls. They go on only if
    /// the thread polls the context, and are no reason to do so: leaving drops that task.
    suspended: usize,
    /// Set while the thread leaves; destructors that run then may enter the context again.
    leaving: bool,
    /// The thread ends, and leaves whatever keeps it here.
    ends: bool,
}

impl Served {
    fn new(context: &AioContext, guards: usize) -> Self {
        Self { context: context.clone(), stay: Stay(0), holders: 1, guards, suspended: 0, leaving: false, ends: false }
    }

    /// Whether the thread has to leave after `ended`, and does not do so already. It leaves from now on.
    fn begins_to_leave(&mut self, ended: Keeps) -> bool {
        !self.is_kept_after(ended, self.suspended) && !mem::replace(&mut self.leaving, true)
    }

    /// Whether the thread stays home after `ended`, for those who keep it there but for `dropped` calls, which leaving
    /// drops. A self-call that the thread started here, in a call nested inside the self-call's frame, also keeps it: no
    /// other thread may poll it, and that frame leaves later.
    fn is_kept_after(&self, ended: Keeps, dropped: usize) -> bool {
        let stays = self.holders > dropped && !self.ends || self.context.scheduler().has_own_call();
        if stays && self.guards == 0 && ended == Keeps::Guard {
            self.context.scheduler().set_temporary(true);
        }
        stays
    }
}

/// The number of a thread's stay in a context: that of the first entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay(u64);

/// What keeps a thread home to a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// A guard of `enter`, until it is dropped.
    Guard,
    /// A blocking call that found no home, for its own length.
    Call,
}

/// The contexts that were entered, innermost last; `current()` is the last. Entering and leaving, in any order, take
/// constant time.
#[derive(Default)]
struct Entered {
    /// By entry number, which grows, so that entries in the same context differ. `None` where an entry was left out of
    /// order; the last entry is never `None`.
    entries: Vec<(u64, Option<AioContext>)>,
    next: u64,
    /// How many entries are `None`.
    empty: usize,
    /// Those that coroutines which run now have made, in that order.
    #[cfg(feature = "coroutine")]
    of_coroutines: Vec<OfCoroutine>,
    /// Those that suspended coroutines have taken along, and those whose guards outlive their coroutine: the number that
    /// each was given first, and the place from which the coroutine was resumed last.
    #[cfg(feature = "coroutine")]
    away: BTreeMap<u64, Root>,
}

/// An entry that a coroutine's own code has made. The coroutine takes it along.
#[cfg(feature = "coroutine")]
#[derive(Clone, Copy)]
struct OfCoroutine {
    coroutine: u64,
    /// The number that it was given first, and its present one.
    first: u64,
    present: u64,
    keeps: Keeps,
    stay: Stay,
}

/// An entry that a suspended coroutine has taken along.
#[cfg(feature = "coroutine")]
pub struct Taken {
    context: AioContext,
    of: OfCoroutine,
    /// Whether it is counted as [`Served::suspended`].
    with_task: bool,
}

impl Entered {
    fn current(&self) -> Option<&AioContext> {
        self.entries.last()?.1.as_ref()
    }

    /// The context that was current when the entry of this number was the last one, if any entry up to it still lasts.
    fn at(&self, number: u64) -> Option<&AioContext> {
        let end = self.entries.partition_point(|entry| entry.0 <= number);
        self.entries[..end].iter().rev().find_map(|entry| entry.1.as_ref())
    }

    /// The guard or call ends whose entry was given the number `first`. Returns the present number; `None` if a suspended
    /// coroutine has it.
    #[cfg(feature = "coroutine")]
    fn end(&mut self, first: u64) -> Option<u64> {
        if self.away.remove(&first).is_some() {
            return None;
        }
        let of = self.of_coroutines.iter().rposition(|of| of.first == first);
        Some(of.map_or(first, |at| self.of_coroutines.remove(at).present))
    }

    /// Adds an entry and returns its number.
    fn push(&mut self, context: &AioContext) -> u64 {
        self.next += 1;
        self.entries.push((self.next, Some(context.clone())));
        self.next
    }

    /// Removes an entry, if it is there.
    fn remove(&mut self, number: u64) -> Option<AioContext> {
        let at = self.entries.binary_search_by_key(&number, |entry| entry.0).ok()?;
        let left = self.entries[at].1.take()?;
        self.empty += 1;
        while self.entries.pop_if(|entry| entry.1.is_none()).is_some() {
            self.empty -= 1;
        }
        // Amortised: as many entries have been left since the last time as are moved now.
        if self.empty > self.entries.len() / 2 {
            self.entries.retain(|entry| entry.1.is_some());
            self.empty = 0;
        }
        Some(left)
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Homes {
    pub fn entered(&self) -> Option<AioContext> {
        self.current().cloned()
    }

    /// Makes `context` current, for a guard or call that keeps the thread home to it and was made at the place `made`.
    /// Returns the number of the entry, and of the thread's stay there.
    #[cfg_attr(not(feature = "coroutine"), expect(unused_variables, reason = "only coroutines take entries along"))]
    pub fn enter(&mut self, context: &AioContext, keeps: Keeps, made: Root) -> (u64, Stay) {
        let stay = self.find(context).map_or(Stay(0), |served| served.stay);
        let number = self.entered.push(context);
        // What a loop on a coroutine's stack runs is not the coroutine, and goes on where that is suspended.
        #[cfg(feature = "coroutine")]
        if made.coroutine != 0 && made.runs == 0 {
            let coroutine = made.coroutine;
            self.entered.of_coroutines.push(OfCoroutine { coroutine, first: number, present: number, keeps, stay });
        }
        (number, stay)
    }

    /// Removes the entry of this number, which was made at the place `made`, if it is there.
    #[cfg_attr(not(feature = "coroutine"), expect(unused_variables, reason = "only coroutines take entries along"))]
    pub fn leave(&mut self, number: u64, made: Root) -> Option<AioContext> {
        #[cfg(feature = "coroutine")]
        let number = if made.coroutine == 0 { number } else { self.entered.end(number)? };
        self.entered.remove(number)
    }

    /// If the coroutine that made the entry `number` has ended or is suspended: the place from which it was resumed last.
    #[cfg(feature = "coroutine")]
    #[cold]
    pub fn away(&self, number: u64) -> Option<Root> {
        self.entered.away.get(&number).copied()
    }

    /// Takes out the entries of `coroutine`, which is suspended or has ended. It was resumed from the place `from`, and the
    /// innermost task polls it.
    #[cfg(feature = "coroutine")]
    pub fn take_along(&mut self, coroutine: u64, from: Root) -> Vec<Taken> {
        let mut taken = Vec::new();
        while let Some(at) = self.entered.of_coroutines.iter().position(|of| of.coroutine == coroutine) {
            let of = self.entered.of_coroutines.remove(at);
            let Some(context) = self.entered.remove(of.present) else { continue };
            self.entered.away.insert(of.first, from);
            let mut with_task = of.keeps == Keeps::Call && task::runs_in(context.scheduler());
            match self.stay(&context, of.stay) {
                Some(served) if with_task => served.suspended += 1,
                _ => with_task = false,
            }
            taken.push(Taken { context, of, with_task });
        }
        taken
    }

    /// Takes up again what [`take_along`](Self::take_along) has taken out, and returns what was left since.
    #[cfg(feature = "coroutine")]
    pub fn enter_again(&mut self, taken: Vec<Taken>) -> Vec<AioContext> {
        let mut left = Vec::new();
        for Taken { context, of, with_task } in taken {
            if with_task && let Some(served) = self.stay(&context, of.stay) {
                served.suspended -= 1;
            }
            if self.entered.away.remove(&of.first).is_none() {
                left.push(context);
                continue;
            }
            let present = self.entered.push(&context);
            self.entered.of_coroutines.push(OfCoroutine { present, ..of });
        }
        left
    }

    /// The current context, which may be the thread's own, if one was made.
    pub fn running_in(&self) -> Option<&AioContext> {
        self.current().or(self.own.as_ref())
    }

    /// The number of the last entry, 0 for none.
    #[inline]
    pub fn entry(&self) -> u64 {
        self.entered.entries.last().map_or(0, |entry| entry.0)
    }

    /// The highest number that an entry was given so far.
    #[cfg(feature = "coroutine")]
    #[inline]
    pub fn highest_entry(&self) -> u64 {
        self.entered.next
    }

    /// The context that was entered last.
    pub fn current(&self) -> Option<&AioContext> {
        self.entered.current()
    }

    /// The entry of `context`, if this thread is home to it.
    fn find(&mut self, context: &AioContext) -> Option<&mut Served> {
        self.served.get_mut(context.served_at()).filter(|served| served.context == *context)
    }

    /// The entry of `context`, if this is still that stay.
    fn stay(&mut self, context: &AioContext, stay: Stay) -> Option<&mut Served> {
        self.find(context).filter(|served| served.stay == stay)
    }

    fn add(&mut self, mut served: Served) {
        served.stay = Stay(self.entered.next + 1);
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

    /// Whether one call or guard alone keeps the thread home to `context`. No longer once the thread leaves.
    pub fn is_last_stay(&mut self, context: &AioContext) -> bool {
        self.find(context).is_some_and(|served| served.holders - served.suspended == 1 && !served.leaving)
    }

    /// Whether this thread is a temporary home of any context.
    pub fn is_temporary_home(&self) -> bool {
        self.served.iter().any(|served| served.guards == 0)
    }

    /// Whether a round of what this thread serves would find nothing to look at.
    pub fn are_quiet(&self) -> bool {
        self.served.iter().all(|served| served.context.scheduler().is_quiet() && served.context.handlers().is_empty())
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
    // Before `move_in`, which may run wakers that use it.
    homes.borrow_mut().own = Some(own.clone());
    move_in(homes, parker, &own, None).unwrap_or_else(|_| unreachable!("a new context has no home"));
    own
}

/// Makes this thread the home of `context`, for one more guard. If `call` is given, a function's name and where it was
/// called, the thread is the home for the length of that call instead. Fails with the present home if that is another
/// thread.
pub fn move_in(
    homes: &RefCell<Homes>,
    parker: &Parker,
    context: &AioContext,
    call: Option<(&'static str, &'static Location<'static>)>,
) -> Result<(), Home> {
    let guard = usize::from(call.is_none());
    let mut list = homes.borrow_mut();
    if let Some(served) = list.find(context) {
        served.holders += 1;
        served.guards += guard;
        if served.guards == guard && guard > 0 {
            context.scheduler().set_temporary(false);
        }
        return Ok(());
    }
    context.scheduler().move_in(Home {
        thread: here(),
        thread_name: Home::name_of(&thread::current()),
        unparker: parker.unparker(),
        call,
    })?;
    list.add(Served::new(context, guard));
    drop(list);
    // Coroutines that another executor has suspended here serve this context too, from their next poll on. Until then
    // nothing that comes into it would wake them.
    #[cfg(feature = "coroutine")]
    parker.ends_elsewhere();
    Ok(())
}

/// One guard or call of this stay ends; the thread leaves home with the last one. Panics of destructors that run then are left to the
/// panic hook, because a guard may be kept in a thread-local, whose destructor must not panic.
pub fn move_out(homes: &RefCell<Homes>, context: &AioContext, stay: Stay, ended: Keeps) {
    let mut list = homes.borrow_mut();
    let Some(served) = list.stay(context, stay) else { return };
    served.holders -= 1;
    served.guards -= usize::from(ended == Keeps::Guard);
    let leaves = served.begins_to_leave(ended);
    drop(list);
    if leaves {
        leave(homes, context, ended);
    }
}

/// Leaves `context`, which was [begun](Served::begins_to_leave).
fn leave(homes: &RefCell<Homes>, context: &AioContext, ended: Keeps) {
    // The thread is still the home while they are dropped, so that their destructors' wakes notify this thread.
    drop_local_tasks(context, ended == Keeps::Guard);
    let mut list = homes.borrow_mut();
    let served = list.find(context).expect("only this removes it");
    served.leaving = false;
    // A destructor may have entered the context again, or started a call. And a suspended coroutine that is still there
    // has been taken out of its task, so its call may go on.
    let left = if served.is_kept_after(ended, 0) { None } else { Some(list.remove(context)) };
    drop(list);
    if left.is_some() {
        // Drops what waits in a context that was closed.
        drop(Payload::of(|| context.scheduler().move_out()));
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
        for task in context.scheduler().take_local(here(), calls) {
            panics::discard(task);
        }
        if !context.scheduler().has_local(here())
            || Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + PATIENCE)
        {
            return;
        }
        thread::yield_now();
    }
}

/// Leaves all contexts, at the thread's end, even if guards were forgotten.
pub fn leave_all(homes: &RefCell<Homes>) {
    // Contexts that destructors enter or make meanwhile are left too. This gives up after 64 rounds.
    for _ in 0..64 {
        let served = homes.borrow_mut().served.last_mut().map(|served| {
            served.ends = true;
            (served.context.clone(), served.begins_to_leave(Keeps::Guard))
        });
        match served {
            Some((context, true)) => leave(homes, &context, Keeps::Guard),
            Some((_, false)) => {}
            None => {
                // Dropped after the borrow ends, because their destructors may call back into this file.
                let mut list = homes.borrow_mut();
                // Guards that are dropped later have the numbers of older entries and stays.
                let entered = Entered { next: list.entered.next, ..Entered::default() };
                let rest = mem::replace(&mut *list, Homes { entered, ..Homes::default() });
                drop(list);
                if rest.own.is_none() && rest.entered.is_empty() {
                    break;
                }
                panics::discard(rest);
            }
        }
    }
}

/// Makes a context current while this lives, whichever context the thread entered last. A loop uses it for the context
/// that it serves: a timer that a task makes from `current()` must belong to the task's context, because the timer may
/// outlive the thread's stay in another one.
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
    /// Makes the context current that was current when the entry `number` was the last one. If the thread has left that
    /// context since, this uses the one that was current before it. If none is left, it uses the thread's own, `own`.
    pub fn at(homes: &'a RefCell<Homes>, number: u64, own: impl FnOnce() -> AioContext) -> Self {
        let list = homes.borrow();
        if list.entry() == number {
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

    /// Catches: entries that were left out of order and are kept, or searched, for as long as a later one lasts. The list
    /// is bounded by the entries that last, and each change moves a bounded number of entries on average.
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
            assert!(entered.entries.len() <= 2 * lasting.len() + 1, "{} for {}", entered.entries.len(), lasting.len());
        }
        assert!(entered.remove(0).is_none());
        lasting.into_iter().for_each(|number| assert!(entered.remove(number).is_some()));
        assert!(entered.is_empty() && entered.current().is_none());
    }
}
