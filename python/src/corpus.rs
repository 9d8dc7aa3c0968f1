//! A corpus of files to vectors, exactly once: what `akidb_embedding.run` and clusters call.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use akidb_bulk::corpus::{
    Chunks, CorpusError, CorpusSettings, Folder, Keep, Manifest, Outcome, Plan, Runner, Shard,
    Status, TextFrom, Unit, read_plan,
};
use akidb_embedding::EmbedOptions;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::embedder::Embedder;
use crate::failure::{Failure, Stop};
use crate::model::Model;
use crate::options::{each, options as options_of, text};
use crate::signals::Signals;
use crate::watch::Watch;

/// Between two looks at a unit that another process works on.
const WAIT: Duration = Duration::from_millis(500);

/// The work on a corpus: files, the units that they are cut into, and the folder that these are written
/// to.
#[pyclass(module = "akidb_embedding._native", frozen, weakref)]
pub(crate) struct Corpus {
    model: Arc<Model>,
    options: EmbedOptions,
    plan: Plan,
    /// Whether long texts are split.
    is_split: bool,
    /// The part of the units that is this process's, where it has one.
    shard: Option<Shard>,
    /// Places of the plan's units, by their names.
    places: HashMap<String, usize>,
    out: PathBuf,
    folder: Mutex<Option<Arc<Folder>>>,
}

#[pymethods]
impl Corpus {
    /// Finds the files and cuts them into units; writes nothing, but that with `force` a folder of other
    /// work gets another name.
    #[new]
    #[pyo3(signature = (embedder, inputs, out, settings, options, force = false, shard = None))]
    #[allow(
        clippy::too_many_arguments,
        reason = "each is a keyword of Python's `run`"
    )]
    fn new(
        py: Python<'_>,
        embedder: &Embedder,
        inputs: Vec<PathBuf>,
        out: PathBuf,
        settings: &Bound<'_, PyDict>,
        options: &Bound<'_, PyDict>,
        force: bool,
        shard: Option<&str>,
    ) -> PyResult<Self> {
        let shard = shard.map(str::parse).transpose().map_err(Failure::from)?;
        let model = embedder.model()?;
        let options = options_of(Some(options), None)?;
        let settings = corpus_settings(inputs, settings)?;
        let is_split = settings.chunks.is_some();
        let plan = py.detach(|| -> Result<Plan, Stop> {
            let (model, options, out) = (Arc::clone(&model), options.clone(), out.clone());
            let work = move || plan(&settings, &model, &options, &out, force);
            Ok(Signals::new().apart(work)??)
        })?;
        let names = plan.units.iter().map(|unit| unit.name.clone());
        Ok(Self {
            places: names.zip(0..).collect(),
            model,
            options,
            plan,
            is_split,
            shard,
            out,
            folder: Mutex::default(),
        })
    }

    /// Name and number of rows of each unit: a list of tuples.
    #[getter]
    fn units(&self) -> Vec<(&str, u64)> {
        let units = self.plan.units.iter();
        units.map(|unit| (&*unit.name, unit.rows)).collect()
    }

    /// Rows of the input, or of the shard.
    #[getter]
    fn rows(&self) -> u64 {
        self.own_units().iter().map(|unit| unit.rows).sum()
    }

    /// Files of folders that are of no kind that is read.
    #[getter]
    fn unknown_files(&self) -> usize {
        self.plan.unknown_files
    }

    /// Files that several inputs lead to, and that are taken once.
    #[getter]
    fn repeated_files(&self) -> usize {
        self.plan.repeated_files
    }

    /// Computes all units, or the shard's, that aren't there. `progress(rows, tokens, errors)` is called now and then, with
    /// sums; what it raises ends the work, as a signal does, after the pass that is being computed.
    #[pyo3(signature = (max_error_rate, progress = None))]
    fn run(
        &self,
        py: Python<'_>,
        max_error_rate: f64,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let done = py.detach(|| -> Result<(), Stop> {
            let folder = self.folder()?;
            let stop = AtomicBool::new(false);
            let mut watch = Watch::new(progress, &stop, self.is_split);
            let runner = self.runner(&folder)?.max_error_rate(max_error_rate);
            let end = runner.run(self.own_units(), &stop, &mut watch);
            match watch.end() {
                Some(error) => Err(error.into()),
                None => Ok(end.map(drop)?),
            }
        });
        Ok(done?)
    }

    /// Computes a unit, unless it is there, and waits where another process works on it: whether it was
    /// computed, its errors and its tokens.
    fn run_unit(&self, py: Python<'_>, name: &str) -> PyResult<(bool, u64, u64)> {
        let unit = self.places.get(name);
        let unit = unit.and_then(|&place| self.plan.units.get(place));
        let unit = unit.ok_or_else(|| {
            let message = format!("{name} is no unit of what is here");
            Failure::new("CorpusError", message)
                .hint("workers need the driver's files, at the same paths")
        })?;
        let done = py.detach(|| -> Result<_, Stop> {
            let folder = self.folder()?;
            let runner = self.runner(&folder)?;
            let mut signals = Signals::new();
            loop {
                match runner.run_unit(unit)? {
                    Outcome::Written(summary) => return Ok((true, summary.errors, summary.tokens)),
                    Outcome::AlreadyThere => return Ok((false, 0, 0)),
                    Outcome::Held => {
                        thread::sleep(WAIT);
                        signals.check()?;
                    }
                }
            }
        });
        Ok(done?)
    }

    /// The manifest of work that is done, as JSON; None where it isn't.
    fn finished(&self, py: Python<'_>, max_error_rate: f64) -> PyResult<Option<String>> {
        let manifest = py.detach(|| Manifest::of_finished(&self.out, &self.plan));
        let manifest = manifest.map_err(Failure::from)?;
        let checked = manifest.map(|manifest| checked(&manifest, max_error_rate));
        Ok(checked.transpose()?)
    }

    /// Looks at every unit, and writes the manifest: that, as JSON.
    fn finish(&self, py: Python<'_>, max_error_rate: f64) -> PyResult<String> {
        let manifest = py.detach(|| Manifest::finish(&self.out, &self.plan));
        let manifest = manifest.map_err(Failure::from)?;
        Ok(checked(&manifest, max_error_rate)?)
    }

    /// Begins the work in the folder, so that workers find it.
    fn begin(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.folder().map(drop))?;
        Ok(())
    }
}

