//! `models`: from a hub on loopback to a model that embeds, and off the disk again.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::{Outcome, json, run_with};
use akidb_testing::{Faults, HubFile, TestHub, builtin_model_dir, skip};

const COMMIT: &str = "00112233445566778899aabbccddeeff00112233";
const MINI: &str = "akidb/mini";

struct Setup {
    dir: tempfile::TempDir,
    hub: TestHub,
    variables: Vec<(&'static str, String)>,
}

fn setup() -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let hub = TestHub::start();
    hub.put_directory(MINI, COMMIT, &builtin_model_dir());
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let variables = vec![
        ("AKIDB_HOME", path("home")),
        ("HF_HOME", path("hf")),
        ("HF_ENDPOINT", hub.endpoint()),
        ("HF_TOKEN", String::new()),
        ("HF_HUB_CACHE", String::new()),
        ("HF_HUB_OFFLINE", String::new()),
        ("AKIDB_CACHE_DIR", path("cache")),
        ("ALL_PROXY", String::new()),
        ("HTTP_PROXY", String::new()),
        ("HTTPS_PROXY", String::new()),
        ("NO_PROXY", "127.0.0.1".to_owned()),
    ];
    Setup {
        dir,
        hub,
        variables,
    }
}

impl Setup {
    fn set(&mut self, name: &'static str, value: &str) {
        self.variables.retain(|(n, _)| *n != name);
        self.variables.push((name, value.to_owned()));
    }

    fn run(&self, args: &[&str]) -> Outcome {
        let variables: Vec<_> = self
            .variables
            .iter()
            .map(|(n, v)| (*n, v.as_str()))
            .collect();
        run_with(args, b"", &variables)
    }

    fn ok(&self, args: &[&str]) -> Outcome {
        let out = self.run(args);
        assert_eq!(out.code, 0, "{args:?}: {}", out.stderr);
        out
    }

    fn failed(&self, args: &[&str], code: i32, words: &[&str]) {
        let out = self.run(args);
        assert_eq!(out.code, code, "{args:?}: {}", out.stderr);
        assert!(out.stderr.starts_with("error: "), "{}", out.stderr);
        for word in words {
            assert!(
                out.stderr.contains(word),
                "{word:?} is missing in:\n{}",
                out.stderr
            );
        }
    }

