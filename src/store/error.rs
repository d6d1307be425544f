//! What can go wrong in the store, sorted by what the caller should do about it.

/// A failed step against PostgreSQL; the cause is in `source`.
#[derive(Debug, thiserror::Error)]
#[error("{operation} failed")]
pub struct StoreError {
    /// What was being done: `store.<entity>.<what>`, or words such as `reading an API key`.
    pub operation: &'static str,
    #[source]
    pub source: sqlx::Error,
}

/// What a failure says about trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The database or the way to it is the trouble: the same work may succeed later.
    Retry,
    /// The data is the trouble: the same work fails again.
    GiveUp,
}

impl StoreError {
    /// Names the operation for an error of the driver: `.map_err(StoreError::during("reading a session"))`.
    pub fn during(operation: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self { operation, source }
    }

    /// Whether PostgreSQL could not be reached or is just starting or stopping, so that trying again
    /// helps. The SQLSTATE classes are 08 (connection), 53 (resources) and 57 (operator intervention);
    /// source: PostgreSQL manual, appendix A.
    pub fn is_unavailable(&self) -> bool {
        match &self.source {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => true,
            sqlx::Error::Database(error) => error
                .code()
                .is_some_and(|code| ["08", "53", "57"].iter().any(|class| code.starts_with(class))),
            _ => false,
        }
    }

    /// Whether PostgreSQL refused a value that a caller sent: text it cannot hold (a NUL character) or a
    /// number or time outside its range. SQLSTATE 22021, 22P05, 22003 and 22008.
    pub fn is_unstorable_value(&self) -> bool {
        match &self.source {
            sqlx::Error::Database(error) => error
                .code()
                .is_some_and(|code| ["22021", "22P05", "22003", "22008"].contains(&code.as_ref())),
            _ => false,
        }
    }

    /// Returns whether the same work can succeed later.
    ///
    /// Only errors that PostgreSQL blames on the data are final: class 22 (data exception), 23 (integrity
    /// violation) and 54 (a limit of the program exceeded, such as an index row that is too long). All others,
    /// also a missing table or column, are trouble an operator can mend without losing the event.
    pub fn remedy(&self) -> Remedy {
        let Some(code) = self.source.as_database_error().and_then(|error| error.code()) else {
            return match &self.source {
                sqlx::Error::Encode(_) => Remedy::GiveUp,
                _ => Remedy::Retry,
            };
        };
        // Two writers that settle the same queue entry collide on its key: the second one finds it done
        // when it tries again.
        let same_entry = self
            .source
            .as_database_error()
            .and_then(|error| error.constraint())
            == Some("queue_entries_pkey");
        match code.get(..2) {
            Some("22" | "23" | "54") if !same_entry => Remedy::GiveUp,
            _ => Remedy::Retry,
        }
    }
}
