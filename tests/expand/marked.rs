#[co_wrapper]
impl<T> Pool<T> {
    #[co_wrapper]
    pub async fn co_open(path: &str) -> u32 {
        path.open().await
    }

    pub async fn unmarked(&self) {}
}
