//! What system calls a process makes, seen, held up and refused from a thread of its own (seccomp's user notifications, which
//! need no privilege and no program beside this one).
//!
//! For a child process: what is done to it cannot be undone. Calls that manage memory are left alone, for a thread may make
//! them while it holds the allocator's lock.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    thread,
};

/// A system call that is about to be made.
#[derive(Clone, Copy, Debug)]
pub struct Syscall {
    pub thread: u32,
    pub number: i64,
    pub args: [u64; 6],
}

/// What becomes of it.
pub enum Verdict {
    Allow,
    /// It fails with this number.
    Fail(i32),
    /// It is allowed when this is true.
    Hold(Box<dyn Fn() -> bool + Send>),
}

const MEMORY: [i64; 6] =
    [libc::SYS_brk, libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_mprotect];

/// The number of the calling thread.
pub fn this_thread() -> u32 {
    // SAFETY: the call has no arguments.
    unsafe { libc::gettid() as u32 }
}

/// From now on, `judge` is asked about every system call of this thread and of those that it starts.
pub fn supervise(judge: impl FnMut(&Syscall) -> Verdict + Send + 'static) {
    // Its thread is started first, so that it is not supervised.
    let listener = Arc::new(AtomicI32::new(-1));
    let told = Arc::clone(&listener);
    thread::spawn(move || {
        while told.load(Ordering::Acquire) < 0 {
            thread::yield_now();
        }
        serve(told.load(Ordering::Acquire), judge);
    });

    let jump = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let ret = (libc::BPF_RET | libc::BPF_K) as u16;
    // SAFETY: these only fill in a struct.
    let mut filter = unsafe {
        // The number is the first field of what a filter sees.
        let mut filter = vec![libc::BPF_STMT((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, 0)];
        for (at, call) in MEMORY.iter().enumerate() {
            filter.push(libc::BPF_JUMP(jump, *call as u32, (MEMORY.len() - at) as u8, 0));
        }
        filter.push(libc::BPF_STMT(ret, libc::SECCOMP_RET_USER_NOTIF));
        filter.push(libc::BPF_STMT(ret, libc::SECCOMP_RET_ALLOW));
        filter
    };
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the arguments are those that prctl(2) and seccomp(2) ask for, and the filter outlives the call.
    let descriptor = unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    };
    assert!(descriptor >= 0, "seccomp: {}", std::io::Error::last_os_error());
    listener.store(descriptor as i32, Ordering::Release);
}

fn serve(listener: i32, mut judge: impl FnMut(&Syscall) -> Verdict) {
    let mut held: Vec<(u64, Box<dyn Fn() -> bool + Send>)> = Vec::new();
    loop {
        held.retain(|(id, free)| {
            let free = free();
            if free {
                answer(listener, *id, 0);
            }
            !free
        });
        let mut poll = libc::pollfd { fd: listener, events: libc::POLLIN, revents: 0 };
        // SAFETY: there is one descriptor in the list.
        unsafe { libc::poll(&raw mut poll, 1, if held.is_empty() { 1000 } else { 1 }) };
        if poll.revents & libc::POLLIN == 0 {
            continue;
        }
        // SAFETY: all zeroes is what the kernel asks for.
        let mut call: libc::seccomp_notif = unsafe { mem::zeroed() };
        // SAFETY: the argument is of the type that this request has.
        if unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV as _, &raw mut call) } != 0 {
            continue;
        }
        let seen = Syscall { thread: call.pid, number: call.data.nr.into(), args: call.data.args };
        match judge(&seen) {
            Verdict::Allow => answer(listener, call.id, 0),
            Verdict::Fail(error) => answer(listener, call.id, error),
            Verdict::Hold(free) => held.push((call.id, free)),
        }
    }
}

fn answer(listener: i32, id: u64, error: i32) {
    let flags = if error == 0 { libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32 } else { 0 };
    let mut answer = libc::seccomp_notif_resp { id, val: 0, error: -error, flags };
    // SAFETY: the argument is of the type that this request has. It fails if the thread is gone.
    unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw mut answer) };
}
