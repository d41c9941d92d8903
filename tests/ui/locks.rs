use co_wrapper::co_wrapper;

#[co_wrapper(bdrv_rdlock)]
async fn co_a() {}

#[co_wrapper(bdrv_rdlock = self.graph, mixed)]
async fn co_b() {}

#[co_wrapper(bdrv_rdlock =)]
async fn co_c() {}

#[co_wrapper(bdrv_wrlock)]
async fn co_d() {}

#[co_wrapper(bdrv_rdlock, bdrv_wrlock)]
async fn co_e() {}

#[co_wrapper(bdrv_rdlok)]
async fn co_f() {}

fn main() {}
