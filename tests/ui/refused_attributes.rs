use co_wrapper::co_wrapper;

#[co_wrapper]
#[unsafe(no_mangle)]
async fn co_a() {}

#[unsafe(export_name = "b")]
#[co_wrapper]
async fn co_b() {}

#[co_wrapper]
#[target_feature(enable = "avx2")]
async fn co_c() {}

#[co_wrapper]
#[cfg_attr(all(), unsafe(no_mangle))]
async fn co_d() {}

fn main() {}
