//! The index as a file, so that a start need not read the store.
//!
//! A line that names the format, its version included, then sections, each a length and its bytes, and at the end a
//! checksum of all of it. Numbers are little-endian. A file is written beside the old one and takes its place when it
//! is complete; only its owner may read it.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use bytemuck::Pod;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Micros,
    block::{Block, Order},
    live::Keeper,
    names::{Client, Dictionary, Names, Source},
    view::SHARDS,
};
use crate::store::index_changes::Horizon;

/// Begins every file; the number is that of the format. Raise it with every change to what follows.
const MAGIC: &[u8; 24] = b"customer-journey index 1";

/// What a file stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Which database it was made from.
    pub identity: String,
    /// Up to where the log of changes was taken in.
    pub horizon: Horizon,
}

/// Why a file cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{step} {} failed", .path.display())]
    Io {
        step: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is damaged: {}", .0.display(), .1)]
    Damaged(PathBuf, &'static str),
}

#[derive(Serialize, Deserialize)]
struct Head {
    mark: Mark,
    origin: Micros,
    covered_from: Micros,
}

/// Writes the index, whose shards were packed.
///
/// # Errors
/// [`FileError::Io`]; an older file is left as it was.
pub fn write(path: &Path, keeper: &Keeper, mark: &Mark) -> Result<(), FileError> {
    let unfinished = path.with_extension("unfinished");
    let during = |step| {
        let path = unfinished.clone();
        move |source| FileError::Io { step, path, source }
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(during("opening"))?;
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(during("protecting"))?;
    write_to(&file, keeper, mark).map_err(during("writing"))?;
    file.sync_all().map_err(during("writing"))?;
    fs::rename(&unfinished, path).map_err(during("renaming"))
}

fn write_to(file: &File, keeper: &Keeper, mark: &Mark) -> io::Result<()> {
    let mut out = Out {
        inner: BufWriter::with_capacity(1 << 20, file),
        checksum: crc32fast::Hasher::new(),
    };
    out.put(MAGIC)?;
    let head = Head {
        mark: mark.clone(),
        origin: keeper.origin(),
        covered_from: keeper.covered_from(),
    };
    out.section(&serde_json::to_vec(&head)?)?;
    keeper.with_names(|names| write_names(&mut out, names))?;
    for block in keeper.packed() {
        write_block(&mut out, block)?;
    }
    let checksum = out.checksum.finalize();
    out.inner.write_all(&checksum.to_le_bytes())?;
    out.inner.flush()
}

fn write_names(out: &mut Out<impl Write>, names: &Names) -> io::Result<()> {
    for texts in [&names.pages, &names.types, &names.labels] {
        let lengths: Vec<u32> = texts.values().map(|text| text.len() as u32).collect();
        out.column(&lengths)?;
        let all: String = texts.values().map(|text| &**text).collect();
        out.section(all.as_bytes())?;
    }
    let clients: Vec<[u32; 4]> = names
        .clients
        .values()
        .map(|one| [one.device_type, one.browser, one.os, one.country])
        .collect();
    out.column(&clients)?;
    let sources: Vec<[u32; 5]> = names
        .sources
        .values()
        .map(|one| {
            [
                one.channel,
                one.source,
                one.medium,
                one.campaign,
                one.referrer_host,
            ]
        })
        .collect();
    out.column(&sources)?;
    for shard in names.people.shards() {
        let ids: Vec<[u8; 16]> = shard.values().map(|id| *id.as_bytes()).collect();
        out.column(&ids)?;
    }
    Ok(())
}

fn write_block(out: &mut Out<impl Write>, block: &Block) -> io::Result<()> {
    out.column(&block.people)?;
    out.column(&block.first_seen)?;
    let interleaved: Vec<u8> = block.interleaved.iter().map(|is| u8::from(*is)).collect();
    out.column(&interleaved)?;
    out.column(&block.session_bounds)?;
    out.column(&block.start)?;
    out.column(&block.client)?;
    out.column(&block.source)?;
    out.column(&block.flags)?;
    out.column(&block.event_bounds)?;
    out.column(&block.words)?;
    out.column(&block.page)?;
    let places: Vec<[u32; 2]> = block
        .orders
        .iter()
        .map(|(session, order)| [*session, order.currency])
        .collect();
    out.column(&places)?;
    let values: Vec<[u8; 16]> = block
        .orders
        .iter()
        .map(|(_, order)| order.value.serialize())
        .collect();
    out.column(&values)
}

/// Reads an index; `None` when there is no file.
///
/// # Errors
/// [`FileError`] when it cannot be read or is not what was written.
pub fn read(path: &Path) -> Result<Option<(Keeper, Mark)>, FileError> {
    let during = |step| {
        move |source| FileError::Io {
            step,
            path: path.into(),
            source,
        }
    };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(during("opening"))?,
    };
    let size = file.metadata().map_err(during("reading"))?.len();
    let mut input = In {
        inner: BufReader::with_capacity(1 << 20, file),
        checksum: crc32fast::Hasher::new(),
        left: size,
    };
    match read_from(&mut input) {
        Ok(Ok(found)) => Ok(Some(found)),
        Ok(Err(what)) => Err(FileError::Damaged(path.into(), what)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(FileError::Damaged(path.into(), "it ends too early"))
        }
        Err(source) => Err(FileError::Io {
            step: "reading",
            path: path.into(),
            source,
        }),
    }
}

/// Reads what [`write_to`] wrote; the inner error says what is wrong with it.
fn read_from(input: &mut In<impl Read>) -> io::Result<Result<(Keeper, Mark), &'static str>> {
    let mut magic = [0; MAGIC.len()];
    input.get(&mut magic)?;
    if magic != *MAGIC {
        return Ok(Err("it is no index of this release"));
    }
    let Ok(head) = serde_json::from_slice::<Head>(&input.section()?) else {
        return Ok(Err("its head cannot be read"));
    };
    let Some(names) = read_names(input)? else {
        return Ok(Err("its names cannot be read"));
    };
    let mut blocks = Vec::with_capacity(SHARDS);
    for _ in 0..SHARDS {
        blocks.push(read_block(input, head.origin)?);
    }
    let checksum = input.checksum.clone().finalize();
    let mut expected = [0; 4];
    input.inner.read_exact(&mut expected)?;
    if u32::from_le_bytes(expected) != checksum {
        return Ok(Err("its checksum does not fit"));
    }
    if !blocks.iter().all(|block| block.fits(&names)) {
        return Ok(Err("its columns do not fit together"));
    }
    let keeper = Keeper::from_parts(names, blocks, head.origin, head.covered_from);
    Ok(Ok((keeper, head.mark)))
}

