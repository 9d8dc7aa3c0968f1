//! Attacks through what lies around a model file: missing parts, links, paths that lead elsewhere.

use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};

use akidb_onnx::model::OnnxModel;
use akidb_onnx::{Error, ErrorKind};
use akidb_testing::graphs::*;
use akidb_transformer::{DecoderConfig, decoder_from_safetensors, recognise};
use bytes::Bytes;
use tempfile::TempDir;

const WEIGHT: &str = "norm.weight";

/// A model file in `dir` whose `norm.weight` is external, with `entries`; gives its values.
fn write_model(dir: &Path, entries: &[(&str, &str)]) -> (PathBuf, Bytes) {
    let mut model = decoder(&small());
    let data = make_external(&mut model, WEIGHT, entries);
    let path = dir.join("model.onnx");
    fs::create_dir_all(dir).unwrap();
    fs::write(&path, encode(&model)).unwrap();
    (path, data)
}

fn open(path: &Path) -> Result<(), Error> {
    let model = OnnxModel::open(path)?;
    model.initializer(WEIGHT)?;
    recognise(&model, None).map(drop)
}

/// Opening the model with these entries fails, and the error names the tensor and the location.
fn refused(dir: &Path, location: &str, offset: &str, why: &str) {
    let (path, _) = write_model(dir, &[("location", location), ("offset", offset)]);
    let error = open(&path).unwrap_err();
    assert_eq!(error.path(), Some(&*path));
    assert!(
        matches!(error.kind(), ErrorKind::External { tensor, .. } if tensor == WEIGHT),
        "{error}"
    );
    assert!(error.to_string().contains(why), "{error}");
}

#[test]
fn missing_empty_and_directory() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("model.onnx");
    let error = OnnxModel::open(&path).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io(_)), "{error}");
    assert_eq!(error.path(), Some(&*path));
    fs::write(&path, b"").unwrap();
    let error = OnnxModel::open(&path).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::EmptyFile), "{error}");
    let error = OnnxModel::open(dir.path()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotAFile), "{error}");
}

#[cfg(unix)]
#[test]
fn a_pipe_does_not_hang() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("model.onnx");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    if !made.is_ok_and(|status| status.success()) {
        akidb_testing::skip("there is no mkfifo");
        return;
    }
    let error = OnnxModel::open(&path).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotAFile), "{error}");
}

#[test]
fn external_data_is_read_from_its_offset() {
    let dir = TempDir::new().unwrap();
    for (location, entries) in [
        ("model.onnx_data", &[("offset", "5"), ("length", "24")][..]),
        ("./weights/a", &[("offset", "0")]),
        ("b", &[]),
    ] {
        let mut all = vec![("location", location)];
        all.extend(entries);
        let (path, data) = write_model(dir.path(), &all);
        let offset = if location.starts_with("model") { 5 } else { 0 };
        let file = dir.path().join(location);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, [&vec![7; offset][..], &data, &[7; 3]].concat()).unwrap();
        open(&path).unwrap();
        let tensor = OnnxModel::open(&path).unwrap().initializer(WEIGHT).unwrap();
        assert_eq!(tensor.unwrap().data(), &data);
    }
}

#[test]
fn external_data_is_missing() {
    let dir = TempDir::new().unwrap();
    refused(dir.path(), "model.onnx_data", "0", "cannot be opened");
    fs::create_dir(dir.path().join("model.onnx_data")).unwrap();
    refused(dir.path(), "model.onnx_data", "0", "is not a regular file");
}

#[test]
fn external_data_is_too_short() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("w");
    fs::write(&file, b"").unwrap();
    refused(dir.path(), "w", "0", "is empty");
    fs::write(&file, [0; 23]).unwrap();
    refused(
        dir.path(),
        "w",
        "0",
        "24 bytes at offset 0 are past its end at 23",
    );
    fs::write(&file, [0; 24]).unwrap();
    refused(dir.path(), "w", "1", "past its end");
    refused(dir.path(), "w", "24", "past its end");
}

