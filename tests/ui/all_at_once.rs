use co_wrapper::co_wrapper;

#[co_wrapper(mixd, name = "x", mixed = 1)]
const fn read(x: u8) -> u8 {
    x
}

// The fn itself is there: nothing else breaks for the want of it.
const X: u8 = read(1);

fn main() {}
