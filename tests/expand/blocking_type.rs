#[co_wrapper(type = blocking::Disk<S>, ctx = self.ctx)]
impl<S: Storage> Disk<S> {
    /// Opens it.
    #[co_wrapper(ctx = none)]
    pub async fn open(storage: S) -> io::Result<Self> {
        Ok(Disk { storage: storage.open().await? })
    }

    pub async fn is_same(&self, other: &Self) -> bool {
        self.storage.id().await == other.storage.id().await
    }

    #[co_wrapper(skip)]
    pub async fn internal(&self) {}

    pub fn len(&self) -> usize {
        0
    }
}
