//! What can go wrong in the store, sorted by what the caller should do about it.

/// A failed step against PostgreSQL; the cause is in `source`.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
pub struct StoreError {
    /// The step that failed, as `store.<entity>.<what>`.
    pub step: &'static str,
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
    /// Returns a closure that wraps a sqlx error with the step it belongs to.
    pub fn at(step: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self { step, source }
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
