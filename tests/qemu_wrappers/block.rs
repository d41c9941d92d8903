//! The block layer that is wrapped: nodes over a raw file or an NBD export, their children, backends; and QEMU's
//! coroutines over them. Each notes that it was called and waits on a timer or a socket.

use super::blockdev::Disk;
use co_wrapper::co_wrapper;
use co_wrapper::graph::{self, GRAPH};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, io};

pub static CALLED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
/// Calls that hold the read lock.
pub static INSIDE: AtomicUsize = AtomicUsize::new(0);
/// Writers that want the write lock or have it.
pub static WRITERS: AtomicUsize = AtomicUsize::new(0);
static NODES: Mutex<Vec<Bds>> = Mutex::new(Vec::new());

pub const DATA: i32 = 1;
const FUA: u32 = 1 << 4;
pub const ZONE: i64 = 64 << 10;

#[derive(Clone)]
pub struct Bds(Arc<Node>);

struct Node {
    name: String,
    filename: String,
    disk: Disk,
    /// In bytes.
    len: AtomicI64,
    children: Mutex<Vec<BdrvChild>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    backing_file: String,
    events: Vec<DebugEvent>,
    vmstate: Vec<u8>,
    locked: bool,
    ejected: bool,
}

#[derive(Clone)]
pub struct BdrvChild {
    name: String,
    bs: Bds,
}

#[derive(Clone)]
pub struct BlockBackend(Arc<Backend>);

struct Backend {
    root: Mutex<Option<Bds>>,
    opened: bool,
}

