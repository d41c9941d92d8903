//! The activations of a coroutine that has a stack of machine frames of its own.
//!
//! While such a coroutine runs, its calls are the innermost ones on its thread's activation stack, as if the code that
//! resumes it had made them. When it suspends, they are taken off; where it is resumed, which may be inside more or fewer
//! calls, they are put back. A coroutine suspends only in a call that its own code has made ([`Thread::may_suspend`]). So
//! there is at most one such call, and no loop runs in it. Its slot is the coroutine's, so that calls which other code
//! makes meanwhile do not take it.
//!
//! What belongs to the coroutine, and is swapped: that call; whether its calls are meant to wait long; the foreign tokio
//! handles that the call has found; the write guards of the graph lock that it holds. To the graph lock the coroutine is a
//! task. What belongs to the thread, and stays: the parker, the contexts that the thread is home to or has entered, its
//! board, the spare slots.

#![cfg_attr(not(all(test, not(loom))), expect(dead_code, reason = "for coroutines with stacks of their own"))]

use std::{rc::Rc, sync::Arc};

#[cfg(feature = "graph")]
use super::stack::Writing;
use super::{stack::Root, state::Thread};
use crate::{
    reactor::Foreign,
    tasks::{
        activation::{self, Mark},
        unit::Unit,
    },
    watch::{board::Runs, record::Slot},
};

/// The activations of one coroutine. They stay on its thread.
pub struct Activations {
    unit: Unit,
    /// The slot of the coroutine's outermost call, and the thread that has lent it. `None` before it first runs.
    lent: Option<(Rc<Thread>, Arc<Slot>)>,
    /// Whether the coroutine is suspended in that call.
    in_call: bool,
    expects_long: bool,
    foreign: Foreign,
    #[cfg(feature = "graph")]
    writing: Vec<Writing>,
}

/// What [`Activations::run`] restores.
struct Outer {
    root: Root,
    expects_long: usize,
    /// How many foreign handles are not the coroutine's.
    foreign: usize,
    /// How many write guards are not.
    #[cfg(feature = "graph")]
    writing: usize,
}

impl Activations {
    /// Those of a coroutine that has not run yet. Its code is coroutine context.
    pub fn new() -> Self {
        Self {
            unit: Unit::new(),
            lent: None,
            in_call: false,
            expects_long: false,
            foreign: Foreign::default(),
            #[cfg(feature = "graph")]
            writing: Vec::new(),
        }
    }

    /// Calls `resume`, which runs the coroutine until it suspends or ends, with these activations in place. If it ends
    /// with a panic, so does this.
    ///
    /// # Panics
    ///
    /// In a forked child.
    #[track_caller]
    pub fn run<R>(&mut self, name: &str, resume: impl FnOnce() -> R) -> R {
        struct Leave<'a>(&'a mut Activations, &'a Thread, Outer);
        impl Drop for Leave<'_> {
            #[inline]
            fn drop(&mut self) {
                self.0.leave(self.1, &self.2);
            }
        }

        let thread = match &self.lent {
            Some((thread, _)) => Rc::clone(thread),
            None => {
                let thread = Thread::current(name);
                self.lent = Some((Rc::clone(&thread), thread.take_spare()));
                thread
            }
        };
        let result = thread.stack.dispatch(Runs::Task, Mark::COROUTINE, || {
            activation::set_task(self.unit);
            let outer = self.enter(&thread);
            let _leave = Leave(self, &thread, outer);
            resume()
        });
        thread.end_if_late();
        result
    }

    #[inline]
    fn enter(&mut self, thread: &Thread) -> Outer {
        let stack = &thread.stack;
        let calls = stack.depth();
        if stack.next().is_none() {
            thread.add_slot();
        }
        let (_, slot) = self.lent.as_mut().expect("lent by `run`");
        let shown = self.in_call && slot.record.level() > 0;
        if shown {
            // Those that are shown are the outermost ones.
            thread.show_first_polls(calls);
        }
        slot.record.set_position(Some(calls));
        stack.exchange(slot, calls, self.in_call);
        if shown {
            thread.set_shown(calls + 1);
        }
        #[cfg(feature = "graph")]
        let writing = stack.put_back(&mut self.writing, calls);
        let foreign = self.foreign.put_back();
        let root = Root { calls, runs: stack.board.runs(), entry: thread.homes.borrow().entry() };
        Outer {
            root: stack.root.replace(root),
            expects_long: stack.board.expect_long(self.expects_long),
            foreign,
            #[cfg(feature = "graph")]
            writing,
        }
    }

    #[inline]
    fn leave(&mut self, thread: &Thread, outer: &Outer) {
        let stack = &thread.stack;
        self.expects_long = stack.board.expects_long();
        stack.board.end_expect_long(outer.expects_long);
        let Root { calls, runs, .. } = stack.root.replace(outer.root);
        self.in_call = stack.depth() > calls;
        debug_assert!(stack.depth() <= calls + 1 && stack.board.runs() == runs, "suspended in a nested call");
        self.foreign.take_from(outer.foreign);
        #[cfg(feature = "graph")]
        stack.take_from(outer.writing, &mut self.writing, calls);
        let (_, slot) = self.lent.as_mut().expect("lent by `run`");
        stack.exchange(slot, calls, false);
        slot.record.set_position(None);
        if stack.shown() > calls {
            thread.set_shown(calls);
        }
    }
}

impl Thread {
    /// Whether the innermost call may suspend: the code of a coroutine has made it directly, and has not entered a context
    /// since it was resumed.
    pub fn may_suspend(&self) -> bool {
        self.stack.is_at_root() && self.homes.borrow().entry() == self.stack.root.get().entry
    }
}

