// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

async fn bdrv_co_read(off: u64) -> u8 {
    1
}
::core::compile_error! {
    "unknown option `nam`; did you mean `name`"
}
impl Disk {
    async fn co_read(&self) -> u8 {
        half_typed! {
            self.
        }
    }
    ::core::compile_error! {
        "not an expression; write `ctx = self.ctx`"
    }
}
