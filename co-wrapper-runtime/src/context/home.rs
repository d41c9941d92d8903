//! Which thread polls a context: its home. Entering makes a thread the home, leaving ends it.
//!
//! A context has at most one home thread. What a thread is home to, every wait of that thread serves. Leaving drops the
//! `!Send` tasks that the thread spawned; what else waits in the context waits for its next home.

use std::{
    fmt, mem,
    panic::{Location, resume_unwind},
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use super::{
    AioContext,
    serve::{self, Payload, catch},
    thread::Thread,
};
use crate::{
    fork, reactor,
    tasks::{coroutine, mailbox::Home, task},
};

/// The contexts of one thread.
#[derive(Default)]
pub struct Homes {
    /// The contexts that this thread is home to.
    served: Vec<Served>,
    /// What `current()` answers, innermost last; the number tells stays in the same context apart.
    entered: Vec<(u64, AioContext)>,
    next_stay: u64,
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
        self.entered.last().map(|(_, context)| context)
    }

    /// Whether one call or guard alone keeps the thread home to `context`.
    fn is_last_stay(&self, context: &AioContext) -> bool {
        self.served.iter().any(|served| served.context == *context && served.stays == 1)
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
    if let Some(served) = homes.served.iter_mut().find(|served| served.context == *context) {
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
    homes.served.push(Served { context: context.clone(), stays: 1, residences: resident, leaving: false });
    Ok(())
}

/// Ends one stay, and with the last one leaves home.
fn move_out(thread: &Thread, context: &AioContext, stay: Stay) {
    let mut homes = thread.homes.borrow_mut();
    let Some(served) = homes.served.iter_mut().find(|served| served.context == *context) else { return };
    served.stays -= 1;
    served.residences -= usize::from(stay == Stay::Resident);
    if served.stays_on(stay) || std::mem::replace(&mut served.leaving, true) {
        return;
    }
    drop(homes);
    // Still at home while they are dropped, so that what their destructors wake is rung here.
    let panicked = drop_local_tasks(thread, context, stay == Stay::Resident);
    let mut homes = thread.homes.borrow_mut();
    let at = homes.served.iter().position(|served| served.context == *context).expect("only this removes it");
    homes.served[at].leaving = false;
    // A destructor may have entered again, for longer, or begun a call.
    let left = (!homes.served[at].stays_on(stay)).then(|| homes.served.remove(at));
    drop(homes);
    if left.is_some() {
        context.mailbox().move_out();
    }
    drop(left);
    raise(panicked, context);
}

/// Raises what a task of `context` or its destructor panicked with, unless the thread unwinds already.
fn raise(panicked: Option<Payload>, context: &dyn fmt::Display) {
    if let Some(payload) = panicked {
        if thread::panicking() {
            eprintln!(
                "co_wrapper: EnterGuard: a task of {context} or its destructor panicked as thread {} left that; the panic is \
                 printed above and dropped, because the thread is panicking already; catch it in the task",
                Home::name_of(&thread::current())
            );
        } else {
            resume_unwind(payload);
        }
    }
}

/// Drops the `!Send` tasks of `thread` in `context` and the calls that it began, and with `calls` those not begun too.
/// Returns the first panic of a destructor.
fn drop_local_tasks(thread: &Thread, context: &AioContext, calls: bool) -> Option<Payload> {
    // One round is enough but where another thread is between waking a task and queueing it, for some instructions,
    // or where destructors spawn on and on.
    const PATIENCE: Duration = Duration::from_secs(1);
    let mut panicked = None;
    let mut deadline = None;
    loop {
        for task in context.mailbox().take_local(thread.number, calls) {
            catch(&mut panicked, || drop(task));
        }
        if !context.mailbox().has_local(thread.number)
            || Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + PATIENCE)
        {
            return panicked;
        }
        thread::yield_now();
    }
}

/// Leaves everything, at the thread's end, guards forgotten or not.
pub fn leave_all(thread: &Thread) {
    let mut panicked = None;
    // What destructors enter or make meanwhile is left too, but not for ever.
    for _ in 0..64 {
        let served = thread.homes.borrow_mut().served.last_mut().map(|served| {
            (served.stays, served.residences) = (1, 1);
            served.context.clone()
        });
        match served {
            Some(context) => catch(&mut panicked, || move_out(thread, &context, Stay::Resident)),
            None => {
                // Dropped when it is not borrowed any more: their destructors come back here too.
                let rest = mem::take(&mut *thread.homes.borrow_mut());
                if rest.own.is_none() && rest.entered.is_empty() {
                    break;
                }
                catch(&mut panicked, || drop(rest));
            }
        }
    }
    raise(panicked, &"an AioContext");
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
        homes.next_stay += 1;
        homes.entered.push((homes.next_stay, context.clone()));
        Self { thread, number: Some(homes.next_stay) }
    }
}

impl Drop for AsCurrent<'_> {
    fn drop(&mut self) {
        if self.number.is_none() {
            return;
        }
        let mut homes = self.thread.homes.borrow_mut();
        let at = homes.entered.iter().rposition(|(number, _)| Some(*number) == self.number);
        let left = at.map(|at| homes.entered.remove(at));
        drop(homes);
        drop(left);
    }
}

/// A thread is home to a context while this lives. Returned by [`AioContext::enter`].
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
    _guard: Option<reactor::Guard>,
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
        let guard = entered.needs_guard().then(reactor::Entered::guard);
        move_in(&thread, context, stay)?;
        let homes = &mut *thread.homes.borrow_mut();
        homes.next_stay += 1;
        homes.entered.push((homes.next_stay, context.clone()));
        let number = homes.next_stay;
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
        if self.stay == Stay::Passing && self.thread.homes.borrow().is_last_stay(&self.context) {
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
            && self.thread.homes.borrow().is_last_stay(&self.context)
            && !self.context.mailbox().has_own_call();
        let live = self.thread.depth() > self.depth || self.thread.dispatched.get() > self.dispatched;
        if live || saws {
            let message = format!(
                "EnterGuard: thread {} leaves {}, which it entered at {}, inside a {} there; drop the guard where it was made",
                Home::name_of(&thread::current()),
                self.context,
                self.site,
                if saws { "local task that still runs" } else { "call that still waits" },
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
        let mut homes = self.thread.homes.borrow_mut();
        let stay = homes.entered.iter().rposition(|(number, _)| *number == self.number);
        let left = stay.map(|at| homes.entered.remove(at));
        drop(homes);
        if left.is_some() {
            move_out(&self.thread, &self.context, self.stay);
        }
        self.thread.end_if_late();
        raise(panicked, &self.context);
    }
}

impl fmt::Debug for EnterGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EnterGuard").field(&self.context).finish()
    }
}
