//! What the package's programs share: the measuring, and the functions that are measured.

pub mod drivers;
pub mod measure;
pub mod parallel;
