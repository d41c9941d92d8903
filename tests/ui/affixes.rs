use co_wrapper::co_wrapper;

struct Disk;

#[co_wrapper(suffix = _blocking)]
impl Disk {
    async fn a(&self) {}
}

#[co_wrapper(suffix = "")]
impl Disk {
    #[co_wrapper(mixed)]
    async fn b(&self) {}
}

#[co_wrapper(suffix = "-blocking")]
impl Disk {
    #[co_wrapper]
    async fn co_c(&self) {}
}

#[co_wrapper(prefix = "2")]
impl Disk {
    #[co_wrapper]
    async fn co_d(&self) {}
}

#[co_wrapper(suffix = "ch")]
impl Disk {
    async fn mat(&self) {}
}

#[co_wrapper(sufix = "_blocking")]
impl Disk {
    async fn read(&self) {}

    #[co_wrapper(mixed)]
    async fn write(&self) {}
}

fn main() {}
