//! Which thread polls a context: its home. Entering makes a thread the home, leaving ends it.
//!
//! A context has at most one home thread. What a thread is home to, every wait of that thread serves. Leaving drops the
//! `!Send` tasks that the thread spawned; what else waits in the context waits for its next home.

use std::{
    fmt, mem,
    panic::Location,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use super::state::Thread;
use crate::{
    context::AioContext,
    poll_loop::serve,
    reactor,
    scheduler::mailbox::Home,
    sys::{
        fork,
        panics::{self, Payload, catch},
    },
    tasks::{coroutine, task},
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

    /// The context that is current, if one was made: the thread's own too.
    pub fn running_in(&self) -> Option<&AioContext> {
        self.current().or(self.own.as_ref())
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
    fn is_last_stay(&mut self, context: &AioContext) -> bool {
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
    pub fn served(&self, index: usize) -> Option<AioContext> {
        self.served.get(index).map(|served| served.context.clone())
    }
}

/// The thread's own context, made on first use and homed here until the thread ends.
pub fn own(thread: &Thread) -> AioContext {
    if let Some(own) = &thread.homes.borrow().own {
        return own.clone();
    }
    if thread.is_late() {
        // Nobody would leave it: the thread has ended. Whoever blocks on it is its home for as long.
        return AioContext::builder().unstarted();
    }
    let own = AioContext::builder().unstarted();
    move_in(thread, &own, Stay::Resident).unwrap_or_else(|_| unreachable!("a new context has no home"));
    thread.homes.borrow_mut().own = Some(own.clone());
    own
}

/// Makes this thread a home of `context`, for one more stay. Fails with the present home, another thread's.
fn move_in(thread: &Thread, context: &AioContext, stay: Stay) -> Result<(), Home> {
    let resident = usize::from(stay == Stay::Resident);
    let homes = &mut *thread.homes.borrow_mut();
    if let Some(served) = homes.find(context) {
        served.stays += 1;
        served.residences += resident;
        if served.residences == resident && resident > 0 {
            context.mailbox().set_passing(false);
        }
        return Ok(());
    }
    context.mailbox().move_in(Home {
        thread: thread.number,
        thread_name: Home::name_of(&thread::current()),
        unparker: thread.parker.unparker(),
        passing: stay == Stay::Passing,
    })?;
    homes.add(Served { context: context.clone(), stays: 1, residences: resident, leaving: false });
    Ok(())
}

/// Ends one stay, and with the last one leaves home. What panics in destructors of what is dropped with that is the panic
/// hook's alone: a guard may be kept in a thread-local, whose destructor may not panic.
fn move_out(thread: &Thread, context: &AioContext, stay: Stay) {
    let mut homes = thread.homes.borrow_mut();
    let Some(served) = homes.find(context) else { return };
    served.stays -= 1;
    served.residences -= usize::from(stay == Stay::Resident);
    if served.stays_on(stay) || std::mem::replace(&mut served.leaving, true) {
        return;
    }
    drop(homes);
    // Still at home while they are dropped, so that what their destructors wake is rung here.
    drop_local_tasks(thread, context, stay == Stay::Resident);
    let mut homes = thread.homes.borrow_mut();
    let served = homes.find(context).expect("only this removes it");
    served.leaving = false;
    // A destructor may have entered again, for longer, or begun a call.
    let left = if served.stays_on(stay) { None } else { Some(homes.remove(context)) };
    drop(homes);
    if left.is_some() {
        // It drops what waits in a context that was closed.
        drop(Payload::of(|| context.mailbox().move_out()));
    }
    panics::discard(left);
}

/// Drops the `!Send` tasks of `thread` in `context` and the calls that it began, and with `calls` those not begun too.
fn drop_local_tasks(thread: &Thread, context: &AioContext, calls: bool) {
    // One round is enough but where another thread is between waking a task and queueing it, for some instructions,
    // or where destructors spawn on and on.
    const PATIENCE: Duration = Duration::from_secs(1);
    let mut deadline = None;
    loop {
        for task in context.mailbox().take_local(thread.number, calls) {
            panics::discard(task);
        }
        if !context.mailbox().has_local(thread.number)
            || Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + PATIENCE)
        {
            return;
        }
        thread::yield_now();
    }
}

/// Leaves everything, at the thread's end, guards forgotten or not.
pub fn leave_all(thread: &Thread) {
    // What destructors enter or make meanwhile is left too, but not for ever.
    for _ in 0..64 {
        let served = thread.homes.borrow_mut().served.last_mut().map(|served| {
            (served.stays, served.residences) = (1, 1);
            served.context.clone()
        });
        match served {
            Some(context) => move_out(thread, &context, Stay::Resident),
            None => {
                // Dropped when it is not borrowed any more: their destructors come back here too.
                let rest = mem::take(&mut *thread.homes.borrow_mut());
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
    thread: &'a Thread,
    number: Option<u64>,
}

impl<'a> AsCurrent<'a> {
    pub fn new(thread: &'a Thread, context: &AioContext) -> Self {
        let homes = &mut *thread.homes.borrow_mut();
        if homes.current().or(homes.own.as_ref()) == Some(context) {
            return Self { thread, number: None };
        }
        Self { thread, number: Some(homes.entered.push(context)) }
    }
}

impl Drop for AsCurrent<'_> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let left = self.thread.homes.borrow_mut().entered.remove(number);
        drop(left);
    }
}

/// A thread is home to a context while this lives. Returned by [`AioContext::enter`].
///
/// It may be kept in a thread-local: whichever is destroyed first at the thread's end, this or what it needs, the thread
/// leaves the context then. Dropped earlier, it leaves with the last of the context's guards, in whichever order; a
/// destructor of what is dropped with that, whose panic could end the process, has its panic printed and no more.
///
/// It stays on its thread:
///
/// ```compile_fail,E0277
/// let guard = co_wrapper_runtime::AioContext::new()?.enter();
/// std::thread::spawn(move || drop(guard));
/// # std::io::Result::Ok(())
/// ```
#[must_use = "the thread leaves the context when the guard is dropped"]
pub struct EnterGuard {
    thread: Rc<Thread>,
    context: AioContext,
    site: &'static Location<'static>,
    stay: Stay,
    number: u64,
    /// Where on the stack it was made: it may not be dropped further up.
    depth: usize,
    dispatched: usize,
    entered: reactor::Entered,
    _guard: Option<reactor::KeptGuard>,
}

impl EnterGuard {
    /// Enters `context`; `caller` is the function that a refusal names.
    #[track_caller]
    pub(crate) fn new(context: &AioContext, stay: Stay, caller: &str) -> Self {
        match Self::try_new(context, stay, caller) {
            Ok(guard) => guard,
            Err(home) => panic!(
                "{caller}: called at {}, and {context} is polled by thread {}, its home; thread {} cannot, spawn a task or \
                 schedule a bottom half there instead",
                Location::caller(),
                home.thread_name,
                Home::name_of(&thread::current()),
            ),
        }
    }

    /// Enters `context` for the function `caller`, or says who is at home.
    #[track_caller]
    pub(crate) fn try_new(context: &AioContext, stay: Stay, caller: &str) -> Result<Self, Home> {
        let thread = Thread::current(caller);
        // First, for it may panic.
        let entered = reactor::Entered::look(caller);
        let guard = entered.needs_guard().then(|| reactor::KeptGuard::new(stay == Stay::Resident));
        move_in(&thread, context, stay)?;
        let number = thread.homes.borrow_mut().entered.push(context);
        let (depth, dispatched) = (thread.depth(), thread.dispatched.get());
        Ok(Self {
            thread: Rc::clone(&thread),
            context: context.clone(),
            site: Location::caller(),
            stay,
            number,
            depth,
            dispatched,
            entered,
            _guard: guard,
        })
    }

    /// Serves the context, which is left, until the calls are done that a passing home began for others to break a circle
    /// (`circle.rs`). Returns the first panic of what ran.
    fn finish_received(&self) -> Option<Payload> {
        let mut panicked = None;
        if self.stay == Stay::Passing && self.thread.homes.borrow_mut().is_last_stay(&self.context) {
            while self.context.mailbox().has_received() {
                catch(&mut panicked, || _ = serve::poll(&self.thread, &self.entered, &self.context, true));
            }
        }
        panicked
    }

    pub(crate) fn thread(&self) -> &Thread {
        &self.thread
    }

    pub(crate) fn entered(&self) -> &reactor::Entered {
        &self.entered
    }
}

impl Drop for EnterGuard {
    fn drop(&mut self) {
        if fork::is_child() {
            return;
        }
        // A local task, whose own guard is the last to keep its thread at home: left there it could not even be dropped.
        let saws = task::runs_in(self.context.mailbox())
            && !coroutine::may_move()
            && self.thread.homes.borrow_mut().is_last_stay(&self.context)
            && !self.context.mailbox().has_own_call();
        let live = self.thread.depth() > self.depth || self.thread.dispatched.get() > self.dispatched;
        if live || saws {
            let inside = if saws {
                format!("inside a local task that still runs there{}", self.thread.innermost_wait())
            } else {
                self.thread.what_runs()
            };
            let message = format!(
                "EnterGuard: thread {} leaves {}, which it entered at {}, {inside}; drop the guard where it was made",
                Home::name_of(&thread::current()),
                self.context,
                self.site,
            );
            // The thread stays home until it ends.
            if !thread::panicking() {
                panic!("{message}");
            }
            // A second panic would abort, and the call below is being given up anyway.
            eprintln!("co_wrapper: {message}");
            if saws {
                return;
            }
        }
        let panicked = self.finish_received();
        let left = self.thread.homes.borrow_mut().entered.remove(self.number);
        if left.is_some() {
            move_out(&self.thread, &self.context, self.stay);
        }
        self.thread.end_if_late();
        panics::raise(panicked);
    }
}

impl fmt::Debug for EnterGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EnterGuard").field(&self.context).finish()
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