impl Corpus {
    fn own_units(&self) -> &[Unit] {
        let all = &*self.plan.units;
        self.shard.map_or(all, |shard| shard.of(all))
    }

    /// The folder, begun once.
    fn folder(&self) -> Result<Arc<Folder>, Failure> {
        self.model.check_process()?;
        let mut folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = folder.as_ref() {
            return Ok(Arc::clone(folder));
        }
        let begun = Folder::begin(&self.out, &self.plan, self.shard)?;
        Ok(Arc::clone(folder.insert(Arc::new(begun))))
    }

    fn runner<'a>(&'a self, folder: &'a Folder) -> Result<Runner<'a>, Failure> {
        let embedder = &self.model.embedder;
        Ok(Runner::new(embedder, &self.options, &self.plan, folder)?)
    }
}

fn plan(
    settings: &CorpusSettings,
    model: &Model,
    options: &EmbedOptions,
    out: &Path,
    force: bool,
) -> Result<Plan, CorpusError> {
    let earlier = match read_plan(out) {
        Err(CorpusError::Damaged { .. }) if force => None,
        earlier => earlier?,
    };
    let plan = Plan::new(settings, &model.embedder, options, out, earlier.as_ref())?;
    match plan.is_begun_in(out) {
        Err(CorpusError::OtherWork { .. } | CorpusError::Damaged { .. }) if force => {
            Folder::move_aside(out)?;
        }
        is_begun => drop(is_begun?),
    }
    Ok(plan)
}

/// The keywords that say which texts, and what goes along with their vectors.
fn corpus_settings(inputs: Vec<PathBuf>, keywords: &Bound<'_, PyDict>) -> PyResult<CorpusSettings> {
    let inputs: Result<Vec<String>, Failure> = inputs.into_iter().map(text).collect();
    let mut settings = CorpusSettings {
        inputs: inputs?,
        ..CorpusSettings::default()
    };
    let (mut tokens, mut overlap) = (None, None);
    each(Some(keywords), |keyword, value| {
        match keyword {
            "text" => settings.text = TextFrom::Column(value.extract()?),
            "template" => {
                let template: String = value.extract()?;
                settings.text = TextFrom::Template(template.parse().map_err(Failure::from)?);
            }
            "id" => settings.id = Some(value.extract()?),
            "keep" => {
                settings.keep = match value.extract::<String>() {
                    Ok(all) if all == "all" => Keep::All,
                    Ok(column) => Keep::Columns(vec![column]),
                    Err(_) => Keep::Columns(value.extract()?),
                }
            }
            "format" => {
                let format: String = value.extract()?;
                settings.format = format.parse().map_err(Failure::from)?;
            }
            "unit_rows" => settings.unit_rows = value.extract()?,
            "chunk" => tokens = Some(value.extract()?),
            "overlap" => overlap = Some(value.extract()?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    settings.chunks = match (tokens, overlap) {
        (None, Some(_)) => return Err(Failure::option("overlap is for chunk=…").into()),
        (tokens, overlap) => tokens.map(|tokens| Chunks {
            tokens,
            overlap: overlap.unwrap_or_default(),
        }),
    };
    Ok(settings)
}

/// A manifest as JSON, unless too many of its rows have failed.
fn checked(manifest: &Manifest, rate: f64) -> Result<String, Failure> {
    if manifest.errors as f64 > rate * manifest.rows_in as f64 {
        let mut first = manifest.units.iter().filter_map(|unit| {
            let error = unit.summary.first_error.as_ref()?;
            Some(format!("{}, {error}", unit.file))
        });
        let error = CorpusError::TooManyErrors {
            errors: manifest.errors,
            rows: manifest.rows_in,
            rate,
            first: first.next().unwrap_or_default(),
        };
        return Err(error.into());
    }
    serde_json::to_string(manifest).map_err(no_json)
}

/// How far the work in a folder is, as JSON.
#[pyfunction]
pub(crate) fn run_status(py: Python<'_>, out: PathBuf) -> PyResult<String> {
    let status = py.detach(|| Status::read(&out)).map_err(Failure::from)?;
    Ok(serde_json::to_string(&status).map_err(no_json)?)
}

fn no_json(error: serde_json::Error) -> Failure {
    Failure::new("CorpusError", error.to_string())
}