impl Drop for Activations {
    fn drop(&mut self) {
        let Some((thread, slot)) = self.lent.take() else { return };
        slot.record.hide();
        // A call that is never resumed keeps its slot.
        if !self.in_call {
            thread.give_spare(slot);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{panic, panic::Location};

    use super::*;
    use crate::thread::state::Place;

    static NAME: &str = "call";

    fn call() -> Place {
        Place::push(&NAME, Location::caller())
    }

    fn thread() -> Rc<Thread> {
        Thread::current("test")
    }

    /// What observers see: where each call on the stack was made, outermost first.
    fn seen() -> Vec<u32> {
        thread().stack.board.on_stack(usize::MAX).iter().map(|slot| slot.site().unwrap().line()).collect()
    }

    fn at(place: &Place) -> u32 {
        place.slot().site().unwrap().line()
    }

    /// Coroutines A and B suspend in their calls, inside different numbers of calls, and are resumed inside others, in any
    /// order.
    ///
    /// Catches: a slot that two calls have; a call that is counted, or seen, where its coroutine does not run; a slot
    /// that is lost.
    #[test]
    fn coroutines_take_their_calls_with_them() {
        let thread = thread();
        let (mut a, mut b) = (Activations::new(), Activations::new());
        let call_a = a.run("a", call);
        assert_eq!((thread.depth(), seen()), (0, vec![]));
        let outer = call();
        let call_b = b.run("b", || {
            assert!(!thread.may_suspend(), "it has made no call yet");
            let call_b = call();
            assert!(thread.may_suspend());
            assert_eq!((thread.depth(), seen()), (2, vec![at(&outer), at(&call_b)]));
            call_b
        });
        assert_eq!((thread.depth(), seen()), (1, vec![at(&outer)]));
        // B is resumed in A's code, in a call of A's.
        a.run("a", || {
            assert!(thread.may_suspend());
            let nested = call();
            assert!(!thread.may_suspend(), "a call in a call's future");
            b.run("b", || {
                assert!(thread.may_suspend());
                let calls = vec![at(&outer), at(&call_a), at(&nested), at(&call_b)];
                assert_eq!((thread.depth(), seen()), (4, calls));
            });
            assert_eq!(seen(), [at(&outer), at(&call_a), at(&nested)]);
            drop(nested);
            drop(call_a);
            // Now another one, in the same slot.
            let again = call();
            assert!(thread.may_suspend());
            drop(again);
        });
        drop(outer);
        assert_eq!((thread.depth(), seen()), (0, vec![]));
        b.run("b", || {
            assert_eq!(seen(), [at(&call_b)]);
            drop(call_b);
        });
        let slots = thread.stack.board.shown().len();
        drop((a, b));
        let mut more: Vec<_> = (0..2).map(|_| Activations::new()).collect();
        more.iter_mut().for_each(|more| more.run("more", || ()));
        assert_eq!(thread.stack.board.shown().len(), slots, "spare slots are taken again");
    }

    /// Catches: marks of a coroutine that its thread's other code has, or the reverse; one that it loses.
    #[test]
    fn what_a_coroutine_is_goes_with_it() {
        let thread = thread();
        let mut a = Activations::new();
        let expects = || thread.stack.board.expects_long();
        let outer_long = thread.stack.board.expect_long(true);
        let (call_a, long) = a.run("a", || {
            assert!(activation::is_coroutine() && !activation::may_move() && !expects());
            let long = thread.stack.board.expect_long(true);
            #[cfg(feature = "graph")]
            thread.stack.writing.borrow_mut().push(Writing { place: Location::caller(), calls: thread.depth() });
            (call(), long)
        });
        assert!(!activation::is_coroutine() && expects());
        thread.stack.board.end_expect_long(outer_long);
        #[cfg(feature = "graph")]
        assert!(thread.stack.writing.borrow().is_empty() && activation::task() == 0);
        let outer = call();
        a.run("a", || {
            assert!(expects());
            #[cfg(feature = "graph")]
            {
                let number = activation::task();
                assert_eq!(thread.stack.writing.borrow()[0].calls, 1, "where it is resumed");
                // As every other task, it waits while a loop of its own runs something.
                assert!(!thread.stack.is_suspended(number, 9));
                thread.stack.dispatch(Runs::Callback, Mark::NONE, || {
                    assert!(thread.stack.is_suspended(number, 9) && activation::task() == 0);
                });
            }
            thread.stack.board.end_expect_long(long);
            drop(call_a);
        });
        assert!(!expects());
        drop(outer);
    }

    /// Catches: an activation that stays where a coroutine ends with a panic.
    #[test]
    fn a_coroutine_that_panics_leaves_nothing() {
        let thread = thread();
        let ended = panic::catch_unwind(|| {
            let mut a = Activations::new();
            a.run("a", || {
                let _call = call();
                panic::resume_unwind(Box::new(()));
            });
        });
        assert!(ended.is_err() && !activation::is_coroutine() && !thread.is_dispatched());
        assert_eq!((thread.depth(), seen()), (0, vec![]));
        assert!(!thread.may_suspend());
        drop(call());
    }

    /// Catches: a coroutine that suspends while a context is current that it has entered, or one that its loop serves.
    #[test]
    fn a_coroutine_does_not_suspend_in_a_context_that_it_has_entered() {
        let thread = thread();
        let context = crate::context::AioContext::builder().unstarted();
        let mut a = Activations::new();
        a.run("a", || {
            let entered = thread.homes.borrow_mut().enter(&context);
            let in_context = call();
            assert!(!thread.may_suspend());
            drop(in_context);
            let left = thread.homes.borrow_mut().leave(entered);
            drop(left);
            let _call = call();
            assert!(thread.may_suspend());
        });
    }
}
