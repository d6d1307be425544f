//! Bytes into records: lines of NDJSON, and rows of CSV that may go over several lines.
//!
//! Written here because a record's own bytes and line numbers are needed, and because one quote that is never
//! closed must cost one line, not the rest of the file.

use std::io::{self, BufRead};

/// Longest record, in bytes. An event of more than that would be refused for its size anyway.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// Why the bytes of a line are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordProblem {
    /// More than [`RECORD_BYTES_MAX`]; the bytes are the beginning.
    TooLong,
    /// A quote is not closed within [`RECORD_BYTES_MAX`]; the bytes are the line it is in.
    UnclosedQuote,
}

/// One record, without its line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Number of its first line, from 1.
    pub line: u64,
    pub bytes: Vec<u8>,
    pub problem: Option<RecordProblem>,
}

/// Reads records one by one. Blank lines are passed over.
pub struct Records<R> {
    input: Rewind<R>,
    line: u64,
    offset: u64,
    /// The delimiter of CSV; without one, each line is a record.
    pub delimiter: Option<u8>,
}

enum Line {
    End,
    Whole,
    TooLong,
}

impl<R: BufRead> Records<R> {
    pub fn new(input: R) -> Self {
        Self {
            input: Rewind {
                inner: input,
                pending: Vec::new(),
                at: 0,
            },
            line: 0,
            offset: 0,
            delimiter: None,
        }
    }

    /// Returns how many bytes the records so far have taken.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the first bytes without taking them, as many as there are up to `count`.
    pub fn peek(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            let available = self.input.fill_buf()?;
            if available.is_empty() {
                break;
            }
            let taken = available.len().min(count - bytes.len());
            bytes.extend_from_slice(&available[..taken]);
            self.input.consume(taken);
        }
        self.input.put_back(&bytes);
        Ok(bytes)
    }

    /// Passes over bytes that belong to no record.
    pub fn skip(&mut self, count: usize) {
        self.input.consume(count);
        self.offset += count as u64;
    }

    /// Returns the next record, `None` at the end.
    pub fn read_record(&mut self) -> io::Result<Option<Record>> {
        loop {
            let mut bytes = Vec::new();
            match self.read_line(&mut bytes)? {
                Line::End => return Ok(None),
                Line::TooLong => {
                    self.discard_line()?;
                    return Ok(Some(self.finish(self.line, bytes, Some(RecordProblem::TooLong))));
                }
                Line::Whole if bytes.trim_ascii().is_empty() => {
                    self.count(&bytes);
                }
                Line::Whole => {
                    let line = self.line;
                    let problem = match self.delimiter {
                        Some(delimiter) => self.complete(&mut bytes, delimiter)?,
                        None => None,
                    };
                    return Ok(Some(self.finish(line, bytes, problem)));
                }
            }
        }
    }

    /// Adds the lines that a quoted line end belongs to.
    fn complete(&mut self, bytes: &mut Vec<u8>, delimiter: u8) -> io::Result<Option<RecordProblem>> {
        let (first, first_line) = (bytes.len(), self.line);
        let mut quotes = Quotes::new(delimiter);
        quotes.scan(bytes);
        while quotes.is_open() {
            let scanned = bytes.len();
            let line = self.read_line(bytes)?;
            if !matches!(line, Line::Whole) || bytes.len() > RECORD_BYTES_MAX {
                self.input.put_back(&bytes[first..]);
                bytes.truncate(first);
                self.line = first_line;
                return Ok(Some(RecordProblem::UnclosedQuote));
            }
            quotes.scan(&bytes[scanned..]);
        }
        Ok(None)
    }

    fn count(&mut self, bytes: &[u8]) {
        self.offset += bytes.len() as u64;
    }

    fn finish(&mut self, line: u64, mut bytes: Vec<u8>, problem: Option<RecordProblem>) -> Record {
        self.count(&bytes);
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        Record { line, bytes, problem }
    }

    /// Appends the next line with its end. One that is too long is left in the middle.
    fn read_line(&mut self, bytes: &mut Vec<u8>) -> io::Result<Line> {
        let start = bytes.len();
        loop {
            let available = self.input.fill_buf()?;
            if available.is_empty() {
                if bytes.len() == start {
                    return Ok(Line::End);
                }
                break;
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(available.len(), |end| end + 1);
            bytes.extend_from_slice(&available[..taken]);
            self.input.consume(taken);
            if bytes.len() - start > RECORD_BYTES_MAX {
                if end.is_some() {
                    // What is discarded below must not be the line after.
                    self.input.put_back(b"\n");
                    bytes.pop();
                }
                self.line += 1;
                return Ok(Line::TooLong);
            }
            if end.is_some() {
                break;
            }
        }
        self.line += 1;
        Ok(Line::Whole)
    }

    fn discard_line(&mut self) -> io::Result<()> {
        loop {
            let available = self.input.fill_buf()?;
            if available.is_empty() {
                return Ok(());
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(available.len(), |end| end + 1);
            self.input.consume(taken);
            self.offset += taken as u64;
            if end.is_some() {
                return Ok(());
            }
        }
    }
}

/// A reader that takes bytes back.
struct Rewind<R> {
    inner: R,
    pending: Vec<u8>,
    at: usize,
}

impl<R: BufRead> Rewind<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at < self.pending.len() {
            Ok(&self.pending[self.at..])
        } else {
            loop {
                match self.inner.fill_buf() {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                    Ok(_) => break,
                }
            }
            self.inner.fill_buf()
        }
    }

    fn consume(&mut self, count: usize) {
        if self.at < self.pending.len() {
            self.at += count;
        } else {
            self.inner.consume(count);
        }
    }

    fn put_back(&mut self, bytes: &[u8]) {
        let mut pending = bytes.to_vec();
        pending.extend_from_slice(&self.pending[self.at..]);
        self.pending = pending;
        self.at = 0;
    }
}

