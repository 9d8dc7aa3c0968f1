//! What is in a Parquet file, by its footer.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use arrow_schema::SchemaRef;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use twox_hash::XxHash3_128;

use super::error::{CorpusError, unread, unread_parquet};
use super::input_file::InputFile;
use super::scan::Cut;

/// Length of the footer, and `PAR1`.
const TAIL_BYTES: u64 = 8;

/// What was found out.
pub(super) struct ParquetFile {
    /// A hash of the footer, which says where everything is.
    pub(super) content: String,
    pub(super) rows: u64,
    pub(super) cuts: Vec<Cut>,
    pub(super) schema: SchemaRef,
}

pub(super) fn inspect(
    file: InputFile,
    path: &Path,
    unit_rows: u64,
) -> Result<ParquetFile, CorpusError> {
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())
        .map_err(unread_parquet(path))?;
    let groups = metadata.metadata().row_groups().iter();
    let groups: Vec<u64> = groups
        .map(|group| u64::try_from(group.num_rows()).unwrap_or_default())
        .collect();
    Ok(ParquetFile {
        content: footer_hash(file).map_err(unread(path))?,
        rows: groups.iter().sum(),
        cuts: cuts(&groups, unit_rows),
        schema: metadata.schema().clone(),
    })
}

/// Units begin with row groups, as many together as fit; larger row groups are cut.
fn cuts(groups: &[u64], unit_rows: u64) -> Vec<Cut> {
    let mut cuts = Vec::new();
    let (mut row, mut in_unit) = (0, 0);
    for &rows in groups.iter().filter(|rows| **rows > 0) {
        let (end, mut at) = (row + rows, row);
        if in_unit > 0 && in_unit + rows <= unit_rows {
            in_unit += rows;
        } else {
            while at < end {
                cuts.push(Cut {
                    row: at,
                    byte: 0,
                    line: 0,
                });
                in_unit = unit_rows.min(end - at);
                at += in_unit;
            }
        }
        row = end;
    }
    cuts
}

fn footer_hash(mut file: InputFile) -> std::io::Result<String> {
    let size = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES)))?;
    let mut length = [0; 4];
    file.read_exact(&mut length)?;
    let footer = u64::from(u32::from_le_bytes(length)) + TAIL_BYTES;
    file.seek(SeekFrom::Start(size.saturating_sub(footer)))?;
    let mut hasher = XxHash3_128::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(format!("{:032x}", hasher.finish_128())),
            read => hasher.write(buffer.get(..read).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_row_groups_or_parts_of_one() {
        let rows =
            |groups: &[u64]| -> Vec<u64> { cuts(groups, 10).iter().map(|cut| cut.row).collect() };
        assert_eq!(rows(&[]), [0_u64; 0]);
        assert_eq!(rows(&[0, 0]), [0_u64; 0]);
        assert_eq!(rows(&[4, 0, 4, 4]), [0, 8]);
        assert_eq!(rows(&[10, 10]), [0, 10]);
        assert_eq!(rows(&[25, 3, 7]), [0, 10, 20, 28]);
        assert_eq!(rows(&[5, 25]), [0, 5, 15, 25]);
    }
}
