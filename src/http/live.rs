//! `GET /api/v1/live`: what is happening now, as server-sent events.
//!
//! One poller asks the store for all listeners together, as long as there is one. Each message is whole: who misses
//! one, or comes later, has lost nothing.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::State,
    http::{HeaderName, header},
    response::{
        IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use sqlx::PgPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::ReadAccess,
    problem::{CommonProblems, Problem},
    state::AppState,
};
use crate::{
    ops::Clock,
    store::{
        self,
        live_read::{self, LiveEvent, LivePage},
    },
};

/// Time from one look at the store to the next: what a person takes for "now".
const POLL_EVERY: Duration = Duration::from_secs(3);

/// A look that takes longer is given up.
const POLL_TIMEOUT: Duration = Duration::from_secs(2);

/// How long somebody counts as active after their last event.
const ACTIVE_MINUTES: i64 = 5;

const PAGES_MAX: i64 = 10;
const EVENTS_MAX: i64 = 20;

/// Listeners at once; each is an open connection.
const LISTENERS_MAX: usize = 100;

/// Seconds a caller is told to wait when there are too many.
const RETRY_SECONDS: u64 = 30;

/// One server-sent event, as its lines are read.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents what the stream holds")]
pub(super) struct LiveMessage {
    /// Always `live`.
    event: String,
    /// The JSON of a `LiveOut`.
    data: String,
}

/// What is happening now.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct LiveOut {
    /// The moment all figures are of.
    at: DateTime<Utc>,
    /// People with an event in the last five minutes.
    active_people: i64,
    /// Events in the last minute.
    events_last_minute: i64,
    /// Events in each of the last five minutes, the oldest first.
    events_by_minute: Vec<i64>,
    /// Pages viewed in the last five minutes, those of most devices first, 10 at most.
    pages: Vec<LivePage>,
    /// Events of the last five minutes, the newest first, 20 at most.
    newest: Vec<LiveEvent>,
}

/// The listeners, and the poller they share.
pub(super) struct Live {
    /// The latest message; `None` when nobody has looked for a while.
    latest: watch::Sender<Option<Arc<str>>>,
    is_polling: Mutex<bool>,
    poll_every: Duration,
    /// Ends the poller and all listeners.
    closing: CancellationToken,
}

impl Live {
    /// Nobody listens yet; `closing` ends all that will.
    pub(super) fn new(closing: CancellationToken) -> Self {
        Self {
            latest: watch::Sender::new(None),
            is_polling: Mutex::new(false),
            poll_every: POLL_EVERY,
            closing,
        }
    }

    /// Joins the listeners; the first one starts the poller. `None` when there are too many.
    fn listen(self: &Arc<Self>, pool: &PgPool, clock: &Clock) -> Option<watch::Receiver<Option<Arc<str>>>> {
        let mut is_polling = self.is_polling.lock().unwrap_or_else(PoisonError::into_inner);
        if self.latest.receiver_count() >= LISTENERS_MAX {
            return None;
        }
        let mut receiver = self.latest.subscribe();
        // Who comes later need not wait for the next look.
        receiver.mark_changed();
        if !*is_polling {
            *is_polling = true;
            tokio::spawn(self.clone().poll(pool.clone(), clock.clone()));
        }
        Some(receiver)
    }

    async fn poll(self: Arc<Self>, pool: PgPool, clock: Clock) {
        let mut was_well = true;
        while self.goes_on() {
            match look(&pool, clock.now()).await {
                Ok(live) => {
                    was_well = true;
                    let text = serde_json::to_string(&live).expect("figures are always JSON");
                    self.latest.send_replace(Some(text.into()));
                }
                Err(error) if was_well => {
                    was_well = false;
                    tracing::warn!(%error, "the live view cannot be read: {error}");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(self.poll_every) => {}
                () = self.closing.cancelled() => {}
            }
        }
    }

    /// Whether anybody listens. If not, the poller has ended by the time the next listener can ask.
    fn goes_on(&self) -> bool {
        let mut is_polling = self.is_polling.lock().unwrap_or_else(PoisonError::into_inner);
        *is_polling = self.latest.receiver_count() > 0 && !self.closing.is_cancelled();
        if !*is_polling {
            self.latest.send_replace(None);
        }
        *is_polling
    }
}

async fn look(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<LiveOut> {
    let since = now - TimeDelta::minutes(ACTIVE_MINUTES);
    let mut snapshot = store::begin_snapshot(pool, POLL_TIMEOUT).await?;
    let mut by_minute = vec![0; ACTIVE_MINUTES as usize];
    for (minute, count) in live_read::count_by_minute(&mut snapshot, since, now).await? {
        let place = usize::try_from(minute)
            .ok()
            .filter(|minute| *minute < by_minute.len());
        if let Some(place) = place {
            by_minute[ACTIVE_MINUTES as usize - 1 - place] = count;
        }
    }
    Ok(LiveOut {
        at: now,
        active_people: live_read::count_active(&mut snapshot, since, now).await?,
        events_last_minute: by_minute.last().copied().unwrap_or(0),
        events_by_minute: by_minute,
        pages: live_read::list_pages(&mut snapshot, since, now, PAGES_MAX).await?,
        newest: live_read::list_newest(&mut snapshot, since, now, EVENTS_MAX).await?,
    })
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(live))
}

/// What is happening now.
///
/// Server-sent events of the type `live`, one every three seconds, each with the whole picture as JSON. Lines that
/// begin with a colon only keep the connection open. The stream ends when the service stops: connect again.
#[utoipa::path(get, path = "/api/v1/live", tag = "analysis", security(("secret_key" = [])),
    responses((status = 200, description = "The stream.", body = LiveMessage, content_type = "text/event-stream"),
              CommonProblems))]
async fn live(_: ReadAccess, State(state): State<AppState>) -> Result<impl IntoResponse, Problem> {
    let receiver = state.live.listen(&state.pool, &state.clock).ok_or_else(|| {
        Problem::unavailable(
            "too_many_listeners",
            format!("At most {LISTENERS_MAX} can follow the live view at once."),
            RETRY_SECONDS,
        )
    })?;
    let messages = messages(receiver).take_until(state.live.closing.clone().cancelled_owned());
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        // nginx would otherwise collect the events before it sends any on.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Sse::new(messages).keep_alive(KeepAlive::default())))
}

/// Turns each change into an event. Who is slow gets the latest, not all.
fn messages(
    receiver: watch::Receiver<Option<Arc<str>>>,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    stream::unfold(receiver, |mut receiver| async move {
        loop {
            receiver.changed().await.ok()?;
            let message = receiver.borrow_and_update().clone();
            if let Some(text) = message {
                return Some((Ok(Event::default().event("live").data(&*text)), receiver));
            }
        }
    })
}

#[cfg(test)]
mod tests;