#[test]
fn offsets_that_overflow() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("w"), [0; 24]).unwrap();
    refused(dir.path(), "w", "18446744073709551615", "past its end");
    refused(dir.path(), "w", "18446744073709551600", "past its end");
    for bad in ["18446744073709551616", "-1", "0x0", "1.5", "", " 0"] {
        let (path, _) = write_model(dir.path(), &[("location", "w"), ("offset", bad)]);
        let error = open(&path).unwrap_err();
        assert!(
            error.to_string().contains("is no number"),
            "{bad:?}: {error}"
        );
    }
}

#[test]
fn a_length_that_is_not_the_shapes() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("w"), [0; 100]).unwrap();
    for length in ["0", "23", "25", "18446744073709551615"] {
        let (path, _) = write_model(dir.path(), &[("location", "w"), ("length", length)]);
        let error = open(&path).unwrap_err();
        assert!(
            error.to_string().contains("the shape needs 24 bytes"),
            "{error}"
        );
    }
}

#[test]
fn entries_twice_or_not_at_all() {
    let dir = TempDir::new().unwrap();
    let (path, _) = write_model(dir.path(), &[("location", "a"), ("location", "b")]);
    assert!(open(&path).unwrap_err().to_string().contains("two entries"));
    let (path, _) = write_model(dir.path(), &[]);
    assert!(
        open(&path)
            .unwrap_err()
            .to_string()
            .contains("without location")
    );
}

#[test]
fn paths_out_of_the_directory() {
    let dir = TempDir::new().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, [0; 100]).unwrap();
    let model = dir.path().join("model");
    fs::create_dir_all(model.join("sub")).unwrap();
    let not_plain = "is not a plain path";
    refused(&model, "../secret", "0", not_plain);
    refused(&model, "sub/../../secret", "0", not_plain);
    refused(&model, secret.to_str().unwrap(), "0", not_plain);
    refused(&model, "..", "0", not_plain);
    refused(&model, "", "0", not_plain);
    refused(&model, "w\0", "0", not_plain);
    refused(&model, "..\\secret", "0", not_plain);
    refused(&model, "/dev/zero", "0", not_plain);
    refused(&model, ".", "0", "is not a regular file");
}

#[cfg(unix)]
#[test]
fn links_out_of_the_directory() {
    use std::os::unix::fs::symlink;
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("secret"), [0; 100]).unwrap();
    let model = dir.path().join("model");
    fs::create_dir(&model).unwrap();
    symlink("../secret", model.join("file")).unwrap();
    symlink("..", model.join("directory")).unwrap();
    symlink("/dev/zero", model.join("device")).unwrap();
    symlink("file", model.join("twice")).unwrap();
    symlink("loop", model.join("loop")).unwrap();
    let out = "links out of the model's directory";
    refused(&model, "file", "0", out);
    refused(&model, "directory/secret", "0", out);
    refused(&model, "device", "0", out);
    refused(&model, "twice", "0", out);
    refused(&model, "loop", "0", "cannot be opened");
    // A directory that only begins alike.
    let twin = dir.path().join("model2");
    fs::create_dir(&twin).unwrap();
    fs::write(twin.join("w"), [0; 100]).unwrap();
    symlink("../model2/w", model.join("twin")).unwrap();
    refused(&model, "twin", "0", out);
    // A link that stays inside is fine.
    let (path, data) = write_model(&model, &[("location", "inside")]);
    fs::write(model.join("w"), data).unwrap();
    symlink("w", model.join("inside")).unwrap();
    open(&path).unwrap();
}

#[cfg(unix)]
#[test]
fn a_hugging_face_cache_may_link_to_its_blobs_and_nowhere_else() {
    use std::os::unix::fs::symlink;
    let dir = TempDir::new().unwrap();
    let repo = dir.path().join("models--a--b");
    let blobs = repo.join("blobs");
    let onnx = repo.join("snapshots/0123abcd/onnx");
    fs::create_dir_all(&blobs).unwrap();
    fs::create_dir_all(&onnx).unwrap();
    let (path, data) = write_model(&onnx, &[("location", "model.onnx_data")]);
    fs::rename(&path, blobs.join("aaaa")).unwrap();
    fs::write(blobs.join("bbbb"), &data).unwrap();
    symlink("../../../blobs/aaaa", &path).unwrap();
    let link = onnx.join("model.onnx_data");
    symlink("../../../blobs/bbbb", &link).unwrap();
    open(&path).unwrap();

    let others = dir.path().join("models--c--d/blobs");
    fs::create_dir_all(&others).unwrap();
    fs::write(others.join("cccc"), &data).unwrap();
    fs::write(repo.join("dddd"), &data).unwrap();
    fs::create_dir(blobs.join("sub")).unwrap();
    fs::write(blobs.join("sub/eeee"), &data).unwrap();
    for target in [
        "../../../../models--c--d/blobs/cccc",
        "../../../dddd",
        "../../../blobs/sub/eeee",
        "../../../blobs",
    ] {
        fs::remove_file(&link).unwrap();
        symlink(target, &link).unwrap();
        let error = open(&path).unwrap_err();
        assert!(error.to_string().contains("links out"), "{target}: {error}");
    }
}

