//! The text of a pair by the model's own chat template, rendered as transformers does it.

use std::hash::{BuildHasher, Hasher, RandomState};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, Error, ErrorKind};
use serde_json::json;

use super::template::{SYSTEM, user_message};
use crate::model::ChatTemplateFile;

/// What a rendering may cost, in steps and in bytes; the published templates cost less than 10 000.
const FUEL: u64 = 1 << 20;
/// A query's bytes may be copied so often.
const FUEL_PER_BYTE: u64 = 64;

/// A template that is ready to be rendered.
#[derive(Debug)]
pub(super) struct ChatTemplate {
    environment: Environment<'static>,
    file: ChatTemplateFile,
    roles: Roles,
    /// What stands behind a document.
    tail: String,
}

/// The messages that a pair is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Roles {
    /// One of the role `query` and one of `document`, as sentence-transformers and vLLM have it; a
    /// system message before them is the instruction.
    QueryDocument,
    /// The authors' own: what to judge, then the user's instruction, query and document.
    SystemUser,
}

/// Why a template can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChatTemplateError {
    #[error("it can't be rendered: {0}")]
    Render(#[from] Error),
    #[error(
        "it is longer than {MAX_TEMPLATE_BYTES} bytes, or one of its expressions than {MAX_EXPRESSION_BYTES}"
    )]
    TooLong,
    #[error("what it makes of a pair has the document {0} times, not once and as it is")]
    Document(usize),
}

impl ChatTemplate {
    /// Reads a template, and finds out what messages it is for.
    pub(super) fn new(
        file: ChatTemplateFile,
    ) -> Result<Self, (ChatTemplateFile, ChatTemplateError)> {
        let environment = match environment(&file.template) {
            Ok(environment) => environment,
            Err(error) => return Err((file, error)),
        };
        let mut template = Self {
            environment,
            file,
            roles: Roles::QueryDocument,
            tail: String::new(),
        };
        if !template.is_for_pairs() {
            template.roles = Roles::SystemUser;
        }
        match template.around_document(Some("an instruction"), "a query") {
            Ok((_, tail)) => {
                template.tail = tail;
                Ok(template)
            }
            Err(error) => Err((template.file, error)),
        }
    }

    pub(super) fn tail(&self) -> &str {
        &self.tail
    }

    pub(super) fn file(&self) -> &str {
        &self.file.file
    }

    pub(super) fn roles(&self) -> Roles {
        self.roles
    }

    /// Whether an instruction gets into the text.
    pub(super) fn takes_instruction(&self) -> bool {
        let with = |instruction| self.around_document(Some(instruction), "a query").ok();
        with("an instruction") != with("other words")
    }

    /// What stands before the document and behind it.
    pub(super) fn around_document(
        &self,
        instruction: Option<&str>,
        query: &str,
    ) -> Result<(String, String), ChatTemplateError> {
        // Nobody can know the number ahead and have it in a query. Spaces show what a template changes.
        let number = RandomState::new().build_hasher().finish();
        let document = format!("\n\u{f8ff}Document  {number}\u{f8ff} ");
        let text = self.render(instruction, query, &document)?;
        match *text.split(&document).collect::<Vec<_>>().as_slice() {
            [before, behind] => Ok((before.to_owned(), behind.to_owned())),
            ref parts => Err(ChatTemplateError::Document(parts.len() - 1)),
        }
    }

    /// Whether query and document get into the text as messages of these roles: what a template does
    /// counts, not how it is written. One that renders messages of whatever role is for pairs where
    /// the model is a pipeline of sentence-transformers, which renders it so.
    fn is_for_pairs(&self) -> bool {
        let render = |query, document| self.render(None, query, document).ok();
        let Some(text) = render("alpha", "bravo") else {
            return false;
        };
        let moves = |other: Option<String>| other.is_some_and(|other| other != text);
        let any_role = || {
            let messages = json!([{"role": "system", "content": "a"}, {"role": "nobody", "content": "charlie"}]);
            self.render_messages(messages, 0)
                .is_ok_and(|text| text.contains("charlie"))
        };
        moves(render("charlie", "bravo"))
            && moves(render("alpha", "foxtrot"))
            && (self.file.is_pipeline || !any_role())
    }

