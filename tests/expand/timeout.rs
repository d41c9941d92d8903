impl Disk {
    /// Reads.
    ///
    /// # Errors
    ///
    /// If the disk does.
    #[co_wrapper(timeout)]
    pub async fn co_read(&self, off: u64) -> io::Result<u8> {
        self.0.read(off).await
    }
}

#[co_wrapper(ctx = pool.ctx(), timeout = drained_within, name = drained)]
async unsafe fn drain(pool: &Pool) {
    pool.drain().await
}
