//! The driver `file`, by itself.

mod support;

use std::fs;

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
