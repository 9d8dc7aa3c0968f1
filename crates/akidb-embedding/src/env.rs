//! Every environment variable the project reads, declared once. Each setting of the server has one by
//! its name, too: `AKIDB_SERVE_` and the name in `akidb-server/src/settings/table.rs`.
//!
//! An empty value counts as unset, unless the variable says otherwise.

use std::ffi::OsString;
use std::path::PathBuf;

#[cfg(feature = "onnxruntime")]
use akidb_onnxruntime::LibrarySearch;

/// One environment variable.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub doc: &'static str,
}

/// Directory of what can be computed again.
pub const AKIDB_CACHE_DIR: Variable = Variable {
    name: "AKIDB_CACHE_DIR",
    doc: "Directory that holds packed weights, under packed/, so that a model is loaded faster the \
          next time; empty: none are kept \
          (default: $AKIDB_HOME/cache, $XDG_CACHE_HOME/akidb or ~/.cache/akidb)",
};

/// Directory of installed models and caches.
pub const AKIDB_HOME: Variable = Variable {
    name: "AKIDB_HOME",
    doc: "Directory that holds installed models, under models/ \
          (default: $XDG_DATA_HOME/akidb or ~/.local/share/akidb)",
};

/// The model of those who name none.
pub const AKIDB_MODEL: Variable = Variable {
    name: "AKIDB_MODEL",
    doc: "Model where none is named: an id, a directory or a file \
          (default: what `akidb-embed models default` has set, else the built-in model)",
};

/// The server's settings file.
pub const AKIDB_SERVE_CONFIG: Variable = Variable {
    name: "AKIDB_SERVE_CONFIG",
    doc: "serve: the settings file, as --config",
};

/// The server's models.
pub const AKIDB_SERVE_MODEL: Variable = Variable {
    name: "AKIDB_SERVE_MODEL",
    doc: "serve: models, parted by commas, each as --model (default: as AKIDB_MODEL)",
};

/// How the server's models are run.
pub const AKIDB_SERVE_VARIANT: Variable = Variable {
    name: "AKIDB_SERVE_VARIANT",
    doc: "serve: as --variant",
};

/// How the server's models are run.
pub const AKIDB_SERVE_BACKEND: Variable = Variable {
    name: "AKIDB_SERVE_BACKEND",
    doc: "serve: as --backend",
};

/// How the server's models are run.
pub const AKIDB_SERVE_PRECISION: Variable = Variable {
    name: "AKIDB_SERVE_PRECISION",
    doc: "serve: as --precision",
};

/// How the server's models are run.
pub const AKIDB_SERVE_THREADS: Variable = Variable {
    name: "AKIDB_SERVE_THREADS",
    doc: "serve: as --threads",
};

/// Which task of Slurm's array it is.
pub const SLURM_ARRAY_TASK_ID: Variable = Variable {
    name: "SLURM_ARRAY_TASK_ID",
    doc: "run --shard auto: the task's number in an array of Slurm",
};

/// The first of them.
pub const SLURM_ARRAY_TASK_MIN: Variable = Variable {
    name: "SLURM_ARRAY_TASK_MIN",
    doc: "run --shard auto: the number of the array's first task (default: 0)",
};

/// How many there are.
pub const SLURM_ARRAY_TASK_COUNT: Variable = Variable {
    name: "SLURM_ARRAY_TASK_COUNT",
    doc: "run --shard auto: how many tasks the array has",
};

/// Which pod of a job it is.
pub const JOB_COMPLETION_INDEX: Variable = Variable {
    name: "JOB_COMPLETION_INDEX",
    doc: "run --shard auto/N: the pod's number in an indexed job of Kubernetes, from 0",
};

/// Where models are fetched from.
pub const HF_ENDPOINT: Variable = Variable {
    name: "HF_ENDPOINT",
    doc: "Address of the hub that models are fetched from (default: https://huggingface.co)",
};

