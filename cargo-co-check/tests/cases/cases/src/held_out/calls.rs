//! By whom and through what a twin is called.

pub mod bad_question_chain {
    use crate::harness::*;
    fn header(disk: &Disk) -> std::io::Result<u8> {
        let first = disk.try_read_blocking(0)?;
        Ok(first + disk.try_read_blocking(1)?)
    }
    async fn open(disk: &Disk) -> std::io::Result<u8> {
        let value = header(disk)?;
        Ok(value)
    }
    pub async fn run() {
        open(&disk()).await.unwrap();
    }
}

pub mod bad_default_method {
    use crate::harness::*;
    trait Size {
        fn disk(&self) -> &Disk;
        fn size(&self) -> u8 {
            self.disk().read_blocking(1)
        }
    }
    struct Image(Disk);
    impl Size for Image {
        fn disk(&self) -> &Disk {
            &self.0
        }
    }
    pub async fn run() {
        Image(disk()).size();
    }
}

pub mod bad_associated_const_fn {
    use crate::harness::*;
    trait Format {
        const FLUSH: fn(u32) -> u32;
    }
    struct Raw;
    impl Format for Raw {
        const FLUSH: fn(u32) -> u32 = bdrv_flush;
    }
    fn flush<F: Format>() -> u32 {
        (F::FLUSH)(3)
    }
    pub async fn run() {
        flush::<Raw>();
    }
}

pub mod bad_iterator_chain {
    use crate::harness::*;
    pub async fn run() {
        let disk = disk();
        let read: Vec<u8> = [0, 1, 2].iter().filter(|off| **off > 0).map(|off| disk.read_blocking(*off)).collect();
        assert_eq!(read.len(), 2);
    }
}

pub mod bad_fold_by_path {
    use crate::harness::*;
    pub async fn run() {
        let sum: u32 = [1, 2].into_iter().map(bdrv_flush).sum();
        assert_eq!(sum, 3);
    }
}

pub mod ok_lazy_iterator_not_consumed {
    use crate::harness::*;
    pub async fn run() {
        let lazy = [1, 2].into_iter().map(bdrv_flush);
        assert_eq!(lazy.len(), 2);
    }
}

pub mod bad_sort_by_dyn {
    use crate::harness::*;
    fn order(of: &mut [usize], key: &dyn Fn(&usize) -> u8) {
        of.sort_by_key(|off| key(off));
    }
    pub async fn run() {
        let disk = disk();
        order(&mut [2, 0, 1], &|off| disk.read_blocking(*off));
    }
}

pub mod bad_declared_twin_deep {
    use crate::harness::*;
    fn status() -> Option<u32> {
        Some(2).filter(|x| bdrv_declared(*x) == 2)
    }
    pub async fn run() {
        assert!(status().is_some());
    }
}

pub mod bad_mark_on_trait {
    use co_wrapper::co_wrapper;
    #[co_wrapper(suffix = "_blocking")]
    pub trait Read {
        async fn read(&self) -> u8;
    }
    struct Zero;
    impl Read for Zero {
        async fn read(&self) -> u8 {
            0
        }
    }
    pub async fn run() {
        Zero.read_blocking();
    }
}

pub mod bad_mark_on_mod {
    #[co_wrapper::co_wrapper(suffix = "_blocking")]
    mod wire {
        pub async fn send(x: u32) -> u32 {
            x
        }
        #[co_wrapper::co_wrapper(mixed)]
        pub async fn poke(x: u32) -> u32 {
            x
        }
    }
    pub async fn run() {
        wire::poke_blocking(1);
        wire::send_blocking(1);
    }
}

pub mod bad_timeout_in_match {
    use crate::harness::*;
    pub async fn run() {
        match reply_timeout(1, std::time::Duration::from_secs(9)) {
            Ok(reply) => assert_eq!(reply, 1),
            Err(_) => unreachable!(),
        }
    }
}

pub mod bad_ctx_in_closure {
    use crate::harness::*;
    pub async fn run() {
        let node = Node { ctx: co_wrapper::AioContext::main() };
        let ask = || node.whose();
        ask();
    }
}

