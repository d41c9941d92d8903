//! The rows of the table, by theme: what is compared with what, and how large ours may be.

mod allocations;
mod blocking;
mod bottom_halves;
#[cfg(feature = "coroutine")]
mod coroutines;
mod elsewhere;
#[cfg(unix)]
mod files;
mod first_use;
#[cfg(feature = "graph")]
mod graph;
mod imago;
mod neighbours;
#[cfg(target_os = "linux")]
mod qemu;
mod ready;
mod scaling;
mod socket;
mod tasks;
mod timers;
mod waits;

use co_wrapper_bench::measure::{Effort, Measured, Role, Side, interleaved};

/// A line of the table, to be measured.
pub struct Row {
    /// What is measured.
    pub name: String,
    /// What the numbers count.
    pub unit: Unit,
    /// All of them are to hold. None: the row is only reported.
    pub goal: Vec<Limit>,
    measure: Box<dyn Fn(Run<'_>) -> Vec<Measured> + Sync>,
}

/// What numbers count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Time.
    Nanoseconds,
    /// Memory.
    Bytes,
    /// Anything else.
    Count,
}

/// How large ours may be.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// So large.
    Value(f64),
    /// So many times the best peer's.
    OfBest(f64),
    /// So many times that peer's.
    Of(f64, &'static str),
}

/// What measuring a row is told.
pub struct Run<'a> {
    effort: Effort,
    progress: &'a mut dyn FnMut(usize),
}

impl Run<'_> {
    fn sides(self, sides: Vec<Side<'_>>) -> Vec<Measured> {
        interleaved(self.effort, sides, self.progress)
    }
}

impl Row {
    fn new(name: impl Into<String>, unit: Unit, measure: impl Fn(Run<'_>) -> Vec<Measured> + Sync + 'static) -> Self {
        Self { name: name.into(), unit, goal: Vec::new(), measure: Box::new(measure) }
    }

    fn time(name: impl Into<String>, measure: impl Fn(Run<'_>) -> Vec<Measured> + Sync + 'static) -> Self {
        Self::new(name, Unit::Nanoseconds, measure)
    }

    fn within(mut self, limit: Limit) -> Self {
        self.goal.push(limit);
        self
    }

    /// Measures it, on a thread of its own, which nothing was done on before.
    ///
    /// # Panics
    ///
    /// If the measuring does.
    pub fn measure(&self, effort: Effort, progress: &mut (dyn FnMut(usize) + Send)) -> Vec<Measured> {
        let measured = std::thread::scope(|scope| scope.spawn(|| (self.measure)(Run { effort, progress })).join());
        measured.unwrap_or_else(|payload| std::panic::resume_unwind(payload))
    }
}

impl Limit {
    /// The value that ours may not exceed; nothing if the peer was not measured.
    pub fn value(self, measured: &[Measured]) -> Option<f64> {
        let mut peers = measured.iter().filter(|side| side.role == Role::Peer);
        match self {
            Self::Value(value) => Some(value),
            Self::OfBest(factor) => peers.map(|side| side.median).min_by(f64::total_cmp).map(|best| best * factor),
            Self::Of(factor, name) => peers.find(|side| side.name == name).map(|side| side.median * factor),
        }
    }
}

/// All rows, in the table's order.
pub fn all() -> Vec<Row> {
    let themes = [
        ready::rows(),
        waits::rows(),
        elsewhere::rows(),
        socket::rows(),
        blocking::rows(),
        tasks::rows(),
        bottom_halves::rows(),
        #[cfg(feature = "graph")]
        graph::rows(),
        timers::rows(),
        #[cfg(feature = "coroutine")]
        coroutines::rows(),
        allocations::rows(),
        imago::rows(),
        #[cfg(unix)]
        files::rows(),
        scaling::rows(),
        first_use::rows(),
        neighbours::rows(),
    ];
    themes.into_iter().flatten().collect()
}

/// The rows of `--qemu`.
pub fn beside_qemu() -> Vec<Row> {
    #[cfg(target_os = "linux")]
    return qemu::rows();
    #[cfg(not(target_os = "linux"))]
    Vec::new()
}

/// A multi-thread runtime of `workers`.
fn tokio_runtime(workers: usize) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(workers).enable_all().build().expect("threads and descriptors for a runtime")
}

/// A runtime that the calling thread drives.
fn tokio_current_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("descriptors for a runtime")
}
