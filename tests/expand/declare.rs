declare! {
    #[co_wrapper(mixed)]
    pub fn bdrv_pread(child: &BdrvChild, offset: i64, bytes: i64, buf: &mut [u8]) -> io::Result<i32>;

    pub(crate) fn blk_create<S: Storage>(storage: S) -> Blk<S> = block::Blk::<S>::open;
}

declare! {
    /// The blocking half.
    #[co_wrapper(suffix = "_now")]
    pub impl<S: Storage> DiskNow for Disk<S> where S: Debug {
        /// Reads.
        #[must_use]
        fn read_now(&self, off: u64) -> io::Result<&S>;
        #[cfg(unix)]
        unsafe fn discard<const N: usize>(&mut self, off: [u64; N]) = discard_unsafe;
    }
}

declare! {
    #[no_co_wrapper]
    pub async fn bdrv_co_open(filename: &str, flags: i32) -> io::Result<Node>;

    impl NodeTwins for Node {
        /// Takes it off.
        #[no_co_wrapper(bdrv_wrlock)]
        async fn co_detach(&self, child: &Child, graph: &GraphWrite) = detach_child;
    }
}
