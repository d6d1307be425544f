//! Backups.

use super::keys::section;

section! {
    /// What `customer-journey backup` writes, where, and for how long it stays.
    pub struct Backup in "backup" {
        /// Folder that holds the sets, each in a folder of its own.
        directory: String = "/var/backup/customer-journey".into(),
        /// Sets older than this are removed after the next success; the newest always stays. 0 keeps all.
        retention_days: u32 = 7 => "days",
        /// Files and folders that are put into each set besides the service's own.
        include: Vec<String> = Vec::new(),
    }
}