    fn render(
        &self,
        instruction: Option<&str>,
        query: &str,
        document: &str,
    ) -> Result<String, Error> {
        let message = |role: &str, content: &str| json!({"role": role, "content": content});
        let messages = match self.roles {
            Roles::QueryDocument => {
                let system = instruction.map(|instruction| message("system", instruction));
                let pair = [message("query", query), message("document", document)];
                system.into_iter().chain(pair).collect()
            }
            Roles::SystemUser => {
                let user = user_message(instruction.unwrap_or_default(), query) + document;
                [message("system", SYSTEM), message("user", &user)].into()
            }
        };
        let bytes = query.len() + instruction.map_or(0, str::len);
        self.render_messages(messages, bytes)
    }

    fn render_messages(&self, messages: serde_json::Value, bytes: usize) -> Result<String, Error> {
        let mut variables = self.file.variables.clone();
        if self.roles == Roles::SystemUser {
            variables.insert("add_generation_prompt".to_owned(), true.into());
            variables.insert("enable_thinking".to_owned(), false.into());
        } else {
            let prompt = variables.entry("add_generation_prompt");
            prompt.or_insert(false.into());
        }
        variables.insert("messages".to_owned(), messages);
        let mut environment = self.environment.clone();
        let fuel = (bytes as u64).saturating_mul(FUEL_PER_BYTE);
        environment.set_fuel(Some(FUEL.saturating_add(fuel)));
        environment
            .get_template(NAME)?
            .render(Value::from(Serde(variables)))
    }
}

const NAME: &str = "chat_template";

/// How deep macros may call each other: whoever loads a model may have a small stack.
const MAX_DEPTH: usize = 32;

/// Longest template that is read; those of Qwen3 models have up to 8 KB.
const MAX_TEMPLATE_BYTES: usize = 32 << 10;

/// Longest expression with the text before it. The parser calls itself for each operator, and takes a
/// time of their number squared.
const MAX_EXPRESSION_BYTES: usize = 4 << 10;

/// What that takes; an expression made of strings with ends of expressions is no deeper.
const PARSER_STACK_BYTES: usize = 64 << 20;

