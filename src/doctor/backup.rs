//! Whether there is a backup to go back to.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use super::Finding;
use crate::{
    backup::{self, BACKUP},
    config::Config,
    ops::{Clock, jobs::last_runs},
    store::dump,
};

/// One night may be missed: a machine that was off, a restart at the wrong hour.
const AGE_MAX: TimeDelta = TimeDelta::days(2);

const SUBJECT: &str = "backup";

/// Looks only where backups were ever made, or somebody made the folder for them.
pub(super) async fn examine(config: &Config, clock: &Clock) -> Option<Finding> {
    let pool = PgPool::connect(&config.database.url).await.ok()?;
    let runs = last_runs(&pool).await.ok()?;
    let installed_at = dump::installed_at(&mut *pool.acquire().await.ok()?)
        .await
        .ok()??;
    pool.close().await;
    let run = runs.into_iter().find(|run| run.job == BACKUP);
    let directory = Path::new(&config.backup.directory);
    if run.is_none() && !directory.is_dir() {
        return None;
    }
    // The folder may be readable to nobody but the backup's user, and sets made elsewhere are in no table.
    let sets = backup::list(directory).unwrap_or_default().into_iter();
    let newest = sets
        .filter_map(|(_, set)| Some(set.ok()?.manifest.created_at))
        .max();
    let succeeded_at = run.as_ref().and_then(|run| run.succeeded_at);
    Some(judge(
        succeeded_at.max(newest),
        run.is_some(),
        installed_at,
        clock.now(),
    ))
}

/// Judges by the newest backup, whether one was ever tried, and when the database was made.
fn judge(
    newest: Option<DateTime<Utc>>,
    was_tried: bool,
    installed_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Finding {
    let remedy = "see why with `systemctl status customer-journey-backup`, or run `customer-journey backup`";
    match newest {
        None if !was_tried && now - installed_at < AGE_MAX => {
            Finding::good(SUBJECT, "none yet, which is right for a new database")
        }
        None => Finding::failure(SUBJECT, "none has ever succeeded", remedy),
        Some(at) if now - at > AGE_MAX => {
            let days = (now - at).num_days();
            Finding::failure(SUBJECT, format!("the newest is {days} days old"), remedy)
        }
        Some(at) => Finding::good(
            SUBJECT,
            format!("the newest is of {}", at.format("%Y-%m-%d %H:%M UTC")),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }

    fn hours_ago(hours: i64) -> DateTime<Utc> {
        now() - TimeDelta::hours(hours)
    }

    #[test]
    fn a_backup_older_than_two_days_is_a_failure() {
        let grade = |newest| judge(newest, true, hours_ago(1000), now()).grade;
        assert_eq!(grade(Some(hours_ago(47))), Grade::Good);
        assert_eq!(grade(Some(hours_ago(49))), Grade::Failure);
        assert_eq!(grade(None), Grade::Failure);
    }

    #[test]
    fn a_new_database_needs_none_until_one_was_tried() {
        let grade = |was_tried, installed_at| judge(None, was_tried, installed_at, now()).grade;
        assert_eq!(grade(false, hours_ago(47)), Grade::Good);
        assert_eq!(grade(false, hours_ago(49)), Grade::Failure);
        assert_eq!(grade(true, hours_ago(47)), Grade::Failure);
    }
}
