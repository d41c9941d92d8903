//! The threads on which system calls wait for a disk: at most 64 for the process, as in QEMU's thread pool. They are
//! started when they are needed, and end when they are not.
//!
//! The pool is not tokio's, so that files work without the feature `tokio`. It is not that of the crate `blocking`,
//! which other crates of the process use too, and which has up to 500 threads. As in that crate, a job is a task of
//! async-task's that is held by the queue alone.
//!
//! Invariant: a job owns everything that its system calls use, with one exception: a job of [`lend`] may borrow. The
//! future of that job does not go away before the job has ended.

use std::{
    collections::VecDeque,
    io,
    marker::PhantomData,
    pin::{Pin, pin},
    sync::{Condvar, Mutex},
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use async_task::{Builder, Runnable, Task};

use crate::sys::{fork, panics::Payload, sync::plain_lock};

/// How many jobs run at the same time. The others wait for their turn.
const THREADS: usize = 64;

/// How long a thread without work waits for some before it ends.
const IDLE: Duration = Duration::from_secs(10);

struct Pool {
    state: Mutex<State>,
    work: Condvar,
}

struct State {
    queue: VecDeque<Runnable>,
    threads: usize,
    /// How many threads wait for work. A thread that was woken counts until it has taken the lock again.
    idle: usize,
}

static POOL: Pool =
    Pool { state: Mutex::new(State { queue: VecDeque::new(), threads: 0, idle: 0 }), work: Condvar::new() };

/// To be asked before [`run`] and [`lend`].
///
/// # Errors
///
/// In a forked child, which has no such threads.
pub fn check() -> io::Result<()> {
    fork::register();
    fork::check()
}

/// Runs `job` on a thread of the pool. If the future is dropped, a job that has not begun is dropped without being run,
/// and one that has goes on.
pub fn run<T, J>(job: J) -> Task<T>
where
    J: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let (runnable, task) = Builder::new().propagate_panic(true).spawn(|()| async move { job() }, POOL.schedule());
    runnable.schedule();
    task
}

/// Like [`run`], for a job that borrows. Dropping the future waits until the job has ended or will never begin.
///
/// # Safety
///
/// The future is polled until it is ready, or dropped, before `'a` ends. (That is: nobody forgets it.)
pub unsafe fn lend<'a, T, J>(job: J) -> Lent<'a, T>
where
    J: FnOnce() -> T + Send + 'a,
    T: Send + 'static,
{
    let builder = Builder::new().propagate_panic(true);
    // SAFETY: the future and the closure that schedules it are `Send`. What the future borrows outlives it: async-task
    // drops a future that was run before its output can be taken, and one that was cancelled before `cancel` is ready,
    // and `Lent` waits for one of these; the caller promises that it gets the opportunity. Wakers are never made from
    // the runnable, since the future is ready at its first poll.
    let (runnable, task) = unsafe { builder.spawn_unchecked(|()| async move { job() }, POOL.schedule()) };
    runnable.schedule();
    Lent { task: Some(task), borrows: PhantomData }
}

/// A job that borrows for `'a`.
pub struct Lent<'a, T> {
    /// There until it has ended.
    task: Option<Task<T>>,
    borrows: PhantomData<&'a mut ()>,
}

impl<T> Future for Lent<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let task = self.task.as_mut().expect("a job that has ended is not polled again");
        let output = std::task::ready!(Pin::new(task).poll(cx));
        self.task = None;
        Poll::Ready(output)
    }
}

impl<T> Drop for Lent<'_, T> {
    fn drop(&mut self) {
        // A forked child has a copy of the memory, and no thread that writes to it.
        let Some(task) = self.task.take().filter(|_| !fork::is_child()) else { return };
        let (parker, unparker) = parking::pair();
        let waker = Waker::from(unparker);
        let mut ended = pin!(task.cancel());
        while ended.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            parker.park();
        }
    }
}

