use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use akidb_kernels::WeightFormat;
use akidb_onnx::model::OnnxModel;
use akidb_testing::fixture;
use akidb_transformer::{DecoderConfig, Transformer, decoder_from_safetensors, recognise};
use tempfile::TempDir;

use super::cache_error::CacheError;
use super::*;
use crate::weights::Weights;

/// A decoder in each form that weights have.
pub(super) fn decoders() -> Vec<(Transformer, Precision)> {
    let onnx = |dir: &str, name: &str| {
        let config = DecoderConfig::open(&fixture(dir).join("config.json")).unwrap();
        let model = OnnxModel::open(&fixture(dir).join("onnx").join(name)).unwrap();
        recognise(&model, Some(&config)).unwrap()
    };
    let quantized = |name: &str| onnx("tiny-quantized", name);
    let config = DecoderConfig::open(&fixture("tiny/config.json")).unwrap();
    let floats = decoder_from_safetensors(&fixture("tiny/model.safetensors"), &config).unwrap();
    vec![
        (quantized("model_int8.onnx"), Precision::Auto),
        (quantized("model_q4.onnx"), Precision::Auto),
        (quantized("model_bnb4.onnx"), Precision::Auto),
        (floats.clone(), Precision::F32),
        (floats.clone(), Precision::Bf16),
        (floats.clone(), Precision::Int8),
        (floats, Precision::Int4),
    ]
}

fn pool() -> Pool {
    Pool::new(NonZeroUsize::new(2).unwrap()).unwrap()
}

/// Packed weights, from the cache or to it.
pub(super) fn pack(
    decoder: &Transformer,
    precision: Precision,
    cache: Option<&PackedCache>,
) -> Weights {
    pack_for(Isa::detect(), decoder, precision, cache)
}

fn pack_for(
    isa: Isa,
    decoder: &Transformer,
    precision: Precision,
    cache: Option<&PackedCache>,
) -> Weights {
    let dims = Dims::new(decoder).unwrap();
    Weights::pack(decoder, &dims, precision, isa, &pool(), cache).unwrap()
}

fn bytes(weights: &Weights) -> Vec<(WeightFormat, Vec<&[u8]>)> {
    let products = weights.layers.iter().flat_map(|layer| layer.products());
    products
        .map(|weight| (weight.format(), weight.parts()))
        .collect()
}

/// A cache of a source file that is in the same directory.
pub(super) struct Cache {
    pub(super) dir: TempDir,
}

impl Cache {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("source"), "source").unwrap();
        Self { dir }
    }

    pub(super) fn get(&self) -> PackedCache {
        let source = SourceFile::new(&self.dir.path().join("source")).unwrap();
        PackedCache::new(self.dir.path().join("packed"), vec![source]).min_bytes(0)
    }

    fn files(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.dir.path().join("packed")) else {
            return Vec::new();
        };
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// The pack itself.
    pub(super) fn file(&self) -> PathBuf {
        let [file] = self.files().try_into().unwrap();
        file
    }

    /// Why the pack in it can't be read.
    pub(super) fn error(&self, decoder: &Transformer, precision: Precision) -> CacheError {
        let dims = Dims::new(decoder).unwrap();
        let pack = self
            .get()
            .pack(&dims, decoder.blocks.len(), precision, Isa::detect());
        pack.try_read(&pool()).unwrap_err()
    }
}

#[test]
fn what_is_written_is_read_again() {
    for (decoder, precision) in decoders() {
        let cache = Cache::new();
        let packed = pack(&decoder, precision, None);
        assert!(!packed.from_cache);
        let first = pack(&decoder, precision, Some(&cache.get()));
        assert!(!first.from_cache);
        let modified = cache.file().metadata().unwrap().modified().unwrap();
        let second = pack(&decoder, precision, Some(&cache.get()));
        assert!(second.from_cache);
        assert_eq!(bytes(&first), bytes(&packed));
        assert_eq!(bytes(&second), bytes(&packed));
        assert_eq!(second.precision(), packed.precision());
        assert_eq!(
            cache.file().metadata().unwrap().modified().unwrap(),
            modified
        );
    }
}

