//! `main` itself may be a wrapper, although rustc allows it no `#[track_caller]`.

use co_wrapper::co_wrapper;

#[co_wrapper]
async fn co_main() {
    std::future::ready(()).await;
}
