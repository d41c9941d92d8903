use co_wrapper::co_wrapper;

// What is wrong in the user's code is told there, once, and not again for its wrapper.

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

fn main() {
    // And a wrapper's caller is told of his own arguments.
    f("text");
    Disk.g(1);
}
