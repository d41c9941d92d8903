//! Blocking functions awaited in coroutines: the main loop runs them.

#![cfg(feature = "graph")]

mod common;

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use co_wrapper_runtime::{
    __private::{arg, no_co, no_co_read},
    AioContext, IoThread,
    graph::{GraphLock, GraphRead},
};
use common::{
    main_loop::{NO_CO, on_main, poll_once},
    panic_of, plain,
};

#[test]
fn no_co_runs_in_the_main_loop_outside_coroutine_context() {
    on_main(|main| {
        let io = IoThread::spawn("io").unwrap();
        let home = thread::current().id();
        let task = io.context().spawn(async move {
            no_co(&NO_CO, 20, |n| arg((n + 1, thread::current().id(), co_wrapper_runtime::in_coroutine()))).await
        });
        assert_eq!(main.block_on(task), (21, home, false));
        let message = panic_of(|| main.block_on(no_co::<_, ()>(&NO_CO, (), |()| panic!("in the body"))));
        assert_eq!(message, "in the body");
        let lock = GraphLock::new();
        let read = main.block_on(no_co_read(&NO_CO, lock.clone(), 3, |n, _: &GraphRead| arg(n)));
        assert_eq!(read, 3);
        drop(lock.write());
    });
}

#[test]
fn no_co_is_cancelled_before_it_begins_and_runs_on_after() {
    on_main(|main| {
        let ran = Arc::new(AtomicUsize::new(0));
        let call = |ran: &Arc<AtomicUsize>| {
            let ran = Arc::clone(ran);
            Box::pin(no_co(&NO_CO, (), move |()| arg(ran.fetch_add(1, Ordering::Relaxed))))
        };
        drop(call(&ran));
        let mut before = call(&ran);
        assert!(poll_once(before.as_mut()).is_pending());
        drop(before);
        main.poll(false);
        assert_eq!(ran.load(Ordering::Relaxed), 0);
        // Forgotten it runs, with what it owns.
        let mut forgotten = call(&ran);
        assert!(poll_once(forgotten.as_mut()).is_pending());
        std::mem::forget(forgotten);
        main.poll(false);
        assert_eq!(ran.load(Ordering::Relaxed), 1);
        // Dropped while it runs.
        type Call = Pin<Box<dyn Future<Output = ()> + Send>>;
        let slot = Arc::new(Mutex::new(None::<Call>));
        let (dropper, counter) = (Arc::clone(&slot), Arc::clone(&ran));
        let mut running: Call = Box::pin(no_co(&NO_CO, (), move |()| {
            dropper.lock().unwrap().take();
            counter.fetch_add(1, Ordering::Relaxed);
            arg(())
        }));
        assert!(poll_once(running.as_mut()).is_pending());
        *slot.lock().unwrap() = Some(running);
        main.poll(false);
        assert_eq!(ran.load(Ordering::Relaxed), 2);
    });
}

#[test]
#[cfg_attr(miri, ignore = "Miri cannot start the process that has no main loop")]
fn no_co_without_a_main_loop_panics_and_names_the_cure() {
    on_main(|_| {
        // No home: the one that `on_main` made is this thread's, so another process it is.
        common::in_child("no_co_child_without_a_home", &[]);
    });
}

#[test]
#[ignore = "run by no_co_without_a_main_loop_panics_and_names_the_cure"]
fn no_co_child_without_a_home() {
    let message = panic_of(|| plain(no_co(&NO_CO, (), |()| arg(()))));
    assert!(message.contains("no thread is home to AioContext `main`") && message.contains("enter"), "{message}");
    AioContext::main().close();
    let message = panic_of(|| plain(no_co(&NO_CO, (), |()| arg(()))));
    assert!(message.contains("`main` was closed"), "{message}");
}
