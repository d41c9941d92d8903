//! All 56 wrappers that QEMU 10.2 declares, under their marks, over a small graph: each is called, and waits on a real
//! socket or timer. `qemu_wrappers/qemu-wrappers.tsv` is what is expected; a row that is declared otherwise or is not
//! called fails.
//!
//! Meanwhile the main loop takes the write lock again and again. What holds the read lock goes on only when a writer
//! waits for it, and no writer ever finds it inside.

#![cfg(all(feature = "graph", feature = "tokio"))]

#[path = "qemu_wrappers/block.rs"]
mod block;
#[path = "../examples/blockdev.rs"]
#[allow(dead_code, reason = "its `main`")]
mod blockdev;
#[path = "qemu_wrappers/server.rs"]
mod server;

use block::*;
use co_wrapper::AioContext;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, TryRecvError};
use std::sync::{Mutex, PoisonError};
use std::{io, thread};

/// One row: what it is declared with, and its declaration under that mark.
macro_rules! rows {
    ($($mark:ident $wrapper:ident = $other:ident($($param:ident: $ty:ty),*) -> $result:ty;)*) => {
        /// Mark, wrapper, parameters, result.
        const ROWS: &[[&str; 4]] = &[$([
            stringify!($mark),
            stringify!($wrapper),
            stringify!($($param: $ty),*),
            stringify!($result),
        ]),*];
        $(row! { $mark $wrapper = $other($($param: $ty),*) -> $result; })*
    };
}

