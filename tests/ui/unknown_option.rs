use co_wrapper::co_wrapper;

#[co_wrapper(mixd)]
async fn co_a() {}

#[co_wrapper(names = b)]
async fn co_b() {}

#[co_wrapper(wibble)]
async fn co_c() {}

#[co_wrapper(contex = x, mixed)]
async fn co_d() {}

#[co_wrapper("mixed")]
async fn co_e() {}

#[co_wrapper(, mixed)]
async fn co_f() {}

#[co_wrapper(mixed name = g2)]
async fn co_g() {}

fn main() {}
