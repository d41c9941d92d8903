use co_wrapper::co_wrapper;

#[co_wrapper]
fn co_read() -> u8 {
    1
}

// One mistake, one message: the name is not complained of.
#[co_wrapper]
fn plain() {}

struct Disk;

impl Disk {
    #[co_wrapper]
    pub fn co_read(&self) {}

    #[co_wrapper]
    fn co_lazy(&self) -> impl Iterator<Item = u8> {
        std::iter::empty()
    }
}

fn main() {}
