//! The same events as columns, for other engines: a little-endian binary file for each column.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

use serde_json::json;

use super::site::{self, Session};

/// The columns of a table.
struct Table {
    files: Vec<BufWriter<File>>,
}

impl Table {
    fn create(folder: &Path, columns: &[&str]) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let create =
            |name: &&str| File::create(folder.join(name)).map(|file| BufWriter::with_capacity(1 << 18, file));
        Ok(Self {
            files: columns.iter().map(create).collect::<io::Result<_>>()?,
        })
    }

    fn put(&mut self, column: usize, bytes: &[u8]) -> io::Result<()> {
        self.files[column].write_all(bytes)
    }

    fn finish(self) -> io::Result<()> {
        for mut file in self.files {
            file.flush()?;
        }
        Ok(())
    }
}

/// Writes the sessions and events of the first `people` people, in the order of people and time.
pub fn write(folder: &Path, people: u64) -> io::Result<()> {
    let event_columns = ["person.u32", "session.u32", "time.u64", "type.u8", "page.u8"];
    let mut events = Table::create(&folder.join("events"), &event_columns)?;
    let session_columns = [
        "session.u32",
        "person.u32",
        "start.u64",
        "bought.u64",
        "device.u8",
        "source.u8",
    ];
    let mut sessions = Table::create(&folder.join("sessions"), &session_columns)?;
    let mut number: u32 = 0;
    let (mut visits, mut timeline) = (Vec::new(), Vec::new());
    for person in 0..people {
        site::visit(person, &mut visits);
        let person = (person as u32).to_le_bytes();
        timeline.clear();
        for session in &visits {
            timeline.extend(session.events.iter().map(|event| (*event, number)));
            put_session(&mut sessions, number, person, session)?;
            number += 1;
        }
        timeline.sort_by_key(|(event, _)| event.time);
        for (event, session) in &timeline {
            events.put(0, &person)?;
            events.put(1, &session.to_le_bytes())?;
            events.put(2, &event.time.to_le_bytes())?;
            events.put(3, &[event.event_type])?;
            events.put(4, &[event.page])?;
        }
    }
    events.finish()?;
    sessions.finish()?;
    let dictionaries = json!({
        "types": site::TYPES,
        "pages": site::paths(),
        "devices": site::DEVICES,
        "channels": site::SOURCES.map(|(channel, _)| channel),
        "origin": site::ORIGIN,
    });
    fs::write(folder.join("dictionaries.json"), dictionaries.to_string())
}

fn put_session(table: &mut Table, number: u32, person: [u8; 4], session: &Session) -> io::Result<()> {
    let bought = session.purchase.map_or(0, |purchase| purchase.time);
    table.put(0, &number.to_le_bytes())?;
    table.put(1, &person)?;
    table.put(2, &session.start().to_le_bytes())?;
    table.put(3, &bought.to_le_bytes())?;
    table.put(4, &[session.device])?;
    table.put(5, &[session.source])
}