impl Pool {
    /// What async-task calls once for each job.
    fn schedule(&'static self) -> impl Fn(Runnable) + Copy + Send + Sync + 'static {
        |runnable| self.push(runnable)
    }

    fn push(&'static self, runnable: Runnable) {
        let mut state = plain_lock(&self.state);
        state.queue.push_back(runnable);
        if state.queue.len() <= state.idle {
            drop(state);
            self.work.notify_one();
        } else if state.threads < THREADS {
            state.threads += 1;
            drop(state);
            let thread = thread::Builder::new().name("co-wrapper-file".to_owned());
            if thread.spawn(|| self.work()).is_err() {
                self.without_a_thread();
            }
        }
    }

    /// No thread could be started. If there is none at all, the caller's does the work: late is better than never. It does
    /// all that is there, for others may have left theirs to the thread that could not be started.
    #[cold]
    fn without_a_thread(&self) {
        let mut state = plain_lock(&self.state);
        state.threads -= 1;
        while state.threads == 0
            && let Some(runnable) = state.queue.pop_front()
        {
            drop(state);
            run_one(runnable);
            state = plain_lock(&self.state);
        }
    }

    /// What a thread of the pool does.
    fn work(&self) {
        let mut state = plain_lock(&self.state);
        loop {
            if let Some(runnable) = state.queue.pop_front() {
                drop(state);
                run_one(runnable);
                state = plain_lock(&self.state);
                continue;
            }
            state.idle += 1;
            let waited = self.work.wait_timeout_while(state, IDLE, |state| state.queue.is_empty());
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
            state.idle -= 1;
            if state.queue.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

/// A job's own panic goes to whoever awaits the job. What is caught here are panics of wakers, and of destructors in a job that
/// nobody awaits. The panic hook has printed them.
fn run_one(runnable: Runnable) {
    drop(Payload::of(|| runnable.run()));
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
        sync::mpsc,
    };

    use super::*;

    /// How a frame is left whose job is under way.
    #[derive(Clone, Copy, Debug)]
    enum Left {
        Polled,
        NotPolled,
        Unwinding,
    }

    #[test]
    fn f04_a_frame_is_not_left_before_the_job_that_borrows_from_it_has_ended() {
        for left in [Left::Polled, Left::NotPolled, Left::Unwinding] {
            for _ in 0..20 {
                let (go, gone) = mpsc::channel::<()>();
                let (begin, begun) = mpsc::channel();
                let mut buf = vec![0; 64];
                let lent = &mut buf;
                let result = catch_unwind(AssertUnwindSafe(|| {
                    // SAFETY: dropped at the end of this closure.
                    let mut job = unsafe {
                        lend(move || {
                            begin.send(()).unwrap();
                            // Until the sender is dropped, by another thread.
                            let _ = gone.recv();
                            lent.fill(7);
                        })
                    };
                    begun.recv().unwrap();
                    if matches!(left, Left::Polled) {
                        assert!(Pin::new(&mut job).poll(&mut Context::from_waker(Waker::noop())).is_pending());
                    }
                    thread::spawn(move || {
                        thread::yield_now();
                        drop(go);
                    });
                    if matches!(left, Left::Unwinding) {
                        resume_unwind(Box::new("beside it"));
                    }
                }));
                assert_eq!(result.is_err(), matches!(left, Left::Unwinding));
                assert_eq!(buf, [7; 64], "{left:?}");
            }
        }
    }

    /// What a job does that nobody else is there to run.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Job {
        Ends,
        Panics,
        /// It has another one run, for which no thread can be started either.
        BeginsAnother,
    }

    /// Callers that have each queued a job, and counted a thread for it that could not be started, come back one after another.
    #[test]
    fn who_finds_that_there_is_no_thread_at_all_runs_what_others_have_queued_too() {
        for (callers, threads) in [(1, 1), (2, 2), (2, 1), (3, 3), (64, 64)] {
            for job in [Job::Ends, Job::Panics, Job::BeginsAnother] {
                let pool: &'static Pool = Box::leak(Box::new(Pool {
                    state: Mutex::new(State { queue: VecDeque::new(), threads, idle: 0 }),
                    work: Condvar::new(),
                }));
                let queue = move |runnable| plain_lock(&pool.state).queue.push_back(runnable);
                let (ran, runs) = mpsc::channel();
                let begin = |job| {
                    let ran = ran.clone();
                    let job = async move {
                        ran.send(()).unwrap();
                        match job {
                            Job::Ends => {}
                            Job::Panics => resume_unwind(Box::new("a job's")),
                            Job::BeginsAnother => {
                                let (runnable, task) = async_task::spawn(async move { ran.send(()).unwrap() }, queue);
                                plain_lock(&pool.state).threads += 1;
                                runnable.schedule();
                                task.detach();
                                pool.without_a_thread();
                            }
                        }
                    };
                    let (runnable, task) = Builder::new().propagate_panic(true).spawn(|()| job, queue);
                    runnable.schedule();
                    task.detach();
                };
                (0..callers).for_each(|_| begin(job));
                (0..threads).for_each(|_| pool.without_a_thread());
                let expected = callers * if job == Job::BeginsAnother { 2 } else { 1 };
                assert_eq!(runs.try_iter().count(), expected, "{callers} callers, {threads} threads, {job:?}");
                let state = plain_lock(&pool.state);
                assert!(state.threads == 0 && state.queue.is_empty());
            }
        }
    }
}
