//! Skipped tests say so.

use std::io::Write as _;

/// Prints `SKIPPED: {reason}` on stderr, also when the test harness captures the output of tests that pass.
pub fn skip(reason: &str) {
    // The harness captures what the print macros write, not what goes to the handle.
    if let Err(error) = writeln!(std::io::stderr(), "SKIPPED: {reason}") {
        panic!("cannot write to stderr: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    #[test]
    #[ignore = "run by the test below"]
    fn skips() {
        super::skip("nothing to do");
    }

    #[test]
    fn the_line_is_not_captured() {
        let exe = std::env::current_exe().expect("own path");
        let output = Command::new(exe)
            .args(["--ignored", "--exact", "skip::tests::skips"])
            .output()
            .expect("own test binary runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && stderr.contains("SKIPPED: nothing to do\n"),
            "{stderr}"
        );
    }
}
