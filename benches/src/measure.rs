//! How one thing is measured: sides that are timed in turn, round by round, and what is made of their readings.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

/// How much to measure.
#[derive(Clone, Copy)]
pub struct Effort {
    /// Readings of each side.
    pub rounds: usize,
    /// How long one reading takes, about.
    pub round: Duration,
}

impl Effort {
    /// What a table to be quoted takes.
    pub const FULL: Self = Self { rounds: 9, round: Duration::from_millis(30) };
    /// Enough to see that everything runs.
    pub const QUICK: Self = Self { rounds: 2, round: Duration::from_millis(1) };
}

/// Whose numbers they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Ours.
    Ours,
    /// Somebody else's way to the same end.
    Peer,
    /// What the work costs without anybody's way to it.
    Floor,
    /// Another number of ours, that nothing is measured against.
    Shown,
}

/// One of those that a row compares.
pub struct Side<'a> {
    /// How the table names it.
    pub name: String,
    /// Whose it is.
    pub role: Role,
    how: How<'a>,
    clock: ClockId,
}

enum How<'a> {
    /// Does it so many times; for what is too short for a clock.
    Repeated(Box<dyn FnMut(u64) + 'a>),
    /// Does it once and says how long it took.
    Each(Box<dyn FnMut() -> Duration + 'a>),
    /// Counts something.
    Counted(Box<dyn FnMut() -> f64 + 'a>),
}

impl<'a> Side<'a> {
    /// `work` does it as often as it is told; the reading is the CPU time of one. It may not wait for anybody: then that is
    /// the time that it takes, whatever else the machine is busy with.
    pub fn repeated(role: Role, name: impl Into<String>, work: impl FnMut(u64) + 'a) -> Self {
        Self { name: name.into(), role, how: How::Repeated(Box::new(work)), clock: ClockId::ProcessCPUTime }
    }

    /// `once` does it once and says how long it took.
    pub fn each(role: Role, name: impl Into<String>, once: impl FnMut() -> Duration + 'a) -> Self {
        Self { name: name.into(), role, how: How::Each(Box::new(once)), clock: ClockId::ProcessCPUTime }
    }

    /// `once` does it once and is timed.
    pub fn timed(role: Role, name: impl Into<String>, mut once: impl FnMut() + 'a) -> Self {
        Self::each(role, name, move || {
            let start = Instant::now();
            once();
            start.elapsed()
        })
    }

    /// `count` gives the reading itself.
    pub fn counted(role: Role, name: impl Into<String>, count: impl FnMut() -> f64 + 'a) -> Self {
        Self { name: name.into(), role, how: How::Counted(Box::new(count)), clock: ClockId::ProcessCPUTime }
    }

    /// Counts this thread's CPU time alone: where another is a part of the measuring.
    pub fn of_this_thread(mut self) -> Self {
        self.clock = ClockId::ThreadCPUTime;
        self
    }
}

/// Does `call` `n` times, in the current place.
pub fn times<R>(n: u64, mut call: impl FnMut() -> R) {
    for _ in 0..n {
        black_box(call());
    }
}

/// What came of one side. Times in ns.
#[derive(Clone, Debug)]
pub struct Measured {
    /// How the table names it.
    pub name: String,
    /// Whose it is.
    pub role: Role,
    /// Of the rounds' readings; of a latency, of the rounds' medians.
    pub median: f64,
    /// The least of them.
    pub min: f64,
    /// The largest of them.
    pub max: f64,
    /// Of all single latencies.
    pub p99: Option<f64>,
    /// CPU time for one, the whole process's as a rule.
    pub cpu: Option<f64>,
}

/// Measures the sides beside each other: a reading of each, then the next of each. `progress` is told the round.
pub fn interleaved(effort: Effort, sides: Vec<Side<'_>>, mut progress: impl FnMut(usize)) -> Vec<Measured> {
    let mut runs: Vec<Run<'_>> = sides.into_iter().map(|side| Run::new(side, effort)).collect();
    for round in 0..effort.rounds {
        progress(round);
        // Whoever comes first after a pause differs from round to round.
        let first = round % runs.len().max(1);
        runs.rotate_left(first);
        runs.iter_mut().for_each(Run::round);
        runs.rotate_right(first);
    }
    runs.into_iter().map(Run::end).collect()
}

struct Run<'a> {
    side: Side<'a>,
    /// How often in one round.
    n: u64,
    readings: Vec<f64>,
    latencies: Vec<f64>,
    cpu: Vec<f64>,
}

impl<'a> Run<'a> {
    /// Warms it up and finds how often it can be done in a round.
    fn new(mut side: Side<'a>, effort: Effort) -> Self {
        let mut n = 1;
        match &mut side.how {
            How::Repeated(work) => loop {
                let start = Instant::now();
                work(n);
                let took = start.elapsed();
                if took >= effort.round / 4 {
                    n = scaled(n, effort.round, took);
                    break;
                }
                n *= 4;
            },
            How::Each(once) => {
                let start = Instant::now();
                while start.elapsed() < effort.round / 2 || n < 4 {
                    once();
                    n += 1;
                }
                n = scaled(n, effort.round, start.elapsed());
            }
            How::Counted(count) => _ = count(),
        }
        Self { side, n, readings: Vec::new(), latencies: Vec::new(), cpu: Vec::new() }
    }

    fn round(&mut self) {
        let cpu = cpu_time(self.side.clock);
        let reading = match &mut self.side.how {
            How::Repeated(work) => {
                work(self.n);
                nanos(cpu_time(self.side.clock) - cpu) / self.n as f64
            }
            How::Each(once) => {
                let mut latencies: Vec<f64> = (0..self.n).map(|_| nanos(once())).collect();
                self.latencies.extend(&latencies);
                quantile(&mut latencies, 0.5)
            }
            How::Counted(count) => return self.readings.push(count()),
        };
        self.cpu.push(nanos(cpu_time(self.side.clock) - cpu) / self.n as f64);
        self.readings.push(reading);
    }

    fn end(mut self) -> Measured {
        let median = quantile(&mut self.readings, 0.5);
        Measured {
            name: self.side.name,
            role: self.side.role,
            median,
            min: self.readings[0],
            max: *self.readings.last().expect("a round at least"),
            p99: (!self.latencies.is_empty()).then(|| quantile(&mut self.latencies, 0.99)),
            cpu: (!self.cpu.is_empty()).then(|| quantile(&mut self.cpu, 0.5)),
        }
    }
}

fn scaled(n: u64, wanted: Duration, took: Duration) -> u64 {
    ((n as f64 * nanos(wanted) / nanos(took).max(1.0)) as u64).max(1)
}

/// Sorts and picks.
fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * q).round() as usize]
}

fn nanos(duration: Duration) -> f64 {
    duration.as_nanos() as f64
}

fn cpu_time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
