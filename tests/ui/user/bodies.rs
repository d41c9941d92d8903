use co_wrapper::co_wrapper;

#[co_wrapper]
async fn co_c<T>(x: &T) -> T {
    x.clone()
}

#[co_wrapper]
async fn co_f(x: u8) -> u8 {
    let y: u16 = x;
    y
}

struct Disk;

impl Disk {
    #[co_wrapper]
    async fn co_g(&self) -> u8 {
        self.missing
    }
}

fn main() {}