/// Secret for private and gated models.
pub const HF_TOKEN: Variable = Variable {
    name: "HF_TOKEN",
    doc: "Token for private and gated models (default: the one in $HF_HOME/token)",
};

/// No network.
pub const HF_HUB_OFFLINE: Variable = Variable {
    name: "HF_HUB_OFFLINE",
    doc: "1: models are not fetched, only those on this machine are used",
};

/// Other programs' models.
pub const HF_HUB_CACHE: Variable = Variable {
    name: "HF_HUB_CACHE",
    doc: "Hugging Face cache, whose models are used in place (default: $HF_HOME/hub)",
};

/// The name that it had before.
pub const HUGGINGFACE_HUB_CACHE: Variable = Variable {
    name: "HUGGINGFACE_HUB_CACHE",
    doc: "The same, where HF_HUB_CACHE is unset",
};

/// Base of the two above.
pub const HF_HOME: Variable = Variable {
    name: "HF_HOME",
    doc: "Directory of the Hugging Face tools \
          (default: $XDG_CACHE_HOME/huggingface or ~/.cache/huggingface)",
};

/// How the hub is reached.
pub const HTTPS_PROXY: Variable = Variable {
    name: "HTTPS_PROXY",
    doc: "Proxy that models are fetched through; also ALL_PROXY and HTTP_PROXY, except for the hosts \
          in NO_PROXY",
};

/// Forces a CPU tier.
pub const AKIDB_ISA: Variable = Variable {
    name: "AKIDB_ISA",
    doc: "CPU tier of the native engine: portable; on x86-64 avx2, avxvnni, avx512, avx512vnni or \
          avx512bf16; on ARM neon, neondot or neoni8mm (default: the best this CPU has)",
};

/// How much is logged.
pub const AKIDB_LOG: Variable = Variable {
    name: "AKIDB_LOG",
    doc: "Log level on stderr: off, error, warn, info, debug or trace \
          (default: warn; serve: info)",
};

/// ONNX Runtime's library.
pub const ORT_DYLIB_PATH: Variable = Variable {
    name: "ORT_DYLIB_PATH",
    doc: "ONNX Runtime's library, or the directory that holds it (default: looked for beside the \
          program, in the system's directories and in the active Python environment)",
};

/// Where the system's loader looks for libraries.
pub const LD_LIBRARY_PATH: Variable = Variable {
    name: if cfg!(target_os = "macos") {
        "DYLD_LIBRARY_PATH"
    } else {
        "LD_LIBRARY_PATH"
    },
    doc: "Further directories in which ONNX Runtime's library is looked for",
};

/// The active Python environment.
pub const VIRTUAL_ENV: Variable = Variable {
    name: "VIRTUAL_ENV",
    doc: "Python environment whose onnxruntime package has ONNX Runtime's library",
};

/// The active conda environment.
pub const CONDA_PREFIX: Variable = Variable {
    name: "CONDA_PREFIX",
    doc: "Conda environment whose onnxruntime package has ONNX Runtime's library",
};

/// Where AKIDB_HOME is unset.
pub const XDG_DATA_HOME: Variable = Variable {
    name: "XDG_DATA_HOME",
    doc: "Base of the default AKIDB_HOME",
};

/// Where AKIDB_CACHE_DIR and AKIDB_HOME are unset.
pub const XDG_CACHE_HOME: Variable = Variable {
    name: "XDG_CACHE_HOME",
    doc: "Base of the default AKIDB_CACHE_DIR and HF_HOME",
};

/// Where the others are unset.
pub const HOME: Variable = Variable {
    name: "HOME",
    doc: "Base of the default XDG_DATA_HOME and XDG_CACHE_HOME",
};

