impl Disk {
    /// The size in bytes.
    #[co_wrapper(mixed, bdrv_rdlock = self.graph)]
    pub async fn co_size<'g>(&self, graph: &'g GraphRead, exact: bool) -> io::Result<u64> {
        self.0.size(graph, exact).await
    }

    #[co_wrapper(bdrv_rdlock, ctx = self.ctx)]
    async unsafe fn co_flush(&self) {}
}

/// Opens it.
#[no_co_wrapper(vis = pub(crate))]
fn bdrv_open(filename: &str, flags: i32) -> io::Result<Node> {
    Node::new(filename, flags)
}

#[co_wrapper]
trait Graph {
    #[no_co_wrapper(bdrv_wrlock)]
    fn detach(&self, child: &Child, graph: &GraphWrite);
}
