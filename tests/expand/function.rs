/// Reads a block.
///
/// # Errors
///
/// If the disk does.
///
/// # Examples
///
/// ```
/// bdrv_co_read(0, &mut [0; 512]).await.unwrap();
/// ```
#[co_wrapper]
pub async fn bdrv_co_read(off: u64, buf: &mut [u8]) -> io::Result<usize> {
    disk().read(off, buf).await
}
