//! The driver `file`, by itself.

mod support;

use std::{
    fs,
    future::Future,
    os::unix::fs::FileExt,
    pin::pin,
    task::{Context, Waker},
};

use co_img::driver::Cache;
use co_img::file::File;
use imago::{Storage, StorageExt, storage::PreallocateMode};
use support::{BOUND, Folder};
use tokio::{runtime::Builder, time::timeout};

/// Catches: a file made as long as the zeroes reach, when another call has already written behind them.
#[test]
fn zeroes_behind_the_end_cut_nothing_off() {
    let folder = Folder::fast();
    let path = folder.path("file");
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for round in 0..3000 {
        fs::write(&path, []).unwrap();
        runtime.block_on(async {
            let file = File::open(&path, true, Cache::Writeback).await.unwrap();
            let (zeroes, data) = tokio::join!(file.write_zeroes(0, 4096), file.write(&[7; 4096][..], 4096));
            zeroes.unwrap();
            data.unwrap();
        });
        assert!(fs::read(&path).unwrap() == [[0; 4096], [7; 4096]].concat(), "round {round}");
    }
    runtime.block_on(async {
        fs::write(&path, [1]).unwrap();
        let file = File::open(&path, true, Cache::Writeback).await.unwrap();
        file.write_zeroes(0, 10_000).await.unwrap();
        assert_eq!(file.size().unwrap(), 10_000);
        file.flush().await.unwrap();
    });
    assert_eq!(fs::read(&path).unwrap(), [0; 10_000]);
}

/// Catches: a large write done by whoever polls, whose context stands still meanwhile.
#[test]
fn a_large_write_lets_its_context_go_on() {
    let folder = Folder::fast();
    let path = folder.path("file");
    let data = vec![5; 8 << 20];
    fs::write(&path, &data).unwrap();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let file = runtime.block_on(File::open(&path, true, Cache::Writeback)).unwrap();
    let is_pending = || {
        let mut write = pin!(file.write(&data[..], 0));
        let waits = write.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending();
        if waits {
            runtime.block_on(write).unwrap();
        }
        waits
    };
    // Another thread may be done before it is asked, but not each time.
    assert!((0..100).any(|_| is_pending()));
}

/// How a file is changed after it was asked where it has data.
#[derive(Clone, Copy, Debug)]
enum Behind {
    Write,
    WriteBeyond,
    Zeroes,
    Discard,
    Shorter,
    Dropped,
    AnotherProcess,
}

/// Catches: an extent that is still told of when what is there has been written.
#[test]
fn an_extent_that_is_known_is_forgotten_when_something_is_written() {
    const BLOCK: u64 = 64 << 10;
    let folder = Folder::fast();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for behind in [
        Behind::Write,
        Behind::WriteBeyond,
        Behind::Zeroes,
        Behind::Discard,
        Behind::Shorter,
        Behind::Dropped,
        Behind::AnotherProcess,
    ] {
        // Eight blocks: a hole, and data from the sixth on.
        let path = folder.path("extents");
        let _ = fs::remove_file(&path);
        let plain = fs::File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        plain.set_len(8 * BLOCK).unwrap();
        plain.write_all_at(&[7; 2 * BLOCK as usize], 6 * BLOCK).unwrap();
        runtime.block_on(async {
            let file = File::open(&path, true, Cache::Writeback).await.unwrap();
            let status = async |block| file.block_status(block * BLOCK, 8 * BLOCK).await.unwrap();
            let hole = status(0).await;
            assert_eq!((hole.zero, hole.length), (true, 6 * BLOCK));
            assert_eq!(status(1).await.length, 5 * BLOCK);
            let block = vec![9; BLOCK as usize];
            match behind {
                Behind::Write => file.write(&block[..], 2 * BLOCK).await.unwrap(),
                Behind::WriteBeyond => {
                    file.write(&block[..], 9 * BLOCK).await.unwrap();
                    assert_eq!(status(7).await.length, BLOCK);
                    let hole = status(8).await;
                    assert_eq!((hole.zero, hole.length), (true, BLOCK));
                    assert!(status(9).await.data);
                    return;
                }
                Behind::Zeroes => file.write_zeroes(6 * BLOCK, BLOCK).await.unwrap(),
                Behind::Discard => {
                    assert!(status(6).await.data);
                    // SAFETY: nobody reads meanwhile.
                    unsafe { file.pure_discard(6 * BLOCK, BLOCK) }.await.unwrap();
                }
                Behind::Shorter => file.resize(4 * BLOCK, PreallocateMode::None).await.unwrap(),
                Behind::Dropped => {
                    let large = vec![9; 2 << 20]; // larger than what the polling thread writes
                    {
                        let mut write = pin!(file.write(&large[..], 2 * BLOCK));
                        let _ = write.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                    }
                    let _ = status(1).await;
                    file.settle_writes().await.unwrap();
                    // It may have been made or not.
                    let mut first = [0];
                    plain.read_exact_at(&mut first, 2 * BLOCK).unwrap();
                    assert_eq!(status(2).await.data, first == [9]);
                    return;
                }
                Behind::AnotherProcess => plain.write_all_at(&block, BLOCK).unwrap(),
            }
            match behind {
                Behind::Write => {
                    assert_eq!(status(1).await.length, BLOCK);
                    assert!(status(2).await.data);
                }
                Behind::Zeroes | Behind::Discard => assert!(status(6).await.zero, "{behind:?}"),
                Behind::Shorter => assert_eq!(status(3).await.length, BLOCK),
                // Who asks again is told anew.
                _ => assert!(status(1).await.data, "{behind:?}"),
            }
        });
    }
}