    /// Fails with wrong vectors, after lines on how far it came.
    fn failed_late(&self, args: &[&str]) {
        let out = self.run(args);
        assert_eq!(out.code, 1, "{args:?}: {}", out.stderr);
        for words in [
            "its vectors are WRONG\n",
            "error: the vectors of akidb/noise",
        ] {
            assert!(out.stderr.contains(words), "{words:?} in:\n{}", out.stderr);
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_akidb-embed"));
        command
            .args(args)
            .envs(self.variables.iter().map(|(n, v)| (*n, v)));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn root(&self) -> PathBuf {
        self.dir
            .path()
            .join(format!("home/models/{MINI}/snapshots/{COMMIT}"))
    }
}

#[test]
fn from_the_hub_to_vectors_and_off_the_disk() {
    let setup = setup();
    setup.failed(&["embed", "a", "-m", MINI], 2, &["no model \"akidb/mini\""]);
    let out = setup.ok(&["models", "pull", MINI]);
    assert!(
        out.stderr
            .starts_with("variant fp16: it is the only one (9 files, "),
        "{}",
        out.stderr
    );
    assert!(
        out.stderr
            .contains("fetching onnx/model_fp16.onnx (18 MB)\n"),
        "{}",
        out.stderr
    );
    assert!(
        out.stderr.contains("; its checksums agree\n"),
        "{}",
        out.stderr
    );
    assert!(
        out.stderr
            .ends_with("akidb/mini fp16: its vectors are right\n"),
        "{}",
        out.stderr
    );
    let root = setup.root();
    assert_eq!(
        out.stdout,
        format!("{MINI} fp16 {COMMIT}\n{}\n", root.display())
    );
    let again = setup.ok(&["models", "pull", MINI]);
    assert!(
        again.stderr.contains("it was here already"),
        "{}",
        again.stderr
    );

    let embed = |model: &str| json(&setup.ok(&["embed", "some text", "-m", model]).stdout);
    let (pulled, built_in) = (embed(MINI), embed("akidb-mini"));
    assert_eq!(pulled["data"], built_in["data"]);
    assert_eq!(
        (&pulled["model"], &pulled["revision"]),
        (&MINI.into(), &COMMIT.into())
    );

    let rows = json(&setup.ok(&["models", "list", "--json"]).stdout);
    let row = &rows[0];
    assert_eq!(
        (&row["model"], &row["variant"]),
        (&MINI.into(), &"fp16".into())
    );
    assert_eq!(
        (&row["where"], &row["dimension"]),
        (&"store".into(), &256.into())
    );
    assert!(
        row["last_used"].as_u64() >= row["verified"].as_u64(),
        "{row}"
    );
    assert_eq!(row["vectors_right"], true);
    let list = setup.ok(&["models", "list"]).stdout;
    assert!(
        list.contains("qwen3-embedding-0.6b ") && list.contains("akidb-mini (built in, default)"),
        "{list}"
    );
    assert!(list.contains("hash + numeric, now"), "{list}");
    let show = setup.ok(&["models", "show", MINI]).stdout;
    assert!(
        show.contains(COMMIT) && show.contains("licence         apache-2.0"),
        "{show}"
    );

    let verified = setup.ok(&["models", "verify"]);
    assert!(
        verified.stdout.contains("the checksums of 9 files"),
        "{}",
        verified.stdout
    );
    assert!(
        verified.stderr.contains("fp16: its vectors are right"),
        "{}",
        verified.stderr
    );
    let checksums = setup.ok(&["models", "verify", "--checksums-only"]);
    assert_eq!(checksums.stderr, "");
    let sound = setup.ok(&["validate", MINI]).stdout;
    assert!(sound.contains("checksums of akidb/mini: ok"), "{sound}");
    let weights = root.join("onnx/model_fp16.onnx");
    let mut bytes = std::fs::read(&weights).unwrap();
    bytes[1_000_000] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    setup.failed(
        &["models", "verify", MINI],
        1,
        &[
            "damaged: akidb/mini",
            "hint: akidb-embed models pull akidb/mini",
            "models import",
        ],
    );
    let row = || {
        let rows = json(&setup.ok(&["models", "list", "--json"]).stdout);
        let row = &rows[0];
        (
            row["damaged"].as_bool().unwrap(),
            row["verified"].is_u64(),
            row["vectors_right"].clone(),
        )
    };
    assert_eq!(row(), (true, false, serde_json::Value::Null));
    let list = setup.ok(&["models", "list"]).stdout;
    assert!(list.contains("DAMAGED") && !list.contains("hash"), "{list}");
    let out = setup.run(&["validate", MINI]);
    let words = "model_fp16.onnx has another checksum\n  akidb-embed models pull akidb/mini";
    assert!(
        out.code == 1 && out.stdout.contains(words),
        "{}",
        out.stdout
    );
    setup.ok(&["models", "pull", MINI]);
    assert_eq!(row(), (false, true, true.into()));
    setup.ok(&["models", "verify", MINI]);

    // How many depends on the CPU: packed weights that it keeps are counted.
    let words = ["removing akidb/mini (", " MB) needs --yes"];
    setup.failed(&["models", "remove", MINI], 2, &words);
    setup.failed(
        &["models", "remove", "akidb/other", "--yes"],
        2,
        &["is not installed"],
    );
    let out = setup.ok(&["models", "remove", "--unused", "1", "--yes"]);
    assert_eq!(out.stdout, "nothing to remove\n");
    let out = setup.ok(&["models", "remove", MINI, "--yes"]);
    assert!(
        out.stdout.starts_with("removed akidb/mini: "),
        "{}",
        out.stdout
    );
    assert!(!setup.dir.path().join("home/models/akidb").exists());
}

#[test]
fn packed_weights_go_with_their_model() {
    let setup = setup();
    setup.ok(&["models", "pull", MINI]);
    let packs = || -> Vec<u64> {
        let entries = std::fs::read_dir(setup.dir.path().join("cache/packed"));
        let entries = entries.into_iter().flatten().flatten();
        entries.map(|e| e.metadata().unwrap().len()).collect()
    };
    // In f32, packs are large enough to be kept.
    let f32 = ["--precision", "f32"];
    setup.ok(&[&["embed", "a", "-m", MINI], &f32[..]].concat());
    let [bytes] = packs().try_into().unwrap();
    let rows = json(&setup.ok(&["models", "list", "--json"]).stdout);
    assert_eq!(rows[0]["packed"], bytes);
    let list = setup.ok(&["models", "list"]).stdout;
    let row = list.lines().find(|line| line.starts_with(MINI)).unwrap();
    let packed = format!(" {:.0} MB ", bytes as f64 / 1e6);
    assert!(row.contains(&packed), "{row}");

    // Those of other models stay.
    setup.ok(&[&["embed", "a", "-m", "akidb-mini"], &f32[..]].concat());
    let others = packs().len() - 1;
    let out = setup.ok(&["models", "remove", MINI, "--yes"]);
    assert_eq!(packs().len(), others);
    assert!(out.stdout.contains("MB\n"), "{}", out.stdout);
}

#[test]
fn a_download_that_was_given_up_is_shown_and_removed() {
    let setup = setup();
    setup.hub.fail(Faults {
        bytes_per_second: Some(8_000_000),
        ..Faults::default()
    });
    let mut child = setup.command(&["models", "pull", MINI]).spawn().unwrap();
    while setup.hub.sent() < 2_000_000 {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let rows = json(&setup.ok(&["models", "list", "--json"]).stdout);
    let row = rows.as_array().unwrap().iter();
    let row = row.clone().find(|r| r["where"] == "unfinished").unwrap();
    assert_eq!(
        (&row["model"], &row["installed"]),
        (&MINI.into(), &false.into())
    );
    let list = setup.ok(&["models", "list"]).stdout;
    assert!(list.contains("\nNot complete ("), "{list}");
    setup.failed(&["models", "remove", "--unfinished"], 2, &["needs --yes"]);
    let out = setup.ok(&["models", "remove", "--unfinished", "--yes"]);
    let expected = "removed an unfinished download of akidb/mini: ";
    assert!(out.stdout.starts_with(expected), "{}", out.stdout);
    assert!(!setup.dir.path().join("home/models/akidb").exists());
    let out = setup.ok(&["models", "remove", "--unfinished", "--yes"]);
    assert_eq!(out.stdout, "nothing to remove\n");
}

#[test]
fn a_model_whose_manifest_is_damaged_stops_no_other() {
    let setup = setup();
    setup
        .hub
        .put_directory("akidb/second", COMMIT, &builtin_model_dir());
    setup.ok(&["models", "pull", MINI]);
    setup.ok(&["models", "pull", "akidb/second"]);
    let manifest = setup
        .dir
        .path()
        .join("home/models/akidb/second/akidb-model.json");
    std::fs::write(&manifest, "{").unwrap();
    setup.ok(&["embed", "a", "-m", MINI]);
    let list = setup.ok(&["models", "list"]);
    assert!(
        list.stdout.starts_with("MODEL") && list.stdout.contains(MINI),
        "{}",
        list.stdout
    );
    assert!(
        list.stderr.contains("akidb-model.json is not valid: EOF"),
        "{}",
        list.stderr
    );
    let words = [
        "akidb-model.json is not valid",
        "caused by: EOF",
        "hint: delete ",
    ];
    setup.failed(&["embed", "a", "-m", "akidb/second"], 1, &words);
    let out = setup.run(&["models", "verify"]);
    assert!(
        out.stdout.contains("akidb/mini: the checksums of 9 files"),
        "{}",
        out.stdout
    );
    assert!(
        out.code == 1 && out.stderr.contains("is not valid"),
        "{}",
        out.stderr
    );
}

#[test]
fn the_built_in_model_is_shown_as_here() {
    let shown = json(
        &setup()
            .ok(&["models", "show", "akidb-mini", "--json"])
            .stdout,
    );
    assert_eq!(shown["installed"], true);
}

#[test]
fn the_hub_is_not_asked_for_a_name_that_no_model_has() {
    let setup = setup();
    let words = [
        "no model has the name \"nope\"",
        "hint: known names: ",
        "qwen3-embedding-0.6b",
        "owner/name",
    ];
    setup.failed(&["models", "show", "nope"], 2, &words);
    setup.failed(&["models", "pull", "nope"], 2, &words);
    assert_eq!(setup.hub.take_log(), []);
}

#[test]
fn the_built_in_model_has_no_files() {
    let setup = setup();
    let words = [
        "akidb-mini is built in",
        "akidb-embed verify akidb-mini looks at its vectors",
    ];
    setup.failed(&["models", "verify", "akidb-mini"], 2, &words);
    setup.failed(&["models", "export", "akidb-mini", "m.tar"], 2, &words);
    setup.failed(&["models", "remove", "akidb-mini", "--yes"], 2, &words);
    let out = setup.ok(&["models", "verify"]);
    assert_eq!(out.stdout, "no model is installed\n");
}

#[test]
fn a_model_goes_to_a_machine_without_a_network() {
    let mut setup = setup();
    let file = setup.dir.path().join("mini.tar");
    let file = file.to_str().unwrap();
    setup.failed(&["models", "export", MINI, file], 2, &["is not installed"]);
    setup.ok(&["models", "pull", MINI]);
    setup.ok(&["models", "export", MINI, file]);
    let other = setup.dir.path().join("other").to_str().unwrap().to_owned();
    setup.set("AKIDB_HOME", &other);
    setup.set("HF_HUB_OFFLINE", "1");
    setup.hub.take_log();
    setup.failed(
        &["models", "pull", MINI],
        1,
        &["the network is switched off", "models import"],
    );
    let out = setup.ok(&["models", "import", file]);
    assert!(out.stdout.starts_with("akidb/mini fp16 "), "{}", out.stdout);
    setup.ok(&["embed", "a", "-m", MINI]);
    setup.ok(&["models", "pull", MINI]);
    assert_eq!(setup.hub.take_log(), []);
    std::fs::write(file, "no bundle").unwrap();
    setup.failed(
        &["models", "import", file],
        1,
        &["can't be used", "caused by: "],
    );
}

#[test]
fn a_pull_that_is_killed_goes_on_from_the_last_byte() {
    let setup = setup();
    setup.hub.fail(Faults {
        bytes_per_second: Some(8_000_000),
        ..Faults::default()
    });
    let mut child = setup.command(&["models", "pull", MINI]).spawn().unwrap();
    while setup.hub.sent() < 9_000_000 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before it was killed"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    // SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
    setup.failed(&["embed", "a", "-m", MINI], 2, &["no model"]);
    setup.hub.fail(Faults::default());
    let before = setup.hub.sent();
    let out = setup.ok(&["models", "pull", MINI]);
    assert!(out.stderr.contains(", from byte "), "{}", out.stderr);
    // What was on its way when it was killed is sent twice, and no more.
    let all = before + setup.hub.sent() - before;
    assert!(all < 19_200_000 + 6_000_000, "{all}");
    assert!(setup.hub.sent() - before < 14_000_000);
    setup.ok(&["models", "verify", MINI]);
    setup.ok(&["embed", "a", "-m", MINI]);
}

#[test]
fn a_model_that_is_here_never_touches_the_network() {
    let mut setup = setup();
    setup.ok(&["models", "pull", MINI]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    std::thread::spawn(move || {
        for _ in listener.incoming() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    for name in ["HF_ENDPOINT", "ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"] {
        setup.set(name, &address);
    }
    setup.set("NO_PROXY", "");
    // The trap works.
    assert_eq!(
        setup
            .command(&["models", "show", "akidb/other"])
            .status()
            .unwrap()
            .code(),
        Some(1)
    );
    assert!(connections.swap(0, Ordering::Relaxed) > 0);
    for args in [
        &["embed", "a", "-m", MINI][..],
        &["embed", "a"],
        &["models", "list"],
        &["models", "show", MINI],
        &["models", "verify"],
    ] {
        setup.ok(args);
    }
    assert_eq!(connections.load(Ordering::Relaxed), 0);

    // Where there is no network at all.
    let mut command = Command::new("unshare");
    command.args([
        "--net",
        env!("CARGO_BIN_EXE_akidb-embed"),
        "embed",
        "a",
        "-m",
        MINI,
    ]);
    command.envs(setup.variables.iter().map(|(n, v)| (*n, v)));
    match Command::new("unshare").args(["--net", "true"]).status() {
        Ok(status) if status.success() => {
            let out = command.output().unwrap();
            assert!(
                out.status.success(),
                "{}",
                String::from_utf8_lossy(&out.stderr)
            );
        }
        _ => skip("a machine without a network (no right to unshare --net)"),
    }
}

#[test]
fn models_known_by_name_say_what_they_ask_for_and_all_run_natively() {
    let setup = setup();
    let known = json(&setup.ok(&["models", "list", "--known", "--json"]).stdout);
    let known = known.as_array().unwrap();
    assert!(known.len() >= 24, "{}", known.len());
    for entry in known {
        assert_eq!(entry["backends"][0], "native", "{entry}");
        assert!(entry["license"].is_string(), "{entry}");
    }
    let shown = setup.ok(&["models", "list", "--known"]).stdout;
    let line = |start: &str| {
        let found = shown.lines().filter(|line| line.starts_with(start));
        found
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        line("multilingual-e5-small "),
        [
            "multilingual-e5-small embed bert 118 M 384 512 mit native",
            "multilingual-e5-small \"query: \" \"passage: \"",
        ]
    );
    assert_eq!(
        line("embeddinggemma-300m ")[0],
        "embeddinggemma-300m embed gemma3_text 308 M 128, 256, 512, 768 2048 gemma native"
    );
    assert_eq!(
        line("qwen3-reranker-0.6b "),
        ["qwen3-reranker-0.6b rerank qwen3 596 M - 40960 apache-2.0 native"]
    );
    let one = setup.ok(&["models", "show", "bge-m3"]).stdout;
    assert!(
        one.contains("BAAI/bge-m3") && one.contains("xlm-roberta"),
        "{one}"
    );
}

#[test]
fn a_large_file_takes_little_memory() {
    let setup = setup();
    let files = [
        ("config.json", HubFile::small("{}")),
        ("tokenizer.json", HubFile::small("{}")),
        ("model.onnx", HubFile::generated(100_000_000)),
    ];
    setup.hub.put("akidb/large", COMMIT, files);
    setup.hub.fail(Faults {
        bytes_per_second: Some(50_000_000),
        ..Faults::default()
    });
    let mut child = setup
        .command(&["models", "pull", "akidb/large", "--no-verify"])
        .spawn()
        .unwrap();
    let path = format!("/proc/{}/status", child.id());
    let mut peak = 0_u64;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|l| l.split_whitespace().next()?.parse().ok());
        peak = number.unwrap_or(peak);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(child.wait().unwrap().success());
    if peak == 0 {
        return skip("memory of a pull (no /proc)");
    }
    assert!(peak <= 75_000, "{peak} kB");
}

#[test]
fn a_model_whose_vectors_are_noise_is_told_and_noted() {
    let setup = setup();
    setup
        .hub
        .put_directory("akidb/noise", COMMIT, &akidb_testing::fixture("tiny"));
    setup.failed_late(&["models", "pull", "akidb/noise", "--variant", "f32"]);
    let rows = json(&setup.ok(&["models", "list", "--json"]).stdout);
    assert_eq!(
        (&rows[0]["model"], &rows[0]["vectors_right"]),
        (&"akidb/noise".into(), &false.into())
    );
    let list = setup.ok(&["models", "list"]).stdout;
    assert!(list.contains("hash, vectors WRONG"), "{list}");
    setup.failed_late(&["models", "verify"]);

    // Nobody looks, nothing is noted; weights that nothing runs are told, not called wrong.
    let mut other = setup;
    let home = other.dir.path().join("other").to_str().unwrap().to_owned();
    other.set("AKIDB_HOME", &home);
    let pull = [
        "models",
        "pull",
        "akidb/noise",
        "--variant",
        "f32",
        "--no-verify",
    ];
    other.ok(&pull);
    let rows = json(&other.ok(&["models", "list", "--json"]).stdout);
    assert_eq!(rows[0]["vectors_right"], serde_json::Value::Null);
    let files = [
        ("config.json", HubFile::small("{}")),
        ("tokenizer.json", HubFile::small("{}")),
        ("model.onnx", HubFile::generated(1_000)),
    ];
    other.hub.put("akidb/odd", COMMIT, files);
    let out = other.ok(&["models", "pull", "akidb/odd"]);
    assert!(
        out.stderr.contains("could not be looked at"),
        "{}",
        out.stderr
    );
}
