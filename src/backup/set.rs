//! Sets on disk: their names, how one is written so that half a set never looks whole, and which ones go.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};

use super::manifest::{FileEntry, MANIFEST, Manifest};
use crate::ops::nix::SriHash;

/// What the name of a set is made of: the moment it was begun, in UTC.
const NAME: &str = "%Y%m%dT%H%M%SZ";

/// What the name of a folder begins with that is no set yet, or no more.
const PARTIAL: &str = ".partial-";

/// Speed over size: half the time of the levels above, for a tenth more bytes.
const COMPRESSION_LEVEL: i32 = 3;

/// A set that says of itself that it is whole.
#[derive(Clone, Debug)]
pub struct Set {
    pub path: PathBuf,
    pub manifest: Manifest,
}

impl Set {
    /// Opens a set and reads its manifest, nothing else.
    ///
    /// # Errors
    /// When there is none, or a newer release wrote it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let read = || {
            let text =
                fs::read_to_string(path.join(MANIFEST)).context("it has no manifest that can be read")?;
            Manifest::parse(&text)
        };
        Ok(Self {
            manifest: read().with_context(|| format!("{} is not a set that can be used", path.display()))?,
            path: path.to_owned(),
        })
    }

    /// The name of its folder.
    pub fn name(&self) -> String {
        self.path
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// Reads a file that is kept as it is.
    pub(super) fn read_text(&self, name: &str) -> anyhow::Result<String> {
        fs::read_to_string(self.path.join(name)).with_context(|| format!("{name} cannot be read"))
    }

    /// Opens a compressed file; what is read is unpacked.
    pub(super) fn unpack(&self, name: &str) -> anyhow::Result<impl Read + Send + use<>> {
        let file = File::open(self.path.join(name)).with_context(|| format!("{name} cannot be read"))?;
        Ok(zstd::stream::read::Decoder::new(file)?)
    }
}

/// Returns the sets of a folder, oldest first, each with what is wrong with it if something is.
///
/// # Errors
/// When the folder cannot be read. One that is not there has no sets.
pub fn list(directory: &Path) -> anyhow::Result<Vec<(PathBuf, anyhow::Result<Set>)>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("{} cannot be read", directory.display()))?,
    };
    let mut sets = Vec::new();
    for entry in entries {
        let entry = entry?;
        if began_at(&entry.file_name().to_string_lossy()).is_some() && entry.file_type()?.is_dir() {
            sets.push(entry.path());
        }
    }
    sets.sort();
    Ok(sets
        .into_iter()
        .map(|path| {
            let set = Set::open(&path);
            (path, set)
        })
        .collect())
}

/// Returns the set that is named: a path, a name within `directory`, or the newest one for `None`.
///
/// # Errors
/// When there is none, or it cannot be used.
pub fn find(directory: &Path, name: Option<&str>) -> anyhow::Result<Set> {
    let Some(name) = name else {
        let newest = list(directory)?.pop();
        let (_, set) = newest.with_context(|| format!("there is no backup in {}", directory.display()))?;
        return set;
    };
    let within = directory.join(name);
    if !name.contains('/') && within.is_dir() {
        return Set::open(&within);
    }
    if !Path::new(name).is_dir() {
        bail!(
            "there is no set {name}, neither as a path nor in {}",
            directory.display()
        );
    }
    Set::open(Path::new(name))
}

/// Reads from its name when a set was begun.
pub(super) fn began_at(name: &str) -> Option<DateTime<Utc>> {
    let time = NaiveDateTime::parse_from_str(name, NAME).ok()?.and_utc();
    (name_of(time) == name).then_some(time)
}

fn name_of(time: DateTime<Utc>) -> String {
    time.format(NAME).to_string()
}

/// A set that is being written; gone when dropped before [`Draft::publish`].
pub(super) struct Draft {
    directory: PathBuf,
    folder: PathBuf,
    name: String,
    is_published: bool,
    // Freed when the draft goes.
    _lock: File,
}

