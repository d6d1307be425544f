//! Whether a set is what its manifest says.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use super::{
    database::lines_in,
    manifest::{FileEntry, MANIFEST},
    set::Set,
};
use crate::ops::nix::SriHash;

/// Reads every byte of a set, and returns what is wrong with it; nothing when it is whole.
///
/// Every file of the manifest is there, with its length and hash, and unpacks to its number of lines; and there
/// is no file besides.
///
/// # Errors
/// When the set's folder cannot be read.
pub fn check(set: &Set) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut expected: BTreeSet<&str> = set.manifest.files.iter().map(|file| file.path.as_str()).collect();
    expected.insert(MANIFEST);
    for path in files_below(&set.path)? {
        if !expected.contains(path.as_str()) {
            wrong.push(format!("{path} does not belong to it"));
        }
    }
    for file in &set.manifest.files {
        if let Err(error) = check_file(set, file) {
            wrong.push(format!("{}: {error:#}", file.path));
        }
    }
    Ok(wrong)
}

fn check_file(set: &Set, file: &FileEntry) -> anyhow::Result<()> {
    let (bytes, hash) = hash_of(&set.path.join(&file.path))?;
    anyhow::ensure!(
        bytes == file.bytes && hash == file.hash,
        "its content is not what was written: {bytes} bytes with hash {hash} instead of {} bytes with hash {}",
        file.bytes,
        file.hash
    );
    if file.path.ends_with(".zst") {
        let mut rows = 0;
        each_piece(set.unpack(&file.path)?, |piece| rows += lines_in(piece))
            .context("it cannot be unpacked")?;
        let expected = file.rows.unwrap_or(rows);
        anyhow::ensure!(rows == expected, "it holds {rows} lines instead of {expected}");
    }
    Ok(())
}

fn hash_of(path: &Path) -> anyhow::Result<(u64, SriHash)> {
    let file = File::open(path).context("it cannot be read")?;
    let (mut digest, mut bytes) = (Sha256::new(), 0);
    each_piece(file, |piece| {
        digest.update(piece);
        bytes += piece.len() as u64;
    })
    .context("it cannot be read")?;
    Ok((bytes, SriHash::of_sha256(digest.finalize().into())))
}

fn each_piece(mut reader: impl Read, mut act: impl FnMut(&[u8])) -> io::Result<()> {
    let mut piece = vec![0; 256 * 1024];
    loop {
        match reader.read(&mut piece)? {
            0 => return Ok(()),
            length => act(&piece[..length]),
        }
    }
}

/// Lists the files of a set, with `/` between names.
fn files_below(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut files = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder_now) = waiting.pop() {
        let entries =
            fs::read_dir(&folder_now).with_context(|| format!("{} cannot be read", folder_now.display()))?;
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                waiting.push(entry.path());
            } else if let Ok(name) = entry.path().strip_prefix(folder) {
                files.push(name.to_string_lossy().into_owned());
            }
        }
    }
    files.sort();
    Ok(files)
}