/// When this fails, add one to [`LAYOUT_VERSION`]: packs of before must not be read any more.
#[test]
fn packs_of_this_version_have_these_bytes() {
    assert_eq!(LAYOUT_VERSION, 2);
    let decoders = decoders();
    let hashes = decoders.iter().map(|(decoder, precision)| {
        let weights = pack_for("portable".parse().unwrap(), decoder, *precision, None);
        let bytes = bytes(&weights);
        let parts: Vec<&[u8]> = bytes.into_iter().flat_map(|(_, parts)| parts).collect();
        format!("{:x}", XxHash3_128::oneshot(&parts.concat()))
    });
    let hashes: Vec<String> = hashes.collect();
    assert_eq!(
        hashes,
        [
            "2b2dd9a8385c25711779532a1becd3a9",
            "47f48cf99deaaeda01d32bda123f00cf",
            "989ed833bc44792af0ceb14a390fa05c",
            "1e19c3d027bae293829914a044eb8576",
            "75614f5a9d2d72b89cdc8eca8bd370c9",
            "6aa677532f2432923511096e49a32537",
            "d8b939654ddbf50360fe8b7977368a24"
        ]
    );
}

#[test]
fn each_precision_has_its_own_pack() {
    let (decoder, _) = decoders().remove(3);
    let cache = Cache::new();
    for count in 1..=2 {
        for precision in [Precision::F32, Precision::Int8] {
            let weights = pack(&decoder, precision, Some(&cache.get()));
            assert_eq!(weights.from_cache, count == 2);
            assert_eq!(bytes(&weights), bytes(&pack(&decoder, precision, None)));
        }
    }
    assert_eq!(cache.files().len(), 2);
}

/// Spoils the pack, and checks that it is seen, and made again.
fn check_rebuilt(spoil: impl Fn(&Cache), expected: impl Fn(&CacheError) -> bool) {
    let (decoder, precision) = decoders().remove(0);
    let cache = Cache::new();
    pack(&decoder, precision, Some(&cache.get()));
    spoil(&cache);
    let error = cache.error(&decoder, precision);
    assert!(expected(&error), "{error}");
    let again = pack(&decoder, precision, Some(&cache.get()));
    assert!(!again.from_cache);
    assert_eq!(bytes(&again), bytes(&pack(&decoder, precision, None)));
    assert!(pack(&decoder, precision, Some(&cache.get())).from_cache);
}

/// Changes the pack's bytes.
fn edit(cache: &Cache, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(cache.file()).unwrap();
    change(&mut bytes);
    fs::write(cache.file(), bytes).unwrap();
}

#[test]
fn a_damaged_pack_is_made_again() {
    let flip = |at: usize| move |cache: &Cache| edit(cache, |bytes| bytes[at] ^= 4);
    check_rebuilt(flip(0), |error| matches!(error, CacheError::Format));
    check_rebuilt(flip(7), |error| matches!(error, CacheError::Format));
    let damaged = |error: &CacheError| matches!(error, CacheError::Damaged("header"));
    for at in [8, 15, 16, 31, 32, 100] {
        check_rebuilt(flip(at), damaged);
    }
}

#[test]
fn a_flipped_bit_in_any_part_is_seen() {
    let (decoder, precision) = decoders().remove(0);
    let cache = Cache::new();
    let weights = pack(&decoder, precision, Some(&cache.get()));
    let file = fs::read(cache.file()).unwrap();
    let mut end = file.len();
    for (_, parts) in bytes(&weights).iter().rev() {
        for part in parts.iter().rev() {
            let start = (end - part.len()) / 4096 * 4096;
            assert_eq!(&file[start..start + part.len()], *part);
            for at in [start, start + part.len() / 2, start + part.len() - 1] {
                edit(&cache, |bytes| bytes[at] ^= 0x80);
                let error = cache.error(&decoder, precision);
                assert!(matches!(error, CacheError::Damaged("data")), "{error}");
                fs::write(cache.file(), &file).unwrap();
            }
            end = start;
        }
    }
    assert!(pack(&decoder, precision, Some(&cache.get())).from_cache);
}

#[test]
fn a_pack_that_is_cut_off_is_made_again() {
    let truncate = |len: fn(usize) -> usize| {
        move |cache: &Cache| edit(cache, |bytes| bytes.truncate(len(bytes.len())))
    };
    let cut_off = |error: &CacheError| matches!(error, CacheError::CutOff);
    check_rebuilt(truncate(|len| len - 1), cut_off);
    check_rebuilt(truncate(|len| len / 2), cut_off);
    check_rebuilt(truncate(|_| 100), cut_off);
    check_rebuilt(truncate(|_| 31), cut_off);
    check_rebuilt(truncate(|_| 0), |error| matches!(error, CacheError::Map(_)));
}

