impl BlockDev {
    #[co_wrapper]
    pub async fn bdrv_co_read(&self, off: u64) -> io::Result<()> {
        let x = self.;
        if x. {
        foo(off,,
        )}
    }
}
