//! The driver `file`, by itself.

mod support;

use std::{
    fs,
    future::Future,
    pin::pin,
    task::{Context, Waker},
};

use co_img::driver::Cache;
use co_img::file::File;
use imago::StorageExt;
use support::Folder;
use tokio::runtime::Builder;

/// Catches: a file made as long as the zeroes reach, when another call has already written behind them.
#[test]
fn zeroes_behind_the_end_cut_nothing_off() {
    let folder = Folder::fast();
    let path = folder.path("file");
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for round in 0..3000 {
        fs::write(&path, []).unwrap();
        runtime.block_on(async {
            let file = File::open(&path, true, Cache::Writeback, runtime.handle()).await.unwrap();
            let (zeroes, data) = tokio::join!(file.write_zeroes(0, 4096), file.write(&[7; 4096][..], 4096));
            zeroes.unwrap();
            data.unwrap();
        });
        assert!(fs::read(&path).unwrap() == [[0; 4096], [7; 4096]].concat(), "round {round}");
    }
    runtime.block_on(async {
        fs::write(&path, [1]).unwrap();
        let file = File::open(&path, true, Cache::Writeback, runtime.handle()).await.unwrap();
        file.write_zeroes(0, 10_000).await.unwrap();
    });
    assert_eq!(fs::read(&path).unwrap(), [0; 10_000]);
}

/// Catches: a read or a write done by whoever polls, whose context stands still meanwhile.
#[test]
fn a_request_lets_its_context_go_on() {
    let folder = Folder::fast();
    let path = folder.path("file");
    let mut data = vec![5; 8 << 20];
    fs::write(&path, &data).unwrap();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let file = runtime.block_on(File::open(&path, true, Cache::Writeback, runtime.handle())).unwrap();
    let mut is_pending = |writes: bool| {
        let waits = |mut request: std::pin::Pin<&mut dyn Future<Output = std::io::Result<()>>>| {
            let waits = request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending();
            if waits {
                runtime.block_on(request).unwrap();
            }
            waits
        };
        if writes { waits(pin!(file.write(&data[..], 0))) } else { waits(pin!(file.read(&mut data[..], 0))) }
    };
    // Another thread may be done before it is asked, but not each time.
    for writes in [false, true] {
        assert!((0..100).any(|_| is_pending(writes)), "writes: {writes}");
    }
}
