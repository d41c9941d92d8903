use co_wrapper::co_wrapper;

#[co_wrapper]
async fn co_a() -> Missing {
    todo!()
}

#[co_wrapper]
async fn co_b(x: &u8, y: &u8) -> &u8 {
    x
}

#[co_wrapper]
async fn co_c() -> u8 {
    "text"
}

#[co_wrapper]
async fn co_d() -> u8 {
    undefined()
}

fn main() {}