fn tiny(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../akidb-testing/fixtures/tiny")
        .join(file)
}

/// Reading `bytes` as `model.safetensors` fails.
fn bad_safetensors(bytes: &[u8]) -> String {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("model.safetensors");
    fs::write(&path, bytes).unwrap();
    let config = DecoderConfig::open(&tiny("config.json")).unwrap();
    let error = decoder_from_safetensors(&path, &config).unwrap_err();
    assert_eq!(error.path(), Some(&*path));
    error.to_string()
}

fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let len = header.len() as u64;
    [&len.to_le_bytes()[..], header.as_bytes(), data].concat()
}

#[test]
fn safetensors_headers_that_lie() {
    let whole = fs::read(tiny("model.safetensors")).unwrap();
    let header_len = u64::from_le_bytes(*whole.first_chunk().unwrap()) as usize;
    for len in (0..header_len + 16).step_by(97).chain([whole.len() - 1]) {
        bad_safetensors(&whole[..len]);
    }
    bad_safetensors(&[&whole[..], &[0]].concat());
    bad_safetensors(&u64::MAX.to_le_bytes());
    bad_safetensors(&[&(5u64 << 20).to_le_bytes()[..], &vec![b' '; 5 << 20]].concat());
    bad_safetensors(&safetensors(&"[".repeat(100_000), &[]));
    // Offsets that overflow, or wrap around to the file's true length.
    let huge = u64::MAX - 7;
    let entry = |s: u64, e: u64| {
        let n = (e - s) / 4;
        format!(r#"{{"dtype":"F32","shape":[{n}],"data_offsets":[{s},{e}]}}"#)
    };
    bad_safetensors(&safetensors(&format!(r#"{{"a":{}}}"#, entry(0, huge)), &[]));
    let part = 1u64 << 61;
    let mut parts: Vec<String> = (0..7)
        .map(|i| format!(r#""{i}":{}"#, entry(i * part, (i + 1) * part)))
        .collect();
    parts.push(format!(r#""7":{}"#, entry(7 * part, huge)));
    bad_safetensors(&safetensors(&format!("{{{}}}", parts.join(",")), &[]));
    for header in [
        r#"{"norm.weight":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#,
        r#"{"norm.weight":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
        r#"{"norm.weight":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#,
        r#"{"norm.weight":{"dtype":"X9","shape":[1],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
    ] {
        bad_safetensors(&safetensors(header, &[0; 8]));
    }
}

#[test]
fn safetensors_without_a_tensor_or_with_too_many() {
    let text = bad_safetensors(&safetensors("{}", &[]));
    assert!(
        text.contains("embed_tokens.weight") && text.contains("is missing"),
        "{text}"
    );
    let config = DecoderConfig::open(&tiny("config.json")).unwrap();
    for (layers, name) in [
        (2, "layers.2.input_layernorm"),
        (4, "layers.3.input_layernorm"),
    ] {
        let config = DecoderConfig {
            num_hidden_layers: layers,
            ..config.clone()
        };
        let error = decoder_from_safetensors(&tiny(""), &config).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_config_that_the_safetensors_contradict() {
    let c = DecoderConfig::open(&tiny("config.json")).unwrap();
    for (config, name) in [
        (
            DecoderConfig {
                hidden_size: 29,
                ..c.clone()
            },
            "embed_tokens",
        ),
        (
            DecoderConfig {
                vocab_size: 301,
                ..c.clone()
            },
            "embed_tokens",
        ),
        (
            DecoderConfig {
                num_attention_heads: 4,
                ..c.clone()
            },
            "q_proj",
        ),
        (
            DecoderConfig {
                num_key_value_heads: 3,
                ..c.clone()
            },
            "k_proj",
        ),
        (
            DecoderConfig {
                head_dim: 8,
                ..c.clone()
            },
            "q_norm",
        ),
        (
            DecoderConfig {
                intermediate_size: 53,
                ..c.clone()
            },
            "gate_proj",
        ),
        (
            DecoderConfig {
                hidden_size: 0,
                ..c.clone()
            },
            "hidden_size",
        ),
        (
            DecoderConfig {
                num_key_value_heads: 4,
                ..c.clone()
            },
            "num_key_value_heads",
        ),
    ] {
        let error = decoder_from_safetensors(&tiny(""), &config).unwrap_err();
        assert!(error.to_string().contains(name), "{name}: {error}");
    }
}

#[test]
fn a_list_of_safetensors_that_leads_elsewhere() {
    let dir = TempDir::new().unwrap();
    let model = dir.path().join("model");
    fs::create_dir(&model).unwrap();
    let config = DecoderConfig::open(&tiny("config.json")).unwrap();
    let index = model.join("model.safetensors.index.json");
    let write = |file: &str| {
        let json = serde_json::json!({"weight_map": {"model.norm.weight": file}});
        fs::write(&index, json.to_string()).unwrap();
        decoder_from_safetensors(&model, &config)
    };
    fs::copy(tiny("model.safetensors"), dir.path().join("outside")).unwrap();
    fs::copy(tiny("model.safetensors"), model.join("inside")).unwrap();
    write("inside").unwrap();
    for file in ["../outside", "/etc/passwd", "missing", ""] {
        let error = write(file).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Safetensors(_)), "{error}");
    }
    fs::write(&index, b"{}").unwrap();
    decoder_from_safetensors(&model, &config).unwrap_err();
    fs::remove_file(&index).unwrap();
    decoder_from_safetensors(&model, &config).unwrap_err();
}

#[test]
fn a_list_of_safetensors_that_files_contradict() {
    let dir = TempDir::new().unwrap();
    let config = DecoderConfig::open(&tiny("config.json")).unwrap();
    let index = dir.path().join("model.safetensors.index.json");
    let one = r#"{"model.norm.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let whole = tiny("model.safetensors");
    fs::copy(&whole, dir.path().join("whole")).unwrap();
    fs::write(dir.path().join("one"), safetensors(one, &[0; 4])).unwrap();
    fs::write(dir.path().join("cut"), &fs::read(&whole).unwrap()[..4000]).unwrap();
    let error = |weight_map: &str| {
        fs::write(&index, format!(r#"{{"weight_map": {weight_map}}}"#)).unwrap();
        let error = decoder_from_safetensors(dir.path(), &config).unwrap_err();
        let cause = error.source().map(ToString::to_string);
        format!("{error}: {}", cause.unwrap_or_default())
    };
    for (weight_map, why) in [
        (
            r#"{"model.norm.weight": "whole", "model.norm.weight": "one"}"#,
            r#"tensor "model.norm.weight" is named twice"#,
        ),
        (
            r#"{"model.embed_tokens.weight": "whole", "model.norm.weight": "one"}"#,
            r#"tensor "model.norm.weight" is in both "one" and "whole""#,
        ),
        (
            r#"{"model.norm.bias": "whole"}"#,
            r#"tensor "model.norm.bias" is not in file "whole""#,
        ),
        (r#"{"model.norm.weight": "one"}"#, "is missing"),
        (r#"{"model.norm.weight": "cut"}"#, "cut"),
        (r#"{"model.norm.weight": 7}"#, "index.json"),
        (r#"["model.norm.weight"]"#, "a map of tensors to files"),
        (
            r#"{"model.norm.weight": "model.safetensors.index.json"}"#,
            "index.json",
        ),
    ] {
        let error = error(weight_map);
        assert!(error.contains(why), "{weight_map}: {error}");
    }
    // A part of other shapes than config.json says.
    let narrow =
        r#"{"model.embed_tokens.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    fs::write(dir.path().join("narrow"), safetensors(narrow, &[0; 4])).unwrap();
    let error = error(r#"{"model.embed_tokens.weight": "narrow"}"#);
    assert!(
        error.contains("embed_tokens.weight") && error.contains("[1]"),
        "{error}"
    );
}
