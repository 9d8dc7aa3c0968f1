//! Which processors a library file was built for, by its header: the system's loader says of a
//! library for others only that it can't be opened, or that it isn't there.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use akidb_onnx::open_regular_file;

/// The processors, by [`std::env::consts::ARCH`]'s names; `None` where the header doesn't tell.
pub(crate) fn built_for(path: &Path) -> Option<&'static str> {
    let mut file = open_regular_file(path).ok()?;
    let mut header = [0; 64];
    file.read_exact(&mut header).ok()?;
    match header {
        // ELF, little-endian.
        [0x7f, b'E', b'L', b'F', _, 1, ..] => match u16_at(&header, 18)? {
            0x03 => Some("x86"),
            0x28 => Some("arm"),
            0x3e => Some("x86_64"),
            0xb7 => Some("aarch64"),
            0xf3 => Some("riscv64"),
            _ => None,
        },
        // Mach-O, 64 bits, for one processor.
        [0xcf, 0xfa, 0xed, 0xfe, 0x07, 0, 0, 1, ..] => Some("x86_64"),
        [0xcf, 0xfa, 0xed, 0xfe, 0x0c, 0, 0, 1, ..] => Some("aarch64"),
        // PE; where its header is stands at 60.
        [b'M', b'Z', ..] => {
            let start = u32::from(u16_at(&header, 60)?) | u32::from(u16_at(&header, 62)?) << 16;
            file.seek(SeekFrom::Start(start.into())).ok()?;
            let mut pe = [0; 6];
            file.read_exact(&mut pe).ok()?;
            match pe {
                [b'P', b'E', 0, 0, 0x64, 0x86] => Some("x86_64"),
                [b'P', b'E', 0, 0, 0x64, 0xaa] => Some("aarch64"),
                [b'P', b'E', 0, 0, 0x4c, 0x01] => Some("x86"),
                _ => None,
            }
        }
        _ => None,
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*two))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(parts: &[(usize, &[u8])]) -> Option<&'static str> {
        let mut bytes = vec![0; 128];
        for (at, part) in parts {
            bytes[*at..*at + part.len()].copy_from_slice(part);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        built_for(file.path())
    }

    #[test]
    fn this_program_is_built_for_this_machine() {
        let program = std::env::current_exe().unwrap();
        assert_eq!(built_for(&program), Some(std::env::consts::ARCH));
    }

    #[test]
    fn headers_of_each_format() {
        let elf = |machine: u8| header(&[(0, b"\x7fELF\x02\x01"), (18, &[machine, 0])]);
        assert_eq!((elf(0x3e), elf(0xb7)), (Some("x86_64"), Some("aarch64")));
        assert_eq!(elf(0xff), None);
        assert_eq!(
            header(&[(0, b"\xcf\xfa\xed\xfe\x0c\0\0\x01")]),
            Some("aarch64")
        );
        let pe =
            |machine: &[u8]| header(&[(0, b"MZ"), (60, &[80]), (80, b"PE\0\0"), (84, machine)]);
        assert_eq!(pe(b"\x64\x86"), Some("x86_64"));
        assert_eq!(pe(b"\0\0"), None);
        assert_eq!(header(&[(0, b"MZ"), (60, &[0xff; 4])]), None);
        assert_eq!(header(&[(0, b"text")]), None);
    }
}
