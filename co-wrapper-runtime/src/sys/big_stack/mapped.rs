//! A stack that is mapped, and the switch to it.

use std::{
    arch::naked_asm,
    ffi::c_void,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    ptr,
};

use rustix::{
    io,
    mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap},
    param::page_size,
};

/// What [`BigStack::run`] switches to.
#[derive(Debug)]
pub struct BigStack {
    /// `None` where no stack could be mapped. Then `run` stays where it is.
    mapping: Option<Mapping>,
}

impl BigStack {
    /// A stack with at least `bytes` of room. Only what is touched of it takes memory.
    pub fn new(bytes: usize) -> Self {
        Self { mapping: Mapping::new(bytes).ok() }
    }

    /// Calls `f` on this stack.
    ///
    /// # Panics
    ///
    /// As `f`.
    pub fn run<R>(&mut self, f: impl FnOnce() -> R) -> R {
        match &mut self.mapping {
            Some(mapping) => run_on(mapping, f),
            None => f(),
        }
    }
}

/// Mapped memory of `len` bytes from `start`, of which the lowest page is a guard.
#[derive(Debug)]
struct Mapping {
    start: *mut c_void,
    len: usize,
}

impl Mapping {
    fn new(bytes: usize) -> io::Result<Self> {
        let page = page_size();
        let len = bytes.checked_next_multiple_of(page).and_then(|len| len.checked_add(page)).ok_or(io::Errno::NOMEM)?;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs no other memory.
        let start =
            unsafe { mmap_anonymous(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)? };
        let mapping = Self { start, len };
        // SAFETY: the lowest page of the mapping, which nothing uses yet.
        unsafe { mprotect(start, page, MprotectFlags::empty())? };
        Ok(mapping)
    }

    /// Just past the highest byte, where the stack begins. Page-aligned, so aligned as both ABIs want it.
    fn top(&mut self) -> *mut c_void {
        self.start.wrapping_byte_add(self.len)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length; nobody runs on it, for `run_on` borrows it while somebody does. An
        // error would leave it mapped, which harms nobody.
        let _ = unsafe { munmap(self.start, self.len) };
    }
}

fn run_on<F: FnOnce() -> R, R>(mapping: &mut Mapping, f: F) -> R {
    /// The closure, then what became of it.
    struct Job<F, R>(Option<F>, Option<std::thread::Result<R>>);

    extern "C" fn work<F: FnOnce() -> R, R>(job: *mut c_void) {
        // SAFETY: `run_on` passes a `Job` of these types, which it leaves alone until this returns.
        let Job(f, result) = unsafe { &mut *job.cast::<Job<F, R>>() };
        let f = f.take().expect("called once");
        // Not unwind safe or unsafe by this: the panic goes on below.
        *result = Some(catch_unwind(AssertUnwindSafe(f)));
    }

    let mut job = Job(Some(f), None);
    let data = (&raw mut job).cast();
    // SAFETY: the top is that of a mapped stack which nobody runs on, for this borrows it mutably; `work` takes the job
    // of this type, and does not unwind.
    unsafe { call_on(data, mapping.top(), work::<F, R>) };
    match job.1.expect("`work` has returned") {
        Ok(result) => result,
        Err(payload) => resume_unwind(payload),
    }
}

/// Calls `work(data)` with the stack pointer at `top`, and returns on the present stack.
///
/// The frame is addressed through the frame pointer, which `work` preserves, and the directives say so: a debugger, a
/// profiler or a backtrace goes on into the caller's frames.
///
/// # Safety
///
/// `top` is 16-aligned and the upper end of writable memory that is large enough for `work`, which must not unwind.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn call_on(data: *mut c_void, top: *mut c_void, work: extern "C" fn(*mut c_void)) {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "mov rsp, rsi",
        "call rdx",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
    )
}

/// As above.
///
/// # Safety
///
/// As above.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
unsafe extern "C" fn call_on(data: *mut c_void, top: *mut c_void, work: extern "C" fn(*mut c_void)) {
    naked_asm!(
        ".cfi_startproc",
        "stp x29, x30, [sp, #-16]!",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset x29, -16",
        ".cfi_offset x30, -8",
        "mov x29, sp",
        ".cfi_def_cfa_register x29",
        "mov sp, x1",
        "blr x2",
        "mov sp, x29",
        ".cfi_def_cfa_register sp",
        "ldp x29, x30, [sp], #16",
        ".cfi_def_cfa_offset 0",
        ".cfi_restore x29",
        ".cfi_restore x30",
        "ret",
        ".cfi_endproc",
    )
}
