//! What a file is, by its name, and the bytes in it.

use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};

/// Bytes read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Largest window of a zstd frame that is read, as its logarithm: 128 MiB, what the `zstd` program takes.
const ZSTD_WINDOW_LOG: u32 = 27;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// Columns.
    Parquet,
    /// One object a line.
    Jsonl,
    /// A header, then one record a line.
    Csv,
    /// One text a line.
    Lines,
}

/// How its bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    /// As they are.
    None,
    /// gzip, of one member or several.
    Gzip,
    /// zstd, of one frame or several.
    Zstd,
}

/// Endings that are read, for messages.
pub(super) const ENDINGS: &str = ".parquet, .jsonl, .ndjson, .csv, .tsv and .txt, all but the first also with .gz or .zst after it";

impl FileKind {
    /// What the file's name says of it, and the delimiter of CSV.
    pub(super) fn of(path: &Path) -> Option<(Self, Packing)> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let (stem, packing) = match name.rsplit_once('.')? {
            (stem, "gz") => (stem, Packing::Gzip),
            (stem, "zst") => (stem, Packing::Zstd),
            _ => (name.as_str(), Packing::None),
        };
        let kind = match stem.rsplit_once('.')?.1 {
            // It packs its columns itself.
            "parquet" | "pq" if packing == Packing::None => Self::Parquet,
            "jsonl" | "ndjson" => Self::Jsonl,
            "csv" | "tsv" => Self::Csv,
            "txt" => Self::Lines,
            _ => return None,
        };
        Some((kind, packing))
    }
}

/// What separates the fields of a CSV file.
pub(super) fn delimiter(path: &Path) -> u8 {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match name.to_ascii_lowercase().contains(".tsv") {
        true => b'\t',
        false => b',',
    }
}

/// The bytes of a file, unpacked.
pub(super) fn unpacked<R: Read + Send + 'static>(
    file: R,
    packing: Packing,
) -> io::Result<BufReader<Box<dyn Read + Send>>> {
    let reader: Box<dyn Read + Send> = match packing {
        Packing::None => Box::new(file),
        Packing::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(
            BUFFER_BYTES,
            file,
        ))),
        Packing::Zstd => {
            let mut decoder = zstd::Decoder::new(file)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
    };
    Ok(BufReader::with_capacity(BUFFER_BYTES, reader))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_files_are() {
        let kind = |name: &str| FileKind::of(Path::new(name));
        for (name, expected) in [
            ("a.parquet", (FileKind::Parquet, Packing::None)),
            ("a.b.JSONL", (FileKind::Jsonl, Packing::None)),
            ("a.ndjson.gz", (FileKind::Jsonl, Packing::Gzip)),
            ("a.csv.zst", (FileKind::Csv, Packing::Zstd)),
            ("a.tsv", (FileKind::Csv, Packing::None)),
            ("d.parquet/a.txt", (FileKind::Lines, Packing::None)),
        ] {
            assert_eq!(kind(name), Some(expected), "{name}");
        }
        for name in ["a", "txt", ".gz", "a.gz", "a.parquet.gz", "a.json", "a.md"] {
            assert_eq!(kind(name), None, "{name}");
        }
        assert_eq!(delimiter(Path::new("a.tsv.gz")), b'\t');
        assert_eq!(delimiter(Path::new("a.tsv/b.csv")), b',');
    }
}
