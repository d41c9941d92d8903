use co_wrapper::co_wrapper;

#[co_wrapper(name = read_now, suffix = "_blocking")]
async fn read() {}

#[co_wrapper(prefix = "blocking_", name = write_now)]
async fn write() {}

#[co_wrapper(suffix = blocking)]
async fn trim() {}

fn main() {}