/// All of them.
pub const ALL: &[Variable] = &[
    AKIDB_CACHE_DIR,
    AKIDB_HOME,
    AKIDB_ISA,
    AKIDB_LOG,
    AKIDB_MODEL,
    AKIDB_SERVE_BACKEND,
    AKIDB_SERVE_CONFIG,
    AKIDB_SERVE_MODEL,
    AKIDB_SERVE_PRECISION,
    AKIDB_SERVE_THREADS,
    AKIDB_SERVE_VARIANT,
    SLURM_ARRAY_TASK_ID,
    SLURM_ARRAY_TASK_MIN,
    SLURM_ARRAY_TASK_COUNT,
    JOB_COMPLETION_INDEX,
    ORT_DYLIB_PATH,
    LD_LIBRARY_PATH,
    VIRTUAL_ENV,
    CONDA_PREFIX,
    HF_ENDPOINT,
    HF_HOME,
    HF_HUB_CACHE,
    HUGGINGFACE_HUB_CACHE,
    HF_HUB_OFFLINE,
    HF_TOKEN,
    HTTPS_PROXY,
    XDG_CACHE_HOME,
    XDG_DATA_HOME,
    HOME,
];

impl Variable {
    /// Its value, if set, not empty and valid Unicode.
    pub fn get(&self) -> Option<String> {
        std::env::var(self.name).ok().filter(|v| !v.is_empty())
    }

    /// Its value as a path, if set and not empty.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        let value = std::env::var_os(self.name)?;
        (!value.is_empty()).then(|| value.into())
    }
}

/// Where ONNX Runtime's library may be; `named` is where the caller says that it is.
#[cfg(feature = "onnxruntime")]
pub(crate) fn onnxruntime_search(named: Option<PathBuf>) -> LibrarySearch {
    let directories = std::env::var_os(LD_LIBRARY_PATH.name).unwrap_or_default();
    let environments = [VIRTUAL_ENV, CONDA_PREFIX].into_iter();
    LibrarySearch {
        library: named.or_else(|| ORT_DYLIB_PATH.path()),
        directories: std::env::split_paths(&directories)
            .filter(|path| path.is_absolute())
            .collect(),
        python_environments: environments.filter_map(|v| v.path()).collect(),
    }
}

/// The directory that holds `models/` and caches; `None` when nothing says where.
pub fn home() -> Option<PathBuf> {
    AKIDB_HOME
        .path()
        .or_else(|| XDG_DATA_HOME.path().map(|data| data.join("akidb")))
        .or_else(|| HOME.path().map(|home| home.join(".local/share/akidb")))
}

/// The directory of the Hugging Face tools.
fn hugging_face(value: &dyn Fn(Variable) -> Option<OsString>) -> Option<PathBuf> {
    let path = |variable| value(variable).filter(|v| !v.is_empty()).map(PathBuf::from);
    expanded(HF_HOME, value)
        .or_else(|| path(XDG_CACHE_HOME).map(|cache| cache.join("huggingface")))
        .or_else(|| path(HOME).map(|home| home.join(".cache/huggingface")))
}

/// The Hugging Face cache.
pub fn hub_cache() -> Option<PathBuf> {
    hub_cache_in(&|variable| std::env::var_os(variable.name))
}

fn hub_cache_in(value: &dyn Fn(Variable) -> Option<OsString>) -> Option<PathBuf> {
    expanded(HF_HUB_CACHE, value)
        .or_else(|| expanded(HUGGINGFACE_HUB_CACHE, value))
        .or_else(|| hugging_face(value).map(|home| home.join("hub")))
}

