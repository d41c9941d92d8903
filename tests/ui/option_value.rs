use co_wrapper::co_wrapper;

#[co_wrapper(name)]
async fn co_a() {}

#[co_wrapper(name =)]
async fn co_b() {}

#[co_wrapper(name(c))]
async fn co_c() {}

#[co_wrapper(name = "d")]
async fn co_d() {}

#[co_wrapper(name = "d e")]
async fn co_e() {}

#[co_wrapper(name = match)]
async fn co_f() {}

#[co_wrapper(name = _)]
async fn co_g() {}

#[co_wrapper(name = 5)]
async fn co_h() {}

#[co_wrapper(mixed = true)]
async fn co_i() {}

#[co_wrapper(mixed())]
async fn co_j() {}

#[co_wrapper(vis = private)]
async fn co_k() {}

#[co_wrapper(crate = "co_wrapper")]
async fn co_l() {}

fn main() {}
