//! Calls by name, through generics, closures, operators, macros and pointers.

macro_rules! case {
    ($(#[$meta:meta])* $name:ident { $($item:item)* } $body:block) => {
        pub mod $name {
            #[allow(unused_imports)]
            use crate::harness::*;
            $($item)*
            pub async fn run() $body
        }
    };
}
pub(crate) use case;

case!(bad_direct {} {
    bdrv_flush(1);
});
case!(bad_two_deep {
    fn upper() {
        lower();
    }
    fn lower() {
        bdrv_flush(1);
    }
} {
    upper();
});
case!(bad_method {} {
    disk().read_blocking(0);
});
case!(bad_generic {
    fn first<D: Dev>(dev: &D) -> u8 {
        dev.get(0)
    }
} {
    first(&disk());
});
case!(bad_generic_of_library {} {
    generic_async(&disk()).await;
});
case!(bad_closure_of_iterator {} {
    let disk = disk();
    let sum: u32 = (0..3).map(|off| u32::from(disk.read_blocking(off))).sum();
    assert_eq!(sum, 6);
});
case!(bad_closure_of_sort {} {
    let disk = disk();
    [2usize, 0, 1].sort_by_key(|off| disk.read_blocking(*off));
});
case!(bad_dyn_made_here {} {
    let dev: Box<dyn Dev> = Box::new(disk());
    dev.get(0);
});
pub mod bad_dyn_given {
    use crate::harness::*;
    use std::sync::Arc;
    async fn first(dev: Arc<dyn Dev>) {
        dev.get(0);
    }
    pub fn run() -> impl Future<Output = ()> {
        let dev: Arc<dyn Dev> = Arc::new(disk());
        async move { first(dev).await }
    }
}
case!(bad_pointer_made_here {} {
    let flush: fn(u32) -> u32 = bdrv_flush;
    std::hint::black_box(flush)(1);
});
pub mod bad_pointer_given {
    use crate::harness::*;
    async fn call(f: fn(u32) -> u32) {
        f(1);
    }
    pub fn run() -> impl Future<Output = ()> {
        call(bdrv_flush)
    }
}
case!(bad_pointer_in_table {
    struct Ops {
        flush: fn(u32) -> u32,
        _len: fn(u32) -> u32,
    }
    static OPS: Ops = Ops { flush: bdrv_flush, _len: bdrv_len };
} {
    (OPS.flush)(1);
});
case!(bad_other_crate {} {
    size_of_disk(&disk());
});
case!(bad_other_crate_closure {} {
    with(|| bdrv_flush(1));
});
case!(bad_other_crate_dyn_closure {} {
    with_dyn(&mut || {
        bdrv_flush(1);
    });
});
case!(bad_timeout_twin {} {
    let _ = reply_timeout(1, std::time::Duration::from_secs(60));
});
case!(bad_ctx_twin {} {
    Node { ctx: co_wrapper::AioContext::main() }.whose();
});
case!(bad_declared_twin {} {
    bdrv_declared(1);
});
case!(bad_display {
    struct Shown;
    impl std::fmt::Display for Shown {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{}", bdrv_flush(1))
        }
    }
} {
    let _ = format!("{Shown}");
});
case!(bad_operator {
    struct Sum;
    impl std::ops::Add for Sum {
        type Output = u32;
        fn add(self, _: Self) -> u32 {
            bdrv_flush(1)
        }
    }
} {
    let _ = Sum + Sum;
});
case!(bad_once {} {
    std::sync::OnceLock::new().get_or_init(|| bdrv_flush(1));
});
case!(bad_thread_local {
    thread_local!(static NUMBER: u32 = const { 3 });
} {
    NUMBER.with(|number| bdrv_flush(*number));
});
case!(bad_boxed_closure {} {
    let f: Box<dyn Fn(u32) -> u32> = Box::new(|x| bdrv_flush(x));
    f(1);
});
case!(bad_iterator {
    struct Blocks(u32);
    impl Iterator for Blocks {
        type Item = u32;
        fn next(&mut self) -> Option<u32> {
            self.0 = self.0.checked_sub(1)?;
            Some(bdrv_flush(self.0))
        }
    }
} {
    for _ in Blocks(2) {}
});
case!(bad_macro {
    macro_rules! flush {
        ($x:expr) => {
            bdrv_flush($x)
        };
    }
} {
    flush!(2);
});
case!(bad_recursion {
    fn down(n: u32) -> u32 {
        if n == 0 { bdrv_flush(0) } else { down(n - 1) }
    }
} {
    down(3);
});
case!(bad_catch_unwind {} {
    if let Err(payload) = std::panic::catch_unwind(|| bdrv_flush(1)) {
        std::panic::resume_unwind(payload);
    }
});
case!(bad_scope_itself {} {
    std::thread::scope(|_| bdrv_flush(1));
});
case!(bad_block_in_place {} {
    tokio::task::block_in_place(|| bdrv_flush(1));
});
case!(bad_map_by_path {} {
    let _ = Some(1).map(bdrv_flush);
});
case!(bad_alias {} {
    use blk::bdrv_flush as sync_all;
    sync_all(1);
});
case!(ok_mixed {} {
    bdrv_len(1);
});
case!(ok_mixed_method {} {
    disk().peek_blocking(0);
});
case!(ok_mixed_in_closure {} {
    with(|| bdrv_len(2));
});
case!(ok_name_of_another_function {
    mod other {
        pub fn bdrv_flush(x: u32) -> u32 {
            x
        }
    }
} {
    other::bdrv_flush(1);
});
case!(ok_name_of_another_method {
    struct Fake;
    impl Fake {
        fn read_blocking(&self, _: usize) -> u8 {
            0
        }
    }
} {
    Fake.read_blocking(0);
});
case!(ok_asked_first {} {
    if co_wrapper::in_coroutine() {
        bdrv_co_flush(1).await;
    } else {
        bdrv_flush(1);
    }
});
case!(ok_dyn_of_another_type {} {
    let dev: Box<dyn Dev> = Box::new(Mem(1));
    dev.get(0);
});
case!(ok_pointer_kept {
    struct Ops {
        _flush: fn(u32) -> u32,
        len: fn(u32) -> u32,
    }
} {
    let ops = Ops { _flush: bdrv_flush, len: bdrv_len };
    std::hint::black_box(&ops);
    (ops.len)(1);
});
case!(ok_closure_returned {
    async fn make() -> impl Fn() -> u32 {
        || bdrv_flush(1)
    }
} {
    let _flush = make().await;
});
case!(ok_name_of_type {} {
    let _ = std::any::type_name_of_val(&bdrv_flush);
});
case!(ok_generic_of_another_type {
    fn first<D: Dev>(dev: &D) -> u8 {
        dev.get(0)
    }
} {
    first(&Mem(1));
});
case!(ok_in_text {} {
    // bdrv_flush(1)
    let _ = "bdrv_flush(1)";
});
case!(ok_shadowed {} {
    let bdrv_flush = |x: u32| x;
    bdrv_flush(1);
});
