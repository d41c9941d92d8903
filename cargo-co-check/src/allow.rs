//! Comments in the sources: `// co-check: allow — reason`, at the end of a call's line or on a line of its own above.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
};

const MARK: &str = "co-check: allow";

/// The sources, as far as they were asked for.
#[derive(Default)]
pub struct Comments {
    files: HashMap<String, Vec<String>>,
    /// Comments that give no reason: their files and lines.
    pub without_reason: BTreeSet<(String, u32)>,
}

impl Comments {
    fn lines(&mut self, file: &str) -> &[String] {
        if !self.files.contains_key(file) {
            let text = fs::read_to_string(file).unwrap_or_default();
            self.files.insert(file.to_owned(), text.lines().map(str::to_owned).collect());
        }
        &self.files[file]
    }

    /// Whether a comment there allows what is called on this line. One without a reason allows nothing.
    pub fn allow(&mut self, file: &str, line: u32) -> bool {
        let lines = self.lines(file);
        let Some(at) = (line as usize).checked_sub(1).filter(|at| *at < lines.len()) else { return false };
        let above =
            lines[..at].iter().rposition(|text| !text.trim_start().starts_with("//")).map_or(0, |last| last + 1);
        for number in (above..=at).rev() {
            let Some(reason) = comment(&lines[number]) else { continue };
            if !reason.is_empty() {
                return true;
            }
            self.without_reason.insert((file.to_owned(), number as u32 + 1));
            return false;
        }
        false
    }

    /// Whether a call of that name stands about there.
    pub fn names(&mut self, file: &str, line: u32, name: &str) -> bool {
        let lines = self.lines(file);
        let at = (line as usize).saturating_sub(1);
        let near = lines.get(at..(at + 4).min(lines.len())).unwrap_or(&[]);
        near.iter().any(|text| {
            text.match_indices(name).any(|(at, _)| text[at + name.len()..].trim_start().starts_with(['(', ':']))
        })
    }
}

/// The reason, if the line has such a comment.
fn comment(line: &str) -> Option<&str> {
    let comment = &line[line.find("//")?..];
    let reason = comment.trim_start_matches(['/', '!']).trim_start().strip_prefix(MARK)?;
    Some(reason.trim_start_matches([' ', '—', '–', '-', ':', ',']).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a comment that allows without a reason, from afar, or from within other words.
    #[test]
    fn a_comment_at_the_call_or_above_it_allows_with_a_reason() {
        let mut comments = Comments::default();
        let text = "// co-check: allow — it never runs\n// really\nf();\ng(); // co-check: allow: as above\n\
                    // co-check: allow\nh();\nlet co = \"co-check: allow - no comment\";\n// co-check: allow — gone\n\nk();";
        comments.files.insert("a".into(), text.lines().map(str::to_owned).collect());
        let allowed: Vec<u32> = (1..=11).filter(|line| comments.allow("a", *line)).collect();
        // The ninth is an empty line, on which nothing is called.
        assert_eq!(allowed, [1, 2, 3, 4, 8, 9]);
        assert_eq!(comments.without_reason, BTreeSet::from([("a".into(), 5)]));
    }
}
