use co_wrapper::co_wrapper;

#[co_wrapper]
async fn read() {}

#[co_wrapper]
async fn bdrv_read() {}

#[co_wrapper]
async fn co_bdrv_co_read() {}

#[co_wrapper]
async fn co() {}

#[co_wrapper]
async fn _co_() {}

#[co_wrapper]
async fn co_2nd() {}

#[co_wrapper]
async fn co_match() {}

#[co_wrapper]
async fn r#co_self() {}

fn main() {}