impl Draft {
    /// Begins a set in `directory`, which is made if need be, and removes what earlier runs left half done.
    pub fn begin(directory: &Path, now: DateTime<Utc>) -> anyhow::Result<Self> {
        let shown = directory.display();
        make_folder(directory).with_context(|| format!("{shown} cannot be made"))?;
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(directory.join(".lock"))
            .with_context(|| format!("{shown} cannot be written to"))?;
        if lock.try_lock().is_err() {
            bail!("another backup is being written to {shown}");
        }
        remove_leftovers(directory).with_context(|| format!("{shown} cannot be cleared of old leftovers"))?;
        let mut began = now;
        while directory.join(name_of(began)).exists() {
            began += TimeDelta::seconds(1);
        }
        let name = name_of(began);
        let folder = directory.join(format!("{PARTIAL}{name}"));
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("{} cannot be made", folder.display()))?;
        Ok(Self {
            directory: directory.to_owned(),
            folder,
            name,
            is_published: false,
            _lock: lock,
        })
    }

    /// Where it is written.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Begins a file that is kept as it is.
    pub fn plain(&self, path: &str) -> anyhow::Result<Hashed> {
        let full = self.folder.join(path);
        let parent = full.parent().unwrap_or(&self.folder);
        let made = make_folder(parent).and_then(|()| {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&full)
        });
        Ok(Hashed {
            path: path.to_owned(),
            file: made.with_context(|| format!("{} cannot be written", full.display()))?,
            full,
            digest: Sha256::new(),
            bytes: 0,
        })
    }

    /// Begins a compressed file.
    pub fn packed(&self, path: &str) -> anyhow::Result<Packed> {
        let mut packed = zstd::stream::write::Encoder::new(self.plain(path)?, COMPRESSION_LEVEL)?;
        packed.include_checksum(true)?;
        Ok(packed)
    }

    /// Writes a small file at once.
    pub fn write(&self, path: &str, text: &str) -> anyhow::Result<FileEntry> {
        let mut file = self.plain(path)?;
        file.write_all(text.as_bytes())?;
        file.finish()
    }

    /// Makes sure that the set's folders are on disk: its files were flushed one by one.
    pub fn flush(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                File::open(entry.path())?.sync_all()?;
            }
        }
        File::open(&self.folder)?.sync_all()
    }

    /// Gives the set its name.
    pub fn publish(mut self) -> anyhow::Result<PathBuf> {
        let path = self.directory.join(&self.name);
        fs::rename(&self.folder, &path).with_context(|| format!("{} cannot be named", path.display()))?;
        self.is_published = true;
        File::open(&self.directory)?.sync_all()?;
        Ok(path)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_published {
            // What cannot be removed now is removed by the next run.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// A compressed file of a set that is being written.
pub(super) type Packed = zstd::stream::write::Encoder<'static, Hashed>;

/// Ends a compressed file.
pub(super) fn finish(packed: Packed) -> anyhow::Result<FileEntry> {
    packed.finish()?.finish()
}

/// A file of a set that is being written, hashed on its way to the disk.
pub(super) struct Hashed {
    path: String,
    /// Says in errors on which disk it is.
    full: PathBuf,
    file: File,
    digest: Sha256,
    bytes: u64,
}

impl Hashed {
    /// Flushes it to the disk.
    pub fn finish(self) -> anyhow::Result<FileEntry> {
        self.file
            .sync_all()
            .with_context(|| format!("{} cannot be flushed to disk", self.path))?;
        Ok(FileEntry {
            path: self.path,
            bytes: self.bytes,
            hash: SriHash::of_sha256(self.digest.finalize().into()),
            rows: None,
            table: None,
        })
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let named = |error: io::Error| {
            let text = format!("{} cannot be written: {error}", self.full.display());
            io::Error::new(error.kind(), text)
        };
        let written = self.file.write(bytes).map_err(named)?;
        self.digest.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(path)
}

fn remove_leftovers(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Removes sets that were begun before `now` less so many days, but never `newest`. Returns the names of those gone.
pub(super) fn prune(
    directory: &Path,
    newest: &Path,
    retention_days: u32,
    now: DateTime<Utc>,
) -> anyhow::Result<Vec<String>> {
    let mut gone = Vec::new();
    if retention_days == 0 {
        return Ok(gone);
    }
    let before = now - TimeDelta::days(i64::from(retention_days));
    for (path, _) in list(directory)? {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let Some(name) = name.filter(|name| began_at(name).is_some_and(|began| began < before)) else {
            continue;
        };
        if path == newest {
            continue;
        }
        // Under another name first: a removal that is interrupted must not leave half a set that looks whole.
        let doomed = directory.join(format!("{PARTIAL}old-{name}"));
        fs::rename(&path, &doomed)
            .and_then(|()| fs::remove_dir_all(&doomed))
            .with_context(|| format!("the old set {} cannot be removed", path.display()))?;
        gone.push(name);
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        began_at(text).unwrap()
    }

    fn make_set(directory: &Path, name: &str) -> PathBuf {
        let path = directory.join(name);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("something"), "x").unwrap();
        path
    }

    #[test]
    fn a_name_is_a_moment_and_nothing_else() {
        assert_eq!(name_of(at("20260301T020000Z")), "20260301T020000Z");
        for other in [
            "20260301",
            "20261301T020000Z",
            "x20260301T020000Z",
            ".partial-20260301T020000Z",
        ] {
            assert_eq!(began_at(other), None, "{other}");
        }
    }

    #[test]
    fn pruning_removes_old_sets_and_never_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["20260101T020000Z", "20260108T020000Z", "20260109T020000Z"] {
            make_set(folder.path(), name);
        }
        make_set(folder.path(), "notes");
        let newest = folder.path().join("20260109T020000Z");
        let gone = prune(folder.path(), &newest, 7, at("20260116T010000Z")).unwrap();
        assert_eq!(gone, ["20260101T020000Z", "20260108T020000Z"]);
        // However old it is.
        let gone = prune(folder.path(), &newest, 7, at("20270101T000000Z")).unwrap();
        assert!(gone.is_empty());
        assert!(newest.is_dir() && folder.path().join("notes").is_dir());
        assert!(
            prune(folder.path(), Path::new(""), 0, at("20270101T000000Z"))
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_draft_that_is_dropped_leaves_nothing_and_the_next_one_clears_what_a_crash_left() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("backups");
        make_set(&directory, ".partial-20260101T000000Z");
        let draft = Draft::begin(&directory, at("20260102T000000Z")).unwrap();
        draft.write("a/b", "text").unwrap();
        let second = Draft::begin(&directory, at("20260102T000000Z")).err().unwrap();
        assert!(second.to_string().starts_with("another backup is being written"));
        drop(draft);
        let left: Vec<_> = fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, [".lock"]);
        assert!(list(&directory).unwrap().is_empty());
    }

    #[test]
    fn files_and_folders_are_for_their_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let draft = Draft::begin(&folder.path().join("backups"), at("20260102T000000Z")).unwrap();
        draft.write("secrets/salt", "text").unwrap();
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let path = draft.publish().unwrap();
        assert_eq!(path.file_name().unwrap(), "20260102T000000Z");
        assert_eq!(mode(path.join("secrets/salt")), 0o600);
        for one in [path.join("secrets"), path.clone(), folder.path().join("backups")] {
            assert_eq!(mode(one), 0o700);
        }
    }
}
