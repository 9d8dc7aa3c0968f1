//! Whose bytes a pack holds. They become weights unseen, so that only this user and root may have
//! been able to write them.

use std::fs::File;
use std::path::Path;

use super::cache_error::CacheError;

/// Opens the pack at `path`, if nobody else can have written it.
///
/// What is looked at is what is open: the directory that the pack lies in, then the pack in that very
/// directory, and the directory above. No link is followed: another user's link could lead to a file of ours whose contents
/// are not.
#[cfg(unix)]
pub(super) fn open(path: &Path) -> Result<File, CacheError> {
    use std::io;

    use rustix::fs::{CWD, Mode, OFlags, openat};
    use rustix::io::Errno;

    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(CacheError::Missing);
    };
    let failed = |errno: Errno| match errno {
        Errno::NOENT => CacheError::Missing,
        Errno::LOOP | Errno::NOTDIR => CacheError::NotTrusted("a link, or no directory".to_owned()),
        errno => CacheError::Io(io::Error::from(errno)),
    };
    // A pipe would be waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = openat(CWD, directory, flags | OFlags::DIRECTORY, Mode::empty());
    let opened = File::from(opened.map_err(failed)?);
    check(&opened.metadata()?, "its directory ")?;
    check_above(directory)?;
    let directory = opened;
    let file = File::from(openat(&directory, name, flags, Mode::empty()).map_err(failed)?);
    check(&file.metadata()?, "")?;
    Ok(file)
}

/// Whether packs in `directory` could be used.
#[cfg(unix)]
pub(super) fn check_directory(directory: &Path) -> Result<(), CacheError> {
    check(&std::fs::symlink_metadata(directory)?, "its directory ")?;
    check_above(directory)
}

/// What `AKIDB_CACHE_DIR` names: whoever can write it can put another directory of ours in the place
/// of this one.
#[cfg(unix)]
fn check_above(directory: &Path) -> Result<(), CacheError> {
    match directory.parent() {
        Some(above) if above != Path::new("") => check(&std::fs::metadata(above)?, "the cache "),
        _ => Ok(()),
    }
}

/// Refuses what belongs to another user than this one and root, and what others can write: everyone,
/// or the group. A group with the number of the user is the user's own (so accounts are made on most
/// systems, and so Kubernetes' `fsGroup` is set in `deploy/kubernetes.yaml`).
#[cfg(unix)]
fn check(metadata: &std::fs::Metadata, what: &str) -> Result<(), CacheError> {
    use std::os::unix::fs::MetadataExt;

    const GROUP: u32 = 0o020;
    const OTHERS: u32 = 0o002;

    let user = rustix::process::geteuid().as_raw();
    let (owner, group, mode) = (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777);
    let reason = if metadata.is_symlink() {
        format!("{what}is a link")
    } else if owner != user && owner != 0 {
        format!("{what}belongs to user {owner}, not to {user} or root")
    } else if mode & OTHERS != 0 {
        format!("{what}can be written by everyone (mode {mode:o})")
    } else if mode & GROUP != 0 && group != user {
        format!("{what}can be written by group {group} (mode {mode:o})")
    } else {
        return Ok(());
    };
    Err(CacheError::NotTrusted(reason.trim_start().to_owned()))
}

/// Owners and rights are lists here, which are not looked at: the default directory is the user's own.
#[cfg(not(unix))]
pub(super) fn open(path: &Path) -> Result<File, CacheError> {
    use std::io::ErrorKind;

    File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => CacheError::Missing,
        _ => CacheError::Io(error),
    })
}

#[cfg(not(unix))]
pub(super) fn check_directory(_: &Path) -> Result<(), CacheError> {
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
    use std::path::PathBuf;

    use super::*;
    use crate::weights::cache::tests::{Cache, decoders, pack};

    /// What an attack does to the pack and the directory that it lies in.
    type Attack<'a> = &'a dyn Fn(&Path, &Path);

    /// Why the pack isn't used after `attack`; checks that it would have been, and that what is
    /// packed instead is right.
    fn refused(attack: Attack<'_>) -> String {
        let (decoder, precision) = decoders().remove(0);
        let cache = Cache::new();
        pack(&decoder, precision, Some(&cache.get()));
        assert!(pack(&decoder, precision, Some(&cache.get())).from_cache);
        let file = cache.file();
        attack(&file, file.parent().unwrap());
        let error = cache.error(&decoder, precision);
        assert!(matches!(error, CacheError::NotTrusted(_)), "{error}");
        assert!(!pack(&decoder, precision, Some(&cache.get())).from_cache);
        error.to_string()
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_pack_that_others_can_write_is_not_used() {
        for (mode, reason) in [
            (0o666, "everyone (mode 666)"),
            (0o602, "everyone (mode 602)"),
        ] {
            let error = refused(&|file, _| set_mode(file, mode));
            assert_eq!(error, format!("can be written by {reason}"));
        }
    }

    #[test]
    fn a_directory_that_others_can_write_is_not_used() {
        for mode in [0o777, 0o1777, 0o703] {
            let error = refused(&|_, directory| set_mode(directory, mode));
            let expected = format!("its directory can be written by everyone (mode {mode:o})");
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn a_cache_that_others_can_write_is_not_used() {
        let error = refused(&|_, directory| set_mode(directory.parent().unwrap(), 0o1777));
        assert_eq!(error, "the cache can be written by everyone (mode 1777)");
    }

    #[test]
    fn links_are_not_followed() {
        let moved = |from: &Path| -> PathBuf {
            let to = from.with_extension("moved");
            fs::rename(from, &to).unwrap();
            to
        };
        refused(&|file, _| symlink(moved(file), file).unwrap());
        refused(&|_, directory| symlink(moved(directory), directory).unwrap());
    }

    #[test]
    fn a_pack_of_another_user_is_not_used() {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: a pack of another user is not used: only root can give files away");
            return;
        }
        let error = refused(&|file, _| chown(file, Some(4711), None).unwrap());
        assert_eq!(error, "belongs to user 4711, not to 0 or root");
        let error = refused(&|_, directory| chown(directory, Some(4711), None).unwrap());
        assert_eq!(
            error,
            "its directory belongs to user 4711, not to 0 or root"
        );
        let error = refused(&|file, _| {
            chown(file, None, Some(4711)).unwrap();
            set_mode(file, 0o660);
        });
        assert_eq!(error, "can be written by group 4711 (mode 660)");
    }

    #[test]
    fn the_group_of_ones_own_number_may_write() {
        let (decoder, precision) = decoders().remove(0);
        let cache = Cache::new();
        pack(&decoder, precision, Some(&cache.get()));
        let file = cache.file();
        let user = rustix::process::geteuid().as_raw();
        if chown(&file, None, Some(user)).is_err() {
            println!("SKIPPED: the group of one's own number may write: this user has none");
            return;
        }
        // As Kubernetes leaves the files of a volume with an `fsGroup`.
        set_mode(&file, 0o660);
        assert!(pack(&decoder, precision, Some(&cache.get())).from_cache);
    }

    #[test]
    fn what_is_made_is_for_this_user_alone() {
        let cache = Cache::new();
        let (decoder, precision) = decoders().remove(0);
        pack(&decoder, precision, Some(&cache.get()));
        let file = cache.file();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn nothing_is_written_where_others_can_write() {
        let cache = Cache::new();
        let directory = cache.dir.path().join("packed");
        fs::create_dir(&directory).unwrap();
        set_mode(&directory, 0o777);
        let (decoder, precision) = decoders().remove(0);
        pack(&decoder, precision, Some(&cache.get()));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }
}
