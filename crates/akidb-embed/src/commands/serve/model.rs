//! Which models are served, and by which names.

use std::path::Path;

use akidb_embedding::{BUILTIN_MODEL, EmbedderBuilder, default_model, env};
use akidb_server::{ModelSettings, VARIABLES};

use crate::args::Run;
use crate::error::CliError;

/// Environment variables that say how models are run.
pub(crate) const RUN_VARIABLES: [&str; 4] = [
    env::AKIDB_SERVE_VARIANT.name,
    env::AKIDB_SERVE_BACKEND.name,
    env::AKIDB_SERVE_PRECISION.name,
    THREADS,
];

const THREADS: &str = env::AKIDB_SERVE_THREADS.name;

/// The model where none is named.
pub(crate) fn default() -> Result<String, CliError> {
    Ok(default_model()?.unwrap_or_else(|| BUILTIN_MODEL.to_owned()))
}

/// A model to be served.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Served {
    /// By which requests call it.
    name: String,
    /// Id, directory or file.
    model: String,
    /// How it is run.
    pub(crate) run: Run,
}

/// The models of a settings file: one, or an array of several.
pub(crate) fn from_file(value: &toml::Value, path: &Path) -> Result<Vec<Served>, CliError> {
    let read = |value: &toml::Value| match value {
        toml::Value::String(text) => Served::parse(text),
        toml::Value::Table(table) => Served::from_table(table),
        _ => Err("is neither a text nor a table, nor an array of these".to_owned()),
    };
    let models = match value {
        toml::Value::Array(values) => values.iter().map(read).collect(),
        value => read(value).map(|model| vec![model]),
    };
    models.map_err(|why| CliError::Usage(format!("{}: model: {why}", path.display())))
}

impl Served {
    /// A model that was given as `[NAME=]MODEL`. Without a name, a path is called by its last part,
    /// and a model of the store by its id.
    pub(crate) fn parse(given: &str) -> Result<Self, String> {
        // Names may hold slashes, as ids do, and paths =.
        let is_path = given.starts_with(['/', '.', '~']) || Path::new(given).exists();
        let named = given
            .split_once('=')
            .filter(|(name, _)| !is_path && !name.contains('\\'));
        let (name, model) = match named {
            Some((name, model)) => (name.to_owned(), model),
            None => (name_of(given), given),
        };
        if name.is_empty() || model.is_empty() {
            return Err(format!("{given:?} is not [NAME=]MODEL"));
        }
        Ok(Self {
            name,
            model: model.to_owned(),
            run: Run::default(),
        })
    }