#[test]
fn a_pack_of_other_contents_is_made_again() {
    let identity = |error: &CacheError| matches!(error, CacheError::Identity);
    let touch = |cache: &Cache| {
        let file = File::options()
            .append(true)
            .open(cache.dir.path().join("source"));
        let time = SystemTime::now() + Duration::from_secs(5);
        file.unwrap().set_modified(time).unwrap();
    };
    check_rebuilt(touch, identity);
    let lengthen = |cache: &Cache| fs::write(cache.dir.path().join("source"), "other").unwrap();
    check_rebuilt(lengthen, identity);
    // A header that was written by another version, all hashes right.
    let version = |cache: &Cache| {
        edit(cache, |bytes| {
            let len = u64::from_le_bytes(bytes[8..16].try_into().unwrap()) as usize;
            let header = String::from_utf8(bytes[32..32 + len].to_vec()).unwrap();
            let layout = format!("layout {LAYOUT_VERSION},");
            let other = header.replace(&layout, "layout 0,");
            assert_ne!(header, other);
            bytes[32..32 + len].copy_from_slice(other.as_bytes());
            let hash = XxHash3_128::oneshot(&bytes[32..32 + len]);
            bytes[16..32].copy_from_slice(&hash.to_le_bytes());
        });
    };
    check_rebuilt(version, identity);
}

#[test]
fn a_header_that_lies_is_refused() {
    for (from, to, expected) in [
        ("\"len\":", "\"len\":9", "it is cut off"),
        ("\"offset\":0,", "\"offset\":64,", "its data is damaged"),
        ("\"offset\":0,", "\"offset\":3,", "not aligned"),
        (
            "\"offset\":0,",
            "\"offset\":18446744073709551615,",
            "it is cut off",
        ),
        ("\"offset\":0,", "\"offset\":-1,", "it has another format"),
        ("\"Int8\"", "\"F32\"", "parts has length 2, expected 1"),
        ("\"Int8\"", "\"Int9\"", "it has another format"),
        ("\"kind\"", "\"king\"", "it has another format"),
    ] {
        let (decoder, precision) = decoders().remove(0);
        let cache = Cache::new();
        pack(&decoder, precision, Some(&cache.get()));
        edit(&cache, |bytes| {
            let len = u64::from_le_bytes(bytes[8..16].try_into().unwrap()) as usize;
            let header = String::from_utf8(bytes[32..32 + len].to_vec()).unwrap();
            assert!(header.contains(from), "{header}");
            let header = header.replacen(from, to, 1);
            let start = (32 + len).next_multiple_of(4096);
            let mut file = bytes[..8].to_vec();
            file.extend((header.len() as u64).to_le_bytes());
            file.extend(XxHash3_128::oneshot(header.as_bytes()).to_le_bytes());
            file.extend(header.as_bytes());
            file.resize(file.len().next_multiple_of(4096), 0);
            file.extend(&bytes[start..]);
            *bytes = file;
        });
        let error = cache.error(&decoder, precision).to_string();
        assert!(error.contains(expected), "{to}: {error}");
    }
}

#[test]
fn what_auto_comes_to_has_the_same_pack() {
    let (decoder, _) = decoders().swap_remove(3);
    let cache = Cache::new();
    pack(&decoder, Precision::Auto, Some(&cache.get()));
    assert!(pack(&decoder, Precision::F32, Some(&cache.get())).from_cache);
    assert_eq!(cache.files().len(), 1);
}

#[test]
fn small_packs_are_not_kept() {
    let (decoder, precision) = decoders().remove(0);
    let cache = Cache::new();
    pack(&decoder, precision, Some(&cache.get().min_bytes(MIN_BYTES)));
    assert!(cache.files().is_empty());
}

