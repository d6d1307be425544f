//! Files the operator names, packed as they are.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};

use super::{
    manifest::FileEntry,
    set::{Draft, Packed, finish},
};

/// Where the archive of `path` lies in the set: its names joined by dashes, so that no two paths meet by chance.
pub(super) fn file_of(path: &str, taken: &[FileEntry]) -> String {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    let plain = names.join("-");
    let mut file = format!("include/{plain}.tar.zst");
    let mut number = 2;
    while taken.iter().any(|entry| entry.path == file) {
        file = format!("include/{plain}-{number}.tar.zst");
        number += 1;
    }
    file
}

/// Packs a file or a folder with all that is in it. Links stay links; sockets and devices are left out.
pub(super) fn pack(path: &str, draft: &Draft, taken: &[FileEntry]) -> anyhow::Result<FileEntry> {
    let mut archive = tar::Builder::new(draft.packed(&file_of(path, taken))?);
    archive.mode(tar::HeaderMode::Complete);
    // Paths in the archive begin at the root's children, as `tar` itself stores them.
    add_all(&mut archive, Path::new(path)).with_context(|| {
        format!("backup.include: {path} cannot be packed; correct it, or give the backup's user the right to read it")
    })?;
    finish(archive.into_inner()?)
}

fn add_all(archive: &mut tar::Builder<Packed>, path: &Path) -> anyhow::Result<()> {
    let mut waiting: Vec<PathBuf> = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        let metadata =
            fs::symlink_metadata(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let name = path.strip_prefix("/").unwrap_or(&path).to_owned();
        let mut header = tar::Header::new_gnu();
        header.set_metadata(&metadata);
        let kind = metadata.file_type();
        if kind.is_dir() {
            archive.append_data(&mut header, &name, io::empty())?;
            let mut children = fs::read_dir(&path)
                .and_then(|entries| {
                    entries
                        .map(|entry| entry.map(|entry| entry.path()))
                        .collect::<io::Result<Vec<_>>>()
                })
                .with_context(|| format!("{} cannot be read", path.display()))?;
            children.sort_unstable();
            waiting.extend(children.into_iter().rev());
        } else if kind.is_symlink() {
            header.set_size(0);
            archive.append_link(&mut header, &name, fs::read_link(&path)?)?;
        } else if kind.is_file() {
            add_file(archive, &path, &name, &mut header)?;
        }
    }
    Ok(())
}

/// The header says how long a file is, so exactly that much must follow, whatever happens to the file meanwhile.
fn add_file(
    archive: &mut tar::Builder<Packed>,
    path: &Path,
    name: &Path,
    header: &mut tar::Header,
) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let size = file.metadata()?.len();
    header.set_size(size);
    let mut content = file.take(size);
    archive.append_data(header, name, &mut content)?;
    ensure!(
        content.limit() == 0,
        "{} became shorter while it was read",
        path.display()
    );
    Ok(())
}
