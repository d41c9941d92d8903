impl Disk {
    /// Lists the extents.
    #[co_wrapper]
    pub fn co_extents(&self) -> impl Stream<Item = io::Result<Extent>> + Send + '_ {
        self.map.extents()
    }

    #[co_wrapper(ctx = self.ctx)]
    async fn co_changes(&self) -> io::Result<BoxStream<'_, Change>> {
        self.log.changes().await
    }
}
