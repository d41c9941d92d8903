#[cfg(unix)]
#[cfg_attr(docsrs, doc(cfg(unix)))]
#[expect(clippy::unused_async)]
#[tracing::instrument]
#[co_wrapper]
async fn co_open(path: &str, #[cfg(feature = "flags")] flags: u32) {
    path.open().await;
}
