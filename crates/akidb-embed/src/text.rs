//! Fitting text into a terminal.

use terminal_size::{Width, terminal_size};
use unicode_width::UnicodeWidthChar;

/// Columns of the terminal, 80 where there is none.
pub(crate) fn columns() -> usize {
    terminal_size().map_or(80, |(Width(columns), _)| usize::from(columns))
}

/// `text` on one line of at most `columns`, control characters as spaces, "…" where it was cut.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    let mut line = String::new();
    let mut used = 0;
    let mut chars = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .peekable();
    while let Some(c) = chars.next() {
        let width = c.width().unwrap_or(0);
        let reserve = usize::from(chars.peek().is_some());
        if used + width + reserve > columns {
            line.push('…');
            break;
        }
        used += width;
        line.push(c);
    }
    line
}

/// `text` in lines of at most `columns`, broken at spaces.
pub(crate) fn wrapped(text: &str, columns: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, |line| width(line));
        match lines.last_mut() {
            Some(last) if line > 0 && line + 1 + width(word) <= columns => {
                last.push(' ');
                last.push_str(word);
            }
            Some(last) if line == 0 => last.push_str(word),
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

/// Columns that `line` takes.
pub(crate) fn width(line: &str) -> usize {
    line.chars().filter_map(UnicodeWidthChar::width).sum()
}

/// `line` filled up with spaces to `columns`.
pub(crate) fn pad(line: &str, columns: usize) -> String {
    format!("{line}{}", " ".repeat(columns.saturating_sub(width(line))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_count_twice_and_controls_vanish() {
        assert_eq!(fit("plain", 5), "plain");
        assert_eq!(fit("plain text", 6), "plain…");
        assert_eq!(fit("日本語", 6), "日本語");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("a\u{1b}[31m\nb", 20), "a [31m b");
        assert_eq!(pad("日", 4), "日  ");
    }

    #[test]
    fn lines_are_broken_at_spaces() {
        assert_eq!(wrapped("a bc  def\nghijkl", 6), "a bc\ndef\nghijkl");
        assert_eq!(wrapped("", 6), "");
    }
}
