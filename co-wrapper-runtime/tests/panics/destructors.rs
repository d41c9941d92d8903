//! Destructors of what users hand over: futures, results, arguments, closures.

use super::*;

pub fn destructors() -> Vec<Row> {
    let mut rows = vec![
        in_context("future, finished", NOTHING, |ctx| {
            struct Ready(Bomb);
            impl Future for Ready {
                type Output = u8;
                fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u8> {
                    let Self(_bomb) = &*self;
                    Poll::Ready(1)
                }
            }
            assert_eq!(plain(ctx.spawn(Ready(Bomb))), 1);
        }),
        in_context("future, cancelled", NOTHING, |ctx| {
            let task = ctx.spawn(holds_a_bomb());
            ctx.poll(false);
            assert_eq!(plain(task.cancel()), None);
        }),
        in_context("future, cancelled before it was polled", NOTHING, |ctx| {
            let bomb = Bomb;
            let task = ctx.spawn(async move { mem::forget(bomb) });
            assert_eq!(plain(task.cancel()), None);
        }),
        in_context("future, aborted", NOTHING, |ctx| {
            let task = ctx.spawn_local(holds_a_bomb());
            ctx.poll(false);
            task.abort_handle().abort();
            polls(ctx);
            assert!(task.is_finished());
        }),
        with_another("future, context closed", NOTHING, |ctx, _guard| {
            drop(ctx.spawn(holds_a_bomb()));
            ctx.poll(false);
            ctx.close();
        }),
        with_another("future, home left", NOTHING, |ctx, guard| {
            drop(ctx.spawn_local(holds_a_bomb()));
            ctx.poll(false);
            drop(guard);
        }),
        with_another("future, context dropped", NOTHING, |ctx, guard| {
            drop(ctx.spawn(holds_a_bomb()));
            ctx.poll(false);
            drop((guard, ctx));
        }),
        row("future and bottom half, thread ended", || {
            thread::spawn(|| {
                let ctx = AioContext::current();
                drop(ctx.spawn_local(holds_a_bomb()));
                ctx.poll(false);
                queue_bombs(&ctx);
            })
            .join()
            .unwrap();
        }),
        in_context("output, detached", NOTHING, |ctx| {
            drop(ctx.spawn(async { Bomb }));
            ctx.poll(false);
        }),
        in_context("output, detached and local", NOTHING, |ctx| {
            drop(ctx.spawn_local(async { (Bomb, std::rc::Rc::new(())) }));
            ctx.poll(false);
        }),
        in_context("output, cancelled in its last poll", NOTHING, |ctx| {
            let place = Arc::new(Mutex::new(None::<co_wrapper_runtime::JoinHandle<Bomb>>));
            let own = Arc::clone(&place);
            *place.lock().unwrap() = Some(ctx.spawn(async move {
                let own = own.lock().unwrap().take();
                drop(own.unwrap().cancel());
                Bomb
            }));
            ctx.poll(false);
        }),
        in_context("output, handle dropped", DESTRUCTOR, |ctx| {
            let task = ctx.spawn(async { Bomb });
            ctx.poll(false);
            drop(task);
        }),
        in_context("output, handle dropped while unwinding", NOTHING, |ctx| {
            let task = ctx.spawn(async { Bomb });
            ctx.poll(false);
            while_unwinding(|| drop(task));
        }),
        in_context("output, cancel's future dropped", DESTRUCTOR, |ctx| {
            let task = ctx.spawn(async { Bomb });
            ctx.poll(false);
            drop(task.cancel());
        }),
        with_another("bottom halves, context closed", DESTRUCTOR, |ctx, _guard| {
            let drops = queue_bombs(&ctx);
            let heard = heard_of(|| ctx.close());
            assert_eq!(drops.load(Ordering::Relaxed), 1);
            raise(heard);
        }),
        with_another("bottom halves, context dropped", DESTRUCTOR, |ctx, guard| {
            queue_bombs(&ctx);
            drop(guard);
            drop(ctx);
        }),
        with_another("bottom halves, context dropped while unwinding", NOTHING, |ctx, guard| {
            let drops = queue_bombs(&ctx);
            while_unwinding(|| drop((guard, ctx)));
            assert_eq!(drops.load(Ordering::Relaxed), 1);
        }),
        with_another("bottom halves, closed by another thread and polled", DESTRUCTOR, |ctx, _guard| {
            let drops = queue_bombs(&ctx);
            thread::scope(|scope| scope.spawn(|| ctx.close()).join().unwrap());
            let heard = polls(&ctx);
            assert_eq!((drops.load(Ordering::Relaxed), heard.len()), (1, 1));
            raise(heard);
        }),
        with_another("bottom halves, closed by another thread under a call", DESTRUCTOR, |ctx, _guard| {
            let drops = queue_bombs(&ctx);
            thread::scope(|scope| scope.spawn(|| ctx.close()).join().unwrap());
            let done = AtomicBool::new(false);
            let heard = heard_of(|| {
                plain(async {
                    rounds_until(|| drops.load(Ordering::Relaxed) == 1).await;
                    done.store(true, Ordering::Relaxed);
                });
            });
            assert!(done.load(Ordering::Relaxed), "the call was given up");
            assert_eq!((drops.load(Ordering::Relaxed), heard.len()), (1, 1));
            raise(heard);
        }),
        with_another("bottom halves, closed by another thread and left", NOTHING, |ctx, guard| {
            let drops = queue_bombs(&ctx);
            thread::scope(|scope| scope.spawn(|| ctx.close()).join().unwrap());
            let heard = heard_of(|| drop(guard));
            assert_eq!(drops.load(Ordering::Relaxed), 1);
            assert!(format!("{ctx:?}").contains("home: None"));
            raise(heard);
        }),
        row("bottom halves, IoThread joined", || {
            let (io, go) = busy();
            let drops = queue_bombs(io.context());
            thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(later());
                    go();
                });
                io.join();
            });
            assert_eq!(drops.load(Ordering::Relaxed), 1);
        }),
        in_context("reusable bottom half, dropped", DESTRUCTOR, |ctx| {
            let bomb = Bomb;
            drop(ctx.bh(move || _ = &bomb));
        }),
        in_context("reusable bottom half, dropped while unwinding", NOTHING, |ctx| {
            let bomb = Bomb;
            let bottom_half = ctx.bh(move || _ = &bomb);
            while_unwinding(|| drop(bottom_half));
        }),
        in_context("reusable bottom half, which drops itself and panics", &["of the callback"], |ctx| {
            let (bomb, place) = (Bomb, Arc::new(Mutex::new(None)));
            let own = Arc::clone(&place);
            *place.lock().unwrap() = Some(ctx.bh(move || {
                let _bomb = &bomb;
                let own = own.lock().unwrap().take();
                drop::<Option<co_wrapper_runtime::BottomHalf>>(own);
                panic!("of the callback");
            }));
            place.lock().unwrap().as_ref().unwrap().schedule();
            ctx.poll(false);
        }),
        in_context("handler, dropped", DESTRUCTOR, |ctx| {
            let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
            let bomb = Bomb;
            drop(ctx.fd_handler(&socket, co_wrapper_runtime::Interest::READABLE, move || _ = &bomb));
        }),
        in_context("handler, dropped while unwinding", NOTHING, |ctx| {
            let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
            let bomb = Bomb;
            let handler = ctx.fd_handler(&socket, co_wrapper_runtime::Interest::READABLE, move || _ = &bomb);
            while_unwinding(|| drop(handler));
        }),
        in_context("handler, which panics", &["of the callback"], |ctx| {
            let (socket, other) = std::os::unix::net::UnixStream::pair().unwrap();
            std::io::Write::write_all(&mut &other, b"x").unwrap();
            let bomb = Bomb;
            let _handler = ctx.fd_handler(&socket, co_wrapper_runtime::Interest::READABLE, move || {
                let _bomb = &bomb;
                panic!("of the callback");
            });
            ctx.poll(false);
        }),
        in_context("arguments, of a call whose context is closed", DESTRUCTOR, |_| {
            let (io, go) = busy();
            let ctx = io.context().clone();
            thread::scope(|scope| {
                scope.spawn(move || {
                    until(|| ctx.stats().tasks_live > 0);
                    ctx.close();
                    go();
                });
                poll_co_in(WRAPPER, io.context(), arg(Bomb), |bomb| async move { mem::forget(bomb.into_inner()) });
            });
        }),
        in_context("arguments, of a call that timed out", DESTRUCTOR, |_| {
            let (io, go) = busy();
            thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(later());
                    go();
                });
                let call =
                    |bomb: co_wrapper_runtime::__private::Sent<Bomb>| async move { mem::forget(bomb.into_inner()) };
                if poll_co_in_timeout(WRAPPER, io.context(), MS, arg(Bomb), call).is_ok() {
                    came_too_late();
                }
            });
        }),
        in_context("future, of a call elsewhere", NOTHING, |_| {
            let io = IoThread::spawn("io").unwrap();
            assert_eq!(
                poll_co_in(WRAPPER, io.context(), (), |()| {
                    let bomb = Bomb;
                    std::future::poll_fn(move |_| {
                        let _bomb = &bomb;
                        Poll::Ready(3)
                    })
                }),
                3
            );
            assert_eq!(plain(io.context().spawn(async { 1 })), 1);
        }),
        in_context("future, of a call elsewhere that timed out", NOTHING, |_| {
            let io = IoThread::spawn("io").unwrap();
            assert!(poll_co_in_timeout(WRAPPER, io.context(), MS, (), |()| holds_a_bomb()).is_err());
            assert_eq!(plain(io.context().spawn(async { 1 })), 1);
        }),
        in_context("result, of a call under which a bottom half panicked", &["of the callback"], |ctx| {
            let io = IoThread::spawn("io").unwrap();
            let ran = Arc::new(AtomicBool::new(false));
            let runs = Arc::clone(&ran);
            ctx.schedule_bh(move || {
                runs.store(true, Ordering::Relaxed);
                panic!("of the callback");
            });
            drop(poll_co_in(WRAPPER, io.context(), (), |()| async move {
                rounds_until(|| ran.load(Ordering::Relaxed)).await;
                Bomb
            }));
        }),
        in_context("future, of a call", DESTRUCTOR, |_| {
            let bomb = Bomb;
            plain(std::future::poll_fn(move |_| {
                let _bomb = &bomb;
                Poll::Ready(())
            }));
        }),
        in_context("future, of a call that timed out", DESTRUCTOR, |_| {
            _ = co_wrapper_runtime::__private::poll_co_timeout(WRAPPER, MS, (), |()| holds_a_bomb());
        }),
    ];
    rows.extend([
        row("no_co arguments, context closed", || {
            let (main, ctx) = (AioContext::main(), entered());
            let _home = main.enter();
            let bomb = Bomb;
            let mut call = Box::pin(no_co(WRAPPER, (), move |()| {
                mem::forget(bomb);
                arg(())
            }));
            let woken = Arc::new(Counts::default());
            let waker = Waker::from(Arc::clone(&woken));
            assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            assert_eq!(heard_of(|| main.close()), DESTRUCTOR);
            assert_eq!(woken.0.load(Ordering::Relaxed), 1);
            assert!(heard_of(|| plain(call))[0].contains("was closed"));
            is_well(&ctx);
        }),
        row("no_co arguments, dropped", || {
            let bomb = Bomb;
            assert_eq!(
                heard_of(|| drop(no_co(WRAPPER, bomb, |bomb| {
                    mem::forget(bomb);
                    arg(())
                }))),
                DESTRUCTOR
            );
        }),
        row("no_co arguments, dropped while unwinding", || {
            let call = no_co(WRAPPER, Bomb, |bomb| {
                mem::forget(bomb);
                arg(())
            });
            while_unwinding(|| drop(call));
        }),
        row("no_co result, unheard", || {
            let main = AioContext::main();
            let _home = main.enter();
            let place = Arc::new(Mutex::new(None::<Pin<Box<dyn Future<Output = Bomb> + Send>>>));
            let own = Arc::clone(&place);
            *place.lock().unwrap() = Some(Box::pin(no_co(WRAPPER, (), move |()| {
                let own = own.lock().unwrap().take();
                drop(own);
                arg(Bomb)
            })));
            let mut call = place.lock().unwrap().take().unwrap();
            assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            *place.lock().unwrap() = Some(call);
            assert_eq!(polls(&main), NOTHING);
            is_well(&main);
        }),
    ]);
    rows
}

/// Catches: a destructor that ends the process, a thread, a close or a leave half way through; or that is raised in place
/// of the panic for which it runs.
#[test]
fn w13_destructors() {
    check(destructors);
}
