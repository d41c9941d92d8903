//! The packages, as they are published.

/// One package and how it is built.
pub struct Package {
    pub name: &'static str,
    pub version: &'static str,
    pub features: &'static str,
    /// Whether the tests in its sources are run through the twins: they run anywhere, and call nothing that has the name of
    /// a twin's async function and is another (as `RwLock::read` is).
    pub tests: bool,
}

/// Exact versions, so that a run tells of a change of ours and not of theirs.
pub const PACKAGES: [Package; 5] = [
    Package { name: "ekv", version: "1.0.0", features: "std", tests: true },
    Package { name: "tokio-nbd", version: "0.3.0", features: "", tests: false },
    Package { name: "qcow2-rs", version: "0.1.6", features: "", tests: false },
    Package { name: "imago", version: "0.2.6", features: "", tests: false },
    Package { name: "opendal-core", version: "0.59.5", features: "services-memory", tests: false },
];
