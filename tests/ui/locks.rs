use co_wrapper::{co_wrapper, declare, graph::GraphRead, graph::GraphWrite};

#[co_wrapper(bdrv_rdlock =)]
async fn co_c() {}

#[co_wrapper(bdrv_wrlock)]
async fn co_d() {}

#[co_wrapper(bdrv_rdlock, bdrv_wrlock)]
async fn co_e(_: &GraphWrite) {}

#[co_wrapper(bdrv_rdlok)]
async fn co_f() {}

#[co_wrapper(bdrv_wrlock, bdrv_rdlock)]
async fn co_g() {}

#[co_wrapper(bdrv_rdlock, bdrv_rdlock)]
async fn co_h() {}

#[co_wrapper(bdrv_wrlock)]
impl Disk {
    #[co_wrapper]
    async fn co_i() {}
}

struct Disk;

// Witnesses.

#[co_wrapper]
async fn co_unmarked(_: &GraphRead) {}

#[co_wrapper(mixed)]
async fn co_unmarked_write(_: &GraphWrite) {}

#[co_wrapper(bdrv_rdlock)]
async fn co_two(_: &GraphRead, _: u8, _: &co_wrapper::graph::GraphRead) {}

#[co_wrapper(bdrv_rdlock)]
async fn co_kind(_: &GraphWrite) {}

#[co_wrapper(bdrv_rdlock)]
async fn co_borrows(g: &GraphRead) -> Option<&GraphRead> {
    Some(g)
}

#[co_wrapper(bdrv_rdlock)]
async fn co_borrows_by_name<'a>(_: &u8, g: &'a GraphRead) -> (u8, &'a GraphRead) {
    (0, g)
}

mod block {
    pub async fn co_declared() {}
}

declare! {
    fn declared(_: &GraphRead) = block::co_declared;

    #[co_wrapper(bdrv_wrlock)]
    fn declared_write() = block::co_declared;
}

fn main() {}
