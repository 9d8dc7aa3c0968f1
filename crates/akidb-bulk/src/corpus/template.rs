//! A text that is put together from several columns: `{title}\n{body}`.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use super::error::CorpusError;

/// Literal text and columns in turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Column(String),
}

impl Template {
    /// Whether it names a column.
    pub fn names(&self, column: &str) -> bool {
        self.columns().contains(&column)
    }

    /// The columns that it names, each once.
    pub(super) fn columns(&self) -> Vec<&str> {
        let mut columns = Vec::new();
        for part in &self.parts {
            if let Part::Column(column) = part
                && !columns.contains(&column.as_str())
            {
                columns.push(column);
            }
        }
        columns
    }

    /// The text, with what `value` gives for each column.
    pub(super) fn fill<'a>(&self, mut value: impl FnMut(&str) -> &'a str) -> String {
        let parts = self.parts.iter();
        let filled = parts.map(|part| match part {
            Part::Literal(text) => text.as_str(),
            Part::Column(column) => value(column),
        });
        filled.collect()
    }
}

impl FromStr for Template {
    type Err = CorpusError;

    /// `{name}` is a column, `{{` and `}}` are braces, and `\n`, `\t` and `\\` what they are elsewhere:
    /// shells leave them alone.
    fn from_str(text: &str) -> Result<Self, CorpusError> {
        let wrong = |why: &str| CorpusError::Settings(format!("template {text:?}: {why}"));
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '{' | '}' if chars.peek() == Some(&c) => {
                    chars.next();
                    literal.push(c);
                }
                '{' => {
                    let mut column = String::new();
                    loop {
                        match chars.next() {
                            Some('}') => break,
                            Some(c) => column.push(c),
                            None => return Err(wrong("a brace is not closed")),
                        }
                    }
                    if column.is_empty() {
                        return Err(wrong("{} names no column"));
                    }
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::Column(column));
                }
                '}' => return Err(wrong("a brace is closed that was not opened")),
                '\\' => match chars.next() {
                    Some('n') => literal.push('\n'),
                    Some('t') => literal.push('\t'),
                    Some('\\') => literal.push('\\'),
                    _ => return Err(wrong("after \\ comes n, t or \\")),
                },
                c => literal.push(c),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        let template = Self { parts };
        match template.columns().is_empty() {
            true => Err(wrong("it names no column, as {title} does")),
            false => Ok(template),
        }
    }
}

impl Display for Template {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let escaped = |text: &str| {
            let text = text.replace('\\', "\\\\").replace('\n', "\\n");
            let text = text.replace('\t', "\\t");
            text.replace('{', "{{").replace('}', "}}")
        };
        for part in &self.parts {
            match part {
                Part::Literal(text) => f.write_str(&escaped(text))?,
                Part::Column(column) => write!(f, "{{{column}}}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_braces() {
        let text = r"{title}\n{{{body}}} {title}\t\\";
        let template: Template = text.parse().unwrap();
        assert_eq!(template.columns(), ["title", "body"]);
        let filled = template.fill(|column| match column {
            "title" => "T",
            _ => "B",
        });
        assert_eq!(filled, "T\n{B} T\t\\");
        let again: Template = template.to_string().parse().unwrap();
        assert_eq!(again, template);
        for wrong in ["", "no column", "{", "{a", "{}", "a}", r"{a}\x", "\\"] {
            let error = wrong.parse::<Template>().unwrap_err();
            assert!(
                matches!(error, CorpusError::Settings(_)),
                "{wrong}: {error}"
            );
        }
    }
}
