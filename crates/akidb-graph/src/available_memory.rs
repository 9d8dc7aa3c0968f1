//! How much memory this process can still have.

use std::fs;
use std::path::Path;

/// Bytes that the machine has left, or the control group (version 2) that this process is in, where
/// that is less; `None` where the system tells neither. Files that are cached count as left.
pub(crate) fn available_memory() -> Option<u64> {
    let machine = read("/proc/meminfo").and_then(|text| field(&text, "MemAvailable:"));
    let machine = machine.map(|kib| kib.saturating_mul(1024));
    machine.into_iter().chain(left_in_group()).min()
}

/// Of the group and those around it, the least that one has left.
fn left_in_group() -> Option<u64> {
    let groups = read("/proc/self/cgroup")?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    let group = root.join(group);
    let groups = group
        .ancestors()
        .take_while(|group| group.starts_with(root));
    groups.filter_map(left_in).min()
}

fn left_in(group: &Path) -> Option<u64> {
    let number = |file: &str| {
        fs::read_to_string(group.join(file))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    // Without a limit it holds a word.
    let (limit, used): (u64, u64) = (number("memory.max")?, number("memory.current")?);
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let cached =
        field(&stat, "inactive_file").unwrap_or(0) + field(&stat, "active_file").unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(cached)))
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().map(str::split_whitespace);
    lines.find_map(|mut words| (words.next() == Some(name)).then(|| words.next()?.parse().ok())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "MemTotal:  7 kB\nMemAvailable:    24077448 kB\nactive_file 12\n";
        assert_eq!(field(text, "MemAvailable:"), Some(24_077_448));
        assert_eq!(field(text, "active_file"), Some(12));
        assert_eq!(field(text, "active"), None);
        assert_eq!(field("active_file much\n", "active_file"), None);
    }

    #[test]
    fn this_machine_has_some() {
        match available_memory() {
            Some(bytes) => assert!(bytes > 1 << 20, "{bytes}"),
            None => println!("SKIPPED: this machine has some: the system doesn't tell"),
        }
    }
}
