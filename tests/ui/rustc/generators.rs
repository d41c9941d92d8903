use co_wrapper::{co_wrapper, no_co_wrapper};

#[co_wrapper]
gen fn co_a() -> u8 {}

#[co_wrapper]
async gen fn co_b() -> u8 {}

struct Disk;

impl Disk {
    #[co_wrapper]
    async gen fn co_c(&self) -> u8 {}
}

#[no_co_wrapper]
gen fn bdrv_d() -> u8 {}

fn main() {}
