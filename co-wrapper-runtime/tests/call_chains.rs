//! Chains of waits through several threads that come back to the first one: whatever ran there, however each thread waits
//! for the next. The line x07 of the contract.
//!
//! What comes back is held back by the first thread's nested wait, unless that knows that it waits for it. Then it runs
//! only when nothing has moved for some milliseconds, which the context's statistics count. The tests look at that
//! count, and not at the clock.

#![cfg(all(feature = "graph", not(loom)))]

mod common;
#[cfg(all(feature = "tokio", unix))]
#[path = "common/waiting.rs"]
mod waiting;

use std::sync::{Arc, Mutex};

use async_channel::Sender;
use co_wrapper_runtime::{
    __private::{Wrapper, arg, no_co, poll_co_in},
    AioContext, IoThread,
};
use common::{
    main_loop::{NO_CO, on_main},
    mixed, ms, plain, within_bounds,
};

static REMOTE: Wrapper = Wrapper { name: "remote", target: "co_remote", mixed: true };

/// What the first thread runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Task,
    BottomHalf,
    #[cfg(all(feature = "tokio", unix))]
    Handler,
    /// The body of a `no_co_wrapper`, where the first thread is the main loop.
    NoCo,
}

const ORIGINS: &[Origin] = &[
    Origin::Task,
    Origin::BottomHalf,
    #[cfg(all(feature = "tokio", unix))]
    Origin::Handler,
    Origin::NoCo,
];

/// How a thread waits for what the next one runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// In a call with `ctx`.
    Call,
    /// In such a call within the future of another call.
    CallInACall,
    /// In a call whose future joins a task.
    Join,
    /// In a call whose future joins several tasks at once, by wakers of its own.
    JoinAmongOthers,
    /// In a call on yet another thread. Its future joins a task, and blocks nothing.
    JoinThere,
    /// In a call whose future awaits a `no_co_wrapper`. The next thread is the main loop.
    NoCo,
    /// In a call on yet another thread, whose future awaits a `no_co_wrapper`.
    NoCoThere,
    /// In a call on yet another thread, whose future joins a coroutine there that makes the call with `ctx`.
    #[cfg(feature = "coroutine")]
    CoroutineThere,
}

const ALL: &[Waits] = &[
    Waits::Call,
    Waits::CallInACall,
    Waits::Join,
    Waits::JoinAmongOthers,
    Waits::JoinThere,
    Waits::NoCo,
    Waits::NoCoThere,
    #[cfg(feature = "coroutine")]
    Waits::CoroutineThere,
];

impl Waits {
    fn needs_main(self) -> bool {
        matches!(self, Self::NoCo | Self::NoCoThere)
    }
}

struct Chain {
    /// Of the threads in the ring, the first one first.
    contexts: Vec<AioContext>,
    /// How each waits for the next one.
    waits: Vec<Waits>,
    /// Another one.
    elsewhere: AioContext,
    done: Sender<()>,
}

/// Runs on the thread `at` of the chain: waits for the next one. The last one's next one is the first.
fn go_on(chain: &Arc<Chain>, at: usize) {
    let Some(waits) = chain.waits.get(at) else { return };
    let next = Arc::clone(chain);
    let ctx = &chain.contexts[(at + 1) % chain.contexts.len()];
    let task = async move { go_on(&next, at + 1) };
    match waits {
        Waits::Call => poll_co_in(&REMOTE, ctx, task, |task| task),
        Waits::CallInACall => mixed(async { poll_co_in(&REMOTE, ctx, task, |task| task) }),
        Waits::Join => mixed(ctx.spawn(task)),
        Waits::JoinAmongOthers => {
            let all = [ctx.spawn(async {}), ctx.spawn(task), ctx.spawn(async {})];
            drop(mixed(futures::future::join_all(all)));
        }
        Waits::JoinThere => poll_co_in(&REMOTE, &chain.elsewhere, task, |task| ctx.spawn(task)),
        #[cfg(feature = "coroutine")]
        Waits::CoroutineThere => {
            let (there, ctx) = (chain.elsewhere.clone(), ctx.clone());
            poll_co_in(&REMOTE, &chain.elsewhere, task, move |task| {
                // SAFETY: nothing in the coroutine is a scope that others may leave before it.
                unsafe { there.spawn_coroutine(move || poll_co_in(&REMOTE, &ctx, task, |task| task)) }
            });
        }
        Waits::NoCo | Waits::NoCoThere => {
            let next = Arc::clone(chain);
            let body = move |()| {
                go_on(&next, at + 1);
                arg(())
            };
            match waits {
                Waits::NoCo => mixed(no_co(&NO_CO, (), body)),
                _ => poll_co_in(&REMOTE, &chain.elsewhere, body, |body| no_co(&NO_CO, (), body)),
            }
        }
    }
}

