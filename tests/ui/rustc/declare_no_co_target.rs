//! What rustc says of a blocking fn that is not there, or is not as it was declared.

use co_wrapper::declare;

fn bdrv_open(name: &str) -> u8 {
    name.len() as u8
}

/// Not `Send`.
struct Local(*const u8);

fn bdrv_count(count: Local) -> bool {
    count.0.is_null()
}

declare! {
    #[no_co_wrapper]
    async fn bdrv_co_missing(x: u8);

    #[no_co_wrapper]
    async fn bdrv_co_open(name: u16) -> u8;

    #[no_co_wrapper]
    async fn co_more(name: &str, x: u8) -> u8 = bdrv_open;

    #[no_co_wrapper]
    async fn co_result(name: &str) -> u16 = bdrv_open;

    #[no_co_wrapper(bdrv_wrlock)]
    async fn bdrv_co_count(count: Local) -> bool;
}

struct Plain;

impl Plain {
    fn open(&self) {}
}

declare! {
    impl PlainTwin for Plain {
        #[no_co_wrapper]
        async fn co_open(&self);
    }
}

fn main() {}
