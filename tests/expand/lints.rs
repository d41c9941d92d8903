impl Disk {
    /// Hidden, old, and used once.
    #[doc(hidden, alias = "pread")]
    #[deprecated]
    #[must_use = "it was slow"]
    #[warn(unused)]
    #[co_wrapper(vis = pub(super))]
    async fn co_read(&self, _a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8) -> u8 {
        b
    }
}
