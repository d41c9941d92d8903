//! Futures that are joined, selected, collected, and handed on.

pub mod bad_join {
    use crate::harness::*;
    pub async fn run() {
        futures::join!(async { bdrv_flush(1) }, yield_once());
    }
}

pub mod bad_select {
    use crate::harness::*;
    use futures::FutureExt;
    pub async fn run() {
        let mut never = std::pin::pin!(std::future::pending::<()>().fuse());
        let mut now = std::pin::pin!(std::future::ready(1).fuse());
        futures::select! {
            () = never => {}
            x = now => { bdrv_flush(x); }
        }
    }
}

pub mod bad_futures_unordered {
    use crate::harness::*;
    use futures::{StreamExt, stream::FuturesUnordered};
    pub async fn run() {
        let mut all: FuturesUnordered<_> = (0..2).map(|x| async move { bdrv_flush(x) }).collect();
        while all.next().await.is_some() {}
    }
}

pub mod bad_boxed_future {
    use crate::harness::*;
    use std::{future::Future, pin::Pin};
    fn flush(x: u32) -> Pin<Box<dyn Future<Output = u32>>> {
        Box::pin(async move { bdrv_flush(x) })
    }
    pub async fn run() {
        flush(1).await;
    }
}

pub mod bad_made_before_awaited {
    use crate::harness::*;
    fn read(disk: &Disk) -> impl Future<Output = u8> + use<> {
        let first = disk.read_blocking(0);
        async move { first }
    }
    pub async fn run() {
        read(&disk()).await;
    }
}

pub mod bad_async_block_passed_on {
    use crate::harness::*;
    async fn timed<F: Future>(future: F) -> F::Output {
        yield_once().await;
        future.await
    }
    pub async fn run() {
        timed(async { bdrv_flush(1) }).await;
    }
}

pub mod bad_async_closure_passed_on {
    use crate::harness::*;
    async fn twice(f: impl AsyncFn(u32) -> u32) -> u32 {
        f(1).await + f(2).await
    }
    pub async fn run() {
        twice(async |x| bdrv_flush(x)).await;
    }
}

pub mod bad_map_of_future {
    use crate::harness::*;
    use futures::FutureExt;
    pub async fn run() {
        bdrv_co_flush(1).map(|x| bdrv_flush(x)).await;
    }
}

pub mod bad_stream_map {
    use crate::harness::*;
    use futures::StreamExt;
    pub async fn run() {
        let read: Vec<u32> = futures::stream::iter([1, 2]).map(bdrv_flush).collect().await;
        assert_eq!(read.len(), 2);
    }
}

pub mod bad_async_trait {
    use crate::harness::*;
    #[async_trait::async_trait(?Send)]
    trait Driver {
        async fn open(&self) -> u32;
    }
    struct Raw;
    #[async_trait::async_trait(?Send)]
    impl Driver for Raw {
        async fn open(&self) -> u32 {
            bdrv_flush(1)
        }
    }
    pub async fn run() {
        let driver: Box<dyn Driver> = Box::new(Raw);
        driver.open().await;
    }
}

pub mod ok_future_never_polled {
    use crate::harness::*;
    pub async fn run() {
        let guard = Guard(1);
        let future = bdrv_co_flush(1);
        drop(future);
        std::mem::forget(guard);
    }
}

pub mod ok_spawn_blocking_in_helper {
    use crate::harness::*;
    async fn off_thread<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
        tokio_runtime().spawn_blocking(f).await.unwrap()
    }
    pub async fn run() {
        off_thread(|| bdrv_flush(1)).await;
    }
}

pub mod ok_pool_of_workers {
    use crate::harness::*;
    use std::sync::mpsc;
    type Job = Box<dyn FnOnce() + Send>;
    struct Pool {
        jobs: mpsc::Sender<Job>,
        worker: std::thread::JoinHandle<()>,
    }
    impl Pool {
        fn new() -> Self {
            let (jobs, queue) = mpsc::channel::<Job>();
            let worker = std::thread::spawn(move || {
                while let Ok(job) = queue.recv() {
                    job();
                }
            });
            Self { jobs, worker }
        }
        fn submit(&self, job: impl FnOnce() + Send + 'static) {
            self.jobs.send(Box::new(job)).unwrap();
        }
    }
    pub async fn run() {
        let pool = Pool::new();
        pool.submit(|| {
            bdrv_flush(1);
        });
        drop(pool.jobs);
        pool.worker.join().unwrap();
    }
}

pub mod ok_bottom_half_by_name {
    use crate::harness::*;
    fn flush_later() {
        bdrv_flush(1);
    }
    pub async fn run() {
        co_wrapper::AioContext::current().schedule_bh(flush_later);
        yield_once().await;
        yield_once().await;
    }
}

pub mod bad_poll_while {
    use crate::harness::*;
    pub async fn run() {
        co_wrapper::AioContext::main().poll_while(|| bdrv_flush(0) != 0);
    }
}