pub mod bad_trait_object_generic {
    use crate::harness::*;
    fn total<D: Dev + ?Sized>(dev: &D) -> u8 {
        dev.get(0) + dev.get(1)
    }
    pub async fn run() {
        let disk = disk();
        let dev: &dyn Dev = &disk;
        total(dev);
    }
}

pub mod bad_vec_of_dyn {
    use crate::harness::*;
    pub async fn run() {
        let devs: Vec<Box<dyn Dev>> = vec![Box::new(Mem(1)), Box::new(disk())];
        let sum: u8 = devs.iter().map(|dev| dev.get(0)).sum();
        assert_eq!(sum, 2);
    }
}

pub mod ok_vec_of_dyn_other_method {
    use crate::harness::*;
    pub async fn run() {
        let devs: Vec<Box<dyn Dev>> = vec![Box::new(Mem(1)), Box::new(disk())];
        let sum: u8 = devs.iter().map(|dev| dev.name()).sum();
        assert_eq!(sum, 0);
    }
}

pub mod bad_closure_in_struct {
    struct Hooks<F: Fn(u32) -> u32> {
        done: F,
    }
    impl<F: Fn(u32) -> u32> Hooks<F> {
        fn fire(&self) -> u32 {
            (self.done)(1)
        }
    }
    pub async fn run() {
        let hooks = Hooks { done: |x| crate::harness::bdrv_flush(x) };
        hooks.fire();
    }
}

pub mod bad_boxed_closure_in_struct {
    struct Hooks {
        done: Option<Box<dyn Fn(u32) -> u32>>,
    }
    impl Hooks {
        fn on_done(&mut self, done: impl Fn(u32) -> u32 + 'static) {
            self.done = Some(Box::new(done));
        }
        fn fire(&self) -> u32 {
            self.done.as_ref().map_or(0, |done| done(1))
        }
    }
    pub async fn run() {
        let mut hooks = Hooks { done: None };
        hooks.on_done(|x| crate::harness::bdrv_flush(x));
        hooks.fire();
    }
}

pub mod ok_boxed_closure_never_called {
    struct Hooks {
        done: Option<Box<dyn Fn(u32, u8) -> u64>>,
    }
    pub async fn run() {
        let hooks = Hooks { done: Some(Box::new(|x, _| u64::from(crate::harness::bdrv_flush(x)))) };
        assert!(hooks.done.is_some());
    }
}

pub mod ok_match_on_mixed {
    use crate::harness::*;
    pub async fn run() {
        let disk = disk();
        match disk.peek_blocking(0) {
            1 => assert_eq!(bdrv_len(1), 1),
            _ => unreachable!(),
        }
    }
}

pub mod ok_enum_dispatch_constant {
    use crate::harness::*;
    enum Mode {
        Sync,
        Never,
    }
    fn maybe(mode: Mode) -> u32 {
        match mode {
            Mode::Sync => bdrv_flush(1),
            Mode::Never => 0,
        }
    }
    pub async fn run() {
        let _ = || maybe(Mode::Sync);
        maybe(Mode::Never);
    }
}

pub mod bad_c_callback {
    use crate::harness::*;
    extern "C" fn compare(a: *const std::ffi::c_void, b: *const std::ffi::c_void) -> i32 {
        let (a, b) = unsafe { (*a.cast::<u32>(), *b.cast::<u32>()) };
        (a - bdrv_len(b)) as i32
    }
    extern "C" fn blocks(_: *const std::ffi::c_void, _: *const std::ffi::c_void) -> i32 {
        std::panic::catch_unwind(|| bdrv_flush(1)).map_or_else(|payload| { FAILED.set(Some(payload)); 0 }, |_| 0)
    }
    thread_local!(static FAILED: std::cell::Cell<Option<Box<dyn std::any::Any + Send>>> = const { std::cell::Cell::new(None) });
    unsafe extern "C" {
        fn qsort(
            base: *mut std::ffi::c_void,
            count: usize,
            size: usize,
            order: extern "C" fn(*const std::ffi::c_void, *const std::ffi::c_void) -> i32,
        );
    }
    pub async fn run() {
        let _ = compare;
        let mut numbers = [2u32, 1];
        unsafe { qsort(numbers.as_mut_ptr().cast(), 2, 4, blocks) };
        if let Some(payload) = FAILED.take() {
            std::panic::resume_unwind(payload);
        }
    }
}
