use co_wrapper::co_wrapper;

#[co_wrapper]
async unsafe extern "C" fn co_a(_x: u8, _: ...) {}

fn main() {}
