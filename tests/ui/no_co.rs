use co_wrapper::no_co_wrapper;

#[no_co_wrapper]
fn bdrv_a() {}

#[no_co_wrapper(bdrv_rdlock)]
fn bdrv_b(_name: &str) {}

#[no_co_wrapper(mixed)]
fn bdrv_c() {}

#[no_co_wrapper(bdrv_wrlock = graph())]
fn bdrv_d() {}

#[no_co_wrapper(bdrv_rdlock, bdrv_wrlock)]
fn bdrv_e() {}

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

#[no_co_wrapper]
fn bdrv_k() -> std::slice::Iter<'static, u8> {
    [].iter()
}

#[no_co_wrapper(wibble)]
struct Disk;

#[no_co_wrapper]
impl Disk {}

impl Disk {
    #[no_co_wrapper]
    fn bdrv_l(&mut self) {}
}

fn main() {}
