//! A block graph that changes under load: a backend over throttle and copy-on-write filters, in any order, over a file.
//!
//! `cargo run --release --example blockgraph -- --seconds 60 [--seed 7]`
//!
//! Sixteen threads and forty coroutines read and write by blocking calls, forty tasks by async ones, each in a part of the disk
//! of its own, of which it knows what it must find there. Meanwhile the main loop takes snapshots and throttles the disk: it drains the
//! backend, takes the graph's write lock and puts a filter on top; or it commits a filter's data to what is below and
//! takes the filter out; itself, or by a task or a coroutine. At the end every byte is right in the file, and the counts add up. It never hangs: when no
//! request is answered for twenty seconds it prints what waits and ends.

mod long_run;

use std::{
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{self, ExitCode},
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use co_wrapper::{
    AioContext, IoThread, block_on, co_wrapper,
    graph::{self, Drain, GraphRead, GraphWrite},
    hang, in_coroutine, no_co_wrapper,
};
use fastrand::Rng;
use futures::future::join_all;
use long_run::{arguments, fds};

const THREADS: usize = 16;
const TASKS: usize = 40;
/// Blocking code, suspended where it waits: in tasks the same calls would wait for each other for ever.
const COROUTINES: usize = 40;
const IO_THREADS: usize = 4;
/// Bytes of the disk that are one worker's: not whole clusters, so that neighbours share some.
const PART: usize = 50_001;
/// Bytes that a snapshot copies at a time.
const CLUSTER: usize = 64 << 10;
const DISK: usize = ((THREADS + TASKS + COROUTINES) * PART).next_multiple_of(CLUSTER);
/// Filters above the file, at most.
const DEPTH: usize = 5;
/// What a throttled disk does in a second, in bytes.
const BYTES_PER_SECOND: u64 = 400 << 20;
/// How long no request may be answered, and how long descriptors may take to be closed: also on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

// The books.

/// Requests as the workers count them, and as the backend does.
static MADE: AtomicU64 = AtomicU64::new(0);
static ANSWERED: AtomicU64 = AtomicU64::new(0);
static CANCELLED: AtomicU64 = AtomicU64::new(0);
static BEGUN: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);
static BYTES_READ: AtomicU64 = AtomicU64::new(0);
static BYTES_WRITTEN: AtomicU64 = AtomicU64::new(0);
static LOOKED: AtomicU64 = AtomicU64::new(0);
static WRONG: AtomicU64 = AtomicU64::new(0);
/// Requests within a node, which hold the read lock.
static INSIDE: AtomicU64 = AtomicU64::new(0);
static COPIED: AtomicU64 = AtomicU64::new(0);
static COMMITTED: AtomicU64 = AtomicU64::new(0);

fn check(right: bool, what: &str) {
    if !right {
        eprintln!("blockgraph: wrong: {what}");
        WRONG.fetch_add(1, SeqCst);
    }
}