/// Where a byte of CSV stands (RFC 4180): a quote opens at the beginning of a field only, and two of them
/// within quotes are one.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    FieldStart,
    Plain,
    Quoted,
    /// After a quote within quotes: the end of the field, or half of a doubled quote.
    QuoteSeen,
}

struct Quotes {
    place: Place,
    delimiter: u8,
}

impl Quotes {
    fn new(delimiter: u8) -> Self {
        Self {
            place: Place::FieldStart,
            delimiter,
        }
    }

    fn step(&mut self, byte: u8) {
        self.place = match (self.place, byte) {
            (Place::FieldStart | Place::QuoteSeen, b'"') => Place::Quoted,
            (Place::Quoted, b'"') => Place::QuoteSeen,
            (Place::Quoted, _) => Place::Quoted,
            (_, byte) if byte == self.delimiter || byte == b'\n' => Place::FieldStart,
            _ => Place::Plain,
        };
    }

    fn scan(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.step(*byte));
    }

    fn is_open(&self) -> bool {
        self.place == Place::Quoted
    }
}

/// Splits a record of CSV into its fields.
pub fn split_fields(record: &str, delimiter: u8) -> Vec<String> {
    let mut quotes = Quotes::new(delimiter);
    let (mut fields, mut field) = (Vec::new(), Vec::new());
    for byte in record.bytes() {
        let before = quotes.place;
        quotes.step(byte);
        match (before, byte) {
            (Place::FieldStart | Place::Quoted, b'"') => {}
            (before, byte) if byte == delimiter && before != Place::Quoted => {
                fields.push(std::mem::take(&mut field));
            }
            _ => field.push(byte),
        }
    }
    fields.push(field);
    let text = |bytes| String::from_utf8(bytes).expect("cut at ASCII bytes only, a text stays a text");
    fields.into_iter().map(text).collect()
}