    fn from_table(table: &toml::Table) -> Result<Self, String> {
        let mut table = table.clone();
        let mut text = |key| match table.remove(key) {
            None => Ok(None),
            Some(toml::Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(format!("its {key} is no text")),
        };
        let model = text("model")?.ok_or("a table of it has no model")?;
        let name = text("name")?.unwrap_or_else(|| name_of(&model));
        let run = table.try_into();
        Ok(Self {
            run: run.map_err(|error: toml::de::Error| format!("{name}: {}", error.message()))?,
            name,
            model,
        })
    }

    /// As it stands in a settings file.
    pub(crate) fn to_toml(&self) -> toml::Value {
        for text in [self.model.clone(), format!("{}={}", self.name, self.model)] {
            if Self::parse(&text).as_ref() == Ok(self) {
                return text.into();
            }
        }
        // Nothing in it can fail to be written.
        let mut table = toml::Table::try_from(&self.run).unwrap_or_default();
        table.insert("name".to_owned(), self.name.clone().into());
        table.insert("model".to_owned(), self.model.clone().into());
        table.into()
    }

    /// `builder` has what holds for all models.
    pub(crate) fn settings(&self, builder: &EmbedderBuilder) -> ModelSettings {
        ModelSettings {
            name: self.name.clone(),
            builder: self.run.apply(builder.clone()).model(&self.model),
        }
    }
}

/// How models are run, as far as the environment says.
pub(crate) fn run_from_environment(
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Run, CliError> {
    let mut run = Run::default();
    for name in RUN_VARIABLES {
        let Some(value) = variable(name) else {
            continue;
        };
        let value = match value.parse() {
            Ok(number) if name == THREADS => toml::Value::Integer(number),
            _ => value.into(),
        };
        let key = name.strip_prefix(VARIABLES).unwrap_or(name);
        let table = toml::Table::from_iter([(key.to_ascii_lowercase(), value)]);
        let one: Run = table.try_into().map_err(|error: toml::de::Error| {
            CliError::Usage(format!("the environment: {name}: {}", error.message()))
        })?;
        run = run.or(&one);
    }
    Ok(run)
}

fn name_of(model: &str) -> String {
    let path = Path::new(model);
    let last = if path.is_dir() {
        path.canonicalize()
            .ok()
            .and_then(|path| path.file_name().map(ToOwned::to_owned))
    } else if path.is_file() {
        path.file_stem().map(ToOwned::to_owned)
    } else {
        None
    };
    last.map_or_else(
        || model.to_owned(),
        |last| last.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_have_the_names_they_are_given_or_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let models = directory.path().join("a=b");
        std::fs::create_dir(&models).unwrap();
        std::fs::write(models.join("small.onnx"), "").unwrap();
        let (models, file) = (models.display().to_string(), models.join("small.onnx"));
        let file = file.display().to_string();
        for (given, name) in [
            ("akidb-mini", "akidb-mini"),
            ("Qwen/Qwen3-Embedding-0.6B", "Qwen/Qwen3-Embedding-0.6B"),
            ("text=akidb-mini", "text"),
            ("BAAI/bge-m3=akidb-mini", "BAAI/bge-m3"),
            ("/no/such=model", "/no/such=model"),
            (&*models, "a=b"),
            (&*file, "small"),
            (&*format!("x={models}"), "x"),
        ] {
            assert_eq!(Served::parse(given).unwrap().name, name, "{given}");
        }
        for wrong in ["", "=akidb-mini", "name="] {
            assert!(Served::parse(wrong).is_err(), "{wrong}");
        }
    }

    fn read(text: &str) -> Result<Vec<Served>, CliError> {
        let table: toml::Table = text.parse().unwrap();
        from_file(&table["model"], Path::new("serve.toml"))
    }

    #[test]
    fn a_table_says_how_its_model_is_run() {
        let text = r#"
            [[model]]
            name = "fast"
            model = "qwen3-embedding-0.6b"
            variant = "int8"
            backend = "native"
            threads = 2
            [[model]]
            model = "akidb-mini"
        "#;
        let models = read(text).unwrap();
        assert_eq!(models[0].name, "fast");
        assert_ne!(models[0].run, Run::default());
        assert_eq!(models[1], Served::parse("akidb-mini").unwrap());
        let shown: toml::Value = models
            .iter()
            .map(Served::to_toml)
            .collect::<Vec<_>>()
            .into();
        assert_eq!(read(&format!("model = {shown}")).unwrap(), models);

        for (wrong, words) in [
            ("model = 1", "neither"),
            ("model = [[]]", "neither"),
            ("model = { name = 'a' }", "no model"),
            ("model = { model = '' }", "no text"),
            ("model = { model = 'a', variants = 'int8' }", "variants"),
            ("model = { model = 'a', precision = 'int9' }", "int9"),
            ("model = { model = 'a', threads = -1 }", "-1"),
            ("model = { model = 'a', threads = 0 }", "0"),
        ] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains(words), "{wrong}: {error}");
        }
    }

    #[test]
    fn the_environment_says_how_models_are_run() {
        let run = |given: &[(&str, &str)]| {
            let given = given.to_vec();
            run_from_environment(|name| {
                let found = given.iter().find(|(key, _)| *key == name)?;
                Some(found.1.to_owned())
            })
        };
        assert_eq!(run(&[]).unwrap(), Run::default());
        let given = [("AKIDB_SERVE_VARIANT", "4"), ("AKIDB_SERVE_THREADS", "4")];
        let model = read("model = { model = 'akidb-mini', variant = '4', threads = 4 }");
        assert_eq!(run(&given).unwrap(), model.unwrap()[0].run);
        let wrong = run(&[("AKIDB_SERVE_THREADS", "many")]).unwrap_err();
        let wrong = wrong.to_string();
        assert!(
            wrong.contains("AKIDB_SERVE_THREADS") && wrong.contains("many"),
            "{wrong}"
        );
    }
}