/// Runs a chain from `origin` on, and returns how often one of its threads ran what it had held back.
fn held_back_runs(main: &AioContext, io: &[IoThread], origin: Origin, waits: &[Waits], main_at: Option<usize>) -> u64 {
    let mut others = io[1..].iter().map(|io| io.context().clone());
    let place = |at| if main_at == Some(at) { main.clone() } else { others.next().expect("as many as there are") };
    let contexts: Vec<_> = (0..waits.len()).map(place).collect();
    let first = contexts[0].clone();
    let (done, is_done) = async_channel::bounded(1);
    let elsewhere = io[0].context().clone();
    let chain = Arc::new(Chain { contexts, waits: waits.to_vec(), elsewhere, done });
    let count = || io.iter().map(IoThread::context).chain([main]).map(|ctx| ctx.stats().held_back_runs).sum::<u64>();
    let before = count();
    let run = move || {
        go_on(&chain, 0);
        chain.done.try_send(()).unwrap();
    };
    match origin {
        Origin::Task => drop(first.spawn(async move { run() })),
        Origin::BottomHalf => first.schedule_bh(run),
        #[cfg(all(feature = "tokio", unix))]
        Origin::Handler => {
            let (ours, theirs) = waiting::readable();
            let watched = ours.try_clone().unwrap();
            let mut run = Some((run, ours, theirs));
            let handler = first.fd_handler(&watched, co_wrapper_runtime::Interest::READABLE, move || {
                if let Some((run, mut ours, _theirs)) = run.take() {
                    std::io::Read::read_exact(&mut ours, &mut [0]).unwrap();
                    run();
                }
            });
            main.block_on(is_done.recv()).unwrap();
            drop(handler);
            return count() - before;
        }
        Origin::NoCo => {
            let body = move |()| {
                run();
                arg(())
            };
            drop(io[0].context().spawn(no_co(&NO_CO, (), body)));
        }
    }
    main.block_on(is_done.recv()).unwrap();
    count() - before
}

