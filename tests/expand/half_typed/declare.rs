declare! {
    fn bdrv_flush(bs: &Bds);
    fn bdrv_pread(bs: &Bds, off) -> ;
    fn bdrv_pwrite(bs: &Bds) -> u8 = ;
    impl DiskNow for Disk {
        fn read_now(&self) = read;
        fn write_now(&self) = ;
        fn flu
    }
}