/// Returns the delimiter a header line is written with: the most frequent one outside of quotes.
pub fn detect_delimiter(header: &[u8]) -> u8 {
    let mut best = (0, b',');
    for delimiter in [b',', b';', b'\t', b'|'] {
        // Where fields begin is not known yet, so every other quote closes one.
        let (mut count, mut quoted) = (0, false);
        for byte in header {
            quoted ^= *byte == b'"';
            count += usize::from(*byte == delimiter && !quoted);
        }
        if count > best.0 {
            best = (count, delimiter);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    fn read(text: &[u8], delimiter: Option<u8>) -> Vec<Record> {
        // A buffer of three bytes: every way a record can lie across two of them.
        let mut records = Records::new(BufReader::with_capacity(3, text));
        records.delimiter = delimiter;
        let mut all = Vec::new();
        while let Some(record) = records.read_record().unwrap() {
            all.push(record);
        }
        assert_eq!(records.offset(), text.len() as u64);
        all
    }

    fn summary(records: &[Record]) -> Vec<(u64, usize, Option<RecordProblem>)> {
        records
            .iter()
            .map(|record| (record.line, record.bytes.len(), record.problem))
            .collect()
    }

    #[test]
    fn rows_may_go_over_lines_and_keep_their_numbers() {
        let records = read(b"a,b\r\n\n\"x\ny\",\"\"\"q\"\"\"\n \n1,2", Some(b','));
        let texts: Vec<_> = records
            .iter()
            .map(|record| (record.line, std::str::from_utf8(&record.bytes).unwrap()))
            .collect();
        assert_eq!(texts, [(1, "a,b"), (3, "\"x\ny\",\"\"\"q\"\"\""), (6, "1,2")]);
        assert_eq!(split_fields(texts[1].1, b','), ["x\ny", "\"q\""]);
    }

    #[test]
    fn an_unclosed_quote_costs_one_line() {
        let records = read(b"a,b\n\"x,1\ny,2\nz,3\n", Some(b','));
        let unclosed = Some(RecordProblem::UnclosedQuote);
        assert_eq!(
            summary(&records),
            [(1, 3, None), (2, 4, unclosed), (3, 3, None), (4, 3, None)]
        );
        // Also when what follows is too long to look through.
        let mut text = b"\"x,1\n".to_vec();
        text.extend(b"y,2\n".repeat(300_000));
        let records = read(&text, Some(b','));
        assert_eq!(records.len(), 300_001);
        assert_eq!(records[0].problem, unclosed);
        assert_eq!(records[300_000].line, 300_001);
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_one_whole() {
        for rest in ["", "\n", "\nnext\n"] {
            for extra in [1, 2, 5000] {
                let text = format!("{}{rest}", "x".repeat(RECORD_BYTES_MAX + extra));
                let records = read(text.as_bytes(), None);
                assert_eq!(records[0].problem, Some(RecordProblem::TooLong));
                assert!(records[0].bytes.len() <= RECORD_BYTES_MAX + 3);
                let next = records.get(1).map(|record| (record.line, record.bytes.clone()));
                assert_eq!(next, rest.contains("next").then(|| (2, b"next".to_vec())));
            }
        }
        let longest = format!("{}\nnext", "x".repeat(RECORD_BYTES_MAX - 1));
        assert_eq!(read(longest.as_bytes(), None)[0].problem, None);
    }

    #[test]
    fn delimiters_are_recognised() {
        for (header, delimiter) in [
            ("a,b,c", b','),
            ("a;b;\"x,y,z\"", b';'),
            ("a\tb", b'\t'),
            ("a|b|c,d", b'|'),
            ("alone", b','),
        ] {
            assert_eq!(detect_delimiter(header.as_bytes()), delimiter, "{header}");
        }
    }

    proptest! {
        /// The csv crate writes, this module reads.
        #[test]
        fn what_was_written_as_csv_is_read_back(
            rows in proptest::collection::vec(proptest::collection::vec("[a\",;\n\r é]{0,6}", 3), 1..6),
            delimiter in prop_oneof![Just(b','), Just(b';'), Just(b'\t')],
        ) {
            let mut writer = csv::WriterBuilder::new()
                .delimiter(delimiter)
                .quote_style(csv::QuoteStyle::Always)
                .from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let text = writer.into_inner().unwrap();
            let read: Vec<Vec<String>> = read(&text, Some(delimiter))
                .iter()
                .map(|record| split_fields(std::str::from_utf8(&record.bytes).unwrap(), delimiter))
                .collect();
            prop_assert_eq!(read, rows);
        }

        #[test]
        fn any_bytes_are_records(bytes in proptest::collection::vec(
            prop_oneof![Just(b'"'), Just(b'\n'), Just(b','), any::<u8>()], 0..80
        )) {
            let records = read(&bytes, Some(b','));
            let lines = bytes.split(|byte| *byte == b'\n').count() as u64;
            prop_assert!(records.iter().all(|record| record.line <= lines));
            prop_assert!(records.is_sorted_by(|a, b| a.line < b.line));
        }
    }
}
