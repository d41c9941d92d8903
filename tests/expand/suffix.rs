#[co_wrapper(suffix = "_blocking", mixed)]
impl Pool {
    pub async fn read(&self) {
        self.0.read().await
    }

    #[co_wrapper(name = store)]
    pub async fn write(&self) {
        self.0.write().await
    }

    #[co_wrapper(skip)]
    pub async fn trim(&self) {}

    pub fn len(&self) -> usize {
        0
    }
}
