use co_wrapper::{AioContext, co_wrapper};

#[co_wrapper(ctx)]
async fn co_a() {}

#[co_wrapper(ctx =)]
async fn co_b() {}

#[co_wrapper(ctx = )]
async fn co_c() {}

#[co_wrapper(ctx = struct)]
async fn co_d() {}

#[co_wrapper(ctx = AioContext::main(), ctx = AioContext::main())]
async fn co_e() {}

#[co_wrapper(ctx(AioContext::main()))]
async fn co_f() {}

fn main() {
    let _ = AioContext::main();
}
