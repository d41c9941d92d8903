use co_wrapper::co_wrapper;

#[co_wrapper(name = read)]
async fn read() {}

#[co_wrapper(name = r#write)]
async fn write() {}

fn main() {}