/// Counts while it lives.
struct Counted(&'static AtomicU64);

impl Counted {
    fn new(count: &'static AtomicU64) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

// The graph.

/// An edge of the graph. The graph lock guards it: nobody ever waits for the lock inside, or the check fails.
#[derive(Clone, Default)]
struct Link(Arc<RwLock<Option<Arc<Node>>>>);

impl Link {
    fn get(&self, _graph: &GraphRead) -> Arc<Node> {
        let node = self.0.try_read().expect("the graph is changed while it is read-locked");
        node.clone().expect("an edge leads to a node")
    }

    fn replace(&self, _graph: &GraphWrite, node: Option<Arc<Node>>) -> Option<Arc<Node>> {
        let mut place = self.0.try_write().expect("the graph is read while it is write-locked");
        std::mem::replace(&mut *place, node)
    }
}

/// A node of the graph: what it does with a request, and the node below.
struct Node {
    driver: Driver,
    child: Link,
}

enum Driver {
    /// The disk's data.
    Raw(Data),
    /// Lets so many bytes through in a second: when the next are due.
    Throttle(Mutex<Instant>),
    CopyOnWrite(Snapshot),
}

/// A file, read and written by tokio's threads.
struct Data(Arc<File>);

impl Data {
    fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        file.set_len(DISK as u64)?;
        Ok(Self(Arc::new(file)))
    }

    async fn read(&self, offset: usize, buf: &mut [u8]) -> io::Result<()> {
        let (file, mut bytes) = (Arc::clone(&self.0), vec![0; buf.len()]);
        let read = move || file.read_exact_at(&mut bytes, offset as u64).map(|()| bytes);
        buf.copy_from_slice(&tokio::task::spawn_blocking(read).await??);
        Ok(())
    }

    async fn write(&self, offset: usize, buf: &[u8]) -> io::Result<()> {
        let (file, bytes) = (Arc::clone(&self.0), buf.to_vec());
        tokio::task::spawn_blocking(move || file.write_all_at(&bytes, offset as u64)).await?
    }
}

/// What was written since the snapshot, in clusters; the node below has the rest.
struct Snapshot {
    data: Data,
    path: PathBuf,
    allocated: Vec<AtomicBool>,
    /// One cluster at a time comes up.
    copying: tokio::sync::Mutex<()>,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        check(fs::remove_file(&self.path).is_ok(), "a snapshot's file is there until it is dropped");
    }
}

/// The parts of a request, by cluster: which one, and what of the buffer.
fn clusters(offset: usize, len: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    (offset / CLUSTER..(offset + len).div_ceil(CLUSTER)).map(move |cluster| {
        let from = (cluster * CLUSTER).max(offset);
        let to = ((cluster + 1) * CLUSTER).min(offset + len);
        (cluster, from - offset..to - offset)
    })
}

impl Node {
    fn new(driver: Driver) -> Arc<Self> {
        Arc::new(Self { driver, child: Link::default() })
    }

    fn throttle() -> Arc<Self> {
        Self::new(Driver::Throttle(Mutex::new(Instant::now())))
    }

    fn snapshot(path: PathBuf) -> io::Result<Arc<Self>> {
        let allocated = (0..DISK / CLUSTER).map(|_| AtomicBool::new(false)).collect();
        let (data, copying) = (Data::create(&path)?, tokio::sync::Mutex::default());
        Ok(Self::new(Driver::CopyOnWrite(Snapshot { data, path, allocated, copying })))
    }

    async fn bdrv_co_pread(&self, graph: &GraphRead, offset: usize, buf: &mut [u8]) -> io::Result<()> {
        let _inside = Counted::new(&INSIDE);
        match &self.driver {
            Driver::Raw(data) => data.read(offset, buf).await,
            Driver::Throttle(due) => {
                throttle(due, buf.len()).await;
                Box::pin(self.child.get(graph).bdrv_co_pread(graph, offset, buf)).await
            }
            Driver::CopyOnWrite(snapshot) => {
                for (cluster, part) in clusters(offset, buf.len()) {
                    let (at, part) = (offset + part.start, &mut buf[part]);
                    if snapshot.allocated[cluster].load(SeqCst) {
                        snapshot.data.read(at, part).await?;
                    } else {
                        Box::pin(self.child.get(graph).bdrv_co_pread(graph, at, part)).await?;
                    }
                }
                Ok(())
            }
        }
    }

    async fn bdrv_co_pwrite(&self, graph: &GraphRead, offset: usize, buf: &[u8]) -> io::Result<()> {
        let _inside = Counted::new(&INSIDE);
        match &self.driver {
            Driver::Raw(data) => data.write(offset, buf).await,
            Driver::Throttle(due) => {
                throttle(due, buf.len()).await;
                Box::pin(self.child.get(graph).bdrv_co_pwrite(graph, offset, buf)).await
            }
            Driver::CopyOnWrite(snapshot) => {
                for (cluster, part) in clusters(offset, buf.len()) {
                    self.write_cluster(graph, snapshot, cluster, offset + part.start, &buf[part]).await?;
                }
                Ok(())
            }
        }
    }

    /// Writes within one cluster, which comes up whole the first time.
    async fn write_cluster(
        &self,
        graph: &GraphRead,
        snapshot: &Snapshot,
        cluster: usize,
        at: usize,
        buf: &[u8],
    ) -> io::Result<()> {
        if snapshot.allocated[cluster].load(SeqCst) {
            return snapshot.data.write(at, buf).await;
        }
        let alone = snapshot.copying.lock().await;
        if snapshot.allocated[cluster].load(SeqCst) {
            drop(alone);
            return snapshot.data.write(at, buf).await;
        }
        let (start, mut whole) = (cluster * CLUSTER, vec![0; CLUSTER]);
        Box::pin(self.child.get(graph).bdrv_co_pread(graph, start, &mut whole)).await?;
        whole[at - start..][..buf.len()].copy_from_slice(buf);
        snapshot.data.write(start, &whole).await?;
        snapshot.allocated[cluster].store(true, SeqCst);
        COPIED.fetch_add(1, SeqCst);
        Ok(())
    }

    /// Writes what the node has of its own to the node below. No request may be in flight.
    #[co_wrapper(mixed, bdrv_rdlock)]
    async fn bdrv_co_commit(&self, graph: &GraphRead) -> io::Result<()> {
        let Driver::CopyOnWrite(snapshot) = &self.driver else { return Ok(()) };
        let (below, mut buf) = (self.child.get(graph), vec![0; CLUSTER]);
        for (cluster, _) in snapshot.allocated.iter().enumerate().filter(|(_, allocated)| allocated.load(SeqCst)) {
            snapshot.data.read(cluster * CLUSTER, &mut buf).await?;
            below.bdrv_co_pwrite(graph, cluster * CLUSTER, &buf).await?;
            COMMITTED.fetch_add(1, SeqCst);
        }
        Ok(())
    }
}

/// Waits until so many bytes may go on.
async fn throttle(due: &Mutex<Instant>, bytes: usize) {
    let now = Instant::now();
    let wait = {
        let mut due = due.lock().unwrap();
        let mine = (*due).max(now);
        *due = mine + Duration::from_secs(1) * bytes as u32 / BYTES_PER_SECOND as u32;
        mine - now
    };
    AioContext::current().sleep(wait).await;
}

/// Puts a node on top of what `link` leads to.
#[no_co_wrapper(bdrv_wrlock)]
fn bdrv_append(link: &Link, graph: &GraphWrite, node: &Arc<Node>) {
    check(INSIDE.load(SeqCst) == 0, "a request is inside while a node is put in");
    let below = link.replace(graph, Some(Arc::clone(node)));
    node.child.replace(graph, below);
}

/// Takes out the node that `link` leads to.
#[no_co_wrapper(bdrv_wrlock)]
fn bdrv_drop_filter(link: &Link, graph: &GraphWrite) {
    check(INSIDE.load(SeqCst) == 0, "a request is inside while a node is taken out");
    let node = link.replace(graph, None).expect("the filter");
    let below = node.child.replace(graph, None);
    // Whoever could look now would see half a graph.
    thread::yield_now();
    link.replace(graph, below);
}

/// What the caller of a `mixed, bdrv_rdlock` wrapper holds in a coroutine, as in QEMU. Elsewhere the wrapper takes the lock.
fn held_in_coroutine() -> Option<GraphRead> {
    in_coroutine().then(|| block_on(graph::read()))
}

/// What a disk's user sees of it.
#[derive(Default)]
struct BlockBackend {
    root: Link,
    requests: Drain,
}

impl BlockBackend {
    #[co_wrapper(mixed, timeout)]
    async fn blk_co_pread(&self, offset: usize, buf: &mut [u8]) -> io::Result<()> {
        // In flight first, then the lock: one that waits for the end of a drained section must not keep the writer out.
        let _request = self.requests.begin().await;
        BEGUN.fetch_add(1, SeqCst);
        let _ended = Ended;
        let graph = graph::read().await;
        self.root.get(&graph).bdrv_co_pread(&graph, offset, buf).await
    }

    #[co_wrapper(mixed)]
    async fn blk_co_pwrite(&self, offset: usize, buf: &[u8]) -> io::Result<()> {
        let _request = self.requests.begin().await;
        BEGUN.fetch_add(1, SeqCst);
        let _ended = Ended;
        let graph = graph::read().await;
        self.root.get(&graph).bdrv_co_pwrite(&graph, offset, buf).await
    }

    /// The nodes from the top down to the file. It takes its time, in which the graph stays as it is.
    #[co_wrapper(mixed, bdrv_rdlock)]
    async fn blk_co_nodes(&self, graph: &GraphRead) -> Vec<Arc<Node>> {
        let mut nodes = vec![self.root.get(graph)];
        while let Some(top) = nodes.last().filter(|node| !matches!(node.driver, Driver::Raw(_))) {
            nodes.push(top.child.get(graph));
            tokio::task::yield_now().await;
        }
        nodes
    }
}

/// A request that the backend began is over, answered or cancelled.
struct Ended;

impl Drop for Ended {
    fn drop(&mut self) {
        ENDED.fetch_add(1, SeqCst);
    }
}

// What changes the graph.

enum Change {
    Insert(Arc<Node>),
    /// The node, and the edge that leads to it.
    Remove(Arc<Node>, Link),
}

#[derive(Default)]
struct Changes {
    inserted: u64,
    removed: u64,
}

impl Changes {
    /// What to do next: a filter in or out, at random; only out at the end.
    fn plan(&mut self, blk: &BlockBackend, dir: &Path, rng: &mut Rng, ends: bool) -> io::Result<Option<Change>> {
        let nodes = blk.blk_nodes();
        let filters = nodes.len() - 1;
        if filters == 0 && ends {
            return Ok(None);
        }
        if filters == 0 || !ends && filters < DEPTH && rng.usize(..2) == 0 {
            self.inserted += 1;
            let path = dir.join(format!("snapshot-{}", self.inserted));
            return Ok(Some(Change::Insert(if rng.usize(..3) == 0 {
                Node::throttle()
            } else {
                Node::snapshot(path)?
            })));
        }
        self.removed += 1;
        let at = rng.usize(..filters);
        let link = if at == 0 { &blk.root } else { &nodes[at - 1].child };
        Ok(Some(Change::Remove(Arc::clone(&nodes[at]), link.clone())))
    }
}

impl Change {
    /// By blocking calls, from the main loop or a coroutine there.
    fn make(self, blk: &BlockBackend) -> io::Result<()> {
        let _drained = blk.requests.drained();
        match self {
            Self::Insert(node) => bdrv_append(&blk.root, &graph::write(), &node),
            Self::Remove(node, link) => {
                let graph = held_in_coroutine();
                node.bdrv_commit()?;
                drop(graph);
                bdrv_drop_filter(&link, &graph::write());
            }
        }
        check(blk.requests.in_flight() == 0, "a request is in flight in a drained section");
        Ok(())
    }

    /// The same from a coroutine, anywhere.
    async fn co_make(self, blk: Arc<BlockBackend>) -> io::Result<()> {
        let _drained = blk.requests.co_drained().await;
        match self {
            Self::Insert(node) => bdrv_co_append(&blk.root, &node).await,
            Self::Remove(node, link) => {
                let graph = graph::read().await;
                node.bdrv_co_commit(&graph).await?;
                drop(graph);
                bdrv_co_drop_filter(&link).await;
            }
        }
        check(blk.requests.in_flight() == 0, "a request is in flight in a drained section");
        Ok(())
    }
}

// What reads and writes.

/// One that reads and writes a part of the disk.
struct Worker {
    blk: Arc<BlockBackend>,
    rng: Rng,
    start: usize,
    /// What must be there.
    bytes: Vec<u8>,
}

static STOP: AtomicBool = AtomicBool::new(false);

impl Worker {
    /// Some extent of its part.
    fn extent(&mut self) -> Range<usize> {
        let from = self.rng.usize(..(PART - 1));
        from..from + 1 + self.rng.usize(..(PART - from).min(16 << 10))
    }

    fn scribble(&mut self, extent: Range<usize>) {
        let pattern = self.rng.u64(..).to_le_bytes();
        self.bytes[extent].iter_mut().zip(pattern.iter().cycle()).for_each(|(byte, new)| *byte = *new);
    }

    fn answered(&self, read: Option<&[u8]>, extent: Range<usize>, result: io::Result<()>) {
        ANSWERED.fetch_add(1, SeqCst);
        match read {
            Some(read) => BYTES_READ.fetch_add(read.len() as u64, SeqCst),
            None => BYTES_WRITTEN.fetch_add(extent.len() as u64, SeqCst),
        };
        check(result.is_ok(), "a request's result");
        check(read.is_none_or(|read| read == &self.bytes[extent]), "the bytes that are read");
    }

    fn request(&mut self) {
        let extent = self.extent();
        let offset = self.start + extent.start;
        MADE.fetch_add(1, SeqCst);
        let mut buf = vec![0; extent.len()];
        match self.rng.usize(..5) {
            0 | 1 => {
                let result = self.blk.blk_pread(offset, &mut buf);
                self.answered(Some(&buf), extent, result);
            }
            2 => {
                let limit = Duration::from_micros(self.rng.u64(..2_000));
                match self.blk.blk_pread_timeout(offset, &mut buf, limit) {
                    Ok(result) => self.answered(Some(&buf), extent, result),
                    Err(_) => drop(CANCELLED.fetch_add(1, SeqCst)),
                }
            }
            _ => {
                self.scribble(extent.clone());
                let result = self.blk.blk_pwrite(offset, &self.bytes[extent.clone()]);
                self.answered(None, extent, result);
            }
        }
    }

    // In a task, a blocking call could hang here, even a `mixed` one: while it waits for the end of a drained
    // section, it may be nested inside a request that the section waits for (see `Drain`).
    async fn co_request(&mut self) {
        let extent = self.extent();
        let offset = self.start + extent.start;
        MADE.fetch_add(1, SeqCst);
        if self.rng.usize(..2) == 0 {
            let mut buf = vec![0; extent.len()];
            let result = self.blk.blk_co_pread(offset, &mut buf).await;
            self.answered(Some(&buf), extent, result);
        } else {
            self.scribble(extent.clone());
            let result = self.blk.blk_co_pwrite(offset, &self.bytes[extent.clone()]).await;
            self.answered(None, extent, result);
        }
    }

    /// Looks at the graph with nothing in flight: only the lock keeps it as it is.
    fn looked(&self, nodes: &[Arc<Node>]) {
        LOOKED.fetch_add(1, SeqCst);
        check(nodes.len() <= DEPTH + 1, "the nodes of the graph");
    }

    fn run(mut self) -> Self {
        while !STOP.load(SeqCst) {
            let graph = held_in_coroutine();
            self.looked(&self.blk.blk_nodes());
            drop(graph);
            self.request();
        }
        self
    }

    async fn co_run(mut self) -> Self {
        while !STOP.load(SeqCst) {
            let graph = graph::read().await;
            self.looked(&self.blk.blk_co_nodes(&graph).await);
            drop(graph);
            self.co_request().await;
        }
        self
    }
}

fn watch() {
    let (mut seen, mut since) = (ANSWERED.load(SeqCst), Instant::now());
    loop {
        thread::sleep(Duration::from_millis(250));
        let now = ANSWERED.load(SeqCst);
        if now != seen || STOP.load(SeqCst) && INSIDE.load(SeqCst) == 0 {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() > PATIENCE {
            eprintln!("blockgraph: no request was answered for {PATIENCE:?}\n{}", hang::report());
            process::exit(3);
        }
    }
}

fn run(time: Duration, seed: u64) -> io::Result<()> {
    let end = Instant::now() + time;
    let mut rng = Rng::with_seed(seed);
    let dir = tempfile::tempdir()?;
    let base = dir.path().join("base");
    let main = AioContext::main();
    let _home = main.enter();

    let blk = Arc::new(BlockBackend::default());
    let (root, file) = (blk.root.clone(), Node::new(Driver::Raw(Data::create(&base)?)));
    root.replace(&graph::write(), Some(file));

    let io_threads: Vec<_> =
        (0..IO_THREADS).map(|at| IoThread::spawn(&format!("io-{at}"))).collect::<Result<_, _>>()?;
    let mut workers = (0..THREADS + TASKS + COROUTINES).map(|at| Worker {
        blk: Arc::clone(&blk),
        rng: rng.fork(),
        start: at * PART,
        bytes: vec![0; PART],
    });
    let threads: Vec<_> = workers.by_ref().take(THREADS).map(|worker| thread::spawn(|| worker.run())).collect();
    let contexts = io_threads.iter().map(IoThread::context).chain([&main]).cycle();
    let mut contexts = contexts;
    let mut tasks: Vec<_> = workers
        .by_ref()
        .take(TASKS)
        .zip(&mut contexts)
        .map(|(worker, context)| context.spawn(worker.co_run()))
        .collect();
    // SAFETY: none of this code leaves anything in a thread-local while it waits.
    tasks.extend(workers.zip(contexts).map(|(worker, context)| unsafe { context.spawn_coroutine(|| worker.run()) }));

    let (mut changes, mut by_tasks, mut by_coroutines) = (Changes::default(), 0, 0);
    while Instant::now() < end {
        let Some(change) = changes.plan(&blk, dir.path(), &mut rng, false)? else { continue };
        match rng.usize(..3) {
            0 => change.make(&blk)?,
            1 => {
                let context = io_threads[rng.usize(..IO_THREADS)].context();
                main.block_on(context.spawn(change.co_make(Arc::clone(&blk))))?;
                by_tasks += 1;
            }
            _ => {
                let blk = Arc::clone(&blk);
                // SAFETY: as above.
                main.block_on(unsafe { main.spawn_coroutine(move || change.make(&blk)) })?;
                by_coroutines += 1;
            }
        }
        main.block_on(main.sleep(Duration::from_micros(rng.u64(..10_000))));
    }
    STOP.store(true, SeqCst);
    let mut workers = main.block_on(join_all(tasks));
    workers.extend(threads.into_iter().map(|thread| thread.join().expect("a thread's worker")));
    while let Some(change) = changes.plan(&blk, dir.path(), &mut rng, true)? {
        change.make(&blk)?;
    }

    let bytes = fs::read(&base)?;
    for worker in &workers {
        check(bytes[worker.start..][..PART] == worker.bytes, "the bytes in the file");
    }
    check(bytes[workers.len() * PART..].iter().all(|byte| *byte == 0), "the bytes that nobody wrote");
    check(fs::read_dir(dir.path())?.count() == 1, "a snapshot's file is left");
    check(changes.inserted == changes.removed, "as many filters out as in");
    println!(
        "filters in {} out {}, {by_tasks} by tasks, {by_coroutines} by coroutines",
        changes.inserted, changes.removed
    );
    Ok(())
}

fn main() -> ExitCode {
    let (seconds, seed) = match arguments("blockgraph") {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    println!("seed {seed}");
    // The reactor and what else lives as long as the process is there before descriptors are counted.
    AioContext::current().block_on(tokio::task::yield_now());
    let fds_before = fds();
    thread::spawn(watch);
    if let Err(error) = run(Duration::from_secs(seconds), seed) {
        eprintln!("blockgraph: {error}");
        return ExitCode::FAILURE;
    }
    let [made, answered, cancelled, begun, ended, looked, read, written, copied, committed, wrong] = [
        &MADE,
        &ANSWERED,
        &CANCELLED,
        &BEGUN,
        &ENDED,
        &LOOKED,
        &BYTES_READ,
        &BYTES_WRITTEN,
        &COPIED,
        &COMMITTED,
        &WRONG,
    ]
    .map(|count| count.load(SeqCst));
    println!(
        "requests made {made} = answered {answered} + cancelled {cancelled}; the backend began {begun}; graph walked {looked}"
    );
    println!("bytes read {read} written {written}; clusters copied up {copied}, committed {committed}");
    let since = Instant::now();
    while fds() > fds_before && since.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(10));
    }
    println!("fds {fds_before} before, {} after\nwrong {wrong}", fds());
    let adds_up = made == answered + cancelled && begun == ended && (answered..=made).contains(&begun);
    if adds_up && wrong == 0 && fds() <= fds_before { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