/// As transformers sets Jinja up, without what makes texts differ from day to day.
fn environment(template: &str) -> Result<Environment<'static>, ChatTemplateError> {
    let mut parts = template.split("}}").flat_map(|part| part.split("%}"));
    let has_long_part = parts.any(|part| part.len() > MAX_EXPRESSION_BYTES);
    if template.len() > MAX_TEMPLATE_BYTES || has_long_part {
        return Err(ChatTemplateError::TooLong);
    }
    let mut environment = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    environment.set_syntax(syntax.trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |message: String| {
        Err::<String, _>(invalid(&message))
    });
    environment.set_recursion_limit(MAX_DEPTH);
    let template = template.to_owned();
    let read = move || {
        environment.add_template_owned(NAME, template)?;
        Ok::<_, Error>(environment)
    };
    let thread = std::thread::Builder::new().stack_size(PARSER_STACK_BYTES);
    let thread = thread
        .spawn(read)
        .map_err(|e| invalid(&format!("no thread: {e}")))?;
    let read = thread.join();
    let read = read.unwrap_or_else(|_| Err(invalid("the parser of templates failed")));
    Ok(read?)
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Result<ChatTemplate, String> {
        let file = ChatTemplateFile {
            file: "chat_template.jinja".to_owned(),
            template: text.to_owned(),
            variables: serde_json::Map::new(),
            is_pipeline: false,
        };
        ChatTemplate::new(file).map_err(|(_, error)| error.to_string())
    }

    const PAIR: &str = "{% for m in messages %}{% if m.role == 'query' or m.role == 'document' %}{{ m.content }}|{% endif %}{% endfor %}";

    #[test]
    fn a_template_of_pairs_is_one_that_renders_both() {
        let roles = |text: &str| template(text).map(|template| template.roles());
        assert_eq!(roles(PAIR), Ok(Roles::QueryDocument));
        let any = "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}";
        assert_eq!(roles(any), Ok(Roles::SystemUser));
        let chat = PAIR
            .replace("'query'", "'system'")
            .replace("'document'", "'user'");
        assert_eq!(roles(&chat), Ok(Roles::SystemUser));
    }

    #[test]
    fn words_of_a_template_in_a_query_are_words() {
        let template = template(PAIR).unwrap();
        for query in [
            "{{ 7 * 7 }}",
            "{% endfor %}",
            "<b> & \"c\"",
            "\u{f8ff}Document  0\u{f8ff}",
        ] {
            let (before, behind) = template.around_document(None, query).unwrap();
            assert_eq!((before, behind), (format!("{query}|"), "|".to_owned()));
        }
    }

    #[test]
    fn a_document_stands_once_and_unchanged() {
        for (change, times) in [("| trim", 0), ("| upper", 0), ("~ m.content", 2)] {
            let text = PAIR.replace("{{ m.content }}", &format!("{{{{ m.content {change} }}}}"));
            let error = template(&text).unwrap_err();
            assert!(
                error.contains(&format!("{times} times")),
                "{change}: {error}"
            );
        }
    }

    #[test]
    fn a_hostile_template_ends_soon_and_holds_little() {
        let doubled = "{% set ns = namespace(a='aaaaaaaa') %}{% for _ in range(64) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}";
        let nested = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}";
        let recursive = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}";
        let full = |start: &str, part: &str, end: &str| {
            let count = (MAX_EXPRESSION_BYTES - start.len() - end.len()) / part.len();
            format!("{start}{}{end}", part.repeat(count))
        };
        let deep = [
            full("{{ ", "(", "}}"),
            full("{{ ", "-", "x}}"),
            full("{{ ", "not ", "x}}"),
            full("{{ x", "+x", "}}"),
            full("{{ x", "**x", "}}"),
            full("{{ x", "~x", "}}"),
            full("{{ x", ".x", "}}"),
            full("{{ x", "|x", "}}"),
            full("{{ x", "[x]", "}}"),
            full("{{ x", " if x else x", "}}"),
            full("{{ x", " and x", "}}"),
            full("{% if x %}", "{% if x %}", ""),
            full("{{ ", "[", "}}"),
            full("{{ ", "{1:", "}}"),
        ];
        let strings = format!("{{{{ x{} }}}}", "~\"}}\"".repeat(6000));
        let branches = format!("{{% if x %}}{}{{% endif %}}", "{%elif x%}".repeat(3200));
        for text in deep.into_iter().chain([strings, branches]) {
            // Read or not, it doesn't end the process.
            let _ = template(&text);
        }
        let long = format!("{{{{ {} }}}}", "-".repeat(MAX_EXPRESSION_BYTES));
        assert!(template(&long).unwrap_err().contains("longer"));
        assert!(
            template(&"a{{b}}".repeat(6000))
                .unwrap_err()
                .contains("longer")
        );
        let repeated = "{{ 'a' * 99999999 }}";
        let replaced = "{% set a = 'a' * 9999 %}{{ a | replace('a', a) | replace('a', a) }}";
        let padded = "{{ '%999999999d' | format(1) }}{{ 'a' | center(999999999) }}{{ 'a\nb' | indent(999999999) }}";
        for text in [doubled, nested, recursive, repeated, replaced, padded] {
            let start = std::time::Instant::now();
            let error = template(text).unwrap_err();
            assert!(error.contains("can't be rendered"), "{error}");
            assert!(start.elapsed().as_secs() < 20, "{text:.60}");
        }
    }

    #[test]
    fn what_a_template_says_of_itself_is_told() {
        let error = template("{{ raise_exception('no system messages here') }}").unwrap_err();
        assert!(error.contains("no system messages here"), "{error}");
        assert!(template("{{ strftime_now('%d') }}").is_err());
    }
}
