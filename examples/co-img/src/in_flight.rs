//! Several requests in flight. When one has failed, or a signal asks the program to end, no more are begun, reads are given up,
//! and what writes is waited for. A write must not be dropped half-way: it may still be under way where it was handed to, and
//! end after one that comes later, or after the file was made longer or shorter.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use futures::future::join_all;
use futures::stream::{Stream, StreamExt};
use tokio::sync::Semaphore;

use crate::error::{Error, Result};
use crate::target::interrupted;

/// Requests that belong together, of one thread or of several: when one fails, all end.
#[derive(Debug)]
pub(crate) struct InFlight {
    /// Closed when one has failed.
    failed: Semaphore,
}

impl Default for InFlight {
    fn default() -> Self {
        InFlight { failed: Semaphore::const_new(0) }
    }
}

impl InFlight {
    /// Does what the stream gives, so much of it at a time. What has begun ends, also when something else has failed. The
    /// result is the first error.
    pub(crate) async fn run<Job>(&self, jobs: impl Stream<Item = Result<Job>>, most: usize) -> Result<()>
    where
        Job: Future<Output = Result<()>>,
    {
        let mut interrupted = pin!(interrupted());
        let stopped = poll_fn(|cx| match self.failed.is_closed() {
            true => Poll::Ready(()),
            false => interrupted.as_mut().poll(cx),
        });
        let fail = || self.failed.close();
        let jobs = jobs.inspect(|job| _ = job.as_ref().inspect_err(|_| fail()));
        let jobs = jobs.take_until(stopped).map(async |job| job?.await);
        let (mut running, mut first) = (pin!(jobs.buffer_unordered(most)), Ok(()));
        while let Some(done) = running.next().await {
            first = first.and(done.inspect_err(|_| fail()));
        }
        first
    }

    /// What `read` gives, or nothing if something else fails, or a signal asks the program to end, before that. Then it is
    /// dropped, also where it waits for a server that does not answer; so it must not be anything that changes an image.
    pub(crate) async fn unless_stopped<T>(&self, read: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            read = read => Some(read),
            () = interrupted() => None,
            _ = self.failed.acquire() => None, // of which there are none
        }
    }
}

/// Does all of that at the same time, also when some of it fails. The result is the first error.
pub(crate) async fn all_of(jobs: impl Iterator<Item = impl Future<Output = Result<()>>>) -> Result<()> {
    join_all(jobs).await.into_iter().fold(Ok::<_, Error>(()), Result::and)
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::io;
    use std::task::{Context, Waker};

    use futures::channel::oneshot;
    use futures::stream;

    use super::*;
    use crate::error::Doing;

    fn failure(name: &str) -> Error {
        Error::new(Doing::Write, name, io::Error::other("no"))
    }

    /// What a job does: it ends well or not, at once or when it is told to.
    #[derive(Clone, Copy, Debug)]
    enum Job {
        Fails,
        Waits,
        WaitsAndFails,
        /// The stream fails where it should give a job.
        None,
    }

    #[test]
    fn what_has_begun_ends_although_something_else_has_failed() {
        use Job::{Fails, None, Waits, WaitsAndFails};
        for (jobs, most, begins, error) in [
            (&[Waits, Fails, Waits, Waits][..], 2, 2, "1"),
            (&[Fails, Waits, Waits, Waits], 2, 2, "0"),
            (&[Waits, WaitsAndFails, Waits, Fails, Waits], 4, 4, "3"),
            (&[Waits, Waits, None, Waits], 8, 2, "2"),
            (&[WaitsAndFails, WaitsAndFails, Waits], 2, 2, "1"),
            (&[Fails, Waits], 1, 1, "0"),
        ] {
            for all_at_once in [false, true] {
                let what = format!("{jobs:?}, {most} at a time, all at once: {all_at_once}");
                let (begun, ended, told) = (Cell::new(0), Cell::new(0), RefCell::new(Vec::new()));
                let job = |index: usize| {
                    let (tell, told_to) = oneshot::channel();
                    let (begun, ended, told) = (&begun, &ended, &told);
                    async move {
                        begun.set(begun.get() + 1);
                        if matches!(jobs[index], Waits | WaitsAndFails) {
                            told.borrow_mut().push(tell);
                            told_to.await.unwrap();
                        }
                        ended.set(ended.get() + 1);
                        match jobs[index] {
                            Fails | WaitsAndFails => Err(failure(&index.to_string())),
                            Waits | None => Ok(()),
                        }
                    }
                };
                let in_flight = InFlight::default();
                let stream = stream::iter(0..jobs.len()).map(|index| match jobs[index] {
                    None => Err(failure(&index.to_string())),
                    _ => Ok(job(index)),
                });
                let mut cx = Context::from_waker(Waker::noop());
                let mut run: std::pin::Pin<Box<dyn Future<Output = Result<()>>>> = match all_at_once {
                    true if matches!(jobs[2..], [None, ..]) => continue, // which has no stream
                    true => Box::pin(all_of((0..jobs.len()).map(job))),
                    false => Box::pin(in_flight.run(stream, most)),
                };
                let (begins, error) = if all_at_once {
                    let failed = jobs.iter().position(|job| matches!(job, Fails | WaitsAndFails));
                    (jobs.len(), failed.unwrap().to_string())
                } else {
                    (begins, error.to_owned())
                };
                let done = loop {
                    match run.as_mut().poll(&mut cx) {
                        Poll::Ready(done) => break done,
                        Poll::Pending => {
                            assert_eq!(begun.get(), begins, "{what}");
                            // The last first.
                            told.borrow_mut().pop().expect("somebody waits").send(()).unwrap();
                        }
                    }
                };
                assert_eq!((begun.get(), ended.get()), (begins, begins), "{what}");
                assert_eq!(done.unwrap_err().name, error, "{what}");
            }
        }
    }

    #[test]
    fn reads_are_given_up_when_something_of_another_thread_has_failed() {
        let in_flight = InFlight::default();
        let mut cx = Context::from_waker(Waker::noop());
        let mut read = pin!(in_flight.unless_stopped(std::future::pending::<()>()));
        assert!(read.as_mut().poll(&mut cx).is_pending());
        let failing = stream::iter([Ok(async { Err(failure("0")) })]);
        assert!(pin!(in_flight.run(failing, 1)).poll(&mut cx).is_ready());
        assert_eq!(read.as_mut().poll(&mut cx), Poll::Ready(None));
        // And what the other one has not begun is not begun.
        let more = stream::iter([Ok(async { panic!("it is begun") })]);
        assert!(matches!(pin!(in_flight.run(more, 1)).poll(&mut cx), Poll::Ready(Ok(()))));
    }
}