/// The path in a variable of the Hugging Face tools, in which `~` is the user's own directory: where no
/// shell has put that there, the tools do.
fn expanded(variable: Variable, value: &dyn Fn(Variable) -> Option<OsString>) -> Option<PathBuf> {
    let path = PathBuf::from(value(variable).filter(|v| !v.is_empty())?);
    Some(match (path.strip_prefix("~"), value(HOME)) {
        (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => path,
    })
}

/// The file in which the Hugging Face tools keep a token.
pub fn token_file() -> Option<PathBuf> {
    hugging_face(&|variable| std::env::var_os(variable.name)).map(|home| home.join("token"))
}

/// The directory of packed weights; `None` when there is to be none.
pub(crate) fn packed_weights_directory() -> Option<PathBuf> {
    packed_weights_in(|variable| std::env::var_os(variable.name))
}

fn packed_weights_in(value: impl Fn(Variable) -> Option<OsString>) -> Option<PathBuf> {
    let path = |variable| value(variable).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = match value(AKIDB_CACHE_DIR) {
        Some(directory) if directory.is_empty() => None,
        Some(directory) => Some(directory.into()),
        None => path(AKIDB_HOME)
            .map(|home| home.join("cache"))
            .or_else(|| path(XDG_CACHE_HOME).map(|cache| cache.join("akidb")))
            .or_else(|| path(HOME).map(|home| home.join(".cache/akidb"))),
    };
    cache.map(|cache| cache.join("packed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tier_is_documented() {
        let words: Vec<&str> = AKIDB_ISA.doc.split([' ', ',', ';']).collect();
        for tier in akidb_kernels::Tier::ALL {
            assert!(words.contains(&tier.as_str()), "{tier}");
        }
    }

    fn value(set: &[(Variable, &str)]) -> impl Fn(Variable) -> Option<OsString> {
        move |variable| {
            let mut set = set.iter();
            let found = set.find(|(other, _)| other.name == variable.name);
            found.map(|(_, value)| OsString::from(value))
        }
    }

    fn shown(path: Option<PathBuf>) -> Option<String> {
        path.map(|path| path.to_string_lossy().replace('\\', "/"))
    }

    #[test]
    fn the_hugging_face_cache_is_where_its_tools_look() {
        let cache = |set: &[(Variable, &str)]| shown(hub_cache_in(&value(set)));
        let at = |path: &str| Some(path.to_owned());
        let (user, home) = ((HOME, "/h"), (HF_HOME, "~/x"));
        let (new, old) = ((HF_HUB_CACHE, "~/new"), (HUGGINGFACE_HUB_CACHE, "/old"));
        assert_eq!(cache(&[user, home, old, new]), at("/h/new"));
        assert_eq!(cache(&[user, home, old]), at("/old"));
        assert_eq!(cache(&[user, home]), at("/h/x/hub"));
        assert_eq!(cache(&[user]), at("/h/.cache/huggingface/hub"));
        assert_eq!(cache(&[user, (HF_HOME, "~")]), at("/h/hub"));
        // Another user's directory is not looked up.
        assert_eq!(cache(&[user, (HF_HOME, "~other")]), at("~other/hub"));
        assert_eq!(cache(&[]), None);
    }

    #[test]
    fn the_first_variable_that_is_set_says_where_packed_weights_are() {
        let directory = |set: &[(Variable, &str)]| shown(packed_weights_in(value(set)));
        let (cache, home) = ((AKIDB_CACHE_DIR, "/c"), (AKIDB_HOME, "/a"));
        let (xdg, user) = ((XDG_CACHE_HOME, "/x"), (HOME, "/h"));
        let at = |path: &str| Some(path.to_owned());
        assert_eq!(directory(&[user, xdg, home, cache]), at("/c/packed"));
        assert_eq!(directory(&[user, xdg, home]), at("/a/cache/packed"));
        assert_eq!(directory(&[user, xdg]), at("/x/akidb/packed"));
        assert_eq!(directory(&[user]), at("/h/.cache/akidb/packed"));
        assert_eq!(directory(&[]), None);
        assert_eq!(directory(&[user, (AKIDB_CACHE_DIR, "")]), None);
        let empty = [user, (AKIDB_HOME, ""), (XDG_CACHE_HOME, "")];
        assert_eq!(directory(&empty), at("/h/.cache/akidb/packed"));
    }
}
