use co_wrapper::graph::{GraphRead, GraphWrite};
use co_wrapper::no_co_wrapper;

#[no_co_wrapper(mixed)]
fn bdrv_c() {}

#[no_co_wrapper(bdrv_wrlock = graph())]
fn bdrv_d() {}

#[no_co_wrapper(bdrv_rdlock, bdrv_wrlock)]
fn bdrv_e(_: &GraphRead) {}

#[no_co_wrapper]
async fn bdrv_f() {}

#[no_co_wrapper]
fn bdrv_g() -> impl Future<Output = ()> {
    std::future::ready(())
}

#[no_co_wrapper]
fn bdrv_h(_x: &mut u8) {}

#[no_co_wrapper]
fn bdrv_i(_x: Option<&u8>, _y: std::slice::Iter<'_, u8>, _z: &&u8, _w: &'static str) {}

#[no_co_wrapper]
fn bdrv_j(x: &u8) -> &u8 {
    x
}

#[no_co_wrapper(wibble)]
struct Disk;

#[no_co_wrapper]
impl Disk {}

impl Disk {
    #[no_co_wrapper]
    fn bdrv_l(&mut self) {}
}

#[no_co_wrapper]
fn bdrv_co_m() {}

#[no_co_wrapper(name = bdrv_n)]
fn bdrv_n() {}

#[no_co_wrapper]
fn bdrv_o(bdrv_o: u8) {
    let _ = bdrv_o;
}

#[no_co_wrapper]
fn bdrv_p() -> ! {
    loop {}
}

#[no_co_wrapper]
#[no_co_wrapper]
fn bdrv_q() {}

#[no_co_wrapper]
fn bdrv_r(_: &GraphRead) {}

#[no_co_wrapper]
fn bdrv_s(_: &GraphWrite) {}

#[no_co_wrapper(bdrv_rdlock)]
fn bdrv_t(_: &GraphWrite) {}

#[no_co_wrapper(bdrv_wrlock)]
fn bdrv_u(_: &GraphRead) {}

#[no_co_wrapper(bdrv_wrlock)]
fn bdrv_v(_: &GraphWrite, _: &GraphWrite) {}

#[no_co_wrapper(bdrv_rdlock)]
fn bdrv_w(g: &GraphRead) -> Option<&GraphRead> {
    Some(g)
}

#[no_co_wrapper]
#[unsafe(no_mangle)]
fn bdrv_x() {}

#[no_co_wrapper(bdrv_wrlock =)]
fn bdrv_y(_: &GraphWrite) {}

#[no_co_wrapper(bdrv_rdlock = graph())]
fn bdrv_yy() {}

// What is not for it is not named.
#[no_co_wrapper(bdrv_rdlok)]
fn bdrv_z() {}

#[no_co_wrapper(mixd)]
fn bdrv_za() {}

fn main() {}