/// Catches: a file that is cut off or not made long enough by zeroes that were not written.
#[test]
fn zeroes_that_need_not_be_written_are_there_all_the_same() {
    let folder = Folder::fast();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let path = folder.path("zeroes");
        fs::write(&path, []).unwrap();
        let file = File::open(&path, true, Cache::Writeback).await.unwrap();
        file.write_zeroes(0, 4096).await.unwrap();
        let mut read = [1; 4096];
        file.read(&mut read[..], 0).await.unwrap();
        assert_eq!(read, [0; 4096]);
        file.write(&[7; 100][..], 8192).await.unwrap();
        file.write_zeroes(20_000, 1000).await.unwrap();
        // What was written is not taken for unwritten.
        file.write_zeroes(8192, 50).await.unwrap();
        file.flush().await.unwrap();
        let mut expected = vec![0; 21_000];
        expected[8242..8292].fill(7);
        assert!(fs::read(&path).unwrap() == expected);
        // Cut off and made longer again, it is zeroes.
        file.resize(8250, PreallocateMode::None).await.unwrap();
        file.write_zeroes(8300, 100).await.unwrap();
        file.sync().await.unwrap();
        expected[8250..].fill(0);
        assert!(fs::read(&path).unwrap() == expected[..8400]);
    });
}

/// Catches: a write that waits for the one before it, and so for whoever polls that one. Who writes to the disk itself, or has
/// each write made durable, wants many of them to wait for the disk at once.
#[test]
fn a_write_that_waits_keeps_no_other_one_waiting() {
    // Not in a folder that may be one in memory, where O_DIRECT may be refused.
    let folder = Folder(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for cache in [Cache::Writeback, Cache::None, Cache::Writethrough, Cache::Directsync, Cache::Unsafe] {
        let path = folder.path("file");
        fs::write(&path, []).unwrap();
        let data = vec![5; 2 << 20]; // larger than what the polling thread writes
        runtime.block_on(async {
            let file = match File::open(&path, true, cache).await {
                Err(_) if cache.direct() => return, // a file system without
                file => file.unwrap(),
            };
            let mut first = pin!(file.write(&data[..], 0));
            let first_waits = first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending();
            timeout(BOUND, file.write(&data[..], 2 << 20)).await.expect("the second write waits").unwrap();
            if first_waits {
                first.await.unwrap();
            }
            file.flush().await.unwrap();
            assert!(fs::read(&path).unwrap() == vec![5; 4 << 20], "{cache:?}");
        });
    }
}