#[derive(Clone, Copy)]
pub struct ReqFlags(pub u32);
pub struct IoVec<'a>(pub &'a mut [u8]);
#[derive(Clone)]
pub struct Opts(pub Vec<(String, String)>);
pub struct BlockDriver(pub &'static str);
#[derive(Clone)]
pub struct BlockdevRef(pub String);
#[derive(Clone)]
pub struct ChildClass(pub &'static str);
pub struct ChildRole(pub u32);
#[derive(Default)]
pub struct DriverInfo {
    pub cluster_size: i64,
}
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DebugEvent {
    PwriteZero,
}
pub enum PreallocMode {
    Off,
}
#[derive(Default)]
pub struct CheckResult {
    pub checked: usize,
}
pub enum CheckMode {
    Leaks,
}
#[derive(Clone, Copy, Default)]
pub struct ZoneDescriptor {
    pub start: i64,
}
pub enum ZoneOp {
    Reset,
}

/// As a row's blocking and its coroutine's name have in common.
pub fn bare(name: &str) -> String {
    name.replacen("_co_", "_", 1)
}

struct Call {
    locked: bool,
}

impl Drop for Call {
    fn drop(&mut self) {
        INSIDE.fetch_sub(usize::from(self.locked), Ordering::SeqCst);
    }
}

/// Waits a moment, also where that is over before it is asked for the first time.
async fn tick() {
    tokio::time::sleep(Duration::from_millis(1)).await;
    tokio::task::yield_now().await;
}

/// The call of a mark without a lock.
async fn call(name: &str) -> Call {
    CALLED.lock().unwrap().insert(name.to_owned());
    tick().await;
    Call { locked: false }
}

/// The call of a mark with the read lock, which goes on when a writer waits for it.
async fn locked(name: &str) -> Call {
    CALLED.lock().unwrap().insert(name.to_owned());
    INSIDE.fetch_add(1, Ordering::SeqCst);
    let call = Call { locked: true };
    tick().await;
    while WRITERS.load(Ordering::SeqCst) == 0 {
        tick().await;
    }
    drop(GRAPH.share()); // panics if nobody holds it
    call
}

/// What a blocking fn waits with.
#[co_wrapper]
async fn co_pause() {
    tick().await;
}

fn blocking(name: &str) {
    CALLED.lock().unwrap().insert(name.to_owned());
    assert!(!co_wrapper::in_coroutine(), "{name} is called in a bottom half");
    pause();
}

fn out_of_range() -> io::Error {
    io::Error::from(io::ErrorKind::UnexpectedEof)
}

/// The first `bytes` of a buffer.
fn part(buf: &[u8], bytes: i64) -> io::Result<&[u8]> {
    buf.get(..bytes as usize).ok_or_else(out_of_range)
}

fn part_mut(buf: &mut [u8], bytes: i64) -> io::Result<&mut [u8]> {
    buf.get_mut(..bytes as usize).ok_or_else(out_of_range)
}

impl Bds {
    pub fn name(&self) -> String {
        self.0.name.clone()
    }

    pub fn children(&self) -> Vec<String> {
        self.0.children.lock().unwrap().iter().map(|child| child.name.clone()).collect()
    }

    pub fn backing_file(&self) -> String {
        self.0.state.lock().unwrap().backing_file.clone()
    }

    pub fn events(&self) -> Vec<DebugEvent> {
        self.0.state.lock().unwrap().events.clone()
    }

    fn open(filename: &str, name: &str) -> io::Result<Self> {
        let disk = Disk::open_blocking(filename)?;
        let node = Bds(Arc::new(Node {
            name: name.to_owned(),
            filename: filename.to_owned(),
            len: AtomicI64::new(disk.size as i64),
            disk,
            children: Mutex::default(),
            state: Mutex::default(),
        }));
        NODES.lock().unwrap().push(node.clone());
        Ok(node)
    }

    fn close(&self) {
        NODES.lock().unwrap().retain(|node| !Arc::ptr_eq(&node.0, &self.0));
    }

    fn len(&self) -> i64 {
        self.0.len.load(Ordering::SeqCst)
    }

    async fn read(&self, offset: i64, buf: &mut [u8]) -> io::Result<i32> {
        self.0.disk.read(offset as u64, buf).await?;
        Ok(buf.len() as i32)
    }

    async fn write(&self, offset: i64, buf: &[u8]) -> io::Result<i32> {
        self.0.disk.write(offset as u64, buf).await?;
        Ok(buf.len() as i32)
    }

    async fn zero(&self, offset: i64, bytes: i64) -> io::Result<i32> {
        self.write(offset, &vec![0; bytes as usize]).await.map(|_| 0)
    }

    async fn discard(&self, offset: i64, bytes: i64) -> io::Result<i32> {
        self.0.disk.trim(offset as u64, bytes as u64).await.map(|()| 0)
    }

    async fn flush(&self) -> io::Result<i32> {
        self.0.disk.flush().await.map(|()| 0)
    }

    async fn truncate(&self, offset: i64) -> io::Result<i32> {
        let filename = self.0.filename.clone();
        let resize = move || fs::OpenOptions::new().write(true).open(filename)?.set_len(offset as u64);
        tokio::task::spawn_blocking(resize).await??;
        self.0.len.store(offset, Ordering::SeqCst);
        Ok(0)
    }

    fn status(&self, offset: i64, bytes: i64, pnum: &mut i64, map: &mut i64, file: &mut Option<Bds>) -> i32 {
        *pnum = bytes.min(self.len() - offset);
        *map = offset;
        *file = Some(self.clone());
        DATA
    }
}

pub fn is_empty() -> bool {
    NODES.lock().unwrap().is_empty()
}

impl BlockBackend {
    fn root(&self) -> io::Result<Bds> {
        let root = self.0.root.lock().unwrap().clone();
        root.ok_or_else(|| io::Error::other("no medium"))
    }
}

// Of nodes and children, with the read lock held.

pub async fn bdrv_co_pwrite_zeroes(child: &BdrvChild, offset: i64, bytes: i64, _: ReqFlags) -> io::Result<i32> {
    let _call = locked("bdrv_pwrite_zeroes").await;
    child.bs.zero(offset, bytes).await
}

pub async fn bdrv_co_pread(c: &BdrvChild, offset: i64, bytes: i64, buf: &mut [u8], _: ReqFlags) -> io::Result<i32> {
    let _call = locked("bdrv_pread").await;
    c.bs.read(offset, part_mut(buf, bytes)?).await
}

pub async fn bdrv_co_pwrite(c: &BdrvChild, offset: i64, bytes: i64, buf: &[u8], fl: ReqFlags) -> io::Result<i32> {
    let _call = locked("bdrv_pwrite").await;
    let written = c.bs.write(offset, part(buf, bytes)?).await?;
    if fl.0 & FUA != 0 {
        c.bs.flush().await?;
    }
    Ok(written)
}

pub async fn bdrv_co_pwrite_sync(c: &BdrvChild, offset: i64, bytes: i64, buf: &[u8], _: ReqFlags) -> io::Result<i32> {
    let _call = locked("bdrv_pwrite_sync").await;
    let written = c.bs.write(offset, part(buf, bytes)?).await?;
    c.bs.flush().await?;
    Ok(written)
}

pub async fn bdrv_co_getlength(bs: &Bds) -> io::Result<i64> {
    let _call = locked("bdrv_getlength").await;
    Ok(bs.len())
}

pub async fn bdrv_co_get_allocated_file_size(bs: &Bds) -> io::Result<i64> {
    let _call = locked("bdrv_get_allocated_file_size").await;
    Ok(tokio::fs::metadata(&bs.0.filename).await?.len() as i64)
}

pub async fn bdrv_co_block_status(
    bs: &Bds,
    offset: i64,
    bytes: i64,
    pnum: &mut i64,
    map: &mut i64,
    file: &mut Option<Bds>,
) -> io::Result<i32> {
    let _call = locked("bdrv_block_status").await;
    Ok(bs.status(offset, bytes, pnum, map, file))
}

pub async fn bdrv_co_block_status_above(
    bs: &Bds,
    _base: &Bds,
    offset: i64,
    bytes: i64,
    pnum: &mut i64,
    map: &mut i64,
    file: &mut Option<Bds>,
) -> io::Result<i32> {
    let _call = locked("bdrv_block_status_above").await;
    Ok(bs.status(offset, bytes, pnum, map, file))
}

pub async fn bdrv_co_is_allocated(bs: &Bds, offset: i64, bytes: i64, pnum: &mut i64) -> io::Result<i32> {
    let _call = locked("bdrv_is_allocated").await;
    Ok(bs.status(offset, bytes, pnum, &mut 0, &mut None))
}

pub async fn bdrv_co_is_allocated_above(
    bs: &Bds,
    _base: &Bds,
    _include_base: bool,
    offset: i64,
    bytes: i64,
    pnum: &mut i64,
) -> io::Result<i32> {
    let _call = locked("bdrv_is_allocated_above").await;
    Ok(bs.status(offset, bytes, pnum, &mut 0, &mut None))
}

#[allow(clippy::too_many_arguments, reason = "as QEMU has it")]
pub async fn bdrv_co_common_block_status_above(
    bs: &Bds,
    _base: &Bds,
    _include_base: bool,
    _mode: u32,
    offset: i64,
    bytes: i64,
    pnum: &mut i64,
    map: &mut i64,
    file: &mut Option<Bds>,
    depth: &mut i32,
) -> io::Result<i32> {
    let _call = locked("bdrv_common_block_status_above").await;
    *depth = 1;
    Ok(bs.status(offset, bytes, pnum, map, file))
}

pub async fn bdrv_co_is_inserted(bs: &Bds) -> bool {
    let _call = locked("bdrv_is_inserted").await;
    !bs.0.state.lock().unwrap().ejected
}

pub async fn bdrv_co_get_info(_bs: &Bds, bdi: &mut DriverInfo) -> io::Result<i32> {
    let _call = locked("bdrv_get_info").await;
    bdi.cluster_size = 4096;
    Ok(0)
}

pub async fn bdrv_co_change_backing_file(bs: &Bds, backing_file: &str, _fmt: &str, _warn: bool) -> io::Result<i32> {
    let _call = locked("bdrv_change_backing_file").await;
    backing_file.clone_into(&mut bs.0.state.lock().unwrap().backing_file);
    Ok(0)
}

pub async fn bdrv_co_debug_event(bs: &Bds, event: DebugEvent) {
    let _call = locked("bdrv_debug_event").await;
    bs.0.state.lock().unwrap().events.push(event);
}

pub async fn bdrv_co_can_store_new_dirty_bitmap(_bs: &Bds, name: &str, granularity: u32) -> bool {
    let _call = locked("bdrv_can_store_new_dirty_bitmap").await;
    !name.is_empty() && granularity.is_power_of_two()
}

pub async fn bdrv_co_truncate(
    child: &BdrvChild,
    offset: i64,
    _exact: bool,
    _prealloc: PreallocMode,
    _flags: ReqFlags,
) -> io::Result<i32> {
    let _call = locked("bdrv_truncate").await;
    child.bs.truncate(offset).await
}

pub async fn bdrv_co_check(bs: &Bds, res: &mut CheckResult, _fix: CheckMode) -> io::Result<i32> {
    let _call = locked("bdrv_check").await;
    res.checked = bs.children().len();
    Ok(0)
}

pub async fn bdrv_co_invalidate_cache(bs: &Bds) -> io::Result<i32> {
    let _call = locked("bdrv_invalidate_cache").await;
    bs.flush().await
}

pub async fn bdrv_co_flush(bs: &Bds) -> io::Result<i32> {
    let _call = locked("bdrv_flush").await;
    bs.flush().await
}

pub async fn bdrv_co_pdiscard(child: &BdrvChild, offset: i64, bytes: i64) -> io::Result<i32> {
    let _call = locked("bdrv_pdiscard").await;
    child.bs.discard(offset, bytes).await
}

pub async fn bdrv_co_readv_vmstate(bs: &Bds, qiov: &mut IoVec<'_>, pos: i64) -> io::Result<i32> {
    let _call = locked("bdrv_readv_vmstate").await;
    let state = bs.0.state.lock().unwrap();
    let from = state.vmstate.get(pos as usize..).ok_or_else(out_of_range)?;
    qiov.0.copy_from_slice(part(from, qiov.0.len() as i64)?);
    Ok(qiov.0.len() as i32)
}

pub async fn bdrv_co_writev_vmstate(bs: &Bds, qiov: &mut IoVec<'_>, pos: i64) -> io::Result<i32> {
    let _call = locked("bdrv_writev_vmstate").await;
    let state = &mut bs.0.state.lock().unwrap().vmstate;
    state.resize(pos as usize, 0);
    state.extend_from_slice(qiov.0);
    Ok(qiov.0.len() as i32)
}

pub async fn bdrv_co_remove_persistent_dirty_bitmap(_bs: &Bds, name: &str) -> io::Result<i32> {
    let _call = locked("bdrv_remove_persistent_dirty_bitmap").await;
    Err(io::Error::other(format!("no bitmap {name}")))
}

pub async fn bdrv_co_refresh_total_sectors(bs: &Bds, _hint: i64) -> io::Result<i32> {
    let _call = locked("bdrv_refresh_total_sectors").await;
    Ok((bs.len() / 512) as i32)
}

pub async fn nbd_co_do_establish_connection(bs: &Bds, _blocking: bool) -> io::Result<i32> {
    let _call = locked("nbd_do_establish_connection").await;
    let another = Disk::open(&bs.0.filename).await?;
    assert_eq!(another.size, bs.0.disk.size);
    Ok(0)
}

pub async fn blk_co_is_inserted(blk: &BlockBackend) -> bool {
    let _call = locked("blk_is_inserted").await;
    blk.root().is_ok_and(|bs| !bs.0.state.lock().unwrap().ejected)
}

pub async fn blk_co_is_available(blk: &BlockBackend) -> bool {
    let _call = locked("blk_is_available").await;
    blk.root().is_ok()
}

// Without the lock around them; of backends, which take it for what they do to the graph's nodes.

pub async fn bdrv_co_create(drv: &BlockDriver, filename: &str, opts: &Opts) -> io::Result<i32> {
    let _call = call("bdrv_create").await;
    assert_eq!(drv.0, "raw");
    let size = opts.0.iter().find(|(key, _)| key == "size").map_or(Ok(0), |(_, size)| size.parse());
    let file = tokio::fs::File::create(filename).await?;
    file.set_len(size.map_err(io::Error::other)?).await?;
    Ok(0)
}

pub async fn blk_co_lock_medium(blk: &BlockBackend, locked: bool) {
    let _call = call("blk_lock_medium").await;
    blk.root().unwrap().0.state.lock().unwrap().locked = locked;
}

pub async fn blk_co_eject(blk: &BlockBackend, eject_flag: bool) {
    let _call = call("blk_eject").await;
    blk.root().unwrap().0.state.lock().unwrap().ejected = eject_flag;
}

pub async fn blk_co_getlength(blk: &BlockBackend) -> io::Result<i64> {
    let _call = call("blk_getlength").await;
    let _graph = graph::read().await;
    Ok(blk.root()?.len())
}

pub async fn blk_co_pread(
    blk: &BlockBackend,
    offset: i64,
    bytes: i64,
    buf: &mut [u8],
    _flags: ReqFlags,
) -> io::Result<i32> {
    let _call = call("blk_pread").await;
    let _graph = graph::read().await;
    blk.root()?.read(offset, part_mut(buf, bytes)?).await
}

pub async fn blk_co_preadv(
    blk: &BlockBackend,
    offset: i64,
    bytes: i64,
    qiov: &mut IoVec<'_>,
    _flags: ReqFlags,
) -> io::Result<i32> {
    let _call = call("blk_preadv").await;
    let _graph = graph::read().await;
    blk.root()?.read(offset, part_mut(qiov.0, bytes)?).await
}

pub async fn blk_co_preadv_part(
    blk: &BlockBackend,
    offset: i64,
    bytes: i64,
    qiov: &mut IoVec<'_>,
    qiov_offset: usize,
    _flags: ReqFlags,
) -> io::Result<i32> {
    let _call = call("blk_preadv_part").await;
    let _graph = graph::read().await;
    blk.root()?.read(offset, part_mut(&mut qiov.0[qiov_offset..], bytes)?).await
}

pub async fn blk_co_pwrite(
    blk: &BlockBackend,
    offset: i64,
    bytes: i64,
    buf: &[u8],
    _flags: ReqFlags,
) -> io::Result<i32> {
    let _call = call("blk_pwrite").await;
    let _graph = graph::read().await;
    blk.root()?.write(offset, part(buf, bytes)?).await
}

pub async fn blk_co_pwritev(
    blk: &BlockBackend,
    offset: i64,
    bytes: i64,
    qiov: &mut IoVec<'_>,
    _flags: ReqFlags,
) -> io::Result<i32> {
    let _call = call("blk_pwritev").await;
    let _graph = graph::read().await;
    blk.root()?.write(offset, part(qiov.0, bytes)?).await
}

pub async fn blk_co_pwritev_part(
    blk: &BlockBackend,
    offset: i64,
    bytes: i64,
    qiov: &mut IoVec<'_>,
    qiov_offset: usize,
    _flags: ReqFlags,
) -> io::Result<i32> {
    let _call = call("blk_pwritev_part").await;
    let _graph = graph::read().await;
    blk.root()?.write(offset, part(&qiov.0[qiov_offset..], bytes)?).await
}

pub async fn blk_co_pwrite_compressed(blk: &BlockBackend, offset: i64, bytes: i64, buf: &[u8]) -> io::Result<i32> {
    let _call = call("blk_pwrite_compressed").await;
    let _graph = graph::read().await;
    blk.root()?.write(offset, part(buf, bytes)?).await
}

pub async fn blk_co_pwrite_zeroes(blk: &BlockBackend, offset: i64, bytes: i64, _: ReqFlags) -> io::Result<i32> {
    let _call = call("blk_pwrite_zeroes").await;
    let _graph = graph::read().await;
    blk.root()?.zero(offset, bytes).await
}

pub async fn blk_co_zone_report(
    blk: &BlockBackend,
    offset: i64,
    nr_zones: &mut u32,
    zones: &mut [ZoneDescriptor],
) -> io::Result<i32> {
    let _call = call("blk_zone_report").await;
    let _graph = graph::read().await;
    let starts = (offset..blk.root()?.len()).step_by(ZONE as usize).take(*nr_zones as usize);
    *nr_zones = 0;
    for (zone, start) in zones.iter_mut().zip(starts) {
        zone.start = start;
        *nr_zones += 1;
    }
    Ok(0)
}

pub async fn blk_co_zone_mgmt(blk: &BlockBackend, op: ZoneOp, offset: i64, len: i64) -> io::Result<i32> {
    let _call = call("blk_zone_mgmt").await;
    let _graph = graph::read().await;
    match op {
        ZoneOp::Reset => blk.root()?.zero(offset, len).await,
    }
}

pub async fn blk_co_zone_append(
    blk: &BlockBackend,
    offset: &mut i64,
    qiov: &mut IoVec<'_>,
    _flags: ReqFlags,
) -> io::Result<i32> {
    let _call = call("blk_zone_append").await;
    let _graph = graph::read().await;
    let written = blk.root()?.write(*offset, qiov.0).await?;
    *offset += i64::from(written);
    Ok(written)
}

pub async fn blk_co_pdiscard(blk: &BlockBackend, offset: i64, bytes: i64) -> io::Result<i32> {
    let _call = call("blk_pdiscard").await;
    let _graph = graph::read().await;
    blk.root()?.discard(offset, bytes).await
}

pub async fn blk_co_flush(blk: &BlockBackend) -> io::Result<i32> {
    let _call = call("blk_flush").await;
    let _graph = graph::read().await;
    blk.root()?.flush().await
}

pub async fn blk_co_ioctl(blk: &BlockBackend, req: u64, buf: &mut [u8]) -> io::Result<i32> {
    let _call = call("blk_ioctl").await;
    let _graph = graph::read().await;
    assert_eq!(req, 0x1261, "BLKFLSBUF");
    blk.root()?.flush().await?;
    Ok(buf.len() as i32)
}

pub async fn blk_co_truncate(
    blk: &BlockBackend,
    offset: i64,
    _exact: bool,
    _prealloc: PreallocMode,
    _flags: ReqFlags,
) -> io::Result<i32> {
    let _call = call("blk_truncate").await;
    let _graph = graph::read().await;
    blk.root()?.truncate(offset).await
}

// Blocking, in the main loop: they change the graph.

pub fn bdrv_open_child(
    filename: &str,
    _options: Opts,
    bdref_key: &str,
    parent: &Bds,
    child_class: &ChildClass,
    child_role: ChildRole,
    _allow_none: bool,
) -> io::Result<BdrvChild> {
    blocking("bdrv_open_child");
    assert!(child_class.0 == "child_of_bds" && child_role.0 != 0);
    let child = BdrvChild { name: bdref_key.to_owned(), bs: Bds::open(filename, bdref_key)? };
    let _graph = graph::write();
    parent.0.children.lock().unwrap().push(child.clone());
    Ok(child)
}

pub fn bdrv_open_blockdev_ref(r#ref: &BlockdevRef) -> io::Result<Bds> {
    blocking("bdrv_open_blockdev_ref");
    let nodes = NODES.lock().unwrap();
    nodes.iter().find(|node| node.0.name == r#ref.0).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
}

pub fn bdrv_open(filename: &str, reference: &str, _options: Opts, _flags: i32) -> io::Result<Bds> {
    blocking("bdrv_open");
    Bds::open(filename, reference)
}

pub fn bdrv_activate(bs: &Bds) -> io::Result<i32> {
    drop(GRAPH.share()); // panics if nobody holds it
    blocking("bdrv_activate");
    bs.0.disk.flush_blocking()?;
    Ok(0)
}

pub fn bdrv_unref(bs: &Bds) {
    blocking("bdrv_unref");
    let _graph = graph::write();
    bs.close();
}

/// With the write lock held.
pub fn bdrv_unref_child(parent: &Bds, child: &BdrvChild) {
    assert_eq!(INSIDE.load(Ordering::SeqCst), 0, "a writer among readers");
    blocking("bdrv_unref_child");
    parent.0.children.lock().unwrap().retain(|other| !Arc::ptr_eq(&other.bs.0, &child.bs.0));
    child.bs.close();
}

pub fn blk_new_with_bs(bs: &Bds, _perm: u64, _shared_perm: u64) -> io::Result<BlockBackend> {
    blocking("blk_new_with_bs");
    Ok(BlockBackend(Arc::new(Backend { root: Mutex::new(Some(bs.clone())), opened: false })))
}

pub fn blk_new_open(filename: &str, reference: &str, _options: Opts, _flags: i32) -> io::Result<BlockBackend> {
    blocking("blk_new_open");
    let root = Bds::open(filename, reference)?;
    Ok(BlockBackend(Arc::new(Backend { root: Mutex::new(Some(root)), opened: true })))
}

pub fn blk_unref(blk: &BlockBackend) {
    blocking("blk_unref");
    let _graph = graph::write();
    let root = blk.0.root.lock().unwrap().take();
    if let Some(root) = root.filter(|_| blk.0.opened) {
        root.close();
    }
}
