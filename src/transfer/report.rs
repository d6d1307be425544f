//! What became of the lines of an import.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// Line numbers kept of each reason.
const LINES_KEPT: usize = 5;
/// Other names of types listed at most.
const RENAMED_MAX: usize = 200;

/// What became of the lines so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Events in the file: lines without the header and blank ones.
    pub events: u64,
    pub stored: u64,
    /// Stored before, by an earlier run or under the same id.
    pub duplicate: u64,
    /// By reason.
    pub refused: BTreeMap<String, Refused>,
    /// How many events of each type of the file got the name of one of ours.
    pub renamed: BTreeMap<String, Renamed>,
}

/// Lines refused for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub count: u64,
    pub first_lines: Vec<u64>,
    /// A sentence about the first of them.
    pub detail: String,
}

/// A type of the file that is called otherwise here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renamed {
    pub to: String,
    pub count: u64,
}

impl Report {
    /// Counts a refused line.
    pub fn refuse(&mut self, reason: &str, line: u64, detail: impl FnOnce() -> String) {
        let refused = self.refused.entry(reason.to_owned()).or_default();
        refused.count += 1;
        if refused.first_lines.is_empty() {
            refused.detail = detail();
        }
        if refused.first_lines.len() < LINES_KEPT {
            refused.first_lines.push(line);
        }
    }

    /// Counts events of erased people; which lines they were in, nobody is to know.
    pub fn refuse_erased(&mut self, count: u64) {
        if count > 0 {
            let refused = self.refused.entry("erased".to_owned()).or_default();
            refused.count += count;
            refused.detail = "The person was erased after this happened.".to_owned();
        }
    }

    /// Counts an event whose type is called otherwise here.
    pub fn rename(&mut self, from: &str, to: &str, count: u64) {
        if self.renamed.len() < RENAMED_MAX || self.renamed.contains_key(from) {
            let renamed = self.renamed.entry(from.to_owned()).or_default();
            to.clone_into(&mut renamed.to);
            renamed.count += count;
        }
    }

    /// Returns how many lines were refused.
    pub fn refused_total(&self) -> u64 {
        self.refused.values().map(|refused| refused.count).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{:>12}  events read", self.events)?;
        writeln!(formatter, "{:>12}  stored", self.stored)?;
        writeln!(formatter, "{:>12}  duplicates (stored before)", self.duplicate)?;
        writeln!(formatter, "{:>12}  refused", self.refused_total())?;
        for (reason, refused) in &self.refused {
            write!(formatter, "{:>12}    {reason}", refused.count)?;
            if !refused.first_lines.is_empty() {
                let lines: Vec<String> = refused.first_lines.iter().map(u64::to_string).collect();
                let word = if refused.count == 1 { "line" } else { "lines" };
                let more = if refused.count > lines.len() as u64 {
                    ", …"
                } else {
                    ""
                };
                write!(formatter, ": {word} {}{more}", lines.join(", "))?;
            }
            writeln!(formatter, " ({})", refused.detail.trim_end_matches('.'))?;
        }
        if !self.renamed.is_empty() {
            writeln!(formatter, "Types that are called otherwise here:")?;
        }
        for (from, renamed) in &self.renamed {
            writeln!(formatter, "{:>12}  {from:?} is {:?}", renamed.count, renamed.to)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_reasons_and_lines() {
        let mut report = Report {
            events: 12,
            stored: 3,
            duplicate: 1,
            ..Report::default()
        };
        for line in 2..9 {
            report.refuse("invalid_json", line, || "The line is not JSON.".into());
        }
        report.refuse("bot", 11, || "The user agent is that of a bot.".into());
        report.refuse_erased(0);
        report.rename("$pageview", "page_view", 2);
        let expected = [
            "          12  events read",
            "           3  stored",
            "           1  duplicates (stored before)",
            "           8  refused",
            "           1    bot: line 11 (The user agent is that of a bot)",
            "           7    invalid_json: lines 2, 3, 4, 5, 6, … (The line is not JSON)",
            "Types that are called otherwise here:",
            "           2  \"$pageview\" is \"page_view\"",
            "",
        ];
        assert_eq!(report.to_string(), expected.join("\n"));
    }
}