macro_rules! row {
    (co_wrapper $($row:tt)*) => { declared! { #[co_wrapper] $($row)* } };
    (co_wrapper_mixed $($row:tt)*) => { declared! { #[co_wrapper(mixed)] $($row)* } };
    (co_wrapper_bdrv_rdlock $($row:tt)*) => { declared! { #[co_wrapper(bdrv_rdlock)] $($row)* } };
    (co_wrapper_mixed_bdrv_rdlock $($row:tt)*) => { declared! { #[co_wrapper(mixed, bdrv_rdlock)] $($row)* } };
    (no_co_wrapper $($row:tt)*) => { blocking! { #[no_co_wrapper] $($row)* } };
    (no_co_wrapper_bdrv_rdlock $($row:tt)*) => { blocking! { #[no_co_wrapper(bdrv_rdlock)] $($row)* } };
    (no_co_wrapper_bdrv_wrlock $($row:tt)*) => { blocking! { #[no_co_wrapper(bdrv_wrlock)] $($row)* } };
}

macro_rules! declared {
    (#[$mark:meta] $wrapper:ident = $other:ident($($param:ident: $ty:ty),*) -> $result:ty;) => {
        co_wrapper::declare! {
            #[$mark]
            fn $wrapper($($param: $ty),*) -> $result = block::$other;
        }
    };
}

/// Without a `=`, the blocking fn is the one of the row's name by QEMU's rule.
macro_rules! blocking {
    (#[$mark:meta] $wrapper:ident = $other:ident($($param:ident: $ty:ty),*) -> $result:ty;) => {
        co_wrapper::declare! {
            #[$mark]
            async fn $wrapper($($param: $ty),*) -> $result;
        }
    };
}

rows! {
co_wrapper_mixed_bdrv_rdlock bdrv_pwrite_zeroes = bdrv_co_pwrite_zeroes(child: &BdrvChild, offset: i64, bytes: i64, flags: ReqFlags) -> io::Result<i32>;
co_wrapper_mixed_bdrv_rdlock bdrv_pread = bdrv_co_pread(child: &BdrvChild, offset: i64, bytes: i64, buf: &mut [u8], flags: ReqFlags) -> io::Result<i32>;
co_wrapper_mixed_bdrv_rdlock bdrv_pwrite = bdrv_co_pwrite(child: &BdrvChild, offset: i64, bytes: i64, buf: &[u8], flags: ReqFlags) -> io::Result<i32>;
co_wrapper_mixed_bdrv_rdlock bdrv_pwrite_sync = bdrv_co_pwrite_sync(child: &BdrvChild, offset: i64, bytes: i64, buf: &[u8], flags: ReqFlags) -> io::Result<i32>;
co_wrapper_mixed_bdrv_rdlock bdrv_getlength = bdrv_co_getlength(bs: &Bds) -> io::Result<i64>;
co_wrapper_bdrv_rdlock bdrv_get_allocated_file_size = bdrv_co_get_allocated_file_size(bs: &Bds) -> io::Result<i64>;
co_wrapper_mixed_bdrv_rdlock bdrv_block_status = bdrv_co_block_status(bs: &Bds, offset: i64, bytes: i64, pnum: &mut i64, map: &mut i64, file: &mut Option<Bds>) -> io::Result<i32>;
co_wrapper_mixed_bdrv_rdlock bdrv_block_status_above = bdrv_co_block_status_above(bs: &Bds, base: &Bds, offset: i64, bytes: i64, pnum: &mut i64, map: &mut i64, file: &mut Option<Bds>) -> io::Result<i32>;
co_wrapper_mixed_bdrv_rdlock bdrv_is_allocated = bdrv_co_is_allocated(bs: &Bds, offset: i64, bytes: i64, pnum: &mut i64) -> io::Result<i32>;
co_wrapper_mixed_bdrv_rdlock bdrv_is_allocated_above = bdrv_co_is_allocated_above(bs: &Bds, base: &Bds, include_base: bool, offset: i64, bytes: i64, pnum: &mut i64) -> io::Result<i32>;
co_wrapper_bdrv_rdlock bdrv_is_inserted = bdrv_co_is_inserted(bs: &Bds) -> bool;
co_wrapper_mixed_bdrv_rdlock bdrv_get_info = bdrv_co_get_info(bs: &Bds, bdi: &mut DriverInfo) -> io::Result<i32>;
co_wrapper_bdrv_rdlock bdrv_change_backing_file = bdrv_co_change_backing_file(bs: &Bds, backing_file: &str, backing_fmt: &str, warn: bool) -> io::Result<i32>;
co_wrapper_mixed_bdrv_rdlock bdrv_debug_event = bdrv_co_debug_event(bs: &Bds, event: DebugEvent) -> ();
co_wrapper_bdrv_rdlock bdrv_can_store_new_dirty_bitmap = bdrv_co_can_store_new_dirty_bitmap(bs: &Bds, name: &str, granularity: u32) -> bool;
co_wrapper_mixed_bdrv_rdlock bdrv_truncate = bdrv_co_truncate(child: &BdrvChild, offset: i64, exact: bool, prealloc: PreallocMode, flags: ReqFlags) -> io::Result<i32>;
co_wrapper_mixed_bdrv_rdlock bdrv_check = bdrv_co_check(bs: &Bds, res: &mut CheckResult, fix: CheckMode) -> io::Result<i32>;
co_wrapper_mixed_bdrv_rdlock bdrv_invalidate_cache = bdrv_co_invalidate_cache(bs: &Bds) -> io::Result<i32>;
co_wrapper_mixed_bdrv_rdlock bdrv_flush = bdrv_co_flush(bs: &Bds) -> io::Result<i32>;
co_wrapper_mixed_bdrv_rdlock bdrv_pdiscard = bdrv_co_pdiscard(child: &BdrvChild, offset: i64, bytes: i64) -> io::Result<i32>;
co_wrapper_mixed_bdrv_rdlock bdrv_readv_vmstate = bdrv_co_readv_vmstate(bs: &Bds, qiov: &mut IoVec<'_>, pos: i64) -> io::Result<i32>;
co_wrapper_mixed_bdrv_rdlock bdrv_writev_vmstate = bdrv_co_writev_vmstate(bs: &Bds, qiov: &mut IoVec<'_>, pos: i64) -> io::Result<i32>;
co_wrapper_bdrv_rdlock bdrv_remove_persistent_dirty_bitmap = bdrv_co_remove_persistent_dirty_bitmap(bs: &Bds, name: &str) -> io::Result<i32>;
co_wrapper_mixed_bdrv_rdlock bdrv_refresh_total_sectors = bdrv_co_refresh_total_sectors(bs: &Bds, hint: i64) -> io::Result<i32>;
co_wrapper bdrv_create = bdrv_co_create(drv: &BlockDriver, filename: &str, opts: &Opts) -> io::Result<i32>;
no_co_wrapper bdrv_co_open_child = bdrv_open_child(filename: &str, options: Opts, bdref_key: &str, parent: &Bds, child_class: &ChildClass, child_role: ChildRole, allow_none: bool) -> io::Result<BdrvChild>;
no_co_wrapper bdrv_co_open_blockdev_ref = bdrv_open_blockdev_ref(r#ref: &BlockdevRef) -> io::Result<Bds>;
no_co_wrapper bdrv_co_open = bdrv_open(filename: &str, reference: &str, options: Opts, flags: i32) -> io::Result<Bds>;
no_co_wrapper_bdrv_rdlock bdrv_co_activate = bdrv_activate(bs: &Bds) -> io::Result<i32>;
no_co_wrapper bdrv_co_unref = bdrv_unref(bs: &Bds) -> ();
no_co_wrapper_bdrv_wrlock bdrv_co_unref_child = bdrv_unref_child(parent: &Bds, child: &BdrvChild) -> ();
no_co_wrapper blk_co_new_with_bs = blk_new_with_bs(bs: &Bds, perm: u64, shared_perm: u64) -> io::Result<BlockBackend>;
no_co_wrapper blk_co_new_open = blk_new_open(filename: &str, reference: &str, options: Opts, flags: i32) -> io::Result<BlockBackend>;
no_co_wrapper blk_co_unref = blk_unref(blk: &BlockBackend) -> ();
co_wrapper_mixed_bdrv_rdlock blk_is_inserted = blk_co_is_inserted(blk: &BlockBackend) -> bool;
co_wrapper_mixed_bdrv_rdlock blk_is_available = blk_co_is_available(blk: &BlockBackend) -> bool;
co_wrapper blk_lock_medium = blk_co_lock_medium(blk: &BlockBackend, locked: bool) -> ();
co_wrapper blk_eject = blk_co_eject(blk: &BlockBackend, eject_flag: bool) -> ();
co_wrapper_mixed blk_getlength = blk_co_getlength(blk: &BlockBackend) -> io::Result<i64>;
co_wrapper_mixed blk_pread = blk_co_pread(blk: &BlockBackend, offset: i64, bytes: i64, buf: &mut [u8], flags: ReqFlags) -> io::Result<i32>;
co_wrapper_mixed blk_preadv = blk_co_preadv(blk: &BlockBackend, offset: i64, bytes: i64, qiov: &mut IoVec<'_>, flags: ReqFlags) -> io::Result<i32>;
co_wrapper_mixed blk_preadv_part = blk_co_preadv_part(blk: &BlockBackend, offset: i64, bytes: i64, qiov: &mut IoVec<'_>, qiov_offset: usize, flags: ReqFlags) -> io::Result<i32>;
co_wrapper_mixed blk_pwrite = blk_co_pwrite(blk: &BlockBackend, offset: i64, bytes: i64, buf: &[u8], flags: ReqFlags) -> io::Result<i32>;
co_wrapper_mixed blk_pwritev = blk_co_pwritev(blk: &BlockBackend, offset: i64, bytes: i64, qiov: &mut IoVec<'_>, flags: ReqFlags) -> io::Result<i32>;
co_wrapper_mixed blk_pwritev_part = blk_co_pwritev_part(blk: &BlockBackend, offset: i64, bytes: i64, qiov: &mut IoVec<'_>, qiov_offset: usize, flags: ReqFlags) -> io::Result<i32>;
co_wrapper_mixed blk_pwrite_compressed = blk_co_pwrite_compressed(blk: &BlockBackend, offset: i64, bytes: i64, buf: &[u8]) -> io::Result<i32>;
co_wrapper_mixed blk_pwrite_zeroes = blk_co_pwrite_zeroes(blk: &BlockBackend, offset: i64, bytes: i64, flags: ReqFlags) -> io::Result<i32>;
co_wrapper_mixed blk_zone_report = blk_co_zone_report(blk: &BlockBackend, offset: i64, nr_zones: &mut u32, zones: &mut [ZoneDescriptor]) -> io::Result<i32>;
co_wrapper_mixed blk_zone_mgmt = blk_co_zone_mgmt(blk: &BlockBackend, op: ZoneOp, offset: i64, len: i64) -> io::Result<i32>;
co_wrapper_mixed blk_zone_append = blk_co_zone_append(blk: &BlockBackend, offset: &mut i64, qiov: &mut IoVec<'_>, flags: ReqFlags) -> io::Result<i32>;
co_wrapper_mixed blk_pdiscard = blk_co_pdiscard(blk: &BlockBackend, offset: i64, bytes: i64) -> io::Result<i32>;
co_wrapper_mixed blk_flush = blk_co_flush(blk: &BlockBackend) -> io::Result<i32>;
co_wrapper_mixed blk_ioctl = blk_co_ioctl(blk: &BlockBackend, req: u64, buf: &mut [u8]) -> io::Result<i32>;
co_wrapper_mixed blk_truncate = blk_co_truncate(blk: &BlockBackend, offset: i64, exact: bool, prealloc: PreallocMode, flags: ReqFlags) -> io::Result<i32>;
co_wrapper_mixed_bdrv_rdlock bdrv_common_block_status_above = bdrv_co_common_block_status_above(bs: &Bds, base: &Bds, include_base: bool, mode: u32, offset: i64, bytes: i64, pnum: &mut i64, map: &mut i64, file: &mut Option<Bds>, depth: &mut i32) -> io::Result<i32>;
co_wrapper_mixed_bdrv_rdlock nbd_do_establish_connection = nbd_co_do_establish_connection(bs: &Bds, blocking: bool) -> io::Result<i32>;}

fn words(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// Makes the calls on a thread of its own, while the main loop takes the write lock.
fn beside_the_main_loop(calls: impl FnOnce() + Send + 'static) {
    let (stop, stopped) = mpsc::channel::<()>();
    let (ready, is_ready) = mpsc::channel();
    let main_loop = thread::spawn(move || {
        let main = AioContext::main();
        let _home = main.enter();
        ready.send(()).unwrap();
        while stopped.try_recv() == Err(TryRecvError::Empty) {
            WRITERS.fetch_add(1, Ordering::SeqCst);
            let guard = co_wrapper::graph::write();
            assert_eq!(INSIDE.load(Ordering::SeqCst), 0, "a writer among readers");
            WRITERS.fetch_sub(1, Ordering::SeqCst);
            drop(guard);
            while main.poll(false) {}
            thread::yield_now();
        }
    });
    is_ready.recv().unwrap();
    let called = thread::spawn(calls).join();
    drop(stop);
    main_loop.join().unwrap();
    called.unwrap();
}

/// The tests take turns: there is one main loop.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn all_of_them() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    beside_the_main_loop(|| call_all().unwrap());

    let expected: BTreeSet<Vec<String>> = include_str!("qemu_wrappers/qemu-wrappers.tsv")
        .lines()
        .skip(1)
        .map(|line| line.split('\t').map(words).collect())
        .collect();
    let declared: BTreeSet<Vec<String>> = ROWS.iter().map(|row| row.map(words).to_vec()).collect();
    assert_eq!(declared, expected);
    assert_eq!(expected.len(), 56);
    assert_all_called();
}

/// By the name of the coroutine, or of the blocking fn, that a row's call arrived at.
fn assert_all_called() {
    let called = std::mem::take(&mut *CALLED.lock().unwrap());
    let missing: Vec<&str> = ROWS.iter().map(|row| row[1]).filter(|name| !called.contains(&bare(name))).collect();
    assert!(missing.is_empty(), "never called: {missing:?}");
}

/// The same calls, made by a coroutine. Each that waits suspends it; which ones do is printed.
#[cfg(feature = "coroutine")]
#[test]
fn c12_all_of_them_from_a_coroutine() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    beside_the_main_loop(|| {
        // SAFETY: it has no scope in a thread-local while a call waits.
        let mut calls = unsafe { co_wrapper::Coroutine::builder().stack_size(1 << 20).build(call_all) }.unwrap();
        let counted = std::future::poll_fn(|cx| {
            POLLS.set(POLLS.get() + 1);
            std::pin::Pin::new(&mut calls).poll(cx)
        });
        co_wrapper::block_on(counted).unwrap();
        let suspended = SUSPENDED.take();
        let others: Vec<&str> = ROWS.iter().map(|row| row[1]).filter(|name| !suspended.contains(name)).collect();
        println!("{} suspended the coroutine: {suspended:?}", suspended.len());
        println!("{} were ready at once: {others:?}", others.len());
        // All wait for a socket, a timer, a lock or another thread.
        assert_eq!(others, Vec::<&str>::new());
    });
    assert_all_called();
}

thread_local! {
    /// How often the coroutine that makes the calls was polled.
    static POLLS: Cell<u32> = const { Cell::new(0) };
    /// The wrappers that have suspended it.
    static SUSPENDED: RefCell<BTreeSet<&'static str>> = const { RefCell::new(BTreeSet::new()) };
}

/// Calls a wrapper, and notes whether that suspended the coroutine which calls it.
macro_rules! call {
    ($wrapper:ident($($args:tt)*) $(.$await:tt)?) => {{
        let _held = held_in_coroutine(stringify!($wrapper));
        let before = POLLS.get();
        let result = $wrapper($($args)*) $(.$await)?;
        if POLLS.get() > before {
            SUSPENDED.with_borrow_mut(|suspended| _ = suspended.insert(stringify!($wrapper)));
        }
        result
    }};
}

/// What the caller of a mixed wrapper with the read lock holds in a coroutine, as in QEMU.
fn held_in_coroutine(wrapper: &str) -> Option<co_wrapper::graph::GraphRead> {
    let shares = ROWS.iter().any(|row| row[0] == "co_wrapper_mixed_bdrv_rdlock" && row[1] == wrapper);
    (shares && co_wrapper::in_coroutine()).then(|| co_wrapper::block_on(co_wrapper::graph::read()))
}

/// Everything once, from a thread that is not the main loop.
fn call_all() -> io::Result<()> {
    let image = tempfile::NamedTempFile::new()?;
    image.as_file().set_len(1 << 20)?;
    let path = image.path().to_str().unwrap();
    let nbd = server::serve(1 << 20);
    let context = AioContext::current();
    let flags = ReqFlags(0);

    let driver = BlockDriver("raw");
    let made = format!("{path}.new");
    assert_eq!(call!(bdrv_create(&driver, &made, &Opts(vec![("size".into(), "4096".into())])))?, 0);
    assert_eq!(std::fs::metadata(&made)?.len(), 4096);
    std::fs::remove_file(&made)?;

    // The graph: a backend over a node of the NBD export, which has the export and the file as its children. Coroutines
    // build it.
    let (base, top, child, backing, blk, other) = context.block_on(async {
        let base = call!(bdrv_co_open(path, "base", Opts(Vec::new()), 0).await)?;
        let top = call!(bdrv_co_open(&nbd, "top", Opts(Vec::new()), 0).await)?;
        let options = Opts(Vec::new());
        let child = call!(
            bdrv_co_open_child(&nbd, options.clone(), "file", &top, &ChildClass("child_of_bds"), ChildRole(1), false)
                .await
        )?;
        let backing = call!(
            bdrv_co_open_child(path, options, "backing", &top, &ChildClass("child_of_bds"), ChildRole(2), false).await
        )?;
        assert_eq!(top.children(), ["file", "backing"]);
        let found = call!(bdrv_co_open_blockdev_ref(&BlockdevRef("top".into())).await)?;
        assert_eq!(found.name(), "top");
        assert_eq!(call!(bdrv_co_activate(&top).await)?, 0);
        let blk = call!(blk_co_new_with_bs(&top, 1, 2).await)?;
        let other = call!(blk_co_new_open(path, "other", Opts(Vec::new()), 0).await)?;
        io::Result::Ok((base, top, child, backing, blk, other))
    })?;

    let mut buf = [0; 512];
    assert_eq!(call!(bdrv_pwrite(&child, 0, 512, &[1; 512], ReqFlags(1 << 4)))?, 512);
    assert_eq!(call!(bdrv_pread(&child, 0, 512, &mut buf, flags))?, 512);
    assert_eq!(buf, [1; 512]);
    assert_eq!(call!(bdrv_pwrite_sync(&backing, 512, 512, &[2; 512], flags))?, 512);
    assert_eq!(call!(bdrv_pread(&backing, 512, 512, &mut buf, flags))?, 512);
    assert_eq!(buf, [2; 512]);
    assert_eq!(call!(bdrv_pwrite_zeroes(&child, 0, 512, flags))?, 0);
    assert_eq!(call!(bdrv_pread(&child, 0, 512, &mut buf, flags))?, 512);
    assert_eq!(buf, [0; 512]);
    assert_eq!(call!(bdrv_getlength(&top))?, 1 << 20);
    assert_eq!(call!(bdrv_get_allocated_file_size(&base))?, 1 << 20);
    let (mut pnum, mut map, mut file, mut depth) = (0, 0, None, 0);
    assert_eq!(call!(bdrv_block_status(&top, 512, 1024, &mut pnum, &mut map, &mut file))?, DATA);
    assert_eq!((pnum, map, file.take().unwrap().name()), (1024, 512, "top".to_owned()));
    assert_eq!(call!(bdrv_block_status_above(&top, &base, 0, 512, &mut pnum, &mut map, &mut file))?, DATA);
    assert_eq!(call!(bdrv_is_allocated(&top, 0, 100, &mut pnum))?, 1);
    assert_eq!(call!(bdrv_is_allocated_above(&top, &base, true, 0, 200, &mut pnum))?, 1);
    assert_eq!(pnum, 200);
    let status = call!(bdrv_common_block_status_above(
        &top, &base, false, 0, 0, 300, &mut pnum, &mut map, &mut file, &mut depth
    ))?;
    assert_eq!((status, pnum, depth), (DATA, 300, 1));
    assert!(call!(bdrv_is_inserted(&top)));
    let mut info = DriverInfo::default();
    assert_eq!(call!(bdrv_get_info(&top, &mut info))?, 0);
    assert_eq!(info.cluster_size, 4096);
    assert_eq!(call!(bdrv_change_backing_file(&top, "other.img", "raw", true))?, 0);
    assert_eq!(top.backing_file(), "other.img");
    call!(bdrv_debug_event(&top, DebugEvent::PwriteZero));
    assert_eq!(top.events(), [DebugEvent::PwriteZero]);
    assert!(call!(bdrv_can_store_new_dirty_bitmap(&top, "b0", 65536)));
    assert!(call!(bdrv_remove_persistent_dirty_bitmap(&top, "b0")).is_err());
    let mut check = CheckResult::default();
    assert_eq!(call!(bdrv_check(&top, &mut check, CheckMode::Leaks))?, 0);
    assert_eq!(check.checked, 2);
    assert_eq!(call!(bdrv_invalidate_cache(&top))?, 0);
    assert_eq!(call!(bdrv_flush(&top))?, 0);
    assert_eq!(call!(bdrv_pdiscard(&child, 0, 512))?, 0);
    assert_eq!(call!(bdrv_writev_vmstate(&top, &mut IoVec(&mut [7; 16]), 4))?, 16);
    let mut state = [0; 16];
    assert_eq!(call!(bdrv_readv_vmstate(&top, &mut IoVec(&mut state), 4))?, 16);
    assert_eq!(state, [7; 16]);
    assert_eq!(call!(bdrv_refresh_total_sectors(&top, 1))?, 2048);
    assert_eq!(call!(bdrv_truncate(&backing, 1 << 19, true, PreallocMode::Off, flags))?, 0);
    assert_eq!(call!(nbd_do_establish_connection(&top, true))?, 0);

    assert!(call!(blk_is_inserted(&blk)) && call!(blk_is_available(&blk)));
    call!(blk_lock_medium(&blk, true));
    call!(blk_eject(&blk, true));
    assert!(!call!(blk_is_inserted(&blk)), "ejected");
    call!(blk_eject(&blk, false));
    assert_eq!(call!(blk_getlength(&blk))?, 1 << 20);
    assert_eq!(call!(blk_pwrite(&blk, 0, 512, &[3; 512], flags))?, 512);
    assert_eq!(call!(blk_pread(&blk, 0, 512, &mut buf, flags))?, 512);
    assert_eq!(buf, [3; 512]);
    assert_eq!(call!(blk_pwritev(&blk, 512, 512, &mut IoVec(&mut [4; 512]), flags))?, 512);
    assert_eq!(call!(blk_preadv(&blk, 512, 512, &mut IoVec(&mut buf), flags))?, 512);
    assert_eq!(buf, [4; 512]);
    assert_eq!(call!(blk_pwritev_part(&blk, 0, 256, &mut IoVec(&mut [5; 512]), 256, flags))?, 256);
    assert_eq!(call!(blk_preadv_part(&blk, 0, 256, &mut IoVec(&mut buf), 256, flags))?, 256);
    assert_eq!((buf[0], buf[256]), (4, 5));
    assert_eq!(call!(blk_pwrite_compressed(&blk, 0, 512, &[6; 512]))?, 512);
    assert_eq!(call!(blk_pwrite_zeroes(&blk, 0, 512, flags))?, 0);
    let (mut nr_zones, mut zones) = (4, [ZoneDescriptor::default(); 4]);
    assert_eq!(call!(blk_zone_report(&blk, 0, &mut nr_zones, &mut zones))?, 0);
    assert_eq!((nr_zones, zones[1].start), (4, ZONE));
    assert_eq!(call!(blk_zone_mgmt(&blk, ZoneOp::Reset, ZONE, ZONE))?, 0);
    let mut at = ZONE;
    assert_eq!(call!(blk_zone_append(&blk, &mut at, &mut IoVec(&mut [8; 512]), flags))?, 512);
    assert_eq!(at, ZONE + 512);
    assert_eq!(call!(blk_pdiscard(&blk, 0, 512))?, 0);
    assert_eq!(call!(blk_flush(&blk))?, 0);
    assert_eq!(call!(blk_ioctl(&blk, 0x1261, &mut buf))?, 512);
    assert_eq!(call!(blk_truncate(&other, 1 << 19, true, PreallocMode::Off, flags))?, 0);
    assert_eq!(call!(blk_getlength(&other))?, 1 << 19);

    // In coroutine context a mixed one shares the lock that its caller holds.
    context.block_on(async {
        let guard = co_wrapper::graph::read().await;
        assert_eq!(bdrv_flush(&top).unwrap(), 0);
        drop(guard);
    });

    context.block_on(async {
        call!(blk_co_unref(&blk).await);
        call!(blk_co_unref(&other).await);
        call!(bdrv_co_unref_child(&top, &child).await);
        assert_eq!(top.children(), ["backing"]);
        call!(bdrv_co_unref_child(&top, &backing).await);
        assert!(top.children().is_empty());
        call!(bdrv_co_unref(&top).await);
        call!(bdrv_co_unref(&base).await);
    });
    assert!(block::is_empty());
    Ok(())
}
