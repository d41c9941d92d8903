use co_wrapper::co_wrapper;

#[co_wrapper(mixed, mixed)]
async fn co_a() {}

#[co_wrapper(name = b, name = c)]
async fn co_b() {}

fn main() {}
