//! What is stored and called or dropped later in the same body, flags that decide, and more ways to other threads.

pub mod bad_queue_of_jobs {
    use crate::harness::*;
    use std::collections::VecDeque;
    pub async fn run() {
        let mut queue: VecDeque<Box<dyn FnOnce()>> = VecDeque::new();
        queue.push_back(Box::new(|| drop(bdrv_flush(1))));
        while let Some(job) = queue.pop_front() {
            job();
        }
    }
}

pub mod bad_cell_of_closure {
    use crate::harness::*;
    use std::cell::RefCell;
    pub async fn run() {
        let hook: RefCell<Option<Box<dyn Fn(u32) -> u32>>> = RefCell::new(None);
        *hook.borrow_mut() = Some(Box::new(bdrv_flush));
        yield_once().await;
        if let Some(hook) = &*hook.borrow() {
            hook(1);
        }
    }
}

pub mod bad_vec_of_pointers {
    use crate::harness::*;
    pub async fn run() {
        let steps: Vec<fn(u32) -> u32> = vec![bdrv_len, bdrv_flush];
        for step in steps {
            step(1);
        }
    }
}

pub mod ok_flag_says_no {
    use crate::harness::*;
    struct File {
        is_dirty: bool,
    }
    impl Drop for File {
        fn drop(&mut self) {
            if self.is_dirty {
                bdrv_flush(1);
            }
        }
    }
    pub async fn run() {
        let _file = File { is_dirty: false };
    }
}

pub mod bad_flag_says_yes {
    use crate::harness::*;
    struct File {
        is_dirty: bool,
    }
    impl Drop for File {
        fn drop(&mut self) {
            if self.is_dirty {
                bdrv_flush(1);
            }
        }
    }
    pub async fn run() {
        let mut file = File { is_dirty: false };
        yield_once().await;
        file.is_dirty = true;
    }
}

pub mod ok_taken_from_mutex {
    use crate::harness::*;
    pub async fn run() {
        let slot = std::sync::Mutex::new(Some(Guard(1)));
        let guard = slot.lock().unwrap().take();
        std::mem::forget(guard);
    }
}

pub mod bad_boxed_recursion {
    use crate::harness::*;
    use std::pin::Pin;
    fn walk(depth: u32) -> Pin<Box<dyn Future<Output = u32>>> {
        Box::pin(async move { if depth == 0 { bdrv_flush(1) } else { walk(depth - 1).await } })
    }
    pub async fn run() {
        walk(2).await;
    }
}

pub mod bad_rc_dyn {
    use crate::harness::*;
    use std::rc::Rc;
    pub async fn run() {
        let dev: Rc<dyn Dev> = Rc::new(disk());
        let other = dev.clone();
        drop(dev);
        other.get(1);
    }
}

pub mod bad_try_join {
    use crate::harness::*;
    async fn fails(x: u32) -> Result<u32, u32> {
        Err(bdrv_flush(x))
    }
    pub async fn run() {
        let _ = futures::try_join!(fails(1), async { Ok::<_, u32>(1) });
    }
}

pub mod bad_select_of_tokio {
    use crate::harness::*;
    pub async fn run() {
        tokio::select! {
            () = std::future::pending() => {}
            x = async { 1 } => { bdrv_flush(x); }
        }
    }
}

pub mod ok_scoped_builder {
    use crate::harness::*;
    pub async fn run() {
        let disk = disk();
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, || disk.read_blocking(1));
            thread.unwrap().join().unwrap()
        });
    }
}

pub mod ok_blocking_of_smol {
    use crate::harness::*;
    pub async fn run() {
        let disk = disk();
        smol::unblock(move || disk.read_blocking(1)).await;
    }
}

pub mod ok_local_set {
    use crate::harness::*;
    pub async fn run() {
        let thread = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, async {
                tokio::task::spawn_local(async { bdrv_flush(1) }).await.unwrap();
            });
        });
        thread.join().unwrap();
    }
}

pub mod bad_partition {
    use crate::harness::*;
    pub async fn run() {
        let (low, _high): (Vec<u32>, Vec<u32>) = [1, 2, 3].into_iter().partition(|x| bdrv_flush(*x) < 2);
        assert_eq!(low, [1]);
    }
}

pub mod bad_from_impl {
    use crate::harness::*;
    struct Header(u8);
    impl From<&Disk> for Header {
        fn from(disk: &Disk) -> Self {
            Self(disk.read_blocking(0))
        }
    }
    pub async fn run() {
        let disk = disk();
        let header: Header = (&disk).into();
        assert_eq!(header.0, 1);
    }
}

pub mod bad_lazy_static {
    use crate::harness::*;
    static SIZE: std::sync::LazyLock<u32> = std::sync::LazyLock::new(|| bdrv_flush(7));
    pub async fn run() {
        assert_eq!(*SIZE, 7);
    }
}

pub mod bad_option_of_guard_some {
    use crate::harness::*;
    fn open(really: bool) -> Option<Guard> {
        really.then(|| Guard(1))
    }
    pub async fn run() {
        let _guard = open(true);
    }
}

pub mod ok_branch_on_constant {
    use crate::harness::*;
    const CHECKS: bool = false;
    pub async fn run() {
        if CHECKS {
            bdrv_flush(1);
        }
    }
}

pub mod ok_guard_sent_to_thread {
    use crate::harness::*;
    pub async fn run() {
        let (send, receive) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || drop::<Guard>(receive.recv().unwrap()));
        send.send(Guard(1)).unwrap();
        thread.join().unwrap();
    }
}

pub mod bad_sort_unstable_by_method {
    use crate::harness::*;
    #[derive(PartialEq, Eq)]
    struct Block(u32);
    impl PartialOrd for Block {
        fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
            Some(self.cmp(other))
        }
    }
    impl Ord for Block {
        fn cmp(&self, other: &Self) -> std::cmp::Ordering {
            bdrv_flush(self.0).cmp(&other.0)
        }
    }
    pub async fn run() {
        [Block(2), Block(1)].sort_unstable();
    }
}