#[test]
fn a_directory_that_cannot_be_written_costs_time_only() {
    let (decoder, precision) = decoders().remove(0);
    let cache = Cache::new();
    // A file where the directory should be: refused even to a superuser.
    fs::write(cache.dir.path().join("packed"), "").unwrap();
    let weights = pack(&decoder, precision, Some(&cache.get()));
    assert!(!weights.from_cache);
    assert_eq!(bytes(&weights), bytes(&pack(&decoder, precision, None)));
    fs::remove_file(cache.dir.path().join("packed")).unwrap();
    // A directory where the pack should be: the temporary file doesn't stay.
    pack(&decoder, precision, Some(&cache.get()));
    let pack_file = cache.file();
    fs::remove_file(&pack_file).unwrap();
    fs::create_dir(&pack_file).unwrap();
    assert!(!pack(&decoder, precision, Some(&cache.get())).from_cache);
    assert_eq!(cache.files(), [pack_file]);
}

#[test]
fn several_may_write_and_read_at_once() {
    let (decoder, precision) = decoders().remove(0);
    let cache = Cache::new();
    let expected = pack(&decoder, precision, None);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let weights = pack(&decoder, precision, Some(&cache.get()));
                    assert_eq!(bytes(&weights), bytes(&expected));
                    if weights.from_cache {
                        fs::remove_file(cache.get().pack_path(&decoder, precision)).ok();
                    }
                    assert_eq!(bytes(&weights), bytes(&expected));
                }
            });
        }
    });
    assert!(cache.files().len() <= 1);
}

impl PackedCache {
    fn pack_path(&self, decoder: &Transformer, precision: Precision) -> PathBuf {
        let dims = Dims::new(decoder).unwrap();
        self.pack(&dims, decoder.blocks.len(), precision, Isa::detect())
            .path
    }
}

#[test]
fn what_crashed_processes_left_is_removed() {
    let (decoder, precision) = decoders().remove(0);
    let cache = Cache::new();
    let packed = cache.dir.path().join("packed");
    fs::create_dir(&packed).unwrap();
    let days = |n: u64| SystemTime::now() - Duration::from_hours(24 * n) - Duration::from_hours(1);
    for (name, age) in [
        ("a.tmp-1-x.akidbpack", days(1)),
        ("b.tmp-1-x.akidbpack", days(0)),
        ("c.akidbpack", days(9)),
        ("d.tmp-1-x", days(9)),
    ] {
        let file = File::create(packed.join(name)).unwrap();
        file.set_modified(age).unwrap();
    }
    pack(&decoder, precision, Some(&cache.get()));
    let mut files = cache.files();
    files.retain(|file| *file != cache.get().pack_path(&decoder, precision));
    files.sort();
    let names = ["b.tmp-1-x.akidbpack", "c.akidbpack", "d.tmp-1-x"];
    assert_eq!(files, names.map(|name| packed.join(name)));
}

#[test]
fn packs_of_files_that_are_gone_are_removed() {
    let cache = Cache::new();
    let other = Cache::new();
    let source = other.dir.path().join("source");
    let of_other = PackedCache::new(
        cache.dir.path().join("packed"),
        vec![SourceFile::new(&source).unwrap()],
    );
    let (decoder, _) = decoders().remove(3);
    pack(&decoder, Precision::F32, Some(&of_other.min_bytes(0)));
    let of_gone = cache.file();
    pack(&decoder, Precision::F32, Some(&cache.get()));
    assert_eq!(cache.files().len(), 2, "the source is there");
    fs::remove_file(source).unwrap();
    pack(&decoder, Precision::Int8, Some(&cache.get()));
    assert_eq!(cache.files().len(), 2);
    assert!(!of_gone.exists());
}

#[test]
fn packs_are_found_by_the_files_that_they_are_made_of() {
    let cache = Cache::new();
    let (decoder, precision) = decoders().swap_remove(0);
    pack(&decoder, precision, Some(&cache.get()));
    let directory = cache.dir.path().join("packed");
    let source = cache.dir.path().join("source").canonicalize().unwrap();
    fs::write(directory.join("notes.txt"), "no pack").unwrap();
    fs::write(directory.join("x.akidbpack"), "no pack either").unwrap();
    let found = packs_made_of(&directory, std::slice::from_ref(&source));
    let [(path, bytes)] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(*bytes, fs::metadata(path).unwrap().len());
    // A file that is gone, and others.
    fs::remove_file(&source).unwrap();
    assert_eq!(
        packs_made_of(&directory, std::slice::from_ref(&source)),
        found
    );
    let other = source.with_file_name("sourc");
    assert!(packs_made_of(&directory, &[other]).is_empty());
    assert!(packs_made_of(&cache.dir.path().join("none"), &[source]).is_empty());
}
