//! Symbols, registers and constants in a line of IR.

/// The name that `text` begins with, which may be quoted, and what follows it.
pub fn name(text: &str) -> Option<(&str, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let end = quoted.find('"')?;
        return Some((&quoted[..end], &quoted[end + 1..]));
    }
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "_.$-".contains(c))).unwrap_or(text.len());
    (end > 0).then(|| (&text[..end], &text[end..]))
}

/// Every `@name` in it, outside of strings.
pub fn symbols(mut text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    while let Some(at) = text.find(['@', '"']) {
        if text.as_bytes()[at] == b'"' {
            let Some(end) = text[at + 1..].find('"') else { break };
            text = &text[at + 2 + end..];
            continue;
        }
        text = &text[at + 1..];
        if let Some((name, rest)) = name(text) {
            if !name.starts_with("llvm.") && name != "rust_eh_personality" {
                found.push(name);
            }
            text = rest;
        }
    }
    found
}

/// Without what follows the first comma that is in no bracket and no string, and that.
pub fn comma(text: &str) -> (&str, &str) {
    let mut depth = 0usize;
    let mut quoted = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'(' | b'[' | b'{' | b'<' => depth += 1,
            b')' | b']' | b'}' | b'>' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => return (text[..at].trim(), text[at + 1..].trim_start()),
            _ => {}
        }
    }
    (text.trim(), "")
}

/// What is between the bracket that `text` begins with and its counterpart, and what follows that.
pub fn bracketed(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0usize;
    let mut quoted = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'(' | b'[' | b'{' | b'<' => depth += 1,
            b')' | b']' | b'}' | b'>' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some((&text[1..at], &text[at + 1..]));
                }
            }
            _ => {}
        }
    }
    None
}

/// The type that `text` begins with, and what follows it.
pub fn ty(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = match text.as_bytes().first() {
        Some(b'{' | b'[' | b'<') => bracketed(text).map_or(text.len(), |(_, rest)| text.len() - rest.len()),
        Some(b'%') => name(&text[1..]).map_or(text.len(), |(_, rest)| text.len() - rest.len()),
        _ => text.find([' ', ',', '(', ')']).unwrap_or(text.len()),
    };
    (&text[..end], text[end..].trim_start())
}

/// In bytes, of a type that a register has. Pointers have 64 bits wherever this runs.
pub fn size(ty: &str) -> Option<u64> {
    match ty {
        "ptr" | "double" => Some(8),
        "float" => Some(4),
        _ => Some(bits(ty)?.div_ceil(8)),
    }
}

/// Of an integer type.
pub fn bits(ty: &str) -> Option<u64> {
    ty.strip_prefix('i')?.parse().ok()
}

/// The bytes of the first `c"…"`.
pub fn string(text: &str) -> Option<Vec<u8>> {
    let mut rest = text[text.find("c\"")? + 2..].bytes();
    let mut bytes = Vec::new();
    loop {
        match rest.next()? {
            b'"' => return Some(bytes),
            b'\\' => {
                let hex = [rest.next()?, rest.next()?];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?);
            }
            byte => bytes.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a comma or a name taken from within brackets or a string.
    #[test]
    fn commas_and_symbols_are_those_outside_of_brackets_and_strings() {
        assert_eq!(
            comma("ptr getelementptr (i8, ptr @a, i64 1), i64 2"),
            ("ptr getelementptr (i8, ptr @a, i64 1)", "i64 2")
        );
        assert_eq!(comma(r#"%"a, b" %x, i1 true"#), (r#"%"a, b" %x"#, "i1 true"));
        assert_eq!(symbols(r#"store ptr @"a b", ptr @c, c"@d""#), ["a b", "c"]);
        assert_eq!(string(r#"[3 x i8] c"a\00b""#).unwrap(), b"a\0b");
        assert_eq!(ty("{ ptr, i64 } %x"), ("{ ptr, i64 }", "%x"));
    }
}
