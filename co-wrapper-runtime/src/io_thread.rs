//! `IoThread`: a thread that does nothing but poll one context (QEMU's `IOThread`), and its orderly end.

use std::{
    fmt, io, mem,
    panic::Location,
    sync::{Arc, Mutex, mpsc},
    task::{Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use crate::{
    call::{callee::Callee, frame::Frame},
    context::AioContext,
    sys::{
        elapsed::{Elapsed, deadline},
        fork,
        panics::{self, Payload},
        sync::plain_lock as lock,
    },
};

/// How long an IoThread's context spins before it sleeps, at most. (QEMU's `poll-max-ns`.)
const SPIN_MAX: Duration = Duration::from_nanos(32_768);

/// A thread that is home to one context and polls it until it is joined.
///
/// Dropping it joins.
///
/// # Examples
///
/// ```
/// use co_wrapper::{AioContext, IoThread};
///
/// let io = IoThread::spawn("io")?;
/// let name = io.context().spawn(async { std::thread::current().name().map(str::to_owned) });
/// assert_eq!(AioContext::current().block_on(name).as_deref(), Some("io"));
/// io.join();
/// # std::io::Result::Ok(())
/// ```
#[doc(alias = "IOThread")]
pub struct IoThread {
    context: AioContext,
    ending: Arc<Mutex<Ending>>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
    id: thread::ThreadId,
    /// Where it was spawned.
    spawned: &'static Location<'static>,
}

/// How the thread is asked to end, and how it announces that it has.
#[derive(Default)]
struct Ending {
    asked: bool,
    ended: bool,
    waiting: Vec<Waker>,
}

/// Announces the thread's end to those that wait for it.
struct Tells(Arc<Mutex<Ending>>);

impl Drop for Tells {
    fn drop(&mut self) {
        let mut ending = lock(&self.0);
        ending.ended = true;
        let waiting = mem::take(&mut ending.waiting);
        drop(ending);
        panics::wake_all(waiting);
    }
}

impl IoThread {
    /// Starts a thread with this name. Its context is running when this returns; it spins for up to 32 µs before it
    /// sleeps.
    ///
    /// # Errors
    ///
    /// No thread can be started, or no descriptors can be had for the process's reactor.
    ///
    /// # Examples
    ///
    /// See [`IoThread`].
    #[doc(alias = "iothread_create")]
    #[track_caller]
    pub fn spawn(name: &str) -> io::Result<Self> {
        let context = AioContext::builder().name(name).spin_max(SPIN_MAX).build()?;
        let ending = Arc::<Mutex<Ending>>::default();
        let (running, runs) = mpsc::channel();
        let (here, tells) = (context.clone(), Tells(Arc::clone(&ending)));
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            // Declared before the guard, so it is dropped after the thread has left home.
            let end = tells;
            let home = here.enter();
            // Cannot fail, because the spawner waits for it.
            let _ = running.send(());
            // The panic hook has printed a panic of users' code. It must neither end the thread nor become the thread's
            // result.
            while !lock(&end.0).asked {
                drop(Payload::of(|| here.poll(true)));
            }
            drop(Payload::of(|| here.close()));
            panics::discard(home);
        })?;
        let id = thread.thread().id();
        runs.recv().map_err(|_| io::Error::other("the IOThread ended before it ran"))?;
        Ok(Self { context, ending, thread: Mutex::new(Some(thread)), id, spawned: Location::caller() })
    }

    /// The thread's context.
    ///
    /// # Examples
    ///
    /// See [`IoThread`].
    #[doc(alias = "iothread_get_aio_context")]
    pub fn context(&self) -> &AioContext {
        &self.context
    }

    /// Ends the thread and waits until it has ended. What is pending in its context is dropped, and those that wait for
    /// it are woken. The caller serves its own contexts meanwhile. Joining again returns at once.
    ///
    /// # Panics
    ///
    /// On the thread itself, which cannot wait for its own end. (Dropping the `IoThread` there lets the thread end when
    /// it returns to its loop.)
    ///
    /// # Examples
    ///
    /// See [`IoThread`].
    #[doc(alias = "iothread_destroy")]
    #[track_caller]
    pub fn join(&self) {
        self.refuse_here("IoThread::join");
        self.end(&"IoThread::join", Location::caller(), None);
    }

    /// Like [`join`](Self::join), for `timeout` at most. A thread that has ended is never joined too late.
    ///
    /// # Errors
    ///
    /// The thread had not ended when the time was up, because something that it runs has not returned. The request to
    /// end is not taken back: the thread ends as soon as that returns, and drops what is pending. You may join it
    /// again.
    ///
    /// The destructors of its thread-locals, which run last, are waited for in any case.
    ///
    /// # Panics
    ///
    /// The same as [`join`](Self::join).
    ///
    /// # Examples
    ///
    /// ```
    /// use co_wrapper::IoThread;
    /// use std::{sync::mpsc, time::Duration};
    ///
    /// let io = IoThread::spawn("io")?;
    /// let (go_on, may_go_on) = mpsc::channel::<()>();
    /// let (begins, has_begun) = mpsc::channel();
    /// io.context().schedule_bh(move || {
    ///     begins.send(()).unwrap();
    ///     let _ = may_go_on.recv();
    /// });
    /// has_begun.recv().unwrap();
    /// assert!(io.join_timeout(Duration::from_millis(1)).is_err());
    /// drop(go_on);
    /// io.join();
    /// assert!(io.join_timeout(Duration::ZERO).is_ok());
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), Elapsed> {
        self.refuse_here("IoThread::join_timeout");
        let ended = self.end(&"IoThread::join_timeout", Location::caller(), deadline(timeout));
        if ended { Ok(()) } else { Err(Elapsed::new(timeout)) }
    }

    #[track_caller]
    fn refuse_here(&self, name: &str) {
        assert!(
            thread::current().id() != self.id,
            "{name}: called at {}, on the thread itself, {}; join it from another one",
            Location::caller(),
            self.context
        );
    }

    /// Asks the thread to end, and waits for that until `deadline`. Returns whether it has ended.
    #[track_caller]
    fn end(&self, name: &'static &'static str, site: &'static Location<'static>, deadline: Option<Instant>) -> bool {
        lock(&self.ending).asked = true;
        self.context.notify();
        if thread::current().id() == self.id {
            return false;
        }
        let frame = Frame::enter(Callee::Own(name), site);
        let ended = frame.block_on_until(deadline, None, || {
            std::future::poll_fn(|cx| {
                let mut ending = lock(&self.ending);
                if ending.ended {
                    return Poll::Ready(());
                }
                // The waker is this frame's. The next join from the same place has the same one.
                if !ending.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                    ending.waiting.push(cx.waker().clone());
                }
                Poll::Pending
            })
        });
        if ended.is_err() {
            return false;
        }
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            // Only the thread-locals' destructors are still to run. They are users' code and may wait for an outer
            // scheduler, hence the gate. The panic hook has printed the panic of a destructor.
            panics::discard(frame.gate(|| thread.join()));
        }
        true
    }
}

impl Drop for IoThread {
    fn drop(&mut self) {
        if fork::is_child() {
            // The thread belongs to the parent.
            mem::forget(self.thread.get_mut().map(Option::take));
            return;
        }
        // A drop has no call site in the user's code.
        self.end(&"IoThread::drop", self.spawned, None);
    }
}

impl fmt::Debug for IoThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoThread").field("context", &self.context).finish_non_exhaustive()
    }
}
