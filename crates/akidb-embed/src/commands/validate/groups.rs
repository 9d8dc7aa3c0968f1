//! Findings that say the same, told once.

use akidb_onnx::validate::{Finding, Severity};

use super::FileFindings;

/// Files that are named before the others are counted.
const NAMED: usize = 2;

/// Findings that differ in names and numbers alone.
pub(super) struct Group<'a> {
    /// The first of them.
    pub(super) first: &'a Finding,
    /// How many there are.
    count: usize,
    /// The files that they are in.
    files: Vec<&'a str>,
    alike: String,
}

/// In the order of the first of each.
pub(super) fn groups(files: &[FileFindings]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for FileFindings { path, findings } in files {
        for finding in findings {
            let alike = without_names(&finding.what);
            let same = groups.iter_mut().find(|group| {
                group.first.severity == finding.severity
                    && group.first.hint == finding.hint
                    && group.alike == alike
            });
            match same {
                Some(group) => {
                    group.count += 1;
                    if group.files.last() != Some(&path.as_str()) {
                        group.files.push(path);
                    }
                }
                None => groups.push(Group {
                    first: finding,
                    count: 1,
                    files: vec![path],
                    alike,
                }),
            }
        }
    }
    groups
}

/// A finding without what is in quotation marks, and without numbers.
fn without_names(what: &str) -> String {
    let mut quoted = false;
    let kept = what.chars().filter(|&c| {
        quoted ^= c == '"';
        !quoted && !c.is_ascii_digit()
    });
    kept.collect()
}

impl Group<'_> {
    /// The line and its hint.
    pub(super) fn text(&self) -> String {
        let severity = match self.first.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let named = self.files.iter().take(NAMED).copied().collect::<Vec<_>>();
        let files = match self.files.len().saturating_sub(NAMED) {
            0 => named.join(", "),
            more => format!("{} and {more} more files", named.join(", ")),
        };
        // One a file is what the files say.
        let more = match self.count.saturating_sub(self.files.len()) {
            0 => String::new(),
            more => format!(" (and {more} more like it)"),
        };
        let Finding { what, hint, .. } = self.first;
        format!("{files}: {severity}: {what}{more}\n  {hint}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_the_same_is_told_once() {
        let findings = |what: &[&str]| -> Vec<Finding> {
            let finding = |what: &&str| Finding::new(Severity::Error, *what, "do it");
            what.iter().map(finding).collect()
        };
        let file = |path: &str, what: &[&str]| FileFindings {
            path: path.to_owned(),
            findings: findings(what),
        };
        let files = [
            file(
                "a",
                &[
                    "tensor \"x\": has 3 values",
                    "tensor \"y\": has 14 values",
                    "is missing",
                ],
            ),
            file("b", &["is missing"]),
            file("c", &["tensor \"z\": has 3 values", "is missing"]),
            file("d", &["is missing"]),
        ];
        let text: Vec<_> = groups(&files).iter().map(Group::text).collect();
        assert_eq!(
            text,
            [
                "a, c: error: tensor \"x\": has 3 values (and 1 more like it)\n  do it\n",
                "a, b and 2 more files: error: is missing\n  do it\n"
            ]
        );
    }
}
