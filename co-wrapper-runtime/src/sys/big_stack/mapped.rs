//! A memory-mapped stack, and the switch to it.

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

/// A stack that [`run`](BigStack::run) switches to.
#[derive(Debug)]
pub struct BigStack {
    /// `None` if no stack could be mapped; then `run` stays on the thread's stack.
    mapping: Option<Mapping>,
}

impl BigStack {
    /// A stack with at least `bytes` of room. Only pages that are touched take memory.
    pub fn new(bytes: usize) -> Self {
        Self { mapping: Mapping::new(bytes).ok() }
    }

    /// Calls `f` on this stack.
    ///
    /// # Panics
    ///
    /// The same as `f`.
    pub fn run<R>(&mut self, f: impl FnOnce() -> R) -> R {
        match &mut self.mapping {
            Some(mapping) => run_on(mapping, f),
            None => f(),
        }
    }
}

/// A mapping of `len` bytes at `start`, whose lowest page is the guard page.
#[derive(Debug)]
struct Mapping {
    start: *mut c_void,
    len: usize,
}

impl Mapping {
    fn new(bytes: usize) -> io::Result<Self> {
        let page = page_size();
        let len = bytes.checked_next_multiple_of(page).and_then(|len| len.checked_add(page)).ok_or(io::Errno::NOMEM)?;
        // SAFETY: a new mapping at an address that the kernel chooses disturbs no other memory.
        let start =
            unsafe { mmap_anonymous(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)? };
        let mapping = Self { start, len };
        // SAFETY: this is the lowest page of the new mapping, and nothing uses it yet.
        unsafe { mprotect(start, page, MprotectFlags::empty())? };
        Ok(mapping)
    }

    /// One past the highest byte, where the stack begins. It is page-aligned, which satisfies both ABIs.
    fn top(&mut self) -> *mut c_void {
        self.start.wrapping_byte_add(self.len)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `new` mapped this range with this length, and no code runs on it, because `run_on` borrows the
        // mapping while some does. If unmapping fails, the memory stays mapped, which is harmless.
        let _ = unsafe { munmap(self.start, self.len) };
    }
}

fn run_on<F: FnOnce() -> R, R>(mapping: &mut Mapping, f: F) -> R {
    /// The closure, and later its result.
    struct Job<F, R>(Option<F>, Option<std::thread::Result<R>>);

    extern "C" fn work<F: FnOnce() -> R, R>(job: *mut c_void) {
        // SAFETY: `run_on` passes a pointer to a `Job` of these types and does not touch it until this function
        // returns.
        let Job(f, result) = unsafe { &mut *job.cast::<Job<F, R>>() };
        let f = f.take().expect("called once");
        // Unwind safety stays the caller's concern: the panic is raised again in `run_on`.
        *result = Some(catch_unwind(AssertUnwindSafe(f)));
    }

    let mut job = Job(Some(f), None);
    let data = (&raw mut job).cast();
    // SAFETY: `top` is the top of a mapped stack on which no code runs, because `mapping` is borrowed mutably. `data`
    // points to a `Job` of the types that `work` expects, and `work` does not unwind.
    unsafe { call_on(data, mapping.top(), work::<F, R>) };
    match job.1.expect("`work` has returned") {
        Ok(result) => result,
        Err(payload) => resume_unwind(payload),
    }
}

/// Calls `work(data)` with the stack pointer at `top`, and returns on the original stack.
///
/// The frame is addressed through the frame pointer, which `work` preserves, and the CFI directives say so. So
/// debuggers, profilers and backtraces can walk into the caller's frames.
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

/// Like the one on x86-64.
///
/// # Safety
///
/// The same as on x86-64.
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
