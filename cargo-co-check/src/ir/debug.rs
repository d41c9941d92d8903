//! Debug metadata: files, lines and namespaces of what is in a module.

use std::collections::HashMap;

/// The nodes of a module, by their numbers.
#[derive(Default)]
pub struct Debug {
    nodes: HashMap<u32, Box<str>>,
}

const KINDS: [&str; 5] = ["!DILocation(", "!DILexicalBlock", "!DISubprogram(", "!DIFile(", "!DINamespace("];

impl Debug {
    /// Keeps a line `!7 = …`, if it is of a kind that tells where something is.
    pub fn add(&mut self, line: &str) {
        if let Some((id, node)) = line[1..].split_once(" = ")
            && let Ok(id) = id.parse()
            && KINDS.iter().any(|kind| node.trim_start_matches("distinct ").starts_with(kind))
        {
            self.nodes.insert(id, node.into());
        }
    }

    /// The file, the line and the column of a location or a function.
    pub fn place(&self, id: u32) -> Option<(String, u32, u32)> {
        let node = self.nodes.get(&id)?;
        let number = |key: &str| field(node, key).and_then(|n| n.parse().ok()).unwrap_or(0);
        Some((self.file(id)?, number("line: "), number("column: ")))
    }

    fn file(&self, mut id: u32) -> Option<String> {
        loop {
            let node = self.nodes.get(&id)?;
            if let Some(name) = string(node, "filename: ") {
                let is_whole = name.starts_with('/') || name.get(1..2) == Some(":");
                let directory = string(node, "directory: ").filter(|_| !is_whole).unwrap_or("");
                return Some(if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") });
            }
            id = reference(node, "file: ").or_else(|| reference(node, "scope: "))?;
        }
    }

    /// What a function is called within its namespace: `{async_fn#0}` for an async fn's body.
    pub fn name(&self, function: u32) -> Option<&str> {
        string(self.nodes.get(&function)?, "name: ")
    }

    /// The crate that a function's source is in: its outermost namespace.
    pub fn krate(&self, function: u32) -> Option<&str> {
        let mut at = function;
        let mut krate = None;
        while let Some(node) = self.nodes.get(&at) {
            if node.contains("!DINamespace(") {
                krate = string(node, "name: ");
            }
            let Some(scope) = reference(node, "scope: ") else { break };
            at = scope;
        }
        krate
    }
}

fn field<'a>(node: &'a str, key: &str) -> Option<&'a str> {
    let rest = &node[node.find(key)? + key.len()..];
    Some(&rest[..rest.find([',', ')']).unwrap_or(rest.len())])
}

fn reference(node: &str, key: &str) -> Option<u32> {
    field(node, key)?.strip_prefix('!')?.parse().ok()
}

fn string<'a>(node: &'a str, key: &str) -> Option<&'a str> {
    let rest = node[node.find(key)? + key.len()..].strip_prefix('"')?;
    Some(&rest[..rest.find('"')?])
}