/// Catches: a chain that is lost where a thread waits otherwise than in a call with `ctx`, where the code that waits is no
/// task, or where what comes back is a task or a `no_co_wrapper`'s body and not a call.
#[test]
#[cfg_attr(miri, ignore = "the threads spin, which takes Miri long")]
fn x07_a_chain_of_any_waits_comes_back_without_a_pause() {
    for origin in ORIGINS.iter().copied() {
        on_main(move |main| {
            let io: Vec<_> = (0..5).map(|n| IoThread::spawn(&format!("io{n}")).unwrap()).collect();
            let mut late = Vec::new();
            for count in 2..=4 {
                for (some, other) in ALL.iter().flat_map(|some| ALL.iter().map(|other| (*some, *other))) {
                    for main_at in [None, Some(0), Some(1)] {
                        // Each waits as one of the two says, where its next one can be waited for like that.
                        let waits: Vec<_> = (0..count)
                            .map(|at| if at % 2 == 0 { some } else { other })
                            .enumerate()
                            .map(|(at, waits)| match main_at == Some((at + 1) % count) {
                                false if waits.needs_main() => Waits::Call,
                                _ => waits,
                            })
                            .collect();
                        let uses = |of: Waits| waits.contains(&of);
                        let is_new =
                            uses(some) && uses(other) && (main_at.is_none() || some.needs_main() || other.needs_main());
                        if !is_new || (origin == Origin::NoCo && main_at != Some(0)) {
                            continue;
                        }
                        // A thread that a busy machine holds up between two steps makes another one take what it has held
                        // back. A chain that needs that does so each time.
                        let run = || held_back_runs(&main, &io, origin, &waits, main_at);
                        let mut runs: Vec<_> = (0..5).map(|_| run()).collect();
                        while !runs.contains(&0) && runs.len() < 100 {
                            runs.push(run());
                        }
                        if !runs.contains(&0) {
                            late.push(format!("{origin:?}, {waits:?}, main at {main_at:?}: {runs:?}"));
                            assert!(late.len() < 5, "chains paused, these among them:\n{}", late.join("\n"));
                        }
                    }
                }
            }
            assert!(late.is_empty(), "{} chains paused:\n{}", late.len(), late.join("\n"));
        });
    }
}

/// A thread waits for one that joins many tasks of the first one's.
///
/// Catches: tasks that nest without end because all of them are waited for; a search through all of them for each.
#[test]
#[cfg_attr(miri, ignore = "Miri takes long")]
fn x07_w11_many_tasks_that_are_joined_from_elsewhere_do_not_nest_without_end() {
    let deepest = |tasks: usize, waits: bool| {
        within_bounds(move || {
            let [io, other] = ["io", "other"].map(|name| IoThread::spawn(name).unwrap());
            let (ctx, there) = (io.context().clone(), other.context().clone());
            let joins = move |ctx: AioContext| async move {
                let one = || async move {
                    if waits {
                        mixed(AioContext::current().sleep(ms(1)));
                    }
                };
                futures::future::join_all((0..tasks).map(|_| ctx.spawn(one()))).await.len()
            };
            let here = ctx.clone();
            let joined = ctx.spawn(async move { poll_co_in(&REMOTE, &there, here, joins) });
            assert_eq!(plain(joined), tasks);
            let deepest = io.context().stats().deepest_nesting;
            println!("{deepest} deep with {tasks} tasks, waits: {waits}");
            deepest
        })
    };
    for (tasks, waits) in [(20_000, false), (300, true)] {
        // Whenever a busy machine holds a thread up, another one takes one more of what it holds back. If the depth had no
        // bound, it would be too deep each time.
        assert!((0..5).any(|_| deepest(tasks, waits) < 32), "{tasks} tasks, waits: {waits}: too deep each time");
    }
}

/// A thread waits for one that spawns tasks in the first one's context, and joins only the last.
///
/// Catches: a task that is waited for and starts before older ones.
#[test]
fn x07_t01_a_task_that_is_waited_for_starts_after_those_before_it() {
    within_bounds(|| {
        let [io, other] = ["io", "other"].map(|name| IoThread::spawn(name).unwrap());
        let (ctx, there) = (io.context().clone(), other.context().clone());
        let joins_the_last = |ctx: AioContext| async move {
            let began = Arc::new(Mutex::new(Vec::new()));
            let tasks: Vec<_> = (0..8)
                .map(|number| {
                    let began = Arc::clone(&began);
                    ctx.spawn(async move { began.lock().unwrap().push(number) })
                })
                .collect();
            tasks.into_iter().next_back().unwrap().await;
            Vec::clone(&began.lock().unwrap())
        };
        let here = ctx.clone();
        let joined = ctx.spawn(async move { poll_co_in(&REMOTE, &there, here, joins_the_last) });
        assert_eq!(plain(joined), (0..8).collect::<Vec<_>>());
    });
}
