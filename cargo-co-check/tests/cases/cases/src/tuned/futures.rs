//! Futures of all kinds, and what is handed on to other threads, other executors and bottom halves.

use super::calls::case;

case!(bad_async_block {} {
    async { bdrv_flush(1) }.await;
});
case!(bad_async_closure {} {
    let flush = async |x: u32| bdrv_flush(x);
    flush(1).await;
});
case!(bad_async_trait_method {
    trait Co {
        async fn co_get(&self) -> u8;
    }
    impl Co for Disk {
        async fn co_get(&self) -> u8 {
            self.read_blocking(0)
        }
    }
} {
    disk().co_get().await;
});
case!(bad_manual_future {
    struct Manual;
    impl Future for Manual {
        type Output = u32;
        fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<u32> {
            std::task::Poll::Ready(bdrv_flush(1))
        }
    }
} {
    Manual.await;
});
case!(bad_poll_fn {} {
    std::future::poll_fn(|_| std::task::Poll::Ready(bdrv_flush(1))).await;
});
case!(bad_before_the_future {
    #[co_wrapper::co_wrapper(mixed)]
    fn co_eager(x: u32) -> impl Future<Output = u32> {
        let y = bdrv_flush(x);
        async move { y }
    }
} {
    eager(1);
});
case!(bad_spawned {} {
    let _ = co_wrapper::AioContext::main().spawn(async { bdrv_flush(1) }).await;
});
case!(bad_nested_block_on {} {
    co_wrapper::AioContext::main().block_on(async { bdrv_flush(1) });
});
case!(bad_library {} {
    bad_in_library(1).await;
});
case!(ok_awaited {} {
    bdrv_co_flush(1).await;
});
case!(ok_spawn_blocking {} {
    let _entered = tokio_runtime().enter();
    tokio::task::spawn_blocking(|| bdrv_flush(1)).await.unwrap();
});
case!(ok_spawn_blocking_of_handle {
    fn flush() {
        bdrv_flush(1);
    }
} {
    tokio_runtime().spawn_blocking(|| flush()).await.unwrap();
});
case!(ok_unblock {} {
    smol::unblock(|| bdrv_flush(1)).await;
});
case!(ok_thread {} {
    std::thread::spawn(|| bdrv_flush(1)).join().unwrap();
});
case!(ok_thread_deep {
    fn first<D: Dev>(dev: &D) -> u8 {
        dev.get(0)
    }
} {
    let disk = disk();
    std::thread::spawn(move || first(&disk)).join().unwrap();
});
case!(ok_thread_builder {
    fn flush() {
        bdrv_flush(1);
    }
} {
    std::thread::Builder::new().spawn(flush).unwrap().join().unwrap();
});
case!(ok_thread_in_scope {} {
    let disk = disk();
    std::thread::scope(|scope| scope.spawn(|| disk.read_blocking(0)).join().unwrap());
});
case!(ok_one_shot_bottom_half {} {
    co_wrapper::AioContext::main().schedule_bh(|| {
        bdrv_flush(1);
    });
    yield_once().await;
    yield_once().await;
});
case!(ok_bottom_half {} {
    let bottom_half = co_wrapper::AioContext::main().bh(|| {
        bdrv_flush(1);
    });
    bottom_half.schedule();
    yield_once().await;
    yield_once().await;
});
case!(ok_no_co {
    #[co_wrapper::no_co_wrapper]
    fn bdrv_open(x: u32) -> u32 {
        bdrv_flush(x)
    }
} {
    bdrv_co_open(1).await;
});
case!(ok_task_of_tokio {} {
    tokio_runtime().spawn(async { bdrv_flush(1) }).await.unwrap();
});
case!(ok_sent_to_worker {} {
    let (jobs, queue) = std::sync::mpsc::channel::<Box<dyn FnOnce() + Send>>();
    let worker = std::thread::spawn(move || queue.into_iter().for_each(|job| job()));
    jobs.send(Box::new(|| drop(bdrv_flush(1)))).unwrap();
    drop(jobs);
    worker.join().unwrap();
});