fn read_names(input: &mut In<impl Read>) -> io::Result<Option<Names>> {
    let mut names = Names::default();
    for texts in [&mut names.pages, &mut names.types, &mut names.labels] {
        let lengths: Vec<u32> = input.column()?;
        let Ok(all) = String::from_utf8(input.section()?) else {
            return Ok(None);
        };
        let mut rest = all.as_str();
        for length in lengths {
            let Some((text, after)) = rest.split_at_checked(length as usize) else {
                return Ok(None);
            };
            texts.intern_text(text);
            rest = after;
        }
    }
    let clients: Vec<[u32; 4]> = input.column()?;
    for [device_type, browser, os, country] in clients {
        names.clients.intern(Client {
            device_type,
            browser,
            os,
            country,
        });
    }
    let sources: Vec<[u32; 5]> = input.column()?;
    for [channel, source, medium, campaign, referrer_host] in sources {
        names.sources.intern(Source {
            channel,
            source,
            medium,
            campaign,
            referrer_host,
        });
    }
    let mut people = Vec::with_capacity(SHARDS);
    for _ in 0..SHARDS {
        let ids: Vec<[u8; 16]> = input.column()?;
        let mut shard = Dictionary::default();
        for id in ids {
            shard.intern(Uuid::from_bytes(id));
        }
        people.push(shard);
    }
    names.people.set_shards(people);
    Ok(Some(names))
}

fn read_block(input: &mut In<impl Read>, origin: Micros) -> io::Result<Block> {
    let mut block = Block {
        origin,
        people: input.column()?,
        first_seen: input.column()?,
        interleaved: input.column::<u8>()?.into_iter().map(|is| is != 0).collect(),
        session_bounds: input.column()?,
        start: input.column()?,
        client: input.column()?,
        source: input.column()?,
        flags: input.column()?,
        event_bounds: input.column()?,
        words: input.column()?,
        page: input.column()?,
        ..Block::default()
    };
    let places: Vec<[u32; 2]> = input.column()?;
    let values: Vec<[u8; 16]> = input.column()?;
    block.orders = places
        .into_iter()
        .zip(values)
        .map(|([session, currency], value)| {
            let value = Decimal::deserialize(value);
            (session, Order { value, currency })
        })
        .collect();
    Ok(block)
}

/// What is written, and the checksum of it so far.
struct Out<W> {
    inner: W,
    checksum: crc32fast::Hasher,
}

impl<W: Write> Out<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.checksum.update(bytes);
        self.inner.write_all(bytes)
    }

    fn section(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.put(&(bytes.len() as u64).to_le_bytes())?;
        self.put(bytes)
    }

    fn column<T: Pod>(&mut self, values: &[T]) -> io::Result<()> {
        self.section(bytemuck::cast_slice(values))
    }
}

/// What is read, and the checksum of it so far.
struct In<R> {
    inner: R,
    checksum: crc32fast::Hasher,
    /// Bytes of the file that were not read yet: a length beyond them is damage, and not an order for memory.
    left: u64,
}

impl<R: Read> In<R> {
    fn get(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let length = bytes.len() as u64;
        self.left = self
            .left
            .checked_sub(length)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        self.inner.read_exact(bytes)?;
        self.checksum.update(bytes);
        Ok(())
    }

    fn length(&mut self) -> io::Result<usize> {
        let mut length = [0; 8];
        self.get(&mut length)?;
        let length = u64::from_le_bytes(length);
        if length > self.left {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(length as usize)
    }

    fn section(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.length()?];
        self.get(&mut bytes)?;
        Ok(bytes)
    }

    fn column<T: Pod>(&mut self) -> io::Result<Vec<T>> {
        let count = self.length()? / size_of::<T>();
        let mut values = vec![T::zeroed(); count];
        self.get(bytemuck::cast_slice_mut(&mut values))?;
        Ok(values)
    }
}
